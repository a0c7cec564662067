"""The colours of label maps: learned from what a training reads, or read from a file."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import translatekit
from translatekit.datasets import make_dataset
from translatekit.datasets.facades import PALETTE, draw_facade
from translatekit.datasets.palette import Palette, learn_palette, palette_of, read_palette
from translatekit.errors import DataError
from translatekit.interfaces import DataOptions
from translatekit.model_file import read_info


def facades(side: int, count: int = 8) -> list[np.ndarray]:
    """Label maps (side 0) or pictures (side 1)."""
    return [draw_facade(seed, 128)[side] for seed in range(count)]


def as_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def test_label_maps_have_exactly_the_colours_they_were_drawn_in() -> None:
    maps = facades(0)
    palette = learn_palette(maps)
    assert palette is not None
    shares = [np.mean([(image == item["color"]).all(2).mean() for image in maps]) for item in palette]
    assert {tuple(item["color"]) for item in palette} <= set(PALETTE.values())
    assert sum(shares) > 0.99
    assert [item["name"] for item in palette[:2]] == ["colour 1", "colour 2"]
    assert shares[0] == max(shares)


@pytest.mark.parametrize("quality", [60, 75, 95])
def test_jpeg_noise_adds_no_colours(quality: int) -> None:
    palette = learn_palette(as_jpeg(image, quality) for image in facades(0))
    assert palette is not None
    known = np.array(list(PALETTE.values()))
    for item in palette:
        assert np.abs(known - item["color"]).max(1).min() <= 10
    assert 8 <= len(palette) <= len(known)


def test_pictures_and_what_is_no_picture_have_no_palette() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    ramp = np.repeat(np.tile(np.arange(256, dtype=np.uint8), (256, 1))[:, :, None], 3, axis=2)
    one = np.full((32, 32, 3), 7, np.uint8)
    for images in (facades(1), [noise], [ramp], [one], [], [np.zeros((1, 1, 3), np.uint8)]):
        assert learn_palette(images) is None


def test_a_dataset_has_the_palette_of_its_input() -> None:
    for direction, has in (("AtoB", True), ("BtoA", False)):
        options = DataOptions(load_size=72, crop_size=64, direction=direction)  # type: ignore[arg-type]
        data = make_dataset("demo", None, options, {"count": 30})
        palette = palette_of(data, "input")
        assert (palette is not None) == has
        assert [item["name"] for item in palette or []] == (list(PALETTE) if has else [])
        data.set_epoch(3)
        assert palette_of(data, "input") == palette


def test_real_facades_have_their_twelve_colours(data_dir: Path) -> None:
    data = make_dataset("aligned", data_dir / "facades", DataOptions(direction="BtoA"))
    palette = palette_of(data, "input")
    assert palette is not None
    assert len(palette) == 12
    assert palette_of(make_dataset("aligned", data_dir / "facades", DataOptions()), "input") is None


def test_paintings_and_photographs_have_none(data_dir: Path) -> None:
    data = make_dataset("unaligned", data_dir / "monet2photo", DataOptions())
    assert palette_of(data, "A") is None
    assert palette_of(data, "B") is None


@pytest.fixture
def tiny() -> dict[str, object]:
    return {
        "load_size": 64,
        "crop_size": 64,
        "generator_options": {"depth": 6, "width": 4},
        "discriminator_options": {"layers": 1, "width": 4},
        "max_steps": 1,
        "accelerator": "cpu",
        "validate_every": 0,
    }


def label_pairs(folder: Path) -> Path:
    (folder / "train").mkdir(parents=True)
    for number, (label, picture) in enumerate(zip(facades(0, 3), facades(1, 3), strict=True)):
        Image.fromarray(np.concatenate([label, picture], axis=1)).save(folder / "train" / f"{number}.png")
    return folder


def test_training_stores_the_palette_with_the_names_of_the_data(
    tmp_path: Path, tiny: dict[str, object]
) -> None:
    data = label_pairs(tmp_path / "data")
    run = translatekit.train("pix2pix", data, output=str(tmp_path / "learned"), **tiny)
    learned = read_info(run / "model.safetensors").data["palette"]
    known = np.array(list(PALETTE.values()))
    assert all(np.abs(known - item["color"]).max(1).min() <= 10 for item in learned)
    classes = [{"name": name, "color": list(color)} for name, color in PALETTE.items()]
    (data / "palette.json").write_text(json.dumps({"format": 1, "classes": classes}))
    run = translatekit.train("pix2pix", data, output=str(tmp_path / "named"), **tiny)
    assert read_info(run / "model.safetensors").data["palette"] == classes
    run = translatekit.train("pix2pix", data, output=str(tmp_path / "photo"), direction="BtoA", **tiny)
    assert read_info(run / "model.safetensors").data["palette"] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "is no palette"),
        ('{"classes": []}', "is no palette"),
        ('{"classes": [{"name": "a", "color": [1, 2]}]}', "is no palette"),
        ('{"classes": [{"name": "a", "color": [1, 2, 300]}]}', "is no palette"),
        ('{"classes": [{"color": [1, 2, 3]}]}', "is no palette"),
    ],
)
def test_what_is_no_palette_is_refused_in_a_sentence(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "palette.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_palette(path)
    assert str(path) in str(caught.value)


# --- as a file and as arrays


TWO = Palette(("wall", "sky"), ((200, 40, 40), (90, 150, 240)))


def test_a_saved_palette_is_read_back_and_is_what_training_reads(tmp_path: Path) -> None:
    path = tmp_path / "palette.json"
    path.write_text(TWO.to_json())
    assert Palette.load(path) == TWO
    assert read_palette(path) == [
        {"name": "wall", "color": [200, 40, 40]},
        {"name": "sky", "color": [90, 150, 240]},
    ]


def test_names_and_colours_may_be_edited(tmp_path: Path) -> None:
    path = tmp_path / "palette.json"
    path.write_text(TWO.to_json())
    path.write_text(path.read_text().replace('"sky"', '"Himmel, blau"').replace("240", "255"))
    assert Palette.load(path) == Palette(("wall", "Himmel, blau"), ((200, 40, 40), (90, 150, 255)))


def test_painted_classes_are_told_from_their_colours_even_when_they_are_off() -> None:
    classes = np.random.default_rng(0).integers(0, 2, (7, 9))
    noise = np.random.default_rng(1).integers(-20, 21, (7, 9, 3))
    painted = np.clip(TWO.paint(classes).astype(int) + noise, 0, 255).astype(np.uint8)
    assert TWO.paint(classes).dtype == np.uint8
    assert (TWO.nearest(painted) == classes).all()


@pytest.mark.parametrize("text", ["", "[]", '{"classes": [{"name": "a", "color": [0, 0]}]}'])
def test_what_is_no_palette_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "palette.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"palette\.json"):
        Palette.load(path)


def test_pixels_belong_to_the_nearest_colour() -> None:
    three = Palette(("wall", "window", "door"), ((200, 0, 0), (0, 0, 200), (0, 200, 0)))
    pixels = np.array([[[190, 10, 5], [5, 0, 255]], [[90, 130, 90], [200, 0, 0]]], np.uint8)
    assert three.nearest(pixels).tolist() == [[0, 1], [2, 0]]
