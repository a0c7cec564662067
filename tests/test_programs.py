"""A program that is forked is what a program that is started is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import Program, forked

SCRIPT = """
import json, os, signal, sys
print(json.dumps({
    "argv": sys.argv, "orig_argv": sys.orig_argv, "folder": os.getcwd(), "path": sys.path[:2], "read": sys.stdin.read(),
    "mine": os.environ.get("TRANSLATEKIT_MINE"), "parent": os.getppid(), "leads": os.getsid(0) == os.getpid(),
    "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler, "main": __name__,
}))
print("said", file=sys.stderr)
sys.exit(7)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="programs are forked on Linux")
def test_a_forked_program_is_as_one_that_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    (tmp_path / "site").mkdir()
    environment = {**os.environ, "TRANSLATEKIT_MINE": "yes", "PYTHONPATH": str(tmp_path / "site")}
    for session in (False, True):
        how = {"cwd": tmp_path, "env": environment, "start_new_session": session, "capture_output": True}
        command = [sys.executable, str(script), "a", "b c"]
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", Program.__bases__[0])
            started = subprocess.run(command, input=b"data", **how)  # type: ignore[call-overload]
        with forked():
            again = subprocess.run(command, input=b"data", **how)  # type: ignore[call-overload]
        assert json.loads(started.stdout)["leads"] == session
        assert (again.returncode, again.stdout, again.stderr) == (7, started.stdout, b"said\n")
