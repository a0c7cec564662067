"""The joints of the line."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from translatekit.inference.stages import batch_by, in_order, ordered_map


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def test_ordered_map_keeps_order_whatever_takes_longest(pool: ThreadPoolExecutor) -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number % 4 == 0 else 0)
        return number

    assert list(ordered_map(slow_first, range(20), pool, ahead=6)) == list(range(20))


def test_ordered_map_works_in_several_threads_at_once(pool: ThreadPoolExecutor) -> None:
    barrier = threading.Barrier(4, timeout=10)
    assert len(list(ordered_map(lambda _: barrier.wait(), range(4), pool, ahead=4))) == 4


def test_ordered_map_pulls_no_more_than_its_queue_holds(pool: ThreadPoolExecutor) -> None:
    pulled = []

    def source() -> Iterator[int]:
        for number in range(1000):
            pulled.append(number)
            yield number

    results = ordered_map(lambda number: number, source(), pool, ahead=5)
    for _ in range(3):
        next(results)
    assert len(pulled) <= 5 + 3


def test_an_exception_in_a_stage_surfaces_and_drops_what_is_queued() -> None:
    done = []
    surfaced = threading.Event()

    def work(number: int) -> int:
        if number == 2:
            raise ValueError("broken stage")
        if number > 2:
            surfaced.wait(60)
        done.append(number)
        return number

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(ValueError, match="broken stage"):
            list(ordered_map(work, range(1000), pool, ahead=50))
        surfaced.set()
    assert done in ([0, 1], [0, 1, 3])  # at most the one that had been begun


def test_batches_hold_items_of_one_key_and_lose_none() -> None:
    words = ["a1", "b1", "a2", "b2", "a3", "c1", "b3"]
    batches = list(batch_by(lambda word: word[0], words, lambda _: 2, window=100))
    assert batches == [["a1", "a2"], ["b1", "b2"], ["a3"], ["c1"], ["b3"]]


def test_an_item_without_key_passes_at_once_and_alone() -> None:
    items = [1, None, 2]
    assert list(batch_by(lambda item: item and "n", items, lambda _: 2, window=9)) == [[None], [1, 2]]


def test_no_item_waits_longer_than_the_window() -> None:
    items = ["rare", *(f"common{number}" for number in range(100))]
    batches = list(batch_by(lambda item: item[:4], items, lambda _: 4, window=10))
    position = batches.index(["rare"])
    assert sum(len(batch) for batch in batches[:position]) <= 10


def test_in_order_gives_back_the_order_of_the_input() -> None:
    @dataclass
    class Item:
        index: int

    items = [Item(index) for index in (2, 0, 1, 4, 3)]
    assert [item.index for item in in_order(items)] == [0, 1, 2, 3, 4]
