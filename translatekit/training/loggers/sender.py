"""A logger behind a thread: what it is given waits there, so that a slow or broken one holds nothing up."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import chain, repeat

from translatekit.interfaces import LoggedRun, Logger, Outcome

LIMIT = 10_000  # records that wait; beyond, the oldest are given up
PAUSES = (1.0, 4.0, 15.0, 60.0)  # seconds between tries of a record, before the next one is tried
LONGEST_PAUSE = 60.0  # between tries to start
PATIENCE = 60.0  # seconds that the end of a run waits while nothing goes through
PATIENCE_AT_FINISH = 900.0  # the same for the last call, which may upload models

Record = Callable[[Logger], None]


class Sender:
    """Calls a logger, one record after the other, in a thread of its own.

    Args:
        name: of the logger, for sentences.
        logger: not started yet.
        run: what it starts with.
        say: tells the user a sentence.
        keep: is given the name and the logger's key once it has started.
    """

    def __init__(
        self,
        name: str,
        logger: Logger,
        run: LoggedRun,
        say: Callable[[str], None],
        keep: Callable[[str, str | None], None],
    ) -> None:
        self._name, self._logger, self._run, self._say, self._keep = name, logger, run, say, keep
        self._waiting: deque[Record] = deque()
        self._given = threading.Condition()
        self._ending = threading.Event()
        self._outcome: Outcome = "finished"
        self._moved = time.monotonic()
        self._patience = PATIENCE
        self._started = self._failed = self._recovered = False
        self._lost = 0
        # A daemon: one that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._work, name=f"logger {name}", daemon=True)
        self._thread.start()

    def put(self, record: Record) -> None:
        """Leave a record to be sent."""
        with self._given:
            if len(self._waiting) >= LIMIT:
                self._waiting.popleft()
                self._lost += 1
            self._waiting.append(record)
            self._given.notify()

    def end(self, outcome: Outcome) -> None:
        """Nothing more comes: send what is left, each record tried once."""
        self._outcome, self._moved = outcome, time.monotonic()
        self._ending.set()
        with self._given:
            self._given.notify()

    def wait(self) -> None:
        """Wait for the thread to end, but not for one that hangs."""
        while self._thread.is_alive() and time.monotonic() - self._moved < self._patience:
            self._thread.join(0.05)
        with self._given:
            lost = self._lost + (len(self._waiting) if self._thread.is_alive() else 0)
        if self._thread.is_alive():
            self._say(f"{self._name} did not answer for {self._patience:.0f} s, and is not waited for")
        if lost:
            self._say(f"{lost} records did not reach {self._name}: metrics.jsonl has them all")

    # --- in the thread ---------------------------------------------------------------------------------------------

    def _work(self) -> None:
        self._begin()
        while (record := self._next()) is not None:
            self._send(record)
        if self._started:
            self._patience = PATIENCE_AT_FINISH
            self._attempt(lambda: self._logger.finish(self._outcome))

    def _begin(self) -> None:
        """Start, however many tries it takes before the run ends."""
        for pause in chain(PAUSES, repeat(LONGEST_PAUSE)):
            if self._attempt(self._start):
                self._started = True
                return
            if self._ending.wait(pause):
                self._give_up()
                return

    def _start(self) -> None:
        self._logger.start(self._run)
        self._keep(self._name, self._logger.key)
        if self._logger.where is not None:
            self._say(f"{self._name}: {self._logger.where}")

    def _next(self) -> Record | None:
        """The next record; None at the end."""
        with self._given:
            self._given.wait_for(lambda: self._waiting or self._ending.is_set())
            return self._waiting.popleft() if self._waiting else None

    def _send(self, record: Record) -> None:
        for pause in PAUSES:
            if self._attempt(lambda: record(self._logger)):
                return
            if self._ending.wait(pause):
                self._give_up()
                break
        self._lost += 1

    def _give_up(self) -> None:
        """Send nothing of what waits: at the end of a run, each would take as long to fail."""
        with self._given:
            self._lost += len(self._waiting)
            self._waiting.clear()

    def _attempt(self, call: Callable[[], None]) -> bool:
        try:
            call()
        except (Exception, SystemExit) as error:
            if not self._failed:
                self._failed = True
                reason = " ".join(str(error).split())[:300] or "no reason given"
                self._say(
                    f"the logger {self._name} failed ({type(error).__name__}: {reason}): the training goes on, and "
                    "the run's folder has everything"
                )
            return False
        self._moved = time.monotonic()
        if self._failed and not self._recovered:
            self._recovered = True
            self._say(f"the logger {self._name} works again")
        return True
