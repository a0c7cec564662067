"""Combinations of parameters, of which a few suffice for every change."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from typing import Any

import pytest


def combinations(*axes: Iterable[Any], few: Collection[tuple[Any, ...]]) -> list[Any]:
    """All combinations, as parameters of a test; those that are not among the few are marked as ``matrix``."""
    every = list(itertools.product(*axes))
    assert set(few) <= set(every)
    return [pytest.param(*values, marks=() if values in few else pytest.mark.matrix) for values in every]
