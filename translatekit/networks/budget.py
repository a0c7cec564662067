"""Making a network no larger than the weights that are there for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook
from torch.utils._python_dispatch import TorchDispatchMode

# What a constructor may make and throw away again, such as the classifier of a backbone, beside what is kept.
_SPARE_ELEMENTS = 2**27  # half a gigabyte in float32, as much as VGG's classifier
_SPARE_TENSORS = 4_000
_SPARE_MODULES = 10_000
_TIMES = 3  # of what is kept


class OverBudgetError(BaseException):
    """A network would become larger than the weights that are there for it.

    No `Exception`, because a constructor that handles those would go on.
    """


@contextmanager
def budget(elements: int, tensors: int) -> Iterator[None]:
    """Within, a constructor may make a few times the given weights and no more; it fails before memory is taken.

    So a file of a few bytes cannot ask for all of the machine's memory, whatever its header says and whoever wrote the
    network.

    Args:
        elements: how many numbers the weights hold, all together.
        tensors: how many tensors they are.

    Raises:
        OverBudgetError: it asked for more.
    """
    modules = _TIMES * tensors + _SPARE_MODULES

    def count(owner: nn.Module, name: str, module: nn.Module | None) -> None:
        nonlocal modules
        modules -= 1
        if modules < 0:
            raise OverBudgetError

    hook = register_module_module_registration_hook(count)
    try:
        with _Budget(_TIMES * elements + _SPARE_ELEMENTS, _TIMES * tensors + _SPARE_TENSORS):
            yield
    finally:
        hook.remove()


class _Budget(TorchDispatchMode):
    """Counts the tensors that are made out of nothing, and their elements, before they are made."""

    def __init__(self, elements: int, tensors: int) -> None:
        super().__init__()
        self._elements, self._tensors = elements, tensors

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if _makes_tensors(func) and not any(isinstance(arg, Tensor) for arg in args):
            planned = func(*args, **{**kwargs, "device": torch.device("meta"), "pin_memory": None})
            self._tensors -= 1
            self._elements -= planned.numel()
            if self._elements < 0 or self._tensors < 0:
                raise OverBudgetError
        return func(*args, **kwargs)


def _makes_tensors(func: Any) -> bool:
    names = {argument.name for argument in func._schema.arguments}
    return {"device", "pin_memory"} <= names
