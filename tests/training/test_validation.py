"""The metric that decides which state is the best, and stopping when nothing gets better."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.training.conftest import TINY, draw_pairs
from translatekit import train
from translatekit.errors import OptionError, TranslatekitError
from translatekit.image_spec import levels_spec
from translatekit.interfaces import MetricImages
from translatekit.metrics import metric_specs
from translatekit.model_file import read_info
from translatekit.registry import Entry, registry
from translatekit.specs import MetricSpec
from translatekit.training.checkpoint import load_checkpoint
from translatekit.training.validation import diversity
from translatekit.training.validator import Validator


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A timm model's weights, drawn at random."""
    path = tmp_path_factory.mktemp("weights") / "resnet10t.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model("resnet10t").state_dict(), path)
    return path


def metrics(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"]  # as long as it took
    return [line for line in lines if line["kind"] == "validation"]


@pytest.mark.parametrize("metric", ["psnr", "ms_ssim"])
def test_the_best_state_is_the_one_of_the_highest_value_where_more_is_better(
    pairs: Path, tmp_path: Path, metric: str
) -> None:
    run = train("pix2pix", pairs, output=str(tmp_path / "run"), best_by=metric, **TINY)
    best = max(line["metrics"][metric] for line in metrics(run))
    assert read_info(run / "best.safetensors").metrics[metric] == best


def test_fid_decides_by_a_timm_model(pairs: Path, tmp_path: Path, weights: Path) -> None:
    features = f"resnet10t,path={weights}"
    run = train("pix2pix", pairs, output=str(tmp_path / "run"), best_by="fid", features=features, **TINY)
    lowest = min(line["metrics"]["fid"] for line in metrics(run))
    assert read_info(run / "best.safetensors").metrics["fid"] == lowest


def test_unpaired_images_have_a_best_by_fid(unpaired: Path, tmp_path: Path, weights: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(unpaired, data)
    for side in "AB":
        shutil.copytree(data / f"train{side}", data / f"val{side}")
    small = {key: TINY[key] for key in ("load_size", "crop_size", "epochs", "epochs_decay", "accelerator")}
    run = train(
        "cyclegan",
        data,
        output=str(tmp_path / "run"),
        best_by="kid",
        features=f"resnet10t,path={weights}",
        max_steps=6,
        generator_options={"blocks": 1, "width": 4},
        discriminator_options={"layers": 1, "width": 4},
        **small,
    )
    assert list(metrics(run)[0]["metrics"]) == ["kid"]
    assert (run / "best.safetensors").is_file()


def test_unpaired_images_of_one_name_in_several_folders_all_count() -> None:
    class Counting:
        def extractor(self, images: MetricImages) -> torch.Tensor:
            return images.values.flatten(1)

        def __call__(self, real: torch.Tensor, fake: torch.Tensor) -> float:
            return 100.0 * len(real) + len(fake)

    validator = Validator("kid", paired=False, features="own")
    validator._set = Counting()
    images = torch.linspace(-1, 1, 5 * 3 * 8 * 8).reshape(5, 3, 8, 8)
    names = ["0", "1", "0", "1", "2"]  # of two folders, and one of a third
    batch = {
        "A": images,
        "name_A": names,
        "B": images[[0, 1, 2, 0, 1]],
        "name_B": [names[index] for index in (0, 1, 2, 0, 1)],
    }
    found = validator.measure(nn.Identity(), [batch], "A", "B", levels_spec(3), lambda images: images)
    assert found == {"kid": 305.0}


def test_pixels_that_do_not_count_change_no_metric_of_sets() -> None:
    validator = Validator("kid", paired=True, features="own")
    target = torch.linspace(-1, 1, 4 * 3 * 16 * 16).reshape(4, 3, 16, 16)
    valid = torch.ones(4, 1, 16, 16, dtype=torch.bool)
    valid[:, :, :8] = False
    random = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def kid(source: torch.Tensor) -> float:
        batch = {"input": source, "target": target, "valid": valid, "name": list("0123")}
        return validator.measure(
            nn.Identity(), [batch], "input", "target", levels_spec(3), lambda images: images
        )["kid"]

    assert kid(torch.where(valid, target, random)) == kid(target)
    assert kid(torch.where(valid, random, target)) != kid(target)


def patient(run: Path, pairs: Path, **changes: Any) -> Path:
    # At this rate nothing is learned, so that no validation is better than the first.
    return train(
        "pix2pix", pairs, output=str(run), **{**TINY, "epochs": 8, "lr": 1e-30, "patience": 2, **changes}
    )


def test_a_run_stops_when_nothing_gets_better(
    pairs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = patient(tmp_path / "run", pairs)
    assert len(metrics(run)) == 3
    assert "after 2 validations without a better one" in capfd.readouterr().err
    state = load_checkpoint(run / "checkpoints")
    assert state["progress"]["step"] == 24
    assert read_info(run / "model.safetensors").step == 24


def test_a_run_that_stopped_stays_stopped_when_resumed(pairs: Path, tmp_path: Path) -> None:
    run = patient(tmp_path / "run", pairs)
    before = load_file(run / "model.safetensors")
    train(resume=run)
    assert len(metrics(run)) == 3
    after = load_file(run / "model.safetensors")
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_resumed_run_stops_where_the_whole_one_does(pairs: Path, tmp_path: Path) -> None:
    whole = patient(tmp_path / "whole", pairs)
    half = patient(tmp_path / "half", pairs, max_steps=16)
    train(resume=half, max_steps=None)
    assert metrics(half) == metrics(whole)
    one, other = (load_checkpoint(run / "checkpoints") for run in (whole, half))
    assert one["progress"] == other["progress"]
    assert torch.equal(one["ranks"][0]["random"]["cpu"], other["ranks"][0]["random"]["cpu"])
    first, second = load_file(whole / "model.safetensors"), load_file(half / "model.safetensors")
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"patience": 0}, "option 'patience' must be a whole number of at least 1"),
        ({"patience": 2, "validate_every": 0}, "--validate-every"),
        ({"best_by": "beauty"}, "best_by"),
        ({"features": "resnet10t"}, "--features is for metrics of features, .* chosen by l1"),
        ({"best_by": "fid", "features": "resnet10t,file=x"}, "resnet18,path=FILE"),
        ({"best_by": "fid", "features": "resnet10t,path=missing.safetensors"}, "missing.safetensors"),
    ],
)
def test_mistakes_are_one_sentence(
    pairs: Path, tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(TranslatekitError, match=sentence):
        train("pix2pix", pairs, output=str(tmp_path / "run"), **{**TINY, **options})
    assert not (tmp_path / "run").exists()


def test_a_best_that_nothing_would_measure_is_refused(labelled: Path, tmp_path: Path) -> None:
    draw_pairs(tmp_path / "data" / "train", 2)
    for method, data, sentence in (
        ("pix2pix", tmp_path / "data", "--best-by ssim chooses among validations, .* add validation images"),
        ("cgan", labelled, "leave it out, since cgan is not validated"),
    ):
        with pytest.raises(OptionError, match=sentence):
            train(method, data, output=tmp_path / "run", accelerator="cpu", precision="fp32", best_by="ssim")


def test_weights_that_are_not_there_are_named_with_where_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for metric, name in (("lpips", "alexnet"), ("fid", "inception")):
        with pytest.raises(TranslatekitError, match=rf"(?s){tmp_path}.*{name}.*download it from https://"):
            Validator(metric, paired=True)


def test_a_metric_that_cannot_be_had_keeps_no_other_from_use(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = MetricSpec(
        name="absent", target="no_such:Thing", summary="", compares="pairs", better="lower", validation=True
    )
    specs = [*metric_specs("pairs"), absent]
    monkeypatch.setattr("translatekit.training.validator.metric_specs", lambda *compares: specs)
    validator = Validator("l1", paired=True)
    assert list(validator._pairs) == ["l1", "psnr", "ssim"]
    assert [note.split(":")[0] for note in validator.notes] == ["without absent"]


def test_metrics_of_pairs_need_pairs() -> None:
    with pytest.raises(OptionError, match="--best-by fid"):
        Validator("psnr", paired=False)


def test_diversity_is_a_share_of_that_of_real_images() -> None:
    real = torch.rand(4, 3, 8, 8)
    batch = {"input": real, "target": real.clone(), "name": list("abcd")}
    same = real[:1].expand(4, -1, -1, -1)
    columns = {"input": batch["input"], "output": real / 2, "dead": same}
    assert diversity(columns, batch) == pytest.approx({"output": 0.5, "dead": 0.0}, abs=1e-6)
    assert diversity({"input": batch["input"][:1], "output": real[:1]}, batch) == {}


def test_a_metric_that_does_not_take_the_images_decides_nothing() -> None:
    validator = Validator("kid", paired=True, features="own")
    validator.check_images(levels_spec(3))
    assert list(validator._pairs) == ["l1", "psnr", "ssim"]
    says = "--best-by kid takes images of 1 or 3 channels, and these have 5: pass another, such as l1"
    with pytest.raises(OptionError, match=says):
        validator.check_images(levels_spec(5))


def test_usual_metrics_that_do_not_take_the_images_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    known = registry("metric")
    gray = replace(known.get("ssim"), channels=(1,))
    monkeypatch.setitem(known._claims, "ssim", [Entry(gray, known.entry("ssim").plugin)])
    validator = Validator("l1", paired=True)
    validator.check_images(levels_spec(3))
    assert list(validator._pairs) == ["l1", "psnr"]
    assert validator.notes == ["without ssim: it takes images of 1 channels, and these have 3"]


def test_it_is_refused_before_the_training(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for side in "AB":
            folder = tmp_path / "data" / side / split
            folder.mkdir(parents=True)
            for number in range(2):
                pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 5), np.uint8)
                np.save(folder / f"{number}.npy", pixels)
    with pytest.raises(OptionError, match="and these have 5"):
        train("pix2pix", tmp_path / "data", output=tmp_path / "run", **TINY, best_by="kid", features="own")
    assert not (tmp_path / "run").exists()
