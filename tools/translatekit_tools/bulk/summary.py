"""What bulk work tells its caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from translatekit_tools.bulk.stats import Stats

MAX_OUTPUTS = 10_000
"""That are kept by name: there may be any number."""

Outcome = Literal["translated", "skipped", "failed", "split"]
"""``split`` is a video whose parts several workers will make."""


@dataclass(slots=True, kw_only=True)
class VideoResult:
    """What became of a video.

    Attributes:
        frames: how many were written, those of an earlier run included.
        damaged: how many were left out, since they could not be decoded.
        flicker: the warp error of the frames as they were translated, and as they were written; None where they were
            not smoothed.
        hdr: what it is, where it is not SDR in the colours of BT.709, and what the model saw of it.
    """

    frames: int = 0
    damaged: int = 0
    flicker: tuple[float, float] | None = None
    hdr: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one input.

    Attributes:
        source: the input; text where it is an address.
        output: where its translation is or would be; likewise.
        outcome: ``skipped`` is one that an earlier run has done.
        reason: one sentence, of a failed one.
        total: how many inputs there are; 0 where not all of them are found yet.
        bytes_read, bytes_written: sizes of the files.
        video: of a video or an animation, how many frames it has and how much they flicker.
    """

    source: Path | str
    output: Path | str
    outcome: Outcome
    reason: str = ""
    total: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    video: VideoResult | None = None


Progress = Callable[[Result], None]
"""Is told of each input, in order, when it is finished."""


@dataclass(slots=True, kw_only=True)
class Summary:
    """What became of all inputs.

    Attributes:
        translated: how many were (or, in a dry run, would be).
        skipped: how many an earlier run has done.
        failed: inputs with the reason, one sentence each.
        outputs: the files written (or that would be), in the order of the inputs; no more than the first 10,000.
        seconds: from the first input to the last output, loading the model included.
        dry_run: whether nothing was done.
        bytes_read, bytes_written: of the files that were translated.
        stats: where the time went.
        frames: of the videos and animations.
        left_out: how many files in the folders were left out because nothing reads them, by suffix.
        flicker: of each video that was smoothed, its warp error before and after
            (see `translatekit_tools.bulk.video.flow.warp_error`).
        hdr: how many videos were HDR or of a wide gamut, by what they are and what the model saw of them, such as
            ``HDR (PQ, BT.2020), values as they are``.
    """

    translated: int = 0
    skipped: int = 0
    failed: list[tuple[Path | str, str]] = field(default_factory=list)
    outputs: list[Path | str] = field(default_factory=list)
    seconds: float = 0.0
    dry_run: bool = False
    bytes_read: int = 0
    bytes_written: int = 0
    stats: Stats | None = None
    frames: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    flicker: dict[Path | str, tuple[float, float]] = field(default_factory=dict)
    hdr: dict[str, int] = field(default_factory=dict)

    @property
    def images_per_second(self) -> float:
        """Translated images a second."""
        return self.translated / self.seconds if self.seconds > 0 else 0.0

    def add(self, result: Result) -> None:
        """Count one input."""
        if result.outcome == "failed":
            self.failed.append((result.source, result.reason))
        elif result.outcome == "skipped":
            self.skipped += 1
        else:
            self.translated += 1
            if len(self.outputs) < MAX_OUTPUTS:
                self.outputs.append(result.output)
            self.bytes_read += result.bytes_read
            self.bytes_written += result.bytes_written
            if result.video is not None:
                self.frames += result.video.frames
                if result.video.flicker is not None:
                    self.flicker[result.source] = result.video.flicker
                if what := result.video.hdr:
                    self.hdr[what] = self.hdr.get(what, 0) + 1

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "translated": self.translated,
            "skipped": self.skipped,
            "failed": [{"path": str(path), "reason": reason} for path, reason in self.failed],
            "outputs": [str(path) for path in self.outputs],
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 3),
            "dry_run": self.dry_run,
            "frames": self.frames,
            "left_out": self.left_out,
            "flicker": {str(path): list(pair) for path, pair in self.flicker.items()},
            "hdr": self.hdr,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "stats": None if self.stats is None else self.stats.to_dict(),
        }
