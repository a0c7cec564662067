"""What only parts of translatekit need: each part says what to install, and the rest works without it."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import run_python
from translatekit.errors import PluginError
from translatekit.images import encode_image, image_of
from translatekit.registry import registry
from translatekit.requirements import missing, of_extra, require

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]

# Runs the program as if only the base of the dependencies were installed.
THIN = """
import importlib.abc, json, sys

class NotInstalled(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

hidden = set(json.loads(sys.argv[1]))
sys.meta_path.insert(0, NotInstalled())
"""
PROGRAM = (
    THIN
    + """
import contextlib, io
from translatekit.cli import program

told = []
for arguments in json.loads(sys.argv[2]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            program.main(arguments, prog_name="translatekit")
        except SystemExit as ended:
            told.append([ended.code or 0, out.getvalue(), err.getvalue()])
print(json.dumps(told))
"""
)
TRANSLATE = (
    THIN
    + """
import translatekit
from translatekit.model_info import ModelInfo

class Negative:
    info = ModelInfo(
        method="", generator="", generator_options={}, size=8, size_multiple=1,
        norm_inference="none", direction="AtoB",
    )
    def __call__(self, batch):
        return 255 - batch

summary = translatekit.translate(sys.argv[2], Negative(), sys.argv[3])
print(json.dumps([summary.translated, [reason for _, reason in summary.failed]]))
"""
)


def name_of(requirement: str) -> str:
    return re.split(r"[^\w-]", requirement)[0].lower().replace("_", "-")


def packages_of(extra: str) -> set[str]:
    """The packages of an extra, those of the extras that it names among them."""
    found = set()
    for requirement in EXTRAS[extra]:
        inner = re.match(r"translatekit\[(.*)\]", requirement)
        found |= set().union(*map(packages_of, inner[1].split(","))) if inner else {name_of(requirement)}
    return found


def modules_of(packages: set[str]) -> set[str]:
    """What is imported of packages, as far as they are installed."""
    return {
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if {name_of(owner) for owner in owners} & packages
    }


def hidden() -> str:
    """The modules that the base of the dependencies does not bring, in JSON."""
    base = {name_of(requirement) for requirement in PROJECT["dependencies"]}
    optional = set().union(*(packages_of(extra) for extra in EXTRAS)) - base
    return json.dumps(sorted(modules_of(optional) - modules_of(base)))


def thin(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run_python("-c", code, hidden(), *map(str, arguments))


def told(*commands: list[str]) -> list[tuple[int, str, str]]:
    """Status, stdout and stderr of commands of the program, one after the other in one process."""
    done = thin(PROGRAM, json.dumps(commands))
    assert done.returncode == 0, done.stderr
    return [tuple(each) for each in json.loads(done.stdout)]


def requirements_in_the_source() -> Iterator[tuple[str, str]]:
    """Extra and module of every call of `of_extra`."""
    for folder in ("translatekit", "plugins", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "of_extra":
                    extra, *modules = (ast.literal_eval(argument) for argument in call.args)
                    yield from ((extra, each) for module in modules for each in module.split("|"))


def test_what_is_missing_is_named_once_with_what_installs_it() -> None:
    assert missing(["json", "no_such_module", "json|no_such_module"]) == ["'no_such_module'"]
    assert missing(of_extra("train", "no_such_module", "nor_this")) == ["'translatekit[train]'"]
    require("this", ["json"])
    with pytest.raises(PluginError) as error:
        require("this", ["json", "no_such.module=thing[gpu]"])
    assert str(error.value) == "this needs what is not installed: run pip install 'thing[gpu]'"


def test_every_extra_that_is_named_brings_what_it_is_named_for() -> None:
    owners = importlib.metadata.packages_distributions()
    named = set(requirements_in_the_source())
    assert len(named) > 15
    for extra, module in named:
        packages = {name_of(owner) for owner in owners.get(module, [module])}
        allowed = packages_of(extra) | ({"tensorrt"} if extra == "tensorrt-rtx" else set())
        meta = {"tensorrt-rtx"} if extra == "tensorrt-rtx" else set()  # a package that brings another
        assert packages & (allowed | meta), f"translatekit[{extra}] does not bring {module}"
    sentences = {
        extra
        for folder in ("translatekit", "tools")
        for path in (ROOT / folder).rglob("*.py")
        for extra in re.findall(r"translatekit\[([a-z0-9-]+)\]", path.read_text(encoding="utf-8"))
    }
    assert sentences <= set(EXTRAS)


def test_a_command_without_its_packages_says_what_to_install() -> None:
    wanted = {
        "train pix2pix": "'translatekit[train]'",
        "evaluate model.onnx": "'translatekit[evaluate]'",
        "prepare check images": "'translatekit[prepare]'",
        "demo": "'translatekit[train]' 'translatekit[prepare]'",
        "paint model.onnx": "'translatekit[paint]'",
        "plugins check unet": "'translatekit[train]'",
    }
    for extras, (status, out, errors) in zip(
        wanted.values(), told(*(line.split() for line in wanted)), strict=True
    ):
        assert (status, out) == (1, "")
        assert re.fullmatch(
            rf"Error: .* needs what is not installed: run pip install {re.escape(extras)}\n", errors
        )


def test_the_rest_works_without_them() -> None:
    names = registry("command").names()
    (status, listed, errors), *shown = told(["plugins", "--json"], *([name, "--help"] for name in names))
    assert (status, errors) == (0, "")
    things = json.loads(listed)
    lacking = {thing["name"] for thing in things["command"] if thing["missing"]}
    assert lacking == {
        "demo",
        "distill",
        "evaluate",
        "import",
        "paint",
        "prepare",
        "sample",
        "train",
        "train-on",
        "tune",
        "watch",
    }
    assert all(thing["missing"] for kind in ("generator", "method") for thing in things[kind])
    assert (things["broken"], things["conflicts"]) == ([], [])
    for name, (status, help_text, errors) in zip(names, shown, strict=True):
        assert (status, errors) == (0, ""), name
        assert f"translatekit {name}" in help_text


def test_images_are_translated_without_them_and_videos_say_what_to_install(
    tmp_path: Path, data_dir: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    drawn = image_of(np.random.default_rng(0).random((9, 7, 3), np.float32))
    for suffix in (".png", ".tif", ".jpg", ".webp", ".avif"):
        (folder / f"{suffix[1:]}{suffix}").write_bytes(encode_image(drawn, suffix))
    (folder / "clip.mp4").write_bytes((data_dir / "videos" / "h265_video.mp4").read_bytes())
    done = thin(TRANSLATE, folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    translated, failed = json.loads(done.stdout)
    assert translated == 5
    needs = "a video or an animation needs what is not installed: run pip install 'translatekit[video]'"
    assert failed == [needs]


def test_the_models_that_come_from_training_say_what_to_install(tmp_path: Path) -> None:
    code = THIN + "import translatekit\ntranslatekit.load_network(sys.argv[2])"
    done = thin(code, tmp_path)
    assert "load_network() needs what is not installed: run pip install 'translatekit[train]'" in done.stderr
