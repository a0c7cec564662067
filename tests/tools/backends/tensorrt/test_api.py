"""Every TensorRT name that we use exists in every version that we support, and is called as it is declared.

The bindings are the real ones. They import without a GPU when empty libraries stand for TensorRT's own, as long as
nothing is called.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import translatekit_tools

from tests.tools.backends.tensorrt.calls import Use, find_uses
from tests.tools.backends.tensorrt.conftest import ROOT

TOOLS = Path(translatekit_tools.__file__).parent
SOURCES = [TOOLS / "backends" / "tensorrt" / name for name in ("session.py", "log.py", "build.py")]
USES = [use for source in SOURCES for use in find_uses(source, "trt")]

LOOK = """
import importlib, json, sys
import bindings
found = {}
for path in json.load(sys.stdin):
    owner, _, name = path.rpartition(".")
    try:
        holder = bindings
        for part in owner.split(".") if owner else []:
            holder = getattr(holder, part)
        value = getattr(holder, name)
        if isinstance(value, type) and "." not in path:
            value = value.__init__
        kind = "property" if isinstance(value, property) else "other"
        found[path] = [kind, getattr(value, "__doc__", None) or ""]
    except AttributeError:
        found[path] = None
json.dump({"version": bindings.__version__, "found": found}, sys.stdout)
"""


def uses_of(version: str) -> list[Use]:
    wanted = {"8.5": ("8",), "1.7": ("10", "rtx")}.get(version, ("10",))
    return [use for use in USES if use.versions in ("", *wanted)]


def look(bindings: tuple[str, list[str], dict[str, str]], paths: list[str]) -> dict[str, list[str] | None]:
    version, python, environment = bindings
    done = subprocess.run(
        [*python, "-c", LOOK], input=json.dumps(paths), env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["version"].startswith(version)
    found: dict[str, list[str] | None] = answer["found"]
    return found


def signatures(documentation: str) -> list[list[tuple[str, bool]]]:
    """The parameters of each overload in a docstring of pybind11, without self: name, and whether it must be given."""
    result = []
    for parameters in re.findall(r"^(?:\d+\. )?\w+\((.*)\) -> ", documentation, re.MULTILINE):
        depth, start, parts = 0, 0, []
        for position, character in enumerate(parameters + ","):
            depth += (character in "[(<") - (character in "])>")
            if character == "," and depth == 0:
                parts.append(parameters[start:position].strip())
                start = position + 1
        named = [(part.partition(":")[0].strip(), "=" not in part) for part in parts if part]
        if named != [("*args", True), ("**kwargs", True)]:
            result.append([parameter for parameter in named if parameter[0] != "self"])
    return result


def fits(use: Use, parameters: list[tuple[str, bool]]) -> bool:
    assert use.arguments is not None
    rest = parameters[use.arguments :]
    return (
        use.arguments <= len(parameters)
        and set(use.keywords) <= {name for name, _ in rest}
        and all(name in use.keywords for name, needed in rest if needed)
    )


def test_the_sources_are_read_right() -> None:
    paths = {use.path for use in USES}
    assert {"Builder", "Builder.build_serialized_network", "BuilderFlag.TF32", "ILogger.log"} <= paths
    assert {"IExecutionContext.execute_async_v3", "ICudaEngine.create_execution_context"} <= paths
    assert {use.path for use in USES if use.versions == "8"} == {
        "NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
        "BuilderFlag.FP16",
        "TacticSource.EDGE_MASK_CONVOLUTIONS",
        "TacticSource.JIT_CONVOLUTIONS",
        "IBuilderConfig",
        "IBuilderConfig.set_flag",
        "IBuilderConfig.set_tactic_sources",
    }
    call = next(
        use for use in USES if use.path == "IOptimizationProfile.set_shape" and use.arguments is not None
    )
    assert call.arguments == 4


def test_a_wrong_call_would_be_noticed() -> None:
    documentation = (
        "f(self: a.B, x: tuple[int, int], y: int = <A.B: 0>, z: str = 'a') -> bool\n\ntext (not one) -> x"
    )
    assert signatures(documentation) == [[("x", True), ("y", False), ("z", False)]]
    assert fits(Use("", "f", arguments=1), signatures(documentation)[0])
    assert fits(Use("", "f", arguments=1, keywords=("z",)), signatures(documentation)[0])
    for wrong in (
        Use("", "f", arguments=0),
        Use("", "f", arguments=4),
        Use("", "f", arguments=1, keywords=("w",)),
    ):
        assert not fits(wrong, signatures(documentation)[0])


def test_every_name_exists(bindings: tuple[str, list[str], dict[str, str]]) -> None:
    uses = uses_of(bindings[0])
    found = look(bindings, sorted({use.path for use in uses}))
    assert [f"{use.where} {use.path}" for use in uses if found[use.path] is None] == []


def test_every_call_fits_its_declaration(bindings: tuple[str, list[str], dict[str, str]]) -> None:
    calls = [use for use in uses_of(bindings[0]) if use.arguments is not None]
    found = look(bindings, sorted({use.path for use in calls}))
    wrong, checked = [], set()
    for use in calls:
        entry = found[use.path]
        assert entry is not None
        overloads = signatures(entry[1])
        if overloads:
            checked.add(use.path)
        if overloads and not any(fits(use, parameters) for parameters in overloads):
            wrong.append(f"{use.where} {use.path}: {entry[1].splitlines()[0]}")
    assert wrong == []
    assert len(checked) >= 20, sorted({use.path for use in calls} - checked)


def test_our_subclasses_work_in_the_real_bindings(bindings: tuple[str, list[str], dict[str, str]]) -> None:
    version, python, environment = bindings
    script = """
