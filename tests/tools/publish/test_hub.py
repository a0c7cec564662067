"""A folder for a hub, read by the hub's own library, and what comes back from a hub."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from translatekit_tools.graphs.onnx_file import read_info, write_info
from translatekit_tools.publish.card import licence_id
from translatekit_tools.publish.output import RECORD

import translatekit
from tests.fakes import run_program, run_python
from tests.hub import Hub, hub_environment
from tests.tools.publish.conftest import HOSTILE, Publish, save_model_of
from tests.tools.publish.graphs import write_graph
from translatekit.errors import DataError, OptionError, StorageError, TranslatekitError
from translatekit.image_spec import ImageSpec
from translatekit.images.preview import preview

EVALUATION: dict[str, Any] = {
    "data": "facades",
    "split": "val",
    "images": 100,
    "unit": "",
    "notes": ["FID was left out."],
    "models": [
        {
            "name": "x",
            "path": "x",
            "step": 34000,
            "metrics": {
                "l1": {"value": 0.345, "low": 0.341, "high": 0.353},
                "psnr": {"value": 13.25, "low": None, "high": None},
            },
            "differences": {},
            "classes": [],
        }
    ],
}


def card_of(folder: Path) -> Any:
    return pytest.importorskip("huggingface_hub").ModelCard.load(folder / "README.md")


def files(folder: Path) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return found - {RECORD}


def test_the_folder_of_a_run_has_its_directions_its_samples_and_a_card(published: Publish, run: Path) -> None:
    made = published("hub", licence="CC-BY-4.0", description="Winter of summer, for *fun*.")
    folder = Path(made.path)
    assert files(folder) == {
        "README.md",
        "model.safetensors",
        "model-BtoA.safetensors",
        "samples/training.png",
    }
    assert (folder / "model-BtoA.safetensors").read_bytes() == (run / "model-BtoA.safetensors").read_bytes()
    assert "000001.png of the run, which holds images of its data" in made.notes[0]
    card = card_of(folder)
    data = card.data.to_dict()
    index = data.pop("model-index")
    assert data == {
        "license": "cc-by-4.0",
        "library_name": "translatekit",
        "pipeline_tag": "image-to-image",
        "tags": ["image-to-image", "translatekit", "pix2pix", "unet"],
        "metrics": ["l1", "psnr"],
    }
    (result,) = card.data.eval_results[:1]
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("l1", 0.1234, HOSTILE)
    assert len(index[0]["results"][0]["metrics"]) == 2
    for expected in (
        "# summer2winter\n",
        "Winter of summer, for \\*fun\\*.",
        r"trained on maps \| \<b\>--- \`x\`, 1,200 images laid out as `unaligned`, for 34,000 steps (17 epochs).",
        "| `lr` | 0.0001 |",
        "at step 34,000, on its validation images",
        "no confidence interval is known",
        "![Samples of the training",
        "translatekit run photos/ --model hf://USER/NAME",
        "It has several directions: `AtoB`, `BtoA`.",
        "multiples of 8 pixels",
    ):
        assert expected in card.text, expected
    assert "/home/somebody" not in str(card)
    assert "licence of the model" not in card.text


def test_figures_come_with_their_protocol_and_what_is_unknown_is_said(
    published: Publish, run: Path, tmp_path: Path
) -> None:
    figures = tmp_path / "figures.json"
    figures.write_text(json.dumps(EVALUATION))
    card = card_of(Path(published("hub", figures=str(figures), samples="off").path))
    assert card.data.license == "unknown"
    assert {result.metric_type: result.metric_value for result in card.data.eval_results} == {
        "l1": 0.345,
        "psnr": 13.25,
    }
    for expected in (
        "0.345 [0.341, 0.353] | lower |",
        "| 13.25 | higher |",
        "on the 100 images of the split `val` of facades",
        "FID was left out.",
        "- The licence of the model",
    ):
        assert expected in card.text, expected
    bare = save_model_of(tmp_path / "maps.safetensors")
    made = published("hub", bare, "bare")
    card = card_of(Path(made.path))
    assert files(Path(made.path)) == {"README.md", "model.safetensors"}
    assert "model-index" not in card.data.to_dict()
    assert "What the model was trained on is not known" in card.text
    assert "How good it is: no figures were measured." in card.text
    assert any("--licence" in note for note in made.notes)
    assert any("--figures" in note for note in made.notes)
    assert any("--samples" in note for note in made.notes)
    figures.write_text("{}")
    with pytest.raises(DataError, match=r"figures\.json is not what translatekit evaluate --json prints"):
        published("hub", figures=str(figures), out="other")
    assert not (tmp_path / "other").exists()


def test_a_card_says_the_sizes_that_a_compiled_file_takes(published: Publish, tmp_path: Path) -> None:
    for shapes, says in (("64x32", "64x32"), (["32x32", "64x64 to 96x96"], "32x32, 64x64 to 96x96")):
        header = {"backend": "onnxruntime", "precision": "fp32", "shapes": shapes}
        model = write_graph(tmp_path / f"{len(says)}.onnx", data={})
        write_info(model, dataclasses.replace(read_info(model), compiled=header))
        text = card_of(Path(published("hub", model, str(len(says)), samples="off").path)).text
        assert f"| sizes | {says} pixels alone |" in text
        assert f"compiled for onnxruntime in fp32, images of {says} |" in text


def test_samples_are_what_the_model_makes_of_given_images(
    published: Publish, run: Path, pictures: Path
) -> None:
    folder = Path(published("hub", samples=str(pictures)).path)
    assert files(folder) >= {"samples/1.png", "samples/2.png"}
    shown = np.asarray(Image.open(folder / "samples/1.png"))
    taken = np.asarray(Image.open(pictures / "a.png"))
    np.testing.assert_array_equal(shown[:20, :30], taken)
    given = translatekit.open(run, "cpu").translate(taken)
    np.testing.assert_array_equal(shown[:20, -30:], given)
    assert Image.open(folder / "samples/2.png").size == (2 * 160 + 8, 320)
    with pytest.raises(TranslatekitError, match="nowhere"):
        published("hub", samples="nowhere", out="other")


def test_a_model_of_bands_has_a_card_whose_samples_are_previews(published: Publish, tmp_path: Path) -> None:
    spec = ImageSpec(channels=tuple("abcde"), meaning="values")
    model = write_graph(tmp_path / "bands.onnx", spec, data={})
    (tmp_path / "scenes").mkdir()
    scene = np.random.default_rng(0).integers(0, 256, (32, 48, 5), np.uint8)
    np.save(tmp_path / "scenes/scene.npy", scene)
    folder = Path(published("hub", model, samples=str(tmp_path / "scenes")).path)
    text = card_of(folder).text
    assert "5 channels (a, b, c, d, e)" in text
    assert "translatekit run images/ --model" in text
    shown = np.asarray(Image.open(folder / "samples/1.png"))
    assert shown.shape == (32, 2 * 48 + 8, 3)
    np.testing.assert_array_equal(shown[:, :48], preview(scene, spec))


def test_samples_of_a_model_of_slices_are_made_of_single_images(published: Publish, tmp_path: Path) -> None:
    spec = ImageSpec(channels=("CT -1", "CT", "CT +1"), meaning="values", slices=3)
    model = write_graph(tmp_path / "slices.onnx", spec, data={})
    (tmp_path / "scans").mkdir()
    scan = np.random.default_rng(0).integers(0, 256, (32, 48), np.uint8)
    Image.fromarray(scan).save(tmp_path / "scans/scan.png")
    folder = Path(published("hub", model, samples=str(tmp_path / "scans")).path)
    shown = np.asarray(Image.open(folder / "samples/1.png"))
    np.testing.assert_array_equal(shown[:, :48], np.repeat(scan[:, :, None], 3, axis=2))


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        (None, ("unknown", None)),
        ("Apache-2.0", ("apache-2.0", None)),
        ("GPL-3.0-only", ("other", "GPL-3.0-only")),
    ],
)
def test_licences_have_the_words_of_the_hub(licence: str | None, expected: tuple[str, str | None]) -> None:
    assert licence_id(licence) == expected


def test_what_does_not_go_together_is_refused(published: Publish, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--push is for --as hub: leave it out with --as triton"):
        published("triton", push="hf://user/name")
    with pytest.raises(OptionError, match=r"--for is for --as hub or triton or docker"):
        published("page", runtimes=("onnxruntime",))
    with pytest.raises(OptionError, match=r"--precision fp16 is for what is compiled, and --for names no"):
        published("hub", precision="fp16")
    for kind, option in (("triton", "title"), ("triton", "licence"), ("docker", "description")):
        with pytest.raises(
            OptionError, match=rf"--{option} is for --as page or .*leave it out with --as {kind}"
        ):
            published(kind, **{option: "x"})
    with pytest.raises(OptionError, match=r"s3://b/a is no local folder"):
        translatekit_publish("s3://b/a")
    with pytest.raises(OptionError, match="name a folder with -o"):
        translatekit_publish(None)
    with pytest.raises(StorageError, match=r"'hf://user' is no repository of models"):
        published("hub", push="hf://user")
    assert not list(tmp_path.iterdir())


def translatekit_publish(out: str | None) -> None:
    from translatekit_tools.publish import publish

    publish("nothing.safetensors", out, kind="hub")


BACK = """
import json, sys
import numpy as np, translatekit
made = {}
for model in ("hf://user/winter", "hf://user/winter@main", "hf://user/winter/model.onnx", "hf://user/compiled"):
    predictor = translatekit.open(model, "cpu")
    out = predictor.translate(np.full((21, 30, 3), 100, np.uint8))
    made[model] = [out.shape, int(out.astype(int).sum()), predictor.translator.__class__.__name__]
