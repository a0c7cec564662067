"""Many clients, one model."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from translatekit_tools.paint.batching import Batcher

from tests.tools.paint.serving import Negative
from translatekit.errors import DataError, ModelFileError


def images(count: int, size: int = 16) -> list[np.ndarray]:
    random = np.random.default_rng(size)
    return [random.integers(0, 256, (size, size, 3), np.uint8) for _ in range(count)]


def run(translator: Any, wanted: list[np.ndarray], max_batch: int = 4) -> list[Any]:
    async def main() -> list[Any]:
        async with Batcher(lambda: translator, max_batch) as batcher:
            return await asyncio.gather(*map(batcher.translate, wanted), return_exceptions=True)

    return asyncio.run(main())


def test_each_gets_its_own_image_whatever_waits_beside_it() -> None:
    wanted = [*images(5, 16), *images(3, 32), *images(4, 16)]
    results = run(Negative(delay=0.01), wanted)
    for image, result in zip(wanted, results, strict=True):
        np.testing.assert_array_equal(result.pixels, 255 - image)


def test_what_waits_together_is_translated_together_by_shape_up_to_the_limit() -> None:
    model = Negative(delay=0.02)
    results = run(model, [*images(9, 16), *images(2, 32)], max_batch=4)
    assert model.batches == [(4, 16, 16, 3), (4, 16, 16, 3), (1, 16, 16, 3), (2, 32, 32, 3)]
    assert [result.batch for result in results] == [4] * 8 + [1] + [2] * 2
    assert results[0].queue_seconds < results[4].queue_seconds < results[8].queue_seconds


def test_what_nobody_waits_for_is_not_translated() -> None:
    model = Negative()
    model.gate.clear()

    async def main() -> None:
        async with Batcher(lambda: model, 1) as batcher:
            tasks = [asyncio.ensure_future(batcher.translate(image)) for image in images(5)]
            while not model.batches:
                await asyncio.sleep(0.01)
            for task in tasks[1:4]:
                task.cancel()
            model.gate.set()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(result, asyncio.CancelledError) for result in results] == [0, 1, 1, 1, 0]

    asyncio.run(main())
    assert len(model.batches) == 2


class Picky(Negative):
    """Fails on a batch that holds a black image, and on more than two."""

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        result = super().__call__(batch)
        if len(batch) > 2:
            raise DataError("3 do not fit into the memory: pass a smaller --batch-size")
        if (batch == 0).all(axis=(1, 2, 3)).any():
            raise DataError("the image is black: take another")
        return result


def test_a_batch_that_fails_is_translated_one_by_one() -> None:
    wanted = images(4)
    wanted[1] = np.zeros_like(wanted[1])
    results = run(Picky(), wanted)
    assert isinstance(results[1], DataError)
    for index in (0, 2, 3):
        np.testing.assert_array_equal(results[index].pixels, 255 - wanted[index])


def test_the_model_is_loaded_and_used_in_one_thread_of_its_own() -> None:
    threads = []

    class Watched(Negative):
        def __init__(self) -> None:
            threads.append(threading.current_thread())
            super().__init__()

        def __call__(self, batch: np.ndarray) -> np.ndarray:
            threads.append(threading.current_thread())
            return super().__call__(batch)

    async def main() -> None:
        async with Batcher(Watched) as batcher:
            await batcher.translate(images(1)[0])
            await batcher.translate(images(1)[0])

    asyncio.run(main())
    assert len(threads) == 3
    assert len(set(threads)) == 1
    assert threads[0] is not threading.main_thread()
    assert not threads[0].is_alive()


def test_a_model_that_cannot_be_loaded_leaves_no_thread() -> None:
    def load() -> Negative:
        raise ModelFileError("there is no model: train one")

    before = threading.active_count()
    with pytest.raises(ModelFileError, match="there is no model"):
        Batcher(load)
    assert threading.active_count() == before


def test_ending_leaves_nobody_waiting() -> None:
    model = Negative()
    model.gate.clear()

    async def main() -> list[Any]:
        async with Batcher(lambda: model, 1) as batcher:
            tasks = [asyncio.ensure_future(batcher.translate(image)) for image in images(3)]
            while not model.batches:
                await asyncio.sleep(0.01)
            threading.Timer(0.5, model.gate.set).start()
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)

    assert all(isinstance(result, asyncio.CancelledError) for result in asyncio.run(main()))
