"""Files that a browser cannot show: read, translated, shown through `preview`, and saved as what they are."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np

from translatekit.errors import DataError
from translatekit.image_spec import ImageSpec
from translatekit.images import Image, UnreadableImageError, encode_image, image_from, suffix_of
from translatekit.images.formats import open_image, writable_suffixes
from translatekit.images.preview import class_colours, preview
from translatekit.inference.inputs import as_deep_as_output
from translatekit.inference.predictor import Predictor
from translatekit_tools.bulk.images import Slices

KEPT = 4
"""Files that are kept for windows to be changed and translations to be saved, the last that were opened."""

_VOLUMES = (".nii", ".nii.gz")  # of which one slice is no volume of the same body


@dataclass(slots=True, kw_only=True)
class OpenedFile:
    """A file, or an example, on its way through a model.

    Attributes:
        name: of the file.
        data: its contents; empty for an example.
        pages: how many slices or pages it has.
        page: which one is shown.
        image: that page, as it was read; None for an example.
        taken: (H, W, C), what the model takes.
        output: (H, W, C'), what it gives; None until it has.
    """

    name: str
    data: bytes
    pages: int
    page: int
    image: Image | None
    taken: np.ndarray
    output: np.ndarray | None = None


class OpenedFiles:
    """The last files that were opened, by names that nobody guesses."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, OpenedFile] = OrderedDict()

    def add(self, file: OpenedFile) -> str:
        """Keep one, and let go of the oldest."""
        key = secrets.token_urlsafe(12)
        self._files[key] = file
        while len(self._files) > KEPT:
            self._files.popitem(last=False)
        return key

    def get(self, key: str) -> OpenedFile | None:
        """One that is still kept."""
        if key in self._files:
            self._files.move_to_end(key)
        return self._files.get(key)


def drawn_spec(spec: ImageSpec) -> ImageSpec:
    """The spec of drawings for a model: class numbers are drawn in the colours that they are shown in."""
    if spec.meaning != "labels" or spec.palette:
        return spec
    return replace(spec, palette=class_colours(spec))


def read_page(name: str, data: bytes, page: int, predictor: Predictor, max_pixels: int) -> OpenedFile:
    """Read a page, or slice, of a file for a model, its neighbours included where that wants them.

    Args:
        name: of the file, whose suffix says its format.
        data: its contents.
        page: the first is 0; the middle one where it is below 0.
        predictor: of the model.
        max_pixels: of an image.

    Raises:
        DataError: it cannot be read, is too large, or is not what the model takes.
    """
    spec = drawn_spec(predictor.info.input)
    with open_image(data, suffix=suffix_of(name) or None, axis=spec.slice_axis) as file:
        header = file.header()
        if header.height * header.width > max_pixels:
            raise DataError(
                f"the image has {header.width}x{header.height} pixels, and {max_pixels:,} are the limit: "
                "make it smaller"
            )
        page = header.pages // 2 if page < 0 else min(page, header.pages - 1)
        image, pixels = Slices(file, spec, PurePath(name).name).read(page)
    if pixels.dtype != np.uint8 and "float32" not in predictor.dtypes:
        raise UnreadableImageError(
            "it has more bits than this compiled model takes: open the .safetensors model, or one that is compiled "
            "with --dtype float32"
        )
    taken = predictor.prepare(as_deep_as_output(pixels, predictor.info, predictor.dtypes))
    return OpenedFile(name=name, data=data, pages=header.pages, page=page, image=image, taken=taken)


def shown(file: OpenedFile, spec: ImageSpec, side: str, window: tuple[float, float] | None) -> np.ndarray:
    """What one side of a file looks like, (H, W, 3) uint8.

    Args:
        file: which one.
        spec: of the input, or of the output.
        side: ``before`` or ``after``.
        window: centre and width of the values that are shown from black to white.
    """
    pixels = file.taken if side == "before" else file.output
    assert pixels is not None
    return preview(pixels, spec, window)


def saved(file: OpenedFile, predictor: Predictor) -> tuple[str, bytes]:
    """A name and the contents of the translation's file: of the format that was opened, where that holds it, or TIFF.

    Raises:
        DataError: it cannot be written.
    """
    assert file.output is not None
    height, width = file.output.shape[:2]
    like = None if file.image is None else predictor.carried(file.image, height, width)
    image = image_from(file.output, predictor.info.output, like)
    name = PurePath(file.name.replace("\\", "/")).name
    suffix = suffix_of(name)
    stem = (name[: len(name) - len(suffix)] if suffix else name) or "image"
    stem += f"-{file.page + 1:04}" if file.pages > 1 else ""
    if suffix in writable_suffixes() and not (file.pages > 1 and suffix in _VOLUMES):
        try:
            return f"{stem}-translated{suffix}", encode_image(image, suffix)
        except DataError:  # a format that holds photographs alone
            pass
    return f"{stem}-translated.tiff", encode_image(image, ".tiff")
