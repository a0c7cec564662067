"""Reading and writing image files of every format that is installed, ours and those of plugins."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from translatekit.errors import DataError, OptionError, PluginError
from translatekit.image_spec import GRAY, RGB, Dtype
from translatekit.images.fit import fit_image
from translatekit.images.guard import explained
from translatekit.images.image import Header, Image, file_spec, rescaled, to_levels
from translatekit.images.pixels import UnreadableImageError, fitting_profile, to_uint8, to_uint16
from translatekit.registry import Registry, registry
from translatekit.specs import FormatSpec
from translatekit.storage import atomic_path, temporary_path, write_error
from translatekit.types import SliceAxis

_MAX_SIGNATURE = 1024  # bytes at a file's start that are looked at
_WHITES: dict[Dtype, float] = {
    "uint16": 65535.0,
    "float32": 1.0,
    "uint8": 255.0,
}  # of levels, the deepest first


class Reader(Protocol):
    """An open file: what the target of a `FormatSpec` makes of a path or of a file's bytes.

    It may raise whatever its decoder raises on a damaged file: that becomes one sentence with the file's name. It
    refuses absurd sizes by the header, before memory is taken for them. Where its files are large, it may have a
    ``read_region(top, left, height, width, page=0)`` that gives an `Image` of a part without decoding the whole.
    """

    def header(self, page: int = 0) -> Header:
        """What the file says of a page, without decoding pixels."""

    def read(self, page: int = 0) -> Image:
        """Decode a page: the first is 0."""

    def close(self) -> None:
        """Close the file."""


class StoredImage(Protocol):
    """An image file that lies in an archive or an object store; ``str`` of it is what people are told."""

    @property
    def name(self) -> str:
        """The file's name, whose suffix says its format."""

    def read_bytes(self) -> bytes:
        """Its contents.

        Raises:
            StorageError: where it lies cannot be reached.
        """


ImageSource = Path | bytes | StoredImage
"""A file, a folder that is one image (a DICOM series), the contents of a file, or a file that lies elsewhere."""


class OpenImage:
    """An open image file, whose faults are told in one sentence."""

    def __init__(self, reader: Reader, name: str) -> None:
        self._reader, self.name = reader, name

    @property
    def has_regions(self) -> bool:
        """Whether a part can be read without the whole."""
        return hasattr(self._reader, "read_region")

    def header(self, page: int = 0) -> Header:
        """What the file says of a page (see `read_header`)."""
        with explained(self.name):
            return self._reader.header(page)

    def read(self, page: int = 0) -> Image:
        """Decode a page (see `read_image`)."""
        with explained(self.name):
            return self._reader.read(page)

    def read_region(self, top: int, left: int, height: int, width: int, page: int = 0) -> Image:
        """Decode a part, without decoding the whole where the format allows.

        Args:
            top, left, height, width: in pixels; all of it lies within the image.
            page: which one.
        """
        with explained(self.name):
            if self.has_regions:
                reader: Any = self._reader
                part: Image = reader.read_region(top, left, height, width, page)
                return part
            return self._reader.read(page).part(top, left, height, width)


# Which format


def image_suffixes() -> frozenset[str]:
    """Suffixes of the files that can be read, in lower case, with the dot."""
    return _read_suffixes(registry("format"))


def writable_suffixes() -> frozenset[str]:
    """Suffixes that `encode_image` writes."""
    return _written_suffixes(registry("format"))


def suffix_of(path: str | Path) -> str:
    """The suffix of a file's name, in lower case: ``.nii.gz`` is one."""
    name = os.fspath(path).lower()
    double = _double_suffixes(registry("format"))
    if name.endswith(double):
        return next(suffix for suffix in double if name.endswith(suffix))
    base = os.path.basename(name) or Path(name).name  # noqa: PTH119 (this is asked of a million files)
    at = base.rfind(".")
    return base[at:] if 0 < at < len(base) - 1 else ""


def is_image(path: str | Path) -> bool:
    """Whether a name is that of a file that can be read."""
    return suffix_of(path) in image_suffixes()


