"""Drawing new images from a trained model."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from translatekit.errors import ModelFileError, OptionError
from translatekit.images import encode_image, image_of, writable_suffixes
from translatekit.images.codec import ValueCodec
from translatekit.images.preview import preview
from translatekit.model_file import find_model, read_info
from translatekit.model_info import ModelInfo
from translatekit.networks.loading import load_network
from translatekit.options import closest
from translatekit.storage import write_atomically

BATCH = 64
GAP = 2
_GRAY = 128


def sample(
    model: str | Path,
    out: str | Path = "samples.png",
    *,
    label: str | int | None = None,
    count: int | None = None,
    seed: int = 0,
    force: bool = False,
) -> list[Path]:
    """Draw images from a model that maps noise, such as one trained by cgan, and write them.

    Noise depends on the seed and the image's number alone: the same number of another class comes from the same
    noise.

    Args:
        model: a model file or a run's folder.
        out: an image file, for a grid of all images; or a folder, for a file each.
        label: the name or number of a class; None for all classes, each a row of the grid.
        count: images of each class; 16 of one class, 8 of each where there are several.
        seed: decides the noise.
        force: replace files that exist.

    Returns:
        The files written.

    Raises:
        OptionError: the label is unknown, the count is below 1, or a file exists and `force` is not given.
        ModelFileError: the model cannot be read, or makes no images from noise.
    """
    model, out = find_model(model), Path(out)
    info = read_info(model)
    if info.source != "latent":
        raise ModelFileError(
            f"{model} translates images and draws none from noise: use translatekit run INPUT --model {model}"
        )
    classes = info.classes if info.generator_options.get("num_classes") else ()
    labels = _labels(classes, label, model)
    count = count if count is not None else (16 if len(labels) == 1 else 8)
    if count < 1:
        raise OptionError(f"the number of images must be at least 1, got {count}: pass -n 16")
    as_grid = out.suffix.lower() in writable_suffixes() and not out.is_dir()
    if not as_grid and out.suffix and not out.exists():
        known = ", ".join(sorted(writable_suffixes()))
        raise OptionError(
            f"images cannot be written as {out.suffix!r}: pass -o with one of {known}, or a folder"
        )
    targets = [out] if as_grid else _files(out, labels, classes, count)
    _refuse_existing(targets, out, force)

    network, _ = load_network(model)
    images = _draw(network, info, labels, count, seed)
    if as_grid:
        columns = count if len(labels) > 1 else math.ceil(math.sqrt(count))
        _write(out, _grid(np.stack(list(images)), columns))
    else:
        for target, image in zip(targets, images, strict=True):
            _write(target, image)
    return targets


def _labels(classes: tuple[str, ...], label: str | int | None, model: Path) -> list[int | None]:
    """The classes to draw, by number; a None alone where the model has none.

    Raises:
        OptionError: the model has no such class.
    """
    if not classes:
        if label is not None:
            raise OptionError(f"{model} was trained without labels: leave out --label {label}")
        return [None]
    if label is None:
        return list(range(len(classes)))
    text = str(label)
    if text in classes:
        return [classes.index(text)]
    if text.isdecimal() and int(text) < len(classes):
        return [int(text)]
    close = closest(text, classes)
    hint = f"did you mean {close!r}? " if close else ""
    shown = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
    raise OptionError(f"{model} knows no class {text!r}: {hint}it has {shown}, numbered from 0")


def _draw(
    network: Any, info: ModelInfo, labels: list[int | None], count: int, seed: int
) -> Iterator[np.ndarray]:
    """The images of one class after another: (H, W, C) uint8 each, gray or RGB: others as people look at them."""
    codec = ValueCodec(info.output)
    latent_size = int(info.generator_options["latent_size"])
    noise = torch.randn(count, latent_size, generator=torch.Generator().manual_seed(seed))
    for label in labels:
        for z in noise.split(BATCH):
            condition = () if label is None else (torch.full((len(z),), label),)
            with torch.inference_mode():
                images = network(z, *condition)
            drawn = codec.decode(images, images, torch.uint8).numpy()
            yield from drawn if info.output.shown else (preview(image, info.output) for image in drawn)


def _grid(images: np.ndarray, columns: int) -> np.ndarray:
    """(N, H, W, C) laid out row by row, with gaps between and around."""
    count, height, width, channels = images.shape
    rows = math.ceil(count / columns)
    shape = (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels)
    grid = np.full(shape, _GRAY, np.uint8)
    for index, image in enumerate(images):
        top = GAP + index // columns * (height + GAP)
        left = GAP + index % columns * (width + GAP)
        grid[top : top + height, left : left + width] = image
    return grid


def _files(folder: Path, labels: list[int | None], classes: tuple[str, ...], count: int) -> list[Path]:
    """A file name for each image: its class and its number."""
    # Class names come from a file that anyone may have made: they must not lead out of the folder.
    names = [re.sub(r"[^\w-]+", "_", name) for name in classes]
    if len(set(names)) < len(names):
        names = [str(label) for label in range(len(classes))]
    stems = ["sample" if label is None else names[label] for label in labels]
    return [folder / f"{stem}-{number:05d}.png" for stem in stems for number in range(count)]


def _refuse_existing(targets: list[Path], out: Path, force: bool) -> None:
    """Make the folder, and see that nothing is overwritten unasked.

    Raises:
        OptionError: a file is in the way, or the folder cannot be made.
    """
    existing = [target for target in targets if target.exists()]
    if existing and not force:
        raise OptionError(
            f"{existing[0]} exists already: pass --force to replace it, or another -o than {out}"
        )
    try:
        targets[0].parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(
            f"the folder {targets[0].parent} cannot be made ({error.strerror}): choose another -o"
        ) from None


def _write(path: Path, pixels: np.ndarray) -> None:
    write_atomically(path, encode_image(image_of(pixels), path.suffix))
