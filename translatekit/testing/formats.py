"""What every format must keep (see `translatekit.images.formats.Reader`)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from translatekit.errors import TranslatekitError
from translatekit.images import Image, encode_image, open_image, read_header, read_image, write_volume
from translatekit.images.image import file_spec, white_of
from translatekit.specs import FormatSpec
from translatekit.testing.contracts import NotApplicableError, Subject, require

SIDES = (24, 35)  # pixels
SLICES = 3
PATIENCE = 20.0  # seconds that a damaged file may take


def descriptor(subject: Subject) -> None:
    """Its suffixes are in lower case with a dot, and those that it writes are among those that it reads."""
    spec: FormatSpec = subject.spec
    for suffix in (*spec.suffixes, *spec.written):
        good = suffix.startswith(".") and suffix == suffix.lower() and len(suffix) > 1
        require(good, f"{subject} has the suffix {suffix!r}: write it in lower case, with the dot")
        require(suffix in spec.suffixes, f"{subject} writes {suffix} and does not read it")
    require(bool(spec.suffixes), f"{subject} has no suffixes")


def exact(subject: Subject) -> None:
    """What it writes it reads again: exactly, if it says so, in every dtype and number of channels that it names."""
    spec: FormatSpec = subject.spec
    suffixes = spec.written_suffixes
    if not suffixes:
        raise NotApplicableError(f"{subject} writes no single images")
    _installed(subject)
    for suffix in suffixes:
        for image in samples(spec):
            what = f"{subject}, {suffix} of {image.spec}"
            data = encode_image(image, suffix, quality=100)
            again = read_image(data, suffix=suffix)
            read = again.pixels
            if (
                image.spec.meaning == "gray"
                and again.spec.meaning == "rgb"
                and not np.ptp(read, axis=2).any()
            ):
                read = read[:, :, :1]
            shape = image.pixels.shape if spec.lossless else (*image.pixels.shape[:2], read.shape[2])
            require(read.shape == shape, f"{what}: reads {read.shape}, where {shape} was written")
            if spec.lossless:
                same = read.dtype == image.pixels.dtype and np.array_equal(read, image.pixels)
                require(same, f"{what}: other numbers come back, of {read.dtype}")
            header = read_header(data, suffix=suffix)
            require(
                (header.height, header.width, header.spec) == (*again.pixels.shape[:2], again.spec),
                f"{what}: the header says {header.height}x{header.width} of {header.spec}, but the image is "
                f"{again.pixels.shape[0]}x{again.pixels.shape[1]} of {again.spec}",
            )
            if image.alpha is not None:
                kept = again.alpha is not None and (
                    not spec.lossless or np.array_equal(again.alpha, image.alpha)
                )
                require(kept, f"{what}: transparency is lost")


def volumes(subject: Subject) -> None:
    """A volume comes back slice by slice, exactly."""
    spec: FormatSpec = subject.spec
    if spec.volume_writer is None:
        raise NotApplicableError(f"{subject} writes no volumes")
    _installed(subject)
    suffix = (spec.written or spec.suffixes)[0]
    for dtype in spec.dtypes:
        count = spec.channels[0] if spec.channels else 1
        slices = [_sample(dtype, count, seed) for seed in range(SLICES)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"volume{suffix}")
            write_volume(path, iter(slices), pages=SLICES, suffix=suffix)
            with open_image(path) as again:
                pages = again.header().pages
                require(pages == SLICES, f"{subject} reads {pages} slices, where {SLICES} were written")
                for page, image in enumerate(slices):
                    same = np.array_equal(again.read(page).pixels, image.pixels)
                    require(same, f"{subject}: other numbers come back in slice {page} of {dtype}")


def hostile(subject: Subject) -> None:
    """Files that are empty, cut off or garbage are refused in one sentence, soon."""
    spec: FormatSpec = subject.spec
    _installed(subject)
    suffix = spec.suffixes[0]
    garbage = np.random.default_rng(0).integers(0, 256, 4096, np.uint8).tobytes()
    broken = [
        b"",
        b"\0",
        garbage,
        *(magic.rjust(at + len(magic), b"\0") + garbage for at, magic in spec.signatures),
    ]
    for whole in _files(subject):
        broken += [whole[: len(whole) * part // 8] for part in range(1, 8)]
    for data in broken:
        start = time.perf_counter()
        try:
            read_image(data, suffix=suffix)
        except TranslatekitError as error:
            require("\n" not in str(error), f"{subject} says more than one line of a damaged file: {error}")
        except Exception as error:
            require(False, f"{subject} raises {type(error).__name__} for a damaged file: {error}")
        took = time.perf_counter() - start
        require(took < PATIENCE, f"{subject} takes {took:.0f} s for a damaged file of {len(data)} bytes")


CONTRACTS = (descriptor, exact, volumes, hostile)


def samples(spec: FormatSpec) -> Iterator[Image]:
    """An image of noise in each dtype and number of channels that a format says it keeps, with and without alpha."""
    for dtype in spec.dtypes:
        for count in spec.channels or (1, 3, 5):
            image = _sample(dtype, count, 0)
            if not (spec.alpha and count in (2, 4)):  # where the last channel is read as alpha
                yield image
            if spec.alpha and image.spec.shown:
                alpha = _sample(dtype, 1, 1).pixels[:, :, 0]
                yield Image(pixels=image.pixels, spec=image.spec, white=image.white, alpha=alpha)


def _sample(dtype: str, channels: int, seed: int) -> Image:
    rng = np.random.default_rng(seed)
    shape = (*SIDES, channels)
    if dtype == "float32":
        pixels = np.abs(rng.normal(0, 1000, shape)).astype(np.float32)  # some hold no negative ones
    else:
        limits = np.iinfo(dtype)
        pixels = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    white = white_of(pixels.dtype)
    return Image(pixels=pixels, spec=file_spec(channels, dtype, white is not None), white=white)


def _files(subject: Subject) -> Iterator[bytes]:
    """Sound files: those in the folder of samples, or one that it wrote."""
    spec: FormatSpec = subject.spec
    if subject.data is not None:
        yield from (
            path.read_bytes() for path in sorted(subject.data.iterdir()) if path.suffix in spec.suffixes
        )
    elif spec.written_suffixes:
        yield encode_image(next(samples(spec)), spec.written_suffixes[0])


def _installed(subject: Subject) -> None:
    missing = subject.spec.missing()
    if missing:
        raise NotApplicableError(f"{subject} needs pip install {' '.join(missing)}")
