"""A study: trials by Optuna, each a run in a folder of its own, kept in a journal that several processes share."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from translatekit.config import RunConfig, data_address, holds_run
from translatekit.errors import DataError, OptionError, Stopped, TrainingError, TranslatekitError
from translatekit.options import check_options
from translatekit.registry import registry
from translatekit.storage import held, write_atomically
from translatekit.training.loop import run as train
from translatekit_tools.tune.claims import claimed
from translatekit_tools.tune.options import TuneOptions
from translatekit_tools.tune.page import write_page
from translatekit_tools.tune.space import Space, check_space, read_space

JOURNAL, STUDY, SPACE, BEST, PAGE = "journal.log", "study.json", "space.toml", "best.toml", "index.html"
HOPELESS = 5  # trials that fail one after the other from the first on, before the study does
_UNITS = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True)
class Tuned:
    """What a study found.

    Attributes:
        folder: of the study.
        best: its best run's folder.
        config: a TOML file that ``train --config`` takes.
        options: those that were searched, as the best trial had them.
        metric, value: what trials are compared by, and the best figure.
        finished, pruned, failed: how many trials there are of each.
    """

    folder: Path
    best: Path
    config: Path
    options: Mapping[str, Any]
    metric: str
    value: float
    finished: int
    pruned: int
    failed: int


@dataclass(frozen=True)
class _Work:
    """What all trials of a study share."""

    study: optuna.Study
    folder: Path
    method: str
    data: str | None
    space: Space
    metric: str
    options: TuneOptions
    say: Callable[[str], None]

    @property
    def lower_is_better(self) -> bool:
        return registry("metric").get(self.metric).better == "lower"

    def place(self, number: int) -> Path:
        """The folder of a trial's run."""
        return self.folder / "trials" / f"{number:04d}"


def run(
    method: str,
    data: str | Path | None,
    space_file: Path,
    folder: Path,
    say: Callable[[str], None],
    given: Mapping[str, Any],
) -> Tuned:
    """See `translatekit_tools.tune.tune`."""
    options = TuneOptions(**check_options(TuneOptions, given, "tune"))
    space = read_space(space_file)
    address = None if data is None else data_address(data)
    metric = check_space(space, method, address)
    _open_folder(folder, {"method": method, "data": address, "metric": metric}, space)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    better = registry("metric").get(metric).better
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if options.prune:
        pruner = optuna.pruners.MedianPruner(n_startup_trials=options.prune_after)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
        pruner=pruner,
        study_name="study",
        load_if_exists=True,
        direction="minimize" if better == "lower" else "maximize",
    )
    work = _Work(study, folder, method, address, space, metric, options, say)
    end = time.monotonic() + seconds_of(options.budget) if options.budget else None
    while end is None or time.monotonic() < end:
        if not (_go_on_with_abandoned(work) or _begin_another(work)):
            break
    return _conclude(work)


def seconds_of(budget: str) -> float:
    """A budget such as ``2h`` in seconds."""
    text = budget.strip().lower()
    unit = next(unit for unit in ("min", "s", "h") if text.endswith(unit))
    return float(text.removesuffix(unit)) * _UNITS[unit]


