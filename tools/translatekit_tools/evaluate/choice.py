"""Which metrics an evaluation measures, of all that are installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from torch import Tensor

from translatekit.errors import OptionError, TranslatekitError
from translatekit.interfaces import LabelMetric, MetricImages, PairMetric, SetMetric
from translatekit.metrics import make_metric, metric_names, metric_specs
from translatekit.registry import registry
from translatekit.specs import MetricSpec
from translatekit_tools.evaluate.options import EvaluateOptions


@dataclass
class ChosenMetrics:
    """The metrics to measure, made, by name."""

    pairs: dict[str, PairMetric] = field(default_factory=dict)
    sets: dict[str, SetMetric] = field(default_factory=dict)
    labels: dict[str, LabelMetric] = field(default_factory=dict)

    @property
    def extractors(self) -> dict[int, Callable[[MetricImages], Tensor]]:
        """What the metrics of sets look at images with, each once, by its identity."""
        return {id(metric.extractor): metric.extractor for metric in self.sets.values()}


def choose_metrics(
    options: EvaluateOptions, *, paired: bool, images: int, channels: int, notes: list[str]
) -> ChosenMetrics:
    """The metrics that were asked for, or all that can be had.

    Args:
        options: those of the evaluation.
        paired: whether there are targets.
        images: how many.
        channels: of the targets.
        notes: told what was left out, and why, where nothing was asked for by name.

    Raises:
        OptionError: one that was asked for does not fit the images.
        TranslatekitError: one that was asked for needs what is not there.
    """
    chosen = ChosenMetrics()
    left_out: dict[str, list[MetricSpec]] = {}
    lacking: dict[str, list[MetricSpec]] = {}
    for spec in _wanted(options.metrics):
        reason = _misfit(spec, paired, images, channels)
        if reason is None:
            try:
                metric = make_metric(spec.name, features=options.features)
            except TranslatekitError as error:
                if options.features is not None and spec.compares == "sets":
                    raise
                if options.metrics is not None:
                    more = ", or pass --features with a timm model" if spec.compares == "sets" else ""
                    raise type(error)(f"{error}{more}") from None
                lacking.setdefault(str(error), []).append(spec)
            else:
                made: dict[str, object] = getattr(chosen, spec.compares)
                made[spec.name] = metric
        elif options.metrics is not None and spec.name in options.metrics:
            raise OptionError(f"{spec.name} {reason}: pass other --metrics, such as {_instead(spec)}")
        elif paired or spec.compares != "pairs":
            left_out.setdefault(reason, []).append(spec)
    for reason, specs in left_out.items():
        notes.append(f"left out {_labels(specs)}: {'each' if len(specs) > 1 else 'it'} {reason}")
    for specs in lacking.values():
        needed = "they need" if len(specs) > 1 else "it needs"
        notes.append(f"left out {_labels(specs)}: --metrics {specs[0].name} says what {needed}")
    return chosen


def _labels(specs: Iterable[MetricSpec]) -> str:
    return " and ".join(spec.label or spec.name for spec in specs)


def _wanted(names: Iterable[str] | None) -> list[MetricSpec]:
    """The metrics of some names, in their order; without any names, all. Label maps are scored whatever was named."""
    every = metric_specs("pairs", "sets", "labels")
    if names is None:
        return every
    specs = [registry("metric").get(name) for name in names]
    scored = any(spec.compares == "labels" for spec in specs)
    return specs if scored else [*specs, *(spec for spec in every if spec.compares == "labels")]


def _misfit(spec: MetricSpec, paired: bool, images: int, channels: int) -> str | None:
    """Why a metric cannot be measured on these images; None where it can."""
    if spec.compares == "pairs" and not paired:
        return "needs pairs, and these images have none"
    if spec.compares == "sets" and images < 2:
        return "compares sets, and there is one image"
    if spec.channels and spec.compares != "labels" and channels not in spec.channels:
        known = " or ".join(map(str, spec.channels))
        return f"takes images of {known} channels, and these have {channels}"
    return None


def _instead(spec: MetricSpec) -> str:
    """Metrics of another kind, as ``--metrics`` takes them."""
    return ",".join(metric_names("sets" if spec.compares == "pairs" else "pairs")[:2])
