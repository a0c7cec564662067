"""What images are, in words and numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from translatekit.errors import OptionError
from translatekit.image_spec import GRAY, RGB, ImageSpec, labels_spec, levels_spec, parse_range

HOUNSFIELD = ImageSpec(channels=("CT",), meaning="values", dtype="int16").with_range(-1024, 3071, unit="HU")
BANDS = ImageSpec(channels=("B02", "B03"), meaning="values", dtype="uint16").with_range((0, 10), (4000, 5000))
CITY = labels_spec([0, 7, 255], ["void", "road", "sky"], edges=True)


@pytest.mark.parametrize("spec", [RGB, GRAY, HOUNSFIELD, BANDS, CITY, levels_spec(5)])
def test_a_spec_survives_json(spec: ImageSpec) -> None:
    spec.check()
    assert ImageSpec.from_fields(json.loads(json.dumps(spec.to_fields()))) == spec


def test_a_spec_in_words() -> None:
    assert str(RGB) == "RGB of uint8"
    assert str(HOUNSFIELD) == "1 channel (CT) of int16, -1024 to 3071 HU"
    assert str(replace(HOUNSFIELD, low=(0.0,), high=(1.0,), clip=False)) == "1 channel (CT) of int16 in HU"
    assert str(BANDS) == "2 channels (B02, B03) of uint16, 0 to 5000"
    assert str(CITY) == "labels of 3 classes with the edges of instances"
    assert str(levels_spec(13)) == "13 channels (channel 1, channel 2, channel 3, ..., channel 13) of uint8"


def test_the_channels_of_the_network() -> None:
    assert [spec.network_channels for spec in (RGB, GRAY, BANDS, CITY)] == [3, 1, 2, 4]
    lab = [ImageSpec.from_fields({**spec.to_fields(), "codec": "lab"}) for spec in (GRAY, RGB)]
    assert [spec.network_channels for spec in lab] == [1, 2]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"colour": "rgb"}, "unknown field 'colour'"),
        ({"channels": []}, "channels cannot be"),
        ({"channels": ["a", "b"]}, "rgb has 3 channels, not 2"),
        ({"channels": ["a"], "meaning": "values", "low": [0.0, 1.0], "levels": False}, "2 values of low"),
        ({"channels": ["a"], "meaning": "values", "low": [float("nan")]}, "low cannot be"),
        (
            {"channels": ["a"], "meaning": "values", "low": [3], "high": [2], "levels": False},
            "low must be below",
        ),
        ({"high": [255.0]}, "levels go from 0 to 1"),
        ({"meaning": "labels", "channels": ["class"], "levels": False, "codec": "onehot"}, "labels have ids"),
        ({"meaning": "labels", "channels": ["class"], "ids": [1]}, "coded onehot"),
        ({"slices": 2}, "no multiple of its 2 slices"),
        ({"dtype": "float16"}, "dtype cannot be"),
    ],
)
def test_what_contradicts_itself_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ImageSpec.from_fields(fields)


@pytest.mark.parametrize(
    ("text", "expected"), [("-1024..3071", (-1024, 3071)), ("0..1", (0, 1)), ("-1e3..+.5", (-1000, 0.5))]
)
def test_a_range_in_words(text: str, expected: tuple[float, float]) -> None:
    assert parse_range(text) == expected


@pytest.mark.parametrize("text", ["", "5", "3,4", "3..1", "a..b", "1..1", "nan..2"])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(OptionError, match=r"such as -1024\.\.3071"):
        parse_range(text)
