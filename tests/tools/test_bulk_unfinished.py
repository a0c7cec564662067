"""A file that brings the program down does not do so again unnoticed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from translatekit_tools.bulk.unfinished import JOURNAL_NAME, Unfinished

DEADLY = """
import json, os, signal, sys
from translatekit_tools.bulk import translate
from translatekit.model_info import ModelInfo

class Deadly:
    info = ModelInfo(method="test", generator="unet", size_multiple=8)

    def __call__(self, batch):
        if sys.argv[3] == "deadly" and (batch == 13).all(axis=(1, 2, 3)).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return batch

class Told(list):
    say = list.append

    def __call__(self, result):
        pass

told = Told()
summary = translate(sys.argv[1], Deadly(), sys.argv[2], progress=told, force=sys.argv[4] == "force")
print(json.dumps([told, [name.name for name in summary.outputs], [why for _, why in summary.failed]]))
"""


def test_it_is_tried_last_and_alone_then_refused_and_by_force_tried_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(9):
        Image.new("RGB", (16, 16), (number + 10,) * 3).save(tmp_path / f"in/{number}.png")
    out = tmp_path / "out"

    def run(model: str = "deadly", force: str = "", root: Path = tmp_path) -> tuple[int, Any]:
        command = [sys.executable, "-c", DEADLY, str(root / "in"), str(root / "out"), model, force]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        return result.returncode, json.loads(result.stdout) if result.returncode == 0 else None

    others = [f"{number}.png" for number in range(9) if number != 3]
    for _ in range(3):
        assert run() == (-signal.SIGKILL, None)
    assert sorted(path.name for path in out.glob("*.png")) == others
    status, (told, outputs, failed) = run()
    assert (status, told, sorted(outputs)) == (0, [], others)
    assert len(failed) == 1
    assert failed[0].startswith("3 runs have ended abruptly while it was in progress")
    replaced = shutil.copytree(tmp_path, tmp_path.with_name("replaced"))
    Image.new("RGB", (8, 8), (99,) * 3).save(replaced / "in/3.png")
    assert run(root=replaced)[1][2] == []
    status, (told, outputs, failed) = run(model="harmless", force="force")
    assert (status, outputs[-1], failed) == (0, "3.png", [])
    assert told == [
        f"{tmp_path / 'in/3.png'}: an earlier run ended abruptly while it was in progress: "
        "it is translated after the others, by itself"
    ]
    assert not (out / JOURNAL_NAME).exists()
    assert run(model="harmless")[1][0] == []


def test_only_what_was_on_its_way_at_the_end_counts(tmp_path: Path) -> None:
    first = Unfinished(tmp_path)
    for name in "abc":
        first.start(name)
    first.finish("b")
    second = Unfinished(tmp_path)  # the first run was killed
    assert second.attempts == {"a": 1, "c": 1}
    second.start("a")
    assert Unfinished(tmp_path).attempts == {"a": 2, "c": 1}
    second.finish("a")
    second.close()  # stopped before it came to c
    third = Unfinished(tmp_path)
    assert third.attempts == {"c": 1}
    third.finish("c")
    third.close()
    assert list(tmp_path.iterdir()) == []
    Unfinished(tmp_path / "nowhere").start("a")  # a help and no promise
