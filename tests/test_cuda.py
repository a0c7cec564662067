"""What holds on a CUDA GPU: what the CPU gives, in every precision, and what happens where its memory ends.

Nothing here is run where there is no GPU. ``TRANSLATEKIT_TEST_CUDA=1`` makes that a failure, for a machine that is to
have one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from translatekit_tools.backends.torch.translator import load

import translatekit
from translatekit.errors import DataError, TrainingError
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import make_generator

if not torch.cuda.is_available() and not os.environ.get("TRANSLATEKIT_TEST_CUDA"):
    pytest.skip("needs a CUDA GPU", allow_module_level=True)

DEVICE = "cuda" if torch.cuda.is_available() else "there is no CUDA GPU"
GENERATORS: dict[str, dict[str, Any]] = {
    "unet": {"depth": 6, "width": 16},
    "encoder_decoder": {"depth": 6, "width": 16},
    "resnet": {"blocks": 3, "width": 16},
    "timm_unet": {"encoder": "resnet18"},
}
LEAST_PSNR = {"fp32": 60.0, "fp16": 40.0, "bf16": 30.0}
"""dB against float32 on the CPU, with random weights, which are the worst."""

TINY: dict[str, Any] = {
    "dataset": "demo",
    "dataset_options": {"count": 8},
    "load_size": 70,
    "crop_size": 64,
    "generator_options": {"depth": 6, "width": 8},
    "discriminator_options": {"width": 8},
    "batch_size": 2,
    "workers": 0,
    "validate_every": 0,
    "seed": 3,
}


def save(path: Path, generator: str = "unet", **info: Any) -> Path:
    torch.manual_seed(0)
    network = make_generator(generator, GENERATORS[generator], in_channels=3, out_channels=3)
    header = ModelInfo(
        method="test",
        generator=generator,
        generator_options=network.arguments,  # type: ignore[arg-type]
        size_multiple=network.size_multiple,  # type: ignore[arg-type]
        **{"norm_inference": "per_image", "size": 128, **info},
    )
    save_model(path, network.state_dict(), header)
    return path


def images(count: int, height: int = 128, width: int = 128) -> np.ndarray:
    """Smooth images, as photographs are."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(each).resize((width, height))) for each in coarse])


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """As if the GPU had 600 MB for tensors."""
    torch.cuda.empty_cache()
    share = 600e6 / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(share)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


@pytest.mark.parametrize("norm", ["per_image", "running"])
@pytest.mark.parametrize("precision", LEAST_PSNR)
@pytest.mark.parametrize("generator", GENERATORS)
def test_every_generator_gives_what_it_gives_on_the_cpu(
    generator: str, precision: str, norm: str, tmp_path: Path
) -> None:
    model = save(tmp_path / "model.safetensors", generator, norm_inference=norm)
    batch = images(4)
    expected = load(model, "cpu")(batch)
    got = load(model, DEVICE, precision)(batch)
    quality, furthest = psnr(got, expected), int(np.abs(got.astype(int) - expected).max())
    print(f"{generator} {norm} {precision}: {quality:.1f} dB, at most {furthest} of 255")
    assert quality >= LEAST_PSNR[precision]
    if precision == "fp32":
        assert furthest <= 1, "float32 is to mean float32 on every machine"


@pytest.mark.parametrize("precision", LEAST_PSNR)
def test_an_image_is_translated_alike_alone_and_among_others(precision: str, tmp_path: Path) -> None:
    translator = load(save(tmp_path / "model.safetensors"), DEVICE, precision)
    batch = images(5)
    apart = np.concatenate([translator(batch[index : index + 1]) for index in range(5)])
    quality = psnr(translator(batch), apart)
    print(f"{precision}: {quality:.1f} dB")
    assert quality >= LEAST_PSNR[precision]


