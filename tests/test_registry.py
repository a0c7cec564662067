"""Names: found, misspelt, or claimed by two."""

from __future__ import annotations

from types import ModuleType

import pluggy
import pytest

from translatekit import hookspecs
from translatekit.errors import PluginError
from translatekit.hookspecs import hookimpl
from translatekit.plugins import Plugin, Plugins
from translatekit.registry import Registry, registry
from translatekit.specs import LossSpec


def offering(**names: list[str]) -> Registry[LossSpec]:
    """The loss registry of distributions that each offer the losses of these names."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    plugins = Plugins(manager)
    for distribution, losses in names.items():
        plugin = Plugin("plugin", distribution, "1.0")

        def register_losses(losses: list[str] = losses) -> list[LossSpec]:
            return [LossSpec(name=name, target="json:dumps", summary=name) for name in losses]

        module = ModuleType(distribution)
        module.register_losses = hookimpl(register_losses)  # type: ignore[attr-defined]
        manager.register(module, plugin.name)
        plugins.found.append(plugin)
    return Registry("loss", plugins)


def test_names_are_sorted_and_lead_to_their_descriptors() -> None:
    losses = offering(a=["zeta", "beta"], b=["alpha"])
    assert losses.names() == ["alpha", "beta", "zeta"]
    assert losses.get("beta").summary == "beta"
    assert [entry.plugin.distribution for entry in losses.entries()] == ["b", "a", "a"]


def test_loading_gives_the_target() -> None:
    import json

    assert offering(a=["alpha"]).load("alpha") is json.dumps


def test_a_misspelt_name_gets_a_proposal_and_the_list() -> None:
    with pytest.raises(PluginError) as error:
        offering(a=["alpha", "beta"]).get("alhpa")
    assert str(error.value) == "there is no loss named 'alhpa': did you mean 'alpha'? there are alpha, beta"


def test_an_empty_registry_says_so() -> None:
    with pytest.raises(PluginError, match="there is no loss named 'x': there are none"):
        offering().get("x")


def test_a_name_claimed_twice_belongs_to_neither_and_names_both() -> None:
    losses = offering(a=["alpha", "beta"], b=["alpha"])
    assert losses.names() == ["beta"]
    assert list(losses.conflicts()) == ["alpha"]
    with pytest.raises(PluginError, match="the loss name 'alpha' is claimed by a and b: pip uninstall"):
        losses.get("alpha")


def test_a_name_offered_twice_by_one_blames_that_one() -> None:
    with pytest.raises(PluginError, match="a offers the loss 'alpha' twice: update or pip uninstall it"):
        offering(a=["alpha", "alpha"]).get("alpha")


def test_what_the_package_brings_is_there() -> None:
    assert {"unet", "encoder_decoder", "resnet", "timm_unet"} <= set(registry("generator").names())
    assert {"pix2pix", "cyclegan", "cgan"} <= set(registry("method").names())
    assert {"train", "run", "plugins", "info", "import", "demo"} <= set(registry("command").names())
