"""Discovery: every plugin's fault stays its own, however odd the plugin or its metadata."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.fakes import PYPROJECT, pip_install, run_program, write_fake
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
        ("raise SystemExit('go away')", "register_losses() raised SystemExit: go away"),
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


HALF_SOUND = f"""{HEAD}
@hookimpl
def register_generators():
    return [GeneratorSpec(name="sound-{{name}}", target="nowhere.net:Net", summary="never imported")]

@hookimpl
def register_datasets():
    {{body}}
"""


@pytest.fixture(scope="module")
def pip_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed two plugins with failing hooks, and one that takes ``pix2pix``."""
    folder = tmp_path_factory.mktemp("installed")
    sources = [write_fake("fake-taker", folder)]
    for name, body in (
        ("hook-raises", "raise KeyError('no key')"),
        ("not-a-spec", "return [{'name': 'tiles'}]"),
    ):
        module = name.replace("-", "_")
        package = folder / name / module
        package.mkdir(parents=True)
        (folder / name / "pyproject.toml").write_text(PYPROJECT.format(name=name, module=module))
        (package / "__init__.py").touch()
        (package / "plugin.py").write_text(HALF_SOUND.format(name=name, body=body))
        sources.append(folder / name)
    pip_install(sources, folder / "site")
    return folder / "site"


def test_installed_plugins_with_failing_hooks_are_named_and_keep_their_other_things(pip_site: Path) -> None:
    result = run_program("plugins", "--json", site=pip_site)
    assert (result.returncode, result.stderr) == (0, "")
    listing = json.loads(result.stdout)
    assert {plugin["distribution"]: plugin["error"] for plugin in listing["broken"]} == {
        "hook-raises": "register_datasets() raised KeyError: 'no key'",
        "not-a-spec": "register_datasets() returned {'name': 'tiles'}, which is not a DatasetSpec",
    }
    names = {kind: {thing["name"] for thing in listing[kind]} for kind in ("generator", "dataset")}
    assert names["generator"] >= {"sound-hook-raises", "sound-not-a-spec", "unet"}
    assert names["dataset"] >= {"aligned", "unaligned"}


def test_methods_train_beside_broken_plugins_and_a_claimed_name(pip_site: Path, tmp_path: Path) -> None:
    from PIL import Image

    for folder in ("trainA", "trainB"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        Image.linear_gradient("L").resize((32, 32)).convert("RGB").save(tmp_path / "data" / folder / "1.png")
    small = ["-G", "width=2", "-D", "width=2", "--load-size", "32", "--crop-size", "32", "--max-steps", "1"]
    train = ["train", "cyclegan", "data", *small, "--validate-every", "0", "-o", "run"]
    trained = run_program(*train, site=pip_site, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "run" / "model.safetensors").exists()
    refused = run_program("train", "pix2pix", "data", site=pip_site, cwd=tmp_path)
    assert refused.returncode == 1
    assert "'pix2pix' is claimed by fake-taker and translatekit" in refused.stderr
