"""Whatever comes in, its translation is that of the image by itself, in order and of its kind."""

from __future__ import annotations

import gc
import struct
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from translatekit.errors import DataError, OptionError, TranslatekitWarning
from translatekit.image_spec import ImageSpec, labels_spec, levels_spec
from translatekit.images import (
    encode_image,
    image_from,
    image_of,
    open_image,
    read_image,
    read_levels,
    write_volume,
)
from translatekit.inference.geometry import Fit, fit_pixels
from translatekit.inference.predictor import Predictor
from translatekit.inference.stages import Pause
from translatekit.model_info import ModelInfo
from translatekit.sizes import Size


@dataclass
class Shifted:
    """Each pixel becomes its neighbour's negative, so that places matter; notes the batches."""

    channels: tuple[int, int] = (3, 3)
    multiple: int = 8
    dtypes: tuple[str, ...] = ("uint8", "float32")
    batches: list[tuple[int, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        taken, given = self.channels
        self.info = ModelInfo(
            method="test",
            generator="unet",
            input=levels_spec(taken),
            output=levels_spec(given),
            size_multiple=self.multiple,
            generator_options={"norm": "none"},
        )

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        assert batch.shape[3] == self.channels[0]
        assert batch.shape[1] % self.multiple == batch.shape[2] % self.multiple == 0
        self.batches.append(batch.shape)
        white = batch.dtype.type(255 if batch.dtype == np.uint8 else 1)
        output = white - np.roll(batch, 1, axis=2)
        given = self.channels[1]
        return np.repeat(output[..., :1], given, axis=3) if given != self.channels[0] else output


@dataclass
class Submitting(Shifted):
    """Takes several batches at once, and counts how many are under way."""

    under_way: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._thread = ThreadPoolExecutor(1)
        self._lock = threading.Lock()

    def submit(self, batch: np.ndarray) -> Any:
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        return Pending(self, self._thread.submit(self, batch))


@dataclass
class Pending:
    model: Submitting
    future: Future[np.ndarray]

    def result(self) -> np.ndarray:
        self.model.under_way -= 1
        return self.future.result()


def pixels(height: int, width: int, channels: int = 3, seed: int = 0, dtype: str = "uint8") -> np.ndarray:
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return levels if dtype == "uint8" else levels.astype(np.float32) / 255


def alone(image: np.ndarray, model: Shifted, fit: Fit) -> np.ndarray:
    """What the translator makes of an image by itself."""
    fitted = fit_pixels(image, model.multiple, fit)
    return fitted.restore(type(model)(model.channels, model.multiple)(fitted.pixels[None])[0])


class Unchanged(Shifted):
    """Gives what it takes."""

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        return batch


@pytest.mark.parametrize("fit", ["pad", "resize", "crop"])
def test_values_stay_in_their_unit_and_class_numbers_are_not_mixed(fit: Fit) -> None:
    model = Unchanged((1, 1))
    image = np.linspace(-1000, 2000, 30 * 37, dtype=np.float32).reshape(30, 37, 1)
    spec = levels_spec(1, "float32").with_range(-1024, 3071, unit="HU")
    model.info = replace(model.info, input=spec, output=spec)
    predictor = Predictor(model, fit=fit)
    (made,) = predictor.predict([image])
    shown = image if fit != "crop" else predictor.prepare(image)
    np.testing.assert_allclose(made, shown, atol=100)

    spec = labels_spec((0, 7, 200))
    model.info = replace(model.info, input=spec, output=spec)
    numbers = np.random.default_rng(0).choice(np.array([0, 7, 200], np.uint8), (30, 37, 1))
    (made,) = Predictor(model, fit=fit).predict([numbers])
    assert set(np.unique(made)) == {0, 7, 200}


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR", "IRA"])
@pytest.mark.parametrize("size", [None, Size(74, 60)])
def test_a_crop_of_a_volume_lies_where_it_was_cut_out(tmp_path: Path, codes: str, size: Size | None) -> None:
    nibabel = pytest.importorskip("nibabel")
    shape = [0, 0, 0]
    affine = np.zeros((4, 4))
    for axis, (world, sign) in enumerate(nibabel.orientations.axcodes2ornt(codes)):
        shape[axis] = (37, 30, 5)[int(world)]
        affine[int(world), axis] = sign * (1, 2, 3)[int(world)]
    affine[:, 3] = (10, -20, 30, 1)
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.float32), affine), tmp_path / "in.nii")
    spec = ImageSpec(channels=("a",), meaning="values", dtype="float32").with_range(0, 1)
    model = Unchanged((1, 1))
    model.info = replace(model.info, input=spec, output=spec)
    predictor = Predictor(model, fit="crop", size=size)
    made = []
    with open_image(tmp_path / "in.nii") as volume:
        for page in range(5):
            image = volume.read(page)
            pixels = predictor.prepare(image.pixels)
            made.append(image_from(pixels, spec, predictor.carried(image, *pixels.shape[:2])))
    write_volume(tmp_path / "out.nii", made, pages=5)

    def extent(path: Path) -> np.ndarray:
        """The least and the largest place of its outer corners."""
        image = nibabel.load(path)
        ends = [image.affine @ [*(end * np.array(image.shape) - 0.5), 1] for end in (0, 1)]
        return np.sort(ends, axis=0)[:, :3]

    # Of 37 by 30 pixels 32 by 24 are left, two to the right of the first (which is on the right of the body) and three
    # below it (at the front); of 74 by 60 it is 72 by 56, of half a pixel each.
    (right, front), (wide, tall) = ((2, 3), (32, 24)) if size is None else ((0.5, 1), (36, 28))
    before = extent(tmp_path / "in.nii")
    least = [before[1, 0] - right - wide, before[1, 1] - 2 * (front + tall), before[0, 2]]
    largest = [before[1, 0] - right, before[1, 1] - 2 * front, before[1, 2]]
    np.testing.assert_allclose(extent(tmp_path / "out.nii"), [least, largest])


