"""The colours that label maps are drawn in: learned from images, read from a ``palette.json`` or a model, and painted.

A palette is a list of classes, each ``{"name": "window", "color": [0, 0, 170]}`` with sRGB values in [0, 255]; the
file is ``{"format": 1, "classes": [...]}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.config import RunConfig
from translatekit.datasets.stored import Place, place_of
from translatekit.errors import DataError, TranslatekitError
from translatekit.interfaces import DataOptions, Dataset
from translatekit.model_info import ModelInfo
from translatekit.types import PaletteClass

__all__ = [
    "MAX_COLOURS",
    "NEUTRAL",
    "PALETTE_FILE",
    "Palette",
    "PaletteClass",
    "as_palette",
    "find_palette",
    "known_palette",
    "learn_palette",
    "nearest_center",
    "palette_of",
    "read_palette",
    "stored_palette",
]

Rgb = tuple[int, int, int]

PALETTE_FILE = "palette.json"
MAX_COLOURS = 64
"""Images in more colours than these are no label maps."""

NEUTRAL: list[PaletteClass] = [
    {"name": name, "color": color}
    for name, color in (
        ("white", [255, 255, 255]),
        ("black", [0, 0, 0]),
        ("gray", [128, 128, 128]),
        ("red", [214, 48, 49]),
        ("orange", [240, 147, 43]),
        ("yellow", [249, 202, 36]),
        ("green", [46, 160, 67]),
        ("blue", [48, 105, 222]),
        ("violet", [125, 80, 200]),
        ("brown", [121, 85, 61]),
    )
]
"""What to draw with where nothing is known of a model's colours."""

_IMAGES = 24  # of a dataset, spread over it
_NEAR = 8  # levels a channel: what JPEG makes of one flat colour
_APART = 32  # Euclidean distance in RGB below which two colours are one
_SEAM = 6  # levels between neighbours of one flat region
_RARE = 0.001  # of all flat pixels: less is noise
_MIN_FLAT = 0.15  # of an image's pixels that lie in flat regions
_MIN_COVERED = 0.85  # of the flat pixels that have a colour of the palette; gray photographs reach 0.7


@dataclass(frozen=True, slots=True)
class Palette:
    """The classes of label maps, in the order of their numbers.

    Attributes:
        names: of the classes.
        colors: of the classes, sRGB levels in [0, 255].
    """

    names: tuple[str, ...]
    colors: tuple[Rgb, ...]

    @classmethod
    def of(cls, classes: list[PaletteClass]) -> Palette:
        """The palette of classes as ``palette.json`` and model files hold them."""
        colors = [(red, green, blue) for red, green, blue in (item["color"] for item in classes)]
        return cls(tuple(item["name"] for item in classes), tuple(colors))

    @classmethod
    def load(cls, path: Path) -> Palette:
        """Read a ``palette.json``.

        Raises:
            DataError: it is missing, or not such a file.
        """
        return cls.of(read_palette(path))

    def to_json(self) -> str:
        """The text of a ``palette.json``, one class a line."""
        classes = ",\n".join(
            f"    {json.dumps({'name': name, 'color': list(color)}, ensure_ascii=False)}"
            for name, color in zip(self.names, self.colors, strict=True)
        )
        return f'{{\n  "format": 1,\n  "classes": [\n{classes}\n  ]\n}}\n'

    def paint(self, classes: np.ndarray) -> np.ndarray:
        """A label map (H, W, 3) uint8 of class numbers (H, W)."""
        return np.array(self.colors, np.uint8)[classes]

    def nearest(self, pixels: np.ndarray) -> np.ndarray:
        """The class whose colour is nearest, by Euclidean distance in RGB: (H, W) uint8 of (H, W, 3) uint8.

        Palettes of more than 256 classes are not for label maps, and numbers above 255 would wrap.
        """
        return nearest_center(pixels.astype(np.float32), np.array(self.colors, np.float32))


