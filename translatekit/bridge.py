"""Models that take several passes for one image: what a pass is given, and how the next one follows from it.

Kim et al., "Unpaired Image-to-Image Translation via Neural Schrödinger Bridge", ICLR 2024, section 4.1. A model file
holds the network of one pass, and so does every file that is compiled from it. What repeats it, `inference/passes.py`,
is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from translatekit.errors import OptionError
from translatekit.image_spec import ImageSpec

CONDITIONS = ("time", "noise")
"""The planes that a pass is given beside the channels of the image, in this order and behind them."""

MAX_STEPS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """The way from an image to its translation, in steps; the network foresees the end from each place.

    Attributes:
        times: when each step begins, rising from 0; the last one ends at 1.
        tau: the variance of the noise on the way, in network values.
        input, output: the images at both ends, as they are given and taken; the header's own `input` and `output` are
            those of one pass.
    """

    times: tuple[float, ...]
    tau: float
    input: ImageSpec
    output: ImageSpec

    @property
    def steps(self) -> int:
        """How many it has; as many passes at most are run for an image."""
        return len(self.times)

    def move(self, step: int) -> tuple[float, float]:
        """How a step leads on from where it begins (section 4.1 of the paper).

        Returns:
            The share s of what the network foresees in the next place, (1 - s) being that of the present one; and the
            standard deviation of the noise that is added.
        """
        begin, end = (*self.times, 1.0)[step : step + 2]
        share = (end - begin) / (1 - begin)
        return share, (share * (1 - share) * self.tau * (1 - begin)) ** 0.5

    def next_place(self, step: int, place: Any, end: Any, noise: Any) -> Any:
        """Where a step ends.

        Args:
            step: its number.
            place: where it begins, an array or a tensor in network values.
            end: what the network foresees there.
            noise: of variance 1.
        """
        share, deviation = self.move(step)
        return share * end + (1 - share) * place + deviation * noise

    def passes(self, asked: int | None) -> int:
        """How many passes are run: as many as asked for, or all.

        Raises:
            OptionError: there are fewer.
        """
        if asked is not None and not 1 <= asked <= self.steps:
            raise OptionError(
                f"the model was trained for {self.steps} passes, and {asked} are asked for: pass --passes with a "
                f"number from 1 to {self.steps}, or leave it out"
            )
        return self.steps if asked is None else asked

    @property
    def pass_input(self) -> ImageSpec:
        """What one pass takes: a place on the way, in network values, and planes that hold the time and noise."""
        return _in_network_values((*self.input.channels, *CONDITIONS))

    @property
    def pass_output(self) -> ImageSpec:
        """What one pass gives: the end that it foresees, in network values."""
        return _in_network_values(self.output.channels)

    def to_fields(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "times": list(self.times),
            "tau": self.tau,
            "input": self.input.to_fields(),
            "output": self.output.to_fields(),
        }

    @classmethod
    def from_fields(cls, given: Mapping[str, Any]) -> Bridge:
        """From JSON, each field checked.

        Raises:
            ValueError: the first thing that is wrong, in words.
        """
        names = {"times", "tau", "input", "output"}
        if given.keys() != names:
            odd = sorted(given.keys() ^ names)[0]
            raise ValueError(f"it has {'an unknown' if odd in given else 'no'} {odd!r:.80}")
        times, tau = given["times"], given["tau"]
        if not _rises(times):
            raise ValueError(f"its times cannot be {times!r:.80}")
        if type(tau) not in (int, float) or not 0 <= tau <= 1e6:
            raise ValueError(f"its tau cannot be {tau!r:.80}")
        specs = {}
        for name in ("input", "output"):
            if not isinstance(given[name], dict):
                raise ValueError(f"its {name} cannot be {given[name]!r:.80}")
            specs[name] = ImageSpec.from_fields(given[name])
        bridge = cls(times=tuple(map(float, times)), tau=float(tau), **specs)
        bridge.check()
        return bridge

    def check(self) -> None:
        """Refuse ends between which there is no way.

        Raises:
            ValueError: why not, in words.
        """
        for spec in (self.input, self.output):
            if spec.codec != "linear" or spec.network_slices > 1:
                raise ValueError(
                    f"there is no way between {spec}: class numbers, lab colours and slices have none"
                )
        if self.input.count != self.output.count:
            raise ValueError(
                f"the images on the way are mixtures of both ends, which have {self.input.count} and "
                f"{self.output.count} channels"
            )


def _rises(times: Any) -> bool:
    """Whether these are times of steps, from 0 and below 1."""
    if not isinstance(times, list) or not 1 <= len(times) <= MAX_STEPS:
        return False
    return (
        all(type(time) in (int, float) for time in times)
        and times[0] == 0
        and all(one < other for one, other in pairwise([*times, 1]))
    )


def _in_network_values(channels: tuple[str, ...]) -> ImageSpec:
    return ImageSpec(
        channels=channels, meaning="values", levels=False, dtype="float32", low=(-1.0,), high=(1.0,)
    )