def _open_folder(folder: Path, what: Mapping[str, Any], space: Space) -> None:
    """Make a study's folder, or see that it is of the same study.

    Raises:
        OptionError: it is another's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder, 10.0):
        if (folder / STUDY).exists():
            there = json.loads((folder / STUDY).read_text(encoding="utf-8"))
            for name, value in what.items():
                if there.get(name) != value:
                    raise OptionError(
                        f"{folder} is a study with {name} {there.get(name)}, and {value} was asked for: "
                        "choose another folder with -o"
                    )
            if (folder / SPACE).read_text(encoding="utf-8") != space.text:
                raise OptionError(
                    f"{folder} is a study of another space ({folder / SPACE}): give that one, or another folder with -o"
                )
            return
        if any(folder.iterdir()):
            raise OptionError(f"{folder} holds something else than a study: choose another folder with -o")
        write_atomically(folder / SPACE, space.text.encode())
        write_atomically(folder / STUDY, json.dumps(dict(what), indent=1).encode())


def _go_on_with_abandoned(work: _Work) -> bool:
    """Go on with a trial whose process has ended; False where there is none."""
    for known in work.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        with ExitStack() as stack:
            # Held, or a trial that another process has just begun would look abandoned.
            with held(work.folder, 60.0):
                free = stack.enter_context(claimed(work.folder / "claims", known.number))
            still = work.study.trials[known.number].state == TrialState.RUNNING
            if free and still:
                _do(work, Trial(work.study, known._trial_id))
                return True
    return False


def _begin_another(work: _Work) -> bool:
    """Begin a trial and do it; False where the study has as many as it is to have."""
    with ExitStack() as stack:
        with held(work.folder, 60.0):
            if len(work.study.get_trials(deepcopy=False)) >= work.options.trials:
                return False
            trial = work.study.ask()
            mine = stack.enter_context(claimed(work.folder / "claims", trial.number))
        if mine:  # where folders cannot be held, another process may have found it abandoned
            _do(work, trial)
    return True


def _do(work: _Work, trial: Trial) -> None:
    """Train as a trial says, or go on with its run, and tell the study how it went."""
    place = work.place(trial.number)
    work.study.sampler = _sampler(work.options.seed, trial.number)
    options = work.space.suggest(trial)
    shown = ", ".join(f"{name}={_short(value)}" for name, value in trial.params.items())
    work.say(f"trial {trial.number}: {shown}")
    reported = dict(work.study.trials[trial.number].intermediate_values)
    pruned = False

    def judge(epoch: int, metrics: Mapping[str, float]) -> bool:
        nonlocal pruned
        value = float(metrics[work.metric])
        if epoch not in reported:
            reported[epoch] = value
            trial.report(value, epoch)
        pruned = trial.should_prune()
        return not pruned

    try:
        if holds_run(place):
            train(None, None, config=None, resume=place, given={}, judge=judge)
        else:
            given = {**options, "output": str(place)}
            train(work.method, work.data, config=None, resume=None, given=given, judge=judge)
    except Stopped:
        work.say(f"trial {trial.number} is saved: the same command goes on with it")
        _show(work)
        raise
    except TranslatekitError as error:
        trial.set_user_attr("error", str(error))
        work.study.tell(trial, state=TrialState.FAIL)
        work.say(f"trial {trial.number} failed: {error}")
        _show(work)
        if isinstance(error, DataError) or _is_hopeless(work.study):
            raise TrainingError(
                f"trial {trial.number} failed, and others would ({error}): mend it, and choose another folder with -o"
            ) from None
    else:
        best = (min if work.lower_is_better else max)(reported.values(), default=None)
        if best is None:
            trial.set_user_attr("error", "there was no validation")
            work.study.tell(trial, state=TrialState.FAIL)
            raise TrainingError(
                f"the run {place} had no validation, and trials are compared by {work.metric}: add validation images"
            )
        if pruned:
            trial.set_user_attr("best", best)
            work.study.tell(trial, state=TrialState.PRUNED)
        else:
            work.study.tell(trial, best)
        work.say(f"trial {trial.number}: {work.metric} {best:.4g}{', pruned' if pruned else ''}")
        _show(work)
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _sampler(seed: int | None, number: int) -> optuna.samplers.BaseSampler:
    """What draws a trial's options, by its number: a study that is gone on with would draw its first ones again."""
    own = None if seed is None else int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    return optuna.samplers.TPESampler(seed=own)


def _is_hopeless(study: optuna.Study) -> bool:
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    ended = [state for state in states if state != TrialState.RUNNING]
    return len(ended) >= HOPELESS and all(state == TrialState.FAIL for state in ended)


def _show(work: _Work) -> None:
    """Bring the study's page and its best configuration up to date."""
    trials = work.study.get_trials(deepcopy=False)
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    with held(work.folder, 60.0):
        if finished:
            write_atomically(work.folder / BEST, _config(work, work.study.best_trial).to_toml().encode())
        write_page(
            work.folder / PAGE,
            method=work.method,
            data=work.data,
            metric=work.metric,
            lower_is_better=work.lower_is_better,
            trials=trials,
            importance=_importance(work.study, finished),
            space=work.space.text,
        )


def _config(work: _Work, trial: FrozenTrial) -> RunConfig:
    """The configuration of a trial's run, for a run in another place."""
    return RunConfig.from_toml(work.place(trial.number) / "config.toml", {"output": "none"})


def _importance(study: optuna.Study, finished: list[FrozenTrial]) -> dict[str, float]:
    """How much of the differences between trials each option accounts for, in [0, 1]; empty where nobody can say."""
    if len(finished) < 4:
        return {}
    try:
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (ValueError, RuntimeError):  # such as trials that are all alike
        return {}


def _conclude(work: _Work) -> Tuned:
    trials = work.study.get_trials(deepcopy=False)
    states = [trial.state for trial in trials]
    if TrialState.COMPLETE not in states:
        raise TrainingError(f"no trial of {work.folder} got to its end: look at {work.folder / PAGE}")
    _show(work)
    best = work.study.best_trial
    assert best.value is not None
    return Tuned(
        folder=work.folder,
        best=work.place(best.number),
        config=work.folder / BEST,
        options=best.params,
        metric=work.metric,
        value=best.value,
        finished=states.count(TrialState.COMPLETE),
        pruned=states.count(TrialState.PRUNED),
        failed=states.count(TrialState.FAIL),
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
