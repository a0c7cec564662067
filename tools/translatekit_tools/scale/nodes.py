"""What nodes of a cluster must have: the same versions, and sight of the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any

from translatekit.errors import DataError, PluginError
from translatekit_tools.scale.cluster import Cluster, Demand
from translatekit_tools.scale.options import ScaleOptions


def demand_of(scale: ScaleOptions, cluster: Cluster, *, gpus: float | None = None) -> Demand:
    """What a worker takes of its node.

    Args:
        scale: what the user has asked for.
        cluster: whose nodes are looked at where nothing was.
        gpus: for work that needs none, 0.
    """
    if scale.gpus_per_actor is not None:
        gpus = scale.gpus_per_actor
    elif gpus is None:
        gpus = float(cluster.has_gpus())
    return Demand(cpus=scale.cpus_per_actor, gpus=gpus)


def same_versions(
    distributions: Iterable[str],
) -> tuple[tuple[str, ...], Callable[[dict[str, Any]], None]]:
    """The distributions, and what refuses a node that has not what this machine has.

    Args:
        distributions: translatekit, and those of the plugins that the work uses.
    """
    here = {name: _version(name) for name in dict.fromkeys(distributions)}

    def check(report: dict[str, Any]) -> None:
        node = report["node"]
        for name, version in here.items():
            there = report["versions"][name]
            if there == version:
                continue
            what = f"{name} {there}" if there else f"no {name}"
            raise PluginError(
                f"the node {node} has {what}, and this machine {name} {version}: install the same on all, with "
                f"pip install {name}=={version}"
            )
        if report["missing"]:
            raise DataError(
                f"the node {node} does not see {report['missing'][0]}: put it where every node does, such as into a "
                "shared folder, or into a bucket (s3://...)"
            )

    return tuple(here), check


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # a source tree that is not installed
        return None
