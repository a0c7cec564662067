"""Inputs computed from photographs: gray versions and drawings of their edges."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from translatekit.errors import OptionError
from translatekit.images import read_levels, to_gray, to_uint8
from translatekit.model_file import find_model
from translatekit.storage import hash_file
from translatekit_tools.prepare.layout import PairLayout, to_rgb
from translatekit_tools.prepare.options import DatasetOptions, EdgesOptions
from translatekit_tools.prepare.output import Made, Output
from translatekit_tools.prepare.work import Progress, Source, Summary, find_sources, work_on

_LOW = 0.4  # of the upper threshold, as Canny advises: between a third and a half
_FAINTEST = 24.0  # gradients below this are noise, even where nothing stronger is in the image


def make_gray(photos: Path, out: Path, options: DatasetOptions, progress: Progress | None = None) -> Summary:
    """Write gray versions (luma, ITU-R BT.601) as A with the photographs as B.

    Args:
        photos: a folder of photographs.
        out: the dataset's folder.
        options: how they lie there.
        progress: is told how far it is.
    """
    return _derive(photos, out, to_gray, {"gray": "luma"}, options, progress)


def make_edges(photos: Path, out: Path, options: EdgesOptions, progress: Progress | None = None) -> Summary:
    """Write drawings of the edges as A with the photographs as B.

    Args:
        photos: a folder of photographs.
        out: the dataset's folder.
        options: how to draw. Canny's thresholds are in levels of gradient, and each image's own (see `canny`) where
            not given. A model goes from photographs to edges, such as one trained on soft edges like HED's; its
            output is taken as it is, in gray.
        progress: is told how far it is.

    Raises:
        OptionError: thresholds that cannot be, or any with a model.
        DataError: there are no photographs.
    """
    low, high, inverted = options.low, options.high, options.white_on_black
    if options.model is not None:
        if low is not None or high is not None or options.blur != EdgesOptions().blur:
            raise OptionError("--low, --high and --blur are Canny's: leave them out with --model")
        draw = _ByModel(options.model)
        recipe: dict[str, Any] = {"model": hash_file(find_model(options.model)), "white_on_black": inverted}

        def drawn(photo: np.ndarray) -> np.ndarray:
            return _inverted(draw(to_uint8(photo)), inverted)

        return _derive(photos, out, drawn, recipe, options, progress)
    if low is not None and high is not None and low > high:
        raise OptionError(f"--low is {low:g}, which is more than --high, {high:g}: exchange them")

    def edges(photo: np.ndarray) -> np.ndarray:
        return _inverted(canny(to_uint8(photo), options.blur, low, high), not inverted)

    recipe = {"canny": [low, high], "blur": options.blur, "white_on_black": inverted}
    return _derive(photos, out, edges, recipe, options, progress)


def canny(
    photo: np.ndarray, blur: float = 1.4, low: float | None = None, high: float | None = None
) -> np.ndarray:
    """Canny's edges (PAMI 1986): (H, W, 1) uint8, 255 on edges and 0 elsewhere, of (H, W, 3) uint8.

    The upper threshold separates strong from weak gradients by Otsu's method (1979), so that dark, hazy and
    contrasty photographs all give their main edges; the lower one is 0.4 of it.
    """
    gray = to_gray(photo)[:, :, 0]
    if blur:
        gray = cv2.GaussianBlur(gray, (0, 0), blur)
    dx, dy = cv2.Sobel(gray, cv2.CV_16S, 1, 0), cv2.Sobel(gray, cv2.CV_16S, 0, 1)
    if high is None:
        magnitude = np.hypot(dx, dy, dtype=np.float32)
        scaled = np.minimum(magnitude / 4, 255).astype(np.uint8)
        high = max(4 * float(cv2.threshold(scaled, 0, 255, cv2.THRESH_OTSU)[0]), _FAINTEST, low or 0.0)
    return cv2.Canny(dx, dy, high * _LOW if low is None else low, high, L2gradient=True)[:, :, None]


def _derive(
    photos: Path,
    out: Path,
    derive: Callable[[np.ndarray], np.ndarray],
    recipe: dict[str, Any],
    options: DatasetOptions,
    progress: Progress | None,
) -> Summary:
    sources = find_sources(photos, out)
    output = Output(out, [source.path for source in sources], options.force)
    pairs = PairLayout.of(options)

    def make(source: Source) -> Made:
        photo = to_rgb(read_levels(source.path, deep=pairs.deep).pixels)
        return pairs.encode(source.name, derive(photo), photo, b_file=source.path)

    return work_on(output, sources, make, {**recipe, **asdict(pairs)}, progress)


class _ByModel:
    """Draws with a model, which each process that it comes to loads."""

    def __init__(self, model: Path) -> None:
        from translatekit import load

        self._model = model
        self._translator = load(model)
        self._turn = threading.Lock()  # a translator serves one caller at a time

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process."""
        return type(self), (self._model.absolute(),)

    def __call__(self, photo: np.ndarray) -> np.ndarray:
        from translatekit.inference.geometry import fit_pixels

        info = self._translator.info
        fitted = fit_pixels(to_gray(photo) if info.input.count == 1 else photo, info.size_multiple, "pad")
        with self._turn:
            drawn = to_uint8(fitted.restore(self._translator(fitted.pixels[None])[0]))
        return drawn if drawn.shape[2] == 1 else to_gray(drawn)


def _inverted(pixels: np.ndarray, invert: bool) -> np.ndarray:
    return 255 - pixels if invert else pixels
