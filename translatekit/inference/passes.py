"""Models that take several passes for one image: the one loop around whatever runs a pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np

from translatekit.bridge import Bridge
from translatekit.errors import DataError, OptionError
from translatekit.image_spec import ImageSpec
from translatekit.inference.tiles import TiledTranslator
from translatekit.interfaces import Translator
from translatekit.model_info import ModelInfo

A = TypeVar("A")  # numpy's arrays or torch's tensors

_FOR_NETWORK, _ON_THE_WAY = 0, 1  # the uses of noise within a step, so that they are independent


def cross(
    bridge: Bridge,
    passes: int,
    image: A,
    foresee: Callable[[A, int], A],
    noise: Callable[[int], A],
) -> A:
    """Go over a bridge from an image, and give the end that the last pass foresees.

    Args:
        bridge: the way.
        passes: how many of its steps are made, at least 1.
        image: in network values.
        foresee: the network's pass: from a place, and the number of the step that begins there, to the end.
        noise: what is drawn on the way behind a step, of variance 1; of a shape that is added to images.
    """
    place = end = image
    for step in range(passes):
        end = foresee(place, step)
        if step + 1 < passes:
            place = bridge.next_place(step, place, end, noise(step))
    return end


def network_noise(seed: int, step: int, height: int, width: int) -> np.ndarray:
    """The plane of noise that a pass is given, (H, W) float32."""
    return _drawn((seed, step, _FOR_NETWORK), (height, width))


def way_noise(seed: int, step: int, height: int, width: int, channels: int) -> np.ndarray:
    """The noise that is added behind a step, (H, W, C) float32."""
    return _drawn((seed, step, _ON_THE_WAY), (height, width, channels))


def _drawn(entropy: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Noise that depends on the seed, the step and the size of the image alone, and on nothing that lies beside it."""
    drawn = np.random.default_rng(entropy).standard_normal(shape, np.float32)
    return cast(np.ndarray, drawn)


