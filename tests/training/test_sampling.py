"""The order in which images are visited."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import pytest

from translatekit.errors import DataError
from translatekit.training.sampling import EpochBatches


def epoch(number: int, seen: int = 0, **options: int) -> list[list[int]]:
    batches = EpochBatches(10, options.pop("batch_size", 2), seed=7, **options)
    batches.start(number, seen)
    assert len(batches) == len(list(batches))
    return list(batches)


def test_an_epoch_visits_each_image_once() -> None:
    assert sorted(index for batch in epoch(0) for index in batch) == list(range(10))


def test_each_epoch_has_an_order_of_its_own_that_can_be_repeated() -> None:
    assert epoch(0) != epoch(1)
    assert epoch(1) == epoch(1)


def test_skipping_goes_on_where_the_epoch_was_left() -> None:
    assert epoch(2, seen=6) == epoch(2)[3:]


def test_processes_share_an_epoch_without_overlap() -> None:
    parts = [epoch(0, rank=rank, world_size=2) for rank in range(2)]
    assert [len(part) for part in parts] == [2, 2]
    assert len({index for part in parts for batch in part for index in batch}) == 8


def test_a_step_takes_the_same_images_however_they_are_shared_out() -> None:
    def steps(**options: int) -> list[set[int]]:
        size, count = options.pop("world_size", 1), options.get("accumulate", 1)
        parts = [epoch(1, rank=rank, world_size=size, **options) for rank in range(size)]
        return [
            {index for part in parts for batch in part[at : at + count] for index in batch}
            for at in range(0, len(parts[0]), count)
        ]

    assert steps(batch_size=4) == steps(batch_size=1, world_size=4) == steps(batch_size=1, accumulate=4)
    assert steps(batch_size=4) == steps(batch_size=1, accumulate=2, world_size=2)


@hypothesis.settings(deadline=None, derandomize=True, database=None)
@hypothesis.given(
    length=st.integers(8, 40),
    parts=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 2), st.integers(0, 6)), min_size=1, max_size=5
    ),
)
def test_whatever_the_number_of_processes_becomes_an_epoch_shows_each_image_once(
    length: int, parts: list[tuple[int, int, int]]
) -> None:
    shown: list[int] = []
    for world_size, batch_size, steps in [*parts, (1, 1, length)]:
        ranks = [EpochBatches(length, batch_size, 3, rank, world_size) for rank in range(world_size)]
        seen = len(shown)
        done = min(steps, ranks[0].steps_after(seen))
        for batches in ranks:
            batches.start(5, seen)
            shown += [index for batch in list(batches)[:done] for index in batch]
        assert len(shown) == seen + done * ranks[0].images_per_step
    assert sorted(shown) == list(range(length))


def test_a_last_batch_that_is_not_full_is_left_out() -> None:
    assert [len(batch) for batch in epoch(0, batch_size=4)] == [4, 4]


def test_more_images_a_step_than_there_are_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"a batch of 6 on 2 device\(s\) is larger than the data, which has 10 images"
    ):
        EpochBatches(10, 6, seed=0, world_size=2)
