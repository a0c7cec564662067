"""Discovery: every plugin's fault stays its own, however odd the plugin or its metadata."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from translatekit.plugins import Plugins, discover
from translatekit.registry import Registry

HEAD = """
from __future__ import annotations
from translatekit.hookspecs import hookimpl
from translatekit.specs import *
"""

NET = "GeneratorSpec(name='{}', target='nowhere.net:Net', summary='never imported')"


class Site:
    """A folder on the import path that holds distributions."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch

    def add(self, name: str, source: str | None, target: str | None = None, metadata: bool = True) -> None:
        module = name.replace("-", "_")
        self.monkeypatch.delitem(sys.modules, module, raising=False)  # of an earlier test
        if source is not None:
            (self.folder / f"{module}.py").write_text(source)
        info = self.folder / f"{module}-1.0.dist-info"
        info.mkdir()
        if metadata:
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[translatekit]\n{name} = {target or module}\n")

    def discover(self) -> Plugins:
        return discover()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(tmp_path)
    return Site(tmp_path, monkeypatch)


def errors(plugins: Plugins) -> dict[str, str]:
    return {plugin.distribution: plugin.error or "" for plugin in plugins.broken}


def test_our_own_packages_are_found_like_anyones(site: Site) -> None:
    plugins = site.discover()
    ours = {plugin.entry_point for plugin in plugins.found if plugin.distribution == "translatekit"}
    assert ours >= {"core", "pix2pix", "cyclegan", "cgan", "tools"}
    assert plugins.broken == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "import no_such_module_anywhere",
            "raised ModuleNotFoundError: No module named 'no_such_module_anywhere'",
        ),
        ("def f(:", "raised SyntaxError: invalid syntax"),
        ("raise SystemExit('go away')", "raised SystemExit: go away"),
        ("raise ValueError('two\\nlines')", "raised ValueError: two lines"),
        (
            f"{HEAD}def register_generators():\n    return [{NET.format('x')}]",
            "implements no hook: mark its functions with translatekit's hookimpl",
        ),
        (
            f"{HEAD}@hookimpl\ndef register_generatos():\n    return []",
            "unknown hook 'register_generatos'",
        ),
        (
            f"{HEAD}@hookimpl\ndef register_generators(config):\n    return []",
            "Argument(s) {'config'} are declared in the hookimpl but can not be found in the hookspec",
        ),
    ],
    ids=["import", "syntax", "exit", "two lines", "unmarked", "typo", "argument"],
)
def test_a_plugin_that_cannot_be_used_is_named_with_the_reason(site: Site, source: str, reason: str) -> None:
    site.add("odd-one", source)
    site.add("sound-one", f"{HEAD}@hookimpl\ndef register_generators():\n    return [{NET.format('sound')}]")
    plugins = site.discover()
    assert list(errors(plugins)) == ["odd-one"]
    assert reason in errors(plugins)["odd-one"]
    assert "\n" not in errors(plugins)["odd-one"]
    assert {"sound", "unet"} <= set(Registry("generator", plugins).names())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return 1 / 0", "register_losses() raised ZeroDivisionError: division by zero"),
        ("yield 1 / 0", "register_losses() raised ZeroDivisionError: division by zero"),
        ("return 7", "register_losses() raised TypeError: 'int' object is not iterable"),
        ("return 'l1'", "register_losses() returned 'l', which is not a LossSpec"),
        (f"return [{NET.format('x')}]", "which is not a LossSpec"),
        ("return [LossSpec(name='my loss', target='a:B', summary='')]", "a loss cannot be named 'my loss'"),
        ("return [LossSpec(name='a', target='a.B', summary='')]", "has the target 'a.B'"),
        ("return [LossSpec(name='a', target='a:B')]", "missing 1 required keyword-only argument: 'summary'"),
    ],
)
def test_a_hook_that_fails_takes_only_its_own_kind_away(site: Site, body: str, reason: str) -> None:
    hooks = f"@hookimpl\ndef register_losses():\n    {body}\n"
    hooks += f"@hookimpl\ndef register_generators():\n    return [{NET.format('sound')}]"
    site.add("half-sound", HEAD + hooks)
    plugins = site.discover()
    assert errors(plugins) == {}  # not asked yet
    assert Registry("loss", plugins).names() == Registry("loss", discover()).names()
    assert reason in errors(plugins)["half-sound"]
    assert "sound" in Registry("generator", plugins).names()


def test_two_failing_hooks_are_both_reported(site: Site) -> None:
    hooks = [
        f"@hookimpl\ndef register_{kind}():\n    raise KeyError('{kind}')\n" for kind in ("losses", "methods")
    ]
    site.add("odd-one", HEAD + "".join(hooks))
    plugins = site.discover()
    Registry("loss", plugins)
    Registry("method", plugins)
    assert "KeyError: 'losses'" in errors(plugins)["odd-one"]
    assert "KeyError: 'methods'" in errors(plugins)["odd-one"]


def test_a_hook_may_offer_nothing(site: Site) -> None:
    site.add("quiet", f"{HEAD}@hookimpl\ndef register_losses():\n    return None")
    plugins = site.discover()
    assert "l1" in Registry("loss", plugins).names()
    assert plugins.broken == []


def test_odd_metadata_is_reported_and_harms_nobody(site: Site) -> None:
    good = f"{HEAD}@hookimpl\ndef register_generators():\n    return [{NET.format('sound')}]"
    site.add("nameless", good, metadata=False)
    site.add("garbled", None, target="this is :: no module")
    site.add("missing-attribute", "", target="missing_attribute:plugin")
    plugins = site.discover()
    assert set(errors(plugins)) == {"garbled", "missing-attribute"}
    assert {"sound", "unet"} <= set(Registry("generator", plugins).names())


def test_one_module_under_two_names_is_used_once(site: Site) -> None:
    good = f"{HEAD}@hookimpl\ndef register_generators():\n    return [{NET.format('sound')}]"
    site.add("first", good)
    site.add("second", None, target="first")
    plugins = site.discover()
    assert len(errors(plugins)) == 1
    assert "sound" in Registry("generator", plugins).names()
