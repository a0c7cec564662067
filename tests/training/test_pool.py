"""The image pool."""

from __future__ import annotations

import torch

from translatekit.training.pool import ImagePool


def numbered(number: int) -> torch.Tensor:
    return torch.full((1, 1, 2, 2), float(number))


def test_a_pool_of_size_zero_passes_images_through() -> None:
    pool = ImagePool(0)
    assert [pool.query(numbered(n)).mean().item() for n in range(5)] == [0, 1, 2, 3, 4]


def test_images_pass_until_the_pool_is_full_then_half_are_earlier_ones() -> None:
    pool = ImagePool(10, seed=3)
    assert [pool.query(numbered(n)).mean().item() for n in range(10)] == list(range(10))
    answers = [pool.query(numbered(n)).mean().item() for n in range(10, 1010)]
    earlier = sum(answer < n for n, answer in zip(range(10, 1010), answers, strict=True))
    assert 430 < earlier < 570
    assert all(answer <= n for n, answer in zip(range(10, 1010), answers, strict=True))


def test_no_gradient_passes_the_pool() -> None:
    image = numbered(1).requires_grad_()
    assert not ImagePool(2).query(image * 2).requires_grad


def test_a_restored_pool_goes_on_as_the_first() -> None:
    first, second = ImagePool(4, seed=1), ImagePool(4, seed=9)
    for n in range(9):
        first.query(numbered(n))
    second.load_state_dict(first.state_dict())
    expected = [first.query(numbered(n)).mean().item() for n in range(9, 40)]
    assert [second.query(numbered(n)).mean().item() for n in range(9, 40)] == expected
