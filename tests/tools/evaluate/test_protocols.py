"""Figures carry how they were measured, and only like ones are set side by side."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from translatekit_tools.evaluate import evaluate
from translatekit_tools.evaluate.protocols import PROTOCOLS, protocol_names

from tests.fakes import run_here
from tests.training.conftest import TINY, draw_pairs
from translatekit import train
from translatekit.errors import DataError, OptionError
from translatekit.metrics import metric_names

OWN: dict[str, Any] = {"protocol": "own", "metrics": ("l1", "kid")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    draw_pairs(root / "train", 4)
    draw_pairs(root / "val", 6)
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train("pix2pix", data, output=tmp_path_factory.mktemp("runs") / "run", **{**TINY, "epochs": 1})


@pytest.fixture(scope="module")
def earlier(run: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of an evaluation, in a file."""
    path = tmp_path_factory.mktemp("results") / "earlier.json"
    path.write_text(json.dumps(evaluate(run, data, **OWN).to_dict()))
    return path


def test_a_figure_carries_how_it_was_measured(run: Path, data: Path) -> None:
    protocol = evaluate(run, data, **OWN).to_dict()["protocol"]
    assert {key: protocol[key] for key in ("name", "split", "images", "size", "seed")} == {
        "name": "own",
        "split": "val",
        "images": 6,
        "size": TINY["crop_size"],
        "seed": 0,
    }
    assert len(protocol["metrics"]["kid"]["weights"]) == 64
    assert {"translatekit", "torch"} <= set(protocol["versions"])
    assert protocol["inputs"] != protocol["targets"]
    assert json.loads(json.dumps(protocol)) == protocol


def test_the_images_are_known_by_their_pixels(run: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "same")
    shutil.copytree(data, tmp_path / "other")
    first, second = sorted((tmp_path / "other" / "val").iterdir())[:2]
    shutil.copy(second, first)
    here, same, other = (
        evaluate(run, root, metrics=("l1",)).protocol
        for root in (data, tmp_path / "same", tmp_path / "other")
    )
    assert (here["inputs"], here["targets"]) == (same["inputs"], same["targets"])
    assert here["inputs"] != other["inputs"]


def test_earlier_figures_stand_beside_new_ones(
    run: Path, data: Path, earlier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "page.html"
    status = run_here(
        *("evaluate", str(run), str(data), "--protocol", "own", "--metrics", "l1,kid"),
        *("--compare", str(earlier), "--report", str(report), "--json"),
    )
    assert status == 0
    found = json.loads(capsys.readouterr().out)
    (first, other), first_protocol = found["models"], found["protocol"]
    assert other["name"] == f"{first['name']} in earlier.json"
    assert other["metrics"] == first["metrics"]
    assert other["differences"] == {}
    assert "in earlier.json" in report.read_text()
    weights = first_protocol["metrics"]["kid"]["weights"][:8]
    assert f"KID by translatekit&#39;s own features; weights {weights}" in report.read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_images": 5}, "another number of images"),
        ({"size": 24}, "images of another size"),
        ({"split": "train", "max_images": 4}, "another split"),
        ({"protocol": None, "features": "resnet10t"}, "kid was measured otherwise in earlier.json"),
    ],
)
def test_unlike_figures_are_refused(
    run: Path, data: Path, earlier: Path, options: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "features" in options:  # without its trained weights, which are not here
        import timm

        create = timm.create_model
        monkeypatch.setattr(
            timm, "create_model", lambda *args, **more: create(*args, **{**more, "pretrained": False})
        )
    with pytest.raises(OptionError, match=words):
        evaluate(run, data, compare=[earlier], **{**OWN, **options})


def test_other_files_are_no_figures(run: Path, data: Path, tmp_path: Path) -> None:
    for text in ("{}", "not json", "[]", '{"protocol": {}, "models": [1]}'):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(DataError, match="holds no evaluation"):
            evaluate(run, data, compare=[tmp_path / "x.json"], **OWN)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"protocol": "cut", "size": 128}, "--protocol cut measures with --size 256"),
        ({"protocol": "lpips", "metrics": ("l1",)}, "--protocol lpips measures with --metrics lpips"),
        (
            {"protocol": "clean-fid", "features": "own"},
            "--protocol clean-fid measures with --features clean-fid",
        ),
        ({"protocol": "fcn"}, "pass --segmenter"),
    ],
)
def test_a_protocol_is_not_half_followed(run: Path, data: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        evaluate(run, data, **options)


def test_protocols_name_installed_metrics_and_are_described(data: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "evaluate.md").read_text()
    for protocol in PROTOCOLS:
        assert set(protocol.metrics or ()) <= set(metric_names("pairs", "sets", "labels"))
        assert f"| `{protocol.name}` |" in text
    assert len(set(protocol_names())) == len(PROTOCOLS)


def test_earlier_figures_in_place_of_the_model_are_refused(run: Path, data: Path, earlier: Path) -> None:
    for compared in ([], [run]):
        with pytest.raises(
            OptionError, match=r"earlier.json holds earlier figures and is no model: name a model first"
        ):
            evaluate(earlier, data, compare=compared, **OWN)
