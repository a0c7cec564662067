"""What images are: channels, what their values mean, and how those become a network's.

A dataset, a model and a translator each state an `ImageSpec` for what goes in and one for what comes out. Whatever does
not fit is converted by a named rule or refused with a sentence, never changed silently. Nothing heavy is imported.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from translatekit.errors import OptionError
from translatekit.types import Color, SliceAxis

Meaning = Literal["rgb", "gray", "values", "labels"]
Dtype = Literal["uint8", "uint16", "int16", "float32"]
Codec = Literal["linear", "lab", "onehot"]

MAX_CHANNELS = 2**16
_MAX_TEXT = 200  # characters of a name or a unit
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """What the images are that a dataset gives, or that a model takes or gives.

    Arrays of such images are (..., H, W, C). With `levels`, integers are steps of a scale from black to white: uint8 in
    [0, 255] and float32 in [0, 1] say the same, as in photographs. Without, numbers are what they say, in `unit`:
    arrays are float32. Class numbers are uint8.

    Attributes:
        channels: their names; as many as an array has.
        meaning: ``rgb`` and ``gray`` are for the eye, ``values`` are measured quantities, ``labels`` are class numbers
            in the first channel (a second one, ``edge``, is 1 where two instances meet).
        levels: whether integers are steps of a scale.
        dtype: what files of such images hold, and are written with where their format can.
        low, high: the values that a network's -1 and 1 stand for: one for all channels, or one for each.
        clip: whether values beyond `low` and `high` are drawn to them on their way into the network.
        unit: of the values, such as ``HU``.
        codec: how values become a network's: ``linear``, ``lab`` (L* of gray into the network, a*b* out of it) or
            ``onehot`` (one channel of 0 and 1 for each class).
        slices: neighbouring slices of a volume that are the channels of an image, each slice with all its channels.
        network_slices: of an output: neighbouring slices that the network makes, of which the image is the middle one.
        slice_axis: which slices of a volume they are, where its file says how it lies in the body.
        classes: of labels: names, by position.
        ids: of labels: the number that stands for each class in files.
        palette: of labels: the colour of each class, sRGB levels in [0, 255].
    """

    channels: tuple[str, ...] = ("red", "green", "blue")
    meaning: Meaning = "rgb"
    levels: bool = True
    dtype: Dtype = "uint8"
    low: tuple[float, ...] = (0.0,)
    high: tuple[float, ...] = (1.0,)
    clip: bool = False
    unit: str = ""
    codec: Codec = "linear"
    slices: int = 1
    network_slices: int = 1
    slice_axis: SliceAxis = "axial"
    classes: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()

    @property
    def count(self) -> int:
        """Channels of an array."""
        return len(self.channels)

    @property
    def network_channels(self) -> int:
        """Channels of the network's tensors."""
        if self.codec == "onehot":
            return len(self.ids) + (self.count - 1)
        count = 2 if self.codec == "lab" and self.meaning == "rgb" else self.count
        return count * self.network_slices

    @property
    def shown(self) -> bool:
        """Whether its values are made for the eye: gray or RGB, black to white."""
        return self.meaning in ("rgb", "gray") and self.levels

    @property
    def eight_bits(self) -> bool:
        """Whether uint8 says all that its files do: levels of 8 bits, or class numbers."""
        return self.meaning == "labels" or (self.levels and self.dtype == "uint8")

    @property
    def span(self) -> tuple[float, float]:
        """The lowest and the highest value of all channels."""
        return min(self.low), max(self.high)

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """The low and the high value: one pair for all channels, or one for each."""
        count = max(len(self.low), len(self.high))
        return tuple(
            (self.low[index % len(self.low)], self.high[index % len(self.high)]) for index in range(count)
        )

    def with_range(
        self,
        low: float | Sequence[float],
        high: float | Sequence[float],
        *,
        unit: str = "",
        clip: bool = True,
    ) -> ImageSpec:
        """The same channels with values as they are, of which `low` and `high` are the network's -1 and 1.

        Args:
            low, high: one for all channels, or one for each.
            unit: of the values; the spec's own where it is empty.
            clip: whether values beyond are drawn to them. Without, and with the mean less and plus one standard
                deviation as `low` and `high`, the network sees standardized values (z-scores).
        """
        lows = (low,) if isinstance(low, int | float) else tuple(low)
        highs = (high,) if isinstance(high, int | float) else tuple(high)
        return replace(
            self,
            levels=False,
            low=tuple(map(float, lows)),
            high=tuple(map(float, highs)),
            clip=clip,
            unit=unit or self.unit,
        )

    def __str__(self) -> str:
        """In a few words, such as ``RGB of uint8`` or ``1 channel (CT) of int16, -1024 to 3071 HU``."""
        if self.meaning in ("rgb", "gray") and self.levels:
            what = "RGB" if self.meaning == "rgb" else "gray"
            return f"{what} of {self.dtype}"
        if self.meaning == "labels":
            return f"labels of {len(self.ids)} classes" + (
                " with the edges of instances" if self.count == 2 else ""
            )
        names = self.channels if self.count <= 6 else (*self.channels[:3], "...", self.channels[-1])
        text = f"{self.count} channel{'s' * (self.count > 1)} ({', '.join(names)}) of {self.dtype}"
        if not self.levels and (self.clip or self.span != (0.0, 1.0)):
            low, high = self.span
            text += f", {low:g} to {high:g}{' ' * bool(self.unit)}{self.unit}"
        elif self.unit:
            text += f" in {self.unit}"
        return text

    def to_fields(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON has it, and always the channels and their meaning."""
        default = ImageSpec()
        return {
            name: value
            for name, value in asdict(self).items()
            if name in ("channels", "meaning") or value != getattr(default, name)
        }

    @classmethod
    def from_fields(cls, given: Mapping[str, Any]) -> ImageSpec:
        """A spec from JSON, each field checked.

        Raises:
            ValueError: the first thing that is wrong, in words.
        """
        unknown = sorted(given.keys() - {item.name for item in fields(cls)})
        if unknown:
            raise ValueError(f"it has the unknown field {unknown[0]!r:.80}")
        for name, value in given.items():
            if not _HOLDS[name](value):
                raise ValueError(f"its {name} cannot be {value!r:.80}")
        values = {name: _frozen(value) for name, value in given.items()}
        for name in ("low", "high"):
            if name in values:
                values[name] = tuple(map(float, values[name]))
        spec = cls(**values)
        spec.check()
        return spec

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ValueError: what does, in words.
        """
        expected = {"rgb": (3,), "gray": (1,), "labels": (1, 2)}.get(self.meaning)
        if expected is not None and self.slices == 1 and self.count not in expected:
            raise ValueError(f"{self.meaning} has {expected[0]} channels, not {self.count}")
        for name, bounds in (("low", self.low), ("high", self.high)):
            if len(bounds) not in (1, self.count):
                raise ValueError(f"it has {self.count} channels, but {len(bounds)} values of {name}")
        if any(not low < high for low, high in self.bounds):
            raise ValueError("low must be below high")
        if self.levels and (self.span != (0.0, 1.0)):
            raise ValueError("levels go from 0 to 1")
        if self.count % self.slices:
            raise ValueError(f"its {self.count} channels are no multiple of its {self.slices} slices")
        if self.network_slices > 1 and (self.slices > 1 or self.codec != "linear"):
            raise ValueError(
                "of several slices that a network makes, the image is the middle one, coded linear"
            )
        if (self.meaning == "labels") != (self.codec == "onehot"):
            raise ValueError("labels, and nothing else, are coded onehot")
        if self.codec == "lab" and not self.shown:
            raise ValueError("lab is a code of gray and RGB")
        if self.meaning == "labels" and not self.ids:
            raise ValueError("labels have ids")
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("two classes have one id")
        for name, named in (("classes", self.classes), ("palette", self.palette)):
            if len(named) not in (0, len(self.ids)):
                raise ValueError(f"it has {len(self.ids)} ids, but {len(named)} {name}")


RGB = ImageSpec()
"""Photographs: RGB of 8 bits."""

GRAY = ImageSpec(channels=("gray",), meaning="gray")
"""Gray of 8 bits."""


def levels_spec(channels: int, dtype: Dtype = "uint8") -> ImageSpec:
    """The spec of images of so many channels whose integers are levels: gray, RGB, or else without a colour."""
    if channels in (1, 3):
        return replace(GRAY if channels == 1 else RGB, dtype=dtype)
    names = tuple(f"channel {index + 1}" for index in range(channels))
    return ImageSpec(channels=names, meaning="values", dtype=dtype)


def specs_of_8_bits(color: Color, in_channels: int, out_channels: int) -> tuple[ImageSpec, ImageSpec]:
    """What a network takes and gives that was trained on levels of 8 bits.

    Args:
        color: what its channels mean.
        in_channels, out_channels: of the network.
    """
    if color == "lab":
        return replace(GRAY, codec="lab"), replace(RGB, codec="lab")
    return levels_spec(in_channels), levels_spec(out_channels)


def labels_spec(ids: Sequence[int], classes: Sequence[str] = (), *, edges: bool = False) -> ImageSpec:
    """The spec of maps of class numbers."""
    return ImageSpec(
        channels=("class", "edge") if edges else ("class",),
        meaning="labels",
        levels=False,
        codec="onehot",
        ids=tuple(ids),
        classes=tuple(classes),
    )


def parse_range(text: str) -> tuple[float, float]:
    """``-1024..3071`` as two numbers.

    Raises:
        OptionError: it is no range.
    """
    match = _RANGE.fullmatch(text)
    low, high = (float(match[1]), float(match[2])) if match else (math.nan, math.nan)
    if not low < high:
        raise OptionError(
            f"{text!r} is no range of values: write the lowest and the highest, such as -1024..3071"
        )
    return low, high


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_list(value: Any, holds: Any, minimum: int = 0, maximum: int = MAX_CHANNELS) -> bool:
    return isinstance(value, list | tuple) and minimum <= len(value) <= maximum and all(map(holds, value))


def _is_color(value: Any) -> bool:
    return _is_list(value, lambda level: _is_whole(level, 0, 255), 3, 3)


_HOLDS: dict[str, Any] = {
    "channels": lambda value: _is_list(value, _is_text, 1),
    "meaning": get_args(Meaning).__contains__,
    "levels": lambda value: isinstance(value, bool),
    "dtype": get_args(Dtype).__contains__,
    "low": lambda value: _is_list(value, _is_number, 1),
    "high": lambda value: _is_list(value, _is_number, 1),
    "clip": lambda value: isinstance(value, bool),
    "unit": _is_text,
    "codec": get_args(Codec).__contains__,
    "slice_axis": get_args(SliceAxis).__contains__,
    "slices": lambda value: _is_whole(value, 1, 999),
    "network_slices": lambda value: _is_whole(value, 1, 999),
    "classes": lambda value: _is_list(value, _is_text),
    "ids": lambda value: _is_list(value, lambda number: _is_whole(number, 0, 255)),
    "palette": lambda value: _is_list(value, _is_color),
}
