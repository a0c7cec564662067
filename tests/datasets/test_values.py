"""Images of any number of channels, whose numbers are levels or values in a unit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from translatekit.datasets import make_dataset
from translatekit.datasets.ranges import decide_bounds, parse_ranges, ranges_text
from translatekit.errors import DataError, OptionError
from translatekit.image_spec import ImageSpec, levels_spec
from translatekit.images import Image
from translatekit.images import write_volume as write_folder
from translatekit.images.codec import ValueCodec
from translatekit.interfaces import DataOptions, Dataset

SIDE = 16
RNG = np.random.default_rng(0)


def write(folder: Path, *images: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        contiguous = {"planarconfig": "contig"} if image.ndim == 3 and image.shape[2] > 1 else {}
        kind = "rgb" if image.ndim == 3 and image.shape[2] == 3 else "minisblack"
        tifffile.imwrite(folder / f"{index}.tif", image.squeeze(), photometric=kind, **contiguous)


def scans(low: int = -1000, high: int = 2000, count: int = 3, channels: int = 1) -> list[np.ndarray]:
    return [RNG.integers(low, high, (SIDE, SIDE, channels)).astype(np.int16) for _ in range(count)]


def make(root: Path, name: str = "aligned", own: dict[str, Any] | None = None, **options: Any) -> Dataset:
    given = {"load_size": None, "crop_size": SIDE, "flip": False, **options}
    return make_dataset(name, root, DataOptions(**given), own)


def test_values_reach_the_network_by_their_range(tmp_path: Path) -> None:
    a, b = scans(), scans()
    write(tmp_path / "train" / "A", *a)
    write(tmp_path / "train" / "B", *b)
    dataset = make(tmp_path, range="-1024..3071", unit="HU")
    assert str(dataset.specs["input"]) == "1 channel (gray) of int16, -1024 to 3071 HU"
    for key, images in (("input", a), ("target", b)):
        expected = (images[1].transpose(2, 0, 1) + 1024.0) / 4095 * 2 - 1
        assert torch.allclose(dataset[1][key], torch.from_numpy(expected).float(), atol=1e-6)


def test_each_side_has_its_own_range_whatever_the_direction(tmp_path: Path) -> None:
    write(tmp_path / "train" / "A", *scans(0, 100))
    write(tmp_path / "train" / "B", *scans(0, 1000))
    forth = make(tmp_path, range="A=0..99,B=0..999")
    back = make(tmp_path, range="A=0..99,B=0..999", direction="BtoA")
    assert forth.specs["input"].span == back.specs["target"].span == (0, 99)
    assert forth.specs["target"].span == back.specs["input"].span == (0, 999)


@pytest.mark.parametrize("name", ["unaligned", "single", "labelled"])
def test_every_dataset_of_files_takes_a_range(tmp_path: Path, name: str) -> None:
    for folder in {
        "unaligned": ["trainA", "trainB"],
        "single": ["train"],
        "labelled": ["train/x", "train/y"],
    }[name]:
        write(tmp_path / folder, *scans())
    dataset = make(tmp_path, name, range="-1000..2000")
    assert {spec.span for spec in dataset.specs.values()} == {(-1000, 2000)}
    images = [value for value in dataset[0].values() if isinstance(value, torch.Tensor)]
    assert all(image.shape == (1, SIDE, SIDE) and image.abs().max() <= 1 for image in images)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_what_a_side_is_follows_from_its_half_of_pairs_side_by_side(tmp_path: Path, direction: str) -> None:
    a, b = scans(0, 3), scans(100, 1000)
    a[0][0, :3], b[0][0, :2] = [[0], [1], [2]], [[100], [999]]
    write(tmp_path / "train", *(np.concatenate(pair, axis=1) for pair in zip(a, b, strict=True)))

    def sides(**options: Any) -> dict[str, ImageSpec]:
        dataset = make(tmp_path, own={"layout": "side_by_side"}, direction=direction, **options)
        found = (dataset.specs["input"], dataset.specs["target"])
        return dict(zip("AB" if direction == "AtoB" else "BA", found, strict=True))

    found = sides(range="data")
    assert (found["A"].span, found["B"].span) == ((0, 2), (100, 999))
    assert sides(labels="A=data", range="B=data")["A"].ids == (0, 1, 2)


def test_values_beyond_the_range_are_drawn_to_it_and_those_within_are_not_touched(tmp_path: Path) -> None:
    write(tmp_path / "train", np.linspace(-5, 5, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE))
    image = make(tmp_path, "single", range="-1..1")[0]["input"]
    assert image.min() == -1
    assert image.max() == 1
    assert (image.abs() < 1).float().mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("channels", [2, 4, 5, 13])
def test_files_keep_their_channels(tmp_path: Path, channels: int) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    pixels = RNG.integers(0, 65536, (SIDE, SIDE, channels)).astype(np.uint16)
    tifffile.imwrite(folder / "a.tif", pixels, photometric="minisblack", planarconfig="contig")
    dataset = make(tmp_path, "single")
    assert dataset.specs["input"].network_channels == channels
    expected = torch.from_numpy(pixels.transpose(2, 0, 1) / 65535.0 * 2 - 1).float()
    assert torch.allclose(dataset[0]["input"], expected, atol=1e-6)


def test_a_file_of_other_channels_is_named_before_training(tmp_path: Path) -> None:
    write(tmp_path / "train", *scans(0, 100, 2, 5), *scans(0, 100, 1, 3))
    with pytest.raises(DataError, match=r"2\.tif holds RGB|2\.tif holds 3 channels"):
        make(tmp_path, "single", range="0..100")


def test_resizing_invents_no_values(tmp_path: Path) -> None:
    write(tmp_path / "train", np.where(RNG.random((SIDE, SIDE)) < 0.5, -800, 900).astype(np.int16))
    image = make(tmp_path, "single", range="-1024..1024", load_size=20, crop_size=20)[0]["input"] * 1024
    assert image.min() >= -800.001
    assert image.max() <= 900.001


def test_values_in_a_unit_are_never_taken_for_gray_levels(tmp_path: Path) -> None:
    write(tmp_path / "train", np.full((SIDE, SIDE), -40.0, np.float32))
    with pytest.raises(DataError, match="pass --range"):
        make(tmp_path, "single")[0]


def test_ranges_of_the_data_are_found_once(tmp_path: Path) -> None:
    write(tmp_path / "train", *scans(-1000, 2000, 4))
    write(tmp_path / "val", *scans(-10, 10, 1))
    data = make(tmp_path, "single", range="data")
    low, high = data.specs["input"].span
    assert -1000 <= low < -990
    assert 1990 < high < 2000
    assert make(tmp_path, "single", split="val", range="data", specs=data.specs).specs == data.specs
    narrow = make(tmp_path, "single", range="10%..90%").specs["input"].span
    assert narrow[0] == pytest.approx(-700, abs=60)
    assert narrow[1] == pytest.approx(1700, abs=60)


@pytest.mark.parametrize(
    "text",
    [
        "-1024..3071",
        "A=0..1,B=-5..5.5",
        "0..4000/10..5000",
        "120.3±45.7",
        "-1000+-1e-3",
        "1e5±3/-2.5±1e6",
    ],
)
def test_ranges_survive_text(text: str) -> None:
    rules = parse_ranges(text)
    specs = {
        side or "B": levels_spec(len(rule.bounds)).with_range(*zip(*rule.bounds, strict=True), clip=rule.clip)
        for side, rule in rules.items()
    }
    assert list(parse_ranges(ranges_text(specs)).values()) == list(rules.values())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "A=",
        "A=0..1,A=0..2",
        "99%..1%",
        "0%..200%",
        "x..y",
        "3..1",
        "1,2",
        "5±0",
        "±3",
        "x±1",
        "mean±xstd",
        "mean±0std",
    ],
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"--range"):
        parse_ranges(text)


@pytest.mark.parametrize("rule", ["mean±std", "mean+-std", "zscore"])
def test_standardized_values_have_a_mean_of_0_and_a_deviation_of_1(tmp_path: Path, rule: str) -> None:
    scans_of_both = [RNG.normal(200, 30, (SIDE, SIDE)), RNG.normal(-100, 5, (SIDE, SIDE))]
    write(tmp_path / "train", *(scan.astype(np.float32) for scan in scans_of_both))
    data = make(tmp_path, "single", range=rule)
    images = torch.stack([data[index]["input"] for index in range(2)])
    assert images.mean().item() == pytest.approx(0, abs=1e-4)
    assert images.std(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert images.max() > 1.05  # nothing is cut off
    spec = data.specs["input"]
    again = make(tmp_path, "single", range=ranges_text({"": spec})[1:]).specs["input"]
    assert again == spec
    back = ValueCodec(spec).decode(images, images, torch.float32)
    torch.testing.assert_close(
        back[..., 0].double(), torch.from_numpy(np.stack(scans_of_both)), atol=1e-3, rtol=1e-5
    )


def test_channels_are_standardized_by_themselves_without_missing_values(tmp_path: Path) -> None:
    bands = np.stack([RNG.normal(10, 2, (SIDE, SIDE)), RNG.normal(-7, 50, (SIDE, SIDE))], axis=2)
    missing = bands.copy()
    missing[: SIDE // 2] = np.nan
    write(tmp_path / "train", bands.astype(np.float32), missing.astype(np.float32))
    spec = make(tmp_path, "single", range="mean±4std").specs["input"]
    both = np.concatenate([bands.reshape(-1, 2), missing[SIDE // 2 :].reshape(-1, 2)])
    np.testing.assert_allclose(spec.low, both.mean(0) - 4 * both.std(0), rtol=1e-5)
    np.testing.assert_allclose(spec.high, both.mean(0) + 4 * both.std(0), rtol=1e-5)


def test_targets_that_a_network_cannot_reach_are_remarked(tmp_path: Path) -> None:
    values = RNG.normal(0, 1, (SIDE, SIDE)).astype(np.float32)
    write(tmp_path / "A" / "train", values)
    write(tmp_path / "B" / "train", values)
    narrow = make(tmp_path, "aligned", range="mean±std")
    assert any("of the target's values lie outside" in remark for remark in narrow.remarks)
    assert not make(tmp_path, "aligned", range="A=mean±std,B=mean±5std").remarks
    with pytest.raises(DataError, match="no standard deviation"):
        decide_bounds(parse_ranges("zscore")[""], [0], lambda _: np.ones((4, 4, 1)), "they")


def test_images_of_one_value_have_no_range() -> None:
    with pytest.raises(DataError, match="no range"):
        decide_bounds(parse_ranges("data")[""], [0], lambda _: np.ones((4, 4, 1)), "they")


CITY = [
    {"id": 7, "name": "road", "color": [128, 64, 128]},
    {"id": 11, "name": "house", "color": [70, 70, 70]},
]


def maps(*numbers: int) -> np.ndarray:
    return RNG.choice(numbers, (SIDE, SIDE)).astype(np.uint8)


def test_maps_of_classes_become_a_channel_a_class(tmp_path: Path) -> None:
    labels = maps(7, 11)
    write(tmp_path / "train" / "A", labels)
    write(tmp_path / "train" / "B", RNG.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8))
    (tmp_path / "classes.json").write_text(json.dumps({"classes": CITY}))
    dataset = make(tmp_path, labels=f"A={tmp_path}/classes.json")
    spec = dataset.specs["input"]
    assert (spec.ids, spec.classes, spec.palette) == (
        (7, 11),
        ("road", "house"),
        ((128, 64, 128), (70, 70, 70)),
    )
    assert torch.equal(dataset[0]["input"], torch.from_numpy(np.stack([labels == 7, labels == 11])).float())
    assert dataset[0]["target"].shape == (3, SIDE, SIDE)
    assert make(tmp_path, labels="A=data").specs["input"].ids == (7, 11)
    assert make(tmp_path, labels="A=12").specs["input"].network_channels == 12
    assert set(make(tmp_path, labels="A=7/11", load_size=21, crop_size=21)[0]["input"].unique().tolist()) == {
        0,
        1,
    }


def test_a_class_that_is_not_named_is_refused_with_its_file(tmp_path: Path) -> None:
    write(tmp_path / "train", maps(3), maps(4))
    with pytest.raises(DataError, match=r"0\.tif has the class number 3 .* none of 0, 1"):
        make(tmp_path, "single", labels="2")[0]


@pytest.mark.parametrize("text", ["A=1,A=2", "A=", "0", "257", "0/0", "0/300", "nowhere.json"])
def test_what_are_no_classes_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path / "train" / "A", maps(0, 1))
    write(tmp_path / "train" / "B", maps(0, 1))
    with pytest.raises(OptionError, match="--labels"):
        make(tmp_path, labels=text)


def test_two_folders_of_any_name(tmp_path: Path) -> None:
    write(tmp_path / "mr", *scans(0, 100))
    write(tmp_path / "ct", *scans(-1000, 2000))
    for name in ("aligned", "unaligned"):
        dataset = make(tmp_path / "mr", name, {"b": str(tmp_path / "ct")}, range="data")
        first, second = dataset.specs.values()
        assert first.span[0] >= 0
        assert second.span[0] < -900
    with pytest.raises(DataError, match="has no val or test images"):
        make(tmp_path / "mr", own={"b": str(tmp_path / "ct")}, range="data", split="val")


def volume(low: int, high: int, pages: int = 4) -> np.ndarray:
    return RNG.integers(low, high, (pages, SIDE, SIDE)).astype(np.int16)


def write_volume(folder: Path, pixels: np.ndarray) -> None:
    folder.mkdir(parents=True)
    tifffile.imwrite(folder / "patient.tif", pixels, photometric="minisblack")


def test_volumes_are_trained_on_slice_by_slice_with_their_neighbours(tmp_path: Path) -> None:
    mr, ct = volume(0, 500), volume(-1000, 2000)
    write_volume(tmp_path / "mr", mr)
    write_volume(tmp_path / "ct", ct)
    own = {"b": str(tmp_path / "ct")}
    dataset = make(tmp_path / "mr", own=own, range="A=0..500,B=-1024..3071", slices=3)
    assert len(dataset) == 4
    spec = dataset.specs["input"]
    assert (spec.slices, spec.count, spec.span) == (3, 3, (0, 500))
    assert dataset.specs["target"].count == 1
    for page, around in enumerate(([0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3])):
        item = dataset[page]
        assert item["name"] == f"patient-{page:04}"
        assert torch.allclose(item["input"], torch.from_numpy(mr[around] / 250.0 - 1).float(), atol=1e-6)
        expected = torch.from_numpy((ct[[page]] + 1024.0) / 4095 * 2 - 1).float()
        assert torch.allclose(item["target"], expected, atol=1e-6)


def test_volumes_of_different_lengths_do_not_belong_together(tmp_path: Path) -> None:
    write_volume(tmp_path / "mr", volume(0, 9, 4))
    write_volume(tmp_path / "ct", volume(0, 9, 5))
    with pytest.raises(DataError, match="4 and 5 slices"):
        make(tmp_path / "mr", own={"b": str(tmp_path / "ct")}, range="data", slices=1)


def test_an_image_has_no_neighbours(tmp_path: Path) -> None:
    write(tmp_path / "mr", *scans(channels=1))
    with pytest.raises(DataError, match=r"leave out --slices|no neighbours"):
        make(tmp_path / "mr", own={"b": str(tmp_path / "mr")}, range="data", slices=3)


def write_series(folder: Path, *values: int) -> None:
    """A DICOM series of slices of one value each."""
    spec = ImageSpec(channels=("MR",), meaning="values", levels=False, dtype="int16")
    folder.parent.mkdir(parents=True, exist_ok=True)
    slices = [Image(pixels=np.full((SIDE, SIDE, 1), value, np.int16), spec=spec) for value in values]
    write_folder(folder, slices, pages=len(slices), suffix=".dcm")


def test_a_slice_of_a_series_that_is_written_anew_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    for side in "AB":
        write_series(tmp_path / "train" / side / "scan", 0, 0)

    def first() -> float:
        return float(make(tmp_path, range="-10..10", slices=1, cache="disk")[0]["input"].max())

    assert first() == 0
    write_series(tmp_path / "other", 5, 5)
    for name in ("0001.dcm", "0002.dcm"):  # in place: the folder stays as old as it was
        path = tmp_path / "train" / "A" / "scan" / name
        path.write_bytes((tmp_path / "other" / name).read_bytes())
    assert first() == 0.5


def test_series_whose_folders_are_called_by_numbers_with_dots_are_pairs(tmp_path: Path) -> None:
    for side in "AB":
        for name in ("1.2.840.1", "1.2.840.2"):
            write_series(tmp_path / "train" / side / name, 0, 1)
    assert len(make(tmp_path, range="0..1", slices=1)) == 4
