"""Searches: their spaces, what becomes of trials, and studies that are killed, gone on with and shared."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from translatekit_tools.tune import claims, tune
from translatekit_tools.tune import study as studies
from translatekit_tools.tune.claims import SILENCE, claimed
from translatekit_tools.tune.options import TuneOptions
from translatekit_tools.tune.space import check_space, read_space

from tests.training.conftest import pairs as pairs
from translatekit import train
from translatekit.config import RunConfig
from translatekit.errors import DataError, OptionError, TrainingError
from translatekit.options import check_options

SPACE = """
lr = {low = 1e-5, high = 1e-2, log = true}
lambda_l1 = [10, 100]
load_size = 36
crop_size = 32
epochs = 2
epochs_decay = 0
accelerator = "cpu"
precision = "fp32"
log_to = "none"

[generator_options]
width = {low = 4, high = 8, step = 2}
depth = 5

[discriminator_options]
width = 4
layers = 1
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.toml"
    path.write_text(SPACE)
    return path


def trials_of(folder: Path) -> list[optuna.trial.FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    return optuna.load_study(study_name="study", storage=storage).trials


def by(values: Callable[[int], list[float]]) -> Callable[..., Path]:
    """A training that takes no time: of the number of a trial, the L1 of its validations."""

    def run(method: Any, data: Any, *, given: Mapping[str, Any], judge: Any, **_: Any) -> Path:
        place = Path(given["output"])
        place.mkdir(parents=True)
        (place / "config.toml").write_text(RunConfig.resolve(str(method), data, given).to_toml())
        for epoch, value in enumerate(values(int(place.name)), 1):
            if not judge(epoch, {"l1": value}):
                break
        return place

    return run


def test_a_space_has_ranges_lists_and_values(space: Path) -> None:
    read = read_space(space)
    assert set(read.searched) == {"lr", "lambda_l1", "generator_options.width"}
    assert read.fixed["generator_options.depth"] == 5
    options = read.suggest(optuna.create_study().ask())
    assert 1e-5 <= options["lr"] <= 1e-2
    assert options["lambda_l1"] in (10, 100)
    assert options["generator_options"]["width"] in (4, 6, 8)
    assert check_space(read, "pix2pix", None) == "l1"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lr = {low = 1e-5}", "lr has low, and a range is"),
        ("lr = {low = 1, high = 0.1}", "lr goes from 1 to 0.1: write the lower one first"),
        ("lr = {low = 0, high = 0.1, log = true}", "start a logarithmic range above 0"),
        ("lr = {low = 0.1, high = 1.0, low2 = 3}", "lr has low, high, low2"),
        (
            "batch_size = {low = 1, high = 8, step = 0.5}",
            "batch_size has the step 0.5: give a number above 0, a whole",
        ),
        ("lr = {low = 0.1, high = 1.0, step = 0.0}", "lr has the step 0.0: give a number above 0"),
        ('lr = {low = 0.1, high = 1.0, step = "a"}', "lr has the step 'a'"),
        ('lr = {low = 0.1, high = 1.0, log = "yes"}', "lr has log = 'yes': write log = true"),
        ("lr = []", "lr is an empty list"),
        ("lr = 0.1", "nothing to search"),
        ("lr = ", "cannot be read"),
        ("lrr = [1, 2]", "has no option 'lrr': did you mean 'lr'"),
        ("lr = [0.1, -1.0]", "option 'lr' must be a number above 0, got -1.0"),
        ("[generator_options]\ndepht = [5, 6]", "has no option 'depht': did you mean 'depth'"),
        ("[generator_options]\ndepth = {low = 0, high = 6}", "option 'depth' must be a whole number"),
        ('best_by = ["l1", "psnr"]', "best_by cannot be searched"),
        ("lr = [0.1, 0.2]\nvalidate_every = 0", "give validate_every 1 or more"),
        ('lr = [0.1, 0.2]\ndevices = "2"', "a trial trains on one device: leave devices out"),
        ('lr = [0.1, 0.2]\noutput = "x"', "output is no option of a space"),
    ],
)
def test_a_space_that_does_not_fit_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "space.toml").write_text(text)
    with pytest.raises(OptionError, match=sentence):
        tune("pix2pix", space=tmp_path / "space.toml", out=tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_the_best_trial_is_kept_and_bad_ones_are_recorded(
    space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {0: [0.5, 0.4], 1: [0.3, 0.35], 2: [0.9], 4: [0.4, 0.32]}

    def of(number: int) -> list[float]:
        if number == 3:
            raise TrainingError("the loss D is nan at step 7: start again with a lower --lr")
        return values[number]

    monkeypatch.setattr(studies, "train", by(of))
    said: list[str] = []
    found = tune("pix2pix", space=space, out=tmp_path / "s", trials=5, prune_after=2, seed=0, say=said.append)
    assert (found.value, found.best, found.metric) == (0.3, tmp_path / "s" / "trials" / "0001", "l1")
    states = [trial.state for trial in trials_of(found.folder)]
    assert states[2:4] == [TrialState.PRUNED, TrialState.FAIL]
    assert (found.finished, found.pruned, found.failed) == (3, 1, 1)
    best = RunConfig.from_toml(found.config)
    assert best.options.output is None
    assert best.options.lr == found.options["lr"]
    assert best.options.generator_options["width"] == found.options["generator_options.width"]
    page = (found.folder / "index.html").read_text()
    for text in (
        "pruned",
        "the loss D is nan at step 7",
        'href="trials/0003/index.html"',
        "<svg",
        "best so far",
    ):
        assert text in page
    assert "trial 3 failed: the loss D is nan" in "\n".join(said)
    again = tune("pix2pix", space=space, out=tmp_path / "s", trials=5)
    assert again == found  # nothing is left to do


def test_a_higher_metric_may_be_the_better(
    space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space.write_text(f'best_by = "psnr"\n{SPACE}')

    def run(method: Any, data: Any, *, given: Mapping[str, Any], judge: Any, **_: Any) -> None:
        by(lambda number: [])(method, data, given=given, judge=judge)
        judge(1, {"l1": 0.1, "psnr": 10.0 + int(Path(given["output"]).name)})

    monkeypatch.setattr(studies, "train", run)
    found = tune("pix2pix", space=space, out=tmp_path / "s", trials=3)
    assert (found.value, found.metric, found.best.name) == (12.0, "psnr", "0002")


def test_what_fails_for_all_trials_ends_the_study(
    space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(error: Exception) -> Callable[..., Path]:
        def run(*_: Any, **__: Any) -> Path:
            raise error

        return run

    monkeypatch.setattr(studies, "train", refuse(DataError("there are no images: give others")))
    with pytest.raises(TrainingError, match="trial 0 failed, and others would"):
        tune("pix2pix", space=space, out=tmp_path / "one", trials=20)
    monkeypatch.setattr(studies, "train", refuse(TrainingError("too little memory")))
    with pytest.raises(TrainingError, match="trial 4 failed, and others would"):
        tune("pix2pix", space=space, out=tmp_path / "two", trials=20)


def test_another_study_is_left_alone(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "train", by(lambda number: [0.5]))
    tune("pix2pix", space=space, out=tmp_path / "s", trials=1)
    with pytest.raises(OptionError, match=r"a study with data None, and /.* was asked for"):
        tune("pix2pix", tmp_path, space=space, out=tmp_path / "s", trials=1)
    space.write_text(SPACE.replace("1e-2", "1e-3"))
    with pytest.raises(OptionError, match="a study of another space"):
        tune("pix2pix", space=space, out=tmp_path / "s", trials=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(OptionError, match="holds something else than a study"):
        tune("pix2pix", space=space, out=tmp_path / "mine", trials=1)


def test_a_trial_is_worked_on_by_one_living_process(tmp_path: Path) -> None:
    with claimed(tmp_path, 3) as first, claimed(tmp_path, 3) as second, claimed(tmp_path, 4) as other:
        assert (first, second, other) == (True, False, True)
    code = (
        "import os, sys; from pathlib import Path; from translatekit_tools.tune.claims import claimed\n"
        "claim = claimed(Path(sys.argv[1]), 3); claim.__enter__(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert (tmp_path / "0003.json").exists()  # of a process that has died
    with claimed(tmp_path, 3) as free:
        assert free
    assert list(tmp_path.iterdir()) == []


def test_the_claim_of_a_dead_process_is_taken_by_one_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where folders cannot be held: another looks at it and takes it while this one has just seen it."""
    dead = {"host": socket.gethostname(), "pid": os.getpid(), "born": 0}
    (tmp_path / "0003.json").write_text(json.dumps(dead))
    lives, taken = claims._lives, []
    with ExitStack() as other:

        def beside(path: Path) -> bool:
            found = lives(path)
            if not taken:
                taken.append(False)
                taken[0] = other.enter_context(claimed(tmp_path, 3))
            return found

        monkeypatch.setattr(claims, "_lives", beside)
        with claimed(tmp_path, 3) as free:
            assert [free, *taken].count(True) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_was_never_written_is_given_up(tmp_path: Path) -> None:
    empty = tmp_path / "0003.json"
    empty.touch()
    with claimed(tmp_path, 3) as free:
        assert not free  # it may be being written
    os.utime(empty, (time.time() - 2 * SILENCE,) * 2)
    with claimed(tmp_path, 3) as free:
        assert free


@pytest.mark.parametrize("when", ["it begins", "it is abandoned"])
def test_no_two_processes_take_one_trial(
    space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    trained: list[str] = []
    works: list[Any] = []

    def slowly(method: Any, data: Any, *, given: Mapping[str, Any], **others: Any) -> Path:
        trained.append(Path(given["output"]).name)
        time.sleep(1)
        return by(lambda number: [0.5])(method, data, given=given, **others)

    def beside(function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, and at its first call another process that looks for abandoned trials."""
        started: list[threading.Thread] = []

        def call(*arguments: Any) -> Any:
            found = function(*arguments)
            if not started:
                started.append(threading.Thread(target=studies._go_on_with_abandoned, args=(works[0],)))
                started[0].start()
                started[0].join(0.5)
            return found

        return call

    go_on = studies._go_on_with_abandoned
    monkeypatch.setattr(studies, "train", slowly)
    monkeypatch.setattr(studies, "_go_on_with_abandoned", lambda work: works.append(work) or go_on(work))
    if when == "it begins":
        monkeypatch.setattr(optuna.Study, "ask", beside(optuna.Study.ask))
    else:
        tune("pix2pix", space=space, out=tmp_path / "s", trials=1)
        study = works.pop().study
        trained.clear()
        study.ask()
        dead = {"host": socket.gethostname(), "pid": os.getpid(), "born": 0}
        (tmp_path / "s/claims/0001.json").write_text(json.dumps(dead))
        monkeypatch.setattr(claims, "_lives", beside(claims._lives))
    tune("pix2pix", space=space, out=tmp_path / "s", trials=2)
    assert len(trained) == len(set(trained))


@pytest.mark.slow
def test_a_study_that_is_killed_goes_on_by_two_processes(space: Path, tmp_path: Path, pairs: Path) -> None:
    folder = tmp_path / "study"
    command = [sys.executable, "-m", "translatekit", "tune", "pix2pix", str(pairs), "--space", str(space)]
    command += ["-o", str(folder), "--trials", "4", "--no-prune"]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    begun = folder / "trials" / "0001" / "checkpoints"
    while not list(begun.glob("step-*.pt")):
        assert first.poll() is None
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert [trial.state for trial in trials_of(folder)] == [TrialState.COMPLETE, TrialState.RUNNING]
    both = [
        subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in "ab"
    ]
    for process in both:
        out, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert out.strip() == str(folder / "best.toml")
    trials = trials_of(folder)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert len({json.dumps(trial.params) for trial in trials}) == 4
    for trial in trials:
        lines = (folder / "trials" / f"{trial.number:04d}" / "metrics.jsonl").read_text().splitlines()
        entries = map(json.loads, lines)
        logged = [entry["metrics"]["l1"] for entry in entries if entry["kind"] == "validation"]
        assert list(trial.intermediate_values) == [1, 2]
        assert list(trial.intermediate_values.values()) == logged
        assert trial.value == min(logged)
    run = train(config=folder / "best.toml", output=str(tmp_path / "again"), max_steps=1)
    assert (run / "model.safetensors").exists()


def test_a_seed_gives_the_same_trials_however_often_a_study_is_stopped(
    space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "train", by(lambda number: [0.5 - number / 100]))
    whole = tune("pix2pix", space=space, out=tmp_path / "whole", trials=12, seed=7)
    for trials in (1, 3, 12):
        parts = tune("pix2pix", space=space, out=tmp_path / "parts", trials=trials, seed=7)
    params = [trial.params for trial in trials_of(whole.folder)]
    assert params == [trial.params for trial in trials_of(parts.folder)]
    assert len({json.dumps(each) for each in params}) == 12


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("20MIN", 1200), ("1.5 H", 5400)])
def test_a_budget_is_read_in_letters_of_whatever_case(text: str, seconds: float) -> None:
    options = check_options(TuneOptions, {"budget": text}, "tune")
    assert studies.seconds_of(options["budget"]) == seconds
