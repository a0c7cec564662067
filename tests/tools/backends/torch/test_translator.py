"""The torch backend: a contract that holds for every model file."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from translatekit_tools.backends.torch.translator import _WITHOUT_TF32, TorchTranslator, load
from translatekit_tools.deployable import Deployable

import translatekit
from translatekit.errors import DataError, ModelFileError, OptionError
from translatekit.image_spec import GRAY, ImageSpec, specs_of_8_bits
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import make_generator


def save(path: Path, generator: str = "unet", options: dict[str, Any] | None = None, **info: Any) -> Path:
    torch.manual_seed(0)
    options = {"depth": 6, "width": 4} if options is None else options
    made = ModelInfo(method="test", generator=generator, **info)
    channels = {"in_channels": made.in_channels, "out_channels": made.out_channels}
    network = make_generator(generator, options, **channels)
    info = {"norm_inference": "per_image", **info}
    save_model(
        path,
        network.state_dict(),
        ModelInfo(
            method="test",
            generator=generator,
            generator_options=network.arguments,  # type: ignore[arg-type]
            size_multiple=network.size_multiple,  # type: ignore[arg-type]
            **info,
        ),
    )
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model") / "model.safetensors")


def batch_of(count: int, height: int = 64, width: int = 128, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels), np.uint8)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())


class Overflows(nn.Module):
    """Gives NaN where an image is white, as a network does that overflows on it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / (x.amin((1, 2, 3), keepdim=True) < 1).float()


LAB: dict[str, ImageSpec] = dict(zip(("input", "output"), specs_of_8_bits("lab", 1, 2), strict=True))


