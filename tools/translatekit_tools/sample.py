"""Drawing new images from a trained model."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from translatekit.datasets.embeddings import read_vectors
from translatekit.errors import ModelFileError, OptionError
from translatekit.images import encode_image, image_of, writable_suffixes
from translatekit.images.codec import ValueCodec
from translatekit.images.preview import preview
from translatekit.model_file import find_model, read_info
from translatekit.model_info import ModelInfo
from translatekit.networks.layers import Noise
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
    embedding: str | Path | np.ndarray | None = None,
    count: int | None = None,
    seed: int = 0,
    force: bool = False,
) -> list[Path]:
    """Draw images from a model that maps noise, such as one trained by cgan or stackgan, and write them.

    Noise depends on the seed and the image's number alone: the same number of another class, or text, comes from the
    same noise.

    Args:
        model: a model file or a run's folder.
        out: an image file, for a grid of all images; or a folder, for a file each.
        label: the name or number of a class; None for all classes, each a row of the grid.
        embedding: of texts, (D,) or (N, D), or an .npy file of them, for a model that was trained on such.
        count: images of each class or text; 16 of one, 8 of each where there are several.
        seed: decides the noise.
        force: replace files that exist.

    Returns:
        The files written.

    Raises:
        OptionError: the label is unknown, the model wants embeddings or none, the count is below 1, or a file exists
            and `force` is not given.
        ModelFileError: the model cannot be read, or makes no images from noise.
    """
    model, out = find_model(model), Path(out)
    info = read_info(model)
    if info.source != "latent":
        raise ModelFileError(
            f"{model} translates images and draws none from noise: use translatekit run INPUT --model {model}"
        )
    conditions = _conditions(info, label, embedding, model)
    count = count if count is not None else (16 if len(conditions) == 1 else 8)
    if count < 1:
        raise OptionError(f"the number of images must be at least 1, got {count}: pass -n 16")
    as_grid = out.suffix.lower() in writable_suffixes() and not out.is_dir()
    if not as_grid and out.suffix and not out.exists():
        known = ", ".join(sorted(writable_suffixes()))
        raise OptionError(
            f"images cannot be written as {out.suffix!r}: pass -o with one of {known}, or a folder"
        )
    targets = [out] if as_grid else _files(out, [condition.name for condition in conditions], count)
    _refuse_existing(targets, out, force)

    network, _ = load_network(model)
    images = _draw(network, info, [condition.values for condition in conditions], count, seed)
    if as_grid:
        columns = count if len(conditions) > 1 else math.ceil(math.sqrt(count))
        _write(out, _grid(np.stack(list(images)), columns))
    else:
        for target, image in zip(targets, images, strict=True):
            _write(target, image)
    return targets


class Condition(NamedTuple):
    """What images are drawn of.

    Attributes:
        name: for files.
        values: as the network takes it, for one image: (), an int, or (D,), float32; None where it takes noise alone.
    """

    name: str
    values: torch.Tensor | None


def _conditions(
    info: ModelInfo, label: str | int | None, embedding: str | Path | np.ndarray | None, model: Path
) -> list[Condition]:
    """The classes or texts to draw.

    Raises:
        OptionError: the model takes others.
    """
    size = int(info.generator_options.get("embedding_size", 0))
    if not size:
        if embedding is not None:
            raise OptionError(f"{model} was trained without embeddings of texts: leave out --embedding")
        classes = info.classes if info.generator_options.get("num_classes") else ()
        labels = _labels(classes, label, model)
        names = _file_names(classes)
        return [
            Condition("sample", None) if number is None else Condition(names[number], torch.tensor(number))
            for number in labels
        ]
    if label is not None or embedding is None:
        wrong = "knows no classes but" if label is not None else "draws"
        raise OptionError(
            f"{model} {wrong} what embeddings of {size} numbers say: pass them as --embedding FILE.npy"
            + (f", and leave out --label {label}" if label is not None else "")
        )
    vectors = embedding if isinstance(embedding, np.ndarray) else read_vectors(embedding)
    vectors = vectors.reshape(-1, vectors.shape[-1]) if vectors.ndim else vectors
    if vectors.ndim != 2 or vectors.shape[1] != size or not len(vectors):
        raise OptionError(
            f"{model} takes embeddings of {size} numbers, and these have the shape {tuple(vectors.shape)}: make them "
            "by the model that those of the training images are from"
        )
    return [
        Condition(f"text-{number:04d}" if len(vectors) > 1 else "sample", torch.from_numpy(vector))
        for number, vector in enumerate(vectors.astype(np.float32))
    ]


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
    network: Any, info: ModelInfo, conditions: list[torch.Tensor | None], count: int, seed: int
) -> Iterator[np.ndarray]:
    """The images of one condition after another: (H, W, C) uint8, gray or RGB; others as people look at them.

    What networks draw beside the noise that they are given, such as StackGAN's conditions, is drawn for each image;
    dropout stays off.
    """
    codec = ValueCodec(info.output)
    latent_size = int(info.generator_options["latent_size"])
    generator = torch.Generator().manual_seed(seed)
    noise = torch.stack([torch.randn(latent_size, generator=generator) for _ in range(count)])
    drawing = [module for module in network.modules() if isinstance(module, Noise)]
    for module in drawing:
        module.active = True
    for values in conditions:
        for number, z in enumerate(noise.split(1 if drawing else BATCH)):
            condition = () if values is None else (values.expand(len(z), *values.shape),)
            with torch.inference_mode(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(np.random.SeedSequence((seed, number)).generate_state(1)[0]))
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


def _file_names(classes: tuple[str, ...]) -> list[str]:
    """Classes as files are named after them."""
    # Class names come from a file that anyone may have made: they must not lead out of the folder.
    names = [re.sub(r"[^\w-]+", "_", name) for name in classes]
    return names if len(set(names)) == len(names) else [str(label) for label in range(len(classes))]


def _files(folder: Path, names: list[str], count: int) -> list[Path]:
    """A file name for each image: what it is of, and its number."""
    return [folder / f"{name}-{number:05d}.png" for name in names for number in range(count)]


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
