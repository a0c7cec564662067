"""A rerun knows by stamps what is done, and reads nothing of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from translatekit_tools.bulk import translate
from translatekit_tools.bulk.index import Index
from translatekit_tools.bulk.manifest import MANIFEST_NAME, Manifest, manifest_name

from tests.tools.bulk.models import inverting_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inverting_model(tmp_path_factory.mktemp("model"))


def photos(folder: Path, count: int = 4) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.png" for number in range(count)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (16, 24, 3), np.uint8)).save(path)
    return paths


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that are opened, by whatever means, from now on."""
    import io
    import sys

    names: list[str] = []

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and watched and isinstance(arguments[0], str | bytes | os.PathLike):
            name = os.fsdecode(arguments[0])
            if name.endswith((".png", ".jpg", ".gif", ".tif")):
                names.append(name)

    watched = True
    sys.addaudithook(note)
    yield names  # type: ignore[misc]
    watched = False
    assert io is not None


def test_a_rerun_opens_no_image(model: Path, tmp_path: Path, opened: list[str]) -> None:
    photos(tmp_path / "in")
    translate(tmp_path / "in", model, tmp_path / "out", device="cpu")
    assert opened
    opened.clear()
    summary = translate(tmp_path / "in", model, tmp_path / "out", device="cpu")
    assert (summary.translated, summary.skipped) == (0, 4)
    assert opened == []
    again = translate(tmp_path / "in", model, tmp_path / "out", device="cpu", verify=True)
    assert again.skipped == 4
    assert len(opened) >= 8


def test_a_touched_input_is_read_once_and_a_changed_one_done_again(
    model: Path, tmp_path: Path, opened: list[str]
) -> None:
    first, second, *_ = photos(tmp_path / "in")
    translate(tmp_path / "in", model, tmp_path / "out", device="cpu")
    os.utime(first)
    Image.new("RGB", (24, 16), "red").save(second)
    summary = translate(tmp_path / "in", model, tmp_path / "out", device="cpu")
    assert (summary.translated, summary.skipped) == (1, 3)
    opened.clear()
    summary = translate(tmp_path / "in", model, tmp_path / "out", device="cpu")
    assert (summary.translated, summary.skipped) == (0, 4)
    assert opened == []


def test_an_output_that_was_changed_or_removed_is_seen(model: Path, tmp_path: Path) -> None:
    photos(tmp_path / "in")
    translate(tmp_path / "in", model, tmp_path / "out", device="cpu")
    (tmp_path / "out/0.png").unlink()
    (tmp_path / "out/1.png").write_bytes(b"mine")
    summary = translate(tmp_path / "in", model, tmp_path / "out", device="cpu")
    assert (summary.translated, summary.skipped) == (1, 2)
    assert [Path(path).name for path, _ in summary.failed] == ["1.png"]
    assert (tmp_path / "out/1.png").read_bytes() == b"mine"


def test_what_does_not_change_its_stamp_is_the_known_limit(model: Path, tmp_path: Path) -> None:
    path, *_ = photos(tmp_path / "in", 1)
    path = path.rename(path.with_suffix(".bmp"))
    Image.new("RGB", (16, 16), "red").save(path)
    translate(tmp_path / "in", model, tmp_path / "out", device="cpu")
    before = path.stat()
    Image.new("RGB", (16, 16), "blue").save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert translate(tmp_path / "in", model, tmp_path / "out", device="cpu").skipped == 1
    assert translate(tmp_path / "in", model, tmp_path / "out", device="cpu", verify=True).translated == 1


def test_a_manifest_without_stamps_is_read_and_gets_them(
    model: Path, tmp_path: Path, opened: list[str]
) -> None:
    photos(tmp_path / "in")
    translate(tmp_path / "in", model, tmp_path / "out", device="cpu")
    path = tmp_path / "out" / MANIFEST_NAME
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        del line["stamp"], line["output_stamp"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert translate(tmp_path / "in", model, tmp_path / "out", device="cpu").skipped == 4
    opened.clear()
    assert translate(tmp_path / "in", model, tmp_path / "out", device="cpu").skipped == 4
    assert opened == []


def test_the_manifests_of_all_writers_are_read(model: Path, tmp_path: Path, opened: list[str]) -> None:
    photos(tmp_path / "in")
    for part in ("1/3", "2/3", "3/3"):
        translate(tmp_path / "in", model, tmp_path / "out", device="cpu", shard=part)
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert MANIFEST_NAME not in written
    assert manifest_name("001-of-003") in written
    opened.clear()
    assert translate(tmp_path / "in", model, tmp_path / "out", device="cpu").skipped == 4
    assert opened == []


def test_a_line_that_was_cut_off_costs_its_entry_alone(model: Path, tmp_path: Path) -> None:
    photos(tmp_path / "in")
    translate(tmp_path / "in", model, tmp_path / "out", device="cpu")
    path = tmp_path / "out" / MANIFEST_NAME
    path.write_bytes(path.read_bytes()[:-5])
    manifest = Manifest(tmp_path / "out")
    assert sum(any(manifest.entries(f"{number}.png")) for number in range(4)) == 3


def test_what_another_writer_appends_is_seen_when_it_is_asked_for(model: Path, tmp_path: Path) -> None:
    photos(tmp_path / "in")
    early = Manifest(tmp_path / "out", manifest_name("a"))
    translate(tmp_path / "in", model, tmp_path / "out", device="cpu", shard="1/1")
    assert not any(early.entries("0.png"))
    early.refresh()
    assert any(early.entries("0.png"))


def test_the_index_takes_24_bytes_a_name_and_finds_every_record() -> None:
    index = Index()
    for number in range(5000):
        index.add(f"{number % 2500}.png", number, number * 7)
    assert index.bytes == 24 * 5000
    assert index.places("17.png") == [2517 * 7, 17 * 7]
    assert index.newest("17.png") == 2517
    assert index.has("17.png", 17)
    assert not index.has("17.png", 18)
    assert index.places("none.png") == []
    index.add("none.png", 1, 2)
    assert index.places("none.png") == [2]