def test_a_crop_of_a_dicom_file_lies_where_it_was_cut_out() -> None:
    pydicom = pytest.importorskip("pydicom")
    path = Path(pydicom.data.get_testdata_file("CT_small.dcm"))
    image = read_image(path)
    spec = replace(image.spec, dtype="int16").with_range(-1024, 3071)
    model = Unchanged((1, 1), 48)  # which leaves 96 of 128 pixels
    model.info = replace(model.info, input=spec, output=spec)
    predictor = Predictor(model, fit="crop")
    made = image_from(predictor.prepare(image.pixels), spec, predictor.carried(image, 96, 96))
    was, now = (pydicom.dcmread(file) for file in (path, BytesIO(encode_image(made, ".dcm"))))
    assert now.PixelSpacing == was.PixelSpacing
    moved = np.array(now.ImagePositionPatient, float) - np.array(was.ImagePositionPatient, float)
    down, across = (16 * float(step) for step in was.PixelSpacing)
    np.testing.assert_allclose(moved, [across, down, 0], atol=1e-4)
    assert read_image(path).metadata["dicom"].dataset.Rows == image.metadata["dicom"].dataset.Rows == 128


SIDE = st.integers(8, 40)


@settings(max_examples=30, derandomize=True, deadline=None, database=None)
@given(
    sizes=st.lists(st.tuples(SIDE, SIDE, st.sampled_from(["uint8", "float32"])), min_size=1, max_size=12),
    fit=st.sampled_from(["pad", "resize", "crop"]),
    batch_size=st.sampled_from([None, 1, 2, 5]),
    submits=st.booleans(),
)
def test_images_of_any_size_and_number_are_translated_as_each_is_by_itself(
    sizes: list[tuple[int, int, str]], fit: Fit, batch_size: int | None, submits: bool
) -> None:
    images = [pixels(height, width, 3, seed, dtype) for seed, (height, width, dtype) in enumerate(sizes)]
    model = Submitting() if submits else Shifted()
    outputs = list(Predictor(model, fit=fit, batch_size=batch_size).translate_many(images))
    assert len(outputs) == len(images)
    for image, output in zip(images, outputs, strict=True):
        np.testing.assert_array_equal(output, alone(image, model, fit))
        assert output.dtype == image.dtype
    assert max(batch[0] for batch in model.batches) <= (batch_size or 4)


def test_images_of_one_shape_go_in_batches_that_those_of_others_do_not_break() -> None:
    model = Shifted()
    shapes = [(16, 16), (24, 16)] * 6
    list(Predictor(model, batch_size=3).predict(pixels(*shape) for shape in shapes))
    assert sorted(model.batches) == [(3, 16, 16, 3)] * 2 + [(3, 24, 16, 3)] * 2


