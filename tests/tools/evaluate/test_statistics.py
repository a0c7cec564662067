"""Confidence intervals, and label maps as classes."""

from __future__ import annotations

import numpy as np
import pytest
from translatekit_tools.evaluate.outputs import confusion
from translatekit_tools.evaluate.statistics import SUBSETS, Bootstrap, around, halves

from translatekit.metrics import make_metric, metric_names
from translatekit.metrics.labels import class_accuracies, ious


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        estimate = Bootstrap(60, 400, seed).estimate(random.normal(3.0, 2.0, 60))
        assert estimate.low is not None
        assert estimate.high is not None
        held += estimate.low <= 3.0 <= estimate.high
    assert 0.89 <= held / 200 <= 0.98


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.arange(20.0)
    assert Bootstrap(20, 100, 1).estimate(values) == Bootstrap(20, 100, 1).estimate(values)
    assert Bootstrap(20, 100, 1).estimate(values) != Bootstrap(20, 100, 2).estimate(values)


def test_a_paired_difference_is_surer_than_two_means() -> None:
    random = np.random.default_rng(0)
    first = random.normal(0, 10, 50)
    second = first + random.normal(0.5, 0.1, 50)
    bootstrap = Bootstrap(50, 500, 0)
    difference = bootstrap.difference(second, first)
    alone = bootstrap.estimate(second)
    assert difference.value == pytest.approx(0.5, abs=0.1)
    assert difference.low is not None and difference.high is not None  # noqa: PT018
    assert alone.low is not None and alone.high is not None  # noqa: PT018
    assert difference.low > 0.4
    assert difference.high - difference.low < 0.1 * (alone.high - alone.low)


def test_few_images_have_no_interval() -> None:
    estimate = Bootstrap(3, 100, 0).estimate(np.array([1.0, 2.0, 6.0]))
    assert (estimate.value, estimate.low, estimate.high) == (3.0, None, None)
    assert halves(lambda real, fake: 0.0, 3, 3, True, 0) == []


def test_halves_of_a_set_spread_like_the_mean_of_the_whole() -> None:
    values = np.random.default_rng(0).normal(0, 1, 400)
    figures = halves(lambda real, fake: float(values[real].mean()), 400, 400, True, 0)
    assert len(figures) == SUBSETS
    assert np.std(figures, ddof=1) == pytest.approx(1 / 20, rel=0.5)
    estimate = around(0.0, figures)
    assert estimate.low == pytest.approx(-1.96 * np.std(figures, ddof=1))


def test_pairs_are_drawn_together_and_sets_apart() -> None:
    drawn: list[tuple[np.ndarray, np.ndarray]] = []

    def note(real: np.ndarray, fake: np.ndarray) -> float:
        drawn.append((real, fake))
        return 0.0

    halves(note, 10, 10, True, 0)
    assert all(np.array_equal(real, fake) and len(set(real)) == 5 for real, fake in drawn)
    drawn.clear()
    halves(note, 10, 8, False, 0)
    assert all((len(real), len(fake)) == (5, 4) for real, fake in drawn)


def test_scores_of_label_maps_are_those_counted_by_hand() -> None:
    wanted = np.array([[0, 0, 0, 1]])
    found = np.array([[0, 0, 1, 1]])
    counts = confusion(found, wanted, 3)
    assert counts.tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert class_accuracies(counts[None])[0, :2] == pytest.approx([2 / 3, 1])
    assert ious(counts[None])[0, :2] == pytest.approx([2 / 3, 1 / 2])
    assert np.isnan(ious(counts[None])[0, 2])
    names = metric_names("labels")
    figures = {name: make_metric(name)(counts[None])[0] for name in names}
    assert figures == pytest.approx({"pixel_accuracy": 3 / 4, "class_accuracy": 5 / 6, "mean_iou": 7 / 12})


def test_images_without_a_figure_are_left_out() -> None:
    values = np.array([1.0, np.nan, 2.0, 3.0, np.nan, 2.0])
    estimate = Bootstrap(6, 200, 0).estimate(values)
    assert estimate.value == 2.0
    assert estimate.low is not None and estimate.high is not None  # noqa: PT018
    assert 1.0 <= estimate.low < 2.0 < estimate.high <= 3.0


def test_scores_of_a_set_are_those_of_all_its_pixels() -> None:
    counts = np.array([[[8, 2], [0, 0]], [[0, 0], [5, 5]]] * 4)
    estimate = Bootstrap(8, 200, 0).estimate(counts, make_metric("pixel_accuracy"))
    assert estimate.value == pytest.approx(13 / 20)
    assert estimate.low is not None and estimate.high is not None  # noqa: PT018
    assert 0.5 <= estimate.low < estimate.value < estimate.high <= 0.8
