"""Losses, and the function that makes them by name."""

from __future__ import annotations

from typing import Any, Literal

from translatekit.errors import OptionError
from translatekit.options import check_options
from translatekit.registry import registry


def make_loss(name: str, role: Literal["adversarial", "reconstruction"], **options: Any) -> Any:
    """Make a loss by name.

    Args:
        name: of an installed loss.
        role: what it is to be used as.
        options: its constructor's keyword arguments, as values or as the text a user typed.

    Returns:
        A `translatekit.interfaces.AdversarialLoss` or `translatekit.interfaces.ReconstructionLoss`.

    Raises:
        PluginError: no such loss is installed.
        OptionError: it is of the other role, or an option is unknown or does not fit.
    """
    losses = registry("loss")
    spec = losses.get(name)
    if spec.role != role:
        fitting = ", ".join(entry.spec.name for entry in losses.entries() if entry.spec.role == role)
        raise OptionError(f"loss {name!r} is not {role}: choose one of {fitting}")
    owner = f"loss {name!r}"
    loss_type = spec.load()
    checked = check_options(loss_type, options, owner)
    try:
        return loss_type(**checked)
    except ValueError as error:
        raise OptionError(f"{owner}: {error}") from None