def test_several_batches_are_under_way_where_the_translator_takes_them() -> None:
    model = Submitting()
    list(Predictor(model, batch_size=1).predict(pixels(16, 16, seed=seed) for seed in range(9)))
    assert model.most == 3


def test_images_are_asked_for_a_few_ahead_only() -> None:
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        while True:
            taken += 1
            yield pixels(16, 16, seed=taken)

    outputs = Predictor(Shifted(), batch_size=1).translate_many(endless())
    for number in range(1, 40):
        np.testing.assert_array_equal(next(outputs), alone(pixels(16, 16, seed=number), Shifted(), "pad"))
    assert taken < 100
    outputs.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("translatekit")]


def test_a_pause_lets_out_what_waits() -> None:
    predictor = Predictor(Shifted(), batch_size=8)

    @dataclass
    class Item:
        request: Any

    first = Item(predictor.request(pixels(16, 16)))

    def items() -> Iterator[Any]:
        yield first
        yield Pause()
        assert first.request.done
        yield Item(predictor.request(pixels(24, 16)))

    assert len(list(predictor.run(items()))) == 2


class Failing(Shifted):
    """Takes no more than two images, and no black one."""

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        if len(batch) > 2:
            raise DataError("3 do not fit into the memory: pass a smaller --batch-size")
        if (batch == 0).all(axis=(1, 2, 3)).any():
            raise DataError("the image is black: take another")
        return super().__call__(batch)


def test_what_fails_in_a_batch_costs_the_others_nothing() -> None:
    images = [pixels(16, 16, seed=seed) for seed in range(4)]
    images[2] = np.zeros_like(images[2])
    outputs = Predictor(Failing(), batch_size=4).translate_many(images)
    for image in images[:2]:
        np.testing.assert_array_equal(next(outputs), alone(image, Failing(), "pad"))
    with pytest.raises(DataError, match="the image is black"):
        next(outputs)


def test_what_fails_under_way_costs_the_others_nothing() -> None:
    class Fails(Submitting):
        def __call__(self, batch: np.ndarray) -> np.ndarray:
            if (batch == 0).all(axis=(1, 2, 3)).any():
                raise DataError("the image is black: take another")
            return super().__call__(batch)

    images = [pixels(16, 16, seed=seed) for seed in range(6)]
    images[3] = np.zeros_like(images[3])
    predictor = Predictor(Fails(), batch_size=2)

    @dataclass
    class Item:
        request: Any

    done = list(predictor.run([Item(predictor.request(image)) for image in images]))
    assert [type(item.request.error) for item in done] == [type(None)] * 3 + [DataError] + [type(None)] * 2


class Feature:
    """What a network has computed of a batch."""


@pytest.mark.parametrize("submits", [False, True])
def test_what_was_computed_when_the_memory_ended_is_freed_before_less_is_tried(submits: bool) -> None:
    held: weakref.WeakSet[Feature] = weakref.WeakSet()

    class Small(Shifted):
        def __call__(self, batch: np.ndarray) -> np.ndarray:
            assert not held
            feature = Feature()
            held.add(feature)
            if len(batch) > 1:
                raise RuntimeError("the device failed to allocate memory")
            return super().__call__(batch)

    class SubmittingSmall(Small):
        def submit(self, batch: np.ndarray) -> Any:
            return Future().set_result(self(batch))

    model = SubmittingSmall() if submits else Small()
    gc.disable()  # which would free it some time
    try:
        images = [pixels(16, 16, seed=seed) for seed in range(4)]
        outputs = list(Predictor(model, batch_size=2).translate_many(images))
    finally:
        gc.enable()
    for image, output in zip(images, outputs, strict=True):
        np.testing.assert_array_equal(output, alone(image, Shifted(), "pad"))


def test_large_images_go_in_tiles() -> None:
    class Negative(Shifted):
        def __call__(self, batch: np.ndarray) -> np.ndarray:
            self.batches.append(batch.shape)
            return 255 - batch

    model = Negative()
    image = pixels(50, 70)
    np.testing.assert_array_equal(Predictor(model, tile=32, overlap=8).translate(image), 255 - image)
    assert max(max(batch[1:3]) for batch in model.batches) == 32
    with pytest.raises(OptionError, match="--tile must be a multiple of 8"):
        Predictor(model, tile=30)
    with pytest.raises(OptionError, match="overlap says how far tiles overlap: pass tile with it"):
        Predictor(model, overlap=8)