made["BtoA"] = translatekit.read_info("hf://user/winter", "BtoA").direction
print(json.dumps(made))
"""

WITHOUT_TORCH = """
import json, sys
for name in ("torch", "safetensors"):
    sys.modules[name] = None
    sys.meta_path.insert(0, type("Finder", (), {"find_spec": staticmethod(lambda each, *_: None)}))
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in ("torch", "safetensors") else real(name, *rest)
import translatekit
print(json.dumps(translatekit.open("hf://user/winter", "cpu").translator.__class__.__name__))
"""


def test_a_model_goes_to_a_hub_and_comes_back(hub: str, run: Path, pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    environment = hub_environment(hub, tmp_path / "hf") | {"TRANSLATEKIT_CACHE": str(tmp_path / "cache")}
    Hub.token = "hf_secret"
    command = ["publish", str(run), "--as", "hub", "--push", "hf://user/winter", "--for", "onnxruntime"]
    command += ["--samples", str(pictures), "--json"]
    refused = run_program(*command, HF_TOKEN="hf_wrong", **environment)
    assert refused.returncode == 1
    assert "was refused, since the credentials are wrong" in refused.stderr
    assert "Traceback" not in refused.stderr
    done = run_program(*command, HF_TOKEN="hf_secret", **environment)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["path"], said["details"]["url"]) == ("hf://user/winter", f"{hub}/user/winter")
    held = Hub.repositories["models/user/winter"]
    expected = {"README.md", "model.safetensors", "model-BtoA.safetensors", "model.onnx"}
    assert held.keys() == {*expected, "samples/1.png", "samples/2.png", ".gitattributes"}
    assert b"translatekit run photos/ --model hf://user/winter " in held["README.md"]
    assert b"compiled for onnxruntime in fp32; PSNR" in held["README.md"]
    Image.open(io.BytesIO(held["samples/1.png"])).verify()

    Hub.repositories["models/user/compiled"] = {"model.onnx": held["model.onnx"], "README.md": b"# Card"}
    back = run_python("-c", BACK, **environment)
    assert back.returncode == 0, back.stderr
    made = json.loads(back.stdout)
    assert made.pop("BtoA") == "BtoA"
    assert {name: kind for name, (_, _, kind) in made.items()} == {
        "hf://user/winter": "TorchTranslator",
        "hf://user/winter@main": "TorchTranslator",
        "hf://user/winter/model.onnx": "OnnxTranslator",
        "hf://user/compiled": "OnnxTranslator",
    }
    assert {tuple(shape) for shape, _, _ in made.values()} == {(21, 30, 3)}
    sums = [total for _, total, _ in made.values()]
    assert max(sums) - min(sums) < 21 * 30 * 3  # a level a value
    thin = run_python("-c", WITHOUT_TORCH, **environment)
    assert thin.stdout.strip() == '"OnnxTranslator"', thin.stderr
    out = tmp_path / "translated"
    ran = run_program("run", str(pictures), "--model", "hf://user/winter", "-o", str(out), **environment)
    assert ran.returncode == 0, ran.stderr
    assert sorted(path.name for path in out.glob("*.png")) == ["a.png", "b.png"]
    info = run_program("info", "hf://user/winter", "--json", **environment)
    assert json.loads(info.stdout)["other_directions"] == ["BtoA"]