def format_named(suffix: str) -> FormatSpec:
    """The format of a suffix.

    Raises:
        OptionError: there is none.
        PluginError: two plugins claim it.
    """
    claims = _formats(registry("format")).get(suffix.lower(), ())
    if not claims:
        raise OptionError(
            f"{suffix!r} is no format of images: choose one of {', '.join(sorted(writable_suffixes()))}"
        )
    if len(claims) > 1:
        owners = " and ".join(
            f"{spec.name} of {registry('format').entry(spec.name).plugin.distribution}" for spec in claims
        )
        raise PluginError(
            f"files that end in {suffix} are claimed by the formats {owners}: pip uninstall the one you do not want"
        )
    return claims[0]


def format_of(source: Path | bytes, suffix: str | None = None) -> FormatSpec:
    """The format of a file, by its name; or by how it starts, where that says nothing.

    Args:
        source: a file, a folder that is one image, or the contents of a file.
        suffix: what the file's name ends in, for contents.

    Raises:
        PluginError: two plugins claim it.
    """
    known = registry("format")
    if isinstance(source, Path):
        if source.is_dir():
            folders = [entry.spec for entry in known.entries() if entry.spec.folders]
            if folders:
                return folders[0]
        suffix = suffix or suffix_of(source)
    if suffix and suffix.lower() in _formats(known):
        return format_named(suffix)
    head = b""
    with contextlib.suppress(OSError):
        if isinstance(source, bytes):
            head = source[:_MAX_SIGNATURE]
        else:
            with source.open("rb") as file:
                head = file.read(_MAX_SIGNATURE)
    for at, magic, spec in _signatures(known):
        if head[at : at + len(magic)] == magic:
            return spec
    return known.get("png")  # whose reader looks into the file, and says what is wrong with it


@lru_cache(maxsize=4)
def _formats(known: Registry[FormatSpec]) -> dict[str, tuple[FormatSpec, ...]]:
    """Who claims each suffix; the last resort only those that nobody else has."""
    claims: dict[str, list[FormatSpec]] = {}
    for entry in sorted(known.entries(), key=lambda entry: entry.spec.fallback):
        for suffix in entry.spec.suffixes:
            if not (entry.spec.fallback and suffix in claims):
                claims.setdefault(suffix, []).append(entry.spec)
    return {suffix: tuple(specs) for suffix, specs in claims.items()}


@lru_cache(maxsize=4)
def _signatures(known: Registry[FormatSpec]) -> tuple[tuple[int, bytes, FormatSpec], ...]:
    return tuple((at, magic, entry.spec) for entry in known.entries() for at, magic in entry.spec.signatures)


@lru_cache(maxsize=4)
def _read_suffixes(known: Registry[FormatSpec]) -> frozenset[str]:
    return frozenset(_formats(known))


@lru_cache(maxsize=4)
def _written_suffixes(known: Registry[FormatSpec]) -> frozenset[str]:
    claims = _formats(known).items()
    return frozenset(suffix for suffix, (spec, *_) in claims if suffix in spec.written_suffixes)


@lru_cache(maxsize=4)
def _double_suffixes(known: Registry[FormatSpec]) -> tuple[str, ...]:
    return tuple(suffix for suffix in _formats(known) if suffix.count(".") > 1)


# Reading


def _name(source: ImageSource) -> str:
    return "the image" if isinstance(source, bytes) else str(source)


@contextlib.contextmanager
def open_image(
    source: ImageSource, *, suffix: str | None = None, axis: SliceAxis = "axial"
) -> Iterator[OpenImage]:
    """Open an image file: to read several of its pages, or parts of it.

    Args:
        source: a file, wherever it lies, or its contents.
        suffix: what the file's name ends in, for contents.
        axis: which slices of a volume its pages are, where the format says how it lies in the body.

    Raises:
        UnreadableImageError: it is missing, empty, damaged or no image; or what reads it is not installed; or it has
            slices of another axis alone.
        StorageError: where it lies cannot be reached.
    """
    name = _name(source)
    if not isinstance(source, (Path, bytes)):
        suffix = suffix or suffix_of(source.name)
        source = source.read_bytes()
    with explained(name):
        spec = format_of(source, suffix)
        reader: Reader = spec.load()(source, axis=axis) if spec.any_axis else spec.load()(source)
    if axis != "axial" and not spec.any_axis and spec.volumes:
        with explained(name):
            pages = reader.header().pages
        if pages > 1:
            reader.close()
            raise UnreadableImageError(
                f"{name} is sliced as it was stored, and not {axis}: pass --slice-axis axial to take its "
                "slices as they are, or convert it to NIfTI"
            )
    try:
        yield OpenImage(reader, name)
    finally:
        reader.close()


