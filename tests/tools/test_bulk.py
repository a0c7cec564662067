"""What becomes of images on their way through the pipeline, told by a model that changes nothing."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from translatekit_tools.bulk import Result, run, translate
from translatekit_tools.bulk.kinds import kind_of
from translatekit_tools.bulk.manifest import MANIFEST_NAME

from translatekit import images
from translatekit.cli import program
from translatekit.errors import DataError, OptionError
from translatekit.image_spec import levels_spec
from translatekit.images import encode_image, image_of, image_suffixes, read_levels
from translatekit.inference.geometry import fit_pixels
from translatekit.model_info import ModelInfo


@dataclass
class Identity:
    """A translator that gives back what it gets, and notes the shapes."""

    info: ModelInfo
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        multiple = self.info.size_multiple
        assert batch.shape[1] % multiple == 0
        assert batch.shape[2] % multiple == 0
        assert batch.shape[3] == self.info.input.count
        self.shapes.append((*batch.shape, batch.dtype.str))  # type: ignore[arg-type]
        return batch


def identity(channels: int = 3, multiple: int = 16) -> Identity:
    info = ModelInfo(
        method="test",
        generator="unet",
        input=levels_spec(channels),
        output=levels_spec(channels),
        size_multiple=multiple,
    )
    return Identity(info)


class Inverting(Identity):
    """White becomes black."""

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        return 255 - batch


def write(path: Path, image: images.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_image(image, path.suffix))
    return path


def noise_image(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


SIDES = [(1, 1), (1, 40), (2, 3), (5, 17), (16, 16), (33, 31), (40, 1), (63, 129)]


@pytest.mark.parametrize("fit", ["pad", "resize", "crop"])
@pytest.mark.parametrize("size", SIDES)
def test_fitting_gives_multiples_and_padding_loses_nothing(size: tuple[int, int], fit: str) -> None:
    pixels = noise_image(*size)
    if fit == "crop" and min(size) < 16:
        with pytest.raises(DataError, match="too small to crop to a multiple of 16"):
            fit_pixels(pixels, 16, "crop")
        return
    fitted = fit_pixels(pixels, 16, fit)  # type: ignore[arg-type]
    assert fitted.pixels.shape[0] % 16 == fitted.pixels.shape[1] % 16 == 0
    restored = fitted.restore(fitted.pixels)
    if fit == "pad":
        np.testing.assert_array_equal(restored, pixels)
    elif fit == "resize":
        assert restored.shape == pixels.shape
    else:
        top, left = size[0] % 16 // 2, size[1] % 16 // 2
        height, width = (side // 16 * 16 for side in size)
        np.testing.assert_array_equal(restored, pixels[top : top + height, left : left + width])


def test_padding_is_a_reflection() -> None:
    row = np.arange(5, dtype=np.uint8)[None, :, None].repeat(8, axis=0)
    assert fit_pixels(row, 8, "pad").pixels[0, :, 0].tolist() == [1, 0, 1, 2, 3, 4, 3, 2]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("size", SIDES)
def test_every_size_comes_back_as_it_was(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    source = write(tmp_path / f"in{suffix}", image_of(noise_image(*size)))
    translate(source, identity(), tmp_path / "out")
    result = read_levels(tmp_path / f"out/in{suffix}")
    np.testing.assert_array_equal(result.pixels, read_levels(source).pixels)


@pytest.mark.parametrize("fit", ["pad", "resize"])
def test_alpha_is_carried_through(tmp_path: Path, fit: str) -> None:
    alpha = noise_image(33, 21, 1)[:, :, 0]
    source = write(tmp_path / "in.png", image_of(noise_image(33, 21), alpha))
    translate(source, identity(), tmp_path / "out", fit=fit)
    np.testing.assert_array_equal(read_levels(tmp_path / "out/in.png").alpha, alpha)


def test_alpha_follows_a_crop_and_a_resize(tmp_path: Path) -> None:
    alpha = noise_image(35, 21, 1)[:, :, 0]
    source = write(tmp_path / "in.png", image_of(noise_image(35, 21), alpha))
    translate(source, identity(), tmp_path / "cropped", fit="crop")
    np.testing.assert_array_equal(read_levels(tmp_path / "cropped/in.png").alpha, alpha[1:33, 2:18])
    translate(source, identity(), tmp_path / "resized", size="40x20")
    resized = read_levels(tmp_path / "resized/in.png")
    assert resized.pixels.shape == (20, 40, 3)
    assert resized.alpha is not None
    assert resized.alpha.shape == (20, 40)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_stay_sixteen_bits(tmp_path: Path, channels: int, suffix: str) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (19, 23, channels))
    source = write(tmp_path / f"in{suffix}", image_of((values / 65535).astype(np.float32)))
    model = identity(channels)
    translate(source, model, tmp_path / "out")
    assert model.shapes[0][-1] == "<f4"
    result = read_levels(tmp_path / f"out/in{suffix}").pixels
    np.testing.assert_array_equal(np.rint(result * 65535), values)


def test_a_gray_model_makes_gray_files_of_colour_ones(tmp_path: Path) -> None:
    source = write(tmp_path / "in.png", image_of(noise_image(20, 20)))
    translate(source, identity(channels=1), tmp_path / "out")
    assert Image.open(tmp_path / "out/in.png").mode == "L"


def test_a_profile_is_kept_where_the_channels_are(tmp_path: Path, data_dir: Path) -> None:
    source = data_dir / "images/hopper.iccprofile.tif"
    translate(source, identity(), tmp_path / "rgb")
    assert read_levels(tmp_path / "rgb" / source.name).icc_profile == read_levels(source).icc_profile
    translate(source, identity(channels=1), tmp_path / "gray")
    assert read_levels(tmp_path / "gray" / source.name).icc_profile is None


def test_of_two_inputs_with_one_output_the_good_one_is_translated(tmp_path: Path) -> None:
    source = tmp_path / "in"
    write(source / "a.png", image_of(noise_image(20, 20)))
    (source / "a.png").write_bytes((source / "a.png").read_bytes()[:200])
    (source / "a.bmp").write_bytes(b"BM")
    Image.fromarray(noise_image(20, 20)).save(source / "a.gif")
    write(source / "b.png", image_of(noise_image(20, 20)))
    Image.fromarray(noise_image(20, 20)).save(source / "b.gif")
    summary = translate(source, identity(), tmp_path / "out", format="png")
    assert [path.name for path in summary.outputs] == ["b.png", "a.png"]
    reasons = {path.name: reason for path, reason in summary.failed}
    assert "cannot be read" in reasons.pop("a.png")
    assert "cannot be read" in reasons.pop("a.bmp")
    assert "is already that of" in reasons.pop("b.gif")
    assert not reasons
    assert translate(source, identity(), tmp_path / "dry", format="png", dry_run=True).translated == 2


class Told(list[str]):
    say = list[str].append

    def __call__(self, result: Result) -> None:
        pass


def test_an_image_without_pixels_is_a_failed_file(tmp_path: Path) -> None:
    write(tmp_path / "in/a.png", image_of(noise_image(20, 20)))
    data = bytearray((tmp_path / "in/a.png").read_bytes())
    for place in (16, 20):  # width, height
        damaged = bytearray(data)
        damaged[place : place + 4] = bytes(4)
        (tmp_path / f"in/{place}.png").write_bytes(damaged)
    summary = translate(tmp_path / "in", identity(), tmp_path / "out")
    assert (summary.translated, len(summary.failed)) == (1, 2)


@pytest.mark.parametrize(("direction", "left"), [("AtoB", 0), ("BtoA", 20)])
def test_a_pair_side_by_side_is_translated_with_a_hint(tmp_path: Path, direction: str, left: int) -> None:
    for name in ("a b", "c"):
        write(tmp_path / f"in/{name}.png", image_of(noise_image(20, 40)))
    write(tmp_path / "in/0.png", image_of(noise_image(20, 39)))
    model = identity()
    hints = {}
    for dataset in ("aligned", "unaligned"):
        model.info = replace(model.info, direction=direction, data={"dataset": dataset})
        told = Told()
        assert translate(tmp_path / "in", model, tmp_path / dataset, progress=told).translated == 3
        hints[dataset] = told
    assert hints["unaligned"] == []
    (hint,) = hints["aligned"]
    assert hint.startswith(f"{tmp_path / 'in/a b.png'} is twice as wide as high")
    words = shlex.split(hint.partition("takes: ")[2].replace("HALVES", str(tmp_path / "halves")))
    assert words[:4] == ["translatekit", "prepare", "crop", str(tmp_path / "in/a b.png")]
    with pytest.raises(SystemExit) as ended:
        program.main(words[1:])
    assert not ended.value.code
    half = read_levels(tmp_path / "halves/a b.png").pixels
    np.testing.assert_array_equal(half, read_levels(tmp_path / "in/a b.png").pixels[:, left : left + 20])


def test_what_nothing_reads_is_told_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "in/a.png", image_of(noise_image(20, 20)))
    (tmp_path / "in/b.blend").touch()

    told = Told()
    summary = translate(tmp_path / "in", identity(), tmp_path / "out", progress=told)
    assert told == ["Left out 1 .blend: not images or videos that can be read."]
    assert summary.to_dict()["left_out"] == {".blend": 1}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(tmp_path: Path, orientation: int) -> None:
    upright = noise_image(18, 30)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(upright).save(tmp_path / "in.png", exif=exif)
    translate(tmp_path / "in.png", identity(), tmp_path / "out")
    with Image.open(tmp_path / "out/in.png") as result:
        assert result.getexif().get(0x0112, 1) == 1
        np.testing.assert_array_equal(np.asarray(result), read_levels(tmp_path / "in.png").pixels)
        assert result.size == ((18, 30) if orientation >= 5 else (30, 18))


def test_real_files_of_every_kind_come_back_with_their_pixels(tmp_path: Path, data_dir: Path) -> None:
    source = tmp_path / "images"
    source.mkdir()
    for path in (data_dir / "images").iterdir():
        if path.stat().st_size < 500_000:
            shutil.copy(path, source)
    summary = translate(source, identity(), tmp_path / "out", format="png", suffix="_t")
    clashes = [path.name for path, reason in summary.failed if "is already that of" in reason]
    assert len(clashes) == len(summary.failed)
    assert summary.translated + len(clashes) == len(list(source.iterdir()))
    assert summary.translated > 30
    for output in summary.outputs:
        original = next(
            path
            for path in source.iterdir()
            if path.stem == output.stem.removesuffix("_t") and path.name not in clashes
        )
        if kind_of(original, Path("any.jpg")).drops_frames:  # whose frames are compared in tests/tools/video
            continue
        before, after = read_levels(original, 3), read_levels(output, 3)
        np.testing.assert_array_equal(after.pixels, before.pixels)
        if before.alpha is not None:
            np.testing.assert_array_equal(after.alpha, before.alpha)


def test_hostile_files_are_named_and_the_rest_goes_on(tmp_path: Path, data_dir: Path) -> None:
    source = tmp_path / "in"
    shutil.copytree(data_dir / "hostile_images", source)
    write(source / "sound.png", image_of(noise_image(16, 16)))
    summary = translate(source, identity(), tmp_path / "out")
    failed = {path.name: reason for path, reason in summary.failed}
    assert {"empty.jpg", "broken.png", "truncated_jpeg.jpg", "decompression_bomb.gif"} <= set(failed)
    assert "sound.png" not in failed
    assert "empty" in failed["empty.jpg"]
    assert "pixels" in failed["decompression_bomb.gif"]
    assert all("\n" not in reason for reason in failed.values())
    images = [path for path in source.iterdir() if path.suffix in image_suffixes()]
    assert summary.translated + len(failed) == len(images)
    assert {path.name for path in summary.outputs} <= {path.name for path in (tmp_path / "out").iterdir()}


def test_images_of_one_shape_share_batches_and_order_is_kept(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for number in range(20):
        size = (32, 48) if number % 2 else (48, 32)
        write(source / f"{number:02}.png", image_of(noise_image(*size, seed=number)))
    (source / "07.png").write_bytes(b"broken")
    model, order = identity(), []
    summary = translate(
        source,
        model,
        tmp_path / "out",
        batch_size=4,
        progress=lambda result: order.append(result.source.name),
    )
    assert order == [f"{number:02}.png" for number in range(20)]
    assert sorted({shape[0] for shape in model.shapes}) != [1]
    assert max(shape[0] for shape in model.shapes) == 4
    assert len(model.shapes) <= 7
    assert summary.translated == 19
    for path in summary.outputs:
        np.testing.assert_array_equal(read_levels(path).pixels, read_levels(source / path.name).pixels)


def test_one_image_that_the_model_refuses_does_not_fail_its_batch(tmp_path: Path) -> None:
    class Picky(Identity):
        def __call__(self, batch: np.ndarray) -> np.ndarray:
            if (batch == 0).all(axis=(1, 2, 3)).any():
                raise DataError("black images do not fit")
            return batch

    for number in range(4):
        write(tmp_path / f"in/{number}.png", image_of(noise_image(16, 16) * (number != 2)))
    summary = translate(tmp_path / "in", Picky(identity().info), tmp_path / "out", batch_size=4)
    assert summary.failed == [(tmp_path / "in/2.png", "black images do not fit")]
    assert summary.translated == 3


def test_a_bug_in_a_stage_stops_everything_and_leaves_no_partial_file(tmp_path: Path) -> None:
    class Broken(Identity):
        def __call__(self, batch: np.ndarray) -> np.ndarray:
            raise ZeroDivisionError

    for number in range(30):
        write(tmp_path / f"in/{number}.png", image_of(noise_image(16, 16)))
    with pytest.raises(ZeroDivisionError):
        translate(tmp_path / "in", Broken(identity().info), tmp_path / "out")
    assert [path for path in (tmp_path / "out").rglob("*") if not path.name.startswith(".translatekit")] == []


@pytest.mark.parametrize("name", ["png", "jpg", "webp", "tiff"])
def test_formats(tmp_path: Path, name: str) -> None:
    source = write(tmp_path / "in.bmp", image_of(np.full((20, 20, 3), 90, np.uint8)))
    summary = translate(source, identity(), tmp_path / "out", format=name)
    assert [path.suffix for path in summary.outputs] == [f".{name}"]
    with Image.open(summary.outputs[0]) as image:
        assert image.format == {"jpg": "JPEG"}.get(name, name.upper())
        assert abs(int(np.asarray(image.convert("RGB")).mean()) - 90) <= 2


def test_what_is_in_the_way_is_not_overwritten_unless_forced(tmp_path: Path) -> None:
    source = write(tmp_path / "in.png", image_of(noise_image(16, 16)))
    other = write(tmp_path / "out/in.png", image_of(np.zeros((8, 8, 3), np.uint8)))
    before = other.read_bytes()
    summary = translate(source, identity(), tmp_path / "out")
    assert "--force" in summary.failed[0][1]
    assert other.read_bytes() == before
    assert translate(source, identity(), tmp_path / "out", force=True).translated == 1
    assert other.read_bytes() != before


def test_what_a_user_changed_after_a_run_is_not_overwritten(tmp_path: Path) -> None:
    source = write(tmp_path / "in.png", image_of(noise_image(16, 16)))
    (output,) = translate(source, identity(), tmp_path / "out").outputs
    assert translate(source, identity(), tmp_path / "out").translated == 1  # ours: replaced
    output.write_bytes(output.read_bytes() + b"retouched")
    assert len(translate(source, identity(), tmp_path / "out").failed) == 1


def test_originals_survive_even_force(tmp_path: Path) -> None:
    source = write(tmp_path / "in.png", image_of(noise_image(16, 16)))
    before = source.read_bytes()
    summary = translate(source, Inverting(identity().info), tmp_path, force=True)
    assert "would overwrite an input" in summary.failed[0][1]
    assert source.read_bytes() == before


def test_a_dry_run_writes_nothing_and_says_what_would_be_done(tmp_path: Path) -> None:
    write(tmp_path / "in/a.png", image_of(noise_image(16, 16)))
    summary = translate(tmp_path / "in", identity(), tmp_path / "out", dry_run=True)
    assert (summary.translated, summary.outputs) == (1, [tmp_path / "out/a.png"])
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_told_and_leaves_no_partial_file(small_disk: Path, tmp_path: Path) -> None:
    write(tmp_path / "in/1 large.png", image_of(noise_image(300, 300)))
    write(tmp_path / "in/2 small.png", image_of(noise_image(16, 16)))
    summary = translate(tmp_path / "in", identity(), small_disk / "out")
    assert [path.name for path, _ in summary.failed] == ["1 large.png"]
    assert "the disk is full" in summary.failed[0][1]
    assert sorted(path.name for path in (small_disk / "out").iterdir()) == [MANIFEST_NAME, "2 small.png"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, where the tests may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system takes root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_read_only_output_folder_is_told_before_anything_is_done(small_disk: Path, tmp_path: Path) -> None:
    write(tmp_path / "in/a.png", image_of(noise_image(16, 16)))
    (small_disk / "out").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    model = identity()
    for out in (small_disk / "out", small_disk / "new"):
        with pytest.raises(DataError, match=r"cannot be written \(.*\): choose another with -o"):
            translate(tmp_path / "in", model, out)
    assert model.shapes == []


def test_an_output_folder_below_a_file_is_told(tmp_path: Path) -> None:
    source = write(tmp_path / "in.png", image_of(noise_image(16, 16)))
    with pytest.raises(DataError, match="cannot be written"):
        translate(source, identity(), source / "out")


def test_names_of_any_bytes_and_length(tmp_path: Path) -> None:
    names = [
        "ümläut 画像.png",
        "[red]x[bold].png",
        "n" * 251 + ".png",
        b"latin\xe9.png".decode(errors="surrogateescape"),
    ]
    for name in names:
        write(tmp_path / "in" / name, image_of(noise_image(16, 16)))
    summary = translate(tmp_path / "in", identity(), tmp_path / "out")
    assert (summary.translated, summary.failed) == (len(names), [])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*names, MANIFEST_NAME}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sise": 3}, "did you mean 'size'"),
        (
            {"size": "3y4"},
            "option 'size' must be SIDE or WIDTHxHEIGHT in pixels up to 65535, such as 256 or 512x256",
        ),
        ({"size": 0}, "option 'size' must be SIDE or WIDTHxHEIGHT"),
        ({"quality": 101}, "option 'quality' must be a whole number from 1 to 100, got 101"),
        ({"batch_size": 0}, "option 'batch_size' must be a whole number from 1 to 4096, or none, got 0"),
        ({"suffix": "a/b"}, "--suffix"),
        ({"fit": "stretch"}, "'pad', 'resize', 'crop'"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    source = write(tmp_path / "in.png", image_of(noise_image(16, 16)))
    with pytest.raises(OptionError, match=message):
        translate(source, identity(), tmp_path / "out", **options)


def test_a_file_of_other_channels_than_the_models_fails_with_the_reason(tmp_path: Path) -> None:
    source = write(tmp_path / "in.png", image_of(noise_image(16, 16)))
    ((_, reason),) = translate(source, identity(channels=5), tmp_path / "out").failed
    assert "in.png holds RGB, but 5 channels" in reason


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [2, 4, 5, 13])
def test_any_number_of_channels_is_translated_from_tiff_to_tiff(
    tmp_path: Path, channels: int, dtype: str
) -> None:
    levels = np.random.default_rng(0).random((33, 21, channels), np.float32)
    white = {"uint8": 255, "uint16": 65535}.get(dtype)
    pixels = levels if white is None else np.rint(levels * white).astype(dtype)
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="minisblack", planarconfig="contig")
    summary = translate(tmp_path / "in.tif", identity(channels=channels), tmp_path / "out")
    assert summary.failed == []
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out/in.tif"), pixels)


def test_progress_is_told_of_every_input(tmp_path: Path) -> None:
    write(tmp_path / "in/a.png", image_of(noise_image(16, 16)))
    (tmp_path / "in/b.png").touch()
    results: list[Result] = []
    translate(tmp_path / "in", identity(), tmp_path / "out", progress=results.append)
    assert [(result.source.name, result.outcome, result.total) for result in results] == [
        ("a.png", "translated", 2),
        ("b.png", "failed", 2),
    ]


def test_the_manifest_says_what_was_made_from_what(tmp_path: Path) -> None:
    write(tmp_path / "in/sub/a.png", image_of(noise_image(16, 16)))
    translate(tmp_path / "in", identity(), tmp_path / "out")
    (line,) = (tmp_path / "out" / MANIFEST_NAME).read_text().splitlines()
    entry = json.loads(line)
    assert (entry["input"], entry["output"]) == ("../in/sub/a.png", "sub/a.png")
    assert entry["output_size"] == (tmp_path / "out/sub/a.png").stat().st_size


def test_the_line_needs_no_torch(tmp_path: Path) -> None:
    write(tmp_path / "in.png", image_of(noise_image(20, 20)))
    script = """
