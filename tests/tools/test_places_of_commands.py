"""Commands whose models, images and results lie in a bucket, over a real server."""

from __future__ import annotations

import io
import json
import uuid
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import translatekit
from tests.fakes import run_program, run_python
from tests.hub import Hub, hub_environment
from tests.stores import Proxy
from translatekit.cli import program
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import make_generator
from translatekit.storage import Sink, open_sink


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ``model.safetensors``, and a ``maps.onnx`` compiled from it."""
    folder = tmp_path_factory.mktemp("models")
    options = {"depth": 3, "width": 4, "norm": "none"}
    network = make_generator("unet", options, in_channels=3, out_channels=3)
    info = ModelInfo(
        method="pix2pix",
        generator="unet",
        generator_options={**options, "in_channels": 3, "out_channels": 3},
        size_multiple=8,
        size=32,
        data={"dataset": "aligned"},
    )
    save_model(folder / "model.safetensors", network.state_dict(), info)
    translatekit.compile(folder / "model.safetensors", folder / "maps.onnx")
    return folder


@pytest.fixture
def bucket(s3: Proxy, models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sink:
    """A place with a run's folder ``runs/x`` and pairs of images, and a cache folder of the test's own."""
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    place = open_sink(f"s3://bucket/{uuid.uuid4().hex}")
    place.commit("runs/x/model.safetensors", models / "model.safetensors")
    place.commit("compiled/maps.onnx", models / "maps.onnx")
    for number in range(3):
        place.commit(f"data/val/{number}.png", png(number, 64))
    return place


def png(number: int, width: int = 32) -> bytes:
    data = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (32, width, 3), np.uint8)
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(program, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_a_model_in_a_bucket_is_shown_loaded_and_run(bucket: Sink, models: Path, tmp_path: Path) -> None:
    run = f"{bucket.uri}/runs/x"
    header = json.loads(invoke("info", run, "--json").stdout)
    assert header["file"] == run
    local = translatekit.load(models / "model.safetensors", "cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    for model in (run, f"{run}/model.safetensors"):
        np.testing.assert_array_equal(translatekit.load(model, "cpu")(pixels), local(pixels))
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    invoke("run", str(tmp_path / "a.png"), "--model", run, "-o", str(tmp_path / "out.png"), "--device", "cpu")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), local(pixels)[0])


def test_a_model_is_compiled_from_and_to_a_bucket(bucket: Sink) -> None:
    """All files that belong to it are committed, and found where it is loaded."""
    pytest.importorskip("openvino")
    model, out = f"{bucket.uri}/compiled/maps.onnx", f"{bucket.uri}/openvino/maps.xml"
    assert invoke("compile", model, "-o", out).stdout == f"{out}\n"
    assert {item.name for item in bucket.list("openvino/")} == {"openvino/maps.xml", "openvino/maps.bin"}
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    difference = translatekit.load(out)(pixels).astype(int) - translatekit.load(model)(pixels)
    assert np.abs(difference).max() <= 1
    refused = CliRunner().invoke(program, ["compile", model, "-o", out])
    assert f"{out} exists already and is not overwritten: pass --force" in refused.output


def test_images_in_a_bucket_are_measured_and_the_page_is_written_there(bucket: Sink) -> None:
    page = f"{bucket.uri}/pages/x.html"
    arguments = ("--json", "-o", page, "--device", "cpu", "--metrics", "psnr")
    result = invoke("evaluate", f"{bucket.uri}/runs/x", f"{bucket.uri}/data", *arguments)
    figures = json.loads(result.stdout)
    assert figures["images"] == 3
    assert figures["models"][0]["name"] == "x"
    assert b"<html" in bucket.read("pages/x.html")


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_images_are_measured_as_they_are_read_though_requests_fail(
    share: float, bucket: Sink, s3: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures are those of a local folder, and no copy of the place is left on this machine."""
    monkeypatch.setattr("translatekit.storage.retries.TRIES", 12)
    for item in bucket.list("data/"):
        path = tmp_path / item.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bucket.read(item.name))
    arguments = ("--json", "--device", "cpu", "--metrics", "psnr")
    local = json.loads(invoke("evaluate", f"{bucket.uri}/runs/x", str(tmp_path / "data"), *arguments).stdout)
    s3.share = share
    there = json.loads(invoke("evaluate", f"{bucket.uri}/runs/x", f"{bucket.uri}/data", *arguments).stdout)
    assert sum(s3.failed.values()) >= (1 if share > 0.1 else 0)
    assert there["models"][0]["metrics"] == local["models"][0]["metrics"]
    assert not (tmp_path / "cache/mirrors").exists()


