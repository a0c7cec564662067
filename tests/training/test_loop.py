"""A run: what it leaves behind, how it resumes, how it ends when something is wrong."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from translatekit_pix2pix.method import Pix2Pix

from tests.fakes import run_python
from tests.training.conftest import TINY, draw_pairs
from translatekit import load_network, train
from translatekit.config import RunConfig, TrainOptions
from translatekit.errors import DataError, OptionError, PluginError, TrainingError, TranslatekitError
from translatekit.model_file import read_info
from translatekit.training.checkpoint import load_checkpoint
from translatekit.training.setup import make_fabric

FLAGS = [
    *("--load-size", "36", "--crop-size", "32", "--accelerator", "cpu", "--log-every", "2"),
    *("--precision", "fp32"),
    *("-G", "depth=5", "-G", "width=4", "-D", "layers=1", "-D", "width=4"),
]


def same(first: Any, second: Any) -> bool:
    """Whether two nested states are equal, bit for bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def entries(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "translatekit", "train", *arguments]


def wait_for(condition: Any, process: subprocess.Popen[str], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def finished(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train("pix2pix", pairs, output=str(tmp_path_factory.mktemp("runs") / "run"), **TINY)


def test_a_run_explains_itself(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {
        "config.toml",
        "model.safetensors",
        "best.safetensors",
        "metrics.jsonl",
        "index.html",
        "samples",
    } <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    info = read_info(finished / "model.safetensors")
    assert (info.method, info.generator, info.step, info.epoch, info.size) == ("pix2pix", "unet", 24, 3, 32)
    assert info.size_multiple == 32
    assert len(list((finished / "samples").glob("*.png"))) == 3
    assert not list(finished.rglob("*.tmp"))


def test_losses_accuracies_and_metrics_are_logged(finished: Path) -> None:
    last = entries(finished, "train")[-1]
    assert last["step"] == 24
    assert last["losses"].keys() == {"G_GAN", "G_L1", "D_real", "D_fake"}
    assert set(last["accuracy"]) == {"real", "fake"}
    assert last["images_per_second"] > 0
    validations = entries(finished, "validation")
    assert [entry["epoch"] for entry in validations] == [0, 1, 2]
    assert validations[0]["metrics"].keys() == {"l1", "psnr", "ssim"}


def test_best_is_the_epoch_of_the_lowest_l1(finished: Path) -> None:
    lowest = min(entries(finished, "validation"), key=lambda entry: entry["metrics"]["l1"])
    assert read_info(finished / "best.safetensors").metrics["l1"] == lowest["metrics"]["l1"]


def test_the_learning_rate_falls_linearly_in_the_epochs_of_decay(finished: Path) -> None:
    rates = {entry["epoch"]: entry["lr"] for entry in entries(finished, "train")}
    assert rates == pytest.approx({0: 2e-4, 1: 2e-4, 2: 1e-4})


def test_the_same_options_train_the_same_weights(finished: Path, tmp_path: Path) -> None:
    again = train(config=finished / "config.toml", output=str(tmp_path / "again"))
    assert same(load_file(finished / "model.safetensors"), load_file(again / "model.safetensors"))


def test_loading_gives_back_the_trained_network(finished: Path) -> None:
    network, info = load_network(finished)
    assert not network.training
    output = network(torch.zeros(1, 3, 32, 32))
    assert output.shape == (1, 3, 32, 32)
    assert info.direction == "AtoB"


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_killed_at_a_random_step_resumes_to_the_same_weights(
    pairs: Path, finished: Path, tmp_path: Path, workers: str
) -> None:
    run = tmp_path / "run"
    often = ["--checkpoint-every", "3", "--workers", workers]
    process = start(
        ["pix2pix", str(pairs), *FLAGS, "--epochs", "2", "--epochs-decay", "1", "-o", str(run), *often]
    )
    wanted = random.randint(1, 5)
    wait_for(
        lambda: len(list((run / "checkpoints").glob("step-*.pt"))) and _newest(run) >= 3 * wanted, process
    )
    process.send_signal(signal.SIGKILL)
    process.wait()
    (run / ".0123456789abcdef.translatekit.tmp").write_bytes(b"a save that was cut off")
    resumed = train(resume=run)
    assert resumed == run
    assert not list(run.rglob("*.tmp"))
    assert same(load_file(finished / "model.safetensors"), load_file(run / "model.safetensors"))
    first, second = load_checkpoint(finished / "checkpoints"), load_checkpoint(run / "checkpoints")
    assert same(first["networks"], second["networks"])
    assert same(first["optimizers"], second["optimizers"])
    steps = [entry["step"] for entry in entries(run, "train")]
    assert steps == sorted(set(steps))
    seconds = [entry["seconds"] for entry in entries(run, "train")]
    assert seconds[0] > 0
    assert seconds == sorted(seconds)  # of training: they go on where the killed session stood


def _newest(run: Path) -> int:
    return max(int(path.stem.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*.pt"))


def test_noise_goes_on_where_it_was_in_the_middle_of_an_epoch(pairs: Path, tmp_path: Path) -> None:
    noisy = {**TINY, "load_size": 68, "crop_size": 64, "generator_options": {"depth": 6, "width": 4}}
    whole = train("pix2pix", pairs, output=str(tmp_path / "whole"), **noisy)
    part = train("pix2pix", pairs, output=str(tmp_path / "part"), **{**noisy, "max_steps": 11})
    train(resume=part, max_steps=None)
    assert same(load_file(whole / "model.safetensors"), load_file(part / "model.safetensors"))


def test_cyclegan_resumes_with_its_image_pools(unpaired: Path, tmp_path: Path) -> None:
    options = {
        **TINY,
        "generator_options": {"width": 4, "blocks": 1},
        "pool_size": 3,
        "epochs_decay": 0,
        "checkpoint_every": 4,
    }
    whole = train("cyclegan", unpaired, output=str(tmp_path / "whole"), **options)
    part = train("cyclegan", unpaired, output=str(tmp_path / "part"), **{**options, "max_steps": 8})
    train(resume=part, max_steps=None)
    for name in ("model.safetensors", "model-BtoA.safetensors"):
        assert same(load_file(whole / name), load_file(part / name))
    assert read_info(whole / "model-BtoA.safetensors").direction == "BtoA"


def test_averaged_weights_are_deployed_and_resume(pairs: Path, finished: Path, tmp_path: Path) -> None:
    whole = train("pix2pix", pairs, output=str(tmp_path / "whole"), ema=0.9, **TINY)
    assert not same(load_file(finished / "model.safetensors"), load_file(whole / "model.safetensors"))
    trained, plain = (load_checkpoint(run / "checkpoints")["networks"] for run in (whole, finished))
    assert same(trained, plain), "averaging must not change the training"
    part = train("pix2pix", pairs, output=str(tmp_path / "part"), ema=0.9, **{**TINY, "max_steps": 11})
    train(resume=part, max_steps=None)
    assert same(load_file(whole / "model.safetensors"), load_file(part / "model.safetensors"))


def test_ctrl_c_saves_and_says_how_to_go_on(pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(["pix2pix", str(pairs), *FLAGS, "--epochs", "500", "-o", str(run)])
    wait_for(lambda: (run / "metrics.jsonl").exists() and entries(run, "train"), process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"translatekit train --resume {run}" in errors.replace("\n", " ")
    assert "Traceback" not in errors
    stopped = int(errors.split("saved at step ")[1].split(";")[0])
    assert load_checkpoint(run / "checkpoints")["progress"]["step"] == stopped


def test_two_processes_train_one_model(pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["pix2pix", str(pairs), *FLAGS, "--epochs", "1", "--epochs-decay", "0", "-o", str(run)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command(*arguments, "--devices", "2", "--strategy", "ddp"),
        capture_output=True, text=True, timeout=180, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read_info(run / "model.safetensors").step == 4, "two processes share the eight images"
    state = load_checkpoint(run / "checkpoints")
    assert len(state["ranks"]) == 2
    assert not same(state["ranks"][0]["random"], state["ranks"][1]["random"])


def test_two_processes_give_the_gradients_of_one_with_twice_the_batch(pairs: Path, tmp_path: Path) -> None:
    # without batch normalization and dropout, the mean of two gradients is the gradient of both images
    flags = [*FLAGS, "-G", "norm=none", "-G", "dropout=0", "-D", "norm=none", "--max-steps", "3", "--no-flip"]
    flags += ["--load-size", "32", "--init-gain", "0.1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name, more in (("two", ["--devices", "2", "--strategy", "ddp"]), ("one", ["--batch-size", "2"])):
        arguments = command("pix2pix", str(pairs), *flags, "-o", str(tmp_path / name), *more)
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=180, env=environment)
        assert done.returncode == 0, done.stderr
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5)


def test_a_loss_that_is_not_a_number_is_named_with_its_step(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"the loss \w+ is (nan|inf|-inf) at step \d+: .*--config .* lower --lr"
    ):
        train("pix2pix", pairs, output=str(tmp_path / "run"), **{**TINY, "lr": 1e30, "epochs": 20})


def test_without_validation_images_there_is_no_best(tmp_path: Path) -> None:
    draw_pairs(tmp_path / "data" / "train", 3)
    run = train("pix2pix", tmp_path / "data", output=str(tmp_path / "run"), **{**TINY, "epochs": 1})
    assert not (run / "best.safetensors").exists()
    assert (run / "model.safetensors").exists()


def test_an_occupied_folder_is_left_alone(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(TrainingError, match="nothing in it will be overwritten"):
        train("pix2pix", pairs, output=str(tmp_path), **TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_runs_without_a_name_are_numbered(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {**TINY, "max_steps": 1}
    first, second = train("pix2pix", pairs, **options), train("pix2pix", pairs, **options)
    assert (str(first), str(second)) == (f"runs/pix2pix-{pairs.name}", f"runs/pix2pix-{pairs.name}-2")


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"batch_size": 9}, DataError, "a batch of 9 .* has 8 images: pass --batch-size 8"),
        ({"generator": "unett"}, PluginError, "did you mean 'unet'"),
        ({"generator_options": {"dept": 5}}, OptionError, "did you mean 'depth'"),
        ({"lambda_l2": 1}, OptionError, "'lambda_l2'"),
        ({"lambda_l1": "much"}, OptionError, "must be a number of at least 0, got 'much'"),
        ({"dataset": "unaligned"}, OptionError, "needs paired images"),
        ({"adversarial": "l1"}, OptionError, "l1"),
        ({"load_size": 30}, OptionError, "--load-size 32"),
        ({"crop_size": 30, "load_size": 40}, TranslatekitError, "multiples of 32"),
        ({"accelerator": "abacus"}, OptionError, "Hardware"),
    ],
)
def test_mistakes_are_one_sentence(
    pairs: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence) as caught:
        train("pix2pix", pairs, output=str(tmp_path / "run"), **{**TINY, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "sentence"), [("missing", "missing"), ("empty", "empty")])
def test_missing_and_empty_folders_are_told_apart(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=sentence):
        train("pix2pix", tmp_path / name, output=str(tmp_path / "run"), **TINY)


def test_only_what_cannot_break_exactness_may_change_on_resume(finished: Path) -> None:
    with pytest.raises(OptionError, match="lr cannot change when a run is resumed"):
        train(resume=finished, lr=1e-3)


def test_a_full_disk_is_said_and_leaves_earlier_checkpoints(pairs: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", disk], capture_output=True
    ).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        arguments = ["pix2pix", str(pairs), *FLAGS, "--epochs", "50", "-o", str(disk / "run")]
        done = subprocess.run(
            command(*arguments, "--keep-checkpoints", "100"), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "free some space" in done.stderr.replace("\n", " ")
        assert not list((disk / "run").rglob("*.tmp"))
        assert load_checkpoint(disk / "run" / "checkpoints")["progress"]["step"] > 0
    finally:
        subprocess.run(["umount", disk], check=True)


def test_config_repeats_every_option(pairs: Path) -> None:
    given = {"load_size": None, "lambda_l1": 10, "ema": 0.5, "generator_options": {"depth": 5}, "workers": 2}
    config = RunConfig.resolve("pix2pix", pairs, given)
    path = pairs / "config.toml"
    path.write_text(config.to_toml())
    assert RunConfig.from_toml(path) == config
    path.unlink()


def test_a_configuration_is_changed_option_by_option(tmp_path: Path) -> None:
    given = {"generator_options": {"depth": 5, "width": 8}, "dataset_options": {"b": "b/", "in_channels": 1}}
    path = tmp_path / "config.toml"
    path.write_text(RunConfig.resolve("pix2pix", "a/", given).to_toml())
    changed = RunConfig.from_toml(path, {"generator_options": {"width": "16"}}).options
    assert changed.generator_options == {"depth": 5, "width": "16"}
    assert changed.dataset_options == given["dataset_options"]
    assert RunConfig.from_toml(path, {"generator": "resnet"}).options.generator_options == {}
    other = RunConfig.from_toml(path, {"data": "c/"}).options
    assert other.dataset_options == {"in_channels": 1}, "the second folder was that of other images"


@pytest.mark.parametrize("devices", ["0", "-1", "0,,1", ","])
def test_devices_that_are_none_are_refused_where_they_are_read(
    devices: str, pairs: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        OptionError, match="option 'devices' must be how many, their numbers such as 0,1, or auto"
    ):
        train("pix2pix", pairs, output=str(tmp_path / "run"), devices=devices)


def test_auto_devices_are_so_in_letters_of_whatever_case() -> None:
    fabric = make_fabric(TrainOptions(accelerator="cpu", devices="AUTO", precision="fp32"))
    assert (
        fabric.world_size
        == make_fabric(TrainOptions(accelerator="cpu", devices="auto", precision="fp32")).world_size
    )


def test_a_device_by_its_number_that_is_not_there_is_refused(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="these devices cannot be used"):
        train("pix2pix", pairs, output=str(tmp_path / "run"), devices="0,", **{**TINY, "accelerator": "cpu"})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("steps_before", [0, 1])
def test_a_run_that_memory_is_too_small_for_leaves_a_folder_only_after_its_first_step(
    steps_before: int, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, done = Pix2Pix.step, []

    def step_until_memory_is_full(method: Pix2Pix, batch: Any) -> Any:
        if len(done) == steps_before:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        done.append(batch)
        return step(method, batch)

    monkeypatch.setattr(Pix2Pix, "step", step_until_memory_is_full)
    with pytest.raises(TrainingError, match=r"memory of the device is too small.*2\.00 GiB.*--batch-size"):
        train("pix2pix", pairs, output=str(tmp_path / "run"), max_steps=2, **TINY)
    assert (tmp_path / "run").exists() == (steps_before > 0)


def test_a_folder_left_by_a_run_killed_before_its_configuration_was_whole_is_free(
    pairs: Path, tmp_path: Path
) -> None:
    left = tmp_path / "run" / ".0123456789abcdef.translatekit.tmp"
    left.parent.mkdir()
    left.write_text("method =")
    assert train("pix2pix", pairs, output=str(left.parent), **{**TINY, "max_steps": 1}) == left.parent


def test_a_training_imports_no_library_that_only_a_validation_uses() -> None:
    code = (
        "import sys, translatekit.training.setup, translatekit.training.loop\n"
        "print(sorted({'torchmetrics', 'torchvision', 'scipy'} & set(sys.modules)))\n"
        "import torchmetrics.functional.image\n"
    )
    done = run_python("-c", code)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_crops_that_a_generator_cannot_take_are_refused_though_it_does_not_say_so(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("translatekit.networks.resnet.check_sides", lambda *sides, **more: None)
    options = {**TINY, "generator": "resnet", "generator_options": {"width": 2, "blocks": 1}, "crop_size": 30}
    with pytest.raises(OptionError, match=r"resnet needs .* multiples of 4, got 30x30: pass --crop-size 32"):
        train("pix2pix", pairs, output=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