@pytest.mark.parametrize("precision", LEAST_PSNR)
def test_batches_in_flight_give_what_one_at_a_time_gives(precision: str, tmp_path: Path) -> None:
    translator = load(save(tmp_path / "model.safetensors"), DEVICE, precision)
    batches = [images(count) for count in (1, 4, 3, 4, 2)]
    expected = [translator(batch) for batch in batches]
    again = [translator(batch) for batch in batches]
    futures = [translator.submit(batch) for batch in batches]
    got = [future.result() for future in futures]
    if all(map(np.array_equal, again, expected)):
        assert all(map(np.array_equal, got, expected))
    else:
        assert min(map(psnr, got, expected)) >= LEAST_PSNR[precision]


def test_a_batch_in_flight_that_is_no_number_is_told() -> None:
    from torch import nn
    from translatekit_tools.backends.torch.translator import CudaTranslator

    class Overflows(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / (x.amin((1, 2, 3), keepdim=True) < 1).float()

    info = ModelInfo(method="x", generator="y")
    translator = CudaTranslator(Overflows(), info, torch.device(DEVICE), torch.float32)
    white, black = (np.full((1, 8, 8, 3), level, np.uint8) for level in (255, 0))
    first, second = translator.submit(white), translator.submit(black)
    with pytest.raises(DataError, match="is not a finite number"):
        first.result()
    assert second.result().shape == (1, 8, 8, 3)


def test_tf32_stays_as_it_was(tmp_path: Path) -> None:
    before = torch.backends.cudnn.conv.fp32_precision
    load(save(tmp_path / "model.safetensors"), DEVICE)(images(1))
    assert torch.backends.cudnn.conv.fp32_precision == before


def test_in_tiles_as_whole(tmp_path: Path) -> None:
    model = save(tmp_path / "model.safetensors", norm_inference="running")
    Image.fromarray(images(1, 512, 768)[0]).save(tmp_path / "photo.png")
    made = []
    for name, options in (
        ("cpu", {"device": "cpu"}),
        ("whole", {"device": DEVICE}),
        ("tiled", {"device": DEVICE, "tile": 256}),
    ):
        summary = translatekit.translate([tmp_path / "photo.png"], model, tmp_path / name, **options)
        assert not summary.failed
        made.append(np.asarray(Image.open(next((tmp_path / name).rglob("*.png")))))
    assert psnr(made[1], made[0]) >= LEAST_PSNR["fp32"]
    assert psnr(made[2], made[0]) >= 35


def test_two_translators_and_several_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    first = load(save(tmp_path / "a.safetensors"), DEVICE, "fp16")
    second = load(save(tmp_path / "b.safetensors", "resnet"), DEVICE)
    batch = images(4)
    alone = first(batch), second(batch)

    def work(number: int) -> bool:
        return psnr((first, second)[number % 2](batch), alone[number % 2]) >= 50

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))


@pytest.mark.usefixtures("little_memory")
def test_a_batch_that_is_too_large_is_told_and_the_next_is_translated(tmp_path: Path) -> None:
    translator = load(save(tmp_path / "model.safetensors"), DEVICE)
    expected = translator(images(1))
    with pytest.raises(DataError, match=r"2000 of 128x128 pixels do not fit into the memory of cuda.*--tile"):
        translator(images(2000))
    assert psnr(translator(images(1)), expected) >= 50


@pytest.mark.usefixtures("little_memory")
def test_run_goes_on_with_fewer_images_at_once_and_fails_what_is_too_large_alone(tmp_path: Path) -> None:
    model = save(tmp_path / "model.safetensors")
    source = tmp_path / "in"
    source.mkdir()
    for index, pixels in enumerate(images(40, 512, 512)):  # 40 at once would take 2 GB
        Image.fromarray(pixels).save(source / f"{index:02}.png")
    Image.fromarray(images(1, 8192, 8192)[0]).save(source / "large.png")
    summary = translatekit.translate([source], model, tmp_path / "out", device=DEVICE, batch_size=40)
    print(summary.failed)
    assert summary.translated == 40
    ((name, reason),) = summary.failed
    assert Path(name).name == "large.png"
    assert "do not fit into the memory of cuda" in reason


