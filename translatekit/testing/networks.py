"""What the contracts of networks, losses and datasets share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from translatekit.errors import OptionError
from translatekit.options import option_types
from translatekit.testing.contracts import ContractError, Subject, require


def check_documented_options(subject: Subject, made: Callable[..., Any], given: Iterable[str]) -> None:
    """Every option of a constructor has an annotation and a default, and there is no ``**kwargs``.

    Args:
        subject: named in errors.
        made: the class.
        given: arguments that are not the user's to set.
    """
    parameters = inspect.signature(made).parameters
    for parameter in parameters.values():
        require(
            parameter.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL),
            f"{subject} takes *{parameter.name}, which would swallow misspelt options: name each option",
        )
    for name in option_types(made, skip=given):
        parameter = parameters[name]
        require(
            parameter.annotation is not inspect.Parameter.empty,
            f"option {name!r} of {subject} has no annotation: write its type, so that text can be read as it",
        )
        require(
            parameter.default is not inspect.Parameter.empty,
            f"option {name!r} of {subject} has no default: give it one, so that the name alone is enough",
        )


def check_unknown_option(subject: Subject, make: Callable[..., Any]) -> None:
    """An option that does not exist is refused by its name."""
    try:
        make({**subject.options, "no_such_option": "1"})
    except OptionError as error:
        require(
            "no_such_option" in str(error), f"{subject} refuses an unknown option without naming it: {error}"
        )
    else:
        raise ContractError(f"{subject} accepts the option no_such_option, which it does not have")


def check_gradients(subject: Subject, network: nn.Module, output: Tensor) -> None:
    """Every parameter of the network gets a finite gradient from its output."""
    weights = torch.rand(output.shape, generator=torch.Generator().manual_seed(1))
    (output * weights).sum().backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            require(
                parameter.grad is not None,
                f"parameter {name} of {subject} gets no gradient: use it in forward",
            )
            finite = bool(torch.isfinite(parameter.grad).all())  # type: ignore[arg-type]
            require(finite, f"the gradient of parameter {name} of {subject} is not finite")


def check_finite(subject: Subject, tensor: Tensor, what: str = "output") -> None:
    """No value is infinite or not a number."""
    require(bool(torch.isfinite(tensor).all()), f"the {what} of {subject} holds values that are not finite")


def images(count: int, channels: int, height: int, width: int | None = None, seed: int = 0) -> Tensor:
    """Random images (count, channels, height, width), uniform in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, height, width or height, generator=generator) * 2 - 1
