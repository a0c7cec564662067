"""Images through a model: batches by shape, several in flight, image by image where a batch fails."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from translatekit.inference.geometry import Fitted
from translatekit.inference.memory import within_memory
from translatekit.inference.stages import Pause, batch_by
from translatekit.interfaces import Translator

IN_FLIGHT = 3
"""Batches in flight: one that is uploaded, one that is computed, one that is downloaded."""

Timer = Callable[[str], AbstractContextManager[None]]
"""Told when a stage, by its name, is busy: within the context that it returns."""

_NO_PIXELS = np.empty((0, 0, 0), np.uint8)


@dataclass(slots=True, eq=False)
class Request:
    """One image that is to be translated, and then its translation.

    Attributes:
        translator: what translates it.
        fitted: the image as the network takes it; its pixels are freed once they are translated.
        max_batch: how many images of its shape are translated at once, at most.
        batched_with: how many were translated at once, itself included.
        output: what the network gave, (H, W, C') of the fitted image's size and dtype; None until it is there.
        error: why there is no output.
    """

    translator: Translator
    fitted: Fitted
    max_batch: int = 1
    batched_with: int = 0
    output: np.ndarray | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether there is an output, or an error."""
        return self.output is not None or self.error is not None

    def result(self) -> np.ndarray:
        """The translation (H, W, C'), at the size that the image came in.

        Raises:
            Exception: why it could not be translated.
        """
        if self.error is not None:
            raise self.error
        assert self.output is not None
        return self.fitted.restore(self.output)


class HasRequest(Protocol):
    """An item of a pipeline that may have a request. An item without one passes through unchanged."""

    @property
    def request(self) -> Request | None:
        """The request to translate its image, if there is one."""
        ...


R = TypeVar("R", bound=HasRequest)


def by_shape(items: Iterable[R | Pause], window: int) -> Iterator[list[R]]:
    """Batches of images that one translator can take at once.

    Args:
        items: in any order of shapes; those without a request leave at once, alone.
        window: how many items may overtake one that waits for its batch to fill.

    Returns:
        The batches, and an empty one for each pause.
    """
    return batch_by(_key, items, _max_batch, window)


def translate_batches(batches: Iterable[list[R]], timer: Timer = lambda stage: nullcontext()) -> Iterator[R]:
    """Translate all requests; where a translator takes several batches at once, `IN_FLIGHT` are in flight.

    A batch that fails is translated again image by image, so that an image at fault, or too little memory for a whole
    batch, costs no other image its translation. Errors are kept in the requests.

    Args:
        batches: of requests with one translator and one shape; an empty one stands for a pause: what is in flight is
            waited for before the next is asked for.
        timer: told of the stage ``translate``.

    Returns:
        The items, batch by batch, each with its request done. One without a request may come before those that are
        in flight.
    """
    in_flight: deque[tuple[list[R], Any]] = deque()
    for batch in batches:
        if not batch:
            while in_flight:
                yield from _finish(*in_flight.popleft(), timer)
            continue
        first = batch[0].request
        if first is None or first.done:
            yield from batch
            continue
        submit = getattr(first.translator, "submit", None)
        if submit is None:
            _translate(_requests(batch), timer)
            yield from batch
            continue
        if len(in_flight) >= IN_FLIGHT:
            yield from _finish(*in_flight.popleft(), timer)
        in_flight.append((batch, _submitted(submit, _requests(batch), timer)))
    while in_flight:
        yield from _finish(*in_flight.popleft(), timer)


def _key(item: HasRequest) -> Hashable | None:
    request = item.request
    if request is None or request.done:
        return None
    pixels = request.fitted.pixels
    return pixels.shape, pixels.dtype.str, id(request.translator), request.max_batch


def _max_batch(key: Hashable) -> int:
    """The size of the largest batch of images with a key."""
    return cast(tuple[object, str, int, int], key)[-1]


def _requests(batch: Iterable[HasRequest]) -> list[Request]:
    return [item.request for item in batch if item.request is not None]


def _stacked(requests: list[Request]) -> np.ndarray:
    pixels = [request.fitted.pixels for request in requests]
    return pixels[0][None] if len(pixels) == 1 else np.stack(pixels)


def _submitted(submit: Callable[[np.ndarray], Any], requests: list[Request], timer: Timer) -> Any:
    """The future of a batch's outputs, or None where it could not be submitted."""
    with contextlib.suppress(Exception), timer("translate"):
        return submit(_stacked(requests))
    return None


def _finish(batch: list[R], pending: Any, timer: Timer) -> list[R]:
    """Wait for a batch that was submitted, and store its outputs."""
    requests = _requests(batch)
    outputs = None
    if pending is not None:
        with contextlib.suppress(Exception), timer("translate"):
            outputs = pending.result()
    if outputs is None:
        _translate(requests, timer)  # by itself: there may have been too much in flight
    else:
        _store_outputs(requests, outputs)
    return batch


def _translate(requests: list[Request], timer: Timer) -> None:
    outputs = None
    try:
        with timer("translate"):
            translator = requests[0].translator
            outputs = within_memory(translator, _stacked(requests), str(getattr(translator, "device", "cpu")))
    except Exception as error:
        if len(requests) == 1:
            requests[0].error = error
            _free_pixels(requests[0])
            return
    if outputs is None:  # not within the handler: the error holds what was computed so far, and its memory
        for request in requests:
            _translate([request], timer)
    else:
        _store_outputs(requests, outputs)


def _store_outputs(requests: list[Request], outputs: np.ndarray) -> None:
    """Each request's output, in place of its pixels."""
    for request, output in zip(requests, outputs, strict=True):
        request.output, request.batched_with = output, len(requests)
        _free_pixels(request)


def _free_pixels(request: Request) -> None:
    request.fitted = replace(request.fitted, pixels=_NO_PIXELS)
