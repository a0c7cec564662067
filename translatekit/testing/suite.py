"""The contracts as pytest classes. Needs the extra ``testing``: ``pip install 'translatekit[testing]'``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from translatekit.registry import registry
from translatekit.testing.contracts import Contract, NotApplicableError, Subject, contracts_of


class ContractSuite:
    """Base of the suites: a subclass named ``Test...`` sets `name`, and pytest runs every contract on it.

    Attributes:
        kind: what is checked; set by the suites below.
        name: the registered name of the thing to check.
        options: its own options; write here what keeps the tests small.
        data: a folder of sample images, for a dataset whose layout is not one of the usual ones.
        generator_options, discriminator_options: those of a method's networks.
        size: pixels a side that a method is checked at; its default crop where it is None.
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    data: ClassVar[Path | None] = None
    generator_options: ClassVar[Mapping[str, Any]] = {}
    discriminator_options: ClassVar[Mapping[str, Any]] = {}
    size: ClassVar[int | None] = None

    def check(self, contract: Contract) -> None:
        """Run one contract; skip the test where it does not apply."""
        subject = Subject(
            spec=registry(self.kind).get(self.name),
            options=self.options,
            data=self.data,
            generator_options=self.generator_options,
            discriminator_options=self.discriminator_options,
            size=self.size,
        )
        try:
            contract.run(subject)
        except NotApplicableError as reason:
            pytest.skip(str(reason))


def _each(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("contract", contracts_of(kind), ids=lambda contract: contract.name)


class GeneratorContract(ContractSuite):
    """Every generator keeps these."""

    kind = "generator"

    @_each("generator")
    def test_contract(self, contract: Contract) -> None:
        """The generator keeps the contract."""
        self.check(contract)


class DiscriminatorContract(ContractSuite):
    """Every discriminator keeps these."""

    kind = "discriminator"

    @_each("discriminator")
    def test_contract(self, contract: Contract) -> None:
        """The discriminator keeps the contract."""
        self.check(contract)


class LossContract(ContractSuite):
    """Every loss keeps these."""

    kind = "loss"

    @_each("loss")
    def test_contract(self, contract: Contract) -> None:
        """The loss keeps the contract."""
        self.check(contract)


class DatasetContract(ContractSuite):
    """Every dataset keeps these."""

    kind = "dataset"

    @_each("dataset")
    def test_contract(self, contract: Contract) -> None:
        """The dataset keeps the contract."""
        self.check(contract)


class MethodContract(ContractSuite):
    """Every method keeps these."""

    kind = "method"

    @_each("method")
    def test_contract(self, contract: Contract) -> None:
        """The method keeps the contract."""
        self.check(contract)


class MetricContract(ContractSuite):
    """Every metric keeps these."""

    kind = "metric"

    @_each("metric")
    def test_contract(self, contract: Contract) -> None:
        """The metric keeps the contract."""
        self.check(contract)


class BackendContract(ContractSuite):
    """Every backend keeps these."""

    kind = "backend"

    @_each("backend")
    def test_contract(self, contract: Contract) -> None:
        """The backend keeps the contract."""
        self.check(contract)


class FormatContract(ContractSuite):
    """Every format keeps these."""

    kind = "format"

    @_each("format")
    def test_contract(self, contract: Contract) -> None:
        """The format keeps the contract."""
        self.check(contract)


class LoggerContract(ContractSuite):
    """Every logger keeps these."""

    kind = "logger"

    @_each("logger")
    def test_contract(self, contract: Contract) -> None:
        """The logger keeps the contract."""
        self.check(contract)


class CommandContract(ContractSuite):
    """Every command keeps these."""

    kind = "command"

    @_each("command")
    def test_contract(self, contract: Contract) -> None:
        """The command keeps the contract."""
        self.check(contract)
