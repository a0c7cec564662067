"""Animated GIF and WebP: frames with durations of their own, transparency and the number of repetitions kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

from translatekit.errors import DataError
from translatekit.images import to_uint8
from translatekit.interfaces import Translator
from translatekit_tools.bulk.geometry import Fitted
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.video.line import VideoResult, fit_for

_DEFAULT_DURATION = 100  # milliseconds, where a file says 0 or nothing, as browsers have it


def translate_animation(
    source: Path,
    out: Path,
    translator: Translator,
    options: RunOptions,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> VideoResult:
    """Translate an animated image into a new file of the same frames, durations and repetitions.

    Raises:
        DataError: it is damaged.
    """
    durations: list[int] = []
    result = VideoResult()
    try:
        with Image.open(source) as image:
            total = int(getattr(image, "n_frames", 1))

            def frames() -> Iterator[Image.Image]:
                originals = _frames(image, durations)
                size = options.batch_size or getattr(translator, "preferred_batch", None) or 4
                while batch := list(islice(originals, size)):
                    for frame in _translate(batch, translator, options):
                        result.frames += 1
                        report(result.frames, total)
                        yield frame

            made = list(frames())
            settings: dict[str, Any] = {"loop": image.info.get("loop", 0 if out.suffix == ".webp" else None)}
            settings = {key: value for key, value in settings.items() if value is not None}
            if out.suffix.lower() == ".webp":
                settings |= {"quality": options.quality, "method": 4}
            else:
                settings |= {"disposal": 2 if made[0].mode == "RGBA" else 1, "optimize": False}
            made[0].save(out, save_all=True, append_images=made[1:], duration=durations, **settings)
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{source} cannot be read as an animation ({error}): replace or remove it") from None
    return result


def _frames(image: Image.Image, durations: list[int]) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    for frame in ImageSequence.Iterator(image):
        frame.load()  # a WebP's duration is known no earlier
        durations.append(int(frame.info.get("duration", 0)) or _DEFAULT_DURATION)
        rgba = np.asarray(frame.convert("RGBA"))
        alpha = rgba[:, :, 3]
        yield np.ascontiguousarray(rgba[:, :, :3]), None if alpha.min() == 255 else alpha


def _translate(
    batch: list[tuple[np.ndarray, np.ndarray | None]], translator: Translator, options: RunOptions
) -> Iterator[Image.Image]:
    info = translator.info
    fitted: list[Fitted] = [
        fit_for(rgb, info.image_in_channels, info.size_multiple, options) for rgb, _ in batch
    ]
    outputs = translator(np.stack([item.pixels for item in fitted]))
    for (_, alpha), item, output in zip(batch, fitted, outputs, strict=True):
        pixels = to_uint8(item.restore(output))
        if pixels.shape[2] == 1:
            pixels = np.repeat(pixels, 3, axis=2)
        if alpha is not None and alpha.shape == pixels.shape[:2]:
            pixels = np.concatenate([pixels, alpha[:, :, None]], axis=2)
        yield Image.fromarray(np.ascontiguousarray(pixels))
