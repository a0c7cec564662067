"""Repositories of the Hugging Face Hub, on a server that speaks as it does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes import run_python
from tests.hub import Hub, hub_environment

CODE = """
import io, json
from translatekit.errors import TranslatekitError
from translatekit.storage import local_copy, local_folder, open_sink, open_source, retries

retries.DELAY = 0.001
photos = open_source("hf://datasets/user/photos")
items = list(photos.list())
result = {
    "names": [item.name for item in items],
    "sizes": [item.size for item in items],
    "of a folder": [item.name for item in open_source("hf://datasets/user/photos@main/folder").list()],
    "prefix": [item.name for item in photos.list("folder/2")],
    "read": [photos.read(item.name).decode() for item in items],
    "stat": [photos.stat(item.name) == item for item in items],
    "missing": photos.stat("none.png") is None,
    "mirror": sorted(path.name for path in local_folder("hf://datasets/user/photos").rglob("*.png")),
    "model": local_copy("hf://user/x/maps.onnx").read_bytes().decode(),
    "run": sorted(path.name for path in local_copy("hf://user/x").glob("*.safetensors")),
}
with photos.open("large.bin") as file:
    file.seek(-4, io.SEEK_END)
    result["end"] = file.read().decode()
sink = open_sink("hf://user/x")
sink.commit("new/maps.onnx", b"new")
result["written"] = sink.read("new/maps.onnx").decode()
sink.delete("new/maps.onnx")
sink.delete("new/maps.onnx")
result["deleted"] = sink.stat("new/maps.onnx") is None
for uri in ("hf://user/nothing", "hf://datasets/user/photos/none.png"):
    try:
        open_source(uri).read("none.png")
    except TranslatekitError as error:
        result[uri] = str(error)
print(json.dumps(result))
"""


@pytest.mark.parametrize("busy", [0, 2])
def test_a_repository_is_a_place(hub: str, tmp_path: Path, busy: int) -> None:
    files = {
        "folder/1.png": b"one",
        "folder/2.png": b"two",
        "3.png": b"three",
        "large.bin": b"x" * 5_000_000 + b"last",
    }
    Hub.reset(
        {
            "datasets/user/photos": files,
            "models/user/x": {"maps.onnx": b"graph", "model.safetensors": b"weights", "config.toml": b""},
        },
        busy,
    )
    result = run_python("-c", CODE, TRANSLATEKIT_CACHE=str(tmp_path), **hub_environment(hub, tmp_path / "hf"))
    assert result.returncode == 0, result.stderr[-3000:]
    said = json.loads(result.stdout)
    names = ["3.png", "folder/1.png", "folder/2.png", "large.bin"]
    assert said == {
        "names": names,
        "sizes": [len(files[name]) for name in names],
        "of a folder": ["1.png", "2.png"],
        "prefix": ["folder/2.png"],
        "read": [files[name].decode() for name in names],
        "stat": [True] * 4,
        "missing": True,
        "mirror": ["1.png", "2.png", "3.png"],
        "model": "graph",
        "run": ["model.safetensors"],
        "end": "last",
        "written": "new",
        "deleted": True,
        "hf://user/nothing": "there is no repository for hf://user/nothing: check its name, and the account "
        "or endpoint",
        "hf://datasets/user/photos/none.png": "there is no hf://datasets/user/photos/none.png/none.png: check the "
        "address",
    }
