"""Which files are translated, and where each one goes."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from translatekit_tools.bulk import translate
from translatekit_tools.bulk.find import Job, find_jobs
from translatekit_tools.bulk.manifest import Entry
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.walk import LeftOut

from tests.tools.test_bulk import Identity
from translatekit.errors import DataError, OptionError
from translatekit.model_info import ModelInfo


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("a.jpg", "b.png", "sub/c.gif", "sub/.hidden.png", ".git/d.png", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("txt"):
            (folder / name).write_text("no image")
        else:
            Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / name)
    return folder


def plan(
    *inputs: str | Path, out: str | Path | None = None, options: RunOptions | None = None
) -> list[tuple[Path, Path]]:
    jobs = list(find_jobs(inputs, out, options or RunOptions()))
    assert all(job.problem is None for job in jobs)
    return [(job.source, job.output) for job in jobs]


def found(inputs: list[str | Path], out: Path | None) -> tuple[list[Job], LeftOut]:
    findings = find_jobs(inputs, out, RunOptions())
    return list(findings), findings.left_out


def problems(jobs: list[Job]) -> list[str | None]:
    return [job.problem for job in jobs]


def test_a_folder_is_mirrored_without_hidden_files_and_other_kinds(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert plan(photos, out=out) == [
        (photos / "a.jpg", out / "a.jpg"),
        (photos / "b.png", out / "b.png"),
        (photos / "sub/c.gif", out / "sub/c.png"),  # GIF is not written
    ]


def test_without_out_a_folder_goes_to_its_neighbour(photos: Path) -> None:
    assert plan(photos)[2][1] == photos.parent / "photos-translated/sub/c.png"


def test_the_working_directory_has_a_name(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    assert plan(".")[0][1] == photos.parent / "photos-translated/a.jpg"


def test_without_out_a_file_goes_beside_itself(photos: Path) -> None:
    assert plan(photos / "a.jpg")[0][1] == photos / "a-translated.jpg"
    assert plan(photos / "a.jpg", options=RunOptions(suffix="_x"))[0][1] == photos / "a_x.jpg"


def test_out_with_an_images_ending_is_the_file_itself(photos: Path, tmp_path: Path) -> None:
    assert plan(photos / "a.jpg", out=tmp_path / "result.webp")[0][1] == tmp_path / "result.webp"
    with pytest.raises(OptionError, match="the input is not one"):
        find_jobs([photos], tmp_path / "result.png", RunOptions())
    with pytest.raises(OptionError, match=r"\.gif"):
        find_jobs([photos / "a.jpg"], tmp_path / "result.gif", RunOptions())


def test_several_folders_keep_their_names_under_out(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outputs = [output for _, output in plan(photos, photos / "sub", photos / "b.png", out=out)]
    assert outputs == [out / "photos/a.jpg", out / "photos/b.png", out / "photos/sub/c.png"]


def test_a_glob_is_mirrored_from_its_first_wildcard_on(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert plan(f"{photos}/**/*.gif", out=out) == [(photos / "sub/c.gif", out / "sub/c.png")]
    assert [source.name for source, _ in plan(f"{photos}/*", out=out)] == ["a.jpg", "b.png", "c.gif"]


def test_a_name_with_wildcard_characters_is_a_file_where_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "shot [1].png"
    Image.new("RGB", (4, 4)).save(path)
    assert plan(path) == [(path, tmp_path / "shot [1]-translated.png")]


def test_home_is_expanded(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(photos))
    monkeypatch.setenv("USERPROFILE", str(photos))
    assert plan("~/a.jpg")[0][0] == photos / "a.jpg"


def test_format_and_suffix_make_the_name(photos: Path, tmp_path: Path) -> None:
    options = RunOptions(format="tiff", suffix="_map")
    assert plan(photos / "a.jpg", out=tmp_path, options=options)[0][1] == tmp_path / "a_map.tiff"


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.png", "no file or folder"), ("none*.png", "no image matches"), ("empty", "holds no images")],
)
def test_an_input_that_is_nothing_is_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        list(find_jobs([tmp_path / name], None, RunOptions()))


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        find_jobs([tmp_path / "pipe.png"], None, RunOptions())


def test_a_file_named_twice_is_translated_once(photos: Path, tmp_path: Path) -> None:
    assert len(plan(photos / "a.jpg", photos, f"{photos}/*.jpg", out=tmp_path / "out")) == 3


def test_an_output_that_is_an_input_is_refused(photos: Path) -> None:
    jobs = list(find_jobs([photos], photos, RunOptions()))
    assert [problem is not None for problem in problems(jobs)] == [True, True, False]  # the GIF becomes a PNG
    assert "would overwrite an input" in str(jobs[0].problem)


def test_a_link_in_the_way_does_not_hide_that_the_output_is_an_input(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(photos)
    assert "would overwrite an input" in str(
        next(iter(find_jobs([photos], tmp_path / "link", RunOptions()))).problem
    )


def test_a_link_is_not_translated_into_what_it_leads_to(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    for name in ("b.png", "other.png"):
        (tmp_path / "some" / name).symlink_to(photos / "b.png")
    before = (photos / "b.png").read_bytes()
    summary = translate(
        tmp_path / "some", Identity(ModelInfo(method="test", generator="unet")), photos, force=True
    )
    assert summary.outputs == [photos / "other.png"]
    assert "would overwrite an input" in summary.failed[0][1]
    assert (photos / "b.png").read_bytes() == before


def test_of_two_inputs_with_one_output_the_one_that_keeps_its_format_is_first(
    photos: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (4, 4)).save(photos / "b.gif")  # sorts before b.png, which keeps its format
    jobs = list(find_jobs([photos], tmp_path / "out", RunOptions()))
    assert [
        (job.source.name, [alternative.source.name for alternative in job.alternatives]) for job in jobs
    ] == [
        ("a.jpg", []),
        ("b.png", ["b.gif"]),
        ("c.gif", []),
    ]


def test_what_nothing_reads_is_counted_by_suffix(photos: Path, tmp_path: Path) -> None:
    for name in (
        "x.BLEND",
        "sub/y.blend",
        "logo.svg",
        "scan",
        ".z.blend",
        "a.json",
        "a.xmp",
        "Thumbs.db",
        "a.txt",
    ):
        (photos / name).touch()
    _, left_out = found([photos], tmp_path / "out")
    assert left_out.unread == {".blend": 2, "": 1, ".svg": 1}
    assert list(left_out.notes()) == [
        "Left out 2 .blend, 1 .svg, 1 without a suffix: not images or videos that can be read."
    ]
    assert found([f"{photos}/**/*"], tmp_path / "out")[1].unread == left_out.unread
    assert list(found([photos / "sub/c.gif"], tmp_path / "out")[1].notes()) == []
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x.blend").touch()
    with pytest.raises(DataError, match=r"holds no images and no videos that can be read, only 1 \.blend"):
        found([tmp_path / "other"], None)


def write_output(photos: Path, source: Path, out: Path) -> None:
    """An earlier run's output of `source`."""
    (job,), _ = found([source], out)
    job.output.parent.mkdir(exist_ok=True)
    Image.new("RGB", (4, 4)).save(job.output)
    names = job.manifest.relative(source), job.manifest.relative(job.output)
    job.manifest.add(
        Entry(
            input=names[0],
            input_hash="",
            output=names[1],
            output_hash="",
            output_size=0,
            model_hash="",
            options_hash="",
        )
    )


