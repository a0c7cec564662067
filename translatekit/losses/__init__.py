"""Losses, and the function that makes them by name."""

from __future__ import annotations

from typing import Any, Literal

from translatekit.errors import OptionError
from translatekit.losses.regularization import R1, Regularized
from translatekit.options import check_options, parse_assignments
from translatekit.registry import registry


def make_loss(name: str, role: Literal["adversarial", "reconstruction"], **options: Any) -> Any:
    """Make a loss by name.

    Args:
        name: of an installed loss, and after commas options of it: ``wgangp,lambda_gp=5``. An adversarial one also
            takes those of the R1 penalty: ``hinge,r1=1,r1_every=16``.
        role: what it is to be used as.
        options: its constructor's keyword arguments, as values or as the text a user typed.

    Returns:
        A `translatekit.interfaces.AdversarialLoss` or `translatekit.interfaces.ReconstructionLoss`.

    Raises:
        PluginError: no such loss is installed.
        OptionError: it is of the other role, or an option is unknown or does not fit.
    """
    losses = registry("loss")
    name, *assignments = (word.strip() for word in name.split(","))
    if not all("=" in word for word in assignments):
        raise OptionError(
            f"loss {','.join([name, *assignments])!r} is not understood: write its name and options, such as hinge,r1=1"
        )
    options = {**parse_assignments(assignments, f"loss {name!r}"), **options}
    spec = losses.get(name)
    if spec.role != role:
        fitting = ", ".join(entry.spec.name for entry in losses.entries() if entry.spec.role == role)
        raise OptionError(f"loss {name!r} is not {role}: choose one of {fitting}")
    owner = f"loss {name!r}"
    loss_type = spec.load()
    of_r1: dict[str, Any] = {
        key: options.pop(key) for key in ("r1", "r1_every") if role == "adversarial" and key in options
    }
    checked = check_options(loss_type, options, owner)
    try:
        loss = loss_type(**checked)
    except ValueError as error:
        raise OptionError(f"{owner}: {error}") from None
    return Regularized(loss, R1(**check_options(R1, of_r1, owner))) if of_r1 else loss