class PassesTranslator:
    """A `translatekit.interfaces.Translator` that runs the one of a single pass as often as its bridge says.

    Noise is drawn for an image of a size, anew for each pass, and is the same for all images of that size: a result
    depends on the seed alone, not on its batch. In tiles each pass is made of the whole image, so that they agree
    after every one.

    Attributes:
        info: of the model as it is used, see `ModelInfo.whole`.
        device, dtypes, preferred_batch: as a `Translator` may have them.
        one: the translator of one pass.
        passes: how many are run.
        tile: the side of the tiles that a pass is made in, in pixels; None for whole images.
    """

    def __init__(self, one: Translator, passes: int | None = None, seed: int = 0) -> None:
        """Wrap the translator of a pass.

        Args:
            one: whose header has a bridge.
            passes: how many to run; all when None.
            seed: of the noise.

        Raises:
            OptionError: it was trained for fewer passes.
        """
        bridge = one.info.bridge
        if bridge is None:
            raise OptionError(f"the {one.info.method} model takes one pass for an image: leave out --passes")
        self.one, self._bridge, self._seed = one, bridge, seed
        self.passes = bridge.passes(passes)
        self.info: ModelInfo = one.info.whole
        self.device = str(getattr(one, "device", "cpu"))
        self.dtypes = ("uint8", "float32") if bridge.input.levels else ("float32",)
        self.preferred_batch = getattr(one, "preferred_batch", None)
        self.tile: int | None = getattr(one, "tile", None)

    def set_noise(self, seed: int) -> None:
        """Draw the noise from this seed."""
        self._seed = seed

    def with_passes(self, passes: int | None) -> PassesTranslator:
        """The same with so many passes; all when None."""
        return PassesTranslator(self.one, passes, self._seed)

    def in_tiles(self, tile: int, overlap: int | None = None) -> PassesTranslator:
        """The same with each pass made in tiles.

        Raises:
            OptionError: the tiles do not fit the network.
        """
        return PassesTranslator(TiledTranslator(self.one, tile, overlap), self.passes, self._seed)

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Translate (N, H, W, C) of ``info.input``."""
        spec = self.info.input
        if batch.ndim != 4 or batch.shape[3] != spec.count or batch.dtype.name not in self.dtypes:
            raise DataError(
                f"the model takes {' or '.join(self.dtypes)} arrays (N, H, W, {spec.count}), which are {spec}, got "
                f"{batch.dtype} {batch.shape}: convert the images"
            )
        height, width = batch.shape[1:3]
        bridge, seed = self._bridge, self._seed

        def foresee(place: np.ndarray, step: int) -> np.ndarray:
            taken = np.empty((*place.shape[:3], place.shape[3] + 2), np.float32)
            taken[..., :-2] = place
            taken[..., -2] = bridge.times[step]
            taken[..., -1] = network_noise(seed, step, height, width)
            return self.one(taken)

        def noise(step: int) -> np.ndarray:
            return way_noise(seed, step, height, width, batch.shape[3])

        end = cross(bridge, self.passes, to_network(batch, bridge.input), foresee, noise)
        return from_network(end, bridge.output, batch.dtype)

    def close(self) -> None:
        """Free what the translator of a pass holds."""
        getattr(self.one, "close", lambda: None)()


def whole_translator(translator: Translator) -> Translator:
    """A translator of images: the given one, or what runs it several times where it makes one pass of several."""
    return translator if translator.info.bridge is None else PassesTranslator(translator)


def with_passes(translator: Translator, passes: int | None) -> Translator:
    """A translator that runs so many passes for an image; None leaves it as it is.

    Raises:
        OptionError: the model takes one pass, or was trained for fewer.
    """
    if passes is None:
        return translator
    if not isinstance(translator, PassesTranslator):
        raise OptionError(
            f"the {translator.info.method} model takes one pass for an image: leave out --passes"
        )
    return translator.with_passes(passes)


def with_tiles(translator: Translator, tile: int, overlap: int | None) -> TiledTranslator | PassesTranslator:
    """A translator of larger images in tiles.

    Raises:
        OptionError: the tiles do not fit the network.
    """
    if isinstance(translator, PassesTranslator):
        return translator.in_tiles(tile, overlap)
    return TiledTranslator(translator, tile, overlap)


def to_network(batch: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Images of a linear spec in network values, float32: as `translatekit.images.codec.ValueCodec.encode`."""
    images = batch.astype(np.float32)
    if spec.levels and batch.dtype == np.uint8:
        images /= 255
    low, high = (np.array(bounds, np.float32) for bounds in (spec.low, spec.high))
    images = (images - low) / (high - low)
    if spec.clip:
        images = images.clip(0, 1)
    scaled: np.ndarray = images * 2 - 1
    return scaled


def from_network(values: np.ndarray, spec: ImageSpec, dtype: np.dtype) -> np.ndarray:
    """Network values as images of a linear spec: as `translatekit.images.codec.ValueCodec.decode`."""
    images = (values + 1) / 2
    if spec.levels or spec.clip:
        images = images.clip(0, 1)
    if spec.levels:
        return np.rint(images * 255).astype(np.uint8) if dtype == np.uint8 else images.astype(np.float32)
    low, high = (np.array(bounds, np.float32) for bounds in (spec.low, spec.high))
    return (images * (high - low) + low).astype(np.float32)


def sample_passes(images: list[np.ndarray], bridge: Bridge) -> list[np.ndarray]:
    """What passes of a model may be given, made of its images: each another step of the way, near its beginning.

    Args:
        images: (H, W, C) of the bridge's input.
        bridge: of the model.

    Returns:
        (H, W, C + 2) of ``bridge.pass_input``, float32.
    """
    made = []
    for number, image in enumerate(images):
        step, (height, width, channels) = number % bridge.steps, image.shape
        time = bridge.times[step]
        deviation = (bridge.tau * time * (1 - time)) ** 0.5
        place = to_network(image, bridge.input) + deviation * way_noise(number, step, height, width, channels)
        noise = network_noise(number, step, height, width)[:, :, None]
        made.append(np.concatenate([place, np.full_like(noise, time), noise], axis=2))
    return made
