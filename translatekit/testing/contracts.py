"""What a contract is, and which contracts each kind of thing must keep."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from translatekit.errors import TranslatekitError
from translatekit.specs import Spec


class ContractError(TranslatekitError):
    """A plugin's thing does not keep one of its contracts."""


class NotApplicableError(TranslatekitError):
    """A contract cannot be checked here: an optional package is missing, or it is about something else."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is checked, and with which settings.

    Attributes:
        spec: the descriptor of the thing, which must be registered under its name.
        options: its own options, as values or as the text a user typed.
        data: a folder of sample images, for datasets; one is made where it is None.
        generator_options, discriminator_options: those of a method's networks.
        size: pixels a side that a method is checked at; its default crop where it is None.
    """

    spec: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    data: Path | None = None
    generator_options: Mapping[str, Any] = field(default_factory=dict)
    discriminator_options: Mapping[str, Any] = field(default_factory=dict)
    size: int | None = None

    def __str__(self) -> str:
        spec: Spec = self.spec
        return f"{spec.kind} {spec.name!r}"


@dataclass(frozen=True)
class Contract:
    """One promise.

    Attributes:
        promise: in words.
        check: raises `ContractError` where the subject breaks it, `NotApplicableError` where it is not bound
        by it.
    """

    promise: str
    check: Callable[[Subject], None]

    @property
    def name(self) -> str:
        """A short name, such as ``output_shape``."""
        return self.check.__name__

    def run(self, subject: Subject) -> None:
        """Check the subject; whatever it raises itself breaks the contract too.

        Raises:
            ContractError: the contract is broken.
            NotApplicableError: the contract could not be checked.
        """
        try:
            self.check(subject)
        except (ContractError, NotApplicableError):
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ContractError(f"{subject} raised {reason}") from error


def contracts_of(kind: str) -> tuple[Contract, ...]:
    """The contracts of a kind, such as ``"generator"``; imports torch where the kind needs it."""
    module = importlib.import_module(f"translatekit.testing.{_MODULES[kind]}")
    return tuple(Contract(_promise(check), check) for check in module.CONTRACTS)


def require(condition: bool, message: str) -> None:
    """Raise `ContractError` with the message unless the condition holds."""
    if not condition:
        raise ContractError(message)


def _promise(check: Callable[[Subject], None]) -> str:
    return (check.__doc__ or check.__name__).splitlines()[0].rstrip(".")


_MODULES = {
    "generator": "generators",
    "discriminator": "discriminators",
    "loss": "losses",
    "dataset": "datasets",
    "method": "methods",
    "metric": "metrics",
    "backend": "backends",
    "format": "formats",
    "logger": "loggers",
    "command": "commands",
}
