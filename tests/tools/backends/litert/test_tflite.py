"""LiteRT files: a real one, which `compile` wrote, wherever LiteRT is; and new ones, where the converter is."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from translatekit_tools.backends.batches import graph_dtypes
from translatekit_tools.backends.litert import compiler, tflite_file
from translatekit_tools.backends.options import CompileOptions
from translatekit_tools.bench import bench
from translatekit_tools.compile import compile_model
from translatekit_tools.compile.images import compiled_size
from translatekit_tools.compile.source import Source
from translatekit_tools.evaluate import evaluate

import translatekit
from tests.tools.compile.conftest import save_small
from translatekit.errors import DataError, ModelFileError, OptionError, TranslatekitError
from translatekit.images import encode_image, image_of
from translatekit.inference.tiles import TiledTranslator
from translatekit.model_file import read_any_info, read_info
from translatekit.model_info import ModelInfo
from translatekit.sizes import Size

HERE = Path(__file__).parent
TRAINED, FILE = HERE / "unet.safetensors", HERE / "unet.tflite"
"""A U-Net, and what ``compile --shapes 16x16,32x16`` made of it."""


def images(count: int = 2, height: int = 16, width: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_its_header_is_read_without_litert() -> None:
    code = (
        "import sys; from pathlib import Path; from translatekit.model_file import read_any_info\n"
        f"info = read_any_info(Path({str(FILE)!r}))\n"
        "assert info.compiled['shapes'] == ['16x16', '32x16'], info.compiled\n"
        "assert not {'torch', 'ai_edge_litert', 'flatbuffers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert read_any_info(FILE).generator_options == read_info(TRAINED).generator_options


@pytest.mark.parametrize("width", [16, 32])
def test_it_gives_what_the_network_gives(width: int) -> None:
    pytest.importorskip("ai_edge_litert")
    batch = images(3, 16, width)
    one, other = translatekit.load(FILE)(batch), translatekit.load(TRAINED, "cpu")(batch)
    assert one.shape == other.shape
    assert np.abs(one.astype(int) - other).max() <= 1
    assert one.std() > 10
    assert translatekit.load(FILE)(batch[:0]).shape == (0, 16, width, 3)


def test_other_sizes_are_refused_or_translated_in_tiles() -> None:
    pytest.importorskip("ai_edge_litert")
    translator = translatekit.load(FILE)
    with pytest.raises(DataError, match=r"takes images of 16x16 or 32x16 only, got 48x32: pass --size 16x16"):
        translator(images(1, 32, 48))
    tiled = TiledTranslator(translator, 16, 8)(images(1, 32, 48))
    trained = TiledTranslator(translatekit.load(TRAINED, "cpu"), 16, 8)(images(1, 32, 48))
    assert np.abs(tiled.astype(int) - trained).max() <= 2


def test_run_uses_it_without_torch(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    for number, size in enumerate(((16, 16), (30, 50))):
        data = encode_image(image_of(images(1, *size)[0]), ".png")
        (tmp_path / f"{number}.png").write_bytes(data)
    code = (
        "import sys, translatekit\n"
        f"done = translatekit.translate({str(tmp_path)!r}, {str(FILE)!r}, {str(tmp_path / 'out')!r}, size='16')\n"
        "assert (done.translated, done.failed) == (2, []), done\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "XNNPACK" not in done.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == 2


def test_evaluate_measures_it_as_the_network(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("torchmetrics")
    folder = tmp_path / "pairs/val"
    folder.mkdir(parents=True)
    for number, pair in enumerate(images(2, 16, 32)):
        (folder / f"{number}.png").write_bytes(encode_image(image_of(pair), ".png"))
    data, names = tmp_path / "pairs", ("l1", "psnr")
    made = evaluate(FILE, data, compare=[TRAINED], dataset="aligned", size=16, metrics=names, device="cpu")
    one, other = (model.metrics for model in made.models)
    for name in names:
        assert one[name].value == pytest.approx(other[name].value, abs=0.01)


def test_bench_times_it_on_the_runtime_that_runs_it() -> None:
    pytest.importorskip("ai_edge_litert")
    (row,) = bench(FILE, images=1, rounds=1)
    assert (row.backend, row.precision, row.problem) == ("litert", "fp32", None)
    assert row.alone is not None
    assert row.alone.median > 0


def test_devices_and_precisions_that_it_has_not_are_refused() -> None:
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(OptionError, match="run on the CPU here, not on 'cuda': pass --device cpu"):
        translatekit.load(FILE, "cuda")
    with pytest.raises(OptionError, match="was compiled for fp32, not int8"):
        translatekit.load(FILE, precision="int8")


def test_another_header_changes_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    path = tmp_path / "other.tflite"
    shutil.copy(FILE, path)
    header = ModelInfo.from_json(read_any_info(FILE).to_json().replace('"pix2pix"', '"another"'), path)
    for _ in range(2):
        tflite_file.write_info(path, header)
        assert read_any_info(path).method == "another"
    assert path.stat().st_size < FILE.stat().st_size + 4096
    np.testing.assert_array_equal(translatekit.load(path)(images()), translatekit.load(FILE)(images()))


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    model = tflite_file.unpack(FILE.read_bytes())
    largest = max(model.buffers, key=lambda buffer: 0 if buffer.data is None else len(buffer.data))
    largest.data = np.frombuffer(np.full(len(largest.data) // 4, np.nan, np.float32).tobytes(), np.uint8)
    path = tmp_path / "nan.tflite"
    path.write_bytes(tflite_file.pack(model))
    with pytest.raises(ModelFileError, match="its weights are not all finite"):
        translatekit.load(path)


def test_damaged_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    data, path = FILE.read_bytes(), tmp_path / "damaged.tflite"
    sentences = []
    for seed in range(300):
        draw = random.Random(seed)
        changed = bytearray(data)
        for _ in range(draw.choice((1, 4, 16))):
            # Offsets and lengths stand everywhere; those of the root decide most.
            changed[draw.randrange(draw.choice((64, 1024, len(changed))))] = draw.randrange(256)
        path.write_bytes(changed[: draw.choice((len(changed), draw.randrange(len(changed))))])
        try:
            tflite_file.read_info(path)
            tflite_file.check_weights(path)
        except TranslatekitError as error:
            sentences.append(str(error))
    assert len(sentences) > 100
    assert all("damaged.tflite" in sentence and len(sentence) < 600 for sentence in sentences)


def test_models_are_compared_at_a_size_that_they_take() -> None:
    info = ModelInfo(method="test", generator="unet", size=250, size_multiple=16)
    assert compiled_size(info, "any") is None
    assert compiled_size(info, ["64x64", "256x256"]) == Size(256, 256)
    assert compiled_size(info, "128x64") == Size(128, 64)
    assert compiled_size(info, ["16x16 to 512x512"]) == Size(256, 256)
    assert compiled_size(info, ["16x32 to 128x512"]) == Size(16, 32)


def test_a_new_file_says_the_dtype_of_its_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By which it is opened to be compared; the conversion itself is left out here."""
    monkeypatch.setattr(compiler, "_convert", lambda *_: FILE.read_bytes())
    monkeypatch.setattr(compiler, "version", lambda _: "1")
    for dtype in ("uint8", "float32"):
        out = tmp_path / f"{dtype}.tflite"
        compiler.compile(Source(TRAINED, dtype), out, CompileOptions(), lambda *_: None)
        assert graph_dtypes(tflite_file.read_info(out)) == (dtype, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_compile_writes_what_was_compared(norm: str, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    from translatekit.networks.resnet import ResNet
    from translatekit.networks.unet import UNet

    common = {"in_channels": 3, "out_channels": 3, "width": 4, "norm": norm}
    if norm == "instance":  # with an output padding, which LiteRT has not
        options = {**common, "blocks": 1}
        source = save_small(tmp_path / "a.safetensors", ResNet(**options), "resnet", "running", options)
        report = compile_model(source, tmp_path / "a.tflite", shapes="32x32,48x32")
        assert report.details["shapes"] == ["32x32", "48x32"]
        assert report.parity["psnr"] >= 70
    else:  # a normalization that is folded into transposed convolutions
        options = {**common, "depth": 3}
        source = save_small(tmp_path / "a.safetensors", UNet(**options), "unet", "running", options)
        report = compile_model(source, tmp_path / "a.tflite", precision="int8", shapes="32x32")
        assert report.details["calibration"]["images"] > 0
        assert 30 <= report.parity["psnr"] < 70
    assert report.parity == read_any_info(report.path).compiled["parity"]


def test_what_cannot_be_compiled_is_refused_before_minutes_are_spent(tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    out = tmp_path / "a.tflite"
    with pytest.raises(OptionError, match="has no bf16: pass --precision fp32, fp16 or int8"):
        compile_model(TRAINED, out, precision="bf16")
    with pytest.raises(OptionError, match="LiteRT takes single sizes and no ranges"):
        compile_model(TRAINED, out, shapes="16x16/32x32/64x64")
    with pytest.raises(OptionError, match=r"multiples of 8, got 20x20 in --shapes: pass --shapes 24x24"):
        compile_model(TRAINED, out, shapes="20x20")
    assert not out.exists()
