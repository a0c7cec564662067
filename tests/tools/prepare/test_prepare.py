"""From raw images to training data: what each command writes, refuses and reports."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from translatekit_tools.cli.prepare import prepare
from translatekit_tools.prepare import check
from translatekit_tools.prepare.label_tables import TABLES
from translatekit_tools.prepare.options import CheckOptions

from translatekit.datasets.aligned import Aligned
from translatekit.datasets.palette import Palette
from translatekit.errors import DataError, OptionError, TranslatekitError
from translatekit.images import encode_image, image_of, read_image, read_levels
from translatekit.interfaces import DataOptions

COMMANDS = (
    "check",
    "crop",
    "edges",
    "frames",
    "gray",
    "labels",
    "pairs",
    "resize",
    "segment",
    "split",
    "tile",
)


def run(*arguments: Any) -> Result:
    result = CliRunner().invoke(prepare, [str(argument) for argument in arguments])
    if isinstance(result.exception, TranslatekitError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def check_data(data: Path, **options: Any) -> check.Report:
    return check.check_data(data, CheckOptions(**options))


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_image(image_of(pixels), path.suffix))
    return path


def load(path: Path) -> np.ndarray:
    return read_levels(path, deep=False).pixels


def scene(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """Sky, wall and ground, with windows: (H, W, 3) uint8, another for each seed."""
    rng = np.random.default_rng(seed)
    image = np.empty((height, width, 3), np.float64)
    image[: height // 3], image[height // 3 :], image[-height // 5 :] = (
        (120, 170, 230),
        (170, 80, 60),
        (70, 70, 75),
    )
    for _ in range(6):
        y, x = rng.integers(height // 3, height * 2 // 3), rng.integers(0, width - 24)
        image[y : y + 12, x : x + 16] = (30, 40, 50)
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def photos(folder: Path, count: int = 6, **size: int) -> Path:
    for number in range(count):
        save(folder / f"{number}.png", scene(number, **size))
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def arguments_of(command: str, source: Path, out: Path) -> Sequence[Any]:
    more: dict[str, Sequence[Any]] = {
        "crop": ("--size", 32),
        "labels": ("--to", "ids", "--palette", "camvid"),
        "resize": ("--size", 32),
        "segment": ("-k", 3),
        "tile": ("--size", 32),
    }
    inputs = (source, source) if command == "pairs" else (source,)
    return (command, *inputs, "-o", out, *more.get(command, ()))


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("check", "frames")])
def test_originals_stay_and_nothing_is_overwritten_without_force(command: str, tmp_path: Path) -> None:
    source, out = photos(tmp_path / "photos"), tmp_path / "out"
    before = contents(source)
    arguments = arguments_of(command, source, out)
    assert run(*arguments).exit_code == 0
    first = contents(out)
    assert first
    mine = next(path for path in sorted(out.rglob("*.png")))
    mine.write_bytes(b"changed by hand")
    refused: Any
    try:
        refused = run(*arguments).stderr
    except DataError as error:
        refused = error
    assert "exists already: pass --force to replace it" in str(refused)
    assert mine.read_bytes() == b"changed by hand"
    assert run(*arguments, "--force").exit_code == 0
    assert contents(out) == first  # and the same again
    assert contents(source) == before


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("check", "frames")])
def test_a_rerun_goes_on_where_the_last_one_stopped(command: str, tmp_path: Path) -> None:
    source, out = photos(tmp_path / "photos"), tmp_path / "out"
    arguments = arguments_of(command, source, out)
    assert run(*arguments).exit_code == 0
    first = contents(out)
    images = sorted(out.rglob("*.png"))
    images[-1].unlink()  # as if it had been killed before this one
    stamps = {path: path.stat().st_mtime_ns for path in images[:-1]}
    again = json.loads(run(*arguments, "--json").stdout)
    assert contents(out) == first
    assert str(images[-1]) in again["written"]
    whole = [path for path in images[:-1] if str(path) in again["skipped"]]
    assert whole  # of a tiled image, all tiles are made again
    assert all(path.stat().st_mtime_ns == stamps[path] for path in whole)


def test_files_made_with_other_options_are_replaced_but_never_mixed_in(tmp_path: Path) -> None:
    source, out = photos(tmp_path / "photos", 2), tmp_path / "out"
    assert run("resize", source, "-o", out, "--size", 32).exit_code == 0
    assert run("resize", source, "-o", out, "--size", 48).exit_code == 0
    assert load(out / "0.png").shape == (48, 48, 3)
    assert run("tile", source, "-o", tmp_path / "tiles", "--size", 32).exit_code == 0
    refused = run("tile", source, "-o", tmp_path / "tiles", "--size", 64)
    assert refused.exit_code == 1
    assert "made of it with other options" in refused.stderr
    assert run("tile", source, "-o", tmp_path / "tiles", "--size", 64, "--force").exit_code == 0
    assert {load(path).shape for path in (tmp_path / "tiles").glob("*.png")} == {(64, 64, 3)}


def test_options_that_are_gone_back_to_make_the_files_of_the_first_run_again(tmp_path: Path) -> None:
    source, out = photos(tmp_path / "photos", 2), tmp_path / "out"
    run("resize", source, "-o", out, "--size", 32)
    first = contents(out)
    run("resize", source, "-o", out, "--size", 48)
    again = json.loads(run("resize", source, "-o", out, "--size", 32, "--json").stdout)
    assert contents(out) == first
    assert len(again["written"]) == 2


def test_a_file_that_a_killed_run_did_not_come_to_replace_is_made_again(tmp_path: Path) -> None:
    source, out = photos(tmp_path / "photos", 1), tmp_path / "out"
    run("resize", source, "-o", out, "--size", 32)
    before = (out / "0.png").read_bytes()
    run("resize", source, "-o", out, "--size", 48)
    (out / "0.png").write_bytes(before)  # as if it had been killed between the journal and the file
    run("resize", source, "-o", out, "--size", 48)
    assert load(out / "0.png").shape == (48, 48, 3)


def test_two_splits_are_never_mixed(tmp_path: Path) -> None:
    source, out = photos(tmp_path / "photos", 12), tmp_path / "out"
    options = ("-o", out, "--val", 0.25, "--test", 0.25, "--near", -1)
    assert run("split", source, *options).exit_code == 0
    first = contents(out)
    with pytest.raises(DataError, match="from another split"):
        run("split", source, *options, "--seed", 5)
    assert contents(out) == first


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("check", "frames", "split")])
def test_an_output_among_the_inputs_is_refused(command: str, tmp_path: Path) -> None:
    source = photos(tmp_path / "photos", 2)
    with pytest.raises(DataError, match="choose one beside it"):
        run(*arguments_of(command, source, source / "out"))


@pytest.mark.parametrize("command", ["crop", "edges", "gray", "pairs", "resize", "segment", "split", "tile"])
def test_an_unreadable_file_is_named_and_the_rest_goes_on(command: str, tmp_path: Path) -> None:
    source = photos(tmp_path / "photos")
    (source / "torn.png").write_bytes((source / "1.png").read_bytes()[:200])
    result = run(*arguments_of(command, source, tmp_path / "out"))
    assert result.exit_code == 1
    assert result.stderr.count("torn.png") >= 1
    assert "1 inputs failed" in result.stderr
    assert any(path.stem.startswith("5") for path in (tmp_path / "out").rglob("*.png"))


# pairs


def test_pairs_are_matched_by_their_stems(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "a" / f"{number}_label.png", np.full((20, 30, 3), number, np.uint8))
        save(tmp_path / "b" / f"photo_{number}.png", np.full((20, 30, 3), 200 + number, np.uint8))
    save(tmp_path / "a" / "9_label.png", np.zeros((20, 30, 3), np.uint8))
    out = tmp_path / "out"
    result = run(
        "pairs", tmp_path / "a", tmp_path / "b", "-o", out, "--strip", "_label", "--strip", "photo_", "--json"
    )
    assert [Path(path).name for path in json.loads(result.stdout)["unmatched"]] == ["9_label.png"]
    assert sorted(path.name for path in (out / "train").iterdir()) == ["0.png", "1.png", "2.png"]
    pair = load(out / "train" / "2.png")
    assert pair.shape == (20, 60, 3)
    assert (pair[:, :30] == 2).all()
    assert (pair[:, 30:] == 202).all()


def two_folders(folder: Path, a: Sequence[str], b: Sequence[str]) -> tuple[Path, Path]:
    """Images whose gray level says which number they have in their folder."""
    for side, names in (("a", a), ("b", b)):
        for level, name in enumerate(names):
            save(folder / side / name, np.full((8, 8, 3), 10 * level, np.uint8))
    return folder / "a", folder / "b"


def joined(out: Path) -> dict[str, tuple[int, int]]:
    """The gray levels of the two halves of each pair."""
    return {path.stem: (int(load(path)[0, 0, 0]), int(load(path)[0, -1, 0])) for path in out.rglob("*.png")}


def test_pairs_by_the_number_in_their_names(tmp_path: Path) -> None:
    a, b = two_folders(tmp_path, ["x_2.png", "x_010.png", "x_3.png"], ["10-y.png", "0002-y.png", "7-y.png"])
    result = run("pairs", a, b, "-o", tmp_path / "out", "--by", "number")
    assert result.exit_code == 0
    assert joined(tmp_path / "out") == {"x_2": (0, 10), "x_010": (10, 0)}
    assert "x_3.png" in result.stderr
    assert "7-y.png" in result.stderr


def test_pairs_by_order_count_as_people_do(tmp_path: Path) -> None:
    a, b = two_folders(tmp_path, ["a2.png", "a10.png"], ["p1.png", "q1.png"])
    assert run("pairs", a, b, "-o", tmp_path / "out", "--by", "order").exit_code == 0
    assert joined(tmp_path / "out") == {"a2": (0, 0), "a10": (10, 10)}
    save(b / "r1.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"2 images and .* 3: in order, they must be equally many"):
        run("pairs", a, b, "-o", tmp_path / "other", "--by", "order")


def test_pairs_by_a_pattern(tmp_path: Path) -> None:
    names = ["s1_t1_in.png", "s1_t2_in.png", "s2_t1_in.png"], ["t1-s2.png", "t1-s1.png", "t2-s1.png"]
    a, b = two_folders(tmp_path, *names)
    ambiguous = run("pairs", a, b, "-o", tmp_path / "one", "--pattern", r"s(\d)", "--json")
    assert ambiguous.exit_code == 1
    assert json.loads(ambiguous.stdout)["pairs"] == 1
    assert "would all be one side of a pair" in ambiguous.stderr
    assert joined(tmp_path / "one") == {"s2_t1_in": (20, 0)}
    for side in names:
        assert len({re.search(r"t\d", name)[0] for name in side}) == 2  # type: ignore[index]
    assert run("pairs", a, b, "-o", tmp_path / "all", "--pattern", r"(?=.*(s\d))(?=.*(t\d))").exit_code == 0
    assert joined(tmp_path / "all") == {"s1_t1_in": (0, 10), "s1_t2_in": (10, 20), "s2_t1_in": (20, 0)}
    with pytest.raises(OptionError, match="is no regular expression"):
        run("pairs", a, b, "-o", tmp_path / "other", "--pattern", "(")
    with pytest.raises(OptionError, match="different ways to match"):
        run("pairs", a, b, "-o", tmp_path / "other", "--pattern", "s", "--by", "order")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_pairs_by_a_table(separator: str, tmp_path: Path) -> None:
    a, b = two_folders(tmp_path, ["one.png", "two.png"], ["x/p.png", "x/q.png"])
    table = tmp_path / "pairs.csv"
    rows = [("input", "target"), ("two.png", "x/p.png"), ("one.png", "x/q.png")]
    table.write_text("\n".join(separator.join(row) for row in rows))
    assert run("pairs", a, b, "-o", tmp_path / "out", "--table", table).exit_code == 0
    assert joined(tmp_path / "out") == {"two": (10, 0), "one": (0, 10)}
    table.write_text(f"one.png{separator}x/p.png\nthree.png{separator}x/q.png")
    with pytest.raises(DataError, match=r"line 2 of .* names .*three.png, which is not there"):
        run("pairs", a, b, "-o", tmp_path / "other", "--table", table)


def test_pairs_of_two_sizes_are_refused_or_resized(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.png", np.full((20, 30, 3), 9, np.uint8))
    save(tmp_path / "b" / "1.png", np.full((40, 60, 3), 99, np.uint8))
    refused = run("pairs", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out")
    assert refused.exit_code == 1
    assert "30x20" in refused.stderr
    assert "--resize-b" in refused.stderr
    options = ("-o", tmp_path / "out", "--resize-b", "nearest", "--layout", "folders")
    assert run("pairs", tmp_path / "a", tmp_path / "b", *options).exit_code == 0
    assert load(tmp_path / "out" / "train" / "B" / "1.png").shape == (20, 30, 3)
    assert (tmp_path / "out/train/A/1.png").read_bytes() == (tmp_path / "a/1.png").read_bytes()


# segment


def test_one_palette_serves_the_whole_set_and_a_later_one(tmp_path: Path) -> None:
    source, out = photos(tmp_path / "photos"), tmp_path / "out"
    assert run("segment", source, "-o", out, "-k", 3).exit_code == 0
    palette = Palette.load(out / "palette.json")
    assert palette.names == ("class-1", "class-2", "class-3")
    found = {number: load(out / "train" / f"{number}.png")[:, :128] for number in range(6)}
    for drawing in found.values():
        assert {tuple(color) for color in drawing.reshape(-1, 3).tolist()} <= set(palette.colors)
    sky = {tuple(drawing[5, 5].tolist()) for drawing in found.values()}
    ground = {tuple(drawing[-5, 5].tolist()) for drawing in found.values()}
    assert len(sky) == len(ground) == 1
    assert sky != ground
    assert len(Aligned(out, DataOptions(load_size=64, crop_size=64))) == 6

    content = json.loads((out / "palette.json").read_text())
    content["classes"][0] |= {"name": "wall", "color": [1, 2, 3]}
    (out / "palette.json").write_text(json.dumps(content))
    more = photos(tmp_path / "more", 2)
    assert run("segment", more, "-o", tmp_path / "later", "--like", out).exit_code == 0
    with pytest.raises(OptionError, match="leave out --classes, or --like"):
        run("segment", more, "-o", tmp_path / "other", "--like", out, "-k", 3)
    assert Palette.load(tmp_path / "later" / "palette.json").names[0] == "wall"
    repainted = load(tmp_path / "later" / "train" / "1.png")[:, :128]
    was_first = (found[1] == palette.colors[0]).all(2)
    assert (repainted[was_first] == (1, 2, 3)).all()
    np.testing.assert_array_equal(repainted[~was_first], found[1][~was_first])


def smallest_region(drawing: np.ndarray) -> int:
    areas = []
    for color in np.unique(drawing.reshape(-1, 3), axis=0):
        mask = (drawing == color).all(2).astype(np.uint8)
        areas.append(cv2.connectedComponentsWithStats(mask, connectivity=4)[2][1:, cv2.CC_STAT_AREA].min())
    return int(min(areas))


def test_small_regions_are_smoothed_away(tmp_path: Path) -> None:
    source = photos(tmp_path / "photos")
    smallest = []
    for smooth in (0, 0.02):
        out = tmp_path / str(smooth)
        run("segment", source, "-o", out, "-k", 4, "--smooth", smooth)
        smallest.append(smallest_region(load(out / "train" / "0.png")[:, :128]))
    assert smallest[0] < 0.02 * 96 * 128
    assert smallest[1] >= 0.02 * 96 * 128


def test_figures_that_cannot_be_are_refused(tmp_path: Path) -> None:
    source = photos(tmp_path / "photos", 2)
    for option, value in (("--classes", 1), ("--spatial", -1), ("--smooth", 0.5)):
        with pytest.raises(OptionError, match=option):
            run("segment", source, "-o", tmp_path / "out", option, value)
    save(tmp_path / "flat" / "1.png", np.full((40, 40, 3), 8, np.uint8))
    with pytest.raises(DataError, match="fewer than 8 colours"):
        run("segment", tmp_path / "flat", "-o", tmp_path / "out", "--spatial", 0)


# edges, gray, resize, crop, tile


@pytest.mark.parametrize("option", ["low", "high", "blur"])
def test_what_is_canny_s_is_refused_with_a_model(option: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="are Canny's: leave them out with --model"):
        run("edges", tmp_path, "-o", tmp_path / "out", "--model", tmp_path / "model.onnx", f"--{option}", 3)


def test_edges_are_black_lines_where_the_picture_changes(tmp_path: Path) -> None:
    image = np.full((64, 64, 3), 30, np.uint8)
    image[:, 32:] = 220
    save(tmp_path / "photos" / "1.png", image)
    run("edges", tmp_path / "photos", "-o", tmp_path / "out")
    drawing = load(tmp_path / "out" / "train" / "1.png")[:, :64, 0]
    columns = np.flatnonzero((drawing < 128).all(0))
    assert columns.size
    assert abs(columns - 32).max() <= 2
    assert (drawing[:, :24] == 255).all()


def test_gray_goes_with_its_photograph(tmp_path: Path) -> None:
    source = photos(tmp_path / "photos", 1)
    run("gray", source, "-o", tmp_path / "out")
    pair = load(tmp_path / "out" / "train" / "0.png")
    np.testing.assert_array_equal(pair[:, 128:], load(source / "0.png"))
    assert (np.ptp(pair[:, :128].astype(int), axis=2) == 0).all()


def test_resize_and_crop_of_single_images_and_of_pairs(tmp_path: Path) -> None:
    source = photos(tmp_path / "photos", 1)
    run("resize", source, "-o", tmp_path / "short", "--short", 48)
    assert load(tmp_path / "short" / "0.png").shape == (48, 64, 3)
    run("crop", source, "-o", tmp_path / "centre", "--size", 32)
    np.testing.assert_array_equal(load(tmp_path / "centre" / "0.png"), scene(0)[32:64, 48:80])
    pair = np.concatenate([scene(0), scene(1)], axis=1)
    save(tmp_path / "pairs" / "p.png", pair)
    run("crop", tmp_path / "pairs", "-o", tmp_path / "halves", "--size", 32, "--pairs")
    made = load(tmp_path / "halves" / "p.png")
    np.testing.assert_array_equal(made, np.concatenate([scene(s)[32:64, 48:80] for s in (0, 1)], axis=1))


def test_tiles_show_all_of_an_image(tmp_path: Path) -> None:
    source = photos(tmp_path / "photos", 1, height=100, width=130)
    run("tile", source, "-o", tmp_path / "tiles", "--size", 64, "--overlap", 8)
    again = np.zeros((100, 130, 3), np.uint8)
    for path in (tmp_path / "tiles").glob("*.png"):
        top, left = (int(part[1:]) for part in path.stem.split("_")[-2:])
        tile = load(path)
        assert tile.shape == (64, 64, 3)
        again[top : top + 64, left : left + 64] = tile
    np.testing.assert_array_equal(again, scene(0, 100, 130))


# split


def test_a_split_depends_on_contents_and_keeps_likenesses_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"{number:02}" for number in range(30)]
    pictures = [
        np.kron(rng.integers(0, 256, (8, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8)) for _ in names
    ]
    for name, picture in zip(names, pictures, strict=True):
        save(tmp_path / "data" / f"{name}.png", picture)
        save(tmp_path / "renamed" / f"{99 - int(name)}.png", picture)
    for number in range(4):  # nearly the same as one another
        save(
            tmp_path / "data" / f"like-{number}.png",
            np.clip(pictures[0].astype(int) + number, 0, 255).astype(np.uint8),
        )
    result = run("split", tmp_path / "data", "-o", tmp_path / "out", "--val", 0.2, "--test", 0.2, "--json")
    details = json.loads(result.stdout)
    assert sum(details["splits"].values()) == 34
    assert details["splits"]["val"] == details["splits"]["test"] == 7
    of = {path.stem: path.parent.name for path in (tmp_path / "out").rglob("*.png")}
    assert len({of["00"], *(of[f"like-{number}"] for number in range(4))}) == 1

    for folder in ("data", "renamed"):
        source = tmp_path / folder
        for path in source.glob("like-*"):
            path.unlink()
        run("split", source, "-o", tmp_path / f"{folder}-split")
    first, second = (
        {(path.parent.name, path.read_bytes()) for path in (tmp_path / f"{folder}-split").rglob("*.png")}
        for folder in ("data", "renamed")
    )
    assert first == second


def test_the_two_files_of_a_pair_stay_together(tmp_path: Path) -> None:
    for side in "AB":
        for number in range(10):
            save(tmp_path / "data" / side / f"{number}.png", scene(number + (100 if side == "B" else 0)))
    run("split", tmp_path / "data", "-o", tmp_path / "out", "--near", -1)
    for split in ("train", "val", "test"):
        a, b = ({path.name for path in (tmp_path / "out" / split / side).iterdir()} for side in "AB")
        assert a == b
        assert a
    (tmp_path / "data" / "A" / "3.png").unlink()
    with pytest.raises(DataError, match="no partner"):
        run("split", tmp_path / "data", "-o", tmp_path / "again")


def test_fractions_must_leave_something(tmp_path: Path) -> None:
    source = photos(tmp_path / "photos", 2)
    with pytest.raises(OptionError, match="together more than 0 and less than 1"):
        run("split", source, "-o", tmp_path / "out", "--val", 0.6, "--test", 0.5)


def test_two_files_of_one_name_are_no_pair_and_none_is_left_out_unnoticed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for side in "AB":
        photos(data / side, 4)
    save(data / "A" / "2.jpg", scene(9))
    with pytest.raises(DataError, match=r"2\.jpg and .*2\.png have one name and would be one pair"):
        run("split", data, "-o", tmp_path / "out")
    run("split", data, "-o", tmp_path / "out", "--unpaired", "--val", 0.5)
    assert len(list((tmp_path / "out").rglob("*.*g"))) == 9
    (error,) = check_data(data).errors
    assert error.kind == "same_name"
    assert check_data(data, kind="unpaired").counts == {"train": 9}


def test_the_first_row_of_a_table_is_a_heading_only_where_it_names_no_file(tmp_path: Path) -> None:
    a, b = photos(tmp_path / "a", 2), photos(tmp_path / "b", 2)
    table = tmp_path / "pairs.csv"
    table.write_text("photo,map\n0.png,1.png\n")
    assert (
        json.loads(run("pairs", a, b, "-o", tmp_path / "out", "--table", table, "--json").stdout)["pairs"]
        == 1
    )
    table.write_text("0.png,O.png\n1.png,1.png\n")
    with pytest.raises(DataError, match=r"line 1 of .* names .*O\.png, which is not there"):
        run("pairs", a, b, "-o", tmp_path / "out", "--table", table)


# more than 8 bits


def test_a_file_of_two_sides_keeps_all_bits_of_both(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    scan = random.integers(0, 4096, (40, 48, 1), np.uint16)  # of 12 bits, in 16
    label = random.integers(0, 256, (40, 48, 3), np.uint8)
    save(tmp_path / "scan" / "1.png", scan)
    save(tmp_path / "label" / "1.png", label)
    run("pairs", tmp_path / "label", tmp_path / "scan", "-o", tmp_path / "out")
    pair = read_image(tmp_path / "out" / "train" / "1.png").pixels
    np.testing.assert_array_equal(pair[:, :48], label * np.uint16(257))
    np.testing.assert_array_equal(pair[:, 48:], np.repeat(scan, 3, axis=2))
    run("gray", tmp_path / "scan", "-o", tmp_path / "gray")
    gray = read_image(tmp_path / "gray" / "train" / "1.png").pixels
    assert np.abs(gray[:, :48].astype(int) - scan).max() <= 1
    for command in (("edges",), ("segment", "-k", 2)):
        run(*command, tmp_path / "scan", "-o", tmp_path / command[0])
        made = read_image(tmp_path / command[0] / "train" / "1.png").pixels
        np.testing.assert_array_equal(made[:, 48:], np.repeat(scan, 3, axis=2))
    run("pairs", tmp_path / "label", tmp_path / "scan", "-o", tmp_path / "jpg", "--format", "jpg")
    assert read_image(tmp_path / "jpg" / "train" / "1.jpg").pixels.dtype == np.uint8


# frames


def film(path: Path) -> Path:
    """Twelve frames, the later six at half the rate."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=30, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number, np.uint8), format="rgb24")
            frame.pts = number if number < 6 else 2 * number - 6
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_frames_by_number_and_by_time(tmp_path: Path) -> None:
    video = film(tmp_path / "film.mp4")
    run("frames", video, "-o", tmp_path / "all")
    made = sorted((tmp_path / "all").rglob("*.png"))
    assert len(made) == 12
    levels = [int(load(path).mean()) for path in made]
    np.testing.assert_allclose(levels, [20 * number for number in range(12)], atol=4)
    run("frames", video, "-o", tmp_path / "third", "--every", 3)
    assert len(list((tmp_path / "third").rglob("*.png"))) == 4
    run("frames", video, "-o", tmp_path / "slow", "--fps", 10)  # 18 ticks of a 30th
    assert len(list((tmp_path / "slow").rglob("*.png"))) == 6
    with pytest.raises(OptionError, match="pass one of them"):
        run("frames", video, "-o", tmp_path / "x", "--every", 2, "--fps", 3)