def test_a_size_is_what_every_image_is_resized_to() -> None:
    assert Predictor(Shifted(), size=Size(24, 20)).translate(pixels(50, 60)).shape == (20, 24, 3)


# Kinds: arrays


@pytest.mark.parametrize(
    ("taken", "given", "shape", "expected"),
    [
        (3, 3, (20, 13, 3), (20, 13, 3)),
        (3, 3, (20, 13, 1), (20, 13, 3)),
        (3, 3, (20, 13), (20, 13, 3)),
        (1, 1, (20, 13), (20, 13)),
        (1, 1, (20, 13, 1), (20, 13, 1)),
        (1, 1, (20, 13, 3), (20, 13, 1)),
        (1, 3, (20, 13), (20, 13, 3)),
        (3, 1, (20, 13, 3), (20, 13, 1)),
        (5, 5, (20, 13, 5), (20, 13, 5)),
    ],
)
def test_arrays_become_the_models_channels_by_rule(
    taken: int, given: int, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    image = pixels(*shape[:2], *(shape[2:] or (1,))).reshape(shape)
    assert Predictor(Shifted((taken, given))).translate(image).shape == expected


def test_other_channels_are_refused() -> None:
    with pytest.raises(DataError, match=r"the array holds 4 channels .*, but RGB are wanted"):
        Predictor(Shifted()).translate(pixels(16, 16, 4))
    with pytest.raises(DataError, match=r"the array holds RGB, but 5 channels .* are wanted"):
        Predictor(Shifted((5, 5))).translate(pixels(16, 16, 3))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64", "bool"])
def test_an_array_comes_back_in_its_dtype_with_all_of_its_levels(dtype: str) -> None:
    levels = np.linspace(0, 1, 16 * 16 * 3).reshape(16, 16, 3)
    white = {"uint8": 255, "uint16": 65535, "bool": 1}.get(dtype, 1.0)
    image = np.rint(levels * white).astype(dtype) if white != 1.0 or dtype == "bool" else levels.astype(dtype)
    output = Predictor(Shifted()).translate(image)
    assert output.dtype == image.dtype
    wanted = white - np.roll(image, 1, axis=1).astype(np.float64)
    np.testing.assert_allclose(output.astype(np.float64), wanted, atol=1e-3 if dtype == "float16" else 1e-6)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((8, 8, 3), np.int64), "an array of int64 says nothing of what is white"),
        (np.full((8, 8, 3), 255.0), "are in 0 to 1, got 255 to 255"),
        (np.full((8, 8, 3), np.nan), "are in 0 to 1, got nan to nan"),
        (np.full((8, 8, 3), -0.5, np.float32), "are in 0 to 1, got -0.5"),
        (np.zeros((2, 8, 8, 3), np.uint8), "pass several images to translate_many"),
        (np.zeros((0, 8, 3), np.uint8), r"got an array of shape \(0, 8, 3\)"),
        (7, "a predictor takes an array .* or the path of a file, got int"),
    ],
)
def test_what_is_no_image_is_refused(image: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        Predictor(Shifted()).translate(image)


def test_an_array_of_images_is_many() -> None:
    images = np.stack([pixels(16, 16, seed=seed) for seed in range(3)])
    assert [output.shape for output in Predictor(Shifted()).translate_many(images)] == [(16, 16, 3)] * 3


def test_depth_that_a_compiled_model_cannot_keep_is_named() -> None:
    with pytest.warns(TranslatekitWarning, match="8 bits a channel, and .* has more, of which 8 are kept"):
        Predictor(Shifted(dtypes=("uint8",))).translate(pixels(16, 16, dtype="float32"))


# Kinds: Pillow images


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("RGB", "RGB"), ("RGBA", "RGBA"), ("L", "RGB"), ("LA", "RGBA"), ("1", "RGB"), ("CMYK", "RGB")],
)
def test_a_pillow_image_comes_back_as_one(mode: str, expected: str) -> None:
    image = Image.fromarray(pixels(21, 30)).convert(mode)
    output = Predictor(Shifted()).translate(image)
    assert (output.mode, output.size) == (expected, image.size)
    wanted = alone(np.asarray(image.convert("RGB")), Shifted(), "pad")
    np.testing.assert_array_equal(np.asarray(output.convert("RGB")), wanted)


