"""What runs a model: images of any size and number in, their translations out."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, overload

import numpy as np

from translatekit.bridge import MAX_STEPS
from translatekit.errors import OptionError
from translatekit.image_spec import ImageSpec
from translatekit.images import Image, resize
from translatekit.images.image import rescaled, to_levels
from translatekit.inference.batching import R, Request, by_shape, translate_batches
from translatekit.inference.geometry import Fit, crop_centre, fit_pixels
from translatekit.inference.inputs import ConvertedInput, convert_input
from translatekit.inference.passes import with_passes, with_tiles
from translatekit.inference.stages import Pause, ordered_map
from translatekit.interfaces import Translator
from translatekit.options import LARGEST_SIDE, Bounds
from translatekit.sizes import Size

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

T = TypeVar("T", np.ndarray, "PillowImage")

_THREADS = min(8, (os.cpu_count() or 1) + 2)  # more than cores: some wait for the disk
_ON_CPU, _ON_DEVICE = (4, 2**19), (16, 2**22)
"""Images, and pixels of all of them, that keep a device busy."""


class Predictor:
    """Translates images of any size, alone or many, with a translator that takes batches of one size.

    Each image is fitted to a size that the network takes, translated in a batch with others of its shape or in tiles,
    and cut back. Where the translator can be given several batches at once, three are in flight.

    It may be called from any thread, by one at a time, as its translator.

    Attributes:
        translator: what runs the network.
        info: the model file's header.
        device: where it runs, such as ``cpu`` or ``cuda:1``.
        dtypes: of the arrays that the model takes without a loss.
        fit, size: as given.
        tile: side of the tiles that larger images are translated in, in pixels; None for whole images.
    """

    def __init__(
        self,
        translator: Translator,
        *,
        fit: Fit = "pad",
        size: Size | None = None,
        tile: Annotated[int, Bounds(minimum=1, maximum=LARGEST_SIDE)] | None = None,
        overlap: Annotated[int, Bounds(minimum=0, maximum=LARGEST_SIDE)] | None = None,
        batch_size: Annotated[int, Bounds(minimum=1, maximum=4096)] | None = None,
        passes: Annotated[int, Bounds(minimum=1, maximum=MAX_STEPS)] | None = None,
    ) -> None:
        """Wrap a translator.

        Args:
            translator: such as `translatekit.load` returns.
            fit: how sides become multiples of what the network needs: ``pad`` reflects the image at its borders and
                cuts the translation back, ``resize`` goes to the nearest multiples and back, ``crop`` takes the
                largest centre part.
            size: that every image is resized to first; None keeps its own.
            tile: side of the overlapping tiles, in pixels, that larger images are translated in; None for whole ones.
            overlap: pixels that tiles overlap by; a quarter of the tile when not given.
            batch_size: images of one shape at once; by device and shape when not given.
            passes: how many are run for an image, by a model that takes several; as it was trained when not given.

        Raises:
            OptionError: the tiles do not fit the network, the model does not take so many passes, or an overlap has
                no tiles.
        """
        if overlap is not None and tile is None:
            raise OptionError("overlap says how far tiles overlap: pass tile with it")
        translator = with_passes(translator, passes)
        self.translator = translator if tile is None else with_tiles(translator, tile, overlap)
        self.info = translator.info
        self.device = str(getattr(translator, "device", "cpu"))
        self.fit = fit
        self.size = size
        self.dtypes: tuple[str, ...] = getattr(translator, "dtypes", ("uint8", "float32"))
        self.tile: int | None = getattr(self.translator, "tile", None)
        self._batch_size = batch_size

    # Of any kind, for people

    @overload
    def translate(self, image: T) -> T: ...
    @overload
    def translate(self, image: str | Path) -> np.ndarray: ...
    def translate(self, image: Any) -> Any:
        """Translate one image of any size.

        Args:
            image: an array (H, W, C) or (H, W); a Pillow image; or the path of an image file. See
                `translatekit.inference.inputs.convert_input` for how each becomes what the model takes.

        Returns:
            An array of the same dtype for an array, a Pillow image for a Pillow image; and for a path an array
            (H, W, C).

        Raises:
            DataError: the image cannot be read, or is nothing that the model takes.
        """
        pending = self._make_request(convert_input(image, self.translator))
        for _ in self.run([pending]):
            pass
        return pending.result()

    @overload
    def translate_many(self, images: Iterable[T]) -> Iterator[T]: ...
    @overload
    def translate_many(self, images: Iterable[str | Path]) -> Iterator[np.ndarray]: ...
    def translate_many(self, images: Iterable[Any]) -> Iterator[Any]:
        """Translate images, each of any size and kind, in order.

        They are taken one after the other as the translations are asked for, a few ahead, so that any number of them
        passes in the same memory. Files are read beside the model.

        Args:
            images: each as `translate` takes it.

        Returns:
            What `translate` returns for each, when the next is asked for.

        Raises:
            DataError: as `translate`, when it is an image's turn; none after it is translated.
        """
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="translatekit") as pool:
            try:
                pending = ordered_map(self._request_or_error, images, pool, 2 * _THREADS)
                yield from ordered_map(_result, self.run(pending), pool, _THREADS)
            finally:
                pool.shutdown(cancel_futures=True)

    # Of the kind that the model takes, for pipelines

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """What is translated of an image, (H, W) or (H, W, C): resized to `size`, and cropped where `fit` says so.

        Raises:
            DataError: it is too small to crop.
        """
        if self.size is not None:
            pixels = resize(pixels, (self.size.height, self.size.width), self._spec_of(pixels))
        return crop_centre(pixels, self.info.size_multiple) if self.fit == "crop" else pixels

    def carried(self, image: Image, height: int, width: int) -> Image:
        """What a translation keeps of an image beside its pixels: transparency, profile, missing values, metadata.

        Args:
            image: as it was read.
            height, width: of its pixels once they are prepared.

        Returns:
            An image of that size, for `translatekit.images.image_from`; its pixels are blank and take no memory.
        """
        dtype, alpha, valid = image.pixels.dtype, image.alpha, image.valid
        taken, white = self.info.input, image.white
        if (
            not (taken.shown or self.info.output.shown)
            and image.spec.count + 1 == taken.count // taken.slices
        ):
            alpha = None  # it is a channel of what is translated
        if white is None and taken.levels:  # as `fit_image` has taken it
            white = {"float32": 1.0, "uint8": 255.0}.get(dtype.name, 65535.0)
        moved = image.pixels.shape[:2] != (height, width) or (self.fit == "crop" and self.size is not None)
        if alpha is not None and moved:
            alpha = rescaled(self.prepare(to_levels(alpha, image)), dtype, white)
        if valid is not None:
            valid = self.prepare(valid.astype(np.uint8) * np.uint8(255)) >= 128
        # A profile says what numbers mean: what a model makes of other channels has numbers of another meaning.
        icc = image.icc_profile if self.info.input.count == self.info.output.count else None
        metadata = image.metadata
        if self.fit == "crop":
            metadata = self._cropped(metadata, *image.pixels.shape[:2])
        blank = np.broadcast_to(np.zeros((), dtype), (height, width, image.pixels.shape[2]))
        return replace(
            image,
            pixels=blank,
            white=white,
            alpha=alpha,
            icc_profile=icc,
            valid=valid,
            numbers=None,
            palette=None,
            metadata=metadata,
        )

    def request(self, pixels: np.ndarray, max_batch: int | None = None) -> Request:
        """What `run` takes.

        Args:
            pixels: (H, W, C) of the model's input, prepared by `prepare`.
            max_batch: how many images of this shape to translate at once; `batch_size` says it when not given.
        """
        fitted = fit_pixels(pixels, self.info.size_multiple, self.fit, self.info.input, self.info.output)
        return Request(self.translator, fitted, max_batch or self.batch_size(*fitted.pixels.shape[:2]))

    def batch_size(self, height: int, width: int) -> int:
        """Images of one size, in pixels, at once: as asked for, or enough to keep the device busy."""
        if self._batch_size is not None:
            return self._batch_size
        preferred = getattr(self.translator, "preferred_batch", None)
        max_batch, pixels = _ON_CPU if self.device.startswith("cpu") else _ON_DEVICE
        return max(1, min(preferred or max_batch, pixels // (height * width)))

    def run(self, items: Iterable[R | Pause]) -> Iterator[R]:
        """Translate what has a request; all items come back in their order, with their requests done."""
        waiting: deque[R] = deque()

        def tracked() -> Iterator[R | Pause]:
            for item in items:
                if not isinstance(item, Pause):
                    waiting.append(item)
                yield item

        for _ in translate_batches(by_shape(tracked(), 2 * (self._batch_size or 8))):
            while waiting and ((request := waiting[0].request) is None or request.done):
                yield waiting.popleft()

    def predict(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Translate images (H, W, C) of the model's input, each of any size, in order; a few ahead of what is taken.

        Raises:
            DataError: the model cannot translate one; it is raised when its turn has come.
        """
        pending = (_Pending(self.request(self.prepare(image))) for image in images)
        return (one.request.result() for one in self.run(pending))

    def _spec_of(self, pixels: np.ndarray) -> ImageSpec | None:
        """What pixels are to be resized as: those of the model's input, or what comes beside them."""
        return self.info.input if pixels.shape[2:] == (self.info.input.count,) else None

    def _cropped(self, metadata: Mapping[str, Any], height: int, width: int) -> Mapping[str, Any]:
        """What is known of an image of a size, for the part of it that is left of a crop."""
        rows, columns = (height, width) if self.size is None else (self.size.height, self.size.width)
        (top, tall), (left, wide) = (
            (side % multiple // 2 * scale, side // multiple * multiple * scale)
            for multiple, side, scale in zip(
                (self.info.size_multiple,) * 2, (rows, columns), (height / rows, width / columns), strict=True
            )
        )
        if (tall, wide) == (height, width):
            return metadata
        return {
            name: known.part(top, left, tall, wide) if hasattr(known, "part") else known
            for name, known in metadata.items()
        }

    def in_tiles(self, tile: int) -> Predictor:
        """The same, in tiles of so many pixels a side.

        Raises:
            OptionError: the network cannot be run in such tiles.
        """
        return Predictor(
            self.translator, fit=self.fit, size=self.size, tile=tile, batch_size=self._batch_size
        )

    # Its end

    def close(self) -> None:
        """Free what the translator holds, such as a GPU's memory; it cannot be used any more."""
        getattr(self.translator, "close", lambda: None)()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self.info.method} {self.info.generator} on {self.device}>"

    def _make_request(self, converted: ConvertedInput) -> _Pending:
        pixels = self.prepare(converted.pixels)
        image = None if converted.image is None else self.carried(converted.image, *pixels.shape[:2])
        return _Pending(self.request(pixels), lambda output: converted.convert_back(output, image))

    def _request_or_error(self, image: Any) -> _Pending | _FailedInput:
        """Errors are raised when it is the image's turn."""
        try:
            return self._make_request(convert_input(image, self.translator))
        except Exception as error:
            return _FailedInput(error)


@dataclass(slots=True)
class _Pending:
    """An image whose translation was asked for.

    Attributes:
        request: what the model is asked.
        convert_back: makes the image's kind of the translation.
    """

    request: Request
    convert_back: Callable[[np.ndarray], Any] = lambda output: output

    def result(self) -> Any:
        """The translation, of the image's kind.

        Raises:
            Exception: why there is none.
        """
        return self.convert_back(self.request.result())


@dataclass(slots=True)
class _FailedInput:
    """An image that could not be converted."""

    error: Exception
    request: None = None

    def result(self) -> Any:
        """Raise why."""
        raise self.error


def _result(one: _Pending | _FailedInput) -> Any:
    return one.result()
