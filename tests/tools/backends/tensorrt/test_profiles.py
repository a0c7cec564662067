"""What --batch and --shapes mean."""

from __future__ import annotations

import pytest
from translatekit_tools.backends.tensorrt.profiles import (
    Profile,
    choose_profile,
    parse_profiles,
    write_profiles,
)

from tests.tools.backends.tensorrt.engines import INFO
from translatekit.errors import DataError, OptionError


def test_the_training_size_is_the_default() -> None:
    assert parse_profiles("1,8,32", None, INFO) == (Profile((1, 8, 8), (8, 8, 8), (32, 8, 8)),)


def test_a_single_number_is_the_most() -> None:
    (profile,) = parse_profiles("16", None, INFO)
    assert [side[0] for side in (profile.minimum, profile.optimum, profile.maximum)] == [1, 16, 16]


def test_sizes_make_a_profile_each_and_slashes_a_range() -> None:
    profiles = parse_profiles("2", "16x8, 4x4/8x8/32x64,16x8", INFO)
    assert profiles == (
        Profile((1, 8, 16), (2, 8, 16), (2, 8, 16)),
        Profile((1, 4, 4), (2, 8, 8), (2, 64, 32)),
    )
    assert [str(profile) for profile in profiles] == ["16x8", "4x4 to 32x64"]


@pytest.mark.parametrize("batch", ["", "a", "1,2", "1,2,3,4", "0", "0,1,2", "4,2,8", "1,8,4", "-1"])
def test_wrong_batches_are_refused(batch: str) -> None:
    with pytest.raises(OptionError, match=f"--batch .*{batch!r}: pass --batch 1,8,32"):
        parse_profiles(batch, None, INFO)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ("8y8", "'8y8': write it so"),
        ("8x8/16x16", "smallest/tuned for/largest, got '8x8/16x16'"),
        ("8x8/4x4/16x16", "in this order, got '8x8/4x4/16x16'"),
        ("8x8,", "got ''"),
        ("8x10", r"unet needs sides that are multiples of 4, got 8x10 in --shapes: pass --shapes 8x12"),
        ("0x4", "got '0x4': write it so"),
        ("1e3x4", "got '1e3x4': write it so"),
    ],
)
def test_wrong_shapes_are_refused(shapes: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        parse_profiles("1", shapes, INFO)


def test_the_narrowest_profile_serves() -> None:
    profiles = parse_profiles("1", "4x4/8x8/64x64,8x8,16x16", INFO)
    assert [choose_profile(profiles, *size, "") for size in ((8, 8), (16, 16), (12, 8))] == [1, 2, 0]


def test_a_size_that_no_profile_takes_is_told() -> None:
    profiles = parse_profiles("1", "4x4/8x8/64x64,8x128", INFO)
    with pytest.raises(DataError, match=r"4x4 to 64x64, 8x128, got 8x68: pass --size") as caught:
        choose_profile(profiles, 68, 8, "translatekit compile m -o e --shapes 8x8")
    assert str(caught.value).endswith("translatekit compile m -o e --shapes 8x8,8x68")


def test_profiles_are_written_as_they_are_read() -> None:
    for given in (("1,8,32", "8x8"), ("2,2,2", "16x8,4x4/8x8/32x64")):
        assert write_profiles(parse_profiles(*given, INFO)) == given
