"""What is known of many names, and where their records are, in 16 or 24 bytes a name."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from hashlib import blake2b


def digest(*texts: str) -> int:
    """64 bits of BLAKE2b of texts."""
    data = "\0".join(texts).encode(errors="surrogateescape")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


class Index:
    """From names to the places of their records, and what each record says in short.

    Names are kept as hashes. That two have the same one costs a look at a record that is another's; whoever looks
    compares the name in it.

    Args:
        has_places: whether records have places; else names alone have states.
    """

    def __init__(self, has_places: bool = True) -> None:
        self._keys, self._states, self._places = array("Q"), array("Q"), array("Q")
        self._has_places = has_places
        self._is_sorted = True

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def bytes(self) -> int:
        """That it takes, whatever the allocator keeps beside."""
        return sum(each.itemsize * len(each) for each in (self._keys, self._states, self._places))

    def add(self, name: str, state: int, place: int = 0) -> None:
        """Take note of a record.

        Args:
            name: of what it is about.
            state: what it says, in 64 bits.
            place: where it is.
        """
        key = digest(name)
        self._is_sorted = self._is_sorted and (not self._keys or self._keys[-1] <= key)
        self._keys.append(key)
        self._states.append(state)
        if self._has_places:
            self._places.append(place)

    def has(self, name: str, state: int) -> bool:
        """Whether a record says that of the name."""
        return any(self._states[at] == state for at in self._found(name))

    def newest(self, name: str) -> int | None:
        """What the newest record of a name says."""
        return self._states[at] if (at := max(self._found(name), default=None)) is not None else None

    def items(self, name: str) -> list[tuple[int, int]]:
        """States and places of the records of a name, the newest first."""
        return [(self._states[at], self._places[at]) for at in self._found(name)][::-1]

    def places(self, name: str) -> list[int]:
        """Where the records of a name are, the newest first."""
        return [self._places[at] for at in self._found(name)][::-1]

    def _found(self, name: str) -> Iterator[int]:
        if not self._is_sorted:
            self._sort()
        key = digest(name)
        at = bisect_left(self._keys, key)
        while at < len(self._keys) and self._keys[at] == key:
            yield at
            at += 1

    def _sort(self) -> None:
        import numpy as np

        order = np.argsort(np.frombuffer(self._keys, np.uint64), kind="stable")
        for values in (self._keys, self._states, self._places):
            if values:
                view = np.frombuffer(values, np.uint64)  # sorted where they are: there may be very many
                view[:] = view[order]
        self._is_sorted = True
