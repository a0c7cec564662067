"""Random changes of training images: the same geometry for both of a pair, colours, any kind of image; and folds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from translatekit.augmentation import Augment, Fold
from translatekit.datasets import make_dataset
from translatekit.datasets.transforms import Geometry, draw_geometry, item_rng
from translatekit.errors import DataError
from translatekit.image_spec import RGB, levels_spec
from translatekit.interfaces import DataOptions
from translatekit.options import convert

SIDE = 32
OPTIONS = DataOptions(load_size=40, crop_size=SIDE)
ALL = Augment.parse("rotate=20,scale=0.8..1.25,elastic=0.05")


def smooth(seed: int, size: int = 40) -> np.ndarray:
    """A smooth picture, so that interpolation loses little."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 255, (5, 5, 3), dtype=np.uint8))
    return np.asarray(small.resize((size, size), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pairs of a picture and its negative."""
    root = tmp_path_factory.mktemp("augmented")
    (root / "train").mkdir()
    for index in range(10):
        picture = smooth(index)
        Image.fromarray(np.concatenate([picture, 255 - picture], 1)).save(root / "train" / f"{index}.png")
    return root


@pytest.mark.parametrize(
    ("text", "again"),
    [
        (
            "rotate=15, scale=0.9..1.1,color=0.2,elastic=0.03",
            "rotate=15,scale=0.9..1.1,elastic=0.03,color=0.2",
        ),
        ("color_A=0.3,color_B=0", "color_A=0.3,color_B=0"),
        ("rotate=0", "rotate=0"),
        ("rotate=12.345678,scale=0.912345..10", "rotate=12.345678,scale=0.912345..10"),
        ("color=0.00005", "color=0.00005"),
    ],
)
def test_its_text_is_read_and_written(text: str, again: str) -> None:
    augment = Augment.parse(text)
    assert str(augment) == again
    assert Augment.parse(str(augment)) == augment
    assert convert(text, Augment | None, "it") == augment


@pytest.mark.parametrize(
    "text", ["", "rotate", "turn=3", "rotate=181", "scale=2", "scale=2..1", "color=nan", "rotate=1,rotate=2"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as rotate=15"):
        Augment.parse(text)


def test_both_of_a_pair_are_moved_alike_and_otherwise_in_each_epoch(pairs: Path) -> None:
    data = make_dataset("aligned", pairs, replace(OPTIONS, augment=ALL))
    plain = make_dataset("aligned", pairs, OPTIONS)
    seen = []
    for epoch in (0, 1, 0):
        data.set_epoch(epoch)
        plain.set_epoch(epoch)
        item = data[3]
        assert (item["input"] + item["target"]).abs().max() < 0.02, "one is still the negative of the other"
        assert not torch.equal(item["input"], plain[3]["input"])
        seen.append(item["input"])
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1])


def test_other_splits_are_left_alone(pairs: Path) -> None:
    options = replace(OPTIONS, split="val", fold=Fold(1, 2))
    one, other = (make_dataset("aligned", pairs, replace(options, augment=a)) for a in (None, ALL))
    assert torch.equal(one[0]["input"], other[0]["input"])


@pytest.mark.parametrize(
    ("text", "changed"),
    [("color=0.5", {"input", "target"}), ("color_B=0.5", {"target"}), ("color=0.5,color_B=0", {"input"})],
)
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_colours_change_on_the_sides_that_are_named(
    pairs: Path, text: str, changed: set[str], direction: Any
) -> None:
    options = replace(OPTIONS, direction=direction)
    plain = make_dataset("aligned", pairs, options)[0]
    item = make_dataset("aligned", pairs, replace(options, augment=Augment.parse(text)))[0]
    if direction == "BtoA":
        changed = {{"input": "target", "target": "input"}[name] for name in changed}
    assert {name for name in ("input", "target") if not torch.equal(item[name], plain[name])} == changed
    assert max(item[name].abs().max() for name in ("input", "target")) <= 1


def test_colours_of_both_sides_change_alike(pairs: Path) -> None:
    item = make_dataset("single", pairs, replace(OPTIONS, augment=Augment.parse("color=0.5")))[0]
    assert torch.equal(item["input"], item["target"])


def test_a_quarter_turn_is_exact() -> None:
    pixels = smooth(0, SIDE)
    own = np.arange(SIDE) - (SIDE - 1) / 2
    x, y = np.meshgrid(own, own)
    turned = Geometry(0, 0, SIDE, False, moved=np.stack([-y - x, x - y]).astype(np.float32))
    assert np.array_equal(turned(pixels), np.rot90(pixels))


@pytest.mark.parametrize(
    ("dtype", "channels"), [(np.uint8, 1), (np.uint8, 4), (np.uint16, 1), (np.float32, 7), (bool, 1)]
)
def test_any_dtype_and_number_of_channels(dtype: Any, channels: int) -> None:
    top = {np.uint16: 60_000, np.float32: 3000.0}.get(dtype, 255)
    pixels = (np.random.default_rng(0).random((40, 40, channels)) * top).astype(dtype)
    geometry = draw_geometry(item_rng(0, 0, 0), replace(OPTIONS, augment=ALL), (40, 40))
    moved = geometry(pixels)
    assert moved.shape == (SIDE, SIDE, channels)
    assert moved.dtype == dtype
    assert pixels.min() <= moved.min() <= moved.max() <= pixels.max()


def test_label_maps_keep_their_numbers_and_fit_the_image(tmp_path: Path) -> None:
    for side in "AB":
        (tmp_path / "train" / side).mkdir(parents=True)
    numbers = np.zeros((40, 40), np.uint8)
    numbers[10:25, 5:30] = 200
    Image.fromarray(numbers).save(tmp_path / "train" / "A" / "0.png")
    Image.fromarray(np.repeat(numbers[:, :, None], 3, 2)).save(tmp_path / "train" / "B" / "0.png")
    augment = Augment.parse("rotate=20,scale=0.8..1.25,elastic=0.05,color=0.5")
    data = make_dataset("aligned", tmp_path, replace(OPTIONS, augment=augment, labels="A=0/200"))
    item = data[0]
    assert set(item["input"].unique().tolist()) == {0.0, 1.0}, "one-hot, whatever the changes"
    inside = item["target"][0] > item["target"][0].mean()
    assert (inside == (item["input"][1] > 0)).float().mean() > 0.97


def test_values_in_a_unit_stay_in_their_range() -> None:
    spec = levels_spec(1, "float32").with_range(-1024, 3071, unit="HU")
    geometry = Geometry(0, 0, SIDE, False, colors=np.array([1.0, 1.0, -1.0]))
    values = np.linspace(-1024, 3071, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE, 1)
    changed = geometry.recolored(values, spec, 0.5)
    assert changed.dtype == np.float32
    assert changed.min() == -1024
    assert -1024 < changed.mean() < values.mean()
    assert geometry.recolored(values, RGB, 0.0) is values


def test_each_channel_is_recoloured_in_the_range_of_its_own() -> None:
    spec = levels_spec(2, "float32").with_range((0, 0), (1, 4000))
    both = np.broadcast_to(np.linspace(0, 1, SIDE, dtype=np.float32)[None, :, None], (SIDE, SIDE, 2))
    geometry = Geometry(0, 0, SIDE, False, colors=np.array([-1.0, 0.0, 0.5]))
    changed = geometry.recolored(both * np.float32([1, 4000]), spec, 0.2) / np.float32([1, 4000])
    np.testing.assert_allclose(changed[:, :, 0], changed[:, :, 1], atol=1e-6)
    np.testing.assert_allclose(changed, 0.5 + (both - 0.5) * 0.8 + 0.05, atol=1e-6)


# --- folds ------------------------------------------------------------------------------------------------------


def names(data: Any) -> set[str]:
    return {data[index]["name"] for index in range(len(data))}


def test_each_image_is_held_out_by_one_fold_and_trained_on_by_the_others(pairs: Path) -> None:
    held = []
    for number in (1, 2, 3):
        options = replace(OPTIONS, fold=Fold(number, 3))
        trained = names(make_dataset("aligned", pairs, options))
        held.append(names(make_dataset("aligned", pairs, replace(options, split="val"))))
        assert not trained & held[-1]
        assert len(trained | held[-1]) == 10
    assert sorted(map(len, held)) == [3, 3, 4]
    assert set().union(*held) == {str(index) for index in range(10)}


def test_both_sets_of_unpaired_images_have_folds(tmp_path: Path) -> None:
    for side in "AB":
        (tmp_path / f"train{side}").mkdir()
        for index in range(6):
            Image.fromarray(smooth(index)).save(tmp_path / f"train{side}" / f"{side}{index}.png")
    options = replace(OPTIONS, split="val", fold=Fold(2, 3))
    held = make_dataset("unaligned", tmp_path, options)
    trained = make_dataset("unaligned", tmp_path, replace(options, split="train"))
    assert (len(held), len(trained)) == (2, 4)
    for key in ("name_A", "name_B"):
        assert not {held[i][key] for i in range(2)} & {trained[i][key] for i in range(4)}


def test_more_folds_than_images_are_refused(pairs: Path) -> None:
    with pytest.raises(DataError, match="10 images cannot be split into 11 folds"):
        make_dataset("aligned", pairs, replace(OPTIONS, fold=Fold(1, 11)))


@pytest.mark.parametrize("text", ["0/5", "6/5", "1/1", "2", "1/2/3", "-1/3"])
def test_folds_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match="such as 2/5"):
        Fold.parse(text)
