"""Repositories of the Hugging Face Hub, on a server that speaks as it does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakes import run_python
from tests.hub import Hub, hub_environment
from translatekit.errors import StorageError
from translatekit.storage import retries

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
        "hf://user/nothing": "there is no repository for hf://user/nothing, or these credentials may not "
        "see it: check its name, or set HF_TOKEN, or run hf auth login",
        "hf://datasets/user/photos/none.png": "there is no hf://datasets/user/photos/none.png/none.png: check the "
        "address",
    }


PUSH = """
import json, os, sys
from pathlib import Path
from translatekit.errors import TranslatekitError
from translatekit.storage import open_source, push, retries

retries.DELAY = 0.001
folder = Path(sys.argv[1])
files = {name: folder / name for name in ("model.safetensors", "README.md")}
result = {}
for name, uri, options in json.loads(sys.argv[2]):
    try:
        result[name] = push(uri, files, "A model", **options)
    except TranslatekitError as error:
        result[name] = str(error)
print(json.dumps(result))
"""


def test_a_repository_is_made_and_written_by_one_commit(hub: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(os.urandom(100_000))
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    environment = hub_environment(hub, tmp_path / "hf")

    def pushed(*cases: tuple[str, str, dict[str, bool]], token: str) -> dict[str, str]:
        done = run_python("-c", PUSH, str(tmp_path), json.dumps(cases), HF_TOKEN=token, **environment)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "%" not in done.stderr  # no bars of the library's own
        said: dict[str, str] = json.loads(done.stdout)
        return said

    Hub.token, Hub.busy = "hf_secret", 2
    said = pushed(
        ("new", "hf://user/model", {"private": True}),
        ("again", "hf://user/model", {}),
        ("forced", "hf://user/model@main", {"force": True}),
        ("data", "hf://datasets/user/photos", {}),
        ("no name", "hf://user", {}),
        ("another store", "s3://bucket/model", {}),
        token="hf_secret",
    )
    assert said == {
        "new": f"{hub}/user/model",
        "again": "hf://user/model holds README.md already, and it is not overwritten: pass --force, or name another "
        "repository",
        "forced": f"{hub}/user/model",
        "data": "'hf://datasets/user/photos' is no repository of models: write hf://user/name",
        "no name": "'hf://user' is no repository of models: write hf://user/name",
        "another store": "'s3://bucket/model' is no repository of models: write hf://user/name",
    }
    held = Hub.repositories["models/user/model"]
    assert {name: held[name] for name in ("model.safetensors", "README.md")} == {
        name: (tmp_path / name).read_bytes() for name in ("model.safetensors", "README.md")
    }
    assert Hub.private == {"models/user/model"}
    assert Hub.commits == ["A model", "A model"]
    credentials = "set HF_TOKEN, or run hf auth login"
    assert pushed(("wrong", "hf://user/other", {}), token="hf_wrong") == {
        "wrong": f"hf://user/other was refused, since the credentials are wrong (status 401): {credentials}"
    }
    (tmp_path / "README.md").write_text("---\n- no metadata\n---\n")
    (said,) = pushed(("card", "hf://user/third", {}), token="hf_secret").values()
    assert said == (
        "hf://user/third was not written, since the hub refuses the metadata of README.md (repo card metadata block "
        "should be a dict): mend it"
    )


def test_a_list_that_is_cut_off_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's list is over once it has raised, so that asking it again would end the list without a word."""
    pytest.importorskip("huggingface_hub")
    from translatekit.storage.stores.hub import HubStore

    monkeypatch.setattr(retries, "DELAY", 0.0)
    failing = [0, 2, 2, 5]  # before which file it fails, each time that it is asked for

    class Api:
        def list_repo_tree(self, **_: Any) -> Iterator[SimpleNamespace]:
            fails_at = failing.pop(0) if failing else None
            for number in range(5):
                if number == fails_at:
                    raise ConnectionError("closed")
                yield SimpleNamespace(path=f"{number}.png", size=1, blob_id=str(number))
            if fails_at == 5:
                raise ConnectionError("closed")

    place = SimpleNamespace(path_in_repo="")
    monkeypatch.setattr(HubStore, "_api", Api())
    monkeypatch.setattr(HubStore, "_place", lambda self, path: (place, {}))
    found = [item.name for item in HubStore("hf").items("user/x/")]
    assert found == [f"user/x/{number}.png" for number in range(5)]
    assert not failing
    failing += [1] * retries.TRIES
    with pytest.raises(StorageError, match="cannot be reached"):
        list(HubStore("hf").items("user/x/"))
