"""The JSON file beside an engine: what it says, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from translatekit_tools.backends.tensorrt.cuda.driver import Gpu
from translatekit_tools.backends.tensorrt.engine_file import (
    check_gpu,
    check_tensorrt,
    header_path,
    read_engine,
    read_header,
    read_info,
    write_info,
)

from tests.tools.backends.tensorrt.engines import INFO, write_engine
from translatekit.errors import ModelFileError

REBUILD = "translatekit compile runs/maps -o {path} --force --precision fp16 --batch 1,2,4 --shapes 8x8,16x12"


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    return write_engine(tmp_path / "maps.engine")


def gpu(name: str = "Stub 0", compute_capability: str = "9.0") -> Gpu:
    return Gpu(0, name, compute_capability, 2**30, "13.0")


def test_what_was_written_is_read(engine: Path) -> None:
    header = read_header(engine)
    assert header.info == INFO
    assert [str(profile) for profile in header.profiles] == ["8x8", "16x12"]
    assert header.profiles[0].maximum == (4, 8, 8)
    assert read_engine(engine, header) == engine.read_bytes()
    check_gpu(engine, header, gpu())
    check_tensorrt(engine, header, "10.16.1.11")


def test_the_models_header_can_be_replaced(engine: Path) -> None:
    before = read_header(engine)
    write_info(engine, dataclasses.replace(INFO, step=7))
    assert read_info(engine).step == 7
    assert dataclasses.replace(read_header(engine), info=INFO) == before
    assert read_engine(engine, before) == engine.read_bytes()


def test_it_is_built_again_in_place_and_with_the_same_ends(tmp_path: Path) -> None:
    for dtype in ("uint8", "float32"):
        path = write_engine(tmp_path / f"{dtype}.engine", dtype=dtype)
        command = read_header(path).rebuild(path)
        assert " --force " in command
        assert (" --dtype float32 " in command) == (dtype == "float32")


def test_the_engine_stays_raw(engine: Path) -> None:
    assert json.loads(engine.read_bytes()).keys() == {"profiles"}
    assert header_path(engine).name == "maps.engine.json"


def test_a_missing_json_file_is_told(engine: Path) -> None:
    header_path(engine).unlink()
    with pytest.raises(ModelFileError, match=r"has no maps\.engine\.json beside it.*compile MODEL -o "):
        read_header(engine)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: json.dumps({**json.loads(text), "gpu": 7}),
        lambda text: json.dumps({**json.loads(text), "profiles": []}),
        lambda text: json.dumps({**json.loads(text), "profiles": [{"minimum": [1, 2]}]}),
        lambda text: json.dumps({key: value for key, value in json.loads(text).items() if key != "sha256"}),
        lambda text: json.dumps({**json.loads(text), "translatekit": {"no": "header"}}),
    ],
)
def test_a_damaged_json_file_is_told(engine: Path, damage: Callable[[str], str]) -> None:
    beside = header_path(engine)
    beside.write_text(damage(beside.read_text()))
    with pytest.raises(ModelFileError, match="cannot be understood"):
        read_header(engine)


def test_another_engine_is_refused(engine: Path, tmp_path: Path) -> None:
    header = read_header(engine)
    engine.write_bytes(engine.read_bytes() + b" ")
    with pytest.raises(
        ModelFileError, match=r"is not the engine that maps\.engine\.json describes"
    ) as caught:
        read_engine(engine, header)
    assert REBUILD.format(path=engine) in str(caught.value)
    engine.unlink()
    with pytest.raises(ModelFileError, match="there is no engine"):
        read_engine(engine, header)


@pytest.mark.parametrize("other", [gpu("Stub 1"), gpu(compute_capability="8.6")])
def test_another_gpu_is_refused(engine: Path, other: Gpu) -> None:
    with pytest.raises(ModelFileError, match=r"was built on Stub 0 \(compute capability 9\.0\)") as caught:
        check_gpu(engine, read_header(engine), other)
    assert f"{other.name} (compute capability {other.compute_capability})" in str(caught.value)
    assert REBUILD.format(path=engine) in str(caught.value)


def test_another_tensorrt_is_refused(engine: Path) -> None:
    with pytest.raises(ModelFileError, match=r"by TensorRT 10\.16\.1\.11 .* this one is 11\.4") as caught:
        check_tensorrt(engine, read_header(engine), "11.4.0.106")
    assert REBUILD.format(path=engine) in str(caught.value)
