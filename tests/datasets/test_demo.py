from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from translatekit.datasets import demo, make_dataset
from translatekit.datasets.demo import PALETTE, Demo, draw_facade, write_demo
from translatekit.errors import DataError, OptionError
from translatekit.images import read_levels
from translatekit.interfaces import DataOptions
from translatekit.types import Cache


def test_label_maps_hold_the_palette_only_and_all_of_it_in_time() -> None:
    colours = {
        colour
        for seed in range(30)
        for colour in map(tuple, draw_facade(seed, 64)[0].reshape(-1, 3).tolist())
    }
    assert colours == set(PALETTE.values())
    assert len(set(PALETTE.values())) == len(PALETTE)


def test_the_wall_window_door_roof_and_sky_are_in_every_facade() -> None:
    for seed in range(20):
        colours = set(map(tuple, draw_facade(seed, 64)[0].reshape(-1, 3).tolist()))
        assert {PALETTE[name] for name in ("window", "door", "sky", "ground", "cornice")} <= colours
        for kinds in (("roof", "slate"), ("brick", "plaster", "render")):
            assert colours & {PALETTE[name] for name in kinds}


def test_a_seed_draws_one_facade_and_another_another() -> None:
    for one, again, other in zip(draw_facade(1, 64), draw_facade(1, 64), draw_facade(2, 64), strict=True):
        assert one.shape == (64, 64, 3)
        assert one.dtype == np.uint8
        np.testing.assert_array_equal(one, again)
        assert not np.array_equal(one, other)


def test_a_facade_is_the_same_at_every_size() -> None:
    small, large = draw_facade(3, 64)[1].astype(float), draw_facade(3, 128)[1].astype(float)
    assert np.abs(large.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3)) - small).mean() < 8
    assert draw_facade(3, 100)[0].shape == (100, 100, 3)


def test_the_label_says_most_about_the_picture() -> None:
    """Painting each class with its mean colour explains most of the variance of pictures not seen before."""

    def table(seeds: range) -> tuple[np.ndarray, np.ndarray]:
        drawn = [draw_facade(seed, 64) for seed in seeds]
        classes = np.array(list(PALETTE.values()))
        labels = np.concatenate([label.reshape(-1, 3) for label, _ in drawn])
        pixels = np.concatenate([picture.reshape(-1, 3) for _, picture in drawn]).astype(float)
        return (labels[:, None] == classes).all(axis=2).argmax(axis=1), pixels

    labels, pixels = table(range(20))
    means = np.stack([pixels[labels == index].mean(axis=0) for index in range(len(PALETTE))])
    labels, pixels = table(range(100, 110))
    assert ((pixels - means[labels]) ** 2).mean() < 0.5 * pixels.var(axis=0).mean()


def test_splits_have_no_facade_in_common() -> None:
    seen = set()
    for split, count in (("train", 30), ("val", 3), ("test", 3)):
        dataset = Demo(None, DataOptions(split=split, load_size=None, crop_size=32), count=30)
        assert len(dataset) == count
        seen |= {dataset[index]["target"].numpy().tobytes() for index in range(count)}
    assert len(seen) == 36


def test_items_are_crops_and_direction_turns_them_round() -> None:
    options = DataOptions(load_size=36, crop_size=32)
    item = Demo(None, options, count=2)[1]
    back = Demo(None, DataOptions(load_size=36, crop_size=32, direction="BtoA", cache="memory"), count=2)[1]
    assert item["input"].shape == item["target"].shape == (3, 32, 32)
    assert torch.equal(item["input"], back["target"])
    assert torch.equal(item["target"], back["input"])
    colours = {
        tuple(c) for c in np.rint((item["input"].numpy() + 1) * 127.5).reshape(3, -1).T.astype(int).tolist()
    }
    assert colours <= set(PALETTE.values())


def test_the_light_never_turns_round() -> None:
    dataset = Demo(None, DataOptions(load_size=32, crop_size=32, flip=True), count=1)
    seen = set()
    for epoch in range(20):
        dataset.set_epoch(epoch)
        seen.add(dataset[0]["target"].numpy().tobytes())
    assert len(seen) == 1


def test_written_files_are_the_splits_facades(tmp_path: Path) -> None:
    inputs, targets = write_demo(tmp_path / "new" / "demo", "val", count=3, size=32)
    names = [path.name for path in sorted(inputs.iterdir())]
    assert names == [path.name for path in sorted(targets.iterdir())]
    assert len(names) == 3
    dataset = Demo(None, DataOptions(split="val", crop_size=32))
    for index, name in enumerate(names):
        item = dataset[index]
        assert item["name"] == Path(name).stem
        for folder, key in ((inputs, "input"), (targets, "target")):
            pixels = read_levels(folder / name).pixels
            np.testing.assert_allclose((item[key].numpy().transpose(1, 2, 0) + 1) * 127.5, pixels, atol=1e-4)


def test_mistakes_are_explained(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"option 'count' must be .* from 1 to 1000000, got 0"):
        make_dataset("demo", None, DataOptions(), {"count": 0})
    with pytest.raises(OptionError, match="no split 'dev'"):
        Demo(None, DataOptions(split="dev"))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="could not be written"):
        write_demo(tmp_path / "file")


@pytest.mark.parametrize(("cache", "drawn"), [("none", 0), ("disk", 0), ("memory", 3)])
def test_facades_are_drawn_from_the_start_on_only_where_that_is_asked_for(
    cache: Cache, drawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = []

    def draw(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        seeds.append(seed)
        return draw_facade(seed, size)

    monkeypatch.setattr(demo, "draw_facade", draw)
    Demo(None, DataOptions(load_size=36, crop_size=32, cache=cache), count=3)
    assert len(seeds) == drawn


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("rule", ["A=data", "A=14", "data"])
def test_its_label_maps_can_be_class_numbers(direction: Any, rule: str) -> None:
    sizes = {"load_size": 36, "crop_size": 32}
    data = make_dataset("demo", None, DataOptions(direction=direction, labels=rule, **sizes), {"count": 2})
    plain = make_dataset("demo", None, DataOptions(direction=direction, **sizes), {"count": 2})
    labels, picture = ("input", "target") if direction == "AtoB" else ("target", "input")
    assert data.specs[labels].classes == tuple(PALETTE)
    planes, colours = data[0][labels], plain[0][labels]
    assert planes.shape == (len(PALETTE), 32, 32)
    assert torch.equal(planes.sum(0), torch.ones(32, 32))
    painted = torch.tensor(list(PALETTE.values()))[planes.argmax(0)].permute(2, 0, 1)
    torch.testing.assert_close(painted / 127.5 - 1, colours)
    assert torch.equal(data[0][picture], plain[0][picture])
    # what a model says of its images is enough to read more of them
    known = DataOptions(direction=direction, split="val", specs=data.specs, crop_size=32)
    assert make_dataset("demo", None, known, {"count": 2})[0][labels].shape == (len(PALETTE), 32, 32)


@pytest.mark.parametrize("rule", ["B=14", "A=3", "A=classes.json"])
def test_classes_that_its_label_maps_have_not_are_refused(rule: str) -> None:
    with pytest.raises(
        OptionError, match="does not fit the demo, whose A has 14 classes: pass --labels A=data"
    ):
        make_dataset("demo", None, DataOptions(labels=rule))