def test_what_an_earlier_run_has_written_below_the_input_is_no_input(photos: Path, tmp_path: Path) -> None:
    write_output(photos, photos / "a.jpg", photos / "day1")
    Image.new("RGB", (4, 4)).save(photos / "day1/original.png")
    jobs, left_out = found([photos], tmp_path / "out")
    assert [job.source.name for job in jobs] == ["a.jpg", "b.png", "original.png", "c.gif"]
    assert list(left_out.notes()) == ["Left out 1 that an earlier run has written."]
    # Named by itself, a folder of outputs is what the user wants translated.
    named, _ = found([photos / "day1"], tmp_path / "out")
    assert [job.source.name for job in named] == ["a.jpg", "original.png"]


def test_outputs_beside_their_inputs_are_no_inputs_of_a_run_to_elsewhere(
    photos: Path, tmp_path: Path
) -> None:
    write_output(photos, photos / "a.jpg", photos / "a-translated.jpg")
    assert [source.name for source, _ in plan(photos, out=tmp_path / "out")] == ["a.jpg", "b.png", "c.gif"]


def test_linked_folders_are_followed_once(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "elsewhere/e.png")
    (photos / "0sub").symlink_to(photos / "sub")  # sorts before what it leads to
    (photos / "again").symlink_to(photos)
    (photos / "elsewhere").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(photos)
    (photos / "out").symlink_to(tmp_path / "out")
    write_output(photos, photos / "b.png", tmp_path / "out")
    assert [source.relative_to(photos).as_posix() for source, _ in plan(photos, out=tmp_path / "out")] == [
        *("a.jpg", "b.png", "sub/c.gif", "elsewhere/e.png")
    ]


