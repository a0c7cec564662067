"""A Docker context, done by hand: what its Dockerfile says, with packages of this machine and without PyTorch.

Whether Docker builds the image is not tested, since that wants Docker and a package index.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from translatekit_tools.paint.options import PaintOptions
from translatekit_tools.paint.server import choose_token
from translatekit_tools.publish.wheel import _needed, _packed

import translatekit
from tests.fakes import pip_install
from tests.stores import free_port
from tests.tools.publish.conftest import Publish, png
from translatekit.errors import OptionError

WITHOUT_TORCH = """
import sys
sys.modules.update(dict.fromkeys(("torch", "torchvision", "timm", "lightning_fabric", "safetensors"), None))
from translatekit.cli import main
sys.argv[0] = "translatekit"
sys.exit(main())
"""


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile and their arguments, in order."""
    lines = [line for line in dockerfile.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = [line.strip().partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name, rest.strip()) for name, _, rest in found]


class Context:
    """A context whose translatekit is installed in a folder beside it."""

    def __init__(self, folder: Path, site: Path, port: int) -> None:
        self.folder, self.site, self.port = folder, site, port
        self.steps = instructions((folder / "Dockerfile").read_text())

    def one(self, name: str) -> str:
        (found,) = (rest for each, rest in self.steps if each == name)
        return found


