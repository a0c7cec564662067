"""Slices of volumes as images of a dataset, alone or with their neighbours as channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from translatekit.datasets.stored import Stored
from translatekit.errors import DataError
from translatekit.image_spec import GRAY, RGB, ImageSpec
from translatekit.images import Header, Image, fit_image, open_image, read_header, read_image
from translatekit.images.formats import format_of, suffix_of
from translatekit.types import SliceAxis


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice of a file that holds a volume.

    Attributes:
        path: of the file.
        page: of the slice, from 0.
        axis: which slices of the volume are counted.
    """

    path: Path | Stored
    page: int
    axis: SliceAxis = "axial"

    @property
    def stem(self) -> str:
        """The file's name without its suffix, and the number of the slice."""
        return f"{self.path.name.partition('.')[0]}-{self.page:04}"

    @property
    def name(self) -> str:
        """The file's name and the number of the slice."""
        return f"{self.path.name}, {self._words}"

    @property
    def _words(self) -> str:
        return f"{'' if self.axis == 'axial' else f'{self.axis} '}slice {self.page}"

    @property
    def parent(self) -> Path | str:
        """The file's folder."""
        return self.path.parent

    def __str__(self) -> str:
        return f"{self.path}, {self._words}"


File = Path | Slice | Stored
"""What holds one image."""

Files = tuple[File, ...]
"""Those of one sample."""


def is_local(file: File) -> bool:
    """Whether a file lies on a disk of this machine, by itself."""
    return isinstance(file.path if isinstance(file, Slice) else file, Path)


def expand(
    samples: Sequence[tuple[Path | Stored, ...]], slices: int | None, axis: SliceAxis = "axial"
) -> list[Files]:
    """Samples whose files are volumes as one sample for each of their slices.

    Args:
        samples: their files.
        slices: that an input is made of, as the user asks for; where it is given, pages of TIFF files are slices too.
        axis: which slices of volumes are taken.

    Raises:
        DataError: the volumes of one sample differ in their number of slices.
        UnreadableImageError: a volume cannot be read.
    """
    expanded: list[Files] = []
    for files in samples:
        are_volumes = any(_is_volume(path, slices) for path in files)
        counts = [read_header(path, axis=axis).pages for path in files] if are_volumes else [1]
        if len(set(counts)) > 1:
            raise DataError(
                f"{' and '.join(map(str, files))} have {' and '.join(map(str, counts))} slices, and do not belong "
                "together slice by slice: align them first, as translatekit prepare volume does"
            )
        if counts[0] == 1 and slices is not None and slices > 1:
            raise DataError(
                f"{files[0]} holds one image, which has no neighbours: leave out --slices, or give volumes, such "
                "as .nii.gz files, folders of a DICOM series each, or TIFF files with a page for each slice"
            )
        expanded += (
            [files]
            if set(counts) == {1} and not (are_volumes and axis != "axial")
            else [tuple(Slice(path, page, axis) for path in files) for page in range(counts[0])]
        )
    return expanded


def as_series(files: Sequence[Path | Stored]) -> list[Path | Stored]:
    """Files of which a folder is a volume, as a DICOM series is, as their folders; others as they are."""
    found = dict.fromkeys(
        path.parent if isinstance(path, Path) and format_of(path).folders else path for path in files
    )
    return list(found)


def _is_volume(path: Path | Stored, slices: int | None) -> bool:
    known = format_of(path) if isinstance(path, Path) else format_of(b"", suffix_of(path.name))
    return known.volumes and (slices is not None or path.suffix.lower() not in _PAGES)


def header_of(file: File) -> Header:
    """What a file says of an image, without its pixels."""
    if isinstance(file, Slice):
        return read_header(file.path, page=file.page, axis=file.axis)
    return read_header(file)


def image_of_file(file: File) -> Image:
    """Decode an image."""
    if isinstance(file, Slice):
        return read_image(file.path, page=file.page, axis=file.axis)
    return read_image(file)


def read_fitting(file: File, spec: ImageSpec) -> np.ndarray:
    """The pixels of an image for a spec (see `fit_image`), with those of the neighbouring slices where it wants them.

    Beyond the ends of a volume, its last slices are repeated.

    Returns:
        (H, W, C) of the spec.
    """
    return read_with_valid(file, spec)[0]


def read_with_valid(file: File, spec: ImageSpec) -> tuple[np.ndarray, np.ndarray | None]:
    """As `read_fitting`, and where the image has values.

    Returns:
        (H, W, C) of the spec; and (H, W) bool, of the middle one of several slices, or None where all pixels have one.
    """
    if spec.slices == 1:
        image = image_of_file(file)
        return fit_image(image, spec, str(file)), image.valid
    assert isinstance(file, Slice)
    with open_image(file.path, axis=file.axis) as volume:
        last = volume.header().pages - 1
        around = range(file.page - spec.slices // 2, file.page + spec.slices // 2 + 1)
        images = [volume.read(min(max(page, 0), last)) for page in around]
    parts = [
        fit_image(image, spec, f"{file.path}, slice {page}")
        for page, image in zip(around, images, strict=True)
    ]
    return np.concatenate(parts, axis=2), images[spec.slices // 2].valid


def with_slices(spec: ImageSpec, slices: int) -> ImageSpec:
    """The spec of so many neighbouring slices, each with the channels of a spec."""
    if slices == 1:
        return spec
    names = [
        f"{channel} {offset:+d}" if offset else channel
        for offset in range(-(slices // 2), slices // 2 + 1)
        for channel in spec.channels
    ]
    meaning = "values" if spec.meaning in ("rgb", "gray") else spec.meaning
    low, high = (bound * slices if len(bound) > 1 else bound for bound in (spec.low, spec.high))
    return replace(spec, channels=tuple(names), meaning=meaning, slices=slices, low=low, high=high)


def middle_slice(spec: ImageSpec) -> ImageSpec:
    """The spec of a network's output that is the middle one of the slices it makes, from that of all of them."""
    each = spec.count // spec.slices
    first = spec.slices // 2 * each
    channels = spec.channels[first : first + each]
    low, high = (bound[first : first + each] if len(bound) > 1 else bound for bound in (spec.low, spec.high))
    shown = next((known.meaning for known in (RGB, GRAY) if spec.levels and known.channels == channels), None)
    return replace(
        spec,
        channels=channels,
        meaning=shown or spec.meaning,
        low=low,
        high=high,
        slices=1,
        network_slices=spec.slices,
    )


_PAGES = frozenset(
    {".tif", ".tiff"}
)  # whose pages are mostly pictures of their own, of which the first is taken
