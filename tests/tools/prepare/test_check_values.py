"""prepare check on images of any kind: floats, many channels, nodata, ranges and places on the earth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from translatekit_tools.cli.prepare import prepare
from translatekit_tools.prepare.check import Report, check_data
from translatekit_tools.prepare.options import CheckOptions

from tests.tools.prepare.test_tiles import bands, write_raster
from translatekit.errors import OptionError
from translatekit.images import read_image


def scene(number: int, channels: int = 1, shift: int = 0) -> np.ndarray:
    """(96, 128, C) float32 of -1000 to 1500, with cells that are another for each number."""
    rng = np.random.default_rng(number)
    cells = np.kron(rng.integers(0, 2, (6, 8)), np.ones((16, 16))) * 1800 - 900
    image = np.roll(cells, shift, axis=1)[:, :, None] + rng.normal(0, 40, (96, 128, channels))
    return image.astype(np.float32)


def dataset(folder: Path, b_channels: int = 4, shift: int = 0) -> Path:
    for number in range(8):
        for side, image in (("A", scene(number)), ("B", scene(number, b_channels, shift))):
            write(folder / "train" / side / f"{number}.tiff", image)
    return folder


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    planes = "contig" if image.shape[2] > 1 else None
    tifffile.imwrite(path, image.squeeze(), photometric="minisblack", planarconfig=planes)


def check(data: Path, **options: Any) -> Report:
    return check_data(data, CheckOptions(**options))


def test_floats_and_many_channels_raise_no_alarm_and_their_values_are_told(tmp_path: Path) -> None:
    report = check(dataset(tmp_path / "data"), range="-1200..1200", sheet=tmp_path / "sheet.png")
    assert report.findings == []
    assert report.kind == "pairs"
    assert set(report.values) == {"A", "B"}
    assert -1200 < report.values["A"][0] < report.values["A"][1] < 1200
    assert "values of B: -1" in CliRunner().invoke(prepare, ["check", str(tmp_path / "data")]).stdout
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_misalignment_is_found_whatever_the_channels(tmp_path: Path) -> None:
    (finding,) = check(dataset(tmp_path / "data", shift=10)).findings
    assert finding.kind == "shifted"
    assert "pixels to the right of A throughout" in finding.text


def test_what_is_wrong_with_values_is_found(tmp_path: Path) -> None:
    data = dataset(tmp_path / "data")
    a = data / "train" / "A"
    write(a / "0.tiff", np.full((96, 128, 1), -1000, np.float32))
    write(a / "1.tiff", np.full((96, 128, 1), np.nan, np.float32))
    hole = scene(2)
    hole[:30] = np.nan
    write(a / "2.tiff", hole)
    write(a / "3.tiff", np.minimum(scene(3), 850))
    write(a / "4.tiff", scene(4, 3))
    report = check(data, range="A=-1200..800", near=-1)
    said = {(finding.kind, Path(finding.files[0]).name): finding for finding in report.findings}
    assert said.keys() == {
        ("empty", "0.tiff"), ("empty", "1.tiff"), ("nodata", "2.tiff"), ("saturated", "3.tiff"),
        ("kind", "4.tiff"), ("range", "2.tiff"),
    }  # fmt: skip
    assert said["empty", "1.tiff"].level == "error"
    assert "holds nothing but -1000" in said["empty", "0.tiff"].text
    assert "no data in 31.2% of its pixels" in said["nodata", "2.tiff"].text
    assert "are its highest, 850" in said["saturated", "3.tiff"].text
    assert "holds 3 channels of float32 and most others 1 channel of float32" in said["kind", "4.tiff"].text
    assert "of the values of A lie outside of --range A=-1200..800" in said["range", "2.tiff"].text


def test_a_range_that_depends_on_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="depends on the data"):
        check(dataset(tmp_path / "data"), range="1%..99%")


def test_pairs_of_two_places_on_the_earth_are_an_error(tmp_path: Path) -> None:
    for number in range(2):
        for side, origin in (("A", 500_000), ("B", 500_000 + 70 * number)):
            path = tmp_path / "train" / side / f"{number}.tif"
            write_raster(path, bands(2, side=96) + number, origin=(origin, 5_000_000))
    report = check(tmp_path, near=-1)
    (finding,) = report.errors
    assert (finding.kind, finding.files[0].name) == ("misregistered", "1.tif")
    assert "lies up to 7 pixels from A" in finding.text
    assert "prepare tiles" in finding.text


def test_split_takes_images_of_any_kind(tmp_path: Path) -> None:
    dataset(tmp_path / "data")
    arguments = ["split", tmp_path / "data", "-o", tmp_path / "out", "--val", "0.25", "--test", "0.25"]
    result = CliRunner().invoke(prepare, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "out" / "val" / "B").iterdir())) == 2


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_crops_tiles_and_sizes_keep_numbers_of_any_kind(dtype: str, tmp_path: Path) -> None:
    image = scene(1, 5)
    image = (image + 2000 * (dtype == "uint16")).astype(dtype)
    write(tmp_path / "in" / "x.tiff", image)

    def run(*arguments: Any) -> dict[str, np.ndarray]:
        command, *more = map(str, arguments)
        out = tmp_path / "-".join(["out", command, *more])
        result = CliRunner().invoke(prepare, [command, str(tmp_path / "in"), "-o", str(out), *more])
        assert result.exit_code == 0, result.output
        return {path.stem: read_image(path).pixels for path in out.glob("*.tiff")}

    np.testing.assert_array_equal(run("crop", "--box", "3,5,40,30")["x"], image[5:35, 3:43])
    np.testing.assert_array_equal(run("tile", "--size", 48)["x_y00048_x00080"], image[48:, 80:])
    np.testing.assert_array_equal(
        run("resize", "--size", "64x48", "--filter", "nearest")["x"], image[1::2, 1::2]
    )
    smooth = run("resize", "--size", "64x48")["x"]
    assert smooth.dtype == dtype
    assert smooth.shape == (48, 64, 5)
    assert image.min() <= smooth.min() < smooth.max() <= image.max()
    means = image.reshape(48, 2, 64, 2, 5).mean((1, 3))
    assert np.abs(smooth - means).mean() < 40


def test_missing_values_are_not_smeared(tmp_path: Path) -> None:
    hole = scene(1)
    hole[:9] = np.nan
    write(tmp_path / "in" / "x.tiff", hole)
    arguments = ["resize", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--size", "64"]
    refused = CliRunner().invoke(prepare, arguments)
    assert "pass --filter nearest" in refused.stderr
    assert CliRunner().invoke(prepare, [*arguments, "--filter", "nearest"]).exit_code == 0
    assert np.isnan(read_image(tmp_path / "out" / "x.tiff").pixels[0]).all()


def test_volumes_are_looked_at_in_the_middle(tmp_path: Path) -> None:
    volume = np.full((80, 70, 9), -1000, np.int16)
    volume[:, :, 3:6] = np.random.default_rng(0).integers(-1000, 1000, (80, 70, 3))
    for number in range(2):
        (tmp_path / "train").mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(volume + number, np.eye(4)), tmp_path / "train" / f"{number}.nii.gz")
    report = check(tmp_path, kind="single", near=-1)
    assert report.findings == []
    assert report.sizes == {"80x70": 2}
