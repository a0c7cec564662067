"""UNSB does what its paper says, and its passes give the same whatever runs them and whatever lies beside an image."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import translatekit
from tests.training.killed import resumed_after_a_kill
from tests.training.test_loop import same
from translatekit.bridge import Bridge
from translatekit.errors import DataError, ModelFileError, OptionError
from translatekit.image_spec import GRAY, RGB, ImageSpec, levels_spec
from translatekit.images.codec import ValueCodec
from translatekit.inference.passes import from_network, network_noise, to_network, way_noise
from translatekit.inference.predictor import Predictor
from translatekit.model_file import read_info
from translatekit.model_info import ModelInfo
from translatekit.networks import Networks
from translatekit.testing import make_method
from translatekit.training.checkpoint import load_checkpoint

LR, BETAS, PATCHES, TEMPERATURE, STEPS, TAU = 2e-4, (0.5, 0.999), 5, 0.07, 3, 0.1
TIMES = (0.0, 1 / 2, 5 / 6)  # of three steps, by the authors' formula
SMALL: dict[str, Any] = {
    "generator_options": {"width": 4, "blocks": 2},
    "discriminator_options": {"width": 4, "layers": 2},
    "patches": PATCHES,
    "steps": STEPS,
    "tau": TAU,
}


def make(specs: tuple[ImageSpec, ImageSpec] = (RGB, RGB), **given: Any) -> Any:
    """The method with small networks, whose weights are large enough to tell pairs apart."""
    specs_by_side = dict(zip("AB", specs, strict=True))
    return make_method("unsb", images(0), specs=specs_by_side, **{**SMALL, "init_gain": 1.0, **given})


def images(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {side: torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1 for side in "AB"}


class PlainUNSB:
    """The algorithm of section 4, one image at a time: the way, and then each loss by its definition."""

    def __init__(self, G: Any, D: Any, E: Any, heads: nn.ModuleList) -> None:
        self.G, self.D, self.E, self.heads = G, D, E, heads
        self.optimizers = [torch.optim.Adam(net.parameters(), lr=LR, betas=BETAS) for net in (D, E, G, heads)]

    def g(self, x_t: Tensor, t: float, z: Tensor) -> Tensor:
        """Of one image."""
        time = torch.full((1, *x_t.shape[1:]), t)
        out: Tensor = self.G(torch.cat([x_t, time, z])[None])[0]
        return out

    def way(self, x: Tensor, i: int) -> tuple[Tensor, Tensor]:
        """Where the way of a batch has led at t_i, and where it ends as is seen from there."""
        t = [*TIMES, 1.0]
        with torch.no_grad():
            for j in range(i):
                z = torch.randn(len(x), 1, 32, 32)
                x_1 = torch.stack([self.g(image, t[j], noise) for image, noise in zip(x, z, strict=True)])
                s = (t[j + 1] - t[j]) / (1 - t[j])
                variance = s * (1 - s) * TAU * (1 - t[j])
                x = s * x_1 + (1 - s) * x + torch.randn(x.shape) * variance**0.5
        z = torch.randn(len(x), 1, 32, 32)
        return x, torch.stack([self.g(image, t[i], noise) for image, noise in zip(x, z, strict=True)])

    def judge(self, network: Any, image: Tensor, i: int) -> Tensor:
        out: Tensor = network(image[None], torch.tensor([i]))
        return out

    def information(self, x_t: Tensor, x_1: Tensor, i: int) -> tuple[Tensor, Tensor]:
        """Of pairs with themselves: E[T(p, p)] - log E[exp T(p, q)], and the second term."""
        pairs = [torch.cat([a, b]) for a, b in zip(x_t, x_1, strict=True)]
        others = [pairs[number - 1].roll((16, 16), (1, 2)) for number in range(len(pairs))]
        joint = [self.judge(self.E, torch.cat([p, p]), i).mean() for p in pairs]
        apart = [self.judge(self.E, torch.cat([p, q]), i) for p, q in zip(pairs, others, strict=True)]
        log_mean = torch.log(torch.exp(torch.cat(apart)).mean())
        return torch.stack(joint).mean() - log_mean, log_mean

    def encode(self, image: Tensor) -> list[Tensor]:
        """The image, and features at time 0 without noise: both strided convolutions, the first block."""
        maps, G = [image], self.G
        x = G.encoder[0](torch.cat([image, torch.zeros(1, 32, 32)])[None])
        for stage in (G.encoder[1], G.encoder[2]):
            maps.append(stage[0](x)[0])
            x = stage(x)
        maps.append(G.blocks[0](x, G.time(torch.zeros(1, 1)))[0])
        return maps

    def nce(self, outputs: Tensor, sources: Tensor, places: list[list[int]]) -> Tensor:
        terms: list[list[Tensor]] = [[] for _ in places]
        for output, source in zip(outputs, sources, strict=True):
            with torch.no_grad():
                keys = self.encode(source)
            for layer, (head, query_map, key_map) in enumerate(
                zip(self.heads, self.encode(output), keys, strict=True)
            ):
                chosen = places[layer]
                q = [nn.functional.normalize(head(query_map.flatten(1)[:, s]), dim=0) for s in chosen]
                k = [nn.functional.normalize(head(key_map.flatten(1)[:, s]), dim=0).detach() for s in chosen]
                for s, query in enumerate(q):
                    scores = torch.stack([query @ key / TEMPERATURE for key in k])
                    terms[layer].append(torch.logsumexp(scores, 0) - scores[s])
        return torch.stack([torch.stack(of_layer).mean() for of_layer in terms]).mean()

    def descend(self, loss: Tensor, *numbers: int) -> None:
        for number in numbers:
            self.optimizers[number].zero_grad()
        loss.backward()
        for number in numbers:
            self.optimizers[number].step()

    def step(self, x: Tensor, y: Tensor) -> dict[str, float]:
        i = int(torch.randint(STEPS, ()))
        x_t, x_1 = self.way(torch.cat([x, y]), i)
        place, end, end_y = x_t[: len(x)], x_1[: len(x)], x_1[len(x) :]
        fakes = [self.judge(self.D, image.detach(), i) for image in end]
        reals = [self.judge(self.D, image, i) for image in y]
        loss_D = (torch.cat(fakes).square().mean() + (torch.cat(reals) - 1).square().mean()) / 2
        self.descend(loss_D, 0)

        information, log_mean = self.information(place, end.detach(), i)
        loss_E = -information + log_mean**2
        self.descend(loss_E, 1)

        gan = torch.cat([(self.judge(self.D, image, i) - 1) ** 2 for image in end]).mean()
        entropy, _ = self.information(place, end, i)
        sb = TAU * ((place - end) ** 2).mean() - TAU * (1 - TIMES[i]) * entropy
        sizes = [feature.shape[1] * feature.shape[2] for feature in self.encode(x[0])]
        places = [torch.randperm(size)[:PATCHES].tolist() for size in sizes]
        nce, nce_y = self.nce(end, x, places) / 2, self.nce(end_y, y, places) / 2
        self.descend(gan + sb + nce + nce_y, 2, 3)
        found = {"G_GAN": gan, "SB": sb, "NCE": nce, "NCE_Y": nce_y, "E": loss_E}
        return {name: loss.item() for name, loss in found.items()}


def test_six_steps_are_those_of_a_plain_loop() -> None:
    method = make(layers="input,encoder.1.0,encoder.2.0,blocks.0")
    G, D, E, H = (copy.deepcopy(method.unwrapped[part]) for part in "GDEH")
    plain = PlainUNSB(G, D, E, H.heads)
    drawn = set()
    for number in range(6):
        batch = images(number)
        torch.manual_seed(number)
        drawn.add(int(torch.randint(STEPS, ())))
        torch.manual_seed(number)
        losses = method.step(batch)
        torch.manual_seed(number)
        expected = plain.step(batch["A"], batch["B"])
        for key, value in expected.items():
            assert float(losses[key]) == pytest.approx(value, rel=1e-3, abs=1e-5), (number, key)
    assert drawn == set(range(STEPS))  # ways of every length
    with torch.no_grad():
        x = torch.cat([images(9)["A"], torch.full((2, 2, 32, 32), 0.3)], dim=1)
        torch.testing.assert_close(method.unwrapped["G"](x), G(x), rtol=0, atol=1e-3)


def test_mutual_information_is_that_of_gaussians() -> None:
    """The estimate by the ratio of densities itself: of pairs with correlation r it is -log(1 - r^2) / 2."""
    from translatekit_unsb.method import mutual_information

    r = 0.8
    a, noise = torch.randn(2, 1, 1, 200, 200, generator=torch.Generator().manual_seed(0))
    b = r * a + (1 - r * r) ** 0.5 * noise
    log_ratio: Callable[[Tensor, Tensor], Tensor] = lambda a, b: (  # noqa: E731
        -0.5 * np.log(1 - r * r) - (r * r * (a * a + b * b) - 2 * r * a * b) / (2 * (1 - r * r))
    )
    estimate, partition = mutual_information(log_ratio(a, b), log_ratio(a, b.roll(1, -1)))
    assert float(estimate) == pytest.approx(-0.5 * np.log(1 - r * r), abs=0.02)
    assert float(partition) == pytest.approx(0, abs=0.02)


def test_the_last_step_of_a_bridge_ends_where_the_network_foresees() -> None:
    bridge = Bridge(times=(0.0, 0.25, 0.5, 0.7), tau=0.5, input=RGB, output=RGB)
    assert bridge.move(3) == (1.0, 0.0)
    share, deviation = bridge.move(1)  # from 1/4 to 1/2: a third of what is left
    assert share == pytest.approx(1 / 3)
    assert deviation**2 == pytest.approx(1 / 3 * 2 / 3 * 0.5 * 0.75)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 40])
def test_steps_are_as_long_as_those_of_the_authors(steps: int) -> None:
    from translatekit_unsb.method import harmonic_times

    def harmonic(count: int) -> Fraction:
        return sum((Fraction(1, number) for number in range(1, count + 1)), Fraction(0))

    half = Fraction(1, 2)
    later = [half + half * harmonic(k) / harmonic(steps - 1) for k in range(steps - 1)]
    assert harmonic_times(steps) == pytest.approx([float(time) for time in (0, *later)], abs=1e-12)
    Bridge.from_fields(Bridge(times=harmonic_times(steps), tau=0.1, input=RGB, output=RGB).to_fields())


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        ((GRAY, RGB), "which have 1 and 3 channels"),
        (
            (RGB, ImageSpec(channels=("class",), meaning="labels", levels=False, codec="onehot", ids=(0, 1))),
            "class",
        ),
    ],
)
def test_sides_without_a_way_between_them_are_refused(specs: Any, words: str) -> None:
    with pytest.raises(OptionError, match=f"unsb cannot go from A to B.*{words}"):
        make(specs)


def test_generators_get_what_they_take_alone() -> None:
    with pytest.raises(
        OptionError, match=r"'resnet' takes nothing beside the image, .* time and noise: pass "
    ):
        make(generator="resnet")
    factory = Networks(generator_name="bridge-resnet")
    with pytest.raises(
        OptionError, match=r"'bridge-resnet' takes time and noise beside the image, .* nothing: pass"
    ):
        factory.generator(in_channels=3, out_channels=3)


# A model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of training, with validation."""
    folder = tmp_path_factory.mktemp("unsb")
    write_data(folder / "data")
    return translatekit.train("unsb", folder / "data", output=folder / "run", **TRAINING, max_steps=2)


