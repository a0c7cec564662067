"""What the page is told of a model, whatever runs it; and the files that the page is made of."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

from translatekit import __version__
from translatekit.datasets.palette import NEUTRAL, PaletteClass
from translatekit.errors import OptionError
from translatekit.image_spec import ImageSpec
from translatekit.images.preview import class_colours
from translatekit.model_info import ModelInfo

_SCRIPT = "text/javascript; charset=utf-8"
PAGE_FILES: dict[str, str] = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "main.js": _SCRIPT,
    "app.js": _SCRIPT,
    "blobs.js": _SCRIPT,
    "files.js": _SCRIPT,
    "live.js": _SCRIPT,
    "painting.js": _SCRIPT,
    "photos.js": _SCRIPT,
    "raster.js": _SCRIPT,
    "server.js": _SCRIPT,
    "stamps.js": _SCRIPT,
}
"""The page as the server gives it: its files' names and types."""

ANY_TRANSPORT = ("app.js", "blobs.js", "live.js", "painting.js", "photos.js", "raster.js", "stamps.js")
"""The scripts among them that do not care what runs the model: each transport has a ``main.js`` of its own."""


def page_file(name: str) -> bytes:
    """The contents of a file of the page."""
    return (resources.files(__package__) / "page" / name).read_bytes()


def describe(
    info: ModelInfo,
    *,
    name: str,
    palette: list[PaletteClass] | None,
    mode: str = "auto",
    max_pixels: int,
    facts: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """What the page needs to know of a model. No path is among it.

    Args:
        info: the model's header.
        name: to show.
        palette: of the model's label maps; None where it has none.
        mode: ``auto``, ``paint`` or ``photo``.
        max_pixels: of an image.
        facts: what else is said of the model, as terms and texts.

    Raises:
        OptionError: it is to be drawn for, and takes what cannot be drawn.
    """
    if can_draw(info) and palette is None and info.input.meaning == "labels":
        palette = _classes(info.input)
    if mode == "auto":
        mode = "photo" if palette is None else "paint"
    if mode == "paint" and not can_draw(info):
        raise OptionError(f"the model takes {info.input}, which cannot be drawn: leave out --mode paint")
    trained = f"{info.method}, at {info.trained_size}x{info.trained_size} pixels"
    return {
        "name": name,
        "heading": "translatekit",
        "subtitle": name,
        "title": f"{name} · translatekit paint",
        "about": {
            "title": name,
            "text": "",
            "facts": [
                ("Network", f"{info.generator}, {info.direction}"),
                ("Trained by", trained),
                *facts,
                ("Version", f"translatekit {__version__}"),
            ],
        },
        "method": info.method,
        "generator": info.generator,
        "direction": info.direction,
        "directions": [info.direction],
        "size": info.size,
        "size_multiple": info.size_multiple,
        "in_channels": info.input.count,
        "out_channels": info.output.count,
        "step": info.step,
        "mode": mode,
        "draw": can_draw(info),
        "browser": info.input.shown
        and info.output.shown
        and info.input.eight_bits
        and info.output.eight_bits,
        "input": controls(info.input),
        "output": controls(info.output),
        "palette": palette or NEUTRAL,
        "palette_known": palette is not None,
        "limits": {"pixels": max_pixels},
        "version": __version__,
    }


def can_draw(info: ModelInfo) -> bool:
    """Whether a person can draw what the model takes."""
    return info.input.shown or (info.input.meaning == "labels" and info.input.count == 1)


def controls(spec: ImageSpec) -> dict[str, Any]:
    """What the page needs to know of a spec: what it is in words, and the range of windows where it has one."""
    described: dict[str, Any] = {"text": str(spec), "unit": spec.unit, "window": None}
    if not spec.levels and spec.meaning != "labels":
        low, high = spec.span
        described["window"] = [low, high]
    return described


def _classes(spec: ImageSpec) -> list[PaletteClass]:
    """The classes of a spec, in the colours that they are shown in."""
    names = spec.classes or tuple(f"class {number}" for number in spec.ids)
    return [
        {"name": name, "color": list(color)} for name, color in zip(names, class_colours(spec), strict=True)
    ]
