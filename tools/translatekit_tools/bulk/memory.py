"""How much memory there is, how much translating takes, and what is done with images for which it is too little."""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from translatekit.errors import DataError, OptionError
from translatekit.inference.predictor import Predictor
from translatekit.interfaces import Translator
from translatekit.sizes import Size
from translatekit_tools.bulk.options import Memory

_PLAIN, _DEEP = 24, 60
"""Bytes that a pixel of an image takes, from its decoding to its encoding, where both end at 8 bits; and else.

Measured with every format that is read and written: decoding takes up to 16 and 41, encoding 14 and 41 beside the 3 and
12 of the pixels themselves; WebP and AVIF take as much as deep images.
"""

_FRAMES = 76
"""Bytes that a pixel of a video takes: a frame that is decoded, one that is encoded, and five between them."""

_PLAIN_FORMATS = frozenset({"PNG", "JPEG", "BMP", "DIB", "GIF", "PPM", "TGA", "TIFF", "ICO"})
_MARGIN = 1.25
"""What is measured at small sizes and computed for large ones is multiplied by this."""

_TILES = (1024, 512, 256)
"""Sides of the tiles that are tried, in pixels; made multiples of what the network needs, twice that at least."""


def describe(size: float) -> str:
    """A number of bytes for people: ``4.1 GB``."""
    if size < 10**9:
        return f"{size / 10**6:,.0f} MB"
    return f"{size / 10**9:,.1f} GB" if size < 10**13 else f"{size / 10**12:,.0f} TB"


def available() -> int:
    """Bytes that this process may still take: what is free, within the limits of its control groups and its own."""
    process = psutil.Process().memory_info()
    left = [
        psutil.virtual_memory().available,
        *_left_in_cgroups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")),
    ]
    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        for name, used in (("RLIMIT_AS", process.vms), ("RLIMIT_DATA", getattr(process, "data", 0))):
            limit = resource.getrlimit(getattr(resource, name))[0]
            if limit != resource.RLIM_INFINITY:
                left.append(limit - used)
    return max(0, min(left))


