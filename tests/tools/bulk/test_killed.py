"""Runs that are killed at random moments, again and again: what was written stays, and is not done again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import translatekit_tools.bulk as bulk
from PIL import Image

from tests.tools.bulk.models import inverting_model

KILLS = 20

KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
from translatekit_tools.bulk import run, translate
from translatekit_tools.backends.onnxruntime import translator

folder, model, out, kills = *map(Path, sys.argv[1:4]), int(sys.argv[4])
chance = random.Random(0)

def standing():
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.glob("*.png")}

again, counts = [], []
for _ in range(kills):
    before = standing()
    if (child := os.fork()) == 0:
        translate(folder, model, out, device="cpu", batch_size=4)
        os._exit(0)
    wanted, deadline = len(before) + chance.randrange(1, 12), time.monotonic() + 60
    while len(list(out.glob("*.png"))) < wanted and time.monotonic() < deadline:
        time.sleep(chance.uniform(0, 0.002))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    after = standing()
    again.append(sum(after.get(name) != what for name, what in before.items()))
    counts.append(len(after))
print(json.dumps([again, counts]))
"""


def test_what_stands_is_not_done_again_whenever_a_run_is_killed(tmp_path: Path) -> None:
    """Every output is there once, and byte for byte that of a run that was not killed."""
    (tmp_path / "in").mkdir()
    for number in range(400):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"in/{number:03}.png")
    model = inverting_model(tmp_path)
    arguments = [tmp_path / "in", model, tmp_path / "out", KILLS]
    result = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    again, counts = json.loads(result.stdout.splitlines()[-1])
    assert again == [0] * KILLS
    assert counts == sorted(set(counts)), "each run made some more"
    assert counts[-1] < 400, "the last was over before it could be killed"
    summary = bulk.translate(tmp_path / "in", model, tmp_path / "out", device="cpu")
    assert (summary.skipped, summary.translated, summary.failed) == (counts[-1], 400 - counts[-1], [])
    bulk.translate(tmp_path / "in", model, tmp_path / "whole", device="cpu")
    made, whole = (
        {path.name: path.read_bytes() for path in (tmp_path / folder).glob("*.png")}
        for folder in ("out", "whole")
    )
    assert made == whole
