"""Videos that several workers of a cluster share: planned by one, made in parts by all, joined by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from translatekit_tools.bulk.split import Made, Part, Parts, Split
from translatekit_tools.bulk.work import Row


@dataclass(frozen=True, slots=True)
class Join:
    """All parts of a video are made."""

    split: Split


@dataclass(frozen=True, slots=True)
class Whole:
    """A video cannot be split after all."""

    split: Split


@dataclass(slots=True)
class _Video:
    split: Split
    left: set[int]
    done: int
    reason: str = ""
    is_misplaced: bool = False


@dataclass(slots=True)
class Videos:
    """Says what follows from each answer of a worker.

    Attributes:
        frames: told how many frames of a video are done, and how many there are.
        failed: rows of videos of which a part could not be made, to be told.
    """

    frames: Callable[[int, int], object]
    failed: list[Row] = field(default_factory=list)
    _open: dict[str, _Video] = field(default_factory=dict)

    def follow(self, answer: Row | Made) -> Iterable[Part | Join | Whole]:
        """What is to be done because of an answer."""
        if isinstance(answer, Row):
            return self._begin(answer.parts) if answer.parts is not None else ()
        split = answer.part.split
        video = self._open[split.output]
        video.left.discard(answer.part.segment)
        if answer.reason:
            video.reason = answer.reason
            video.is_misplaced = video.is_misplaced or answer.is_misplaced
        else:
            video.done += answer.part.frames
            self.frames(video.done, split.frames)
        if video.left:
            return ()
        del self._open[split.output]
        if video.is_misplaced:
            return [Whole(split)]
        if video.reason:
            self.failed.append(
                Row(name=split.item.name, output=split.output, outcome="failed", reason=video.reason)
            )
            return ()
        return [Join(split)]

    def _begin(self, parts: Parts) -> Iterable[Part | Join | Whole]:
        split = parts.split
        if not parts.missing:
            return [Join(split)]
        done = split.frames - sum(part.frames for part in parts.missing)
        self._open[split.output] = _Video(split, {part.segment for part in parts.missing}, done)
        return parts.missing