import sys
from translatekit import translate
from translatekit.model_info import ModelInfo

class Identity:
    info = ModelInfo(method="test", generator="unet", size_multiple=16)
    def __call__(self, batch):
        return batch

assert translate(sys.argv[1], Identity(), sys.argv[2]).translated == 1
assert not {"torch", "timm", "lightning_fabric"} & set(sys.modules), "torch was imported"
"""
    subprocess.run([sys.executable, "-c", script, tmp_path / "in.png", tmp_path / "out"], check=True)


def test_a_large_folder_is_translated_while_it_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_AHEAD", 8)
    for folder in ("a", "b", "c"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        for number in range(40):
            Image.new("RGB", (4, 4)).save(tmp_path / "in" / folder / f"{number:02}.png")
    (tmp_path / "in/c/x.blend").touch()
    told: list[object] = []

    class Told:
        def say(self, sentence: str) -> None:
            told.append(sentence)

        def __call__(self, result: Result) -> None:
            told.append(result.total)

    summary = translate(tmp_path / "in", identity(), tmp_path / "out", progress=Told(), dry_run=True)
    assert (summary.translated, summary.left_out) == (120, {".blend": 1})
    assert told[0] == 0  # nobody knows yet
    assert told[-1] == 120
    assert [each for each in told if isinstance(each, str)] == [
        "Left out 1 .blend: not images or videos that can be read."
    ]
