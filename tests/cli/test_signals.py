"""How a program is stopped from outside."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from translatekit.cli.signals import command_line, stops_on_signals
from translatekit.errors import Stopped

SLOW_TO_STOP = """
import sys, time
from translatekit.cli.signals import stops_on_signals
with stops_on_signals():
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("stopping", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_at_once(second: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_TO_STOP], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(second)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 128 + second
    assert stderr == "Stopping when what has begun is finished; a second time stops at once.\n"


def test_what_is_ignored_stays_ignored_and_handlers_come_back() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        terminate = signal.getsignal(signal.SIGTERM)
        with stops_on_signals():
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) != terminate
            with pytest.raises(Stopped) as stopped:
                signal.raise_signal(signal.SIGTERM)
        assert stopped.value.status == 143
        assert signal.getsignal(signal.SIGTERM) == terminate
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_of_the_main_thread_nothing_changes() -> None:
    entered = threading.Event()

    def work() -> None:
        with stops_on_signals():
            entered.set()

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered.is_set()
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_command_line_is_quoted_for_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/nowhere/translatekit", "run", "my folder", "-m", "it's.onnx"])
    assert command_line() == """/nowhere/translatekit run 'my folder' -m 'it'"'"'s.onnx'"""