STORES = [("az", "az://bucket"), ("gs", "gs://bucket")]


@pytest.mark.parametrize(("store", "address"), STORES)
def test_every_command_with_the_other_stores(
    store: str,
    address: str,
    models: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``run``, ``evaluate`` and ``prepare`` against the emulators of Azure and of Google Cloud Storage."""
    proxy = request.getfixturevalue(store)
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    place = open_sink(f"{address}/{uuid.uuid4().hex}")
    place.commit("runs/x/model.safetensors", models / "model.safetensors")
    for number in range(3):
        place.commit(f"photos/{number}.png", png(number))
        place.commit(f"data/val/{number}.png", png(number, 64))
    proxy.share = 0.05
    run = (
        "run",
        f"{place.uri}/photos",
        "-m",
        f"{place.uri}/runs/x",
        "-o",
        f"{place.uri}/out",
        "--device",
        "cpu",
    )
    assert "Translated 3" in invoke(*run).output
    assert "skipped 3 done before" in invoke(*run).output
    assert "3 done, 0 failed, 0 missing" in invoke(*run, "--collect").output
    assert {item.name for item in place.list("out/") if item.name.endswith(".png")} == {
        f"out/{number}.png" for number in range(3)
    }
    page = f"{place.uri}/pages/x.html"
    measured = ("--json", "-o", page, "--device", "cpu", "--metrics", "psnr")
    figures = json.loads(invoke("evaluate", f"{place.uri}/runs/x", f"{place.uri}/data", *measured).stdout)
    assert figures["images"] == 3
    assert b"<html" in place.read("pages/x.html")
    invoke("prepare", "resize", f"{place.uri}/photos", "-o", f"{place.uri}/small", "--size", "16")
    assert Image.open(io.BytesIO(place.read("small/0.png"))).size == (16, 16)


ON_THE_HUB = """
import json, sys
from click.testing import CliRunner
import translatekit
from tests.training.conftest import TINY
from translatekit.cli import program

for arguments in json.loads(sys.argv[1]):
    result = CliRunner().invoke(program, arguments, catch_exceptions=False)
    print(json.dumps([result.exit_code, result.output]))
translatekit.train("pix2pix", "hf://datasets/user/pairs", output=sys.argv[2], **TINY, max_steps=2)
"""


def test_every_command_with_the_hub(hub: str, models: Path, tmp_path: Path) -> None:
    """``run``, ``evaluate``, ``compile`` and ``train`` read their model or images from there."""
    pairs = {f"{split}/{number}.png": png(number, 64) for split in ("train", "val") for number in range(3)}
    photos = {f"{number}.png": png(number) for number in range(3)}
    model = {"model.safetensors": (models / "model.safetensors").read_bytes()}
    Hub.reset({"models/user/x": model, "datasets/user/pairs": pairs, "datasets/user/photos": photos})
    commands = [
        ["run", "hf://datasets/user/photos", "--model", "hf://user/x", "-o", str(tmp_path / "out")],
        ["evaluate", "hf://user/x", "hf://datasets/user/pairs", "--json", "--metrics", "psnr"],
        ["compile", "hf://user/x", "-o", str(tmp_path / "x.onnx")],
    ]
    for command in commands[:2]:
        command += ["--device", "cpu"]
    environment = {"TRANSLATEKIT_CACHE": str(tmp_path / "cache"), **hub_environment(hub, tmp_path / "hf")}
    result = run_python("-c", ON_THE_HUB, json.dumps(commands), str(tmp_path / "run"), **environment)
    assert result.returncode == 0, result.stderr[-3000:]
    ran, evaluated, compiled = (json.loads(line) for line in result.stdout.splitlines()[:3])
    assert ran[0] == evaluated[0] == compiled[0] == 0, result.stdout
    assert "Translated 3" in ran[1]
    assert '"images": 3' in evaluated[1]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == sorted(photos)
    assert (tmp_path / "x.onnx").is_file()
    assert (tmp_path / "run/model.safetensors").is_file()


def test_collecting_what_was_never_run_says_so(models: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(png(0))
    arguments = ("run", str(tmp_path / "in"), "-m", str(models / "maps.onnx"), "-o", str(tmp_path / "out"))
    result = CliRunner().invoke(program, [*arguments, "--device", "cpu", "--collect"])
    assert result.exit_code == 1
    assert "Nothing was translated yet" in result.output


def test_data_are_prepared_from_and_to_a_bucket(bucket: Sink, s3: Proxy) -> None:
    for number in range(3):
        bucket.commit(f"photos/{number}.png", png(number))
    out = f"{bucket.uri}/small"
    arguments = ("prepare", "resize", f"{bucket.uri}/photos", "-o", out, "--size", "16")
    assert out in invoke(*arguments).stdout
    images = {
        item.name: bucket.read(item.name) for item in bucket.list("small/") if item.name.endswith(".png")
    }
    assert sorted(images) == [f"small/{number}.png" for number in range(3)]
    assert {Image.open(io.BytesIO(data)).size for data in images.values()} == {(16, 16)}
    s3.requests.clear()
    assert "0 files written, 3 were there from an earlier run" in invoke(*arguments).output
    assert s3.requests == {"HEAD": 1, "GET": 2}  # whether the input is one object, and two listings
    one = invoke(
        "prepare", "resize", f"{bucket.uri}/photos/0.png", "-o", f"{bucket.uri}/one", "--size", "16", "--json"
    )
    assert json.loads(one.stdout)["written"] == [f"{bucket.uri}/one/0.png"]


def test_a_place_that_is_not_there_is_a_sentence(bucket: Sink) -> None:
    result = run_program("run", str(__file__), "--model", f"{bucket.uri}/none")
    assert result.returncode == 1
    assert (
        f"there is no model {bucket.uri}/none: give the address of a model file or a run's folder"
        in " ".join(result.stderr.split())
    )
    assert "Traceback" not in result.stderr


IMPORTED = """
import sys
from translatekit.cli import program
try:
    program.main(sys.argv[1:], prog_name="translatekit")
except SystemExit as end:
    assert not end.code, end.code
heavy = "fsspec s3fs botocore aiobotocore adlfs azure gcsfs google.cloud huggingface_hub aiohttp".split()
print("imported:", sorted(sys.modules.keys() & set(heavy)))
"""


def test_what_is_local_imports_no_library_of_a_store(models: Path, tmp_path: Path) -> None:
    """Neither help, nor a run over a local folder."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png(0))
    model = models / "maps.onnx"
    for arguments in (
        ["--help"],
        ["run", str(tmp_path / "in"), "--model", str(model), "-o", str(tmp_path / "out")],
        ["info", str(model)],
    ):
        result = run_python("-c", IMPORTED, *arguments)
        assert "imported: []" in result.stdout, result.stdout + result.stderr


def test_a_missing_library_says_what_to_install() -> None:
    code = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name in ('s3fs', 'gcsfs', 'adlfs', 'huggingface_hub') "
        "else find(name, *rest)\n"
        "from translatekit.errors import PluginError\n"
        "from translatekit.storage import open_source\n"
        "for uri in ('s3://b/a', 'gs://b/a', 'az://b/a', 'hf://u/m'):\n"
        "    try: open_source(uri)\n"
        "    except PluginError as error: print(error)\n"
    )
    said = run_python("-c", code).stdout.splitlines()
    assert said == [
        f"an address that begins with {scheme}:// needs what is not installed: "
        f"run pip install 'translatekit[{scheme}]'"
        for scheme in ("s3", "gs", "az", "hf")
    ]
