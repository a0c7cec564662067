"""Places of every kind."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from translatekit.storage import Sink, open_sink


@pytest.fixture(params=["local", "memory", "s3", "az", "gs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Sink:
    """An empty place of each kind."""
    if request.param == "local":
        return open_sink(tmp_path / "place")
    if request.param == "memory":
        pytest.importorskip("fsspec")
    else:
        request.getfixturevalue(request.param)
    return open_sink(f"{request.param}://bucket/{uuid.uuid4().hex}")
