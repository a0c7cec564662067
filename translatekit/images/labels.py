"""Maps of class numbers: which class each pixel is of, and where two instances meet."""

from __future__ import annotations

import numpy as np

from translatekit.errors import DataError
from translatekit.image_spec import ImageSpec
from translatekit.images.image import Image


def fit_labels(image: Image, spec: ImageSpec, name: str) -> np.ndarray:
    """The class numbers of an image, each of which the spec must know.

    They are those of a palette or of gray; where the spec has a palette and the file has colours, those of its colours.
    A second channel holds the numbers of instances, where the spec wants their edges.

    Returns:
        (H, W, 1) or (H, W, 2), uint8: class, and 1 at the edges of instances.

    Raises:
        DataError: it has a number or a colour that is no class of the spec, or no instances where they are wanted.
    """
    numbers = _numbers(image, spec, name)
    _check_known(numbers, spec, name)
    labels = numbers.astype(np.uint8)[:, :, None]
    if spec.count == 1:
        return labels
    if image.spec.count < 2:
        raise DataError(
            f"{name} holds classes but no instances, whose edges the model wants: give it maps of two channels, "
            "class and instance"
        )
    return with_edges(labels, image.pixels[:, :, 1])


def with_edges(labels: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """Class numbers (H, W, 1) and the numbers of instances (H, W) as (H, W, 2): class, and 1 at edges of instances.

    A pixel is at an edge where one beside, above or below it is of another instance, as in pix2pixHD (Wang et al.
    2018, section 3.3).
    """
    edges = np.zeros(instances.shape, bool)
    across = instances[:, 1:] != instances[:, :-1]
    down = instances[1:] != instances[:-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    return np.concatenate([labels, edges[:, :, None].astype(np.uint8)], axis=2)


def _numbers(image: Image, spec: ImageSpec, name: str) -> np.ndarray:
    """(H, W): the number of each pixel's class, whether known or not."""
    if image.numbers is not None:
        return image.numbers
    if image.spec.meaning == "rgb" and image.pixels.dtype == np.uint8:
        red, green, blue = np.moveaxis(image.pixels, 2, 0)
        is_gray = np.array_equal(red, green) and np.array_equal(red, blue)
        grays = [level for level, *others in spec.palette if others == [level, level]]
        # Of a map of numbers as gray, or of the few classes whose colours are gray: their colours go first.
        if is_gray and not (spec.palette and np.isin(red, grays).all()):
            return red
        return _by_colour(image.pixels, spec, name)
    if image.spec.count > 2 or (image.spec.count == 2 and spec.count == 1):
        raise DataError(
            f"{name} has {image.spec.count} channels, but a map of classes has one: choose another file"
        )
    return image.pixels[:, :, 0]


def _by_colour(pixels: np.ndarray, spec: ImageSpec, name: str) -> np.ndarray:
    if not spec.palette:
        raise DataError(
            f"{name} holds colours where numbers of classes are wanted: write it as a palette or gray PNG of numbers, "
            "as translatekit prepare labels does"
        )
    codes = pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    known = np.array([65536 * r + 256 * g + b for r, g, b in spec.palette], np.int64)
    order = np.argsort(known)
    places = order[np.minimum(np.searchsorted(known, codes, sorter=order), len(known) - 1)]
    strange = known[places] != codes
    if strange.any():
        row, column = (int(index) for index in np.argwhere(strange)[0])
        red, green, blue = (int(level) for level in pixels[row, column])
        raise DataError(
            f"{name} has the colour ({red}, {green}, {blue}) at row {row}, column {column}, which is no class of the "
            "model: map it to one that is"
        )
    return np.array(spec.ids, np.int64)[places]


def _check_known(numbers: np.ndarray, spec: ImageSpec, name: str) -> None:
    strange = ~np.isin(numbers, spec.ids)
    if not strange.any():
        return
    row, column = (int(index) for index in np.argwhere(strange)[0])
    known = ", ".join(map(str, sorted(spec.ids)[:12])) + (", ..." if len(spec.ids) > 12 else "")
    raise DataError(
        f"{name} has the class number {numbers[row, column]:g} at row {row}, column {column}, none of {known}: "
        "map it to one of them"
    )
