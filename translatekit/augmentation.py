"""Random changes of training images, and folds, as users write them."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

_NUMBER = r"\d{1,4}(?:\.\d{1,6})?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Augment:
    """Changes of training images beyond crops and flips. Its text: ``rotate=15,scale=0.9..1.1,color=0.2,elastic=0.03``.

    Attributes:
        rotate: degrees, at most, in either direction.
        scale: the least and the largest factor of size; above 1 enlarges.
        elastic: how far pixels are moved at most along a smooth field, as a share of the crop's side.
        color: how much contrast, saturation (of RGB) and brightness change at most; all images of an item alike.
        color_a, color_b: the same of one side alone, in place of `color`.
    """

    rotate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    elastic: float = 0.0
    color: float = 0.0
    color_a: float | None = None
    color_b: float | None = None

    metavar: ClassVar[str] = "KEY=VALUE,..."
    _limits: ClassVar[dict[str, float]] = {
        "rotate": 180,
        "elastic": 0.1,
        "color": 1,
        "color_a": 1,
        "color_b": 1,
    }

    @classmethod
    def parse(cls, value: Any) -> Augment:
        """Changes from their text.

        Raises:
            ValueError: it is no such text, or a number lies outside of its range.
        """
        if isinstance(value, cls):
            return value
        given: dict[str, Any] = {}
        for word in str(value).split(","):
            key, _, text = (part.strip() for part in word.partition("="))
            name = key.lower()
            if name not in {item.name for item in fields(cls)} or name in given:
                raise ValueError(f"{value!r} is not {cls.words()}")
            pattern = rf"({_NUMBER})\.\.({_NUMBER})" if name == "scale" else f"({_NUMBER})"
            found = re.fullmatch(pattern, text, re.ASCII)
            if found is None:
                raise ValueError(f"{value!r} is not {cls.words()}")
            numbers = [float(group) for group in found.groups()]
            if name == "scale":
                given[name] = (numbers[0], numbers[1])
                if not 0.1 <= numbers[0] <= numbers[1] <= 10:
                    raise ValueError(f"{value!r} is not {cls.words()}")
            else:
                (given[name],) = numbers
                if numbers[0] > cls._limits[name]:
                    raise ValueError(f"{value!r} is not {cls.words()}")
        return cls(**given)

    @staticmethod
    def words() -> str:
        """What can be parsed, in words."""
        return (
            "some of rotate=0 to 180, scale=LEAST..LARGEST from 0.1 to 10, elastic=0 to 0.1 and color, color_A or "
            "color_B=0 to 1, with commas, such as rotate=15,scale=0.9..1.1"
        )

    def __str__(self) -> str:
        """``rotate=15,scale=0.9..1.1``: what differs from no change."""
        parts = []
        for item in fields(self):
            value = getattr(self, item.name)
            if value == item.default:
                continue
            name = item.name.replace("_a", "_A").replace("_b", "_B")
            parts.append(f"{name}={'..'.join(map(_text, value if item.name == 'scale' else (value,)))}")
        return ",".join(parts) or "rotate=0"

    @property
    def geometry(self) -> bool:
        """Whether it moves pixels."""
        return bool(self.rotate or self.elastic) or self.scale != (1.0, 1.0)

    def color_of(self, side: str | None) -> float:
        """How much the colours of a side change."""
        own = {"A": self.color_a, "B": self.color_b}.get(str(side))
        return self.color if own is None else own


def _text(number: float) -> str:
    """A number in all the digits that it may be written with."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


class Fold(NamedTuple):
    """A part of the training images that is left out, to validate on. Its text: ``2/5``, the second of five."""

    number: int
    of: int

    @classmethod
    def parse(cls, value: Any) -> Fold:
        """A fold from ``"2/5"`` or ``(2, 5)``.

        Raises:
            ValueError: it is neither, or there is no such part.
        """
        text = "/".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
        found = re.fullmatch(r"\s*([1-9]\d{0,2})/([1-9]\d{0,2})\s*", text, re.ASCII)
        if found is None or int(found[2]) < 2 or int(found[1]) > int(found[2]):
            raise ValueError(f"{value!r} is not {cls.words()}")
        return cls(int(found[1]), int(found[2]))

    @staticmethod
    def words() -> str:
        """What can be parsed, in words."""
        return "NUMBER/COUNT with at least two folds, such as 2/5 for the second of five"

    def __str__(self) -> str:
        """``2/5``."""
        return f"{self.number}/{self.of}"