def test_transparency_follows_the_fit() -> None:
    alpha = pixels(21, 30, 1)[:, :, 0]
    image = Image.fromarray(np.dstack([pixels(21, 30), alpha]))
    output = np.asarray(Predictor(Shifted(), fit="crop").translate(image))
    np.testing.assert_array_equal(output[:, :, 3], alpha[2:18, 3:27])


def test_transparency_is_cut_as_its_image_where_that_ends_as_large_as_it_came() -> None:
    levels = np.linspace(0, 255, 32 * 32 * 4).reshape(32, 32, 4).astype(np.uint8)
    levels[:, :, 3] = levels[:, :, 0]
    model = Unchanged(multiple=32)
    output = np.asarray(Predictor(model, fit="crop", size=Size(48, 48)).translate(Image.fromarray(levels)))
    assert output.shape == (32, 32, 4)
    assert np.abs(output[:, :, 3].astype(int) - output[:, :, 0]).max() <= 1


def test_transparent_colours_of_palettes_are_kept() -> None:
    image = Image.fromarray(pixels(16, 16)).convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    image.info["transparency"] = 3
    output = Predictor(Shifted()).translate(image)
    np.testing.assert_array_equal(np.asarray(output)[:, :, 3] == 0, np.asarray(image) == 3)


