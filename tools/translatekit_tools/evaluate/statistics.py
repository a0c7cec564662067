"""How sure a figure is: confidence intervals of 95 %, by resampling images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SUBSETS = 20
_TAILS = (2.5, 97.5)
_NORMAL = 1.96
_MIN_IMAGES = 4  # images, below which no interval is given


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and the bounds of its 95 % confidence interval; None where there are too few images for one."""

    value: float
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, float | None]:
        """For JSON, which has no NaN and nothing infinite: None stands for them."""
        parts = {"value": self.value, "low": self.low, "high": self.high}
        return {
            name: part if part is not None and np.isfinite(part) else None for name, part in parts.items()
        }

    @classmethod
    def from_dict(cls, parts: Mapping[str, float | None]) -> Estimate:
        """Of what `to_dict` gave; a value that is None is NaN."""
        value = parts["value"]
        return cls(float("nan") if value is None else value, parts["low"], parts["high"])


class Bootstrap:
    """Resamples of the same images for every figure, so that models are compared on the same draws (Efron, 1979).

    Args:
        images: how many there are.
        resamples: how many draws with replacement.
        seed: decides them.
    """

    def __init__(self, images: int, resamples: int, seed: int) -> None:
        self._images = images
        draws = resamples if images >= _MIN_IMAGES else 0
        random = np.random.default_rng(seed)
        self._weights = random.multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float64)

    def estimate(
        self, values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> Estimate:
        """The mean of values by image, (N,); or a statistic of their sums, where they are of a higher rank.

        Args:
            values: (N, ...).
            statistic: from sums (R, ...) to figures (R,); NaN where it has no value.
        """
        return _estimate(*self._figures(values, statistic))

    def difference(
        self,
        values: np.ndarray,
        first: np.ndarray,
        statistic: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> Estimate:
        """By how much a figure of one model is above that of another on the same images."""
        point, draws = self._figures(values, statistic)
        other_point, other_draws = self._figures(first, statistic)
        return _estimate(point - other_point, draws - other_draws)

    def _figures(
        self, values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray] | None
    ) -> tuple[float, np.ndarray]:
        if statistic is None and np.isnan(values).any():  # images that have no figure are left out
            measured = ~np.isnan(values)
            return self._figures(np.stack([np.where(measured, values, 0), measured], 1), _ratio)
        flat = values.reshape(len(values), -1).astype(np.float64)
        sums = (self._weights @ flat).reshape(-1, *values.shape[1:])
        total = flat.sum(0).reshape(1, *values.shape[1:])
        if statistic is None:
            return float(total[0] / self._images), sums / self._images
        return float(statistic(total)[0]), statistic(sums)


def halves(
    distance: Callable[[np.ndarray, np.ndarray], float], real: int, fake: int, paired: bool, seed: int
) -> list[float]:
    """A distance of sets on random halves of them: their spread is that of the whole's figure.

    Bootstrap draws hold images twice, which sets of features must not; the delete-half jackknife (Shao and Wu,
    1989) draws without replacement, and its variance needs no factor.

    Args:
        distance: from the indices of real and of generated images to the figure.
        real, fake: how many there are of each.
        paired: draw the same of both.
        seed: decides the draws.

    Returns:
        `SUBSETS` figures, none where there are too few images.
    """
    if min(real, fake) < _MIN_IMAGES:
        return []
    random = np.random.default_rng(seed)
    figures = []
    for _ in range(SUBSETS):
        some = random.permutation(real)[: real // 2]
        others = some if paired and real == fake else random.permutation(fake)[: fake // 2]
        figures.append(distance(some, others))
    return figures


def around(value: float, figures: Sequence[float]) -> Estimate:
    """A figure of the whole, with an interval from its values on `halves`."""
    if not figures:
        return Estimate(value)
    margin = _NORMAL * float(np.std(figures, ddof=1))
    return Estimate(value, value - margin, value + margin)


def _ratio(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: np.ndarray = sums[:, 0] / sums[:, 1]
    return ratio


def _estimate(point: float, draws: np.ndarray) -> Estimate:
    draws = draws[np.isfinite(draws)]
    if len(draws) == 0:
        return Estimate(point)
    low, high = np.percentile(draws, _TAILS)
    return Estimate(point, float(low), float(high))
