"""The model file: its header tells all, is read without torch, and every damaged file is a sentence."""

from __future__ import annotations

import dataclasses
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from translatekit.errors import ModelFileError, OptionError
from translatekit.image_spec import GRAY, ImageSpec
from translatekit.model_file import find_model, read_info, save_model
from translatekit.model_info import ModelInfo

BANDS = ImageSpec(channels=("B02", "B03"), meaning="values", dtype="uint16").with_range((0, 10), (4000, 5000))
INFO = ModelInfo(
    method="pix2pix",
    generator="unet",
    generator_options={"depth": 7, "norm": "batch", "dropout": None},
    input=GRAY,
    output=BANDS,
    size=128,
    size_multiple=128,
    norm_inference="per_image",
    direction="BtoA",
    classes=("cat", "dog"),
    data={"dataset": "aligned", "images": 400},
    metrics={"l1": 0.351},
    step=6400,
    epoch=16,
    versions={"translatekit": "0.1.0"},
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(path, {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4)}, INFO)
    return path


def with_header(path: Path, header: bytes, weights: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header + weights)
    return path


def test_the_header_comes_back_as_it_was(model: Path) -> None:
    assert read_info(model) == INFO


def test_the_weights_are_plain_safetensors(model: Path) -> None:
    from safetensors.torch import load_file

    weights = load_file(model)
    assert torch.equal(weights["a"], torch.arange(6.0).reshape(2, 3))


def test_transposed_weights_are_saved(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    weight = torch.arange(6.0).reshape(2, 3).T
    save_model(tmp_path / "model.safetensors", {"a": weight}, INFO)
    assert torch.equal(load_file(tmp_path / "model.safetensors")["a"], weight)


def test_the_header_is_read_without_torch_or_numpy(model: Path) -> None:
    code = (
        "import sys; from translatekit.model_file import read_info;"
        f"print(read_info({str(model)!r}).size, {{'torch', 'numpy'}} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "128 set()\n"


@pytest.mark.parametrize("share", [0.0, 0.005, 0.5, 0.99])
def test_a_truncated_file_is_refused(model: Path, share: float) -> None:
    data = model.read_bytes()
    model.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelFileError, match=r"is not a translatekit model file|is truncated"):
        read_info(model)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text, not a model",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        b"PK\x03\x04" + b"\0" * 100,
        b"\xff" * 100,
    ],
    ids=["empty", "text", "lfs", "zip", "ones"],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="is not a translatekit model file: give one made by"):
        read_info(path)


@pytest.mark.parametrize(
    "header",
    [b"[]", b"{}{", b'{"a": 1}', b'{"a": {"data_offsets": []}}', b'"text"', b"[" * 100_000, b"\xff\xfe{}"],
)
def test_a_header_that_is_none_is_refused(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(ModelFileError, match="is not a translatekit model file"):
        read_info(with_header(tmp_path / "x.safetensors", header))


def test_weights_without_our_header_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelFileError, match="holds weights but no translatekit header"):
        read_info(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            json.dumps({"method": "x", "generator": "y", "format": 99, "versions": {"translatekit": "9.0"}}),
            r"was written by a newer translatekit \(9.0\): run pip install -U translatekit",
        ),
        (json.dumps({"method": "x", "generator": "y", "unheard_of": 1}), "cannot be understood .*unheard_of"),
        (json.dumps({"method": "x"}), "cannot be understood .*generator"),
        ("not json", "cannot be understood"),
        ("[]", "cannot be understood"),
    ],
)
def test_a_header_of_ours_that_cannot_be_understood_is_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    header = json.dumps({"__metadata__": {"translatekit": text}}).encode()
    with pytest.raises(ModelFileError, match=reason):
        read_info(with_header(tmp_path / "x.safetensors", header))