def test_an_output_that_ends_like_no_image_is_refused_for_one_file_and_a_folder_for_many(
    photos: Path, tmp_path: Path
) -> None:
    for name in ("result.xyz", "result.v2"):
        with pytest.raises(OptionError, match=rf"images cannot be written as .*\.png, .*-o .*{name}/"):
            find_jobs([photos / "a.jpg"], tmp_path / name, RunOptions())
        assert plan(photos / "a.jpg", out=f"{tmp_path / name}/")[0][1] == tmp_path / name / "a.jpg"
        assert plan(photos, out=tmp_path / name)[0][1] == tmp_path / name / "a.jpg"
        assert plan(photos / "a.jpg", photos / "b.png", out=tmp_path / name)[0][1].parent == tmp_path / name
    (tmp_path / "there.v2").mkdir()
    assert plan(photos / "a.jpg", out=tmp_path / "there.v2")[0][1] == tmp_path / "there.v2/a.jpg"


def test_outputs_inside_of_the_input_folder_are_not_inputs(photos: Path) -> None:
    out = photos / "out"
    out.mkdir()
    Image.new("RGB", (4, 4)).save(out / "a.jpg")
    assert len(plan(photos, out=out)) == 3
    assert len(plan(f"{photos}/*", out=out)) == 3
    assert len(plan(f"{photos}/**/*.jpg", out=out)) == 1


def test_outputs_beside_their_inputs_are_not_inputs_again(photos: Path) -> None:
    write_output(photos, photos / "a.jpg", photos / "a-translated.jpg")
    assert [source.name for source, _ in plan(f"{photos}/*.jpg")] == ["a.jpg"]
    # Named by itself, it is what the user wants translated.
    assert [source.name for source, _ in plan(photos / "a-translated.jpg")] == ["a-translated.jpg"]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 folders of 100 images each: one file, by many names."""
    folder = tmp_path_factory.mktemp("many") / "photos"
    for sub in range(20):
        (folder / f"{sub:02}").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "00/000.png")
    for number in range(1, 2000):
        os.link(folder / "00/000.png", folder / f"{number // 100:02}/{number % 100:03}.png")
    return folder


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are listed, as they are."""
    listed, scandir = [], os.scandir

    def spy(path: Any) -> Any:
        listed.append(Path(path).name)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", spy)
    return listed


def test_the_files_of_a_folder_are_given_out_before_the_next_is_listed(
    many: Path, tmp_path: Path, entered: list[str]
) -> None:
    jobs = iter(find_jobs([many], tmp_path / "out", RunOptions()))
    assert next(jobs).source == many / "00/000.png"
    assert entered == ["photos", "00"]
    assert [job.source for job in islice(jobs, 99, 101)] == [many / "01/000.png", many / "01/001.png"]
    assert entered == ["photos", "00", "01"]


