"""Trainings that are killed, and what they are to be equal to once they have gone on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import translatekit
from translatekit.training.checkpoint import load_checkpoint

CODE = """
import os, signal
import translatekit
from translatekit.training import loop

save = loop.save

def save_and_die(training):
    save(training)
    if training.progress.step == 1:
        os.kill(os.getpid(), signal.SIGKILL)

loop.save = save_and_die
translatekit.train({method!r}, {data!r}, output={output!r}, **{options!r})
"""


def resumed_after_a_kill(method: str, data: Path | None, output: Path, **options: Any) -> Path:
    """Train in a process that is killed behind its first step, and go on to the end in this one."""
    place = None if data is None else str(data)
    code = CODE.format(method=method, data=place, output=str(output), options=options)
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert load_checkpoint(output / "checkpoints")["progress"]["step"] == 1
    return translatekit.train(resume=output)
