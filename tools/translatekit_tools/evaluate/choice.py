"""Which metrics an evaluation measures, of all that are installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from translatekit.errors import OptionError, TranslatekitError
from translatekit.interfaces import LabelMetric, MetricImages, PairMetric, SetMetric
from translatekit.metrics import make_metric, metric_names, metric_specs
from translatekit.metrics.weights import MissingWeightsError, has_weights
from translatekit.registry import registry
from translatekit.specs import MetricSpec
from translatekit_tools.evaluate.options import EvaluateOptions
from translatekit_tools.evaluate.protocols import PROTOCOLS

Extractor = Callable[[MetricImages], Tensor]
"""From images to features (N, D)."""


@dataclass
class ChosenMetrics:
    """The metrics to measure, made, by name."""

    pairs: dict[str, PairMetric] = field(default_factory=dict)
    sets: dict[str, SetMetric] = field(default_factory=dict)
    labels: dict[str, LabelMetric] = field(default_factory=dict)

    @property
    def measured_by(self) -> dict[str, dict[str, str]]:
        """What each says that its figures depend on besides the images."""
        every: dict[str, object] = {**self.pairs, **self.sets, **self.labels}
        return {name: getattr(metric, "measured_by", {}) for name, metric in every.items()}

    @property
    def extractors(self) -> list[Extractor]:
        """What the metrics of sets look at images with, each once."""
        return list(dict.fromkeys(metric.extractor for metric in self.sets.values()))


def by_protocol(options: EvaluateOptions) -> EvaluateOptions:
    """The options with what the protocol says filled in.

    Raises:
        OptionError: an option says otherwise, or what the protocol needs is not given.
    """
    if options.protocol is None:
        return options
    (protocol,) = [one for one in PROTOCOLS if one.name == options.protocol]
    decided: dict[str, Any] = {
        "metrics": protocol.metrics,
        "features": protocol.features,
        "size": protocol.size,
    }
    for name, stated in list(decided.items()):
        given = getattr(options, name)
        if given is None or stated is None:
            decided[name] = stated if given is None else given
        elif name == "metrics" and set(given) <= set(stated):
            decided[name] = given
        elif given != stated:
            words = ", ".join(stated) if name == "metrics" else stated
            raise OptionError(
                f"--protocol {protocol.name} measures with --{name} {words}: leave out --{name}, or the protocol"
            )
    if protocol.segmenter and options.segmenter is None:
        raise OptionError(
            f"--protocol {protocol.name} reads label maps from the outputs: pass --segmenter with a model from "
            "photographs to label maps"
        )
    return replace(options, **decided)


def with_features(options: EvaluateOptions) -> EvaluateOptions:
    """Where nothing was asked for and Inception's weights are missing, sets are compared by what is always there."""
    asked = options.features is not None or options.metrics is not None or options.download
    return options if asked or has_weights("fid") else replace(options, features="own")


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
                metric = _made(spec.name, options.features, options.download)
            except TranslatekitError as error:
                if spec.compares == "sets" and isinstance(error, MissingWeightsError):
                    raise TranslatekitError(f"{error}; or pass --features own") from None
                if options.metrics is not None or (options.features is not None and spec.compares == "sets"):
                    raise
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


def _made(name: str, features: str | None, download: bool) -> Any:
    try:
        return make_metric(name, features=features)
    except MissingWeightsError as error:
        if not download:
            raise
        error.download()
        return make_metric(name, features=features)


def _labels(specs: Iterable[MetricSpec]) -> str:
    return " and ".join(spec.label or spec.name for spec in specs)


def _wanted(names: Iterable[str] | None) -> list[MetricSpec]:
    """The metrics of some names, in their order; without any names, all. Label maps are scored whatever was named."""
    every = metric_specs("pairs", "sets", "labels")
    if names is None:
        return every
    chosen = list(names)
    if "fid" in chosen and "kid" not in chosen:  # which is not biased where images are few
        chosen.append("kid")
    specs = [registry("metric").get(name) for name in chosen]
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
