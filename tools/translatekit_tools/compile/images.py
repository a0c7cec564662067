"""The images that a compiled model is checked and calibrated on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from translatekit.errors import DataError
from translatekit.image_spec import ImageSpec
from translatekit.images import UnreadableImageError, fit_image, is_image, read_image, resize, to_uint8
from translatekit.inference.geometry import fit_pixels
from translatekit.inference.passes import sample_passes
from translatekit.model_info import ModelInfo
from translatekit.sizes import Size

MAX_SIDE = 1024
"""Larger images are made smaller: what is compared is numbers, not detail."""


def sample_images(
    folder: str | None, model: Path, info: ModelInfo, count: int, size: Size | None, dtype: str
) -> tuple[list[np.ndarray], str]:
    """Images (H, W, C) of ``info.input`` of sizes that the model takes, and where they are from.

    Of a model of several passes, they are what single passes are given.

    Args:
        folder: of the user's images; None for those of the run that `model` lies in, else drawn ones.
        model: the model file.
        info: its header.
        count: how many at most, evenly spread over the folder.
        size: that all are resized to; None where any size will do.
        dtype: ``uint8`` or ``float32``.

    Raises:
        DataError: there is no such folder, or it holds no image that can be read.
    """
    bridge, info = info.bridge, info.whole
    if folder is not None:
        path = find_folder(folder)
        files = sorted(f for f in path.rglob("*") if is_image(f) and f.is_file())
        chosen = [files[place] for place in _evenly_spaced(len(files), count)]
        found, origin = list(_read(chosen, info)), str(path)
        if not found:
            raise DataError(f"the folder {path} holds no images that can be read: name another")
    else:
        found, origin = list(_of_run(model, info, count)), "the run's own images"
    if not found:
        found = list(drawn_images(info, count))
        drawn = "facades" if info.input.shown else "class maps" if info.input.ids else "values"
        origin = f"drawn {drawn}, since the run's own images are not at hand: pass --check DIR"
    fitted = [_fit(pixels, info, size) for pixels in found]
    if bridge is not None:
        return sample_passes(fitted, bridge), origin
    return [_as_dtype(pixels, info.input, dtype) for pixels in fitted], origin


def compiled_size(info: ModelInfo, shapes: object) -> Size | None:
    """The size at which a compiled model is compared: the one that it was trained at, where it takes that.

    Args:
        info: of the model.
        shapes: what it was compiled for, as its header says: ``any``, or sizes and ranges of them.

    Returns:
        The size; None for any.
    """
    if shapes == "any":
        return None
    side = -(-info.size // info.size_multiple) * info.size_multiple
    entries = [str(entry).split(" to ") for entry in (shapes if isinstance(shapes, list) else [shapes])]
    ranges = [(Size.parse(entry[0]), Size.parse(entry[-1])) for entry in entries]
    if any(max(low) <= side <= min(high) for low, high in ranges):
        return Size(side, side)
    return ranges[0][0]


def find_folder(folder: str) -> Path:
    """A folder of the user's images.

    Raises:
        DataError: it is not there.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise DataError(f"there is no folder {path}: name one with images")
    return path


