"""Training slices of DICOM series and NIfTI volumes, made by pydicom and nibabel."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from click.testing import CliRunner, Result
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGLSLossless, generate_uid
from translatekit_tools.cli.prepare import prepare
from translatekit_tools.prepare.foreground import otsu
from translatekit_tools.prepare.volumes import VolumeFiles, load_volume

from translatekit.errors import TranslatekitError
from translatekit.images import read_image

SHAPE = (20, 24, 12)  # right, front, head
SPACING = (2.0, 1.5, 3.0)
ORIGIN = (-19.0, -17.25, 40.0)
AFFINE = np.diag([*SPACING, 1.0])
AFFINE[:3, 3] = ORIGIN


def run(*arguments: Any) -> Result:
    result = CliRunner().invoke(prepare, [str(argument) for argument in arguments])
    if isinstance(result.exception, TranslatekitError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def body(empty: int = 3) -> np.ndarray:
    """A body of 40 in air of -1000, with a mark of 1200 at the right, front and head of it; some slices are empty."""
    x, y, _ = np.indices(SHAPE, np.float32)
    inside = ((x - 9.5) / 8) ** 2 + ((y - 11.5) / 10) ** 2 < 1
    values = np.where(inside, 40, -1000).astype(np.int16)
    values[14:17, 15:18, 8:] = 1200
    values[:, :, :empty] = -1000
    return values


def write_nifti(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_data_dtype(values.dtype)
    nibabel.save(image, path)
    return path


def write_series(
    folder: Path, values: np.ndarray, *, slope: float = 1, intercept: float = -1024
) -> list[Path]:
    """An axial CT series, feet first, of values (right, front, head) on `AFFINE`."""
    folder.mkdir(parents=True, exist_ok=True)
    series, frame = generate_uid(), generate_uid()
    paths = []
    for index in range(values.shape[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        # Rows run from front to back and columns from the patient's right to the left, as scanners write them.
        plane = values[::-1, ::-1, index].T
        last_right, last_front = (ORIGIN[i] + SPACING[i] * (SHAPE[i] - 1) for i in (0, 1))
        dataset = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        dataset.PatientID, dataset.Modality = "phantom", "CT"
        dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = series, frame
        dataset.ImagePositionPatient = [-last_right, -last_front, ORIGIN[2] + SPACING[2] * index]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing = [SPACING[1], SPACING[0]]
        dataset.SliceThickness = SPACING[2]
        dataset.Rows, dataset.Columns = plane.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = (
            16,
            16,
            15,
            1,
        )
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
        stored = np.rint((plane - intercept) / slope).astype(np.int16)
        dataset.PixelData = stored.tobytes()
        # Names say nothing of the order.
        path = folder / f"{hashlib.md5(str(index).encode()).hexdigest()[:8]}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def slices(folder: Path) -> list[np.ndarray]:
    return [read_image(path).pixels[:, :, 0] for path in sorted(folder.rglob("*.tiff"))]


def test_a_series_and_a_nifti_of_the_same_body_give_the_same_slices(tmp_path: Path) -> None:
    values = body()
    write_series(tmp_path / "ct" / "p1", values)
    write_nifti(tmp_path / "nifti" / "p1.nii.gz", values)
    for kind in ("ct", "nifti"):
        result = json.loads(run("volume", tmp_path / kind, "-o", tmp_path / f"out-{kind}", "--json").stdout)
        assert (result["parts"], result["left_out"]) == (12, 3)
        assert result["values"] == {"A": [-1000.0, 1200.0]}
    dicom, nifti = slices(tmp_path / "out-ct"), slices(tmp_path / "out-nifti")
    assert len(dicom) == 9
    assert dicom[0].dtype == np.int16
    np.testing.assert_array_equal(dicom, nifti)
    # As radiologists look at it: the patient's front at the top, right side on the left.
    rows, columns = np.nonzero(dicom[-1] == 1200)
    assert rows.max() < dicom[-1].shape[0] / 2
    assert columns.max() < dicom[-1].shape[1] / 2


@pytest.mark.parametrize(
    ("axis", "shape"), [("axial", (24, 20)), ("coronal", (12, 20)), ("sagittal", (12, 24))]
)
def test_slices_along_each_axis(axis: str, shape: tuple[int, int], tmp_path: Path) -> None:
    values = np.zeros(SHAPE, np.float32)
    values[-1, -1, -1] = 0.25  # right, front, head
    write_nifti(tmp_path / "a.nii", values)
    run("volume", tmp_path / "a.nii", "-o", tmp_path / "out", "--axis", axis, "--min-content", "0")
    made = slices(tmp_path / "out")
    assert len(made) == SHAPE[["sagittal", "coronal", "axial"].index(axis)]
    assert made[0].shape == shape
    assert made[0].dtype == np.float32
    assert made[-1][0, 0] == 0.25  # the right, or the front, on the left; the head, or the front, at the top
    assert sum(float(plane.sum()) for plane in made) == 0.25


def test_a_volume_stored_in_another_direction_gives_the_same_slices(tmp_path: Path) -> None:
    values = body()
    write_nifti(tmp_path / "a.nii.gz", values)
    turned = nibabel.as_closest_canonical(nibabel.load(tmp_path / "a.nii.gz"))
    turned = turned.as_reoriented(nibabel.orientations.axcodes2ornt("SPL"))
    nibabel.save(turned, tmp_path / "b.nii.gz")
    assert turned.shape != SHAPE
    for name in "ab":
        run("volume", tmp_path / f"{name}.nii.gz", "-o", tmp_path / name)
    np.testing.assert_array_equal(slices(tmp_path / "a"), slices(tmp_path / "b"))


def test_scaled_integers_become_float32_in_their_unit(tmp_path: Path) -> None:
    write_series(tmp_path / "pet", body() * 1.0, slope=0.5, intercept=0.25)
    volume = load_volume(VolumeFiles(tmp_path / "pet", "pet", tuple(sorted((tmp_path / "pet").iterdir()))))
    assert volume.values.dtype == np.float32
    assert volume.unit == "HU"
    np.testing.assert_allclose(volume.values.max(), 1200, atol=0.25)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)


def pair(tmp_path: Path, b_affine: np.ndarray = AFFINE, b: np.ndarray | None = None) -> tuple[Path, Path]:
    for patient in ("p1", "p2"):
        write_nifti(tmp_path / "mr" / f"{patient}_mr.nii.gz", (body() + 1000).astype(np.uint16))
        write_nifti(tmp_path / "ct" / f"{patient}_ct.nii.gz", body() if b is None else b, b_affine)
    return tmp_path / "mr", tmp_path / "ct"


def test_pairs_are_matched_by_name_and_train(tmp_path: Path) -> None:
    from translatekit.datasets.aligned import Aligned
    from translatekit.interfaces import DataOptions

    mr, ct = pair(tmp_path)
    with pytest.raises(TranslatekitError, match="name what differs with --strip"):
        run("volume", mr, ct, "-o", tmp_path / "out")
    run("volume", mr, ct, "-o", tmp_path / "out", "--strip", "_mr", "--strip", "_ct")
    a, b = slices(tmp_path / "out" / "train" / "A"), slices(tmp_path / "out" / "train" / "B")
    assert len(a) == len(b) == 18
    np.testing.assert_array_equal(np.array(a, np.int32) - 1000, b)
    dataset = Aligned(tmp_path / "out", DataOptions(load_size=None, crop_size=16))
    assert len(dataset) == 18


def test_a_pair_of_a_series_and_a_nifti_by_the_folder_of_the_patient(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        write_series(tmp_path / "ct" / patient / "series-7", body())
        write_nifti(tmp_path / "mr" / patient / "t1.nii.gz", body())
    run("volume", tmp_path / "mr", tmp_path / "ct", "-o", tmp_path / "out")
    a, b = slices(tmp_path / "out" / "train" / "A"), slices(tmp_path / "out" / "train" / "B")
    assert len(a) == 18
    np.testing.assert_array_equal(a, b)


def test_volumes_on_two_grids_are_refused_or_resampled(tmp_path: Path) -> None:
    moved = AFFINE.copy()
    moved[0, 3] += 2 * SPACING[0]
    mr, ct = pair(tmp_path, moved)
    strip = ("--strip", "_mr", "--strip", "_ct")
    refused = run("volume", mr, ct, "-o", tmp_path / "out", *strip)
    assert refused.exit_code == 1
    assert "lies up to 4 mm from" in refused.stderr
    assert "--resample linear" in refused.stderr
    assert not list((tmp_path / "out").rglob("*.tiff"))
    assert run("volume", mr, ct, "-o", tmp_path / "out", *strip, "--resample", "linear").exit_code == 0
    (plane, *_) = (read_image(path) for path in sorted((tmp_path / "out" / "train" / "B").iterdir()))
    assert plane.pixels.dtype == np.float32
    # B lies further to the right by two columns: to the left of A's, where its image ends there is no value.
    assert plane.valid is not None
    assert not plane.valid[:, -2:].any()
    assert plane.valid[:, :-2].all()
    np.testing.assert_allclose(plane.pixels[:, :-2, 0], body()[::-1, ::-1, 3].T[:, 2:], atol=1e-3)


def test_class_numbers_are_resampled_to_the_nearest(tmp_path: Path) -> None:
    labels = np.where(body() > 0, 2, 0).astype(np.uint8)[::2, ::2]
    coarse = AFFINE @ np.diag([2, 2, 1, 1])
    mr, ct = pair(tmp_path, coarse, labels)
    strip = ("--strip", "_mr", "--strip", "_ct")
    refused = run("volume", mr, ct, "-o", tmp_path / "out", *strip)
    assert "10x12x12 values of 4x3x3 mm" in refused.stderr
    run("volume", mr, ct, "-o", tmp_path / "out", *strip, "--resample", "nearest")
    made = slices(tmp_path / "out" / "train" / "B")
    assert made[0].dtype == np.uint8
    assert {int(value) for plane in made for value in np.unique(plane)} == {0, 2}


def test_the_body_is_white_in_its_mask(tmp_path: Path) -> None:
    values = body()
    values[8:12, 10:13] = -900  # a cavity belongs to the body
    values[0:2, 0:2] = 300  # and the couch does not
    write_nifti(tmp_path / "a.nii.gz", values)
    run("volume", tmp_path / "a.nii.gz", "-o", tmp_path / "out", "--mask", "body")
    masks = sorted((tmp_path / "out" / "train-masks").glob("*.png"))
    assert len(masks) == len(slices(tmp_path / "out" / "train"))
    mask = read_image(masks[5]).pixels[:, :, 0]
    assert set(np.unique(mask)) == {0, 255}
    assert mask[12, 10] == 255
    assert mask[-1, -1] == mask[0, 0] == 0


def test_a_rerun_makes_what_is_missing_and_other_options_are_not_mixed_in(tmp_path: Path) -> None:
    write_series(tmp_path / "ct" / "p1", body())
    out = tmp_path / "out"
    assert run("volume", tmp_path / "ct", "-o", out).exit_code == 0
    files = sorted(out.rglob("*.tiff"))
    first = {path: path.read_bytes() for path in files}
    stamps = {path: path.stat().st_mtime_ns for path in files}
    files[-1].unlink()
    again = json.loads(run("volume", tmp_path / "ct", "-o", out, "--json").stdout)
    assert again["written"] == [str(files[-1])]
    assert {path: path.read_bytes() for path in files} == first
    assert all(path.stat().st_mtime_ns == stamps[path] for path in files[:-1])
    assert json.loads(run("volume", tmp_path / "ct", "-o", out, "--json").stdout)["written"] == []
    refused = run("volume", tmp_path / "ct", "-o", out, "--every", "2")
    assert "was made of it with other options" in refused.stderr
    assert sorted(out.rglob("*.tiff")) == files
    assert run("volume", tmp_path / "ct", "-o", out, "--every", "2", "--force").exit_code == 0
    assert len(list(out.rglob("*.tiff"))) < len(files)


def test_volumes_of_one_name_do_not_overwrite_each_others_slices(tmp_path: Path) -> None:
    write_series(tmp_path / "ct" / "p1", body())
    write_nifti(tmp_path / "ct" / "p1.nii.gz", body())
    write_nifti(tmp_path / "ct" / "p2.nii.gz", body())
    result = run("volume", tmp_path / "ct", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.count("another file has the same name but for its suffix: rename one") == 2
    assert {path.name[:2] for path in (tmp_path / "out").rglob("*.tiff")} == {"p2"}


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def claim_more(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()  # dim[1] to dim[3]
    path.write_bytes(bytes(data))


def test_hostile_nifti_is_named_in_one_sentence_and_the_rest_goes_on(tmp_path: Path) -> None:
    for name in ("cut.nii", "cut.nii.gz", "good.nii.gz"):
        write_nifti(tmp_path / "a" / name, body())
    truncate(tmp_path / "a" / "cut.nii")
    truncate(tmp_path / "a" / "cut.nii.gz")
    claim_more(write_nifti(tmp_path / "a" / "large.nii", body()))
    (tmp_path / "a" / "text.nii").write_text("no volume")
    write_nifti(tmp_path / "a" / "time.nii", np.zeros((4, 4, 4, 5), np.int16))
    (tmp_path / "a" / "empty.nii.gz").write_bytes(b"")
    result = run("volume", tmp_path / "a", "-o", tmp_path / "out")
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith(str(tmp_path))]
    assert len(lines) == 6
    assert all("Traceback" not in line and len(line) < 400 for line in lines)
    assert any("large.nii cannot be read: its header says (30000, 30000, 30000)" in line for line in lines)
    assert any("holds 5 channels" in line and "not one value at each place" in line for line in lines)
    assert len(slices(tmp_path / "out")) == 9


def test_hostile_dicom_is_named_in_one_sentence(tmp_path: Path) -> None:
    for name in ("cut", "gap", "twice", "mixed", "lying", "missing-codec", "good"):
        write_series(tmp_path / "ct" / name, body())
    first = {folder.name: sorted(folder.iterdir())[0] for folder in (tmp_path / "ct").iterdir()}
    truncate(first["cut"])
    by_place = sorted(
        (tmp_path / "ct" / "gap").iterdir(), key=lambda path: pydicom.dcmread(path).ImagePositionPatient[2]
    )
    by_place[5].unlink()
    again = pydicom.dcmread(first["twice"])
    again.save_as(first["twice"].with_name("again.dcm"))
    write_series(tmp_path / "other", body())
    (sorted((tmp_path / "other").iterdir())[0]).rename(tmp_path / "ct" / "mixed" / "other.dcm")
    lying = pydicom.dcmread(first["lying"])
    lying.Rows = 65535
    lying.save_as(first["lying"])
    for path in (tmp_path / "ct" / "missing-codec").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xf7" + b"\0" * 40])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
        dataset.save_as(path)
    result = run("volume", tmp_path / "ct", "-o", tmp_path / "out")
    assert result.exit_code == 1
    said = {}
    for line in result.stderr.splitlines():
        for name in first:
            if line.startswith(str(tmp_path / "ct" / name)):
                said[name] = line
    assert said.keys() == first.keys() - {"good"}
    assert "cut off" in said["cut"] or "damaged" in said["cut"]
    assert "6 mm apart and the others 3 mm: slices are missing" in said["gap"]
    assert "or one twice" in said["twice"]
    assert "holds 2 series; give each a folder of its own" in said["mixed"]
    assert "2 different sizes" in said["lying"]
    if not any(map(find_spec, ("libjpeg", "jpeg_ls"))):  # with a codec, it is damaged
        assert "JPEG-LS" in said["missing-codec"]
        assert "pip install" in said["missing-codec"]
    assert len(slices(tmp_path / "out")) == 9


def test_otsu_parts_two_groups() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(-1000, 20, 5000), rng.normal(40, 60, 2000), [np.nan, 30000]])
    assert -900 < otsu(values) < -150
    assert otsu(np.full(9, 3.0)) == 3.0
