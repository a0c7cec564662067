"""The palette that a model's label maps are drawn with, wherever it can be found."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from translatekit.config import RunConfig
from translatekit.datasets.palette import PALETTE_FILE, PaletteClass, read_palette, stored_palette
from translatekit.errors import DataError, TranslatekitError
from translatekit.model_info import ModelInfo

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
        return _read(given)
    if (file.parent / PALETTE_FILE).is_file():
        return _read(file.parent / PALETTE_FILE)
    config = run_config(file)
    palette = stored_palette(info.data)
    if info.data.get("palette") is None and config is not None:
        palette = _learn(config, info)
    if palette is not None and config is not None and config.data is not None:
        edited = Path(config.data) / PALETTE_FILE
        if edited.is_file():
            return _read(edited)
    return palette


def _read(path: Path) -> list[PaletteClass]:
    palette = read_palette(path)
    if len({tuple(item["color"]) for item in palette}) < 2:
        raise DataError(
            f"{path} has one colour, in which nothing can be drawn on itself: add a class of another"
        )
    return palette


def run_config(file: Path) -> RunConfig | None:
    """The configuration of the run that a model file lies in, or None where it lies in none that can be read."""
    config = file.parent / "config.toml"
    if not config.is_file():
        return None
    with suppress(TranslatekitError):  # such as a method whose plugin is not installed any more
        return RunConfig.from_toml(config)
    return None


def _learn(config: RunConfig, info: ModelInfo) -> list[PaletteClass] | None:
    """From the images of a run that stored no palette, as long as they are still there."""
    from translatekit.datasets import make_dataset, sides_of
    from translatekit.datasets.palette import palette_of
    from translatekit.interfaces import DataOptions

    options = config.options
    size = DataOptions(direction=options.direction, load_size=options.load_size, crop_size=options.crop_size)
    with suppress(TranslatekitError):
        data = make_dataset(str(options.dataset), config.data, size, options.dataset_options)
        return palette_of(data, sides_of(data, info)[0])
    return None
