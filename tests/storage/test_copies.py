"""Models that lie in a store are copied once, with what belongs to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stores import Proxy
from translatekit.errors import ModelFileError, StorageError
from translatekit.storage import Sink, copies, hash_bytes, local_copy, open_sink


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(path: Path) -> set[str]:
    return {file.name for file in path.iterdir()} - {copies.RECORD}


def test_a_path_is_itself(tmp_path: Path) -> None:
    assert local_copy(str(tmp_path)) == tmp_path
    assert local_copy("~/runs/x") == Path.home() / "runs" / "x"


@pytest.mark.parametrize(
    ("name", "others", "left"),
    [
        ("maps.onnx", [], ["maps.bin", "maps.onnx.json"]),
        ("maps.xml", ["maps.bin"], ["maps.xml.json"]),
        ("maps.engine", ["maps.engine.json"], ["maps.bin"]),
        ("maps.engine", ["maps.engine.json", "maps.engine.onnx"], []),
        ("model.safetensors", [], ["config.toml"]),
    ],
)
def test_a_model_is_copied_with_what_belongs_to_it(
    place: Sink, name: str, others: list[str], left: list[str]
) -> None:
    for each in (name, *others, *left):
        place.commit(f"models/{each}", each.encode())
    copy = local_copy(place.uri_of(f"models/{name}"))
    assert copy.name == name
    if not place.is_local:
        assert files(copy.parent) == {name, *others}
    assert {each: (copy.parent / each).read_bytes() for each in (name, *others)} == {
        each: each.encode() for each in (name, *others)
    }


def test_of_a_run_its_models_are_copied(place: Sink) -> None:
    own = ["model.safetensors", "model_BtoA.safetensors", "best.safetensors", "config.toml", "metrics.jsonl"]
    for name in (
        *own,
        "checkpoints/000100.ckpt",
        "samples/1.png",
        "index.html",
        "checkpoints/model.safetensors",
    ):
        place.commit(f"runs/x/{name}", name.encode())
    copy = local_copy(place.uri_of("runs/x"))
    if not place.is_local:
        assert files(copy) == set(own)
        assert (copy / "model_BtoA.safetensors").read_bytes() == b"model_BtoA.safetensors"


def test_a_copy_is_made_once_and_anew_when_the_model_changes(s3: Proxy) -> None:
    place = open_sink("s3://bucket/copied")
    place.commit("maps.onnx", b"first")
    first = local_copy("s3://bucket/copied/maps.onnx")
    s3.requests.clear()
    assert local_copy("s3://bucket/copied/maps.onnx") == first
    assert s3.requests == {"HEAD": 1}
    place.commit("maps.onnx", b"second")
    second = local_copy("s3://bucket/copied/maps.onnx")
    assert (first.read_bytes(), second.read_bytes()) == (b"first", b"second")
    assert hash_bytes(b"second") in (second.parent / copies.RECORD).read_text()


def test_a_copy_that_was_not_completed_is_completed(s3: Proxy) -> None:
    open_sink("s3://bucket/halved").commit("maps.onnx", b"whole")
    copy = local_copy("s3://bucket/halved/maps.onnx")
    copy.write_bytes(b"half")
    assert local_copy("s3://bucket/halved/maps.onnx").read_bytes() == b"whole"
    (copy.parent / copies.RECORD).unlink()
    copy.write_bytes(b"wrong")
    assert local_copy("s3://bucket/halved/maps.onnx").read_bytes() == b"whole"


def test_a_large_model_is_read_in_ranges(s3: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_WHOLE", 100)
    data = bytes(index % 249 for index in range(5_000_000))
    place = open_sink("s3://bucket/large")
    place.commit("maps.onnx", data)
    s3.requests.clear()
    assert local_copy("s3://bucket/large/maps.onnx").read_bytes() == data
    assert s3.requests["GET"] == 2


def test_a_model_that_is_replaced_while_it_is_copied_is_refused(
    s3: Proxy, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(copies, "_WHOLE", 1)
    place = open_sink("s3://bucket/replaced")
    place.commit("maps.onnx", b"first")
    copyfileobj = copies.shutil.copyfileobj

    def replaced(*arguments: object) -> None:
        copyfileobj(*arguments)  # type: ignore[arg-type]
        place.commit("maps.onnx", b"other")

    monkeypatch.setattr(copies.shutil, "copyfileobj", replaced)
    with pytest.raises(StorageError, match=r"maps\.onnx was replaced while it was copied: run again"):
        local_copy("s3://bucket/replaced/maps.onnx")
    assert not [file for file in cache.rglob("*") if file.is_file()]


def test_where_there_is_no_model(s3: Proxy) -> None:
    open_sink("s3://bucket/nomodel").commit("config.toml", b"")
    for uri in ("s3://bucket/nomodel", "s3://bucket/nomodel/none.onnx", "s3://bucket/nowhere/at/all"):
        with pytest.raises(ModelFileError, match=rf"there is no model {uri}: give the address of"):
            local_copy(uri)


def test_a_cache_that_cannot_be_written(s3: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    open_sink("s3://bucket/nocache").commit("maps.onnx", b"x")
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"set TRANSLATEKIT_CACHE to a folder that may be written"):
        local_copy("s3://bucket/nocache/maps.onnx")