TRAINING: dict[str, Any] = {
    **SMALL,
    "load_size": None,
    "crop_size": 32,
    "epochs": 3,
    "epochs_decay": 0,
    "checkpoint_every": 1,
    "precision": "fp32",
}


def write_data(folder: Path) -> None:
    for side, level in (("trainA", 60), ("trainB", 190), ("valA", 60), ("valB", 190)):
        (folder / side).mkdir(parents=True)
        for number in range(2):
            noise = np.random.default_rng(number).integers(-40, 40, (32, 32, 3))
            Image.fromarray((level + noise).astype(np.uint8)).save(folder / side / f"{number}.png")


def picture(seed: int, height: int = 32, width: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def by_definition(run: Path, image: np.ndarray, passes: int, seed: int = 0) -> np.ndarray:
    """The passes over one image, in torch."""
    network, _ = translatekit.load_network(run)
    place = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
    height, width = image.shape[:2]
    with torch.no_grad():
        for step in range(passes):
            z = torch.from_numpy(network_noise(seed, step, height, width))[None, None]
            end = network(torch.cat([place, torch.full_like(z, TIMES[step]), z], dim=1))
            drawn = torch.from_numpy(way_noise(seed, step, height, width, 3)).permute(2, 0, 1)
            left, length = 1 - TIMES[step], (*TIMES, 1.0)[step + 1] - TIMES[step]
            s = length / left
            place = s * end + (1 - s) * place + (length * (1 - s) * TAU) ** 0.5 * drawn
    levels = ((end[0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(1, 2, 0).numpy()


def close(one: np.ndarray, other: np.ndarray) -> bool:
    """Up to a level, which rounding decides."""
    return one.shape == other.shape and int(np.abs(one.astype(int) - other.astype(int)).max()) <= 1


def test_its_header_is_of_a_pass_in_the_file_and_of_the_images_for_people(run: Path) -> None:
    inner, whole = read_info(run / "model.safetensors"), translatekit.read_info(run)
    assert inner.input.channels == ("red", "green", "blue", "time", "noise")
    assert (whole.input, whole.output) == (RGB, RGB)
    assert whole.bridge == Bridge(times=pytest.approx(TIMES), tau=TAU, input=RGB, output=RGB)
    assert ModelInfo.from_json(inner.to_json(), "x") == inner


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("times", [], r"its times cannot be \[\]"),
        ("times", [0, True], r"its times cannot be \[0, True\]"),
        ("times", [0, 0.5, 0.5], "its times cannot be"),
        ("times", [0.1, 0.5], "its times cannot be"),
        ("times", [0, 1], "its times cannot be"),
        ("tau", -1.0, "its tau cannot be -1"),
        ("input", {"channels": ["gray"], "meaning": "gray"}, "1 and 3 channels"),
        ("more", 1, "an unknown 'more'"),
    ],
)
def test_a_header_with_no_bridge_is_refused(run: Path, field: str, value: Any, words: str) -> None:
    fields = json.loads(read_info(run / "model.safetensors").to_json())
    fields["bridge"] = {**fields["bridge"], field: value}
    with pytest.raises(ModelFileError, match=words):
        ModelInfo.from_fields(fields, "x")


def test_a_header_of_another_pass_is_refused(run: Path) -> None:
    fields = json.loads(read_info(run / "model.safetensors").to_json())
    fields["bridge"] = Bridge(
        times=(0.0, 0.5), tau=0.1, input=levels_spec(2), output=levels_spec(2)
    ).to_fields()
    with pytest.raises(ModelFileError, match="is not that of a pass of its bridge"):
        ModelInfo.from_fields(fields, "x")


@pytest.mark.parametrize("passes", [1, 2, None])
def test_as_many_passes_are_run_as_are_asked_for(run: Path, passes: int | None) -> None:
    image = picture(0)
    output = translatekit.open(run, passes=passes).translate(image)
    assert close(output, by_definition(run, image, passes or STEPS))


def test_more_passes_than_trained_and_passes_of_other_models_are_refused(run: Path) -> None:
    with pytest.raises(
        OptionError, match="trained for 3 passes, and 4 are asked for: pass --passes with a number"
    ):
        translatekit.open(run, passes=4)
    other: Any = SimpleNamespace(info=ModelInfo(method="pix2pix", generator="unet"))
    with pytest.raises(OptionError, match="pix2pix model takes one pass for an image: leave out --passes"):
        Predictor(other, passes=2)


def test_an_image_does_not_depend_on_its_batch(run: Path) -> None:
    translator = translatekit.load(run)
    batch = np.stack([picture(number) for number in range(3)])
    together = translator(batch)
    for number in range(3):
        assert close(translator(batch[number : number + 1])[0], together[number])
    assert not close(together[0], together[1])


def test_noise_follows_the_seed(run: Path) -> None:
    translator: Any = translatekit.load(run)
    image = picture(0)
    first = translator(image[None])[0]
    translator.set_noise(1)
    assert close(translator(image[None])[0], by_definition(run, image, STEPS, seed=1))
    assert not close(translator(image[None])[0], first)


def test_each_pass_is_made_in_tiles(run: Path) -> None:
    """With fixed statistics of the whole image, and all but the whole image's noise."""
    image = picture(0, 96, 64)
    whole = translatekit.open(run).translate(image)
    tiled = translatekit.open(run, tile=64, overlap=48).translate(image)
    difference = np.abs(whole.astype(int) - tiled.astype(int))
    assert difference.mean() < 1.0
    assert translatekit.open(run, tile=64).tile == 64


def test_images_that_it_does_not_take_are_refused(run: Path) -> None:
    translator = translatekit.load(run)
    with pytest.raises(DataError, match=r"takes uint8 or float32 arrays \(N, H, W, 3\)"):
        translator(np.zeros((1, 32, 32, 5), np.float32))
    with pytest.raises(DataError, match="NaN"):
        translator(np.full((1, 32, 32, 3), np.nan, np.float32))


@pytest.mark.parametrize(
    "spec",
    [
        RGB,
        levels_spec(4),
        levels_spec(1).with_range(-100, 400),
        levels_spec(2).with_range((0, 1), (2, 5), clip=False),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_values_become_a_networks_as_in_torch(spec: ImageSpec, dtype: str) -> None:
    if dtype == "uint8" and not spec.levels:
        return
    random = np.random.default_rng(0)
    batch = random.integers(0, 256, (2, 5, 4, spec.count)).astype(dtype)
    batch = batch / np.float32(255) if dtype == "float32" and spec.levels else batch
    codec = ValueCodec(spec)
    encoded = codec.encode(torch.from_numpy(batch))
    np.testing.assert_allclose(to_network(batch, spec), encoded.permute(0, 2, 3, 1), atol=1e-5)
    values = random.uniform(-1.2, 1.2, batch.shape).astype(np.float32)
    tensor = torch.from_numpy(values).permute(0, 3, 1, 2)
    decoded = codec.decode(tensor, tensor, getattr(torch, dtype)).numpy()
    made = from_network(values, spec, np.dtype(dtype))
    assert made.dtype == decoded.dtype
    np.testing.assert_allclose(made.astype(float), decoded.astype(float), atol=1e-3)


# Elsewhere


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_what_is_compiled_is_one_pass_and_runs_all(run: Path, tmp_path: Path, suffix: str) -> None:
    compiled = tmp_path / f"model{suffix}"
    report = translatekit.compile(run, compiled)
    assert report.parity["psnr"] > 60
    image = picture(1)
    Image.fromarray(image).save(tmp_path / "in.png")
    for passes in (2, None):
        summary = translatekit.translate(
            tmp_path / "in.png", compiled, tmp_path / f"out{passes}", passes=passes, format="png"
        )
        assert not summary.failed
        output = np.asarray(Image.open(tmp_path / f"out{passes}" / "in.png"))
        assert close(output, by_definition(run, image, passes or STEPS))


def test_other_passes_are_another_result(run: Path, tmp_path: Path) -> None:
    Image.fromarray(picture(1)).save(tmp_path / "in.png")
    counts = [
        translatekit.translate(tmp_path / "in.png", run, tmp_path / "out", passes=passes).translated
        for passes in (1, 1, 2)
    ]
    assert counts == [1, 0, 1]


def test_models_and_checkpoints_are_evaluated_with_so_many_passes(run: Path) -> None:
    from translatekit_tools.evaluate.models import open_predictor
    from translatekit_tools.evaluate.options import EvaluateOptions

    checkpoint = max((run / "checkpoints").iterdir())
    image = picture(2)
    for path in (run, checkpoint):
        predictor = open_predictor(path, EvaluateOptions(passes=2, device="cpu"))
        assert close(predictor.translate(image), by_definition(run, image, 2))


def test_bench_and_paint_run_so_many_passes(run: Path, tmp_path: Path) -> None:
    from translatekit_tools.bench.worker import Measurement
    from translatekit_tools.paint.options import PaintOptions
    from translatekit_tools.paint.server import Limits, _open

    model = run / "model.safetensors"
    request = {"model": str(model), "device": "cpu", "precision": "fp32", "backend": "torch"}
    measured = Measurement({**request, "files": str(tmp_path), "batch_size": 1, "passes": 2})
    image = picture(3)
    assert close(measured.translator(image[None])[0], by_definition(run, image, 2))

    async def paint() -> np.ndarray:
        served = _open(model, None, PaintOptions(passes=2, device="cpu"), Limits(10**6, 10**6, 1))
        async with served.batcher as batcher:
            return (await batcher.translate(image)).pixels

    assert close(asyncio.run(paint()), by_definition(run, image, 2))


def test_an_image_larger_than_the_memory_is_refused(run: Path, tmp_path: Path) -> None:
    from translatekit_tools.bulk import large
    from translatekit_tools.bulk.options import RunOptions

    header = SimpleNamespace(width=99_999, height=99_999)
    predictor: Any = translatekit.open(run)
    with pytest.raises(DataError, match="the model takes several passes, each over the whole image"):
        large._check(tmp_path / "a.tif", tmp_path / "b.tif", header, predictor, RunOptions())  # type: ignore[arg-type]


def test_a_page_and_triton_are_refused_which_run_one_pass(run: Path, tmp_path: Path) -> None:
    from translatekit_tools.publish import publish

    for kind in ("page", "triton"):
        with pytest.raises(OptionError, match="takes several passes for an image, and"):
            publish(run, tmp_path / kind, kind=kind)


def test_no_student_learns_from_one_pass(run: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="a student learns from the network of one"):
        translatekit.train(
            "distill", run.parent / "data", output=tmp_path / "s", teacher=str(run / "model.safetensors")
        )


def test_a_run_that_is_killed_and_resumed_equals_one_that_was_not(run: Path, tmp_path: Path) -> None:
    again = resumed_after_a_kill("unsb", run.parent / "data", tmp_path / "run", **TRAINING, max_steps=2)
    whole, resumed = (load_checkpoint(folder / "checkpoints") for folder in (run, again))
    assert whole["networks"].keys() == set("GDEH")
    for part in ("networks", "optimizers"):
        assert same(whole[part], resumed[part])
