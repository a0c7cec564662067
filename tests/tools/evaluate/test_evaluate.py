"""``translatekit evaluate`` on real models, data and runs, all of them small."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from translatekit_tools.compile import compile_model
from translatekit_tools.evaluate import evaluate
from translatekit_tools.evaluate.images import open_images
from translatekit_tools.evaluate.options import EvaluateOptions
from translatekit_tools.evaluate.page import error_map

from tests.fakes import run_here
from tests.tools.video.conftest import make_video
from tests.training.conftest import TINY, draw_pairs
from translatekit import train
from translatekit.datasets.facades import PALETTE
from translatekit.errors import (
    DataError,
    ModelFileError,
    OptionError,
    TrainingError,
    TranslatekitError,
)
from translatekit.interfaces import MetricImages
from translatekit.metrics import make_metric
from translatekit.metrics.pairs import image_metrics
from translatekit.model_info import ModelInfo

RED, BLUE = (200, 0, 0), (0, 0, 200)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training pairs and six validation pairs."""
    root = tmp_path_factory.mktemp("data")
    draw_pairs(root / "train", 8)
    draw_pairs(root / "val", 6)
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return train("pix2pix", data, output=str(folder), ema=0.9, **{**TINY, "epochs": 1, "keep_checkpoints": 3})


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A timm model with weights drawn at random, as ``--features`` takes it."""
    path = tmp_path_factory.mktemp("weights") / "resnet10t.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model("resnet10t").state_dict(), path)
    return f"resnet10t,path={path}"


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Label maps of two colours on the left, photographs (noise around gray) on the right."""
    root = tmp_path_factory.mktemp("labels")
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        (root / split).mkdir()
        for index in range(4):
            label = np.full((32, 32, 3), RED, np.uint8)
            label[:, 8 + 4 * index :] = BLUE
            photo = random.integers(60, 200, (32, 32, 3), np.uint8)
            Image.fromarray(np.concatenate([label, photo], 1)).save(root / split / f"{index}.png")
    palette = {"format": 1, "classes": [{"name": "wall", "color": RED}, {"name": "sky", "color": BLUE}]}
    (root / "palette.json").write_text(json.dumps(palette))
    return root


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "translatekit", "evaluate", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)


def without_weights(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(folder))