def read_image(
    source: ImageSource, *, page: int = 0, suffix: str | None = None, axis: SliceAxis = "axial"
) -> Image:
    """Decode an image file: its numbers as they are, its colours as a viewer would show them.

    Args:
        source: a file, wherever it lies, or its contents.
        page: of a TIFF, or slice of a volume (see `read_header`).
        suffix: what the file's name ends in, for contents.
        axis: as of `open_image`.

    Raises:
        UnreadableImageError: it is missing, empty, damaged, no image, or larger than `MAX_PIXELS`; or what reads it is
            not installed.
    """
    with open_image(source, suffix=suffix, axis=axis) as image:
        return image.read(page)


def read_header(
    source: ImageSource, *, page: int = 0, suffix: str | None = None, axis: SliceAxis = "axial"
) -> Header:
    """What a file, or its contents, says of its images, without decoding any pixels.

    Raises:
        UnreadableImageError: as of `read_image`, as far as the header tells.
    """
    with open_image(source, suffix=suffix, axis=axis) as image:
        return image.header(page)


def read_levels(
    source: ImageSource, channels: Literal[1, 3] | None = None, deep: bool = True, page: int = 0
) -> Image:
    """Decode an image file as levels of gray or RGB (see `read_image` and `fit_image`).

    Args:
        source: a file, wherever it lies, or its contents.
        channels: 1 for luma (ITU-R BT.601), 3 for RGB, None for what the file holds.
        deep: keep more than 8 bits as float32; else everything becomes uint8.
        page: which page of a TIFF (see `count_pages`).

    Returns:
        Its pixels, and its alpha where it has one, are uint8 in [0, 255] or float32 in [0, 1].

    Raises:
        UnreadableImageError: as of `read_image`; or what it holds is neither gray nor RGB.
    """
    name = _name(source)
    image = read_image(source, page=page)
    wanted = RGB if image.spec.channels[:3] == RGB.channels else GRAY
    if channels is not None:
        wanted = RGB if channels == 3 else GRAY
    try:
        pixels = fit_image(image, wanted, name)
        alpha = None if image.alpha is None else to_levels(image.alpha, image)
    except DataError as error:
        raise UnreadableImageError(str(error)) from None
    if not deep:
        pixels, alpha = to_uint8(pixels), None if alpha is None else to_uint8(alpha)
    return Image(
        pixels=pixels,
        spec=file_spec(pixels.shape[2], pixels.dtype.name, True),
        white=255.0 if pixels.dtype == "uint8" else 1.0,
        alpha=alpha,
        icc_profile=fitting_profile(image.icc_profile, pixels.shape[2]),
    )


def count_pages(source: ImageSource) -> int:
    """How many pages a TIFF has, thumbnails and masks left out, or slices a volume; 1 for other formats.

    Raises:
        UnreadableImageError: as of `read_image`, as far as the headers tell.
    """
    return read_header(source).pages


def read_size(source: ImageSource, page: int = 0) -> tuple[int, int]:
    """Height and width in pixels, as shown (see `read_header`)."""
    header = read_header(source, page=page)
    return header.height, header.width


# Writing


def encode_image(image: Image, suffix: str, *, quality: int = 95, compression: int = 4) -> bytes:
    """Encode an image for a file of a suffix.

    Levels of a depth that the format does not have are rounded to one that it has. Values are written as they are, or
    refused. Alpha, profile and metadata are kept where the format has them (see `FormatSpec`).

    Args:
        image: what to encode.
        suffix: one of `writable_suffixes`.
        quality: of lossy formats, from 1 to 100.
        compression: effort of lossless formats, from 0 (none) to 9.

    Raises:
        OptionError: nothing writes such files.
        PluginError: what writes them is not installed.
        DataError: the image is of no size or of no kind that the format allows.
    """
    suffix = suffix.lower()
    spec = format_named(suffix) if suffix in writable_suffixes() else None
    if spec is None:
        raise OptionError(
            f"images cannot be written as {suffix!r}: choose one of {', '.join(sorted(writable_suffixes()))}"
        )
    check_holds(spec, image, suffix)
    write = spec.load_writer()
    encoded: bytes = write(_in_a_depth_of(spec, image), suffix, quality=quality, compression=compression)
    return encoded


