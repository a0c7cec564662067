"""Packages that only some of translatekit needs: whether they are installed, and what to install where they are not."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from translatekit.errors import PluginError


def of_extra(extra: str, *modules: str) -> tuple[str, ...]:
    """Requirements, as `missing` takes them, for modules that come with an extra of translatekit itself."""
    return tuple(f"{module}=translatekit[{extra}]" for module in modules)


NETWORKS = of_extra("train", "torch", "safetensors")
"""What everything requires that makes or runs networks in PyTorch."""

TRAINING = (
    *NETWORKS,
    *of_extra("train", "jinja2", "lightning_fabric", "tensorboard", "torchmetrics", "uplot"),
)
"""What training requires."""

VIDEO = of_extra("video", "av", "cv2")
"""What reading and writing videos and animations requires."""


def missing(requirements: Iterable[str]) -> list[str]:
    """What to ``pip install``, each in quotes, so that all of these can be imported.

    Args:
        requirements: import names; ``"module=distribution[extra]"`` where what to install is called otherwise, and
            ``"one|other=..."`` where either will do.
    """
    pairs = (requirement.partition("=") for requirement in requirements)
    names = (
        f"'{name or modules}'"
        for modules, _, name in pairs
        if not any(map(_is_installed, modules.split("|")))
    )
    return list(dict.fromkeys(names))  # several modules may come with one extra


def require(what: str, requirements: Iterable[str]) -> None:
    """See that all of these can be imported.

    Args:
        what: needs them, as the error says it.
        requirements: as `missing` takes them.

    Raises:
        PluginError: one is not installed; says what to install.
    """
    lacking = missing(requirements)
    if lacking:
        raise PluginError(f"{what} needs what is not installed: run pip install {' '.join(lacking)}")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a parent package is missing
        return False
