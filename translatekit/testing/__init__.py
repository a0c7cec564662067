"""The contracts of `translatekit.interfaces` as a suite that ours and everyone's plugins pass.

In a plugin's tests::

    from translatekit.testing import GeneratorContract

    class TestTiny(GeneratorContract):
        name = "tiny"

``translatekit plugins check tiny`` runs the same contracts without pytest. `make_method` is for what no contract can
know: whether a method's steps are those of its paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from translatekit.testing.contracts import Contract, ContractError, NotApplicableError, Subject, contracts_of

if TYPE_CHECKING:
    from translatekit.testing.methods import make_method
    from translatekit.testing.suite import (
        BackendContract,
        CommandContract,
        ContractSuite,
        DatasetContract,
        DiscriminatorContract,
        FormatContract,
        GeneratorContract,
        LoggerContract,
        LossContract,
        MethodContract,
        MetricContract,
    )

__all__ = [
    "BackendContract",
    "CommandContract",
    "Contract",
    "ContractError",
    "ContractSuite",
    "DatasetContract",
    "DiscriminatorContract",
    "FormatContract",
    "GeneratorContract",
    "LoggerContract",
    "LossContract",
    "MethodContract",
    "MetricContract",
    "NotApplicableError",
    "Subject",
    "contracts_of",
    "make_method",
]


def __getattr__(name: str) -> Any:
    """What needs pytest or torch, imported when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "make_method":
        from translatekit.testing import methods

        return methods.make_method
    from translatekit.testing import suite

    return getattr(suite, name)
