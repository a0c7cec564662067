"""One of several parts of a run, told by the names alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` parts, which are disjoint and together everything.

    Attributes:
        number: from 1 on.
        count: of all parts.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, value: Any) -> Shard:
        """From such as ``3/16``.

        Raises:
            ValueError: it is none.
        """
        if isinstance(value, cls):
            return value
        found = re.fullmatch(r"\s*(\d{1,6})\s*/\s*(\d{1,6})\s*", str(value), re.ASCII)
        if found and 1 <= int(found[1]) <= int(found[2]):
            return cls(int(found[1]), int(found[2]))
        raise ValueError(f"{value!r} is not {cls.words()}")

    @staticmethod
    def words() -> str:
        """What can be parsed, in words."""
        return "a part N/COUNT with N from 1 to COUNT, such as 3/16"

    def __str__(self) -> str:
        """As `parse` takes it."""
        return f"{self.number}/{self.count}"

    @property
    def name(self) -> str:
        """As files are called after it: ``003-of-016``."""
        return f"{self.number:03d}-of-{self.count:03d}"

    def holds(self, output: str) -> bool:
        """Whether an output is of this part: by BLAKE2b of its name, so that all that would have it are of one part."""
        value = blake2b(output.encode(errors="surrogateescape"), digest_size=8).digest()
        return int.from_bytes(value, "big") % self.count == self.number - 1
