"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real test data, or a skip where it is not there."""
    folder = os.environ.get("TRANSLATEKIT_TEST_DATA")
    if not folder:
        pytest.skip("TRANSLATEKIT_TEST_DATA is not set")
    return Path(folder).resolve()
