"""A third party's method, generator, metrics and option types go the whole way, as users start the program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.fakes import run_program, run_programs, run_python
from tests.seams.plugin import write_distribution
from translatekit.model_file import read_info

SMALL = [
    *(
        "--load-size",
        "36",
        "--crop-size",
        "32",
        "--accelerator",
        "cpu",
        "--precision",
        "fp32",
        "--log-every",
        "2",
    ),
    *("--window", "-0.5..0.5", "--layers", "0,2", "--pixels", "8,4", "-G", "window=-0.75..0.5"),
    *("--best-by", "spread", "--checkpoint-every", "2", "--ema", "0.5"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the third party's distribution is installed."""
    folder = tmp_path_factory.mktemp("site")
    write_distribution(folder)
    return folder


@pytest.fixture(scope="module")
def sides(unpaired: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpaired images for training, and the same for validation."""
    root = tmp_path_factory.mktemp("sides")
    for side in "AB":
        for split in ("train", "val"):
            (root / f"{split}{side}").symlink_to(unpaired / f"train{side}")
    return root


@pytest.fixture(scope="module")
def whole(site: Path, sides: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the third party's method that nobody interrupted: 12 steps."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    done = run_program("train", "likeness", str(sides), *SMALL, "-o", str(run), site=site)
    assert done.returncode == 0, done.stderr
    return run


def same(first: Any, second: Any) -> bool:
    """Whether two nested states are equal, bit for bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def state_of(run: Path) -> dict[str, Any]:
    newest = max((run / "checkpoints").glob("step-*.pt"))
    state: dict[str, Any] = torch.load(newest, weights_only=True)
    return state


def test_a_method_without_a_discriminator_trains_networks_of_its_own(whole: Path) -> None:
    state = state_of(whole)
    assert list(state["networks"]) == ["translator", "fixed", "heads"]
    assert list(state["optimizers"]) == ["both", "heads"]
    assert state["deployed"] == {"main": "translator"}
    assert state["ranks"][0]["extra"] == {"count": 12}
    widths = {name: tuple(weight.shape) for name, weight in state["networks"]["heads"].items()}
    assert widths["convs.0.weight"] == (3, 4, 1, 1)
    assert widths["convs.1.weight"] == (3, 3, 1, 1)
    moments = state["optimizers"]["heads"]["state"].values()
    assert any(moment["momentum_buffer"].any() for moment in moments)


def test_its_optimizers_have_rates_and_schedules_of_their_own(whole: Path) -> None:
    both, heads = (state_of(whole)["optimizers"][name]["param_groups"][0] for name in ("both", "heads"))
    assert (both["initial_lr"], both["lr"]) == (1e-3, 1e-3)
    assert (heads["initial_lr"], heads["lr"]) == (0.1, 0.1 * 0.5**11)


def test_the_model_file_says_what_the_generator_takes(whole: Path) -> None:
    info = read_info(whole / "model.safetensors")
    assert (info.data["input"], info.data["target"], info.direction) == ("A", "B", "AtoB")
    assert info.generator_options["window"] == "-0.75..0.5"
    assert (info.package, info.method, info.generator) == ("likeness", "likeness", "windowed")


def test_a_killed_run_goes_on_bit_for_bit(site: Path, sides: Path, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    line = [sys.executable, "-m", "translatekit", "train", "likeness", str(sides), *SMALL, "-o", str(run)]
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )
    end = time.monotonic() + 90
    while not list((run / "checkpoints").glob("step-0000000[2-9].pt")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = run_program("train", "--resume", str(run), site=site)
    assert done.returncode == 0, done.stderr
    assert same(load_file(run / "model.safetensors"), load_file(whole / "model.safetensors"))
    one, other = state_of(run), state_of(whole)
    for part in ("networks", "optimizers", "ema", "progress", "ranks"):
        assert same(one[part], other[part]), part


def test_its_metric_of_sets_decides_the_best_and_is_reported(whole: Path) -> None:
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    measured = [line["metrics"] for line in lines if line["kind"] == "validation"]
    assert [list(metrics) for metrics in measured] == [["spread"], ["spread"]]
    best = min(metrics["spread"] for metrics in measured)
    assert read_info(whole / "best.safetensors").metrics["spread"] == best
    assert "Best validation spread" in (whole / "index.html").read_text()


def test_it_is_evaluated_compiled_and_run(site: Path, whole: Path, sides: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    printed = run_programs(
        ["evaluate", whole, sides, "--metrics", "spread", "--json"],
        ["compile", whole, "-o", model],
        ["run", sides / "valA", "--model", model, "-o", tmp_path / "out"],
        site=site,
    )
    figures = json.JSONDecoder().raw_decode(printed)[0]["models"][0]["metrics"]
    assert list(figures) == ["spread"]
    assert figures["spread"]["low"] <= figures["spread"]["value"] <= figures["spread"]["high"]
    assert len(list((tmp_path / "out").glob("*.png"))) == 6


@pytest.mark.slow
def test_two_processes_train_its_networks_together(site: Path, sides: Path, tmp_path: Path) -> None:
    """The mean of two gradients is the gradient of both images, for features and networks of its own too."""
    arguments = [
        "train",
        "likeness",
        str(sides),
        *SMALL,
        "--max-steps",
        "3",
        "--no-flip",
        "--load-size",
        "32",
    ]
    for name, more in (("two", ("--devices", "2", "--strategy", "ddp")), ("one", ("--batch-size", "2"))):
        run = tmp_path / name
        done = run_program(*arguments, *more, "-o", str(run), site=site, OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr
    one, two = state_of(tmp_path / "one"), state_of(tmp_path / "two")
    assert [rank["extra"] for rank in two["ranks"]] == [{"count": 3}] * 2
    for name, weights in one["networks"].items():
        for key, value in weights.items():
            torch.testing.assert_close(two["networks"][name][key], value, rtol=1e-4, atol=1e-6)


MISTAKES = {
    ("--window", "1..0"): "must be LOW..HIGH, such as -0.5..0.5, got '1..0'",
    ("-G", "window=wide"): "option 'window' must be LOW..HIGH, such as -0.5..0.5, got 'wide'",
    ("--pixels", "8"): "must be 2 values: a whole number, a whole number or none, got '8'",
    ("--layers", "0,-1"): "a whole number of at least 0, got '0,-1'",
    ("--layers", "0,9"): "there is no layer 9: there are 3, from 0 to 2",
    ("--best-by", "spreed"): "got 'spreed': did you mean 'spread'?",
    (
        "--best-by",
        "brightness",
    ): "--best-by brightness needs pairs, and these images have none: pass --best-by",
}


def test_mistakes_are_one_sentence(site: Path, sides: Path, tmp_path: Path) -> None:
    """All in one process, whose start takes longest."""
    arguments = ["train", "likeness", str(sides), *SMALL, "-o", str(tmp_path / "run")]
    code = f"""
import sys
from translatekit.cli import main
for given in {list(MISTAKES)!r}:
    sys.argv = ["translatekit", *{arguments!r}, *given]
    try:
        status = main()
    except SystemExit as end:
        status = end.code
    print(status)
"""
    done = run_python("-c", code, site=site, COLUMNS="1000")
    assert done.stdout.split() == ["1"] * len(MISTAKES), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("Error: ") == len(MISTAKES)
    for given, sentence in MISTAKES.items():
        assert sentence in done.stderr, given
    assert not (tmp_path / "run").exists()


def test_help_and_api_know_its_options(site: Path, sides: Path, tmp_path: Path) -> None:
    shown = run_program("train", "likeness", "--help", site=site, COLUMNS="200").stdout
    assert "--discriminator" not in shown
    assert " -D " not in shown
    assert "LOW..HIGH" in shown
    assert "-1..1" in shown
    assert "spread" in shown
    code = f"""
from likeness.types import Window
from translatekit.config import RunConfig
given = {{"window": Window(-0.25, 0.5), "generator_options": {{"window": Window(0, 1)}}, "pixels": (3, 4)}}
config = RunConfig.resolve("likeness", {str(sides)!r}, given)
path = __import__("pathlib").Path({str(tmp_path)!r}) / "config.toml"
path.write_text(config.to_toml())
again = RunConfig.from_toml(path)
assert again.method_options == config.method_options, again
assert 'window = "-0.25..0.5"' in path.read_text()
assert 'window = "0..1"' in path.read_text()
from translatekit.errors import OptionError
try:
    RunConfig.resolve("likeness", {str(sides)!r}, {{"discriminator_options": {{"layers": 2}}}})
except OptionError as error:
    print(error)
"""
    done = run_python("-c", code, site=site)
    assert done.stdout.strip() == "likeness has no discriminator: leave out -D", done.stderr


def test_the_contract_suite_knows_it(site: Path) -> None:
    listed = run_program("plugins", site=site, COLUMNS="200").stdout
    for name in ("likeness", "windowed", "brightness", "spread", "steadiness"):
        assert name in listed
    done = run_program("plugins", "check", "likeness", site=site, COLUMNS="200")
    assert done.returncode == 0, done.stdout + done.stderr
