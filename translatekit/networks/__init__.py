"""Networks, and the functions that make them by name."""

from __future__ import annotations