def _left_in_cgroups(own: Path, mounted: Path) -> Iterator[int]:
    """What the control groups of this process, and those above them, leave it.

    Args:
        own: says which groups these are (see cgroups(7)).
        mounted: where the hierarchies are.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            roots, names = [mounted / "memory"], ("memory.limit_in_bytes", "memory.usage_in_bytes")
        elif not controllers:
            roots, names = [mounted, mounted / "unified"], ("memory.max", "memory.current")
        else:
            continue
        for root in roots:
            # In a container the path may be that of the host: what is not there is passed over.
            group = root / path.lstrip("/")
            for folder in (group, *group.parents):
                with contextlib.suppress(OSError, ValueError):  # the latter where it says "max"
                    limit, used = (int((folder / name).read_text()) for name in names)
                    yield limit - max(0, used - _reclaimable(folder))
                if folder == root:
                    break


def _reclaimable(group: Path) -> int:
    """Bytes of cached files that a group gives back where it needs memory."""
    with contextlib.suppress(OSError):
        for line in (group / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name in ("total_inactive_file", "inactive_file"):
                return int(value)
    return 0


def bytes_a_pixel(source: Path | bytes, output_suffix: str) -> int:
    """What a pixel of an image takes in the pipeline, as far as the header of its file tells; an upper bound."""
    from PIL import Image

    if output_suffix in (".webp", ".avif"):
        return _DEEP
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            tags = getattr(image, "tag_v2", {})
            deep = image.format not in _PLAIN_FORMATS or image.mode.startswith(("I", "F"))
            deep = deep or max(tags.get(258, (8,))) > 8  # BitsPerSample
            return (
                _DEEP if deep or any("16" in str(tile[3]) for tile in getattr(image, "tile", ())) else _PLAIN
            )
    except Exception:  # whoever decodes it says what is wrong with it
        return _DEEP


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """What a model takes for a batch, beyond what it holds when it is loaded, in bytes.

    Attributes:
        fixed: whatever the batch.
        pixel: for each pixel of the batch.
    """

    fixed: float
    pixel: float

    def __call__(self, count: int, height: int, width: int) -> int:
        """For `count` images of one size."""
        return int(self.fixed + self.pixel * count * height * width)


UNMEASURED = MemoryUse(2**28, 4096)
"""More than any network here takes: images that fit by this need no measurement."""


def measure(translator: Translator) -> MemoryUse:
    """Translate two small images and see what the process grows by.

    Where the model takes one size only, it is measured at that.

    Args:
        translator: loaded, and not used yet: it may keep what it took for its next batch. Nothing else should be going
            on meanwhile.
    """
    info = translator.info
    if match := re.fullmatch(r"(\d+)x(\d+)", str(info.compiled.get("shapes", "any"))):
        sizes = [(int(match[1]), int(match[2]))]
    else:
        small = _multiple(256, info.size_multiple)
        sizes = [(small, small), (2 * small, 2 * small)]
    random = np.random.default_rng(0)
    taken = [0.0]
    with _growth() as growth:
        for height, width in sizes:
            shape = (1, height, width, info.input.count)
            if info.input.levels:
                batch = random.integers(0, 256, shape, np.uint8)
            else:
                batch = np.zeros(shape, np.uint8 if info.input.meaning == "labels" else np.float32)
            translator(batch)
            taken.append(_MARGIN * growth())
    pixels = [0, *(height * width for height, width in sizes)]
    pixel = (taken[-1] - taken[-2]) / (pixels[-1] - pixels[-2])
    return MemoryUse(max(0.0, taken[-1] - pixel * pixels[-1]), pixel)


@contextlib.contextmanager
def _growth() -> Iterator[Callable[[], int]]:
    """Says by how many bytes the process has grown at most since it was entered."""
    with contextlib.suppress(OSError, AttributeError):  # what is free in the heap would hide what is taken
        ctypes.CDLL(None).malloc_trim(0)
    process = psutil.Process()
    before = peak = process.memory_info().rss
    over = threading.Event()

    def sample() -> None:
        nonlocal peak
        peak = max(peak, process.memory_info().rss)

    def watch() -> None:
        while not over.wait(0.002):
            sample()

    def peak_growth() -> int:
        sample()
        return peak - before

    thread = threading.Thread(target=watch, name="translatekit-memory", daemon=True)
    thread.start()
    try:
        yield peak_growth
    finally:
        over.set()
        thread.join()


def _multiple(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple


class Planner:
    """Decides how images are translated within a limit: in batches, alone, in tiles, or not at all.

    Attributes:
        limit: bytes that images and model may take together, beyond what the process takes now.
    """

    def __init__(self, predictor: Predictor, memory: Memory, fresh: Callable[[], Translator]) -> None:
        """Ask how much there is.

        Args:
            predictor: of the model, loaded.
            memory: what they may take.
            fresh: loads the model once more, to be measured: one that has worked may keep memory for its next batch.

        Raises:
            OptionError: the process takes as much already.
        """
        self._predictor, self._fresh = predictor, fresh
        self._tiled: dict[int, Predictor] = {}
        if memory.size is None:
            self.limit = int(available() * memory.share)
        else:
            used = psutil.Process().memory_info().rss
            self.limit = min(memory.size - used, available())
            if self.limit <= 0:
                raise OptionError(
                    f"--memory {memory} is less than the {describe(used)} that the program and its model take already: "
                    "pass more"
                )
        on_host = predictor.device.startswith("cpu")
        self._use = UNMEASURED if on_host else MemoryUse(0, 0)

    def must_measure(self, height: int, width: int) -> bool:
        """Whether `plan` for an image of that size would measure the model, which wants nothing else to go on."""
        return self._use is UNMEASURED and self._cost(1, height, width) > self.limit // 2

    def plan(
        self, height: int, width: int, image_bytes: int, max_batch: int, share: float = 1.0
    ) -> tuple[Predictor, int]:
        """How an image is translated.

        Args:
            height, width: as the network takes it, in pixels.
            image_bytes: bytes that the image takes by itself.
            max_batch: images of that size that would be translated at once.
            share: of the limit that it may take.

        Returns:
            What translates it, in tiles where the image does not fit whole; and how many images at once.

        Raises:
            DataError: it does not fit at all.
        """
        limit = int(self.limit * share)
        if image_bytes > limit:
            raise DataError(
                f"an image of {width}x{height} pixels takes about {describe(image_bytes)}, "
                f"more than the {describe(limit)} that --memory leaves: pass a smaller --size, or more --memory"
            )
        if self.must_measure(height, width):
            self._use = measure(self._fresh())
        # Half for the images in progress, half for the model; an image that needs more than half goes alone.
        left = limit // 2 if image_bytes <= limit // 2 else limit - image_bytes
        for count in range(max_batch, 0, -1):
            if self._cost(count, height, width) <= left:
                return self._predictor, count
        for side in self._sides(height, width):
            if 1.5 * self._use(1, side, side) <= left:  # statistics of the whole image take some more
                return self._in_tiles(side), 1
        raise DataError(
            f"translating {width}x{height} pixels takes about {describe(self._cost(1, height, width))}, "
            f"more than the {describe(left)} that --memory leaves: pass a smaller --size, or more --memory"
        )

    def plan_frames(self, height: int, width: int) -> tuple[Predictor, int]:
        """How the frames of a video of that size are translated; as `plan`."""
        to = self._predictor.size or Size(max(1, width), max(1, height))
        padded = [_multiple(side, self._predictor.info.size_multiple) for side in (to.height, to.width)]
        image_bytes = max(height * width, padded[0] * padded[1]) * _FRAMES
        return self.plan(padded[0], padded[1], image_bytes, self._predictor.batch_size(to.height, to.width))

    def tiling_note(self, height: int, width: int, predictor: Predictor) -> str:
        """A sentence for an image that `plan` has translated in tiles."""
        return (
            f"{width}x{height} pixels would take about {describe(self._cost(1, height, width))} of memory at once: "
            f"what is as large is translated in tiles of {predictor.tile} (see --tile and --memory)"
        )

    def _cost(self, count: int, height: int, width: int) -> int:
        tile = self._predictor.tile
        if tile is not None:
            return self._use(1, min(height, tile), min(width, tile))
        return self._use(count, height, width)

    def _sides(self, height: int, width: int) -> list[int]:
        """Of the tiles to try, the largest first."""
        info = self._predictor.info
        if self._predictor.tile is not None or info.compiled.get("shapes", "any") != "any":
            return []
        sides = {max(_multiple(side, info.size_multiple), 2 * info.size_multiple) for side in _TILES}
        return sorted((side for side in sides if side < max(height, width)), reverse=True)

    def _in_tiles(self, side: int) -> Predictor:
        try:
            if side not in self._tiled:
                self._tiled[side] = self._predictor.in_tiles(side)
        except OptionError as error:
            raise DataError(
                f"the image does not fit into memory whole, and not in tiles either: {error}"
            ) from None
        return self._tiled[side]


class MemoryBudget:
    """What images in progress take together; one that takes more by itself goes alone."""

    def __init__(self) -> None:
        self._taken = 0
        self._count = 0
        self._closed = False
        self._changed = threading.Condition()

    def fits(self, cost: int, limit: int) -> bool:
        """Whether one more could go on now, where all together may take no more than the limit."""
        with self._changed:
            return self._fits(cost, limit)

    def _fits(self, cost: int, limit: int) -> bool:
        return self._count == 0 or self._taken + cost <= limit

    def acquire(self, cost: int, limit: int) -> Callable[[], None]:
        """Wait until one more may go on.

        Returns:
            What is to be called, once, when it is finished.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._fits(cost, limit) or self._closed)
            self._taken += cost
            self._count += 1

        def release() -> None:
            with self._changed:
                self._taken -= cost
                self._count -= 1
                self._changed.notify_all()

        return release

    def wait_until_idle(self) -> None:
        """Wait until none is in progress."""
        with self._changed:
            self._changed.wait_for(lambda: self._count == 0 or self._closed)

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