def test_metrics_agree_with_those_of_the_training(run: Path, data: Path) -> None:
    """The validation of the training measures before rounding to 8 bits, hence the tolerance."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    validated = [line["metrics"] for line in lines if line["kind"] == "validation"][-1]
    found = evaluate(run, data, metrics=("l1", "psnr", "ssim")).models[0].metrics
    assert {name: item.value for name, item in found.items()} == pytest.approx(validated, rel=0.02)
    for item in found.values():
        assert item.low is not None and item.high is not None  # noqa: PT018
        assert item.low < item.value < item.high


def test_figures_do_not_depend_on_the_batch_size(run: Path, data: Path, features: str) -> None:
    one, all_at_once = (
        evaluate(run, data, metrics=("l1", "ms_ssim", "fid", "kid"), features=features, batch_size=size)
        for size in (1, 6)
    )
    for name, item in one.models[0].metrics.items():
        assert item.value == pytest.approx(all_at_once.models[0].metrics[name].value, rel=1e-3, abs=1e-6)


def test_a_model_compared_with_itself_differs_by_nothing(run: Path, data: Path, features: str) -> None:
    copy = run.parent / "copy.safetensors"
    shutil.copy(run / "model.safetensors", copy)
    evaluation = evaluate(run, data, compare=[copy], metrics=("l1", "ssim", "fid"), features=features)
    assert evaluation.models[0].differences == {}
    for difference in evaluation.models[1].differences.values():
        assert (difference.value, difference.low, difference.high) == pytest.approx((0, 0, 0), abs=1e-6)


def test_checkpoints_are_compared_and_the_newest_is_the_model(run: Path, data: Path) -> None:
    checkpoints = sorted((run / "checkpoints").glob("step-*.pt"))[-2:]  # the last steps of both epochs
    evaluation = evaluate(run, data, compare=checkpoints, metrics=("l1",))
    assert [model.step for model in evaluation.models] == [16, 8, 16]
    first, old, newest = (model.metrics["l1"].value for model in evaluation.models)
    assert newest == first != old


def test_other_images_have_a_larger_distance_than_the_same(
    features: str,
) -> None:
    from translatekit.metrics.features import make_features
    from translatekit.metrics.sets import fid, kid

    network = make_features(features)
    images = torch.rand(12, 3, 40, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1
    real = network(images)
    for distance in (fid, kid):
        near, far = distance(real, network(images * 0.97)), distance(real, network(images * 0.2))
        assert near < far
    assert fid(real, real) == pytest.approx(0, abs=1e-3)


def test_unpaired_images_are_compared_as_sets(unpaired: Path, tmp_path: Path, features: str) -> None:
    small: dict[str, Any] = {key: TINY[key] for key in ("load_size", "crop_size", "accelerator", "log_every")}
    run = train(
        "cyclegan",
        unpaired,
        output=str(tmp_path / "run"),
        max_steps=2,
        generator_options={"blocks": 1, "width": 4},
        discriminator_options={"layers": 1, "width": 4},
        **small,
    )
    for side in "AB":
        shutil.copytree(unpaired / f"train{side}", tmp_path / f"data/val{side}")
    unpaired = tmp_path / "data"
    found = {}
    for direction, count in (("AtoB", 6), ("BtoA", 5)):
        evaluation = evaluate(
            run,
            unpaired,
            direction=direction,
            features=features,
            discriminator=direction == "AtoB",
        )
        assert evaluation.images == count
        found[direction] = evaluation.models[0].metrics
    assert list(found["BtoA"]) == ["fid", "kid"]
    assert found["BtoA"]["fid"].value != found["AtoB"]["fid"].value
    assert 0 <= found["AtoB"]["accuracy_real_D_A"].value <= 1
    with pytest.raises(OptionError, match="l1 needs pairs"):
        evaluate(run, unpaired, metrics=("l1", "fid"), features=features)


def test_unpaired_images_of_one_name_in_several_folders_all_count(unpaired: Path, tmp_path: Path) -> None:
    for side, folder in (("A", "0"), ("A", "1"), ("B", "0")):
        shutil.copytree(unpaired / f"train{side}", tmp_path / f"val{side}" / folder)
    for path in (tmp_path / "valA/1").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    info = ModelInfo(
        method="cyclegan",
        generator="resnet",
        generator_options={},
        size_multiple=4,
        size=32,
        data={"dataset": "unaligned", "input": "A", "target": "B"},
    )
    images = open_images(tmp_path, EvaluateOptions(), info)
    assert len(images) == 12
    assert sum(map(len, images.others(4))) == 5
    other_way = open_images(
        tmp_path, EvaluateOptions(), replace(info, direction="BtoA", data={"dataset": "unaligned"})
    )
    assert len(other_way) == 5
    assert sum(map(len, other_way.others(4))) == 12


def test_weights_that_are_missing_are_a_note_or_where_asked_for_an_error(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_weights(monkeypatch, tmp_path)
    evaluation = evaluate(run, data)
    assert list(evaluation.models[0].metrics) == ["l1", "psnr", "ssim", "ms_ssim", "fid", "kid"]
    left_out, features, biased = evaluation.notes
    assert left_out == "left out LPIPS: --metrics lpips says what it needs"
    assert (
        "FID and KID are by translatekit's own features, since Inception's weights are not here" in features
    )
    assert re.match(
        r"FID is biased upwards .* two halves of the 6 real images are [\d.]+ apart; KID is not", biased
    )
    with pytest.raises(
        TranslatekitError, match=r"--download, or download it from https://.*; or pass --features own"
    ):
        evaluate(run, data, metrics=("fid",))
    with pytest.raises(TranslatekitError, match=r"AlexNet.*download it from"):
        evaluate(run, data, metrics=("lpips",))


def test_lpips_is_nothing_for_equal_images_and_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With weights drawn at random: the network and its file format are the real ones."""
    import torchvision

    from translatekit.metrics import weights
    from translatekit.metrics.pairs import LPIPS, images_with_levels

    without_weights(monkeypatch, tmp_path)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.manual_seed(0)
    state = torchvision.models.alexnet(weights=None).state_dict()
    torch.save(state, tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth")
    monkeypatch.setattr(weights, "hash_prefix", lambda path: "")  # of these weights, which are others
    lpips = LPIPS()
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    same, near, far = (
        lpips(images_with_levels(images + amount * noise), images_with_levels(images))
        for amount in (0, 0.1, 0.6)
    )
    assert same.shape == (3,)
    assert same.abs().max() < 1e-6
    assert (near < far).all()


def test_outputs_that_are_label_maps_are_scored_by_class(labels: Path, tmp_path: Path) -> None:
    options = {**TINY, "epochs": 1, "direction": "BtoA", "load_size": 32}
    run = train("pix2pix", labels, output=str(tmp_path / "run"), **options)
    evaluation = evaluate(run, labels, metrics=("l1",))
    metrics = evaluation.models[0].metrics
    assert list(metrics) == ["l1", "class_accuracy", "mean_iou", "pixel_accuracy"]
    assert [item.name for item in evaluation.models[0].classes] == ["wall", "sky"]
    shares = [item.share for item in evaluation.models[0].classes]
    assert shares == pytest.approx([14 / 32, 18 / 32], abs=0.01)
    accuracy = sum(item.share * item.accuracy for item in evaluation.models[0].classes)
    assert accuracy == pytest.approx(metrics["pixel_accuracy"].value)


def test_photographs_have_no_classes_but_a_segmenter_reads_them(labels: Path, tmp_path: Path) -> None:
    options = {**TINY, "epochs": 1, "load_size": 32}
    painter = train("pix2pix", labels, output=str(tmp_path / "painter"), **options)
    assert "mean_iou" not in evaluate(painter, labels, metrics=("l1",)).models[0].metrics
    segmenter = train("pix2pix", labels, output=str(tmp_path / "segmenter"), direction="BtoA", **options)
    read = evaluate(painter, labels, metrics=("l1",), segmenter=str(segmenter)).models[0].metrics
    assert {"fcn_pixel_accuracy", "fcn_class_accuracy", "fcn_mean_iou", "fcn_real_mean_iou"} <= set(read)
    direct = evaluate(segmenter, labels, metrics=("l1",)).models[0].metrics
    # Reading the real photographs is what the segmenter does by itself.
    assert read["fcn_real_pixel_accuracy"].value == pytest.approx(direct["pixel_accuracy"].value)


def test_label_maps_that_others_read_or_of_other_colours_are_not_set_beside_each_other(
    labels: Path, tmp_path: Path
) -> None:
    options = {**TINY, "epochs": 1, "load_size": 32}
    run = train("pix2pix", labels, output=str(tmp_path / "run"), direction="BtoA", **options)
    earlier = tmp_path / "earlier.json"

    def measure(**more: Any) -> list[str]:
        found = evaluate(run, labels, metrics=("l1",), **more)
        if not earlier.exists():
            earlier.write_text(json.dumps(found.to_dict()))
        return [model.name for model in found.models]

    reader = str(run)
    measure(segmenter=reader, report=str(tmp_path / "page.html"))
    kept = json.loads(earlier.read_text())["protocol"]["metrics"]["fcn_mean_iou"]
    words = f"of what the segmenter {kept['segmenter'][:8]} reads, colours {kept['colors'][:8]}"
    assert words in (tmp_path / "page.html").read_text()
    assert measure(segmenter=str(run / "model.safetensors"), compare=[earlier])[1:] == ["run in earlier.json"]
    other = train("pix2pix", labels, output=str(tmp_path / "other"), direction="BtoA", seed=1, **options)
    with pytest.raises(OptionError, match=r"fcn_[a-z_]* was measured otherwise"):
        measure(segmenter=str(other), compare=[earlier])
    palette = json.loads((labels / "palette.json").read_text())
    palette["classes"][0]["color"] = [1, 2, 3]
    (tmp_path / "palette.json").write_text(json.dumps(palette))
    with pytest.raises(OptionError, match=r"was measured otherwise in .*colors: "):
        measure(segmenter=reader, palette=str(tmp_path / "palette.json"), compare=[earlier])


def test_the_discriminator_of_a_run_is_asked(run: Path, data: Path) -> None:
    metrics = evaluate(run, data, metrics=("l1",), discriminator=True).models[0].metrics
    for name in ("accuracy_real", "accuracy_fake"):
        assert 0 <= metrics[name].value <= 1
    again = evaluate(run, data, metrics=("l1",), discriminator=True).models[0].metrics
    assert again["accuracy_real"] == metrics["accuracy_real"]


def test_the_report_holds_everything_it_shows(run: Path, data: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    evaluation = evaluate(
        run, data, compare=[run / "best.safetensors"], metrics=("l1", "psnr"), report=str(report), examples=2
    )
    errors = [example.figures["l1"] for example in evaluation.examples]
    assert [example.rank for example in evaluation.examples] == ["best", "best", "worst", "worst"]
    assert errors[0] <= errors[1] <= errors[3] <= errors[2]
    example = evaluation.examples[0]
    assert example.target is not None
    output, target = (
        torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
        for pixels in (next(iter(example.outputs.values())), example.target)
    )
    assert image_metrics(output, target)["l1"] == pytest.approx(errors[0], rel=1e-4)
    page = report.read_text(encoding="utf-8")
    for text in ("2 models on data", "PSNR", "higher is better", "Best", "Worst", "error of"):
        assert text.replace("data", evaluation.data) in page
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 4 * 6
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in re.sub(r'src="[^"]*"', "", page)


def test_an_error_map_is_black_where_nothing_is_wrong_and_light_where_all_is() -> None:
    target = np.zeros((1, 2, 3), np.uint8)
    output = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    assert error_map(output, target).tolist() == [[[0, 0, 4], [252, 255, 164]]]


def test_the_command_prints_a_table_and_json_and_writes_the_report(
    run: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "page.html"
    best = run / "best.safetensors"
    result = command(
        run,
        data,
        "--metrics",
        "l1,psnr",
        "--compare",
        run / "model.safetensors",
        best,
        "-o",
        report,
        "--device",
        "cpu",
    )
    assert result.returncode == 0, result.stderr
    assert "6 images" in result.stdout
    assert re.search(r"PSNR +[\d.]+ \[[\d.]+, [\d.]+\]", result.stdout)
    assert len(re.findall(r"\[", result.stdout.splitlines()[1])) == 5
    assert report.is_file()
    assert run_here("evaluate", str(run), str(data), "--metrics", "l1", "--json", "--max-images", "5") == 0
    content = json.loads(capfd.readouterr().out)
    assert content["images"] == 5
    assert set(content["models"][0]["metrics"]["l1"]) == {"value", "low", "high"}


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the demo, which draws its images."""
    folder = tmp_path_factory.mktemp("demo") / "run"
    own = {"dataset_options": {"count": 30}, "max_steps": 2}
    return train("pix2pix", output=str(folder), **{**TINY, **own})


def test_a_run_is_measured_on_its_own_data(run: Path, data: Path) -> None:
    own, named = evaluate(run, metrics=("l1",)), evaluate(run, data, metrics=("l1",))
    assert own.models[0].metrics == named.models[0].metrics
    assert own.data == data.name
    assert own.notes == [f"measured on the run's own data, {data}"]
    assert named.notes == []
    for inside in (run / "model.safetensors", next((run / "checkpoints").glob("*.pt"))):
        assert evaluate(inside, metrics=("l1",)).data == data.name


def test_a_run_on_the_demo_is_measured_on_what_was_drawn_for_it(demo_run: Path, tmp_path: Path) -> None:
    evaluation = evaluate(demo_run, metrics=("l1",))
    assert (evaluation.data, evaluation.images) == ("demo", 3)  # a tenth of what it was trained on
    shutil.copy(demo_run / "model.safetensors", tmp_path / "alone.safetensors")
    alone = evaluate(tmp_path / "alone.safetensors", metrics=("l1",), max_images=5)
    assert (alone.data, alone.images) == ("demo", 5)


def test_data_that_are_named_are_measured_on_whatever_the_model_was_trained_on(
    demo_run: Path, data: Path, tmp_path: Path
) -> None:
    evaluation = evaluate(demo_run, data, metrics=("l1",))
    assert (evaluation.data, evaluation.images) == (data.name, 6)
    with pytest.raises(DataError, match=f"there is no folder {tmp_path / 'missing'}"):
        evaluate(demo_run, tmp_path / "missing", metrics=("l1",))


def test_a_folder_for_a_dataset_that_reads_none_is_refused(run: Path, data: Path) -> None:
    with pytest.raises(OptionError, match=rf"'demo' reads no folder, and {data} would be ignored"):
        evaluate(run, data, dataset="demo")
    assert evaluate(run, dataset="demo", metrics=("l1",), max_images=2).data == "demo"


def test_data_that_are_gone_or_unknown_are_asked_for(run: Path, data: Path, tmp_path: Path) -> None:
    shutil.copy(run / "model.safetensors", tmp_path / "alone.safetensors")
    with pytest.raises(
        DataError, match=r"alone.safetensors does not say where its images lie: name a folder"
    ):
        evaluate(tmp_path / "alone.safetensors")
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(run / "model.safetensors", moved)
    config = (run / "config.toml").read_text()
    (moved / "config.toml").write_text(config.replace(str(data), str(tmp_path / "gone")))
    with pytest.raises(DataError, match=f"the run's data, {tmp_path / 'gone'}, are not there any more"):
        evaluate(moved)


def test_the_classes_of_a_dataset_that_knows_them_have_their_names(tmp_path: Path) -> None:
    options = {**TINY, "max_steps": 1, "direction": "BtoA"}
    run = train("pix2pix", output=str(tmp_path / "run"), **options)
    report = tmp_path / "page.html"
    (model,) = evaluate(run, metrics=("l1",), max_images=4, report=str(report)).models
    assert [item.name for item in model.classes] == list(PALETTE)
    assert "shutter" in report.read_text(encoding="utf-8")


@pytest.mark.parametrize("mode", ["rgb", "lab"])
def test_models_that_add_colour_are_measured_in_rgb(tmp_path: Path, data: Path, mode: str) -> None:
    run = train(
        "pix2pix",
        data,
        output=str(tmp_path / "run"),
        dataset="colorization",
        dataset_options={"mode": mode},
        **{**TINY, "max_steps": 2},
    )
    metrics = evaluate(run, data, metrics=("l1", "psnr")).models[0].metrics
    assert 0 < metrics["l1"].value < 1


def test_flicker_is_measured_by_video_and_a_still_picture_has_none(
    run: Path, data: Path, tmp_path: Path
) -> None:
    moving = make_video(tmp_path / "moving.mp4", frames=6)
    with av.open(str(tmp_path / "still.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        gray = np.full((48, 64, 3), 90, np.uint8)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(gray, format="rgb24")))
        container.mux(stream.encode(None))
    evaluation = evaluate(run, data, metrics=("l1",), temporal=[moving])
    one = evaluation.models[0].metrics
    assert one["warp_error"].value > 0
    both = evaluate(run, data, metrics=("l1",), temporal=[moving, tmp_path / "still.mp4"]).models[0].metrics
    assert both["warp_error moving.mp4"].value == one["warp_error"].value
    assert both["warp_error still.mp4"].value == pytest.approx(0, abs=1e-9)
    (tmp_path / "more").mkdir()
    other = shutil.copy(tmp_path / "still.mp4", tmp_path / "more/moving.mp4")
    alike = evaluate(run, data, metrics=("l1",), temporal=[moving, other]).models[0].metrics
    assert alike[f"warp_error {moving}"] == one["warp_error"]
    assert alike[f"warp_error {other}"].value == pytest.approx(0, abs=1e-9)
    (tmp_path / "earlier.json").write_text(json.dumps(evaluation.to_dict()))
    with pytest.raises(OptionError, match="warp_error was measured otherwise"):
        evaluate(
            run, data, metrics=("l1",), temporal=[tmp_path / "still.mp4"], compare=[tmp_path / "earlier.json"]
        )


def test_compiled_models_are_measured_beside_what_they_were_made_of(
    run: Path, data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    onnx, openvino = tmp_path / "compiled.onnx", tmp_path / "compiled.xml"
    compile_model(run, onnx)
    compile_model(onnx, openvino)
    evaluation = evaluate(run, data, compare=[onnx, openvino], metrics=("l1", "psnr"))
    trained, *compiled = (model.metrics for model in evaluation.models)
    assert len(compiled) == 2
    for metrics in compiled:
        assert metrics["l1"].value == pytest.approx(trained["l1"].value, rel=1e-3)
        assert metrics["psnr"].value == pytest.approx(trained["psnr"].value, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"metrics": ("beauty",)}, OptionError, "each one of 'l1', .*got .*'beauty'"),
        ({"max_images": 0}, OptionError, "option 'max_images' must be a whole number of at least 1"),
        ({"split": "test"}, DataError, "no test images: pass --split train"),
        ({"palette": "missing.json"}, DataError, "missing.json"),
        ({"segmenter": "missing.safetensors"}, ModelFileError, "missing.safetensors"),
        ({"compare": ["missing.onnx"]}, ModelFileError, "missing.onnx"),
        ({"features": "resnet10t,path=missing.pth"}, TranslatekitError, "missing.pth"),
        ({"features": "nosuchmodel,path=missing.pth"}, OptionError, "nosuchmodel"),
        ({"dataset": "labelled"}, OptionError, "by class"),
        ({"temporal": ["missing.mp4"]}, DataError, "missing.mp4"),
    ],
)
def test_mistakes_are_one_sentence(
    run: Path, data: Path, options: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        evaluate(run, data, **{"metrics": ("l1", "fid") if "features" in options else ("l1",), **options})


def test_a_lone_model_file_has_no_discriminator(run: Path, data: Path, tmp_path: Path) -> None:
    shutil.copy(run / "model.safetensors", tmp_path / "alone.safetensors")
    with pytest.raises(TrainingError, match="has a discriminator"):
        evaluate(tmp_path / "alone.safetensors", data, metrics=("l1",), discriminator=True)


def test_a_checkpoint_is_measured_in_the_precision_that_is_asked_for(run: Path, data: Path) -> None:
    path = max((run / "checkpoints").glob("*.pt"))
    with pytest.raises(OptionError, match="PyTorch does not translate in int8"):
        evaluate(path, data, metrics=("l1",), precision="int8")
    whole, half = (
        evaluate(path, data, metrics=("l1",), precision=name).models[0].metrics["l1"].value
        for name in ("auto", "bf16")
    )
    assert whole != half
    assert half == pytest.approx(whole, rel=0.1)


def test_a_damaged_checkpoint_is_said(run: Path, data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    path = max((copy / "checkpoints").glob("*.pt"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelFileError, match="cannot be read as a checkpoint"):
        evaluate(path, data, metrics=("l1",))


def test_help_imports_no_torch() -> None:
    code = "import sys, translatekit_tools.cli.evaluate, translatekit_tools.cli.watch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_metrics_of_sets_look_at_images_with_may_be_a_method(
    run: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counting:
        def __init__(self, size: int) -> None:
            self.size = size

        def extractor(self, images: MetricImages) -> torch.Tensor:
            return images.values.flatten(1)[:, : self.size]

        def __call__(self, real: torch.Tensor, fake: torch.Tensor) -> float:
            assert real.shape[1] == fake.shape[1]
            return float(real.shape[1])

    made = {"fid": Counting(3), "kid": Counting(5)}

    def make(name: str, **options: Any) -> Any:
        return made[name] if name in made else make_metric(name, **options)

    monkeypatch.setattr("translatekit_tools.evaluate.choice.make_metric", make)
    found = evaluate(run, data, metrics=("fid", "kid")).models[0].metrics
    assert {name: item.value for name, item in found.items()} == {"fid": 3.0, "kid": 5.0}


def test_a_model_that_was_trained_from_targets_to_inputs_is_measured_so(data: Path) -> None:
    """A third party's method may train pairs in both ways, and call its generators as it likes."""
    info = ModelInfo(
        method="both",
        generator="resnet",
        generator_options={},
        size_multiple=4,
        size=40,
        data={"dataset": "aligned", "input": "input", "target": "target"},
    )
    back = replace(info, direction="BtoA", data={"dataset": "aligned", "input": "target", "target": "input"})
    one, other = (open_images(data, EvaluateOptions(), header).item(0) for header in (info, back))
    assert np.array_equal(one.source, other.target)
    assert np.array_equal(one.target, other.source)
