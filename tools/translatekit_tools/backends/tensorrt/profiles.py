"""Which batch sizes and image sizes an engine is built for: TensorRT's optimization profiles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from translatekit.errors import DataError, OptionError
from translatekit.model_info import ModelInfo
from translatekit_tools.backends.shapes import parse_size

Shape = tuple[int, int, int]
"""Images, height and width in pixels."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A range of shapes, and the one among them that the engine is tuned for.

    Attributes:
        minimum, optimum, maximum: each side of `optimum` lies between those of the other two.
    """

    minimum: Shape
    optimum: Shape
    maximum: Shape

    def takes(self, height: int, width: int) -> bool:
        """Whether images of that size, in pixels, lie in the range."""
        return self.minimum[1] <= height <= self.maximum[1] and self.minimum[2] <= width <= self.maximum[2]

    def __str__(self) -> str:
        """The sizes in it, as a user writes them."""
        ends = [f"{width}x{height}" for _, height, width in (self.minimum, self.maximum)]
        return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def parse_profiles(batch: str, shapes: str | None, info: ModelInfo) -> tuple[Profile, ...]:
    """The profiles that ``--batch`` and ``--shapes`` ask for.

    Args:
        batch: images a batch: ``min,opt,max``, or ``N`` for anything up to N.
        shapes: ``WxH,WxH,...`` (width x height), a profile each; or in place of a WxH, ``WxH/WxH/WxH`` for a range
            (smallest, tuned for, largest); None for the size that the model was trained at.
        info: of the model.

    Raises:
        OptionError: an entry cannot be understood, is out of order, or is no multiple of what the network needs.
    """
    images = _parse_batch(batch)
    entries = (
        [f"{info.size}x{info.size}"] if shapes is None else [entry.strip() for entry in shapes.split(",")]
    )
    profiles = []
    for entry in entries:
        sizes = [parse_size(size, entry, info) for size in entry.split("/")]
        if len(sizes) not in (1, 3):
            raise OptionError(
                "--shapes takes WIDTHxHEIGHT, or three with slashes for smallest/tuned for/largest, "
                f"got {entry!r}: write it so"
            )
        lowest, usual, highest = sizes * 3 if len(sizes) == 1 else sizes
        if not all(lowest[side] <= usual[side] <= highest[side] for side in (0, 1)):
            raise OptionError(
                f"--shapes wants smallest/tuned for/largest in this order, got {entry!r}: swap them"
            )
        profiles.append(Profile((images[0], *lowest), (images[1], *usual), (images[2], *highest)))
    return tuple(dict.fromkeys(profiles))


def write_profiles(profiles: Sequence[Profile]) -> tuple[str, str]:
    """The ``--batch`` and ``--shapes`` that `parse_profiles` makes these profiles of."""
    first = profiles[0]
    batch = ",".join(str(shape[0]) for shape in (first.minimum, first.optimum, first.maximum))
    entries = []
    for profile in profiles:
        shapes = (profile.minimum, profile.optimum, profile.maximum)
        sizes = [f"{width}x{height}" for _, height, width in shapes]
        entries.append("/".join(sizes) if len(set(sizes)) > 1 else sizes[0])
    return batch, ",".join(entries)


def choose_profile(profiles: Sequence[Profile], height: int, width: int, rebuild: str) -> int:
    """The index of the profile that serves images of that size best: the narrowest that takes them.

    Args:
        profiles: of the engine.
        height, width: in pixels.
        rebuild: the command that builds the engine, ending in the sizes, for the error.

    Raises:
        DataError: none takes them.
    """
    fitting = [index for index, profile in enumerate(profiles) if profile.takes(height, width)]
    if not fitting:
        sizes = ", ".join(str(profile) for profile in profiles)
        raise DataError(
            f"the engine takes images of {sizes}, got {width}x{height}: "
            f"pass --size, or build it for more with {rebuild},{width}x{height}"
        )
    return min(fitting, key=lambda index: _span(profiles[index]))


def _span(profile: Profile) -> int:
    return (profile.maximum[1] - profile.minimum[1]) + (profile.maximum[2] - profile.minimum[2])


def _parse_batch(batch: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"\s*(\d+)\s*(?:,\s*(\d+)\s*,\s*(\d+)\s*)?", batch)
    if match is None:
        raise OptionError(f"--batch takes MIN,OPT,MAX or one number, got {batch!r}: pass --batch 1,8,32")
    numbers = [int(number) for number in match.groups() if number is not None]
    lowest, usual, highest = numbers if len(numbers) == 3 else (1, numbers[0], numbers[0])
    if not 1 <= lowest <= usual <= highest:
        raise OptionError(f"--batch wants 1 <= MIN <= OPT <= MAX, got {batch!r}: pass --batch 1,8,32")
    return lowest, usual, highest
