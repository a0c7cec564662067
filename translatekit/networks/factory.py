"""From names and options to networks."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from translatekit.errors import OptionError, PluginError
from translatekit.networks.layers import Init, init_weights
from translatekit.options import check_options, written
from translatekit.registry import registry


def make_generator(name: str, options: Mapping[str, Any] | None = None, **arguments: Any) -> nn.Module:
    """Make a generator by name.

    Its attribute ``arguments`` becomes the complete dict of keyword arguments it was made with, as a file holds them:
    ``make_generator(name, network.arguments)`` makes the same again.

    Args:
        name: of an installed generator.
        options: its options, as values or as the text a user typed.
        arguments: what is not the user's to set, such as ``in_channels``.

    Raises:
        PluginError: no such generator is installed.
        OptionError: an option is unknown, missing, or does not fit.
    """
    return _make("generator", name, options or {}, arguments)


def make_discriminator(name: str, options: Mapping[str, Any] | None = None, **arguments: Any) -> nn.Module:
    """Make a discriminator by name: as `make_generator`."""
    return _make("discriminator", name, options or {}, arguments)


def _make(
    kind: Literal["generator", "discriminator"],
    name: str,
    options: Mapping[str, Any],
    arguments: Mapping[str, Any],
) -> nn.Module:
    owner = f"{kind} {name!r}"
    network_type = registry(kind).load(name)
    checked = check_options(network_type, options, owner, skip=arguments)
    signature = inspect.signature(network_type)
    try:
        bound = signature.bind(**checked, **arguments)
    except TypeError as error:
        raise OptionError(
            f"{owner} cannot be made ({error}): give it the arguments of its constructor"
        ) from None
    bound.apply_defaults()
    try:
        network: nn.Module = network_type(**bound.arguments)
    except ValueError as error:
        raise OptionError(f"{owner}: {error}") from None
    network.arguments = written(bound.arguments)
    return network


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Makes the networks a user asked for, initialized: a `translatekit.interfaces.NetworkFactory`.

    Attributes:
        generator_name, generator_options: the generator, as the user typed it.
        discriminator_name, discriminator_options: the discriminator; None where the method has none.
        init, init_gain: see `translatekit.networks.layers.init_weights`.
    """

    generator_name: str
    discriminator_name: str | None = None
    generator_options: Mapping[str, Any] = field(default_factory=dict)
    discriminator_options: Mapping[str, Any] = field(default_factory=dict)
    init: Init = "normal"
    init_gain: float = 0.02

    def generator(self, *, conditions: tuple[str, ...] = (), **arguments: Any) -> nn.Module:
        """A new generator; see `translatekit.interfaces.NetworkFactory.generator`.

        Raises:
            OptionError: an option does not fit, or the generator takes other conditions.
        """
        self._check_conditions(conditions)
        if conditions:
            arguments["in_channels"] += len(conditions)
        return self.initialize(make_generator(self.generator_name, self.generator_options, **arguments))

    def _check_conditions(self, given: tuple[str, ...]) -> None:
        """Refuse a generator that takes others than it is given: channels of an image would be taken for them.

        Raises:
            OptionError: it does.
        """
        taken = registry("generator").get(self.generator_name).conditions
        if taken == given:
            return
        fitting = [
            entry.spec.name
            for entry in registry("generator").entries()
            if entry.spec.conditions == given and entry.spec.source == "image"
        ]
        raise OptionError(
            f"the generator {self.generator_name!r} takes {_listed(taken)} beside the image, and this method gives it "
            f"{_listed(given)}: pass --generator {' or '.join(fitting)}"
        )

    def discriminator(self, **arguments: Any) -> nn.Module:
        """A new discriminator.

        Raises:
            OptionError: an option does not fit.
            PluginError: the method's descriptor names none.
        """
        if self.discriminator_name is None:
            raise PluginError(
                "the method asks for a discriminator, and its descriptor names none: give its MethodSpec one"
            )
        network = make_discriminator(self.discriminator_name, self.discriminator_options, **arguments)
        network.judges = True  # type: ignore[assignment]  # by which its optimizer and its inputs are known
        return self.initialize(network)

    def initialize(self, network: nn.Module) -> nn.Module:
        """The network, its weights initialized as the user asked."""
        init_weights(network, self.init, self.init_gain)
        return network


def _listed(conditions: tuple[str, ...]) -> str:
    return " and ".join(conditions) or "nothing"
