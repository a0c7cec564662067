"""Core ML packages: really converted; computed by their own program where Core ML is not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from translatekit_tools.backends.coreml import checker
from translatekit_tools.bench import bench
from translatekit_tools.compile import compile_model

import translatekit
from tests.fakes import run_program
from tests.tools.compile.conftest import save_small
from translatekit.errors import DataError, ModelFileError, OptionError
from translatekit.model_file import find_model, read_any_info

pytest.importorskip("coremltools")
pytest.importorskip("torch")
if sys.platform == "darwin":
    pytest.skip("there Core ML itself is what compares", allow_module_level=True)

OPTIONS: dict[str, Any] = {"in_channels": 3, "out_channels": 3, "blocks": 1, "width": 4, "norm": "instance"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from translatekit.networks.resnet import ResNet

    path = tmp_path_factory.mktemp("trained") / "small.safetensors"
    return save_small(path, ResNet(**OPTIONS), "resnet", "running", OPTIONS)


@pytest.fixture(scope="module")
def package(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compiled") / "small.mlpackage"
    report = compile_model(trained, path, shapes="48x32", precision="fp16")
    assert report.path == path
    assert report.bytes == sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path


def test_it_is_compared_by_its_own_program_and_says_so(package: Path) -> None:
    compiled = read_any_info(package).compiled
    assert 45 <= compiled["parity"]["psnr"] < 100
    assert compiled["checked"].startswith("not run by Core ML, which is on macOS only")
    assert (compiled["precision"], compiled["shapes"], compiled["dtype"]) == ("fp16", "48x32", "uint8")


def test_info_says_how_large_all_of_it_is(package: Path) -> None:
    size = sum(file.stat().st_size for file in package.rglob("*") if file.is_file())
    assert size > 50_000
    assert f"({size / 1e6:.1f} MB)" in run_program("info", str(package)).stdout


def test_phones_are_given_images(package: Path) -> None:
    import coremltools

    description = coremltools.utils.load_spec(str(package)).description
    (taken,), (given,) = description.input, description.output
    assert (taken.name, given.name) == ("image", "translated")
    for end in (taken, given):
        assert (end.type.imageType.width, end.type.imageType.height) == (48, 32)


def test_another_size_needs_another_package(package: Path) -> None:
    translator, _ = checker.load(package, "cpu")
    with pytest.raises(DataError, match=r"--size 48x32 or --tile, or compile it again with --shapes 64x64$"):
        translator(np.zeros((1, 64, 64, 3), np.uint8))


def test_its_header_is_read_without_coremltools(package: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from translatekit.model_file import find_model, read_any_info\n"
        f"info = read_any_info(find_model(Path({str(package)!r})))\n"
        "assert info.generator == 'resnet'\n"
        "assert not {'torch', 'coremltools', 'google.protobuf'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_here_it_is_not_run_but_named(package: Path) -> None:
    assert find_model(package) == package
    with pytest.raises(
        OptionError, match="run by Core ML, which is on macOS and iOS only: compile the model to"
    ):
        translatekit.load(package)


def _zeroed(data: np.ndarray) -> None:
    """Set all weights to 0. A record is (mark, type, bytes, place) in 64 bytes; records begin at multiples of 64."""
    words = data[: data.size // 64 * 64].view(np.uint64).reshape(-1, 8)
    for record in words[(words[:, 0] & 0xFFFFFFFF) == 0xDEADBEEF]:
        size, place = int(record[1]), int(record[2])
        data[place : place + size] = 0


def _scrambled(data: np.ndarray) -> None:
    """Change what says where weights are."""
    data[data.size // 2 :: 7] ^= 0x10


@pytest.mark.parametrize(
    ("damage", "said"),
    [(_zeroed, "other.mlpackage was not written: at fp16"), (_scrambled, "cannot be read back")],
)
def test_weights_that_were_changed_are_not_written(
    damage: Any, said: str, trained: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from translatekit_tools.backends.coreml import checker

    def damaged(path: Path, device: str) -> Any:
        (weights,) = path.rglob("weight.bin")
        data = np.fromfile(weights, np.uint8)
        damage(data)
        data.tofile(weights)
        return load(path, device)

    load = checker.load
    monkeypatch.setattr(checker, "load", damaged)
    monkeypatch.setattr(
        "translatekit_tools.backends.coreml.compiler.compile", lambda *_: _copied(package, *_)
    )
    with pytest.raises(ModelFileError, match=said):
        compile_model(trained, tmp_path / "other.mlpackage", shapes="48x32", precision="fp16")
    assert not list(tmp_path.iterdir())


def _copied(package: Path, source: Any, out: Path, *_: Any) -> dict[str, Any]:
    shutil.copytree(package, out)
    compiled = read_any_info(package).compiled
    return {name: compiled[name] for name in ("backend", "precision", "dtype", "shapes", "versions")}


def test_a_package_is_replaced_whole_or_not_at_all(
    trained: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "translatekit_tools.backends.coreml.compiler.compile", lambda *_: _copied(package, *_)
    )
    out = tmp_path / "other.mlpackage"
    out.mkdir()
    (out / "mine").write_text("kept until it may go")
    with pytest.raises(OptionError, match="exists already and is not overwritten: pass --force"):
        compile_model(trained, out, precision="fp16")
    assert (out / "mine").exists()
    compile_model(trained, out, precision="fp16", force=True)
    assert read_any_info(out).generator == "resnet"
    assert [path.name for path in tmp_path.iterdir()] == ["other.mlpackage"]
    assert not (out / "mine").exists()


def test_bench_leaves_it_out_before_anything_is_compiled(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "translatekit_tools.compile.compile_model", lambda *_, **__: pytest.fail("it was compiled")
    )
    rows = bench(trained, images=1, rounds=1, only="coreml")
    assert {row.backend for row in rows} == {"coreml"}
    assert all("run by Core ML, which is on macOS and iOS only" in str(row.problem) for row in rows)


@pytest.mark.parametrize("command", ["run", "evaluate"])
def test_commands_refuse_it_in_a_sentence(command: str, package: Path, tmp_path: Path) -> None:
    from PIL import Image

    data = tmp_path / "data"
    data.mkdir()
    Image.new("RGB", (96, 32)).save(data / "0.png")
    arguments = {
        "run": [str(data), "--model", str(package), "-o", str(tmp_path / "out")],
        "evaluate": [str(package), str(data)],
    }[command]
    done = subprocess.run(
        [sys.executable, "-m", "translatekit", command, *arguments], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "is run by Core ML, which is on macOS and iOS only" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("out/*.png"))


def test_damaged_packages_are_refused(package: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.mlpackage"
    shutil.copytree(package, path)
    (model,) = path.rglob("*.mlmodel")
    whole = model.read_bytes()
    for length in (0, 1, len(whole) // 2):
        model.write_bytes(whole[:length])
        with pytest.raises(ModelFileError, match=r"damaged.mlpackage"):
            read_any_info(path)
    manifest = json.loads((path / "Manifest.json").read_text())
    for entry in manifest["itemInfoEntries"].values():
        entry["path"] = "../../../etc/passwd"
    (path / "Manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelFileError, match="is no Core ML package, or damaged"):
        read_any_info(path)


def test_what_cannot_be_written_is_refused(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mlpackage"
    with pytest.raises(OptionError, match="in fp32 or fp16, not in int8"):
        compile_model(trained, out, precision="int8")
    with pytest.raises(OptionError, match="compiled for one size, got 32x32, 64x64"):
        compile_model(trained, out, shapes="32x32,64x64")
    with pytest.raises(OptionError, match="would be a folder, which is written to a local path only"):
        compile_model(trained, "memory://somewhere/a.mlpackage")
    assert not list(tmp_path.iterdir())
