"""Hosts that know nothing of each other do each a part, and together everything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from translatekit_tools.bulk.find import find_jobs
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.shards import Shard

from tests.tools.bulk.models import inverting_model
from translatekit.storage import hash_file

NAMES = st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1), unique=True, max_size=50)


@given(NAMES, st.integers(1, 40))
@settings(derandomize=True, database=None, deadline=None)
def test_parts_are_disjoint_and_complete(names: list[str], count: int) -> None:
    parts = [Shard(number + 1, count) for number in range(count)]
    for name in names:
        assert sum(part.holds(name) for part in parts) == 1


def test_parts_are_the_same_on_every_host_and_about_as_large() -> None:
    names = [f"photos/{number:06d}.png" for number in range(16_000)]
    counts = [sum(Shard(number, 16).holds(name) for name in names) for number in range(1, 17)]
    assert sum(counts) == 16_000
    assert max(counts) < 1.15 * min(counts)
    assert [Shard(number, 4).holds("photos/a.png") for number in range(1, 5)] == [False, False, True, False]


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "a/b", "1/0", "-1/4", "1/1000000000"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a part N/COUNT"):
        Shard.parse(text)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "translatekit", "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_all_parts_are_summed_up_and_what_failed_or_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(12):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / f"in/{number:02}.png")
    (tmp_path / "in/broken.png").write_bytes(b"no image")
    common = [tmp_path / "in", "-o", tmp_path / "out", "-m", inverting_model(tmp_path), "--device", "cpu"]
    first = run(*common, "--shard", "1/2", "--json")
    done = len(json.loads(first.stdout)["outputs"])
    assert 0 < done < 12
    result = run(*common, "--collect", "--json")
    assert result.returncode == 1
    collected = json.loads(result.stdout)
    assert collected["done"] == done
    assert len(collected["missing"]) + len(collected["failed"]) == 13 - done
    second = run(*common, "--shard", "2/2")
    assert {first.returncode, second.returncode} == {0, 1}
    result = run(*common, "--collect")
    assert (result.returncode, result.stdout.count("\n")) == (1, 1)
    assert result.stdout.startswith(f"failed {tmp_path / 'in/broken.png'}: ")
    assert "12 done, 1 failed, 0 missing" in result.stderr
    (tmp_path / "in/broken.png").unlink()
    (tmp_path / "out/03.png").unlink()
    result = run(*common, "--collect")
    assert (result.returncode, result.stdout) == (1, f"missing {tmp_path / 'in/03.png'}\n")
    assert run(*common, "--shard", "1/2").returncode == run(*common, "--shard", "2/2").returncode == 0
    assert run(*common, "--collect").returncode == 0
    result = run(*common, "--collect", "--shard", "1/2")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "Error: --collect sums up all parts: leave out --shard 1/2\n"
    lines = [
        json.loads(line)
        for path in (tmp_path / "out").glob(".translatekit-manifest-00?-of-002.jsonl")
        for line in path.read_text().splitlines()
    ]
    made = [line["output"] for line in lines if "output_hash" in line and line["output"] != "03.png"]
    assert len(made) == len(set(made)) == 11
    assert hash_file(tmp_path / "out/00.png") in {line.get("output_hash") for line in lines}


@pytest.mark.parametrize("name", ["a.png", "%02d.png"])
def test_one_file_is_of_one_part(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / name.replace("%02d", "00"))
    for out in ("b.mp4", "c.mp4", "d.mp4") if "%" in name else ("b.png", "c.png", "d.png"):
        parts = [Shard(number, 3) for number in (1, 2, 3)]
        counts = [
            len(list(find_jobs([tmp_path / name], tmp_path / out, RunOptions(shard=part)))) for part in parts
        ]
        assert counts == [part.holds(out) for part in parts]


def test_a_video_of_numbered_images_is_summed_up(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(tmp_path / f"in/{number:02}.png")
    common = [tmp_path / "in/%02d.png", "-o", tmp_path / "out.mp4", "-m", inverting_model(tmp_path)]
    common += ["--device", "cpu", "--fps", "5"]
    result = run(*common, "--collect")
    assert (result.returncode, result.stdout) == (1, f"missing {tmp_path / 'in/%02d.png'}\n")
    assert run(*common).returncode == run(*common, "--collect").returncode == 0
    Image.new("RGB", (16, 16), (9, 9, 9)).save(tmp_path / "in/01.png")
    assert run(*common, "--collect").returncode == 1
