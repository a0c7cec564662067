"""What a run leaves behind when it is refused or dies, and how it goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning_fabric.plugins.precision.precision import Precision
from PIL import Image
from safetensors.torch import load_file
from translatekit_pix2pix.method import Pix2Pix

from tests.training.conftest import TINY, draw_pairs
from tests.training.test_loop import entries, same
from translatekit import train
from translatekit.config import RunConfig
from translatekit.errors import OptionError, TrainingError, TranslatekitError
from translatekit.storage import held
from translatekit.training import failures, loop
from translatekit.training.checkpoint import load_checkpoint
from translatekit.training.remote import working_folder

SHORT = {**TINY, "epochs": 2, "epochs_decay": 0, "log_every": 5}


@pytest.mark.parametrize(
    ("method", "options", "sentence"),
    [
        (
            "pix2pix",
            {"crop_size": 33},
            r"multiples of 32, got 33x33: pass --crop-size 32, with a --load-size",
        ),
        ("pix2pix", {"batch_size": 9}, "pass --batch-size 8"),
        ("pix2pix", {"dataset": "demo"}, "dataset 'demo' reads no folder, and .* would be ignored"),
        ("pix2pix", {"dataset": "colorization", "direction": "BtoA"}, "one direction only"),
        ("cyclegan", {"direction": "BtoA"}, "cyclegan learns both ways at once"),
        ("pix2pix", {"strategy": "fsdp"}, "strategy"),
    ],
)
def test_a_refused_run_leaves_nothing(
    pairs: Path, tmp_path: Path, method: str, options: dict[str, Any], sentence: str
) -> None:
    output = tmp_path / "runs" / "new" / "run"
    with pytest.raises(TranslatekitError, match=sentence):
        train(method, pairs, output=str(output), **{**SHORT, **options})
    assert not list(tmp_path.iterdir())


def test_a_refused_run_takes_only_its_own_files_away(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"

    def refuse(self: Pix2Pix, batch: Any) -> Any:
        (run / "notes.txt").write_text("precious")
        raise OptionError("no: try another")

    monkeypatch.setattr(Pix2Pix, "step", refuse)
    with pytest.raises(OptionError):
        train("pix2pix", pairs, output=str(run), **SHORT)
    assert [path.name for path in run.iterdir()] == ["notes.txt"]


def test_a_run_that_died_in_its_first_step_is_started_again_by_resume(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train("pix2pix", pairs, output=str(tmp_path / "whole"), **SHORT)
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Pix2Pix, "step", lambda self, batch: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train("pix2pix", pairs, output=str(run), **SHORT)
    assert (run / "config.toml").exists()
    assert not (run / "checkpoints").exists()
    with pytest.raises(TrainingError, match="or go on with that run by --resume"):
        train("pix2pix", pairs, output=str(run), **SHORT)
    train(resume=run)
    assert same(load_file(whole / "model.safetensors"), load_file(run / "model.safetensors"))
    measured = [[entry["metrics"] for entry in entries(one, "validation")] for one in (whole, run)]
    assert measured[0] == measured[1]


@pytest.fixture(scope="module")
def often(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 16 steps that was saved after each of them, by the clock."""
    run = tmp_path_factory.mktemp("often") / "run"
    options = {**SHORT, "checkpoint_minutes": 1e-9, "keep_checkpoints": 100}
    return train("pix2pix", pairs, output=str(run), **options)


def saved(run: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in (run / "checkpoints").iterdir())


def figures(run: Path) -> list[Any]:
    return [(entry["step"], entry["losses"]) for entry in entries(run, "train")]


def test_checkpoints_are_written_at_the_first_step_by_the_clock_and_by_the_epoch(
    pairs: Path, often: Path, tmp_path: Path
) -> None:
    plain = train("pix2pix", pairs, output=str(tmp_path / "plain"), keep_checkpoints=100, **SHORT)
    assert saved(plain) == [1, 8, 16]
    assert saved(often) == list(range(1, 17))
    assert same(load_file(plain / "model.safetensors"), load_file(often / "model.safetensors"))
    assert figures(plain) == figures(often)


