"""Metrics: what is known of them without importing any, and the function that makes them by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from translatekit.errors import OptionError, TranslatekitError
from translatekit.options import check_options, option_types
from translatekit.registry import registry
from translatekit.specs import Compares, MetricSpec

_ORDER = ("pairs", "sets", "labels", "video")


def metric_specs(*compares: Compares) -> list[MetricSpec]:
    """The installed metrics of some kinds, or of all: those that every validation measures first, then by name."""
    specs = [entry.spec for entry in registry("metric").entries()]
    chosen = [spec for spec in specs if not compares or spec.compares in compares]
    return sorted(chosen, key=lambda spec: (_ORDER.index(spec.compares), not spec.validation, spec.name))


def metric_names(*compares: Compares) -> list[str]:
    """Their names."""
    return [spec.name for spec in metric_specs(*compares)]


def make_metric(name: str, **available: Any) -> Any:
    """Make a metric by name.

    Args:
        name: of an installed metric.
        available: options, of which it is given those that it takes; None leaves one at its default.

    Returns:
        A `translatekit.interfaces.PairMetric`, `SetMetric`, `LabelMetric` or `VideoMetric`.

    Raises:
        PluginError: no such metric is installed.
        OptionError: an option does not fit.
        TranslatekitError: it needs what is not there, such as the weights of a network.
    """
    owner = f"metric {name!r}"
    metric_type = registry("metric").load(name)
    takes = option_types(metric_type)
    options = {key: value for key, value in available.items() if key in takes and value is not None}
    try:
        return metric_type(**check_options(metric_type, options, owner))
    except ValueError as error:
        raise OptionError(f"{owner}: {error}") from None


def make_available(specs: Iterable[MetricSpec], notes: list[str]) -> dict[str, Any]:
    """Those of some metrics that can be made here, by name: what one package lacks must not keep the others from use.

    Args:
        specs: of the metrics.
        notes: told why one is left out.
    """
    made = {}
    for spec in specs:
        try:
            made[spec.name] = make_metric(spec.name)
        except TranslatekitError as error:
            notes.append(f"without {spec.name}: {error}")
    return made


def find_metric(name: str) -> MetricSpec | None:
    """The descriptor of a metric that a log or a result speaks of, or None where no such metric is installed.

    What stands before its last slash or around its name says on what it was measured: ``val/l1``, ``fcn_mean_iou``,
    ``warp_error videos/holiday.mp4``.
    """
    name = name.partition(" ")[0].rpartition("/")[2]
    known = {entry.spec.name: entry.spec for entry in registry("metric").entries()}
    for prefix in ("", "fcn_real_", "fcn_"):
        if name.startswith(prefix) and name.removeprefix(prefix) in known:
            return known[name.removeprefix(prefix)]
    return None


def metric_label(name: str, unit: str = "") -> str:
    """A metric's name as it is written, such as ``MS-SSIM``; what stands around it is kept.

    Args:
        name: of the metric.
        unit: of the images that are measured: a metric in their unit says so, as in ``L1 (HU)``.
    """
    spec = find_metric(name)
    if spec is None:
        return name
    label = name.replace(spec.name, spec.label or spec.name)
    return f"{label} ({unit})" if unit and spec.unit == "image" else label


def better(name: str) -> Literal["higher", "lower", ""]:
    """Which way is better; nothing where neither is, or the metric is not known."""
    spec = find_metric(name)
    return "" if spec is None else spec.better
