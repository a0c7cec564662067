"""What every metric must keep (see `translatekit.interfaces.PairMetric` and its neighbours)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from translatekit.image_spec import levels_spec
from translatekit.interfaces import MetricImages
from translatekit.options import option_types
from translatekit.testing.contracts import NotApplicableError, Subject, require
from translatekit.testing.networks import check_documented_options, images

COUNT, SIDE = 6, 64
_CLASSES = 4
_TOLERANCE = 1e-4  # of the perfect value, and between the orders of a batch: float32


def descriptor(subject: Subject) -> None:
    """Its descriptor says what it compares, which way is better, and a range that holds its perfect value."""
    spec = subject.spec
    require(spec.compares in ("pairs", "sets", "labels", "video"), f"{subject} compares {spec.compares!r}")
    require(spec.better in ("lower", "higher"), f"{subject} says that {spec.better!r} is better")
    low, high = _range(subject)
    require(low < high, f"the range of {subject} is {low} to {high}")
    if spec.perfect is not None:
        require(
            low <= spec.perfect <= high, f"the perfect {spec.perfect} of {subject} is not in {low} to {high}"
        )
    require(
        not spec.validation or spec.compares == "pairs",
        f"{subject} is measured at every validation, which only a metric of pairs can be",
    )


def options(subject: Subject) -> None:
    """Its options have annotations and defaults, and none is swallowed."""
    if option_types(subject.spec.load()):
        check_documented_options(subject, subject.spec.load(), ())


def figures(subject: Subject) -> None:
    """Its figures are finite, within its range, one an image where it compares pairs."""
    low, high = _range(subject)
    for value in _figures(subject, _disturbed(subject, 0.3)):
        require(math.isfinite(value), f"{subject} gives {value}")
        require(low <= value <= high, f"{subject} gives {value:.4g}, outside of its range {low} to {high}")


def perfect(subject: Subject) -> None:
    """Identical images give its perfect value."""
    wanted = subject.spec.perfect
    if wanted is None:
        raise NotApplicableError(f"{subject} names no perfect value")
    for value in _figures(subject, _disturbed(subject, 0.0)):
        require(
            abs(value - wanted) <= _TOLERANCE * max(1, abs(wanted)),
            f"{subject} is {value:.6g} for identical images, and its perfect value is {wanted}",
        )


def direction(subject: Subject) -> None:
    """It tells identical images from others, and those from worse ones, in the direction that it names."""
    same, near, far = (
        float(np.mean(_figures(subject, _disturbed(subject, amount)))) for amount in (0.0, 0.1, 1.0)
    )
    ordered = same < near < far if subject.spec.better == "lower" else same > near > far
    require(
        ordered,
        f"{subject} says that {subject.spec.better} is better, and is {same:.4g} for identical images, {near:.4g} for "
        f"like ones and {far:.4g} for unlike ones",
    )


def deterministic(subject: Subject) -> None:
    """It gives the same figure each time, and leaves the random state alone."""
    before = torch.get_rng_state()
    first = _figures(subject, _disturbed(subject, 0.3))
    require(
        torch.equal(before, torch.get_rng_state()),
        f"{subject} draws from torch's generator: draw from one of its own",
    )
    second = _figures(subject, _disturbed(subject, 0.3))
    require(first == second, f"{subject} gives {second} where it gave {first}: seed what it draws")


def order(subject: Subject) -> None:
    """The order of the images and how they are divided into batches do not matter."""
    _only(subject, "pairs", "sets", "labels")
    forwards = _figures(subject, _disturbed(subject, 0.3))
    shuffled = [4, 1, 5, 0, 3, 2]
    other = _figures(subject, _disturbed(subject, 0.3), shuffled, sizes=(1, 3, 2))
    if subject.spec.compares == "pairs":
        forwards = [forwards[index] for index in shuffled]
    apart = max(abs(one - two) for one, two in zip(forwards, other, strict=True))
    level = max(1.0, *map(abs, forwards))
    require(
        apart <= 1e-3 * level,
        f"{subject} changes by {apart:.2g} when its images come in another order and in other batches",
    )


def valid(subject: Subject) -> None:
    """Pixels that do not count change no figure of pairs, and an image without any that does has the figure NaN."""
    _only(subject, "pairs")
    output, target = _disturbed(subject, 0.3)
    counts = torch.ones(COUNT, 1, SIDE, SIDE, dtype=torch.bool)
    counts[:, :, : SIDE // 2] = False
    metric, spec = _make(subject), levels_spec(output.shape[1])

    def measured(values: Tensor, some: Tensor) -> Tensor:
        figure: Tensor = metric(MetricImages(values, spec, some), MetricImages(target, spec, some))
        return figure

    one, other = measured(output, counts), measured(torch.where(counts, output, -output), counts)
    apart = (one - other).abs().max().item()
    require(
        apart <= _TOLERANCE * max(1.0, one.abs().max().item()),
        f"{subject} changes by {apart:.2g} with pixels that do not count: leave out those where the target's valid is "
        "False",
    )
    none = measured(output, torch.zeros_like(counts))
    require(
        bool(none.isnan().all()),
        f"{subject} gives {none[0].item():.4g} for an image of which no pixel counts, which would count in means: give "
        "NaN",
    )


CONTRACTS = (descriptor, options, figures, perfect, direction, deterministic, order, valid)


def _make(subject: Subject) -> Any:
    from translatekit.metrics import make_metric
    from translatekit.metrics.weights import MissingWeightsError

    try:
        return make_metric(subject.spec.name, **subject.options)
    except MissingWeightsError as error:
        raise NotApplicableError(str(error)) from None


def _range(subject: Subject) -> tuple[float, float]:
    low, high = subject.spec.minimum, subject.spec.maximum
    return -math.inf if low is None else low, math.inf if high is None else high


def _disturbed(subject: Subject, amount: float) -> tuple[Tensor, Tensor]:
    """Outputs and targets: smooth images, RGB where that fits, and the same with some noise of their own."""
    taken = subject.spec.channels
    channels = 3 if not taken or 3 in taken else taken[0]
    target = torch.nn.functional.interpolate(
        images(COUNT, channels, SIDE // 8), scale_factor=8, mode="bilinear"
    )
    noise = images(COUNT, channels, SIDE, seed=1)
    strength = amount * torch.linspace(0.5, 1.5, COUNT).reshape(-1, 1, 1, 1)
    return (target + strength * noise).clamp(-1, 1), target


def _figures(
    subject: Subject,
    given: tuple[Tensor, Tensor],
    places: Sequence[int] = range(COUNT),
    sizes: Sequence[int] = (COUNT,),
) -> list[float]:
    """What the metric gives for outputs and targets that come in some order and in batches of some sizes."""
    metric, compares = _make(subject), subject.spec.compares
    output, target = (side[list(places)] for side in given)
    batches = list(zip(output.split(list(sizes)), target.split(list(sizes)), strict=True))
    if compares == "pairs":
        values = [metric(_as_given(one), _as_given(other)) for one, other in batches]
        for value, (one, _) in zip(values, batches, strict=True):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            require(
                shape == (len(one),),
                f"{subject} gives {shape} for {len(one)} images, not one value for each",
            )
        return [float(value) for value in torch.cat(values)]
    if compares == "sets":
        real = torch.cat([metric.extractor(_as_given(other)) for _, other in batches])
        fake = torch.cat([metric.extractor(_as_given(one)) for one, _ in batches])
        require(real.ndim == 2, f"the extractor of {subject} gives {tuple(real.shape)}, not (N, D)")
        return [float(metric(real, fake))]
    if compares == "labels":
        total = sum(_confusion(one, other) for one, other in batches)
        several = np.asarray(metric(np.stack([np.asarray(total)] * 2)))
        require(several.shape == (2,), f"{subject} gives {several.shape} for two counts, not two figures")
        return [float(several[0])]
    for one, other in zip(output, target, strict=True):
        metric.update(_pixels(other), _pixels(one))
    return [float(metric.compute())]


def _as_given(values: Tensor) -> MetricImages:
    return MetricImages(values, levels_spec(values.shape[1]))


def _confusion(output: Tensor, target: Tensor) -> np.ndarray:
    """Counts of classes, which are quarters of the range."""
    found, wanted = (((side[:, 0] + 1) * 2).long().clamp(0, _CLASSES - 1) for side in (output, target))
    joint = (wanted * _CLASSES + found).flatten()
    return torch.bincount(joint, minlength=_CLASSES**2).reshape(_CLASSES, _CLASSES).numpy()


def _pixels(image: Tensor) -> np.ndarray:
    return ((image + 1) * 127.5).round().byte().permute(1, 2, 0).contiguous().numpy()


def _only(subject: Subject, *compares: str) -> None:
    if subject.spec.compares not in compares:
        raise NotApplicableError(f"{subject} compares {subject.spec.compares}")
