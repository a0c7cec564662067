"""Sizes and boxes as people write them: width first, by one parser for every command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from translatekit_tools.backends.batches import check_batch
from translatekit_tools.backends.tensorrt.profiles import parse_profiles
from translatekit_tools.bulk.options import RunOptions

from translatekit.cli import program
from translatekit.errors import DataError, OptionError
from translatekit.images import encode_image, image_of, read_size
from translatekit.model_info import ModelInfo
from translatekit.options import check_options, convert
from translatekit.sizes import Box, Size

INFO = ModelInfo(method="test", generator="unet", size_multiple=16)


@given(width=st.integers(1, 65_535), height=st.integers(1, 65_535))
@settings(derandomize=True, database=None)
def test_a_size_is_read_as_it_is_written(width: int, height: int) -> None:
    size = Size(width, height)
    assert str(size) == f"{width}x{height}"
    assert Size.parse(str(size)) == Size.parse([width, height]) == Size.parse(size) == size
    assert Size.parse(width) == Size.parse(f" {width} ") == Size(width, width)


@given(text=st.text(st.characters(codec="ascii"), max_size=12))
@settings(derandomize=True, database=None)
def test_any_other_text_is_refused_in_words(text: str) -> None:
    try:
        size = convert(text, Size, "--size")
    except OptionError as refused:
        said = str(refused)
    else:
        assert text.strip().lower() in (str(size), str(size.width))
        return
    assert said.startswith(
        "--size must be SIDE or WIDTHxHEIGHT in pixels up to 65535, such as 256 or 512x256, got "
    )


@pytest.mark.parametrize(
    "value", [0, "0x8", "65536", "8x", "x8", "8x8x8", "-8", 8.5, "8.5", (8,), None, True]
)
def test_what_is_no_size_is_refused(value: Any) -> None:
    with pytest.raises(OptionError, match="WIDTHxHEIGHT"):
        convert(value, Size, "x")


def test_none_is_told_apart_from_the_examples() -> None:
    with pytest.raises(OptionError, match=r"such as 256 or 512x256, or none, got '8x'"):
        convert("8x", Size | None, "x")
    assert convert("none", Size | None, "x") is None


@pytest.mark.parametrize("value", ["1,2,3,0", "1,2,3", "-1,2,3,4", "1,2,3,4,5", "a,b,c,d"])
def test_what_is_no_box_is_refused(value: str) -> None:
    with pytest.raises(OptionError, match="LEFT,TOP,WIDTH,HEIGHT"):
        convert(value, Box, "x")


def test_every_command_means_the_same_by_a_size(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encode_image(image_of(np.zeros((50, 70, 3), np.uint8)), ".png"))
    for command in ("resize", "crop", "tile"):
        out = tmp_path / command
        arguments = ["prepare", command, str(tmp_path / "in"), "-o", str(out), "--size", "32x16"]
        assert CliRunner().invoke(program, arguments).exit_code == 0
        assert {read_size(path) for path in out.glob("*.png")} == {(16, 32)}
    options = RunOptions(**check_options(RunOptions, {"size": "32x16"}, "run"))
    assert options.height_width() == (16, 32)
    (profile,) = parse_profiles("1", "32x16", INFO)
    assert profile.takes(16, 32)
    assert not profile.takes(32, 16)
    with pytest.raises(DataError, match="got 30x16"):
        check_batch(np.zeros((1, 16, 30, 3), np.uint8), INFO)