def test_frames_that_other_options_chose_do_not_stay_among_the_new_ones(tmp_path: Path) -> None:
    video, out = film(tmp_path / "film.mp4"), tmp_path / "out"
    run("frames", video, "-o", out)
    first = contents(out)
    assert json.loads(run("frames", video, "-o", out, "--json").stdout)["written"] == []
    refused = run("frames", video, "-o", out, "--every", 3)
    assert refused.exit_code == 1
    assert "was made of it with other options" in refused.stderr
    assert contents(out) == first
    assert run("frames", video, "-o", out, "--every", 3, "--force").exit_code == 0
    assert len(contents(out)) == 4
    again = json.loads(run("frames", video, "-o", out, "--every", 3, "--json").stdout)
    assert (len(again["written"]), len(again["skipped"])) == (0, 4)


def test_hostile_videos_are_named(tmp_path: Path, data_dir: Path) -> None:
    hostile = sorted(path for path in (data_dir / "hostile_videos").iterdir() if path.suffix == ".mp4")
    result = run("frames", *hostile, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "Traceback" not in result.output


# labels


@pytest.mark.parametrize("table", sorted(TABLES))
def test_labels_become_colours_and_come_back(table: str, tmp_path: Path) -> None:
    known = TABLES[table]
    first = {
        color: number for number, color in reversed(list(zip(known.ids, known.palette.colors, strict=True)))
    }
    ids = np.resize(np.array(sorted(first.values()), np.uint8), (32, 40, 1))
    save(tmp_path / "ids" / "1.png", ids)
    run("labels", tmp_path / "ids", "-o", tmp_path / "colors", "--palette", table)
    assert Palette.load(tmp_path / "colors" / "palette.json") == known.palette
    run(
        "labels",
        tmp_path / "colors" / "1.png",
        "-o",
        tmp_path / "back",
        "--palette",
        table,
        "--to",
        "ids",
        "--exact",
    )
    np.testing.assert_array_equal(load(tmp_path / "back" / "1.png"), ids)


def test_a_number_or_colour_that_is_no_class_is_said(tmp_path: Path) -> None:
    save(tmp_path / "ids" / "1.png", np.full((8, 8, 1), 200, np.uint8))
    result = run("labels", tmp_path / "ids", "-o", tmp_path / "out", "--palette", "camvid")
    assert result.exit_code == 1
    assert "number 200 is no class" in result.stderr
    with pytest.raises(DataError, match="nonsense"):
        run("labels", tmp_path / "ids", "-o", tmp_path / "out", "--palette", "nonsense")


# check


def kinds(data: Path, **options: Any) -> list[str]:
    return [finding.kind for finding in check_data(data, **options).findings]


def aligned(folder: Path, shift: int = 0, only: int | None = None) -> Path:
    rng = np.random.default_rng(1)
    for number in range(8):
        cells = rng.integers(0, 2, (9, 12)) * 160 + 40
        drawing = np.kron(cells, np.ones((16, 16), int))[:, :, None].repeat(3, 2)
        offset = shift if only in (None, number) else 0
        photo = np.roll(drawing, offset, axis=1) + rng.integers(-20, 20, drawing.shape)
        save(folder / "train" / "A" / f"{number}.png", drawing.astype(np.uint8))
        save(folder / "train" / "B" / f"{number}.png", np.clip(photo, 0, 255).astype(np.uint8))
    return folder


def test_a_good_dataset_raises_no_alarm(tmp_path: Path) -> None:
    assert kinds(aligned(tmp_path / "data")) == []


def test_real_facades_raise_no_alarm(tmp_path: Path, data_dir: Path) -> None:
    # Their windows repeat, so that edges fit nearly as well at several places.
    for number in (1, 10, 46, 165, 203, 257, 300, 316):
        shutil.copy(data_dir / "facades" / "train" / f"{number}.jpg", tmp_path)
    report = check_data(tmp_path)
    assert report.findings == []
    assert report.kind == "pairs"


def test_each_planted_fault_is_found(tmp_path: Path) -> None:
    data = aligned(tmp_path / "data")
    b = data / "train" / "B"
    (b / "0.png").write_bytes((b / "0.png").read_bytes()[:99])
    (b / "1.png").unlink()
    save(b / "2.png", load(b / "2.png")[:100])
    for side in "AB":
        (data / "train" / side / "copy.png").write_bytes((data / "train" / side / "4.png").read_bytes())
    assert {"unreadable", "no_partner", "pair_sizes", "duplicate"} <= set(kinds(data))
    result = run("check", data, "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 1
    assert "errors" in result.stdout.splitlines()[-1]
    assert min(load(tmp_path / "sheet.png").shape[:2]) > 100


def test_shifted_pairs_are_told_with_their_shift(tmp_path: Path) -> None:
    (finding,) = check_data(aligned(tmp_path / "all", shift=10)).findings
    assert finding.kind == "shifted"
    assert "pixels to the right of A throughout" in finding.text
    (finding,) = check_data(aligned(tmp_path / "one", shift=12, only=3)).findings
    assert (finding.kind, finding.files[0].name) == ("misaligned", "3.png")
    said = int(finding.text.split(" pixels")[0].split()[-1])
    assert abs(said - 12) <= 2


def test_an_image_in_two_splits_is_an_error_and_a_rare_class_a_warning(tmp_path: Path) -> None:
    for split in ("train", "val"):
        save(tmp_path / "data" / split / "1.png", scene(1, 96, 96))
    report = check_data(tmp_path / "data", kind="single")
    assert [finding.kind for finding in report.errors] == ["duplicate"]
    drawing = np.zeros((128, 128, 3), np.uint8)
    drawing[:2, :2] = 255
    drawing[64:] = (0, 0, 255)
    save(tmp_path / "labels" / "1.png", drawing)
    palette = Palette(("a", "b", "c"), ((0, 0, 0), (0, 0, 255), (255, 255, 255)))
    (tmp_path / "labels" / "palette.json").write_text(palette.to_json())
    report = check_data(tmp_path / "labels", kind="single")
    assert [finding.kind for finding in report.findings] == ["rare_class"]
    assert "'c'" in report.findings[0].text
    assert run("check", tmp_path / "labels", "--kind", "single").exit_code == 0
    assert run("check", tmp_path / "labels", "--kind", "single", "--strict").exit_code == 1


def test_class_numbers_in_gray_are_a_warning(tmp_path: Path) -> None:
    for side, classes in (("A", 19), ("B", 256)):
        (tmp_path / "train" / side).mkdir(parents=True)
        for seed in range(4):
            levels = np.random.default_rng(seed).integers(0, classes, (4, 4))
            pixels = np.kron(levels, np.ones((16, 16))).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "train" / side / f"{seed}.png")
    texts = [finding.text for finding in check_data(tmp_path).findings if finding.kind == "meaning"]
    assert len(texts) == 1
    assert "class numbers (0 to" in texts[0]
    assert "prepare labels" in texts[0]
