"""The images of the tests of training serve here as well."""

from __future__ import annotations

from tests.training.conftest import unpaired

__all__ = ["unpaired"]
