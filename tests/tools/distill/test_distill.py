"""Distillation as a user has it: tiny teachers and students on drawn images."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from translatekit_tools.distill import distill
from translatekit_tools.distill.driver import bytes_of, choose_inputs, seconds_of
from translatekit_tools.distill.method import Distill
from translatekit_tools.distill.options import CommandOptions

import translatekit
from tests.fakes import run_here
from translatekit.datasets.demo import write_demo
from translatekit.errors import OptionError
from translatekit.model_file import read_info

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
    assert (out / "verdict.json").is_file()


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
