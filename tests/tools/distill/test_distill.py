"""Distillation as a user has it: tiny teachers and students on drawn images."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from translatekit_tools.distill import distill
from translatekit_tools.distill.candidates import candidate_of
from translatekit_tools.distill.driver import _check, _training, bytes_of, choose_inputs, seconds_of
from translatekit_tools.distill.method import Distill, _discriminator
from translatekit_tools.distill.options import CommandOptions
from translatekit_tools.evaluate import evaluate

import translatekit
from tests.fakes import run_here
from translatekit.config import RunConfig
from translatekit.datasets.demo import write_demo
from translatekit.errors import OptionError, TranslatekitError
from translatekit.image_spec import RGB, levels_spec
from translatekit.model_file import read_info, save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import Networks, make_generator
from translatekit.storage import hash_file
from translatekit.training.batches import collate
from translatekit.training.continued import ContinuedRun
from translatekit.training.sampling import EpochBatches
from translatekit.training.setup import build, make_fabric

QUICK: dict[str, Any] = {
    "budget": "2s",
    "rounds": 1,
    "max_images": 4,
    "targets": ("torch",),
    "precision": "fp32",
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a tiny resnet on a few drawn facades."""
    return translatekit.train(
        "pix2pix",
        None,
        generator="resnet",
        generator_options={"width": 8, "blocks": 2},
        discriminator_options={"width": 4, "layers": 1},
        dataset_options={"count": 6},
        load_size=32,
        crop_size=32,
        epochs=1,
        epochs_decay=0,
        precision="fp32",
        output=str(tmp_path_factory.mktemp("teacher") / "run"),
    )


