"""Examples of the data that a model was trained on, to start a drawing from."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from translatekit.config import RunConfig
from translatekit.errors import TranslatekitError
from translatekit.images import encode_image, image_of
from translatekit.images.preview import preview
from translatekit.model_info import ModelInfo

if TYPE_CHECKING:
    from translatekit_tools.evaluate.images import Images

MAX_EXAMPLES = 32  # examples that are offered


class Examples:
    """Inputs of a model from the data it was trained on, found when the first is asked for.

    Validation images come first, so that the translation shows what the model makes of images it has not seen.

    Args:
        info: the model's header.
        config: of its run; None where there is no run beside the model. Data that need no folder are found without.
    """

    def __init__(self, info: ModelInfo, config: RunConfig | None) -> None:
        self._info = info
        self._config = config

    def example(self, number: int) -> bytes | None:
        """An example as PNG, or None where the data are not here any more; they follow each other in a circle."""
        if self._images is None:
            return None
        pixels = self.pixels(number)
        assert pixels is not None
        return self._png(pixels)

    def pixels(self, number: int) -> np.ndarray | None:
        """An example as the model takes it, (H, W, C) of its input; None as of `example`."""
        return None if self._images is None else self._images.item(number % len(self._images)).source

    def surprise(self, seed: int) -> bytes | None:
        """Parts of two examples side by side as PNG, either mirrored half of the time; None as of `example`."""
        if self._images is None:
            return None
        random = np.random.default_rng(abs(seed))
        left, right = (
            self._images.item(int(random.integers(len(self._images))))[1][:, :: random.choice((-1, 1))]
            for _ in range(2)
        )
        seam = int(left.shape[1] * random.uniform(0.3, 0.7))
        return self._png(np.concatenate([left[:, :seam], right[:, seam:]], axis=1))

    def _png(self, pixels: np.ndarray) -> bytes:
        seen = pixels if self._info.input.shown else preview(pixels, self._info.input)
        return encode_image(image_of(np.ascontiguousarray(seen)), ".png")

    @cached_property
    def _images(self) -> Images | None:
        if self._config is None and not self._info.data.get("dataset"):
            return None  # such as an imported model: nothing says what it was trained on
        try:
            from translatekit_tools.evaluate.images import open_images
        except ImportError:  # a machine that only runs compiled models
            return None
        from translatekit_tools.evaluate.options import EvaluateOptions

        options = self._config and self._config.options
        root = self._config.data if self._config else None
        for split in ("val", "test", "train"):
            try:
                chosen = EvaluateOptions(
                    split=split,
                    dataset=options.dataset if options else None,
                    dataset_options=dict(options.dataset_options) if options else {},
                    max_images=MAX_EXAMPLES,
                )
                images = open_images(None if root is None else Path(root), chosen, self._info)
                channels = images.data.specs[images.source].count
            except (TranslatekitError, KeyError):  # not there any more, or of a plugin that is not
                continue
            if len(images) and channels == self._info.input.count:
                return images
        return None
