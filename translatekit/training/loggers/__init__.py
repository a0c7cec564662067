"""Where figures and samples of a training go beside its folder: loggers, none of which can hold the training up."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from translatekit.config import RunConfig, TrainOptions
from translatekit.errors import OptionError
from translatekit.interfaces import LoggedRun, Logger, Outcome
from translatekit.options import check_options, closest, option_types, written
from translatekit.registry import registry
from translatekit.storage import write_atomically
from translatekit.training.loggers.sender import Sender
from translatekit.training.remote import OWN_FILES

KEYS = "loggers.json"


class Loggers:
    """All loggers of a run, each behind a thread of its own.

    Args:
        loggers: by name, in the order they are told.
        folder: of the run, which keeps by what each logger finds it again.
        name: of the run, for people.
        options: of the run; see `options_of`.
        step: how many are done.
    """

    def __init__(
        self,
        loggers: Mapping[str, Logger],
        folder: Path,
        *,
        name: str,
        options: Mapping[str, Any],
        step: int,
    ) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._keys = read_keys(folder)
        self._loggers = {
            called: (
                logger,
                LoggedRun(
                    folder=folder,
                    own=folder / OWN_FILES / called,
                    name=name,
                    options=options,
                    step=step,
                    key=self._keys.get(called),
                ),
            )
            for called, logger in loggers.items()
        }
        self._senders: list[Sender] = []

    def begin(self, say: Callable[[str], None]) -> None:
        """Start them all; `say` tells the user a sentence, from other threads too."""
        self._senders = [
            Sender(name, logger, run, say, self._keep) for name, (logger, run) in self._loggers.items()
        ]

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log figures by name."""
        for sender in self._senders:
            sender.put(lambda logger: logger.scalars(step, values))

    def image(self, step: int, name: str, file: Path) -> None:
        """Log an image file."""
        for sender in self._senders:
            sender.put(lambda logger: logger.image(step, name, file))

    def finish(self, outcome: Outcome) -> None:
        """Send what is left, as long as anything goes through."""
        for sender in self._senders:
            sender.end(outcome)
        for sender in self._senders:
            sender.wait()

    def _keep(self, name: str, key: str | None) -> None:
        with self._lock:
            if key is not None and self._keys.get(name) != key:
                self._keys[name] = key
                write_atomically(self._folder / KEYS, json.dumps(self._keys, indent=1).encode())


def read_keys(folder: Path) -> dict[str, str]:
    """By what each logger finds a run again; nothing where it never began one."""
    try:
        keys = json.loads((folder / KEYS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(key) for name, key in keys.items()} if isinstance(keys, dict) else {}


def check_loggers(options: TrainOptions) -> dict[str, tuple[type[Any], dict[str, Any]]]:
    """The loggers that a run is to have, each with its options, checked.

    Raises:
        PluginError: there is no such logger, or its package is not installed.
        OptionError: an option that none of them has, or a value that does not fit.
    """
    names = tuple(dict.fromkeys(options.log_to or ()))
    classes = {name: registry("logger").load(name) for name in names}
    own: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in options.log_options.items():
        for name, option in _meant(key, classes):
            own[name][option] = value
    return {
        name: (made, check_options(made, own[name], f"logger {name!r}")) for name, made in classes.items()
    }


def make_loggers(options: TrainOptions) -> dict[str, Logger]:
    """The loggers of a run, by name, connected to nothing yet.

    Raises:
        PluginError, OptionError: see `check_loggers`; and what a logger refuses itself.
    """
    return {name: made(**own) for name, (made, own) in check_loggers(options).items()}


def options_of(config: RunConfig) -> dict[str, bool | int | float | str]:
    """A run's options as loggers take them: one level of names, None as ``none``, lists as text."""
    found: dict[str, Any] = {"method": config.method, "data": config.data}
    for options in (config.options, config.method_options):
        for item in fields(options):
            value = written(getattr(options, item.name))
            if isinstance(value, Mapping):
                found.update({f"{item.name}.{key}": each for key, each in value.items()})
            else:
                found[item.name] = value
    return {name: _plain(value) for name, value in found.items()}


def _plain(value: Any) -> bool | int | float | str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return "none" if value is None else value if isinstance(value, bool | int | float | str) else str(value)


def _meant(key: str, classes: Mapping[str, type[Any]]) -> list[tuple[str, str]]:
    """The loggers that an option is for, and what it is called there.

    Raises:
        OptionError: none has it.
    """
    logger, dot, option = key.partition(".")
    if dot:
        if logger not in classes:
            raise OptionError(
                f"--log-option {key} is for the logger {logger!r}, and this run logs to "
                f"{', '.join(classes) or 'none'}: add it to --log-to, or leave the option out"
            )
        return [(logger, option)]
    having = [name for name, made in classes.items() if key in option_types(made)]
    if not having:
        known: Iterable[str] = dict.fromkeys(
            option for made in classes.values() for option in option_types(made)
        )
        close = closest(key, known)
        hint = f"did you mean {close!r}? " if close else ""
        raise OptionError(
            f"no logger of this run ({', '.join(classes) or 'none'}) has an option {key!r}: {hint}they have "
            f"{', '.join(known) or 'none'}"
        )
    return [(name, key) for name in having]