def check_holds(spec: FormatSpec, image: Image, suffix: str) -> None:
    """Refuse what a format cannot hold.

    Raises:
        DataError: it has other numbers of channels, or other numbers where they have no scale to be rounded on.
    """
    count = image.pixels.shape[2]
    fits = not spec.channels or count in spec.channels
    if fits and (image.white is not None or image.pixels.dtype.name in (*spec.dtypes, *spec.takes)):
        return
    raise DataError(
        f"{image.spec} cannot be written as {suffix}, which holds {spec.holds}: choose .tiff or .npy"
    )


def _in_a_depth_of(spec: FormatSpec, image: Image) -> Image:
    """Levels of a depth that a format does not have, rounded to the deepest that it has; all else as it is."""
    depth = next((name for name in _WHITES if name in spec.dtypes), None)
    if image.white is None or depth is None or image.pixels.dtype.name in (*spec.dtypes, *spec.takes):
        return image

    def rounded(levels: np.ndarray) -> np.ndarray:
        return rescaled(to_levels(levels, image), np.dtype(depth), _WHITES[depth])

    return replace(
        image,
        pixels=rounded(image.pixels),
        alpha=None if image.alpha is None else rounded(image.alpha),
        white=_WHITES[depth],
        spec=replace(image.spec, dtype=depth),
    )


def write_volume(
    path: Path,
    images: Iterable[Image],
    *,
    pages: int,
    suffix: str | None = None,
    compression: int = 4,
    before_rename: Callable[[Path], None] | None = None,
) -> None:
    """Write slices, or pages, into one file or folder, which takes its name when it is whole.

    Args:
        path: what is written; replaced when it exists.
        images: the slices in order, taken one by one.
        pages: how many there are.
        suffix: whose format it is; the name's, unless it is given.
        compression: effort, from 0 (none) to 9.
        before_rename: called with what is complete, before it takes its name.

    Raises:
        OptionError: nothing writes such files.
        DataError: the images are of no kind that the format allows.
        StorageError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    suffix = suffix or suffix_of(path)
    spec = format_named(suffix)
    write = spec.load_volume_writer()
    with (atomic_folder if spec.folders else atomic_path)(path) as temporary:
        write(temporary, _checked(images, spec, suffix), pages=pages, suffix=suffix, compression=compression)
        if before_rename is not None:
            before_rename(temporary)


def _checked(images: Iterable[Image], spec: FormatSpec, suffix: str) -> Iterator[Image]:
    for image in images:
        check_holds(spec, image, suffix)
        yield _in_a_depth_of(spec, image)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that takes its name when it is complete, in place of one that is there.

    Raises:
        StorageError: the disk is full or the folder cannot be written; nothing is left behind.
    """
    temporary = temporary_path(path)
    old = path.with_name(f"{temporary.name}.old")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        yield temporary
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    except OSError as error:
        raise write_error(error, path) from None
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        for left in (temporary, old):
            shutil.rmtree(left, ignore_errors=True)


def image_of(pixels: np.ndarray, alpha: np.ndarray | None = None, icc_profile: bytes | None = None) -> Image:
    """Gray or RGB levels as an image to write: of 8 bits where they are uint8, else of 16.

    Args:
        pixels: (H, W, 1) or (H, W, 3), uint8 in [0, 255], uint16 in [0, 65535] or float32 in [0, 1].
        alpha: (H, W) of the dtype of `pixels`, not premultiplied; None for an opaque image.
        icc_profile: the colour profile that the pixels are meant in; None stands for sRGB.
    """
    deep = pixels.dtype != "uint8"
    if deep:
        pixels, alpha = to_uint16(pixels), None if alpha is None else to_uint16(alpha)
    return Image(
        pixels=pixels,
        spec=file_spec(pixels.shape[2], pixels.dtype.name, True),
        white=65535.0 if deep else 255.0,
        alpha=alpha,
        icc_profile=icc_profile,
    )