def test_what_is_found_does_not_stay_in_memory(many: Path, tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        assert sum(1 for _ in find_jobs([many], tmp_path / "out", RunOptions())) == 2000
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 400_000  # all jobs together would take three times that


def test_folders_that_may_have_to_do_with_each_other_are_listed_before_the_first_file_is_given_out(
    many: Path, tmp_path: Path, entered: list[str]
) -> None:
    (tmp_path / "link").symlink_to(many / "00")
    related: list[tuple[Sequence[Path], Path]] = [
        ([many / "00", many / "00"], tmp_path / "out"),
        ([many / "00", tmp_path / "link"], tmp_path / "out"),
        ([many / "00", many / "01"], many),
        ([many / "00"], many),
        ([many / "00", many / "00/000.png"], tmp_path / "out"),
    ]
    for inputs, out in related:
        entered.clear()
        jobs = find_jobs(inputs, out, RunOptions())
        assert "00" in entered or "link" in entered, inputs
        assert next(iter(jobs)).source.name == "000.png"
    unrelated: list[tuple[Sequence[Path], Path]] = [
        ([many / "00", many / "01"], tmp_path / "out"),
        ([many / "00"], many / "00/out"),
    ]
    for inputs, out in unrelated:
        entered.clear()
        find_jobs(inputs, out, RunOptions())
        assert entered == []


def test_names_of_one_stem_are_told_apart_wherever_they_stand(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.gif", "a.gif.png", "a.jpeg", "a.png", "a.x.png", "b.png", "b.v.gif", "b.v.png"):
        Image.new("RGB", (4, 4)).save(folder / name)
    jobs = list(find_jobs([folder], tmp_path / "out", RunOptions()))
    assert [(job.output.name, [each.source.name for each in job.alternatives]) for job in jobs] == [
        *(("a.gif.png", []), ("a.jpeg", []), ("a.png", ["a.gif"]), ("a.x.png", [])),
        *(("b.png", []), ("b.v.png", ["b.v.gif"])),
    ]


def test_links_that_lead_nowhere_are_named_and_stop_nothing(photos: Path, tmp_path: Path) -> None:
    (photos / "loop").symlink_to("loop")
    (photos / "gone.png").symlink_to("missing.png")
    names = [source.name for source, _ in plan(photos, out=tmp_path / "out")]
    assert names == ["a.jpg", "b.png", "gone.png", "c.gif"]


class Black(Identity):
    """Makes every image black."""

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        return np.zeros_like(batch)


BLACK = Black(ModelInfo(method="test", generator="unet", size_multiple=4))


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder of ``photos``, whose subfolders ``x`` and ``y`` hold an ``a.png`` each, and a folder ``out``."""
    for name in "xy":
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4), (ord(name), 0, 0)).save(tmp_path / f"photos/{name}/a.png")
    (tmp_path / "out").mkdir()
    return tmp_path


@pytest.mark.parametrize("target", ["photos/x", "photos/y"])
def test_no_link_in_the_output_folder_lets_an_output_replace_an_input(linked: Path, target: str) -> None:
    """Not even by force, and whichever input it is; another image may be written there."""
    (linked / "out/x").symlink_to(linked / target)
    before = {path: path.read_bytes() for path in (linked / "photos").rglob("*.png")}
    for force in (False, True):
        summary = translate(linked / "photos", BLACK, linked / "out", force=force)
        ((source, reason),) = summary.failed
        assert Path(source) == linked / "photos/x/a.png"
        assert "would overwrite a file in" in reason or "is not what an earlier run wrote there" in reason
    assert {path: path.read_bytes() for path in before} == before
    assert (linked / "out/y/a.png").is_file()


def test_one_folder_by_two_names_lets_no_output_replace_an_input(
    linked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where letters are not told apart by their case: the real path is not the same."""
    (linked / "PHOTOS").symlink_to("photos")
    real = os.path.realpath
    monkeypatch.setattr(
        os.path, "realpath", lambda path, **_: str(path) if "PHOTOS" in str(path) else real(path)
    )
    jobs = list(find_jobs([linked / "photos"], linked / "PHOTOS", RunOptions(force=True)))
    assert [job.problem is not None and "inputs are in" in job.problem for job in jobs] == [True, True]
    jobs = list(find_jobs([linked / "photos"], linked / "PHOTOS", RunOptions(suffix="-x")))
    assert [job.problem for job in jobs] == [None, None]


def test_two_folders_of_outputs_that_are_one_by_a_link_are_refused(linked: Path) -> None:
    (linked / "out/y").mkdir()
    (linked / "out/x").symlink_to("y")
    for _ in range(2):
        summary = translate(linked / "photos", BLACK, linked / "out", force=True)
        ((source, reason),) = summary.failed
        assert "where other outputs go: remove the link" in reason
        assert Path(source) == linked / "photos/y/a.png"


def test_a_link_to_another_disk_is_written_through_again_and_again(linked: Path) -> None:
    (linked / "elsewhere").mkdir()
    (linked / "out/x").symlink_to(linked / "elsewhere")
    for _ in range(2):
        assert translate(linked / "photos", BLACK, linked / "out", force=True).failed == []
    assert (linked / "elsewhere/a.png").is_file()
    (linked / "elsewhere/a.png").unlink()
    (linked / "elsewhere/a.png").write_bytes(b"somebody's own")
    assert len(translate(linked / "photos", BLACK, linked / "out").failed) == 1