def _evenly_spaced(total: int, count: int) -> list[int]:
    """The places of at most `count` of so many things, from the first on to nearly the last."""
    chosen = min(total, count)
    return [number * total // chosen for number in range(chosen)]


def _read(files: list[Path], info: ModelInfo) -> Iterator[np.ndarray]:
    for file in files:
        try:
            image = fit_image(read_image(file), info.input, str(file))
            yield np.tile(image, (1, 1, info.input.slices))
        except UnreadableImageError:
            continue


def _of_run(model: Path, info: ModelInfo, count: int) -> Iterator[np.ndarray]:
    """What the network saw: its dataset's inputs, where the run's folder and its data are still there."""
    config_file = model.parent / "config.toml"
    if not config_file.is_file() or model.suffix != ".safetensors":
        return
    import torch

    from translatekit.config import RunConfig
    from translatekit.datasets import make_dataset
    from translatekit.errors import TranslatekitError
    from translatekit.images.codec import ValueCodec
    from translatekit.interfaces import DataOptions
    from translatekit.registry import registry

    try:
        config = RunConfig.from_toml(config_file, {})
        options = config.options
        if config.data is None and registry("dataset").get(str(options.dataset)).folder:
            return
        sides = {"input": info.input, "target": info.output}  # decided when it was trained, and not anew
        data_options = DataOptions(
            split="train",
            direction=options.direction,
            load_size=options.crop_size,
            crop_size=options.crop_size,
            flip=False,
            range=options.range,
            unit=options.unit or "",
            labels=options.labels,
            slices=options.slices,
            slice_axis=options.slice_axis,
            specs={info.data[key]: spec for key, spec in sides.items() if key in info.data},
        )
        dataset = make_dataset(str(options.dataset), config.data, data_options, options.dataset_options)
        side = info.data.get("input", "input" if "input" in dataset.specs else info.direction[0])
        codec = ValueCodec(info.input)
        for index in _evenly_spaced(len(dataset), count):
            values = dataset[index][side][None]
            yield codec.decode(values, values, torch.float32)[0].numpy()
    except (TranslatekitError, KeyError, OSError):
        return  # moved or deleted since: the drawn ones will do


def drawn_images(info: ModelInfo, count: int) -> Iterator[np.ndarray]:
    """Inputs of a model, (H, W, C) of its spec: facades, their gray in each channel, or random classes."""
    from translatekit.datasets.facades import draw_facade
    from translatekit.images import to_gray

    side = -(-info.size // info.size_multiple) * info.size_multiple
    spec = info.input
    for seed in range(count):
        if spec.meaning == "labels":
            yield _drawn_classes(spec, side, np.random.default_rng(seed))
            continue
        label, picture = draw_facade(seed, side)
        pixels = picture if spec.codec == "lab" or seed % 2 else label
        if spec.meaning == "rgb":
            yield pixels
            continue
        planes = [to_gray(pixels)]
        while len(planes) < spec.count:
            planes.append(to_gray(draw_facade(seed + 1000 * len(planes), side)[seed % 2]))
        levels = np.concatenate(planes, axis=2)
        if spec.levels:
            yield levels
        else:
            low, high = np.array(spec.low), np.array(spec.high)
            yield (levels / 255 * (high - low) + low).astype(np.float32)


def _drawn_classes(spec: ImageSpec, side: int, random: np.random.Generator) -> np.ndarray:
    """A map of patches, each of a random class."""
    patch = -(-side // 8)
    ids = (
        random.choice(np.array(spec.ids, np.uint8), (8, 8))
        .repeat(patch, 0)
        .repeat(patch, 1)[:side, :side, None]
    )
    if spec.count == 1:
        return ids
    edges = np.zeros_like(ids)
    edges[::patch], edges[:, ::patch] = 1, 1
    return np.concatenate([ids, edges], axis=2)


def _as_dtype(pixels: np.ndarray, spec: ImageSpec, dtype: str) -> np.ndarray:
    if pixels.dtype.name == dtype:
        return pixels
    if not spec.levels:
        return pixels.astype(dtype)
    return to_uint8(pixels) if dtype == "uint8" else pixels / np.float32(255)


def _fit(pixels: np.ndarray, info: ModelInfo, size: Size | None) -> np.ndarray:
    height, width = pixels.shape[:2]
    if size is not None:
        return resize(pixels, (size.height, size.width), info.input)
    if max(height, width) > MAX_SIDE:
        scale = MAX_SIDE / max(height, width)
        pixels = resize(pixels, (max(1, round(height * scale)), max(1, round(width * scale))), info.input)
    return np.ascontiguousarray(fit_pixels(pixels, info.size_multiple, "pad").pixels)
