"""The order in which images are visited."""

from __future__ import annotations

import pytest

from translatekit.errors import DataError
from translatekit.training.sampling import EpochBatches


def epoch(number: int, skip: int = 0, **options: int) -> list[list[int]]:
    batches = EpochBatches(10, options.pop("batch_size", 2), seed=7, **options)
    batches.start(number, skip)
    return list(batches)


def test_an_epoch_visits_each_image_once() -> None:
    assert sorted(index for batch in epoch(0) for index in batch) == list(range(10))


def test_each_epoch_has_an_order_of_its_own_that_can_be_repeated() -> None:
    assert epoch(0) != epoch(1)
    assert epoch(1) == epoch(1)


def test_skipping_goes_on_where_the_epoch_was_left() -> None:
    assert epoch(2, skip=3) == epoch(2)[3:]


def test_processes_share_an_epoch_without_overlap() -> None:
    parts = [epoch(0, rank=rank, world_size=2) for rank in range(2)]
    assert [len(part) for part in parts] == [2, 2]
    assert len({index for part in parts for batch in part for index in batch}) == 8


def test_a_last_batch_that_is_not_full_is_left_out() -> None:
    assert [len(batch) for batch in epoch(0, batch_size=4)] == [4, 4]


def test_more_images_a_step_than_there_are_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"a batch of 6 on 2 device\(s\) is larger than the data, which has 10 images"
    ):
        EpochBatches(10, 6, seed=0, world_size=2)
