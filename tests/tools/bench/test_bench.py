"""The table of backends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from translatekit_tools.bench import (
    BenchOptions,
    Figure,
    Worker,
    _candidates,
    bench,
    compile_for,
    gather_files,
    worker,
)
from translatekit_tools.compile import compile_model

from tests.fakes import run_here
from translatekit import precision
from translatekit.errors import DataError, OptionError
from translatekit.image_spec import ImageSpec, labels_spec, levels_spec
from translatekit.images import fit_image, read_image
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.resnet import ResNet
from translatekit.precision import torch_speeds
from translatekit.sizes import Size

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    options = {"in_channels": 3, "out_channels": 3, "blocks": 1, "width": 4}
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    info = ModelInfo(
        method="pix2pix", generator="resnet", generator_options=options, size=32, size_multiple=4
    )
    save_model(path, ResNet(3, 3, blocks=1, width=4).state_dict(), info)
    return path


def test_a_row_for_each_that_can_be_measured_and_a_reason_for_the_others(model: Path) -> None:
    rows = bench(model, images=6, rounds=2, only="torch:fp32,onnxruntime:fp32,onnxruntime:int8", device="cpu")
    by_name = {f"{row.backend} {row.precision}": row for row in rows}
    assert set(by_name) == {"torch fp32", "onnxruntime fp32", "onnxruntime int8"}
    for row in (by_name["torch fp32"], by_name["onnxruntime fp32"]):
        assert row.problem is None
        assert row.alone is not None
        assert row.end_to_end is not None
        assert row.ratio is not None
        assert row.alone.low <= row.alone.median <= row.alone.high
        assert row.end_to_end.median > 0
        assert row.peak_memory is not None
        assert row.peak_memory > 10 * 2**20
    assert by_name["onnxruntime fp32"].parity["psnr"] >= 70
    assert "int8 is compiled for OpenVINO" in str(by_name["onnxruntime int8"].problem)


def test_as_json(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked = ["--images", "3", "--rounds", "1", "--json", "--only", "onnxruntime:fp32"]
    assert run_here("bench", str(model), *asked) == 0
    (row,) = json.loads(capfd.readouterr().out)
    assert row["backend"] == "onnxruntime"
    assert row["alone"]["median"] > 0


def test_what_is_slow_here_is_measured_where_it_is_named(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(precision, "_MEASURED", {})
    seconds = torch_speeds().seconds
    (file,) = (tmp_path / "speeds").iterdir()  # what the processes that measure will read
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "seconds": {**seconds, "bf16": 43 * seconds["fp32"]}}))
    given = {"images": 3, "rounds": 1, "device": "cpu"}
    rows = {f"{row.backend} {row.precision}": row for row in bench(model, only="torch", **given)}
    assert rows["torch fp32"].alone is not None
    problem = str(rows["torch bf16"].problem)
    assert problem.startswith("bf16 takes 43 times as long as fp32 on this processor")
    assert problem.endswith(", and is measured where --only torch:bf16 names it")
    assert "needs a GPU" in str(rows["torch fp16"].problem)
    assert "does not translate in int8" in str(rows["torch int8"].problem)
    (named,) = bench(model, only="torch:bf16", **given)
    assert named.alone is not None
    assert named.notes[0].startswith("bf16 takes 43 times as long")


def test_what_there_is_not_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="there is no backend and precision abacus:fp32"):
        bench(model, only="abacus:fp32")
    with pytest.raises(DataError, match="check --data"):
        bench(model, data=tmp_path / "none", only="torch:fp32")


def test_of_a_compiled_file_too_only_what_is_named_is_measured(model: Path, tmp_path: Path) -> None:
    compiled = tmp_path / "model.onnx"
    compile_model(model, compiled)
    assert ("openvino", "fp32", True) in [*_candidates(compiled, None)]
    for only in ("onnxruntime", "onnxruntime:fp32"):
        assert [*_candidates(compiled, only)] == [("onnxruntime", "fp32", True)]
    with pytest.raises(OptionError, match="--only onnxruntime:fp16 names nothing"):
        bench(compiled, only="onnxruntime:fp16", images=1)


def test_a_measuring_process_that_died_is_told_and_ends() -> None:
    worker = Worker([sys.executable, "-c", ""])
    worker._process.wait()
    with pytest.raises(DataError, match="the measuring process ended early"):
        worker.ask("alone")
    worker.close()


def test_a_figure_is_a_median_with_quartiles() -> None:
    assert Figure.of([5.0]) == Figure(median=5.0, low=5.0, high=5.0)
    assert Figure.of([1.0, 2.0, 3.0, 4.0, 5.0]) == Figure(median=3.0, low=2.0, high=4.0)


def test_an_engine_is_not_built_to_be_measured_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def find_gpus() -> list[object]:
        raise OptionError("there is no NVIDIA driver here: use another machine")

    monkeypatch.setattr("translatekit_tools.backends.tensorrt.cuda.driver.find_gpus", find_gpus)
    monkeypatch.setattr("translatekit.specs.Spec.missing", lambda self: [])
    with pytest.raises(OptionError, match="no NVIDIA driver"):
        compile_for(tmp_path / "a.safetensors", "tensorrt", "fp16", tmp_path, tmp_path)


@pytest.mark.parametrize(
    "spec",
    [
        levels_spec(5, "uint16"),
        levels_spec(2).with_range(-40, 40),
        labels_spec((0, 7, 9)),
    ],
)
def test_drawn_files_are_what_the_model_takes(tmp_path: Path, spec: ImageSpec) -> None:
    info = ModelInfo(method="test", generator="none", input=spec, size=32, size_multiple=8)
    gather_files(tmp_path / "files", BenchOptions(images=3), Size(32, 32), info)
    files = sorted((tmp_path / "files").iterdir())
    assert len(files) == 3
    for file in files:
        fitted = fit_image(read_image(file), spec, str(file))
        assert fitted.shape == (32, 32, spec.count)


def test_files_keep_a_suffix_of_two_parts(tmp_path: Path) -> None:
    (tmp_path / "volumes").mkdir()
    (tmp_path / "volumes" / "a.NII.gz").touch()
    gather_files(tmp_path / "files", BenchOptions(data=str(tmp_path / "volumes"), images=2), Size(32, 32))
    assert sorted(file.name for file in (tmp_path / "files").iterdir()) == ["00000.nii.gz", "00001.nii.gz"]


def test_alone_a_file_counts_once_however_many_images_it_holds(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [Image.new("RGB", (32, 32), (number, 0, 0)) for number in range(5)]
    (tmp_path / "files").mkdir()
    for name in ("a", "b"):
        pages[0].save(tmp_path / f"files/{name}.tif", save_all=True, append_images=pages[1:])
    request = {"model": str(model), "backend": None, "device": "cpu", "precision": "fp32", "batch_size": None}
    measurement = worker.Measurement({**request, "files": str(tmp_path / "files")})
    measurement.record()
    assert sum(map(len, measurement.batches)) == 10
    monkeypatch.setattr(worker, "time", SimpleNamespace(perf_counter=iter((0.0, 1.0)).__next__))
    assert measurement.alone() == {"images_per_second": 2.0}


def test_a_backend_is_measured_on_what_its_own_compiler_makes(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where several compile to files of one suffix, the first by name would be taken for each of them."""

    def compiled(model: Path, out: Path, **options: object) -> None:
        raise OptionError(f"compiled by {options.get('backend')}: see")

    monkeypatch.setattr("translatekit_tools.compile.compile_model", compiled)
    with pytest.raises(OptionError, match="compiled by onnxruntime"):
        compile_for(model, "onnxruntime", "fp32", tmp_path, tmp_path)