@pytest.mark.usefixtures("little_memory")
def test_a_training_that_does_not_fit_says_what_would(tmp_path: Path) -> None:
    given = {**TINY, "batch_size": 8, "load_size": 1024, "crop_size": 1024, "generator_options": {"depth": 8}}
    with pytest.raises(TrainingError, match=r"memory of the device is too small.*--batch-size"):
        translatekit.train("pix2pix", output=str(tmp_path / "run"), max_steps=2, **given)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("method", ["pix2pix", "cyclegan"])
def test_what_was_trained_on_the_gpu_runs_on_the_cpu(method: str, precision: str, tmp_path: Path) -> None:
    given, data = dict(TINY), None
    if method == "cyclegan":
        data = tmp_path / "data"
        for side in ("trainA", "trainB"):
            (data / side).mkdir(parents=True)
            for index, pixels in enumerate(images(4)):
                Image.fromarray(pixels).save(data / side / f"{index}.jpg")
        given.update(dataset="unaligned", dataset_options={}, generator="unet")
    run = translatekit.train(
        method,
        data,
        output=str(tmp_path / "run"),
        max_steps=6,
        precision=precision,
        accelerator="cuda",
        **given,
    )
    batch = images(2, 64, 64)
    expected = translatekit.load(run, "cpu")(batch)
    assert np.isfinite(expected).all()
    assert expected.std() > 0
    assert psnr(translatekit.load(run, DEVICE)(batch), expected) >= LEAST_PSNR["fp32"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_run_that_was_killed_and_resumed_equals_one_that_was_not(precision: str, tmp_path: Path) -> None:
    """With cuDNN held to what it computes alike each time; then bit for bit."""

    def train(out: Path, *more: str, kill: bool = False) -> None:
        script = (
            "import os, sys, torch\n"
            "torch.backends.cudnn.deterministic = True\n"
            "torch.use_deterministic_algorithms(True, warn_only=True)\n"
            "import translatekit.training.saving as saving, translatekit.training.loop as loop\n"
            "kept = loop.save\n"
            "def save(training):\n"
            "    kept(training)\n"
            "    if os.environ['KILL'] == '1' and training.progress.step >= 9:\n"
            "        os.kill(os.getpid(), 9)\n"
            "loop.save = save\n"
            "from translatekit.cli import main\n"
            "sys.exit(main())\n"
        )
        environment = {**os.environ, "KILL": str(int(kill)), "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
        command = [sys.executable, "-c", script, "train", *more]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == (-9 if kill else 0), done.stderr[-2000:]

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = (
        "pix2pix --dataset demo --dataset-option count=8 --load-size 70 --crop-size 64 -G depth=6 -G width=8 "
        "--batch-size 2 --workers 2 --seed 3 --max-steps 20 --checkpoint-every 3 --accelerator cuda "
        f"--precision {precision}"
    ).split()
    train(whole, *options, "-o", str(whole))
    train(killed, *options, "-o", str(killed), kill=True)
    train(killed, "--resume", str(killed))
    weights = [load_file(run / "model.safetensors") for run in (whole, killed)]
    furthest = max(float((weights[1][name] - value).abs().max()) for name, value in weights[0].items())
    print(f"{precision}: weights differ by at most {furthest:g}")
    assert furthest == 0


def test_a_graph_compiled_beside_the_gpu_is_the_model(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    model = save(tmp_path / "model.safetensors")
    translatekit.compile(model, tmp_path / "model.onnx")
    batch = images(2)
    expected = load(model, DEVICE)(batch)
    assert psnr(translatekit.load(tmp_path / "model.onnx", "cpu")(batch), expected) >= LEAST_PSNR["fp32"]
