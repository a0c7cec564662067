"""Names: found, misspelt, or claimed by two."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pluggy
import pytest

from translatekit import hookspecs
from translatekit.errors import OptionError, PluginError
from translatekit.hookspecs import hookimpl
from translatekit.plugins import Plugin, Plugins
from translatekit.registry import Registry, backends_of, choose_backend, registry
from translatekit.specs import BackendSpec, LossSpec


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


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four backends, in no order: two own .x, one runs it too, and one has nothing to do with it."""
    specs = [
        BackendSpec(name="zeta", target="json:dumps", summary="", suffixes=(".x",)),
        BackendSpec(name="alpha", target="json:dumps", summary="", suffixes=(".y",), also_runs=(".x",)),
        BackendSpec(name="other", target="json:dumps", summary="", suffixes=(".z",)),
        BackendSpec(
            name="beta", target="json:dumps", summary="", suffixes=(".x",), requires=("no_such_module",)
        ),
    ]
    found = Plugins(pluggy.PluginManager(hookspecs.PROJECT))
    monkeypatch.setattr(found, "answers", lambda kind: [(Plugin("plugin", "fake", "1.0"), specs)])
    monkeypatch.setattr("translatekit.registry.registry", lambda kind: Registry(kind, found))


@pytest.mark.usefixtures("backends")
def test_of_several_backends_those_come_first_whose_own_file_it_is_then_by_name() -> None:
    assert [spec.name for spec in backends_of(".x")] == ["beta", "zeta", "alpha"]
    assert [spec.name for spec in backends_of(".y")] == ["alpha"]
    assert choose_backend(Path("m.x"), "alpha").name == "alpha"
    assert choose_backend(Path("m.z")).name == "other"


@pytest.mark.usefixtures("backends")
def test_a_backend_that_cannot_be_had_names_what_to_install_or_to_pass() -> None:
    with pytest.raises(PluginError) as lacking:
        choose_backend(Path("m.x"))
    assert str(lacking.value) == (
        "backend 'beta' needs what is not installed: run pip install 'no_such_module', or pass --backend zeta"
    )
    with pytest.raises(
        OptionError, match=r"backend 'other' is not for m.x: pass --backend beta or zeta or alpha"
    ):
        choose_backend(Path("m.x"), "other")
    with pytest.raises(PluginError, match=r"no installed backend runs '.w' files: give one of .y, .x, .z"):
        choose_backend(Path("m.w"))
