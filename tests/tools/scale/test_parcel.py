"""A model comes to the nodes of a cluster with all that belongs to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from translatekit_tools.scale.parcel import Parcel


@pytest.mark.parametrize(
    ("name", "files", "left"),
    [
        ("maps.engine", ["maps.engine", "maps.engine.json", "maps.engine.onnx"], ["maps.onnx", "maps.bin"]),
        ("maps.engine", ["maps.engine", "maps.engine.json"], []),
        ("maps.XML", ["maps.XML", "maps.bin"], ["other.bin"]),
        ("maps.onnx", ["maps.onnx"], ["maps.bin"]),
        (
            "maps.mlpackage",
            ["maps.mlpackage/Manifest.json", "maps.mlpackage/Data/model.mlmodel"],
            ["maps.bin"],
        ),
    ],
)
def test_it_is_unpacked_with_what_belongs_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, files: list[str], left: list[str]
) -> None:
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    for each in (*files, *left):
        (tmp_path / "here" / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "here" / each).write_text(each)
    there = Parcel.of(tmp_path / "here" / name).unpack()
    assert there.name == name
    found = [path for path in there.parent.rglob("*") if path.is_file()]
    assert {path.relative_to(there.parent).as_posix(): path.read_text() for path in found} == {
        each: each for each in files
    }