@pytest.fixture(scope="module")
def context(graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Context:
    from translatekit_tools.publish import publish

    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("docker")
    port = free_port()
    with contextlib.chdir(folder) if sys.version_info >= (3, 11) else contextlib.nullcontext():
        publish(
            graph, os.path.relpath(folder / "context"), kind="docker", port=port, title="Summer\nto winter"
        )
    (wheel,) = (folder / "context").glob("*.whl")
    pip_install([wheel], folder / "site")
    return Context(folder / "context", folder / "site", port)


def test_the_image_is_pinned_and_runs_as_nobody(context: Context) -> None:
    names = [name for name, _ in context.steps]
    assert names == [
        *("ARG", "FROM", "COPY", "RUN", "RUN", "COPY", "USER", "WORKDIR", "EXPOSE", "HEALTHCHECK"),
        *("ENTRYPOINT", "CMD"),
    ]
    assert re.fullmatch(r"PYTHON=3\.\d+\.\d+", context.one("ARG"))
    assert context.one("FROM") == "python:${PYTHON}-slim-bookworm"
    assert context.one("USER") == "10001"
    assert context.one("EXPOSE") == str(context.port)
    assert (
        (context.folder / "Dockerfile").read_text().startswith("# Summer to winter, served by translatekit ")
    )
    assert (context.folder / ".dockerignore").read_text() == ".*\n"
    for path in (context.folder / "model").iterdir():
        assert path.stat().st_mode & 0o444 == 0o444
    pins = (context.folder / "constraints.txt").read_text().splitlines()
    assert {"numpy", "onnxruntime", "starlette", "uvicorn"} <= {pin.partition("==")[0] for pin in pins}
    assert not {pin for pin in pins if pin.startswith(("torch==", "translatekit=="))}
    assert all(re.fullmatch(r"[\w.-]+==[\w.!]+", pin) for pin in pins)
    assert f"onnxruntime=={importlib.metadata.version('onnxruntime')}" in pins


def test_what_is_copied_and_installed_is_in_the_context(context: Context) -> None:
    copies = [shlex.split(rest) for name, rest in context.steps if name == "COPY"]
    for *sources, _ in copies:
        for source in sources:
            assert (context.folder / source).exists(), source
    install = next(rest for name, rest in context.steps if rest.startswith("pip install"))
    (named,) = (word for word in shlex.split(install) if ".whl" in word)
    path, extras = re.fullmatch(r"(.*)\[(.*)\]", named).groups()  # type: ignore[union-attr]
    assert Path(path).name in copies[0]
    assert Path(path).parent == Path(copies[0][-1])
    assert set(extras.split(",")) == {"onnx", "paint"}
    (installed,) = importlib.metadata.distributions(path=[str(context.site)], name="translatekit")
    assert {"onnx", "paint"} <= set(installed.metadata.get_all("Provides-Extra") or [])


def test_the_container_translates_without_pytorch(context: Context, graph: Path, tmp_path: Path) -> None:
    words = json.loads(context.one("ENTRYPOINT")) + json.loads(context.one("CMD"))
    assert words[:2] == ["translatekit", "paint"]
    model = Path(words[2])
    assert model.parent == Path("/srv/model")
    words[2] = str(context.folder / "model" / model.name)
    process = subprocess.Popen(
        [sys.executable, "-c", WITHOUT_TORCH, *words[1:]],
        env={**os.environ, "PYTHONPATH": str(context.site)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert "#token" not in process.stdout.readline()
        check = re.search(r"CMD (\[.*\])", context.one("HEALTHCHECK"))
        assert check is not None
        command = [sys.executable, *json.loads(check[1])[1:]]
        end = time.monotonic() + 120
        while subprocess.run(command, capture_output=True, check=False).returncode:
            assert time.monotonic() < end
            assert process.poll() is None, process.communicate()
        address = f"http://127.0.0.1:{context.port}"
        taken = png(5, 33, 50)
        with urllib.request.urlopen(f"{address}/translate", taken, 60) as response:
            given = np.asarray(Image.open(io.BytesIO(response.read())))
        wanted = translatekit.open(graph).translate(np.asarray(Image.open(io.BytesIO(taken))))
        np.testing.assert_array_equal(given, wanted)
        with urllib.request.urlopen(f"{address}/", timeout=60) as response:
            assert b"<html" in response.read()
        with urllib.request.urlopen(f"{address}/model", timeout=60) as response:
            said = json.load(response)
        assert (said["name"], said["device"]) == ("summer-2-winter", "cpu")
        with pytest.raises(urllib.error.HTTPError, match="422"):
            urllib.request.urlopen(f"{address}/translate", b"no image", 60)
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    assert process.returncode in (0, -15)


def test_a_token_is_made_named_or_left_out() -> None:
    assert choose_token(PaintOptions(), is_local=True) is None
    assert len(choose_token(PaintOptions(), is_local=False) or "") > 16
    assert choose_token(PaintOptions(token="off"), is_local=False) is None
    assert choose_token(PaintOptions(token="a-long-secret"), is_local=True) == "a-long-secret"


def test_the_wheel_of_what_is_installed_is_what_was_installed(context: Context, tmp_path: Path) -> None:
    (installed,) = importlib.metadata.distributions(path=[str(context.site)], name="translatekit")
    packed = _packed(installed, tmp_path)
    (built,) = context.folder.glob("*.whl")
    assert packed.name == built.name
    with zipfile.ZipFile(packed) as ours, zipfile.ZipFile(built) as theirs:
        assert sorted(ours.namelist()) == sorted(theirs.namelist())
        assert all(
            ours.read(name) == theirs.read(name) for name in ours.namelist() if not name.endswith("/RECORD")
        )
    pip_install([packed], tmp_path / "site")
    assert (tmp_path / "site" / "translatekit" / "py.typed").is_file()


@pytest.mark.parametrize(
    ("requirement", "extras", "needed"),
    [
        ("ONNX_Runtime>=1.20; extra == 'onnx'", {"onnx"}, [("onnx-runtime", frozenset())]),
        ("torch>=2; extra == 'train'", {"onnx"}, []),
        ("a[b,c]==1 ; python_version > '3'", set(), [("a", frozenset({"b", "c"}))]),
        ("tomli", set(), [("tomli", frozenset())]),
    ],
)
def test_requirements_of_an_extra(
    requirement: str, extras: set[str], needed: list[tuple[str, frozenset[str]]]
) -> None:
    assert _needed([requirement], frozenset(extras)) == needed


def test_what_needs_a_gpu_is_refused(published: Publish, graph: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"runtimes": ("tensorrt",)}
    with pytest.raises(OptionError, match="onnxruntime or openvino, which need no GPU, not for tensorrt"):
        published("docker", graph, **options)
    assert not (tmp_path / "out").exists()
