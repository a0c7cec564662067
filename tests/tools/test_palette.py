"""The palette of label maps, as a file and as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from translatekit_tools.palette import Palette

from translatekit.datasets.palette import read_palette
from translatekit.errors import DataError

PALETTE = Palette(("wall", "sky"), ((200, 40, 40), (90, 150, 240)))


def test_a_saved_palette_is_read_back_and_is_what_training_reads(tmp_path: Path) -> None:
    path = tmp_path / "palette.json"
    path.write_text(PALETTE.to_json())
    assert Palette.load(path) == PALETTE
    assert read_palette(path) == [
        {"name": "wall", "color": [200, 40, 40]},
        {"name": "sky", "color": [90, 150, 240]},
    ]


def test_names_and_colours_may_be_edited(tmp_path: Path) -> None:
    path = tmp_path / "palette.json"
    path.write_text(PALETTE.to_json())
    path.write_text(path.read_text().replace('"sky"', '"Himmel, blau"').replace("240", "255"))
    assert Palette.load(path) == Palette(("wall", "Himmel, blau"), ((200, 40, 40), (90, 150, 255)))


def test_painted_classes_are_told_from_their_colours_even_when_they_are_off() -> None:
    classes = np.random.default_rng(0).integers(0, 2, (7, 9))
    noise = np.random.default_rng(1).integers(-20, 21, (7, 9, 3))
    painted = np.clip(PALETTE.paint(classes).astype(int) + noise, 0, 255).astype(np.uint8)
    assert PALETTE.paint(classes).dtype == np.uint8
    assert (PALETTE.nearest(painted) == classes).all()


@pytest.mark.parametrize("text", ["", "[]", '{"classes": [{"name": "a", "color": [0, 0]}]}'])
def test_what_is_no_palette_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "palette.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"palette\.json"):
        Palette.load(path)
