"""DICOM and NIfTI: values in their unit, slices in their order, and back; judged by pydicom and nibabel."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from translatekit.image_spec import ImageSpec
from translatekit.images import (
    UnreadableImageError,
    encode_image,
    fit_image,
    image_from,
    open_image,
    read_header,
    read_image,
    write_volume,
)

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")

CT = ImageSpec(channels=("CT",), meaning="values", dtype="int16").with_range(-1024, 3071, unit="HU")


def sample(name: str) -> Path:
    """One of the files that come with pydicom."""
    return Path(pydicom.data.get_testdata_file(name, download=False))


# DICOM


def test_ct_is_in_hounsfield_units() -> None:
    path = sample("CT_small.dcm")
    image = read_image(path)
    dataset = pydicom.dcmread(path)
    assert (image.spec.channels, image.spec.unit, image.white) == (("CT",), "HU", None)
    wanted = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    np.testing.assert_array_equal(image.pixels[:, :, 0], wanted)
    assert image.pixels.min() < -500
    assert read_header(path).spec == image.spec
    assert read_image(path.read_bytes()).spec == image.spec  # told by how it starts


def test_what_is_written_is_a_derived_image_of_the_same_patient() -> None:
    source = read_image(sample("CT_small.dcm"))
    values = fit_image(source, CT, "x") + 100.4
    data = encode_image(image_from(values, CT, source), ".dcm")
    was, now = pydicom.dcmread(sample("CT_small.dcm")), pydicom.dcmread(io.BytesIO(data))
    for tag in (
        "PatientName",
        "PatientID",
        "StudyInstanceUID",
        "FrameOfReferenceUID",
        "ImagePositionPatient",
    ):
        assert now[tag] == was[tag], tag
    for tag in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert now[tag].value != was[tag].value, tag
    assert now.file_meta.MediaStorageSOPInstanceUID == now.SOPInstanceUID
    assert list(now.ImageType[:2]) == ["DERIVED", "SECONDARY"]
    assert now.SourceImageSequence[0].ReferencedSOPInstanceUID == was.SOPInstanceUID
    assert (now.RescaleSlope, now.RescaleIntercept, now.RescaleType) == (1, 0, "HU")
    made = pydicom.pixels.apply_rescale(now.pixel_array, now)
    np.testing.assert_array_equal(made, np.rint(values[:, :, 0]))
    np.testing.assert_array_equal(read_image(data, suffix=".dcm").pixels, np.rint(values))


def write_series(folder: Path, count: int = 5) -> list[Any]:
    """A series whose names are in another order than its positions."""
    folder.mkdir(parents=True)
    written = []
    for number in range(count):
        dataset = pydicom.dcmread(sample("CT_small.dcm"))
        dataset.InstanceNumber = count - number
        dataset.ImagePositionPatient = [0.0, 0.0, 2.5 * number]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.SOPInstanceUID = f"1.2.3.{number + 1}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.PixelData = (dataset.pixel_array + number).astype(np.int16).tobytes()
        dataset.save_as(folder / f"{'badce'[number]}.dcm")
        written.append(dataset)
    (folder / "notes.txt").write_text("no image")
    return written


def test_a_folder_is_a_volume_sorted_by_position(tmp_path: Path) -> None:
    written = write_series(tmp_path / "series")
    with open_image(tmp_path / "series") as image:
        header = image.header()
        assert header.pages == 5
        assert header.spacing is not None
        assert header.spacing[0] == 2.5
        slices = [image.read(page) for page in range(5)]
    for number, (read, dataset) in enumerate(zip(slices, written, strict=True)):
        np.testing.assert_array_equal(read.pixels[:, :, 0], dataset.pixel_array - 1024, err_msg=str(number))
    out = tmp_path / "out"
    write_volume(
        out, (image_from(s.pixels.astype(np.float32), CT, s) for s in slices), pages=5, suffix=".dcm"
    )
    assert sorted(path.name for path in out.iterdir()) == [f"{letter}.dcm" for letter in "abcde"]
    datasets = [pydicom.dcmread(path) for path in sorted(out.iterdir())]
    assert len({dataset.SeriesInstanceUID for dataset in datasets}) == 1
    assert len({dataset.SOPInstanceUID for dataset in datasets}) == 5
    with open_image(out) as again:
        for page, wanted in enumerate(slices):
            np.testing.assert_array_equal(again.read(page).pixels, wanted.pixels)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "AIL", "SPR"])
def test_a_volume_is_sliced_along_any_axis_of_the_body(tmp_path: Path, codes: str) -> None:
    """However its axes are stored: by where they go in the body, and written back as they were, bit by bit."""
    body = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)  # right, front, head
    ornt = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(codes)
    )
    stored = nibabel.orientations.apply_orientation(body, ornt)
    affine = np.array([[0.7, 0.02, 0, -30], [-0.02, 0.9, 0, 12], [0, 0, 2.5, 7], [0, 0, 0, 1]])
    affine = affine @ nibabel.orientations.inv_ornt_aff(ornt, body.shape)
    path = tmp_path / "body.nii.gz"
    nibabel.save(nibabel.Nifti1Image(stored, affine), path)
    wanted = {  # the head or the front at the top; right on the left, or the front
        "axial": [body[::-1, ::-1, z].T for z in range(6)],
        "coronal": [body[::-1, y, ::-1].T for y in range(5)],
        "sagittal": [body[x, ::-1, ::-1].T for x in range(4)],
    }
    for axis, planes in wanted.items():
        with open_image(path, axis=axis) as volume:  # type: ignore[arg-type]
            header = volume.header()
            assert (header.pages, header.height, header.width) == (len(planes), *planes[0].shape)
            slices = [volume.read(page) for page in range(header.pages)]
        for image, plane in zip(slices, planes, strict=True):
            np.testing.assert_array_equal(image.pixels[:, :, 0], plane)
        out = tmp_path / f"{axis}.nii.gz"
        write_volume(out, iter(slices), pages=len(slices), suffix=".nii.gz")
        again = nibabel.load(out)
        np.testing.assert_array_equal(np.asarray(again.dataobj), stored)
        np.testing.assert_array_equal(again.affine, nibabel.load(path).affine)
        if axis == "coronal":
            assert header.spacing == pytest.approx((0.9, 2.5, 0.7), rel=1e-2)


def test_a_series_of_files_is_sliced_as_it_is(tmp_path: Path) -> None:
    write_series(tmp_path / "series")
    with (
        pytest.raises(UnreadableImageError, match="pass --slice-axis axial"),
        open_image(tmp_path / "series", axis="coronal"),
    ):
        pass


def test_two_series_in_a_folder_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "series", 2)
    other = pydicom.dcmread(sample("CT_small.dcm"))
    other.SeriesInstanceUID = "1.2.3.4.5"
    other.save_as(tmp_path / "series" / "z.dcm")
    with pytest.raises(
        UnreadableImageError, match=r"series cannot be read: it holds 2 series; give each a folder"
    ):
        read_header(tmp_path / "series")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableImageError, match="without DICOM images"):
        read_header(tmp_path / "empty")


def test_padding_is_no_value(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(sample("CT_small.dcm"))
    stored = dataset.pixel_array.copy()
    stored[:5] = -2000
    dataset.PixelData = stored.tobytes()
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    dataset.save_as(tmp_path / "x.dcm")
    image = read_image(tmp_path / "x.dcm")
    assert image.valid is not None
    assert not image.valid[:5].any()
    assert image.valid[5:].all()
    fitted = fit_image(image, CT, "x")
    assert (fitted[:5] == -1024).all()
    again = read_image(encode_image(image_from(fitted, CT, image), ".dcm"), suffix=".dcm")
    np.testing.assert_array_equal(again.valid, image.valid)


def test_padding_may_be_a_range(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(sample("CT_small.dcm"))
    stored = dataset.pixel_array.copy()
    stored[:5], stored[5:7] = -2000, -1990
    dataset.PixelData = stored.tobytes()
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    dataset.add_new("PixelPaddingRangeLimit", "SS", -1980)
    dataset.save_as(tmp_path / "x.dcm")
    valid = read_image(tmp_path / "x.dcm").valid
    assert valid is not None
    np.testing.assert_array_equal(valid, np.repeat(np.arange(128)[:, None] >= 7, 128, axis=1))


def test_a_dicom_file_of_another_size_lies_over_the_same_body() -> None:
    source = read_image(sample("CT_small.dcm"))
    rows, columns = 64, 256
    data = encode_image(image_from(np.zeros((rows, columns, 1), np.float32), CT, source), ".dcm")

    def corners(dataset: Any) -> np.ndarray:
        """The first and the last, half a pixel beyond the middles of pixels, in mm."""
        to_row, to_column = map(float, dataset.PixelSpacing)
        across, down = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
        ends = ((-0.5, -0.5), (dataset.Rows - 0.5, dataset.Columns - 0.5))
        first = np.array(dataset.ImagePositionPatient, float)
        return np.stack([first + row * to_row * down + column * to_column * across for row, column in ends])

    was, now = pydicom.dcmread(sample("CT_small.dcm")), pydicom.dcmread(io.BytesIO(data))
    assert (now.Rows, now.Columns) == (rows, columns)
    np.testing.assert_allclose(corners(now), corners(was), atol=1e-4)


def test_the_frames_of_a_file_become_slices_in_their_order(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(sample("CT_small.dcm"))
    stored = dataset.pixel_array
    dataset.NumberOfFrames, dataset.PixelData = 3, np.stack([stored, stored + 1, stored + 2]).tobytes()
    dataset.save_as(tmp_path / "scan.dcm")
    with open_image(tmp_path / "scan.dcm") as volume:
        slices = [volume.read(page) for page in range(volume.header().pages)]
    write_volume(tmp_path / "out", slices, pages=len(slices), suffix=".dcm")
    assert len(slices) == 3
    with open_image(tmp_path / "out") as volume:
        for page, was in enumerate(slices):
            np.testing.assert_allclose(volume.read(page).pixels, was.pixels, atol=0.1)  # of steps of 1


def test_fractions_are_kept_on_steps_of_their_own(tmp_path: Path) -> None:
    source = read_image(sample("MR_small.dcm"))
    spec = ImageSpec(channels=("MR",), meaning="values", dtype="float32").with_range(0, 1)
    values = np.random.default_rng(0).normal(0, 1, source.pixels.shape).astype(np.float32)
    again = read_image(encode_image(image_from(values, spec, source), ".dcm"), suffix=".dcm")
    assert again.pixels.dtype == np.float32
    np.testing.assert_allclose(again.pixels, values, rtol=0, atol=np.ptp(values) / 65535)


@pytest.mark.parametrize(
    "name",
    ["JPEG2000.dcm", "MR_small_RLE.dcm", "JPEG-LL.dcm", "US1_J2KR.dcm", "examples_rgb_color.dcm",
     "examples_palette.dcm", "SC_rgb_jpeg_dcmtk.dcm", "emri_small.dcm", "MR_small_bigendian.dcm"],
)  # fmt: skip
def test_real_files_of_every_kind_are_read_as_pydicom_reads_them(name: str) -> None:
    try:
        path = sample(name)
    except TypeError:
        pytest.skip(f"{name} does not come with pydicom")
    with open_image(path) as image:
        header, read = image.header(), image.read()
        assert header.spec == read.spec
        assert (header.height, header.width) == read.pixels.shape[:2]
        dataset = pydicom.dcmread(path)
        assert header.pages == int(dataset.get("NumberOfFrames", 1))
        if read.spec.count == 1:
            wanted = pydicom.pixels.pixel_array(dataset, index=0 if header.pages > 1 else None)
            if "RescaleSlope" in dataset:
                wanted = wanted * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
            np.testing.assert_array_equal(read.pixels[:, :, 0], wanted)


def test_without_its_decoder_a_compressed_file_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Missing:
        is_available = False

    monkeypatch.setattr(pydicom.pixels, "get_decoder", lambda syntax: Missing)
    with pytest.raises(UnreadableImageError, match=r"compressed as JPEG 2000.*pip install pylibjpeg "):
        read_image(sample("JPEG2000.dcm"))


def test_hostile_dicom_is_refused(tmp_path: Path) -> None:
    def saved(**tags: Any) -> Path:
        dataset = pydicom.dcmread(sample("CT_small.dcm"))
        for name, value in tags.items():
            setattr(dataset, name, value)
        dataset.add_new((0x0099, 0x0010), "LO", "HOSTILE")
        dataset.add_new((0x0099, 0x1001), "UN", b"\xff" * 5000)
        dataset.save_as(tmp_path / "x.dcm")
        return tmp_path / "x.dcm"

    read_image(saved())  # private tags harm nothing
    for tags, reason in (
        ({"Rows": 60000}, "damaged"),
        ({"Rows": 65535, "Columns": 65535}, "pixels"),
        ({"NumberOfFrames": "4000000"}, "damaged"),
        ({"RescaleSlope": "0"}, "rescale slope"),
        ({"Rows": 0}, "no image"),
        ({"BitsAllocated": 7}, "damaged"),
    ):
        with pytest.raises(UnreadableImageError, match=reason) as error:
            read_image(saved(**tags))
        assert "\n" not in str(error.value)
    data = sample("CT_small.dcm").read_bytes()
    for part in range(1, 20):
        with pytest.raises(UnreadableImageError):
            read_image(data[: len(data) * part // 20], suffix=".dcm")


# NIfTI


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PSR", "IRA"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_volume_comes_back_whichever_way_it_lies(tmp_path: Path, codes: str, suffix: str) -> None:
    values = np.random.default_rng(0).integers(-1000, 1000, (7, 8, 9), np.int16)
    ornt = nibabel.orientations.axcodes2ornt(codes)
    affine = np.zeros((4, 4))
    for axis, (world, sign) in enumerate(ornt):
        affine[int(world), axis] = sign * (axis + 0.5)
    affine[:, 3] = (10, -20, 30, 1)
    path = tmp_path / f"in{suffix}"
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    canonical = np.asanyarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj)  # RAS
    with open_image(path) as image:
        header = image.header()
        slices = [image.read(page) for page in range(header.pages)]
    for page, read in enumerate(slices):
        assert read.pixels.dtype == np.int16
        np.testing.assert_array_equal(read.pixels[:, :, 0], canonical[::-1, ::-1, page].T)
    out = tmp_path / f"out{suffix}"
    spec = ImageSpec(channels=("a",), meaning="values", dtype="float32").with_range(0, 1)
    made = (image_from(read.pixels.astype(np.float32) + 0.5, spec, read) for read in slices)
    write_volume(out, made, pages=len(slices))
    again = nibabel.load(out)
    np.testing.assert_array_equal(np.asanyarray(again.dataobj), values + np.float32(0.5))
    np.testing.assert_array_equal(again.affine, affine)
    assert again.get_data_dtype() == np.float32
    spacing = sorted((0.5, 1.5, 2.5))
    assert header.spacing is not None
    assert sorted(header.spacing) == spacing


def test_scaled_volumes_are_in_their_unit_and_a_fourth_axis_is_channels(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(6 * 5 * 4 * 3, dtype=np.int16).reshape(6, 5, 4, 3), np.eye(4))
    image.header.set_slope_inter(0.5, -10)
    nibabel.save(image, tmp_path / "x.nii.gz")
    stored = nibabel.load(tmp_path / "x.nii.gz")
    wanted = stored.get_fdata()[::-1, ::-1]
    read = read_image(tmp_path / "x.nii.gz", page=2)
    assert read.spec.count == 3
    np.testing.assert_allclose(read.pixels, wanted[:, :, 2].swapaxes(0, 1), rtol=1e-6)


def test_a_result_of_another_size_lies_over_the_same_body(tmp_path: Path) -> None:
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((8, 8, 4), np.int16), np.diag([2.0, 2, 3, 1])), tmp_path / "x.nii"
    )
    spec = ImageSpec(channels=("a",), meaning="values", dtype="int16").with_range(0, 1)
    with open_image(tmp_path / "x.nii") as image:
        made = [image_from(np.zeros((16, 16, 1), np.float32), spec, image.read(page)) for page in range(4)]
    write_volume(tmp_path / "y.nii", made, pages=4)
    was, now = nibabel.load(tmp_path / "x.nii"), nibabel.load(tmp_path / "y.nii")
    assert nibabel.affines.voxel_sizes(now.affine).tolist() == [1, 1, 3]
    # Two outer corners, half a voxel beyond the middles of the first and the last; axes may be turned round.
    before, after = (
        np.sort([image.affine @ [*(end * np.array(image.shape) - 0.5), 1] for end in (0, 1)], axis=0)
        for image in (was, now)
    )
    np.testing.assert_allclose(after, before)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_long_extensions_of_a_header_are_read_past_and_kept(tmp_path: Path, suffix: str) -> None:
    values = np.random.default_rng(0).integers(-1000, 1000, (7, 8, 9), np.int16)
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("afni", b"<AFNI_attributes/>" * 300))
    path, out = tmp_path / f"x{suffix}", tmp_path / f"y{suffix}"
    nibabel.save(image, path)
    with open_image(path) as volume:
        write_volume(out, (volume.read(page) for page in range(9)), pages=9)
    again = nibabel.load(out)
    np.testing.assert_array_equal(np.asanyarray(again.dataobj), values)
    assert [one.get_content() for one in again.header.extensions] == [b"<AFNI_attributes/>" * 300]


def test_hostile_nifti_is_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 4), np.int16), np.eye(4)), tmp_path / "x.nii")
    data = bytearray((tmp_path / "x.nii").read_bytes())
    for part in (10, 200, 347, 360, len(data) - 5):
        with pytest.raises(UnreadableImageError):
            read_image(bytes(data[:part]), suffix=".nii")
    for dims in ((3, 30000, 30000, 30000), (3, -1, 8, 4), (0, 0, 0, 0)):
        lying = bytearray(data)
        lying[40 : 40 + 2 * len(dims)] = np.array(dims, "<i2").tobytes()
        with pytest.raises(UnreadableImageError) as error:
            read_image(bytes(lying), suffix=".nii")
        assert "\n" not in str(error.value)
