"""``prepare`` on a real cluster makes what it makes on one machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from translatekit_tools.scale.cluster import Cluster

from tests.tools.prepare.test_prepare import run
from tests.tools.scale.test_run import files


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Forty photographs, two of one name but for the suffix, and a file that is none."""
    random = np.random.default_rng(0)
    (tmp_path / "photos/below").mkdir(parents=True)
    for number in range(40):
        pixels = random.integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(
            tmp_path / "photos" / ("below" if number % 3 else "") / f"{number:02}.png"
        )
    Image.fromarray(pixels).save(tmp_path / "photos/00.bmp")
    (tmp_path / "photos/broken.png").write_bytes(b"no image")
    return tmp_path / "photos"


@pytest.mark.parametrize("command", [["gray"], pytest.param(["segment", "-k", "3"], marks=pytest.mark.slow)])
def test_a_cluster_makes_the_same_files_and_a_rerun_makes_none(
    cluster: Cluster, photos: Path, tmp_path: Path, command: list[str]
) -> None:
    name, *options = command
    run(name, photos, "-o", tmp_path / "one", *options)
    result = run(name, photos, "-o", tmp_path / "many", *options, "--on", "ray", "--workers", "2")
    assert files(tmp_path / "many") == files(tmp_path / "one")
    assert len(files(tmp_path / "many")) >= 39
    assert result.exit_code == 1
    assert "broken.png" in result.stderr
    assert "another file has the same name but for its suffix" in result.stderr
    again = run(name, photos, "-o", tmp_path / "many", *options, "--on", "ray", "--workers", "2")
    assert "0 files written, 39 were there from an earlier run" in again.stderr
    # One machine knows what the workers have written.
    alone = run(name, photos, "-o", tmp_path / "many", *options)
    assert "0 files written, 39 were there from an earlier run" in alone.stderr