def test_no_reference_checkpoint_is_taken_for_a_model_file(data_dir: Path) -> None:
    checkpoints = [*data_dir.glob("checkpoints/*.pth"), *data_dir.glob("checkpoints/reference/*.pth")]
    assert len(checkpoints) > 3
    for path in checkpoints:
        with pytest.raises(ModelFileError, match="translatekit import"):
            read_info(path)


def test_a_missing_file_and_a_folder_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"there is no model file .*missing: check the path"):
        read_info(tmp_path / "missing")
    with pytest.raises(ModelFileError, match=r"cannot be read .*directory"):
        read_info(tmp_path)


def test_saving_replaces_and_leaves_nothing_beside(model: Path) -> None:
    save_model(model, {"a": torch.zeros(1)}, dataclasses.replace(INFO, step=1))
    assert read_info(model).step == 1
    assert list(model.parent.iterdir()) == [model]


# Saves one model after the other in a process that it kills, until five kills came in the middle of a save (which
# the temporary file tells); after each kill the model must load and hold the weights of one save only.
KILLS = """
import itertools, os, random, signal, sys, time
from pathlib import Path
import torch
from safetensors.torch import load_file
from translatekit.model_info import ModelInfo
from translatekit.model_file import read_info, save_model

torch.set_num_threads(1)  # a pool of threads does not survive the fork
path = Path(sys.argv[1], "model.safetensors")

def save(step):
    state = {name: torch.full((2**18,), float(step)) for name in "abcd"}
    save_model(path, state, ModelInfo(method="x", generator="y", step=step))

def kill_while_saving(delay):
    child = os.fork()
    if child == 0:
        for step in itertools.count(1):
            save(step)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

save(0)
moments, torn = random.Random(0), 0
for kill in range(200):
    if torn == 5:
        break
    kill_while_saving(moments.uniform(0.005, 0.1))
    torn += len(list(path.parent.glob(".*.tmp")))
    for left in path.parent.glob(".*.tmp"):
        left.unlink()
    step = read_info(path).step
    assert {value for tensor in load_file(path).values() for value in tensor.unique().tolist()} == {step}
print(torn)
"""


def test_a_killed_save_leaves_a_whole_model(tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, "-c", KILLS, str(tmp_path)], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "5\n"), result.stderr


def test_a_runs_folder_stands_for_its_main_model(tmp_path: Path) -> None:
    for name, direction in (("model", "AtoB"), ("model-BtoA", "BtoA"), ("best", "AtoB")):
        save_model(tmp_path / f"{name}.safetensors", {}, dataclasses.replace(INFO, direction=direction))
    assert find_model(tmp_path) == tmp_path / "model.safetensors"
    for word in ("BtoA", "btoa", "BTOA"):
        assert find_model(tmp_path, word) == tmp_path / "model-BtoA.safetensors"
    assert find_model(tmp_path / "best.safetensors") == tmp_path / "best.safetensors"
    with pytest.raises(ModelFileError, match=r"has no generator sideways: it has (BtoA, AtoB|AtoB, BtoA)"):
        find_model(tmp_path, "sideways")


def test_a_copy_beside_a_runs_model_does_not_stand_in_for_it(tmp_path: Path) -> None:
    for name in ("model", "model-before"):
        save_model(tmp_path / f"{name}.safetensors", {}, dataclasses.replace(INFO, direction="AtoB"))
    assert find_model(tmp_path) == find_model(tmp_path, "AtoB") == tmp_path / "model.safetensors"


def test_a_file_is_not_taken_for_another_direction(model: Path) -> None:
    assert find_model(model, "btoa") == model
    with pytest.raises(OptionError, match="translates BtoA, not AtoB: leave out --direction"):
        find_model(model, "AtoB")


def test_a_folder_without_a_model_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        ModelFileError, match=r"holds no model.safetensors: give a run's folder or a model file"
    ):
        find_model(tmp_path)
    with pytest.raises(ModelFileError, match=r"there is no model .*missing: check the path"):
        find_model(tmp_path / "missing")