def nearest_center(features: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """The number of the nearest of up to 256 centres (K, F), for each of features (..., F): (...) uint8.

    Of equally near ones it is the first. Memory stays at a few times that of the features, whatever K is.
    """
    best = np.full(features.shape[:-1], np.inf, np.float32)
    numbers = np.zeros(features.shape[:-1], np.uint8)
    for number, center in enumerate(centers):
        distance = np.square(features - center).sum(-1)
        nearer = distance < best
        best[nearer] = distance[nearer]
        numbers[nearer] = number
    return numbers


def learn_palette(images: Iterable[np.ndarray]) -> list[PaletteClass] | None:
    """The colours of label maps, the most frequent first; None where the images are no label maps.

    Only flat regions are looked at, so that what JPEG and resizing do to their borders adds no colours.

    Args:
        images: each (H, W, 3) uint8.

    Returns:
        From 2 to `MAX_COLOURS` classes named ``colour 1`` and so on, or None.
    """
    flat_pixels, total = [], 0
    for image in images:
        if min(image.shape[:2]) < 3:
            continue
        flat = _flat(image)
        flat_pixels.append(image[1:-1, 1:-1][flat])
        total += flat.size
    pixels = np.concatenate(flat_pixels or [np.zeros((0, 3), np.uint8)]).astype(np.int32)
    if len(pixels) < _MIN_FLAT * max(total, 1):
        return None
    colours: list[list[int]] = []
    covered, left = 0, pixels
    while len(left) and len(colours) <= MAX_COLOURS:
        colour = _commonest(left)
        near = int((np.abs(left - colour).max(1) <= _NEAR).sum())
        if near < _RARE * len(pixels):
            break
        colours.append(colour.tolist())
        covered += near
        left = left[((left - colour) ** 2).sum(1) > _APART**2]
    if not 2 <= len(colours) <= MAX_COLOURS or covered < _MIN_COVERED * len(pixels):
        return None
    return [{"name": f"colour {number}", "color": colour} for number, colour in enumerate(colours, 1)]


def palette_of(data: Dataset, image: str | None, root: Place | None = None) -> list[PaletteClass] | None:
    """The palette of one image of a dataset's items, or None where that is no label maps.

    Args:
        data: the training images; its epoch is set to 0, so that the answer is the same whenever it is asked for.
        image: its key, such as ``input`` or ``A``; None for what starts from no image.
        root: the images' folder. If it holds a `PALETTE_FILE`, the names are taken from there; else from the
            dataset, where it knows them.

    Raises:
        DataError: the `PALETTE_FILE` is damaged.
    """
    spec = data.specs.get(image or "")
    if image is None or spec is None or spec.meaning != "rgb" or not spec.shown or not len(data):
        return None
    if known := known_palette(data, image):
        return known
    data.set_epoch(0)
    chosen = np.unique(np.linspace(0, len(data) - 1, _IMAGES).astype(int))
    from translatekit.datasets.transforms import to_pixels  # it needs torch, and reading a palette does not

    learned = learn_palette(to_pixels(data[int(index)][image]) for index in chosen)
    if learned is not None and root is not None and (root / PALETTE_FILE).is_file():
        return read_palette(root / PALETTE_FILE)
    return learned


def known_palette(data: Dataset, image: str) -> list[PaletteClass] | None:
    """The classes of one image of a dataset's items as the dataset itself names them, or None where it does not.

    Args:
        data: its attribute ``palettes`` is optional: it holds classes by the key of an image, such as ``input``.
        image: the key.
    """
    palettes: Mapping[str, list[PaletteClass]] = getattr(data, "palettes", {})
    return palettes.get(image) or None


def read_palette(path: Place) -> list[PaletteClass]:
    """The classes of a ``palette.json``, in its order.

    Raises:
        DataError: it is missing, or not such a file.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"the palette {path} cannot be read ({error.strerror}): check the path") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON ({error}): mend it, or make it again") from None
    with suppress(ValueError, TypeError, KeyError):
        return as_palette(content["classes"])
    raise DataError(
        f"{path} is no palette: it must be "
        '{"format": 1, "classes": [{"name": "window", "color": [0, 0, 170]}]}'
    )


def stored_palette(data: Mapping[str, Any]) -> list[PaletteClass] | None:
    """The palette of a model's inputs as its header keeps it, or None where there is none that can be used.

    Args:
        data: `translatekit.model_info.ModelInfo.data`.
    """
    if data.get("palette"):
        with suppress(ValueError, TypeError, KeyError):
            return as_palette(data["palette"])
    return None


def find_palette(file: Path, info: ModelInfo, given: Path | None = None) -> list[PaletteClass] | None:
    """The palette of a model, or None where it was not trained on label maps, as far as that can be told.

    In this order: the file that was given; a ``palette.json`` beside the model, or in the folder of its run's
    training images, if those are label maps; what the model file holds; what can be learned from the run's images.

    Args:
        file: the model file.
        info: its header.
        given: a ``palette.json``.

    Raises:
        DataError: a ``palette.json`` is missing or damaged, or has a single colour.
    """
    if given is not None:
        return _of_several_colors(given)
    if (file.parent / PALETTE_FILE).is_file():
        return _of_several_colors(file.parent / PALETTE_FILE)
    config = RunConfig.of_model(file)
    palette = stored_palette(info.data)
    if info.data.get("palette") is None and config is not None:
        palette = _learn_from_run(config, info)
    if palette is not None and config is not None and config.data is not None:
        edited = place_of(config.data) / PALETTE_FILE
        if edited.is_file():
            return _of_several_colors(edited)
    return palette


def _of_several_colors(path: Place) -> list[PaletteClass]:
    palette = read_palette(path)
    if len({tuple(item["color"]) for item in palette}) < 2:
        raise DataError(
            f"{path} has one colour, in which nothing can be drawn on itself: add a class of another"
        )
    return palette


def _learn_from_run(config: RunConfig, info: ModelInfo) -> list[PaletteClass] | None:
    """From the images of a run that stored no palette, as long as they are still there."""
    from translatekit.datasets import make_dataset, sides_of

    options = config.options
    size = DataOptions(direction=options.direction, load_size=options.load_size, crop_size=options.crop_size)
    with suppress(TranslatekitError):
        data = make_dataset(str(options.dataset), config.data, size, options.dataset_options)
        return palette_of(data, sides_of(data, info)[0])
    return None


def as_palette(classes: Any) -> list[PaletteClass]:
    """Classes that were read from somewhere, checked.

    Raises:
        ValueError, TypeError, KeyError: they are none.
    """
    palette: list[PaletteClass] = []
    for item in classes:
        name, color = item["name"], [int(level) for level in item["color"]]
        if not isinstance(name, str) or len(color) != 3 or not all(0 <= level <= 255 for level in color):
            raise ValueError(item)
        palette.append({"name": name, "color": color})
    if not palette:
        raise ValueError("no classes")
    return palette


def _flat(image: np.ndarray) -> np.ndarray:
    """Which pixels, those at the border left out, are like their four neighbours: (H - 2, W - 2) bool."""
    levels = image.astype(np.int16)
    across = np.abs(np.diff(levels, axis=1)).max(2)[1:-1] <= _SEAM
    down = np.abs(np.diff(levels, axis=0)).max(2)[:, 1:-1] <= _SEAM
    return across[:, :-1] & across[:, 1:] & down[:-1] & down[1:]


def _commonest(pixels: np.ndarray) -> np.ndarray:
    """The median of the fullest of 32x32x32 boxes of colours, (3,)."""
    box = pixels >> 3
    key = (box[:, 0] << 10) | (box[:, 1] << 5) | box[:, 2]
    return np.rint(np.median(pixels[key == np.bincount(key).argmax()], axis=0)).astype(np.int32)
