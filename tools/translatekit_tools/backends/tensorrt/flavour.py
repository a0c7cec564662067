"""Which TensorRT: the full one, or TensorRT-RTX, whose builder needs no GPU. A process works with one of them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from types import ModuleType

from translatekit.errors import OptionError, PluginError
from translatekit_tools.backends.tensorrt.cuda.driver import find_gpus


@dataclass(frozen=True, slots=True)
class Flavour:
    """A library of the TensorRT family.

    Attributes:
        name: as the user types it, and the extra that installs it.
        module: to import it by.
        title: as its maker writes it.
    """

    name: str
    module: str
    title: str

    @property
    def is_installed(self) -> bool:
        """Whether the module can be found; it is not imported."""
        return importlib.util.find_spec(self.module) is not None


FULL = Flavour("tensorrt", "tensorrt", "TensorRT")
RTX = Flavour("tensorrt-rtx", "tensorrt_rtx", "TensorRT-RTX")
FLAVOURS = {flavour.name: flavour for flavour in (FULL, RTX)}

_used = FULL


def choose_flavour(name: str) -> Flavour:
    """The flavour to build with.

    Args:
        name: of one; or ``auto`` for what is installed: the full TensorRT where there is a GPU, else TensorRT-RTX.

    Raises:
        OptionError: only the full TensorRT is installed, and there is no GPU.
    """
    if name != "auto":
        return FLAVOURS[name]
    if not FULL.is_installed:
        return RTX
    try:
        find_gpus()
    except OptionError as error:
        if not RTX.is_installed:
            raise OptionError(
                f"{error}; or run pip install 'translatekit[tensorrt-rtx]', which builds without a GPU"
            ) from None
        return RTX
    return FULL


def use(flavour: Flavour) -> str:
    """Import a flavour for the rest of the process.

    The full TensorRT crashes without a driver: find a GPU first.

    Returns:
        Its version.

    Raises:
        PluginError: it cannot be imported, or the process works with the other one.
    """
    global _used
    if flavour is not _used and "translatekit_tools.backends.tensorrt.log" in sys.modules:
        raise PluginError(
            f"this process works with {_used.title} and cannot load {flavour.title} beside it: start another"
        )
    try:
        version = str(importlib.import_module(flavour.module).__version__)
    except ImportError as error:
        raise PluginError(
            f"{flavour.title} cannot be used ({error}): run pip install 'translatekit[{flavour.name}]'"
        ) from None
    _used = flavour
    return version


def library() -> ModuleType:
    """The module of the flavour in use."""
    return importlib.import_module(_used.module)


def title() -> str:
    """The flavour in use, as its maker writes it."""
    return _used.title
