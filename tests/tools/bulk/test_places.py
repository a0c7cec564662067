"""From and to places that are no folder of this machine, against a real S3 server: what a local run makes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
import zipfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from translatekit_tools.bulk import Summary, translate
from translatekit_tools.bulk.manifest import Claim, Manifest
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.places import Listing
from translatekit_tools.bulk.work import Worker

from tests.stores import Proxy
from tests.tools.bulk.models import inverting_model
from tests.tools.video.conftest import make_video
from translatekit.errors import OptionError
from translatekit.storage import Item, Sink, Source, open_sink, open_source


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inverting_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a folder may hold, and what of it nothing translates."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "below/c.tif", "below/deep er/d ü.png", "e.BMP", "a.b.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    frames = [Image.fromarray(np.full((16, 16, 3), level, np.uint8)) for level in (0, 120, 255)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:], duration=50)
    frames[0].save(folder / "still.gif")
    frames[0].save(folder / "a.gif")  # whose output is that of a.png
    frames[0].save(folder / "pages.tif", save_all=True, append_images=frames[1:])
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("mine")
    (folder / "drawing.svg").write_text("mine")
    (folder / ".hidden.png").write_text("mine")
    return folder


def upload(folder: Path, uri: str) -> Sink:
    place = open_sink(uri)
    for path in folder.rglob("*"):
        if path.is_file():
            place.commit(path.relative_to(folder).as_posix(), path)
    return place


@pytest.fixture
def bucket(s3: Proxy) -> str:
    return f"s3://bucket/{uuid.uuid4().hex}"


def outputs(place: Source) -> dict[str, bytes]:
    return {item.name: place.read(item.name) for item in place.list() if not item.name.startswith(".")}


class Told:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, result: object) -> None: ...

    def say(self, text: str) -> None:
        self.said.append(text)


def run(source: object, model: Path, out: object, **options: object) -> Summary:
    return translate(str(source), model, str(out), device="cpu", **options)


def test_a_bucket_is_translated_as_a_folder_is(
    model: Path, photos: Path, bucket: str, tmp_path: Path, s3: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    whole = run(photos, model, tmp_path / "whole")
    upload(photos, f"{bucket}/in")
    summary = run(f"{bucket}/in", model, f"{bucket}/out")
    expected = outputs(open_source(tmp_path / "whole"))
    assert outputs(open_source(f"{bucket}/out")) == expected
    assert "moving.gif" in expected
    assert "still.png" in expected
    assert summary.translated == whole.translated == len(expected)
    names = sorted(str(name).rpartition("/")[2] for name, _ in summary.failed)
    assert (
        names == sorted(Path(name).name for name, _ in whole.failed) == ["a.gif", "broken.png", "empty.png"]
    )
    assert summary.left_out == whole.left_out == {".svg": 1}
    assert f"{bucket}/out/a.png" in summary.outputs
    assert not any((tmp_path / "cache" / "spool").iterdir())
    left = {item.name for item in open_source(f"{bucket}/out").list() if item.name.startswith(".")}
    assert left == {".translatekit-manifest.0001.jsonl"}

    reads = Counter(s3.requests)
    again = run(f"{bucket}/in", model, f"{bucket}/out")
    assert (again.translated, again.skipped) == (0, whole.translated)
    assert [reason for _, reason in again.failed] == [reason for _, reason in summary.failed]
    # The lists of both places, the manifest, its lists, three images that fail, two GIFs looked into.
    assert s3.requests["GET"] - reads["GET"] < 20


def test_from_a_bucket_to_a_folder_and_back_and_from_archives(
    model: Path, photos: Path, bucket: str, tmp_path: Path
) -> None:
    run(photos, model, tmp_path / "whole")
    expected = outputs(open_source(tmp_path / "whole"))
    upload(photos, f"{bucket}/in")
    run(f"{bucket}/in", model, tmp_path / "down")
    assert outputs(open_source(tmp_path / "down")) == expected
    assert run(f"{bucket}/in", model, tmp_path / "down").skipped == len(expected)
    run(photos, model, f"{bucket}/up")
    assert outputs(open_source(f"{bucket}/up")) == expected
    assert run(photos, model, f"{bucket}/up").skipped == len(expected)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted(photos.rglob("*"), reverse=True):
            archive.write(path, path.relative_to(photos).as_posix())
    run(tmp_path / "photos.zip", model, tmp_path / "unpacked")
    assert outputs(open_source(tmp_path / "unpacked")) == expected


def test_no_name_in_an_archive_leads_out_of_the_output_folder(model: Path, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in (f"{tmp_path}/elsewhere/a.png", "below//a.png", "a.png"):
            archive.writestr(name, (tmp_path / "a.png").read_bytes())
    summary = run(tmp_path / "photos.zip", model, tmp_path / "out")
    assert not (tmp_path / "elsewhere").exists()
    assert [str(output) for output in summary.outputs] == [f"{tmp_path}/out/a.png"]
    assert [reason.partition(" is no name of a file below ")[0] for _, reason in summary.failed] == [
        f"'{tmp_path}/elsewhere/a.png'",
        "'below//a.png'",
    ]


def test_two_places_of_one_name_do_not_replace_the_outputs_of_each_other(model: Path, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    places = [f"memory://bucket/{uuid.uuid4().hex}/{name}" for name in ("photos", "photos/", "drawings")]
    for uri in places:
        open_sink(uri).commit("a.png", tmp_path / "a.png")
    with pytest.raises(OptionError, match=r"photos and .*photos would both be translated into photos: "):
        translate(places, model, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()
    summary = translate(places[1:], model, tmp_path / "out", device="cpu")
    assert [str(output) for output in summary.outputs] == [
        f"{tmp_path}/out/photos/a.png",
        f"{tmp_path}/out/drawings/a.png",
    ]


def test_several_files_and_places_have_the_outputs_that_local_ones_have(model: Path, tmp_path: Path) -> None:
    for name in ("photos/a.png", "photos/b.gif", "photos/below/c.png", "x/b.bmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(tmp_path / name)
    root = f"memory://bucket/{uuid.uuid4().hex}"
    upload(tmp_path, root)
    inputs = ["photos/a.png", "photos/b.gif", "x/b.bmp", "photos/below"]
    translate([tmp_path / name for name in inputs], model, tmp_path / "whole", device="cpu", format="png")
    summary = translate(
        [f"{root}/{name}" for name in inputs], model, f"{root}/out", device="cpu", format="png"
    )
    made = outputs(open_source(f"{root}/out"))
    assert made == outputs(open_source(tmp_path / "whole"))
    assert made.keys() == {"a.png", "b.png", "below/c.png"}
    assert [path for path, _ in summary.failed] == [f"{root}/x/b.bmp"]


@pytest.mark.parametrize("loses_entries", [False, True], ids=["", "killed"])
def test_outputs_that_lie_among_the_inputs_are_not_taken_again(
    model: Path, tmp_path: Path, loses_entries: bool
) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    place = open_sink(f"memory://bucket/{uuid.uuid4().hex}")
    for name in ("a.png", "below/b.png"):
        place.commit(name, tmp_path / "a.png")
    if loses_entries:
        log = place.append_log(".translatekit-claims.jsonl")
    first = run(place.uri, model, place.uri, suffix="_x")
    assert first.translated == 2
    if loses_entries:
        for name in ("a_x.png", "below/b_x.png"):
            log.append(asdict(Claim(output=name, stamp="", model_hash="", options_hash="", before=0)))
        log.close()
        place.delete(".translatekit-manifest.0001.jsonl")
    again = run(place.uri, model, place.uri, suffix="_x")
    assert (again.translated, again.skipped) == ((2, 0) if loses_entries else (0, 2))
    assert outputs(place).keys() == {"a.png", "a_x.png", "below/b.png", "below/b_x.png"}


def test_what_is_left_out_of_an_archive_is_said(model: Path, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "a.png")
        archive.writestr("drawing.svg", "mine")
    told = Told()
    run(tmp_path / "photos.zip", model, tmp_path / "out", progress=told)
    assert told.said == ["Left out 1 .svg: not images or videos that can be read."]


def test_what_somebody_else_has_put_there_is_not_overwritten(
    model: Path, bucket: str, tmp_path: Path
) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    place = open_sink(bucket)
    place.commit("in/a.png", tmp_path / "a.png")
    place.commit("out/a.png", b"mine")
    for _ in range(2):
        summary = run(f"{bucket}/in", model, f"{bucket}/out")
        ((_, reason),) = summary.failed
        assert "exists and is not what an earlier run wrote there" in reason
        assert place.read("out/a.png") == b"mine"
    assert run(f"{bucket}/in", model, f"{bucket}/out", dry_run=True).failed
    assert run(f"{bucket}/in", model, f"{bucket}/out", force=True).translated == 1
    place.commit("out/a.png", b"changed")
    assert run(f"{bucket}/in", model, f"{bucket}/out").failed
    ((_, reason),) = run(f"{bucket}/in", model, f"{bucket}/in").failed
    assert "would overwrite an input" in reason


def test_a_dry_run_writes_nothing_and_reads_no_image(
    model: Path, photos: Path, bucket: str, s3: Proxy
) -> None:
    upload(photos, f"{bucket}/in")
    before = Counter(s3.requests)
    summary = run(f"{bucket}/in", model, f"{bucket}/out", dry_run=True)
    assert summary.translated == 11
    assert s3.requests["PUT"] == before["PUT"]
    assert s3.requests["GET"] - before["GET"] < 16
    assert list(open_source(f"{bucket}/out").list()) == []


def test_requests_that_fail_lose_nothing(
    model: Path, photos: Path, bucket: str, tmp_path: Path, s3: Proxy
) -> None:
    run(photos, model, tmp_path / "whole")
    upload(photos, f"{bucket}/in")
    s3.share = 0.1
    run(f"{bucket}/in", model, f"{bucket}/out")
    s3.share = 0.0
    assert sum(s3.failed.values()) > 0
    assert outputs(open_source(f"{bucket}/out")) == outputs(open_source(tmp_path / "whole"))


def test_a_run_that_is_killed_goes_on_and_every_output_is_there_once(
    model: Path, bucket: str, tmp_path: Path, s3: Proxy
) -> None:
    rng = np.random.default_rng(1)
    (tmp_path / "in").mkdir()
    for number in range(150):
        Image.fromarray(rng.integers(0, 256, (16, 24, 3), np.uint8)).save(tmp_path / f"in/{number:03}.png")
    run(tmp_path / "in", model, tmp_path / "whole")
    expected = outputs(open_source(tmp_path / "whole"))
    upload(tmp_path / "in", f"{bucket}/in")
    out = open_sink(f"{bucket}/out")
    command = [sys.executable, "-m", "translatekit", "run", f"{bucket}/in", "-m", str(model)]
    command += ["-o", f"{bucket}/out", "--device", "cpu"]
    environment = {**os.environ, "TRANSLATEKIT_CACHE": str(tmp_path / "cache")}
    for killed_at in (20, 90):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        while process.poll() is None and len(outputs_of(out)) < killed_at:
            time.sleep(0.02)
        assert process.poll() is None, "it was over before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        there = {}
        while there != (there := outputs_of(out)):  # what was on its way to the server may still come
            time.sleep(0.5)
        assert there.keys() < expected.keys()
    stamps = {item.name: item.stamp for item in out.list() if item.name in there}
    puts = s3.requests["PUT"]
    result = subprocess.run(
        [*command, "--json"], capture_output=True, text=True, env=environment, check=False
    )
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["skipped"] == len(there)  # none of them is done again
    assert summary["translated"] == 150 - len(there)
    assert outputs(out) == expected
    assert {item.name: item.stamp for item in out.list() if item.name in stamps} == stamps
    assert s3.requests["PUT"] - puts < 150 - len(there) + 20
    assert {item.name for item in out.list() if item.name.startswith(".translatekit-claims")} == set()
    assert run(f"{bucket}/in", model, f"{bucket}/out").skipped == 150


def outputs_of(place: Sink) -> dict[str, Item]:
    return {item.name: item for item in place.list() if not item.name.startswith(".")}


def test_a_claim_of_another_model_is_no_output_of_this_one(model: Path, bucket: str, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    place = open_sink(bucket)
    place.commit("in/a.png", tmp_path / "a.png")
    assert run(f"{bucket}/in", model, f"{bucket}/out").translated == 1
    for item in list(open_source(f"{bucket}/out").list()):
        if item.name.startswith("."):
            place.delete(f"out/{item.name}")  # what a kill may lose: the entry, but not the claim
    sink = open_sink(f"{bucket}/out")
    manifest = Manifest(sink)
    from translatekit_tools.bulk.manifest import Claim, hash_options

    from translatekit.storage import hash_file

    stamp = next(iter(open_source(f"{bucket}/in").list())).stamp
    made_with = {"model_hash": hash_file(model), "options_hash": hash_options(RunOptions().of_result())}
    manifest.claim([Claim(output="a.png", stamp=stamp, before=0, **made_with)])
    assert run(f"{bucket}/in", model, f"{bucket}/out", dry_run=True).skipped == 1
    assert run(f"{bucket}/in", model, f"{bucket}/out", quality=50).translated == 1
    assert run(f"{bucket}/in", model, f"{bucket}/out").translated == 1


def test_a_worker_in_a_bucket_needs_no_list_of_it(
    model: Path, photos: Path, bucket: str, tmp_path: Path, s3: Proxy
) -> None:
    run(photos, model, tmp_path / "whole")
    upload(photos, f"{bucket}/in")
    listing = Listing(open_source(f"{bucket}/in"), RunOptions(), open_sink(f"{bucket}/out"))
    found = [each.item for each in listing if each.problem is None]
    with Worker(f"{bucket}/in", f"{bucket}/out", str(model), RunOptions(), device="cpu") as worker:
        rows = [*worker.translate(found[:5]), *worker.translate(found[5:])]
    assert {row.name for row in rows} == {item.name for item in found}
    assert outputs(open_source(f"{bucket}/out")) == outputs(open_source(tmp_path / "whole"))
    with Worker(f"{bucket}/in", f"{bucket}/out", str(model), RunOptions(), device="cpu") as worker:
        assert Counter(row.outcome for row in worker.translate(found))["done"] == 0


class Names(Source):
    """A place that holds names alone, in the order of an object store."""

    uri = "names://"

    def __init__(self, *names: str) -> None:
        self.names = sorted(names)

    def list(self, prefix: str = "") -> list[Item]:  # type: ignore[override]
        return [Item(name, 1, "x") for name in self.names]

    def read(self, name: str) -> bytes:
        raise AssertionError

    open = stat = read  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("names", "with_problem"),
    [
        (("a.png", "b.png"), []),
        (("a.bmp", "a.png", "a-1.png", "a.b.png"), []),
        (("a.jp2", "a.pgm", "a.png"), None),
        (("x/a.heic", "x/a.png", "x/a.z.png", "x/ab.png", "a.png"), ["x/a.heic"]),
        (("a.heic", "a.heif"), ["a.heif"]),
        (("a.nii.gz", "a.png"), ["a.nii.gz"]),
        (("a.nii", "a.nii.gz"), ["a.nii.gz"]),
    ],
)
def test_of_two_with_one_output_the_one_that_keeps_its_suffix_has_it(
    names: tuple[str, ...], with_problem: list[str] | None, tmp_path: Path
) -> None:
    options = RunOptions(format="png" if "a.nii.gz" in names else "keep")
    found = list(Listing(Names(*names), options, open_sink(tmp_path)))
    assert sorted(each.item.name for each in found) == sorted(names)
    outputs = [each.output for each in found if each.problem is None]
    assert len(set(outputs)) == len(outputs)
    if with_problem is not None:
        assert [each.item.name for each in found if each.problem is not None] == with_problem


def test_a_video_in_a_bucket_is_translated_as_a_local_one_and_stopped_ones_go_on(
    model: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from translatekit_tools.bulk.video import segments

    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("translatekit_tools.bulk.video.pipeline.SEGMENT_FRAMES", 4)
    (tmp_path / "in").mkdir()
    make_video(tmp_path / "in/a.mp4", frames=12)
    run(tmp_path / "in", model, tmp_path / "whole")
    upload(tmp_path / "in", f"{bucket}/in")
    add, added = segments.Segments.add, 0

    def stopping(self: segments.Segments, *arguments: object) -> None:
        nonlocal added
        added += 1
        if added == 2:
            raise KeyboardInterrupt
        add(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(segments.Segments, "add", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(f"{bucket}/in", model, f"{bucket}/out")
    assert outputs(open_source(f"{bucket}/out")) == {}
    summary = run(f"{bucket}/in", model, f"{bucket}/out")
    assert (summary.translated, added) == (1, 4)  # the first segment was there
    assert outputs(open_source(f"{bucket}/out")) == outputs(open_source(tmp_path / "whole"))
    assert run(f"{bucket}/in", model, f"{bucket}/out").skipped == 1
    assert not any((tmp_path / "cache" / "spool").iterdir())
