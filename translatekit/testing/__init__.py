"""The contracts of `translatekit.interfaces` as a suite that ours and everyone's plugins pass.

In a plugin's tests::

    from translatekit.testing import GeneratorContract

    class TestTiny(GeneratorContract):
        name = "tiny"

``translatekit plugins check tiny`` runs the same contracts without pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from translatekit.testing.contracts import Contract, ContractError, NotApplicableError, Subject, contracts_of

if TYPE_CHECKING:
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
]


def __getattr__(name: str) -> Any:
    """The suites, imported when they are asked for: they alone need pytest."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from translatekit.testing import suite

    return getattr(suite, name)