@pytest.mark.parametrize("specs", [{}, LAB], ids=["rgb", "lab"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_output_that_is_no_number_is_refused_and_not_black(specs: Any, dtype: Any) -> None:
    info = ModelInfo(method="x", generator="y", **specs)

    class Network(Overflows):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).expand(-1, info.out_channels, -1, -1)

    translator = TorchTranslator(Network(), info, torch.device("cpu"), torch.float32)
    image = np.zeros((1, 8, 8, info.in_channels), dtype)
    assert translator(image).shape == (1, 8, 8, 3)
    image[:] = 255 if dtype == np.uint8 else 1
    with pytest.raises(
        DataError, match="the output of y is not a finite number, which would be written as black"
    ):
        translator(image)


def test_an_image_that_overflows_fails_alone(tmp_path: Path) -> None:
    from PIL import Image
    from translatekit_tools.bulk import translate

    for name, level in (("black", 0), ("white", 255)):
        Image.new("RGB", (8, 8), (level,) * 3).save(tmp_path / f"{name}.png")
    translator = TorchTranslator(
        Overflows(), ModelInfo(method="x", generator="y"), torch.device("cpu"), torch.float32
    )
    summary = translate(tmp_path, translator, tmp_path / "out")
    assert [path.name for path in summary.outputs] == ["black.png"]
    assert [(path.name, "is not a finite number" in reason) for path, reason in summary.failed] == [
        ("white.png", True)
    ]
    assert not (tmp_path / "out" / "white.png").exists()


class Same(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_every_level_passes_through_unchanged() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    assert torch.equal(Deployable(Same())(levels), levels)
    fine = torch.linspace(0, 1, 65536).reshape(1, 256, 256, 1)
    assert torch.equal((Deployable(Same())(fine) * 65535).round(), (fine * 65535).round())


def test_values_beyond_the_range_are_clamped_not_wrapped() -> None:
    class Louder(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 3

    output = Deployable(Louder())(torch.tensor([0, 128, 255], dtype=torch.uint8).reshape(1, 1, 3, 1))
    assert output.flatten().tolist()[::2] == [0, 255]


def test_lab_without_colour_is_gray() -> None:
    class Colourless(nn.Module):
        def forward(self, lightness: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(lightness).repeat(1, 2, 1, 1)

    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    output = Deployable(Colourless(), **LAB)(levels)
    assert output.shape == (1, 16, 16, 3)
    assert difference(output.numpy(), levels.expand(-1, -1, -1, 3).numpy()) <= 1


def test_the_whole_model_exports_as_one_graph(model: Path) -> None:
    network, info = translatekit.load_network(model)
    deployable = Deployable(network, info.input, info.output).eval()
    x = torch.from_numpy(batch_of(1))
    exported = torch.export.export(deployable, (x,)).module()
    assert difference(exported(x).numpy(), deployable(x).detach().numpy()) <= 1


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.uint8, 1.0), (np.float32, 1e-4)])
@pytest.mark.parametrize("norm_inference", ["per_image", "running"])
def test_a_batch_gives_what_its_images_give(
    tmp_path: Path, dtype: type, tolerance: float, norm_inference: str
) -> None:
    translator = load(save(tmp_path / "model.safetensors", norm_inference=norm_inference), "cpu")
    batch = batch_of(4) if dtype is np.uint8 else (batch_of(4) / 255).astype(np.float32)
    together = translator(batch)
    assert (together.shape, together.dtype) == (batch.shape, batch.dtype)
    singles = np.concatenate([translator(batch[index : index + 1]) for index in range(4)])
    assert difference(together, singles) <= tolerance
    assert together.std() > 0


def test_eight_bits_and_float_agree(model: Path) -> None:
    translator, batch = load(model, "cpu"), batch_of(2)
    fine = translator((batch / np.float32(255)).astype(np.float32))
    assert difference(translator(batch), np.rint(fine * 255)) <= 1


def test_bfloat16_is_near_float32(model: Path) -> None:
    batch = batch_of(2)
    half = load(model, "cpu", "bf16")(batch)
    whole = load(model, "cpu", "fp32")(batch)
    assert half.dtype == np.uint8
    assert 0 < np.abs(half.astype(float) - whole.astype(float)).mean() < 3


def test_gray_and_lab_models(tmp_path: Path) -> None:
    gray = load(save(tmp_path / "gray.safetensors", input=GRAY, output=GRAY), "cpu")
    assert gray(batch_of(1, channels=1)).shape == (1, 64, 128, 1)
    lab = load(save(tmp_path / "lab.safetensors", **LAB), "cpu")
    assert lab(batch_of(1, channels=1)).shape == (1, 64, 128, 3)


def test_noise_depends_on_its_seed_and_on_nothing_else(model: Path) -> None:
    batch = batch_of(3)
    still, one, other = load(model, "cpu"), load(model, "cpu", noise=1), load(model, "cpu", noise=2)
    state = torch.get_rng_state()
    first = one(batch)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(one(batch[2:]), first[2:])
    assert difference(other(batch), first) > 0
    assert difference(still(batch), first) > 0
    np.testing.assert_array_equal(still(batch), still(batch))


def test_noise_needs_dropout(tmp_path: Path) -> None:
    path = save(tmp_path / "model.safetensors", options={"depth": 6, "width": 4, "dropout": 0.0})
    with pytest.raises(OptionError, match="no dropout"):
        load(path, "cpu", noise=1)


def test_devices_that_are_not_there_are_named(model: Path) -> None:
    for device in ("cuda:99", "tpu"):
        with pytest.raises(OptionError, match=rf"'{device}' is not available here: choose auto"):
            load(model, device)


def test_half_precision_needs_a_gpu(model: Path) -> None:
    with pytest.raises(OptionError, match="fp16 needs a GPU"):
        load(model, "cpu", "fp16")
    with pytest.raises(
        OptionError, match="does not translate in int4: pass --precision fp32, bf16, fp16, or compile"
    ):
        load(model, "cpu", "int4")


def test_a_model_from_noise_is_sent_to_sample(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, {}, ModelInfo(method="cgan", generator="dcgan", source="latent"))
    with pytest.raises(ModelFileError, match="use translatekit sample"):
        load(path, "cpu")


def test_arrays_that_do_not_fit_are_refused(model: Path) -> None:
    translator = load(model, "cpu")
    with pytest.raises(DataError, match="unet needs sides that are multiples of 64, got 50x40: pass"):
        translator(batch_of(1, 40, 50))
    for wrong in (batch_of(1)[0], batch_of(1, channels=1), batch_of(1).astype(np.int64)):
        with pytest.raises(DataError, match=r"takes uint8 or float32 arrays \(N, H, W, 3\)"):
            translator(wrong)


def test_the_public_api_opens_it(model: Path) -> None:
    translator = translatekit.load(model, "cpu")
    assert isinstance(translator, TorchTranslator)
    assert translator.info.size_multiple == 64
    assert translator.device == "cpu"


def test_too_little_memory_is_told(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = load(model, "cpu")

    def out_of_memory(*_: object) -> torch.Tensor:
        return torch.empty(2**60)  # what torch raises then is what is tested

    monkeypatch.setattr(translator._model.network, "forward", out_of_memory)
    with pytest.raises(DataError, match="do not fit into the memory of cpu: pass --tile below 128, --size"):
        translator(batch_of(1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_gives_what_the_cpu_gives(model: Path, precision: str) -> None:
    batch = batch_of(4)
    on_gpu = load(model, "cuda", precision)(batch).astype(float)
    assert np.abs(on_gpu - load(model, "cpu")(batch)).mean() < 3
    noisy = load(model, "cuda", precision, noise=3)
    assert difference(noisy(batch)[1:2], noisy(batch[1:2])) <= 1


def test_fp32_without_tf32_is_left_as_it_was_when_the_last_thread_leaves() -> None:
    def settings() -> list[str]:
        return [torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision]

    before = settings()
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    try:
        entered, leave, seen = threading.Event(), threading.Event(), []

        def other() -> None:
            with _WITHOUT_TF32:
                entered.set()
                leave.wait(10)
                seen.append(settings())

        thread = threading.Thread(target=other)
        with _WITHOUT_TF32:
            thread.start()
            assert entered.wait(10)
            assert settings() == ["ieee", "ieee"]
        leave.set()  # the first has left, the other computes
        thread.join()
        assert seen == [["ieee", "ieee"]]
        assert settings() == ["tf32", before[1]]
    finally:
        torch.backends.cudnn.conv.fp32_precision = before[0]
