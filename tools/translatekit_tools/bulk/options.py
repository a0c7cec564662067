"""The options of bulk translation: one dataclass that is the command line and the Python API."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, Literal

from translatekit.bridge import MAX_STEPS
from translatekit.config import option
from translatekit.errors import OptionError
from translatekit.options import LARGEST_SEED, LARGEST_SIDE
from translatekit.precision import Precision
from translatekit.sizes import Size
from translatekit.types import HdrHandling, SliceAxis
from translatekit_tools.bulk.addresses import RawFrames, parse_rate
from translatekit_tools.bulk.shards import Shard
from translatekit_tools.bulk.tracks import Selection

SUFFIXES: dict[str, str] = {"png": ".png", "jpg": ".jpg", "webp": ".webp", "tiff": ".tiff"}
"""From ``--format`` to the suffix of the files it writes."""

_PREFIXES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_PREFIXES |= {f"{prefix}I": 2 ** (10 * power) for power, prefix in enumerate("KMGT", 1)}


@dataclass(frozen=True, slots=True)
class Memory:
    """How much memory may be taken: ``8GB`` in all, or ``0.7`` of what is free.

    Attributes:
        size: in bytes, or None.
        share: of what is free, in (0, 1]; where there is no size.
    """

    size: int | None
    share: float = 1.0

    @classmethod
    def parse(cls, value: Any) -> Memory:
        """From such as ``0.7``, ``"70%"``, ``"8GB"`` or ``"512 MiB"``.

        Raises:
            ValueError: it is none of these, or less than a megabyte.
        """
        if isinstance(value, cls):
            return value
        found = re.fullmatch(r"\s*(\d*\.?\d+)\s*(%|[KMGT]?I?B?)\s*", str(value).upper(), re.ASCII)
        if found:
            number, unit = float(found[1]), found[2].removesuffix("B")
            share = number / 100 if unit == "%" else number
            if found[2] in ("", "%") and 0 < share <= 1:
                return cls(None, share)
            if unit in _PREFIXES and number * _PREFIXES[unit] >= 10**6:
                return cls(int(number * _PREFIXES[unit]))
        raise ValueError(f"{value!r} is not {cls.words()}")

    @staticmethod
    def words() -> str:
        """What can be parsed, in words."""
        return "a size such as 8GB (1MB at least), or a share of what is free such as 0.7"

    def among(self, processes: int) -> Memory:
        """What each of several processes may take."""
        return Memory(None if self.size is None else self.size // processes, self.share / processes)

    def __str__(self) -> str:
        """As `parse` takes it."""
        return f"{self.share:g}" if self.size is None else f"{self.size}B"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Everything ``translatekit run`` can be told beside its inputs, its model and where the output goes.

    Fields whose metadata says ``result`` change the pixels or the bytes of an output; a rerun does again what
    was done with other values of them.
    """

    direction: str | None = option(
        None, "Which generator of a run's folder, such as BtoA; its main one when not given.", "Model"
    )
    best: bool = option(False, "Use the run's best.safetensors instead of its newest weights.", "Model")
    noise: int | None = option(
        None,
        "Draw noise from this seed, such as dropout, a style, or that of a model of several passes.",
        "Model",
        metavar="SEED",
        result=True,
        minimum=0,
        maximum=LARGEST_SEED,
    )

    passes: int | None = option(
        None,
        "Passes for an image, of a model that takes several and refines its output in each; as many as it was trained "
        "for when not given.",
        "Model",
        result=True,
        minimum=1,
        maximum=MAX_STEPS,
    )

    size: Size | None = option(
        None,
        "Resize to this size first; the image's own when not given.",
        "Size",
        metavar="SIDE|WIDTHxHEIGHT",
        result=True,
    )
    fit: Literal["pad", "resize", "crop"] = option(
        "pad",
        "How sides become multiples of what the network needs: reflect-pad and cut back, resize and "
        "resize back, or crop around the centre.",
        "Size",
        result=True,
    )

    tile: int | None = option(
        None,
        "Translate larger images in overlapping tiles of N x N pixels, which takes less memory.",
        "Size",
        metavar="N",
        result=True,
        minimum=1,
        maximum=LARGEST_SIDE,
    )
    overlap: int | None = option(
        None,
        "Pixels that tiles overlap by; a quarter of the tile when not given.",
        "Size",
        result=True,
        minimum=0,
        maximum=LARGEST_SIDE,
    )

    format: Literal["keep", "png", "jpg", "webp", "tiff"] = option(
        "keep",
        "Format of the output; keep writes the input's, or PNG where that cannot be written.",
        "Output",
    )
    suffix: str | None = option(
        None,
        "Added to each name before its extension; -translated when an output lands beside its input.",
        "Output",
    )
    quality: int = option(95, "Quality of JPEG and WebP.", "Output", result=True, minimum=1, maximum=100)
    compression: int = option(
        4,
        "Compression of PNG and TIFF: more is smaller and slower.",
        "Output",
        result=True,
        minimum=0,
        maximum=9,
    )
    force: bool = option(False, "Translate everything again and overwrite what is there.", "Output")
    verify: bool = option(
        False,
        "Compare the contents of inputs and outputs with what an earlier run has noted, not only sizes and times.",
        "Output",
    )
    dry_run: bool = option(False, "Say what would be done, and do nothing.", "Output")

    shard: Shard | None = option(
        None,
        "Translate one of N parts, such as 3/16 on the third of 16 hosts. Which part an image is of follows from its "
        "name, so that the hosts need know nothing of each other.",
        "Shards",
        metavar="I/N",
    )

    stats: bool = option(False, "Print where the time went, and which stage the others wait for.", "Output")

    container: (
        Literal[
            "mp4",
            "mov",
            "mkv",
            "webm",
            "avi",
            "ts",
            "m2ts",
            "mpg",
            "mxf",
            "flv",
            "wmv",
            "3gp",
            "nut",
            "y4m",
            "raw",
        ]
        | None
    ) = option(
        None,
        "Format of videos; the input's, or MP4 where that is only read, when not given, and MKV for -o -.",
        "Video",
    )
    fps: str | None = option(
        None,
        "Frames a second of numbered images (frames/%06d.png) and of --raw: 25, 29.97 or 30000/1001.",
        "Video",
        metavar="RATE",
        result=True,
    )
    raw: str | None = option(
        None,
        "What the frames on standard input are, where they have no header: 640x480, or 640x480:yuv420p; rgb24 "
        "when not given.",
        "Video",
        metavar="WxH[:FMT]",
        result=True,
    )
    codec: str | None = option(
        None, "FFmpeg's encoder; libx264, or libvpx-vp9 for .webm, when not given.", "Video", result=True
    )
    crf: int | None = option(
        None,
        "The encoder's constant quality: lower is better and larger; 18 for x264.",
        "Video",
        result=True,
        minimum=0,
        maximum=63,
    )
    preset: str | None = option(
        None, "The encoder's preset; veryfast for x264 when not given.", "Video", result=True
    )
    pix_fmt: str | None = option(
        None,
        "FFmpeg's pixel format; by bit depth, size and transparency when not given.",
        "Video",
        result=True,
    )
    start: float = option(0.0, "Second of the video to start at.", "Video", result=True, minimum=0)
    end: float | None = option(
        None, "Second of the video to end before.", "Video", result=True, exclusive_minimum=0
    )
    every: int = option(
        1, "Take only every Nth frame; their time stamps stay.", "Video", metavar="N", result=True, minimum=1
    )
    frames: str | None = option(
        None, "Write the frames of videos as images into DIR/NAME.", "Video", metavar="DIR"
    )
    side_by_side: bool = option(False, "Show input and output beside each other.", "Video", result=True)
    smooth: float = option(
        0.0,
        "Lower flicker by blending each frame with the one before, moved along the optical flow; 0.6 is much.",
        "Video",
        metavar="SHARE",
        result=True,
        minimum=0,
        maximum=0.95,
    )

    deinterlace: bool = option(
        True,
        "Make one frame of the two fields of interlaced frames; else the model sees them interlaced.",
        "Video",
        result=True,
    )
    hdr: HdrHandling = option(
        "keep",
        "What the model sees of HDR (PQ, HLG) and BT.2020 videos: their values as they are, or tone-mapped to SDR "
        "(BT.709), which the output then is.",
        "Video",
        result=True,
    )
    even: bool = option(
        False,
        "Repeat the last row or column of frames with odd sides: H.264 and H.265 want even ones for 4:2:0.",
        "Video",
        result=True,
    )
    audio: bool = option(True, "Copy the audio.", "Video", result=True, copied=True)
    map: str | None = option(
        None,
        "Tracks to take, such as v:1,a:0,s or a:eng (kind, number or language); the first video and all else "
        "when not given.",
        "Video",
        metavar="TRACKS",
        result=True,
        copied=True,
    )
    skip_damaged: bool = option(
        False, "Leave out frames that cannot be decoded instead of refusing the video.", "Video"
    )

    slice_axis: SliceAxis | None = option(
        None,
        "Which slices of a NIfTI volume are translated, by their place in the body; those that the model was trained "
        "on, when not given.",
        "Model",
        result=True,
    )
    batch_size: int | None = option(
        None,
        "Images of one shape to translate at once; chosen by device and shape when not given.",
        "Hardware",
        minimum=1,
        maximum=4096,
    )
    memory: Memory = option(
        Memory(None, 0.7),
        "The most memory to take: a size such as 8GB, or a share of what is free. Images that need more are "
        "translated in tiles, or refused.",
        "Hardware",
        metavar="SIZE|SHARE",
    )
    backend: str | None = option(
        None,
        "What runs the model where several can, such as openvino for an .onnx; the one whose own file it is when not "
        "given.",
        "Hardware",
        metavar="NAME",
        result=True,
    )
    devices: str | None = option(
        None,
        "Translate in several processes of this machine, one on each of these: 0,1,2,3 are GPUs, auto all there are, "
        "and cpu,cpu two processes on the CPU.",
        "Hardware",
        metavar="LIST",
    )
    device: str = option("auto", "cpu, cuda, cuda:1, mps or auto.", "Hardware")
    precision: Precision = option(
        "auto",
        "Numbers to compute with; auto is what a compiled file was made for, and else fp32.",
        "Hardware",
        result=True,
    )

    def __post_init__(self) -> None:
        if self.suffix and re.search(r"[/\\\0]", self.suffix):
            raise OptionError(f"--suffix {self.suffix!r} is not part of a file name: leave out the slashes")
        if self.end is not None and self.end <= self.start:
            raise OptionError(f"--end must come after --start {self.start:g}, got {self.end:g}")
        if self.devices is not None and self.device != "auto":
            raise OptionError("--devices names all devices: leave out --device")
        if self.overlap is not None and self.tile is None:
            raise OptionError("--overlap says how far tiles overlap: pass --tile with it")
        if self.fps is not None:
            parse_rate(self.fps)
        if self.raw is not None:
            RawFrames.parse(self.raw)
            if self.fps is None:
                raise OptionError(
                    "--raw says what a frame is, and not how long it is shown: pass --fps with it"
                )
        if self.map is not None:
            Selection(map=self.map).terms()

    def height_width(self) -> tuple[int, int] | None:
        """``size`` as arrays have it: (height, width) in pixels, or None."""
        return None if self.size is None else (self.size.height, self.size.width)

    def of_result(self) -> dict[str, Any]:
        """The options that an output's pixels and bytes depend on."""
        return {
            field.name: getattr(self, field.name) for field in fields(self) if field.metadata.get("result")
        }

    def of_frames(self) -> dict[str, Any]:
        """Those of them that the frames of a video depend on, and not only what is copied beside them."""
        copied = {field.name for field in fields(self) if field.metadata.get("copied")}
        return {name: value for name, value in self.of_result().items() if name not in copied}
