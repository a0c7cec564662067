"""What loggers are told of a run, and that none of them can hold it up."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from translatekit_pix2pix.method import Pix2Pix

from tests.training.conftest import TINY
from translatekit import train
from translatekit.config import RunConfig
from translatekit.errors import OptionError, PluginError, Stopped, TranslatekitError
from translatekit.interfaces import LoggedRun, Outcome
from translatekit.training import progress
from translatekit.training.loggers import Loggers, check_loggers, options_of, read_keys, sender
from translatekit.training.progress import Report, make_report

SHORT = {**TINY, "epochs": 1, "epochs_decay": 0, "log_every": 3}


class Recorder:
    """Keeps what it is told."""

    def __init__(self, key: str | None = "first") -> None:
        self.key: str | None = None
        self.where: str | None = None
        self._key = key
        self.runs: list[LoggedRun] = []
        self.values: list[tuple[int, dict[str, float]]] = []
        self.images: list[tuple[int, str, Path]] = []
        self.outcomes: list[Outcome] = []
        self.threads: set[int] = set()

    def start(self, run: LoggedRun) -> None:
        self.threads.add(threading.get_ident())
        self.runs.append(run)
        self.key, self.where = run.key or self._key, "a page"

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.threads.add(threading.get_ident())
        self.values.append((step, dict(values)))

    def image(self, step: int, name: str, file: Path) -> None:
        self.images.append((step, name, file))

    def finish(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """What every run logs to."""
    made = Recorder()
    monkeypatch.setattr(progress, "make_loggers", lambda options: {"recorder": made})
    return made


@pytest.fixture
def said() -> list[str]:
    return []


def begun(logger: Any, folder: Path, said: list[str], **more: Any) -> Loggers:
    loggers = Loggers({"mine": logger}, folder, name="run", options={}, step=0)
    loggers.begin(said.append)
    return loggers


def test_a_run_tells_its_loggers_all_that_it_logs(pairs: Path, tmp_path: Path, recorder: Recorder) -> None:
    run = train("pix2pix", pairs, output=str(tmp_path / "run"), **SHORT)
    logged: list[tuple[int, dict[str, float]]] = []
    for entry in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
        if entry["kind"] == "train":
            values = {f"loss/{name}": value for name, value in entry["losses"].items()}
            values |= {f"accuracy/{name}": value for name, value in entry["accuracy"].items()}
            values |= {"speed/lr": entry["lr"], "speed/images_per_second": entry["images_per_second"]}
            logged.append((entry["step"], {**values, "epoch": entry["epoch"]}))
        elif entry["kind"] == "validation":
            logged.append((entry["step"], {f"validation/{k}": v for k, v in entry["metrics"].items()}))
        elif entry["kind"] == "samples":
            logged.append((entry["step"], {f"diversity/{k}": v for k, v in entry["diversity"].items()}))
        elif entry["kind"] == "memorization":
            logged.append((entry["step"], {f"memorization/{k}": v for k, v in entry["shares"].items()}))
    assert recorder.values == logged
    assert {step for step, _ in logged} == {3, 6, 8}
    assert recorder.images == [(8, "samples", run / "samples" / "step-00000008.png")]
    assert recorder.outcomes == ["finished"]
    assert threading.get_ident() not in recorder.threads
    (told,) = recorder.runs
    assert (told.folder, told.name, told.step, told.key) == (run, "run", 0, None)
    options = told.options
    assert (options["method"], options["lr"], options["generator_options.depth"]) == ("pix2pix", 2e-4, 5)
    assert options["lambda_l1"] == 100  # the method's own


def test_a_resumed_run_goes_on_where_it_was_logged(
    pairs: Path, tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train("pix2pix", pairs, output=str(tmp_path / "run"), **{**SHORT, "max_steps": 4})
    assert read_keys(run) == {"recorder": "first"}
    recorder._key = "another"
    train(resume=run, max_steps=None)
    assert [(each.step, each.key) for each in recorder.runs] == [(0, None), (4, "first")]
    assert read_keys(run) == {"recorder": "first"}


def test_how_a_run_ended_is_told(pairs: Path, tmp_path: Path, recorder: Recorder) -> None:
    for error, outcome in ((Stopped(2), "stopped"), (RuntimeError("x"), "failed")):
        with (
            pytest.raises(type(error)),
            progress.Reporter(
                tmp_path, 1, 0, 1, Loggers({"r": recorder}, tmp_path, name="", options={}, step=0)
            ),
        ):
            raise error
        assert recorder.outcomes.pop() == outcome


@pytest.mark.parametrize("broken", ["start", "scalars", "image", "finish"])
def test_a_logger_that_fails_is_said_once_and_stops_nothing(
    pairs: Path,
    tmp_path: Path,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    broken: str,
) -> None:
    def fail(*_: Any) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(recorder, broken, fail)
    monkeypatch.setattr(sender, "PAUSES", (0.0, 0.0))
    run = train("pix2pix", pairs, output=str(tmp_path / "run"), **SHORT)
    told = capsys.readouterr().err
    assert (run / "model.safetensors").exists()
    assert told.count("the logger recorder failed (ConnectionError: no route to host)") == 1
    lost = {"start": r"[1-9]\d* records", "scalars": "[56] records", "image": "1 records", "finish": None}[
        broken
    ]
    if lost is None:
        assert "did not reach" not in told
    else:
        import re

        assert re.search(f"{lost} did not reach recorder: metrics.jsonl has them all", told)


def test_what_a_logger_refuses_for_a_while_reaches_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(sender, "PAUSES", (0.0, 0.0, 0.0, 0.0))
    logger, down = Recorder(), [3]

    def scalars(step: int, values: Mapping[str, float]) -> None:
        if step == 2 and down[0]:
            down[0] -= 1
            raise TimeoutError
        logger.values.append((step, dict(values)))

    monkeypatch.setattr(logger, "scalars", scalars)
    loggers = begun(logger, tmp_path, said)
    for step in (1, 2, 3):
        loggers.scalars(step, {})
    while len(logger.values) < 3:
        pass
    loggers.finish("finished")
    assert [step for step, _ in logger.values] == [1, 2, 3]
    assert said[1:] == [
        "the logger mine failed (TimeoutError: no reason given): the training goes on, and the run's folder has "
        "everything",
        "the logger mine works again",
    ]


def test_a_slow_logger_gets_everything_in_order_and_holds_nothing_up(tmp_path: Path, said: list[str]) -> None:
    logger, go = Recorder(), threading.Event()
    begin = logger.start
    logger.start = lambda run: (go.wait(), begin(run))[1]  # type: ignore[method-assign]
    loggers = begun(logger, tmp_path, said)
    for step in range(500):
        loggers.scalars(step, {"a": step})
    assert logger.values == []
    go.set()
    loggers.finish("finished")
    assert logger.values == [(step, {"a": step}) for step in range(500)]
    assert said == ["mine: a page"]


def test_a_logger_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(sender, "PATIENCE", 0.1)
    monkeypatch.setattr(sender, "LIMIT", 5)
    logger, never = Recorder(), threading.Event()
    logger.start = lambda run: never.wait(60)  # type: ignore[method-assign, assignment, return-value]
    loggers = begun(logger, tmp_path, said)
    for step in range(8):
        loggers.scalars(step, {})
    loggers.finish("finished")
    assert said == [
        "mine did not answer for 0 s, and is not waited for",
        "8 records did not reach mine: metrics.jsonl has them all",
    ]
    never.set()


def test_a_logger_cannot_end_the_program(tmp_path: Path, said: list[str]) -> None:
    logger = Recorder()
    logger.start = lambda run: exit(3)  # type: ignore[method-assign]
    begun(logger, tmp_path, said).finish("finished")
    assert said[0].startswith("the logger mine failed (SystemExit: 3)")


def test_the_first_rank_alone_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "make_loggers", lambda options: pytest.fail("another rank logs"))
    other: Any = SimpleNamespace(fabric=SimpleNamespace(is_global_zero=False))
    plan: Any = None
    assert type(make_report(other, plan)) is Report


def test_a_refused_run_leaves_nothing_of_its_loggers(
    pairs: Path, tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(run: LoggedRun) -> None:
        run.own.mkdir(parents=True)
        (run.own / "file").write_text("mine")
        recorder.key = "begun"

    def refuse(self: Pix2Pix, batch: Any) -> Any:
        raise OptionError("no: try another")

    monkeypatch.setattr(recorder, "start", start)
    monkeypatch.setattr(Pix2Pix, "step", refuse)
    with pytest.raises(OptionError, match="no: try another"):
        train("pix2pix", pairs, output=str(tmp_path / "run"), **SHORT)
    assert recorder.outcomes == ["failed"]
    assert not list(tmp_path.iterdir())


def test_tensorboard_is_told_unless_it_is_not_wanted(pairs: Path, tmp_path: Path) -> None:
    run = train("pix2pix", pairs, output=str(tmp_path / "told"), **{**SHORT, "max_steps": 3})
    events = EventAccumulator(str(run))
    events.Reload()
    assert [event.step for event in events.Scalars("loss/G_L1")] == [3]
    assert [event.step for event in events.Images("samples")] == [3]
    assert "options/text_summary" in events.Tags()["tensors"]
    quiet = train("pix2pix", pairs, output=str(tmp_path / "not"), log_to=None, **{**SHORT, "max_steps": 1})
    assert not list(quiet.glob("events*"))
    assert 'log_to = "none"' in (quiet / "config.toml").read_text()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"log_to": ("mlfow",)}, "'mlflow'"),
        (
            {"log_options": {"projct": "x"}, "log_to": ("wandb",)},
            r"\(wandb\) has an option 'projct': did you mean 'project'",
        ),
        ({"log_options": {"wandb.mode": "offline"}}, "this run logs to tensorboard: add it to --log-to"),
        ({"log_options": {"mode": "ofline"}, "log_to": ("wandb",)}, "did you mean 'offline'"),
        ({"log_options": {"x": 1}, "log_to": None}, r"no logger of this run \(none\) has an option 'x'"),
        (
            {"log_to": ("mlflow",), "log_options": {"uri": "https://me:word@host/"}},
            "https://host.* with a password, .* MLFLOW_TRACKING_PASSWORD",
        ),
    ],
)
def test_what_cannot_be_logged_so_is_refused_before_anything_is_made(
    pairs: Path, tmp_path: Path, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(TranslatekitError, match=sentence) as error:
        train("pix2pix", pairs, output=str(tmp_path / "run"), **SHORT, **given)
    assert "word" not in str(error.value).replace("password", "").replace("PASSWORD", "")
    assert not list(tmp_path.iterdir())


def test_an_option_is_of_all_loggers_that_have_it_or_of_one() -> None:
    given = {
        "log_to": ("tensorboard", "wandb", "trackio"),
        "log_options": {"project": "ours", "wandb.upload": "model"},
    }
    config = RunConfig.resolve("pix2pix", None, given)
    checked = {name: own for name, (_, own) in check_loggers(config.options).items()}
    assert checked == {
        "tensorboard": {},
        "wandb": {"project": "ours", "upload": "model"},
        "trackio": {"project": "ours"},
    }
    assert options_of(config)["log_to"] == "tensorboard,wandb,trackio"


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("translatekit.requirements._is_installed", lambda module: module != "mlflow")
    config = RunConfig.resolve("pix2pix", None, {"log_to": "mlflow"})
    with pytest.raises(PluginError) as error:
        check_loggers(config.options)
    assert str(error.value) == (
        "logger 'mlflow' needs what is not installed: run pip install 'translatekit[mlflow]'"
    )