@pytest.fixture(scope="module")
def small(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A student of it, with targets."""
    return distill(
        teacher,
        out=tmp_path_factory.mktemp("small") / "out",
        student={"width": 2, "blocks": 1},
        faster=1,
        min_psnr=1,
        **QUICK,
    )


def test_a_student_is_a_model_like_all_others(small: Any) -> None:
    row = next(row for row in small.rows if row.kind == "student")
    if small.model is None:  # so little was learned that L1 may be worse, and nothing else may be
        assert all("L1 to the targets" in text for text in row.shortcomings)
        pytest.skip("nothing was learned in two seconds")
    info = read_info(small.model)
    assert info.generator_options["width"] == 2
    assert info.distilled["summary"] == small.summary
    model = translatekit.open(small.model)
    image = np.zeros((32, 32, 3), np.uint8)
    assert model.translate(image).shape == (32, 32, 3)


def test_the_table_and_the_picture_show_teacher_and_student(small: Any) -> None:
    kinds = [row.kind for row in small.rows]
    assert kinds[:2] == ["teacher", "student"]
    student = small.rows[1]
    assert student.timings["torch fp32"].faster > 0
    assert {"l1", "psnr", "ssim"} <= student.to_teacher.keys()
    assert student.difference["l1"].value == pytest.approx(
        student.to_targets["l1"].value - small.rows[0].to_targets["l1"].value
    )
    verdict = json.loads((small.folder / "verdict.json").read_text())
    assert verdict["rows"][1]["to_targets"]["l1"]["value"] == pytest.approx(student.to_targets["l1"].value)
    page, picture = small.page.read_text(), small.picture.read_text()
    assert picture.startswith("<svg")
    assert "blocks 1, width 2" in picture
    assert "PSNR to teacher" in page


def test_the_teachers_discriminator_goes_on(teacher: Path, tmp_path: Path) -> None:
    out = translatekit.train(
        "distill",
        None,
        dataset="demo",
        dataset_options={"count": 4},
        teacher=str(teacher / "model.safetensors"),
        generator_options={"width": 2, "blocks": 1},
        discriminator_options={"width": 4, "layers": 1},
        lambda_gan=1.0,
        lr=1e-9,
        load_size=32,
        crop_size=32,
        max_steps=1,
        validate_every=0,
        precision="fp32",
        output=str(tmp_path / "run"),
    )
    states = [
        torch.load(sorted((run / "checkpoints").glob("*.pt"))[-1], weights_only=True)["networks"]
        for run in (teacher, out)
    ]
    assert states[1].keys() == {"G", "D", "adaptors"}
    for name, tensor in states[0]["D"].items():
        if "running" in name or "num_batches" in name:  # which change with every batch that is seen
            continue
        assert torch.allclose(states[1]["D"][name], tensor, atol=1e-3), name


def test_the_discriminator_is_the_one_that_faces_the_teacher(tmp_path: Path) -> None:
    """D_A judges images of B, which AtoB makes; D_B those of BtoA."""
    judge = {"width": 4, "layers": 1, "norm": "instance"}
    run = translatekit.train(
        "cyclegan",
        write_demo(tmp_path / "data", count=2, size=32),
        generator_options={"width": 2, "blocks": 1},
        discriminator_options=judge,
        load_size=32,
        crop_size=32,
        max_steps=1,
        precision="fp32",
        output=str(tmp_path / "run"),
    )
    states = checkpoint(run)["networks"]
    networks = Networks(generator_name="resnet", discriminator_name="patch", discriminator_options=judge)
    for direction, file, facing in (("AtoB", "model", "D_A"), ("BtoA", "model-BtoA", "D_B")):
        made, conditional = _discriminator(networks, 3, 3, str(run / f"{file}.safetensors"), direction)
        assert not conditional
        assert all(torch.equal(states[facing][key], value) for key, value in made.state_dict().items()), (
            direction
        )


def test_inputs_alone_are_enough_and_a_student_that_falls_short_is_not_called_one(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, _ = write_demo(tmp_path / "data", count=4, size=32)
    command = (
        f"distill {teacher} {inputs} -o {tmp_path / 'out'} --faster 1 --min-psnr 99 --budget 1s --for torch"
    )
    options = "--precision fp32 -S width=2 -S blocks=1 --rounds 1 --crop-size 32"
    assert run_here(*command.split(), *options.split()) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "without targets" in said
    assert re.search(
        r"falls short: its outputs are [\d.]+ dB from its teacher's, and 99 were asked for", said
    )
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert list((tmp_path / "out" / "students").glob("*/model.safetensors"))


def test_what_was_begun_is_gone_on_with(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from translatekit_tools.distill import driver

    def stopped(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(driver, "conclude", stopped)
        with pytest.raises(KeyboardInterrupt):
            distill(teacher, out=out, student={"width": 2, "blocks": 1}, faster=1, **QUICK)
    before = read_info(next(out.glob("students/*/model.safetensors")))
    with pytest.raises(OptionError, match="exists already"):
        distill(teacher, out=out, **QUICK)
    made = distill(out=out, resume=True)
    assert made.trained["steps"] == before.step
    log = (next(out.glob("students/*")) / "metrics.jsonl").read_text().splitlines()
    assert made.trained["seconds"] == json.loads(log[-1])["seconds"]  # those of before, too
    assert (out / "verdict.json").is_file()


def test_all_steps_are_done_though_images_are_left_over_in_each_epoch(teacher: Path, tmp_path: Path) -> None:
    """Of six images, batches of four are one an epoch."""
    student = {"width": 2, "blocks": 1}
    made = distill(teacher, out=tmp_path / "out", student=student, faster=1, batch_size=4, **QUICK)
    (model,) = made.folder.glob("students/*/model.safetensors")
    assert read_info(model).step == made.trained["steps"]


def test_images_and_teacher_in_a_store_are_gone_on_with(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from translatekit_tools.distill import driver

    def stopped(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    inputs, _ = write_demo(tmp_path / "data", count=4, size=32)
    store = fsspec.filesystem("memory")
    store.put(str(inputs), f"/{tmp_path.name}/inputs", recursive=True)
    store.put(str(teacher / "model.safetensors"), f"/{tmp_path.name}/model.safetensors")
    model, data = (f"memory://{tmp_path.name}/{name}" for name in ("model.safetensors", "inputs"))
    more: dict[str, Any] = {"student": {"width": 2, "blocks": 1}, "faster": 1, "crop_size": 32}
    with monkeypatch.context() as patched:
        patched.setattr(driver, "_train", stopped)
        with pytest.raises(KeyboardInterrupt):
            distill(model, data, tmp_path / "out", **more, **QUICK)
    assert distill(out=tmp_path / "out", resume=True).images


@pytest.mark.parametrize("flip", [True, False])
def test_images_are_mirrored_where_the_teachers_were(teacher: Path, tmp_path: Path, flip: bool) -> None:
    run = Path(shutil.copytree(teacher, tmp_path / "run"))
    config = (run / "config.toml").read_text()
    assert "\nflip = true\n" in config
    (run / "config.toml").write_text(config.replace("\nflip = true\n", f"\nflip = {str(flip).lower()}\n"))
    path, options = run / "model.safetensors", CommandOptions()
    info = read_info(path)
    inputs = choose_inputs(path, info, None, options)
    item = candidate_of(info.generator, {**info.generator_options, "width": 2}, info.generator_options, 32)
    assert _training(path, info, inputs, options, item, 1, 1)["flip"] == flip


@pytest.mark.parametrize("method", ["pix2pix", "cyclegan"])
def test_a_run_on_two_folders_is_gone_on_with_on_both(method: str, tmp_path: Path) -> None:
    run = translatekit.train(
        method,
        write_demo(tmp_path / "data", count=4, size=32),
        generator="resnet",
        generator_options={"width": 4, "blocks": 1},
        discriminator_options={"width": 4, "layers": 1},
        load_size=32,
        crop_size=32,
        max_steps=1,
        precision="fp32",
        output=str(tmp_path / "run"),
    )
    made = distill(run, out=tmp_path / "out", student={"width": 2}, faster=1, **QUICK)
    assert made.images == 4
    assert bool(made.rows[1].to_targets) == (method == "pix2pix")


def test_a_student_is_made_for_the_size_that_it_was_timed_at(teacher: Path, tmp_path: Path) -> None:
    made = distill(
        teacher,
        out=tmp_path / "out",
        student={"width": 2, "blocks": 1},
        faster=1,
        use_targets=False,
        image_size=64,
        **QUICK,
    )
    assert made.model is not None, made.summary
    info = read_info(made.model)
    assert (info.size, info.trained_size) == (64, 32)
    assert "at 64x64" in info.distilled["summary"]


def test_between_two_questions_a_student_learns_from_earlier_answers(teacher: Path, tmp_path: Path) -> None:
    def learn(out: Path, **more: Any) -> tuple[Path, list[int]]:
        asked: list[int] = []

        def counted(self: Distill, x: torch.Tensor) -> Any:
            asked.append(self._steps)
            return ask(self, x)

        ask = Distill._ask
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Distill, "_ask", counted)
            return translatekit.train(**more, sample_every=100, output=str(out)), asked

    options: dict[str, Any] = {
        "method": "distill",
        "dataset": "demo",
        "dataset_options": {"count": 5},
        "teacher": str(teacher / "model.safetensors"),
        "generator_options": {"width": 2, "blocks": 1},
        "teacher_every": 3,
        "load_size": 32,
        "crop_size": 32,
        "validate_every": 0,
        "precision": "fp32",
        "epochs_decay": 0,
    }
    whole, asked = learn(tmp_path / "whole", **options, epochs=2)
    assert asked[:4] == [1, 4, 7, 10]  # of ten steps; the rest are for the samples
    first, _ = learn(tmp_path / "parts", **options, epochs=1)
    translatekit.train(resume=first, epochs=2)
    states = [load_file(run / "model.safetensors") for run in (whole, first)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.slow
def test_what_costs_no_training_is_shown_beside(teacher: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    quick = {**QUICK, "targets": ("openvino",)}
    made = distill(teacher, out=tmp_path / "out", student={"width": 2, "blocks": 1}, faster=1, **quick)
    rows = {row.name: row for row in made.rows if row.kind == "compiled"}
    assert "teacher, OpenVINO int8" in rows
    student = next(row for row in made.rows if row.kind == "student")
    assert student.to_teacher["psnr"].value < 60  # it is not the teacher, whose file has the same name
    assert student.bytes < made.rows[0].bytes / 4
    row = rows["teacher, OpenVINO int8"]
    assert 15 < row.to_teacher["psnr"].value < 100
    assert row.timings["openvino int8"].faster > 0
    assert row.bytes > 0
    assert "OpenVINO int8" in made.page.read_text()
    assert "OpenVINO int8" in made.picture.read_text()


def test_how_a_folder_is_read(teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs" / "train").mkdir(parents=True)
    (tmp_path / "plain").mkdir()
    path = teacher / "model.safetensors"
    info = read_info(path)
    of_pairs = info.__class__(
        **{**{f: getattr(info, f) for f in info.__slots__}, "data": {"dataset": "aligned"}}
    )
    for folder, dataset, targets in (("pairs", "aligned", True), ("plain", "single", False)):
        found = choose_inputs(path, of_pairs, tmp_path / folder, CommandOptions())
        assert (found.dataset, found.targets) == (dataset, targets)
    assert not choose_inputs(path, of_pairs, tmp_path / "pairs", CommandOptions(use_targets=False)).targets
    own = choose_inputs(path, info, None, CommandOptions())
    assert (own.root, own.dataset, own.options) == (None, "demo", {"count": 6})


def test_times_and_sizes_are_read() -> None:
    assert (seconds_of("90s"), seconds_of("20min"), seconds_of("1.5 h")) == (90, 1200, 5400)
    assert (bytes_of("1MB"), bytes_of("800 kB"), bytes_of("2.5mb")) == (1_000_000, 800_000, 2_500_000)


def test_mistakes_are_named(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="name the model to learn from"):
        distill(out=tmp_path / "out")
    with pytest.raises(OptionError, match="--for tpu is no backend"):
        distill(teacher, out=tmp_path / "out", targets=("tpu",))
    with pytest.raises(OptionError, match="holds no distillation to go on with"):
        distill(out=tmp_path / "out", resume=True)
    with pytest.raises(OptionError, match="distill learns from a trained model: name it with --teacher"):
        translatekit.train("distill", None, dataset="demo", output=str(tmp_path / "run"))
    nothing = {"lambda_output": 0.0, "lambda_ssim": 0.0, "lambda_features": 0.0}
    with pytest.raises(OptionError, match="would learn from nothing"):
        translatekit.train(**ALONE, **nothing, dataset="demo", teacher=str(teacher / "model.safetensors"))


ALONE: dict[str, Any] = {
    "method": "distill",
    "generator_options": {"width": 2, "blocks": 1},
    "load_size": 32,
    "crop_size": 32,
    "validate_every": 0,
    "precision": "fp32",
    "epochs_decay": 0,
    "sample_every": 100,
}


def checkpoint(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(sorted((run / "checkpoints").glob("*.pt"))[-1], weights_only=True)
    return state


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def deeper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the same task with more blocks, narrower, its weights drawn at random."""
    return drawn(tmp_path_factory.mktemp("deeper") / "deeper.safetensors")


def drawn(path: Path, channels: int = 3) -> Path:
    torch.manual_seed(5)
    network = make_generator("resnet", {"width": 2, "blocks": 3}, in_channels=channels, out_channels=3)
    header = ModelInfo(
        method="pix2pix",
        generator="resnet",
        generator_options=network.arguments,
        size=32,
        size_multiple=4,
        input=RGB if channels == 3 else levels_spec(channels),
    )
    save_model(path, network.state_dict(), header)
    return path


def test_a_further_teachers_outputs_count_as_much(teacher: Path, deeper: Path, tmp_path: Path) -> None:
    """With the outputs alone, a student of teachers A and B has the mean of its losses to A and to B."""
    first = str(teacher / "model.safetensors")
    losses = []
    for number, (one, also) in enumerate(((first, ()), (str(deeper), ()), (first, (str(deeper),)))):
        run = translatekit.train(
            **ALONE,
            dataset="demo",
            dataset_options={"count": 4},
            teacher=one,
            teacher_also=also,
            start="random",
            lambda_features=0.0,
            max_steps=1,
            output=str(tmp_path / str(number)),
        )
        lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        losses.append(next(line["losses"] for line in lines if line["kind"] == "train"))
    for name in ("G_output", "G_SSIM"):
        assert losses[0][name] != pytest.approx(losses[1][name], rel=1e-3)
        mean = (losses[0][name] + losses[1][name]) / 2
        assert losses[2][name] == pytest.approx(mean, rel=1e-5)


def test_no_other_teacher_is_gone_on_with(teacher: Path, deeper: Path, tmp_path: Path) -> None:
    also = tmp_path / "also.safetensors"
    shutil.copy(deeper, also)
    run = translatekit.train(
        **ALONE,
        dataset="demo",
        dataset_options={"count": 4},
        teacher=str(teacher / "model.safetensors"),
        teacher_also=(str(also),),
        epochs=1,
        output=str(tmp_path / "run"),
    )
    shutil.copy(teacher / "model.safetensors", also)
    with pytest.raises(OptionError, match=r"also\.safetensors is not the teacher any more"):
        translatekit.train(resume=run, epochs=2)


@pytest.fixture(scope="module")
def unpaired(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run of a tiny CycleGAN with averaged weights, and its images."""
    folder = tmp_path_factory.mktemp("unpaired")
    for side in ("trainA", "trainB"):
        write_demo(folder / side, count=4, size=32)
        for path in list((folder / side).rglob("*.*")):
            path.rename(folder / side / f"{path.parent.name}-{path.name}")
    run = translatekit.train(
        "cyclegan",
        folder,
        generator_options={"width": 4, "blocks": 2},
        discriminator_options={"width": 4, "layers": 1},
        pool_size=4,
        ema=0.9,
        load_size=32,
        crop_size=32,
        epochs=1,
        epochs_decay=0,
        max_steps=3,
        precision="fp32",
        output=str(folder / "run"),
    )
    return run, folder


@pytest.mark.parametrize("kind", ["paired", "unpaired"])
def test_a_teacher_that_is_trained_goes_on_as_it_would_alone_and_resumes_exactly(
    kind: str, teacher: Path, unpaired: tuple[Path, Path], tmp_path: Path
) -> None:
    run, data = (teacher, None) if kind == "paired" else unpaired
    before = contents(run)
    options: dict[str, Any] = {**ALONE, "data": data, "train_teacher": True}
    options["teacher"] = str(run / "model.safetensors")
    if kind == "paired":
        options |= {"dataset": "demo", "dataset_options": {"count": 4}}
    else:
        images = {"teacher": options["teacher"], "images": "unaligned", "answers": False}
        options |= {"dataset": "taught", "dataset_options": images}
    whole = translatekit.train(**options, epochs=2, output=str(tmp_path / "whole"))
    parts = translatekit.train(**options, epochs=1, output=str(tmp_path / "parts"))
    begun = checkpoint(parts)["networks"]
    translatekit.train(resume=parts, epochs=2)

    assert contents(run) == before
    states = [checkpoint(folder) for folder in (whole, parts)]
    assert_same(states[0]["networks"], states[1]["networks"])
    assert_same(states[0]["optimizers"], states[1]["optimizers"])
    assert_same(states[0]["ranks"][0]["extra"], states[1]["ranks"][0]["extra"])
    models = [load_file(folder / "model.safetensors") for folder in (whole, parts)]
    assert_same(models[0], models[1])

    first = load_file(run / "model.safetensors")
    trained = states[0]["networks"]["teacher"]
    assert first.keys() == trained.keys() == begun["teacher"].keys()
    for state in (first, begun["teacher"]):
        assert any(not torch.equal(state[name], trained[name]) for name in trained)
    parts_of_it = {name for name in states[0]["networks"] if name.startswith("teacher")}
    assert parts_of_it == (
        {"teacher", "teacher.D"}
        if kind == "paired"
        else {
            "teacher",
            *(f"teacher.{name}" for name in ("AtoB", "BtoA", "D_A", "D_B", "BtoA averaged")),
        }
    )


def assert_same(one: Any, other: Any) -> None:
    """Bit for bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for item, twin in zip(one, other, strict=True):
            assert_same(item, twin)
    else:
        assert one == other


def test_a_trained_teacher_does_the_steps_of_its_own_run(teacher: Path, tmp_path: Path) -> None:
    """On the same images at the same rate, what it becomes is what its run would have become."""
    run = tmp_path / "run"
    shutil.copytree(teacher, run)
    out = translatekit.train(
        **ALONE,
        dataset="demo",
        dataset_options={"count": 6},
        teacher=str(run / "model.safetensors"),
        train_teacher=True,
        seed=0,
        epochs=1,
        output=str(tmp_path / "out"),
    )
    resumed = RunConfig.from_toml(run / "config.toml")
    fabric = make_fabric(resumed.options)
    data = build(resumed, fabric).data
    alone = ContinuedRun(run, data)
    alone.setup(fabric, lambda network: network)
    batches = EpochBatches(len(data), 1, 0, 0, 1, 1, None)
    data.set_epoch(0)
    batches.start(0, seen=0)
    for number, (index,) in enumerate(batches):
        alone.step(collate([data[index]]), number)
    assert_same(dict(alone.generator("AtoB").state_dict()), checkpoint(out)["networks"]["teacher"])
    assert not (out / "model-teacher.safetensors").exists()


def test_the_verdict_is_by_what_the_teacher_has_become(teacher: Path, deeper: Path, tmp_path: Path) -> None:
    before = contents(teacher)
    made = distill(
        teacher,
        out=tmp_path / "out",
        student={"width": 2, "blocks": 1},
        faster=1,
        train_teacher=True,
        teacher_also=(str(deeper),),
        **QUICK,
    )
    assert contents(teacher) == before
    steps = made.trained["steps"]
    assert made.rows[0].name == f"teacher after {steps} more steps"
    assert f"dB from its teacher's outputs after {steps} more steps" in made.summary
    assert made.trained["teacher_also"] == ["deeper"]
    final = tmp_path / "out" / "teacher.safetensors"
    run = next((tmp_path / "out" / "students").iterdir())
    assert_same(load_file(final), dict(checkpoint(run)["networks"]["teacher"]))
    assert read_info(final).step == read_info(teacher / "model.safetensors").step + steps
    found = evaluate(
        final,
        None,
        compare=[run / "model.safetensors"],
        dataset="demo",
        dataset_options={"count": 6},
        size=32,
        metrics=("l1",),
        max_images=4,
        split="val",
    )
    assert made.rows[0].to_targets["l1"].value == pytest.approx(found.models[0].metrics["l1"].value)
    if made.model is not None:
        distilled = read_info(made.model).distilled
        assert (distilled["teacher"], distilled["teacher_hash"]) == ("run", hash_file(final))


def test_a_teacher_that_cannot_be_trained_is_refused_before_anything_is_timed(
    teacher: Path, deeper: Path, tmp_path: Path
) -> None:
    inputs, _ = write_demo(tmp_path / "data", count=4, size=32)
    run = tmp_path / "run"
    shutil.copytree(teacher, run)
    cases: list[tuple[dict[str, Any], str]] = [
        (
            {"model": deeper, "data": inputs},
            r"deeper\.safetensors lies in none with a checkpoint: give the run's",
        ),
        (
            {"model": run, "data": inputs},
            "pix2pix, which needs inputs with targets: give DATA as the teacher",
        ),
        ({"model": run, "use_targets": False}, "pix2pix, which needs inputs with targets"),
        (
            {"model": run, "teacher_every": 4},
            "--teacher-every 4 learns from what the teacher has said before",
        ),
        ({"model": run, "students": 2}, "--train-teacher with --students 2 would train another teacher"),
    ]
    for options, sentence in cases:
        with pytest.raises(OptionError, match=sentence):
            distill(**{"out": tmp_path / "out", "train_teacher": True, **QUICK, **options})
    shutil.copy(deeper, run / "best.safetensors")
    with pytest.raises(
        OptionError, match=r"at step 6, and that file is of step 0: give .*model\.safetensors"
    ):
        distill(run / "best.safetensors", out=tmp_path / "out", train_teacher=True, **QUICK)
    config = run / "config.toml"
    config.write_text(config.read_text().replace('method = "pix2pix"', 'method = "pix2pox"'))
    with pytest.raises(TranslatekitError, match="there is no method named 'pix2pox'"):
        distill(run, inputs, out=tmp_path / "out", train_teacher=True, **QUICK)
    assert not (tmp_path / "out").exists()


def test_a_student_that_is_named_is_one() -> None:
    with pytest.raises(
        OptionError, match="--student says what the one student is, and --students 2 asks for several"
    ):
        _check(CommandOptions(student={"width": "4"}, students=2))


def test_a_further_teacher_that_does_something_else_is_refused(teacher: Path, tmp_path: Path) -> None:
    gray = drawn(tmp_path / "gray.safetensors", channels=1)
    with pytest.raises(
        OptionError, match=r"gray\.safetensors makes .* give --teacher-also a model of the same task"
    ):
        distill(teacher, out=tmp_path / "out", teacher_also=(str(gray),), **QUICK)
    large = tmp_path / "large.safetensors"
    network = make_generator("unet", {"width": 2, "depth": 6}, in_channels=3, out_channels=3)
    header = ModelInfo(
        method="pix2pix", generator="unet", generator_options=network.arguments, size=64, size_multiple=64
    )
    save_model(large, network.state_dict(), header)
    with pytest.raises(
        OptionError, match="multiples of 64, and the student is trained on crops of 32: pass --crop-size 64"
    ):
        distill(teacher, out=tmp_path / "out", teacher_also=(str(large),), **QUICK)