import sys
import bindings
sys.modules["tensorrt"] = bindings
from types import SimpleNamespace
from translatekit_tools.backends.tensorrt import build as tensorrt_build
from translatekit_tools.backends.tensorrt.phases import Phases
from translatekit_tools.backends.tensorrt import log
log.LOGGER.log(bindings.ILogger.WARNING, "not this")
log.LOGGER.log(bindings.ILogger.ERROR, "a\\n complaint")
log.LOGGER.log(bindings.ILogger.INTERNAL_ERROR, "a later one")
assert log.reason() == "a complaint", log.reason()
if sys.argv[1] == "8.5":
    assert tensorrt_build._network_flags_8() == 1
else:
    assert tensorrt_build._network_flags_10() in (1, 2)
    told, config = [], SimpleNamespace()
    monitor = tensorrt_build._watch_10(config, Phases(lambda *said: told.append(said)))
    assert config.progress_monitor is monitor and isinstance(monitor, bindings.IProgressMonitor)
    monitor.phase_start("Building", None, 2)
    assert monitor.step_complete("Building", 0) is True
    monitor.phase_finish("Building")
    assert told == [("Building", 0.0), ("Building", 0.5)]
"""
    places = [environment["PYTHONPATH"], str(TOOLS.parent), str(ROOT)]
    environment = {**environment, "PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run([*python, "-c", script, version], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_later_versions_lack_is_not_asked_of_them(
    bindings: tuple[str, list[str], dict[str, str]],
) -> None:
    version = bindings[0]
    found = look(
        bindings, ["NetworkDefinitionCreationFlag.STRONGLY_TYPED", "IProgressMonitor", "BuilderFlag.FP16"]
    )
    there = [path for path, entry in found.items() if entry is not None]
    if version.startswith("8"):
        assert there == ["BuilderFlag.FP16"]  # so the branch for 8.5 is taken, and is all it can take
    if version in ("11.4", "1.7"):
        assert "BuilderFlag.FP16" not in there


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_nothing_of_tensorrt_escapes_its_modules(source: Path) -> None:
    importers = [
        path
        for path in TOOLS.rglob("*.py")
        if re.search(r"^ *import tensorrt", path.read_text(), re.MULTILINE)
    ]
    assert source in importers
    assert set(importers) == set(SOURCES)