@pytest.mark.parametrize("step", [1, 7, 8, 13])
def test_a_run_goes_on_exactly_wherever_its_checkpoint_fell(often: Path, tmp_path: Path, step: int) -> None:
    run = tmp_path / "run"
    shutil.copytree(often, run)
    for later in range(step + 1, 17):
        (run / "checkpoints" / f"step-{later:08}.pt").unlink()
    train(resume=run)
    assert same(load_file(often / "model.safetensors"), load_file(run / "model.safetensors"))
    first, second = load_checkpoint(often / "checkpoints"), load_checkpoint(run / "checkpoints")
    assert same(first, second)
    assert figures(run) == figures(often)


def test_a_run_goes_on_with_images_that_have_moved_and_with_no_others(tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    draw_pairs(data / "train", 4)
    whole = train("pix2pix", data, output=str(tmp_path / "whole"), **SHORT)
    train("pix2pix", data, output=str(run), **{**SHORT, "max_steps": 5})
    draw_pairs(tmp_path / "other" / "train", 3)
    with pytest.raises(OptionError, match=r"leave out .*other, or train on it by --config"):
        train("pix2pix", tmp_path / "other", resume=run)
    moved = data.rename(tmp_path / "moved")
    with pytest.raises(TrainingError, match="was trained on 4 images and there are 3 now"):
        train("pix2pix", tmp_path / "other", resume=run)
    assert RunConfig.from_toml(run / "config.toml").data == str(data)
    train("pix2pix", moved, resume=run, max_steps=None)
    assert RunConfig.from_toml(run / "config.toml").data == str(moved)
    assert same(load_file(whole / "model.safetensors"), load_file(run / "model.safetensors"))


def test_a_run_goes_on_with_images_at_another_address_only_where_its_own_are_gone(tmp_path: Path) -> None:
    data, other, run = tmp_path / "data", tmp_path / "other", tmp_path / "run"
    draw_pairs(data / "train", 4)
    draw_pairs(other / "train", 4)
    train("pix2pix", data.as_uri(), output=str(run), **{**SHORT, "max_steps": 1})
    with pytest.raises(OptionError, match=r"leave out file://.*other, or train on it by --config"):
        train("pix2pix", other.as_uri(), resume=run, max_steps=2)
    train("pix2pix", f"{data.as_uri()}/", resume=run, max_steps=2)
    moved = data.rename(tmp_path / "moved")
    train("pix2pix", moved.as_uri(), resume=run, max_steps=3)
    assert RunConfig.from_toml(run / "config.toml").data == moved.as_uri()


def test_a_run_of_two_folders_goes_on_where_they_are_now(unpaired: Path, tmp_path: Path) -> None:
    a, b, run = tmp_path / "a", tmp_path / "b", tmp_path / "run"
    shutil.copytree(unpaired / "trainA", a)
    shutil.copytree(unpaired / "trainB", b)
    options = {**SHORT, "generator": "unet", "validate_every": 0}
    train("cyclegan", (a, b), output=run, **options, max_steps=1)
    with pytest.raises(OptionError, match=r"leave out .*c, or train on it by --config"):
        train("cyclegan", (a, tmp_path / "c"), resume=run, max_steps=2)
    c = b.rename(tmp_path / "c")
    train("cyclegan", (a, c), resume=run, max_steps=2)
    d = a.rename(tmp_path / "d")
    train("cyclegan", d, resume=run, max_steps=3)
    moved = RunConfig.from_toml(run / "config.toml")
    assert (moved.data, moved.options.dataset_options) == (str(d), {"b": str(c)})
    assert read_steps(run) == 3


def test_what_is_changed_by_a_resume_holds_for_the_next_one(pairs: Path, tmp_path: Path) -> None:
    whole = train("pix2pix", pairs, output=tmp_path / "whole", **{**SHORT, "epochs": 1, "epochs_decay": 2})
    run = train("pix2pix", pairs, output=tmp_path / "run", **{**SHORT, "epochs": 1, "max_steps": 4})
    step, steps = Pix2Pix.step, []

    def dying(self: Pix2Pix, batch: Any) -> Any:
        steps.append(batch)
        return 1 / 0 if len(steps) == 10 else step(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pix2Pix, "step", dying)
        with pytest.raises(ZeroDivisionError):
            train(resume=run, max_steps=None, epochs_decay=2)
    train(resume=run)
    assert same(load_file(whole / "model.safetensors"), load_file(run / "model.safetensors"))
    assert read_steps(run) == 24


def test_a_run_goes_on_in_a_precision_that_scales_gradients_and_back(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As fp16 does, which a CPU does not compute in."""
    run = train("pix2pix", pairs, output=tmp_path / "run", **{**SHORT, "max_steps": 1})
    with monkeypatch.context() as patch:
        patch.setattr(Precision, "state_dict", lambda self: {"scale": 2.0})
        loaded: list[Any] = []

        def load(self: Precision, state: Any) -> None:
            if not state:
                raise RuntimeError("The source state dict is empty")
            loaded.append(state)

        patch.setattr(Precision, "load_state_dict", load)
        train(resume=run, max_steps=2)
        assert not loaded
        train(resume=run, max_steps=3)
        assert loaded == [{"scale": 2.0}]
    assert train(resume=run, max_steps=4) == run


def test_a_run_of_fewer_devices_keeps_its_place_in_the_epoch(pairs: Path, tmp_path: Path) -> None:
    run = train("pix2pix", pairs, output=str(tmp_path / "run"), **{**SHORT, "max_steps": 3})
    path = next((run / "checkpoints").glob("step-00000003.pt"))
    state = loop.torch.load(path, weights_only=True)
    state["ranks"] *= 2  # as two processes would have left it after three steps, with six images seen
    state["progress"]["images"] = 6
    loop.torch.save(state, path)
    train(resume=run, max_steps=None)
    assert read_steps(run) == 3 + 2 + 8, "two more images of this epoch, eight of the next"


def test_the_same_command_goes_on_with_its_own_run_and_with_no_other(pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    whole = train("pix2pix", pairs, output=str(tmp_path / "whole"), **SHORT)
    command = {**SHORT, "output": str(run), "autoresume": True}
    train("pix2pix", pairs, **command, max_steps=5)
    with pytest.raises(OptionError, match=r"is a run with lr 0.0002, and 0.001 was asked for"):
        train("pix2pix", pairs, **command, lr=1e-3)
    with pytest.raises(OptionError, match=r"is a run with generator_options .* was asked for"):
        train("pix2pix", pairs, **{**command, "generator_options": {"depth": 5, "width": 8}})
    with pytest.raises(OptionError, match="pass -o, and no --resume"):
        train("pix2pix", pairs, **SHORT, autoresume=True)
    train("pix2pix", pairs, **command, max_steps=None)
    assert same(load_file(whole / "model.safetensors"), load_file(run / "model.safetensors"))


def test_a_configuration_goes_on_with_its_own_run_and_not_once_it_is_changed(
    pairs: Path, tmp_path: Path
) -> None:
    options = {**SHORT, "max_steps": 1, "recipe": "fast", "ema": None}
    path = train("pix2pix", pairs, output=tmp_path / "first", **options) / "config.toml"
    for steps in (1, 2):
        run = train(config=path, output=tmp_path / "run", autoresume=True, max_steps=steps)
    assert read_steps(run) == 2
    path.write_text(path.read_text().replace("lambda_l1 = 100.0", "lambda_l1 = 50.0"))
    with pytest.raises(OptionError, match=r"is a run with lambda_l1 100.0, and 50.0 was asked for"):
        train(config=path, output=run, autoresume=True)


def test_the_same_command_goes_on_with_the_values_that_its_run_has_and_with_no_others(tmp_path: Path) -> None:
    data = tmp_path / "data"
    random = np.random.default_rng(0)
    for side in ("trainA", "trainB"):
        (data / side).mkdir(parents=True)
        for index in range(2):
            values = random.uniform(0, 100, (40, 40, 1)).astype(np.float32)
            np.save(data / side / f"{index}.npy", values)
    command = {**SHORT, "output": tmp_path / "run", "autoresume": True, "max_steps": 1}
    for asked in ("A=data,B=0..100", "A=data,B=0..1e2", "data", "B=0..100,A=1%..99%"):
        train("pix2pix", data, **command, range=asked)
    with pytest.raises(OptionError, match=r"is a run with range A=.*,B=0.0..100.0, and 0..200 was asked for"):
        train("pix2pix", data, **command, range="0..200")
    with pytest.raises(OptionError, match=r"is a run with labels None, and A=3 was asked for"):
        train("pix2pix", data, **command, labels="A=3")


def test_a_run_with_a_file_of_classes_goes_on_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for side, mode in (("trainA", "L"), ("trainB", "RGB")):
        (tmp_path / "data" / side).mkdir(parents=True)
        Image.new(mode, (40, 40)).save(tmp_path / "data" / side / "0.png")
    (tmp_path / "classes.json").write_text('{"classes": [{"name": "sky"}, {"name": "road"}]}')
    monkeypatch.chdir(tmp_path)
    command = {**SHORT, "output": tmp_path / "run", "autoresume": True, "labels": "A=classes.json"}
    for steps in (1, 2):
        train("pix2pix", "data", **command, max_steps=steps)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    train(resume=tmp_path / "run", max_steps=2)
    assert read_steps(tmp_path / "run") == 2


def read_steps(run: Path) -> int:
    return int(json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"])


def test_a_run_that_is_being_trained_is_not_resumed_beside(pairs: Path, tmp_path: Path) -> None:
    run = train("pix2pix", pairs, output=tmp_path / "run", **{**SHORT, "max_steps": 2})
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib, translatekit.storage as storage\n"
            "with storage.held(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()",
            str(run),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TrainingError, match=r"another process trains .*run at this moment"):
            train(resume=run, max_steps=4)
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    finally:
        holder.kill()
        holder.communicate()
    assert train(resume=run, max_steps=4) == run


@pytest.mark.parametrize(("in_a_store", "has_ended"), [(False, False), (False, True), (True, False)])
def test_of_two_runs_that_are_begun_at_once_one_is_refused_and_touches_nothing(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_a_store: bool, has_ended: bool
) -> None:
    """The other one begins while this one, which has chosen the same folder by then, looks at its images."""
    if in_a_store:
        pytest.importorskip("fsspec")
    place = f"memory://runs/{tmp_path.name}" if in_a_store else str(tmp_path / "run")
    folder, build = working_folder(place), loop.build
    others = {folder / name: name.encode() for name in ("config.toml", "metrics.jsonl", "index.html")}
    monkeypatch.setattr(failures, "_PATIENCE", 0.0)
    with ExitStack() as other:

        def meanwhile(*arguments: Any) -> Any:
            folder.mkdir(parents=True)
            for path, content in others.items():
                path.write_bytes(content)
            if not has_ended:
                other.enter_context(held(folder))
            return build(*arguments)

        monkeypatch.setattr(loop, "build", meanwhile)
        with pytest.raises(TrainingError, match=r"another process (trains|has begun a run in) .*run"):
            train("pix2pix", pairs, output=place, **SHORT)
    assert {path: path.read_bytes() for path in folder.iterdir()} == others


def test_a_run_that_was_killed_before_it_wrote_the_last_model_has_it_after_a_resume(
    pairs: Path, tmp_path: Path
) -> None:
    run = train("pix2pix", pairs, output=str(tmp_path / "run"), **SHORT)
    whole = (run / "model.safetensors").read_bytes()
    early = train("pix2pix", pairs, output=str(tmp_path / "early"), **SHORT, max_steps=5)
    shutil.copyfile(early / "model.safetensors", run / "model.safetensors")
    train(resume=run)
    assert (run / "model.safetensors").read_bytes() == whole