def profile_of_ink() -> bytes:
    """A profile of CMYK (ICC.1:2022, 10.10): any ink at all makes a dull red."""
    ramp = bytes(range(256))
    colours = b"".join(bytes((250, 128, 128) if ink == 0 else (90, 170, 150)) for ink in range(16))
    one, zero = struct.pack(">i", 65536), bytes(4)
    matrix = one + zero * 3 + one + zero * 3 + one
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix + ramp * 4 + colours + ramp * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags, place = b"", 128 + 4 + 2 * 12
    for name, data in ((b"A2B0", table), (b"wtpt", white)):
        tags, place = tags + name + struct.pack(">II", place, len(data)), place + len(data)
    head = struct.pack(">I4sI4s4s4s", place, bytes(4), 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", 2) + tags + table + white


def test_ink_has_the_colours_of_its_profile_as_from_a_file(tmp_path: Path) -> None:
    picture = Image.fromarray(pixels(16, 24, 4), "CMYK")
    picture.info["icc_profile"] = profile_of_ink()
    picture.save(tmp_path / "ink.tif", icc_profile=profile_of_ink())
    predictor = Predictor(Shifted())
    of_file = predictor.translate(tmp_path / "ink.tif")
    without = alone(np.asarray(picture.convert("RGB")), Shifted(), "pad")
    assert np.abs(of_file.astype(int) - without).mean() > 20
    output = predictor.translate(picture)
    np.testing.assert_array_equal(np.asarray(output), of_file)
    assert "icc_profile" not in output.info


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_pillow_images_stay_deep(mode: str) -> None:
    values = np.linspace(0, 65535, 16 * 24).reshape(16, 24).astype(np.uint16)
    image = Image.fromarray(values) if mode != "F" else Image.fromarray((values / 65535).astype(np.float32))
    image = image.convert("I") if mode == "I" else image
    output = Predictor(Shifted((1, 1))).translate(image)
    assert output.mode == mode
    white = 1.0 if mode == "F" else 65535
    wanted = white - np.roll(np.asarray(image), 1, axis=1).astype(np.float64)
    np.testing.assert_allclose(np.asarray(output), wanted, atol=1e-6)
    with pytest.raises(DataError, match="Pillow holds no image of 3 channels and more than 8 bits"):
        Predictor(Shifted()).translate(image)


def test_a_colour_profile_is_kept_with_the_channels_it_is_for() -> None:
    image = Image.fromarray(pixels(16, 16))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.info["icc_profile"] = profile
    assert Predictor(Shifted()).translate(image).info["icc_profile"] == profile
    assert "icc_profile" not in Predictor(Shifted((3, 1))).translate(image).info
    assert "icc_profile" not in Predictor(Shifted((1, 3))).translate(image).info


# Kinds: files


@pytest.mark.parametrize("as_text", [True, False])
def test_a_file_comes_back_as_an_array(tmp_path: Path, as_text: bool) -> None:
    path = tmp_path / "in.png"
    path.write_bytes(encode_image(image_of(pixels(20, 30, dtype="float32")), ".png"))
    output = Predictor(Shifted()).translate(str(path) if as_text else path)
    np.testing.assert_array_equal(output, alone(read_levels(path).pixels, Shifted(), "pad"))
    assert output.dtype == np.float32


def test_many_files_come_back_in_order_and_a_bad_one_at_its_turn(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        path.write_bytes(encode_image(image_of(pixels(16, 16 + number, seed=number)), ".png"))
    paths[3].write_bytes(b"no image")
    outputs = Predictor(Shifted()).translate_many(paths)
    assert [next(outputs).shape[1] for _ in range(3)] == [16, 17, 18]
    with pytest.raises(DataError, match=r"3\.png"):
        next(outputs)


# Its end


@pytest.mark.parametrize("tile", [None, 16])
def test_closing_closes_the_translator(tile: int | None) -> None:
    class Closing(Shifted):
        closed = False

        def close(self) -> None:
            self.closed = True

    model = Closing()
    with Predictor(model, tile=tile) as predictor:
        predictor.translate(pixels(8, 8))
    assert model.closed
    Predictor(Shifted()).close()  # one that has nothing to free


# Models of values and of labels


class Halved(Shifted):
    """Of values in a unit: half of each, and the input's dtype is noted."""

    def __init__(self, taken: ImageSpec, given: ImageSpec) -> None:
        super().__init__()
        self.info = replace(self.info, input=taken, output=given)

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.batches.append((*batch.shape, batch.dtype.name))  # type: ignore[arg-type]
        return batch / np.float32(2)


HU = ImageSpec(
    channels=("value",), meaning="values", levels=False, dtype="int16", low=(-1024,), high=(3071,), unit="HU"
)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int64", "float32", "float64"])
def test_values_are_what_they_say_in_any_dtype(dtype: str) -> None:
    model = Halved(HU, HU)
    image = np.linspace(0, 3000, 20 * 30).reshape(20, 30).astype(dtype)
    output = Predictor(model).translate(image)
    assert (output.dtype, output.shape) == (np.float32, (20, 30))
    np.testing.assert_allclose(output, image.astype(np.float32) / 2)
    assert model.batches[0][-1] == "float32"


def test_values_are_resized_without_clipping() -> None:
    image = np.full((40, 60, 1), -1000, np.int16)
    output = Predictor(Halved(HU, HU), size=Size(32, 16)).translate(image)
    np.testing.assert_allclose(output, -500)


def test_values_that_no_array_of_the_model_holds_are_refused() -> None:
    with pytest.raises(DataError, match="the array cannot be taken: its integers, 0 to"):
        Predictor(Halved(HU, HU)).translate(np.array([[0, 2**40]]).repeat(8, 0).repeat(4, 1))


def test_neighbouring_slices_are_channels_of_an_array() -> None:
    spec = replace(HU, channels=("a", "b", "c"), slices=3)
    image = np.zeros((16, 16, 3), np.int16)
    assert Predictor(Halved(spec, spec)).translate(image).shape == (16, 16, 3)


def test_numbers_of_classes_are_checked_and_come_as_they_are() -> None:
    spec = replace(labels_spec((0, 1, 7)), palette=((0, 0, 0), (255, 0, 0), (0, 0, 255)))

    class Same(Halved):
        def __call__(self, batch: np.ndarray) -> np.ndarray:
            assert batch.dtype == np.uint8
            return batch

    classes = np.array([0, 1, 7], np.uint8)[np.random.default_rng(0).integers(0, 3, (16, 16))]
    predictor = Predictor(Same(spec, spec))
    np.testing.assert_array_equal(predictor.translate(classes), classes)
    np.testing.assert_array_equal(predictor.translate(classes.astype(np.int64)), classes)
    with pytest.raises(DataError, match="5"):
        predictor.translate(np.full((16, 16), 5, np.uint8))
    drawn = predictor.translate(Image.fromarray(classes))
    assert drawn.mode == "P"
    np.testing.assert_array_equal(np.asarray(drawn), classes)
    assert np.asarray(drawn.convert("RGB"))[classes == 7].tolist()[0] == [0, 0, 255]
