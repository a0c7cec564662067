"""Volumes are translated slice by slice, and are written as they came."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from translatekit_tools.bulk import translate

from translatekit.errors import DataError, OptionError
from translatekit.image_spec import RGB, ImageSpec
from translatekit.images import read_image
from translatekit.images.formats import open_image
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import make_generator

RNG = np.random.default_rng(0)
CT = ImageSpec(channels=("CT",), meaning="values", dtype="int16").with_range(-1024, 3071, unit="HU")
SIDE, PAGES = 16, 5
SMALL = {
    "generator": "resnet",
    "generator_options": {"width": 4, "blocks": 1},
    "discriminator_options": {"width": 4, "layers": 1},
    "load_size": SIDE,
    "crop_size": SIDE,
}


class MiddleOf:
    """Gives back the middle one of the slices that it takes, and remembers what it was given."""

    device = "cpu"

    def __init__(self, slices: int = 1) -> None:
        names = tuple(f"CT {offset:+d}" for offset in range(-(slices // 2), slices // 2 + 1))
        taken = CT if slices == 1 else ImageSpec(**{**_fields(CT), "channels": names, "slices": slices})
        self.info = ModelInfo(method="test", generator="none", input=taken, output=CT, size_multiple=8)
        self.given: list[np.ndarray] = []
        self._middle = slices // 2

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.given += list(batch)
        return batch[..., self._middle : self._middle + 1]


def _fields(spec: ImageSpec) -> dict[str, object]:
    return {name: getattr(spec, name) for name in spec.__slots__}


def scan(pages: int = PAGES) -> np.ndarray:
    return RNG.integers(-1000, 3000, (pages, SIDE, SIDE)).astype(np.int16)


def write_nifti(path: Path, pixels: np.ndarray) -> np.ndarray:
    nibabel = pytest.importorskip("nibabel")
    affine = np.diag([0.7, 0.8, 2.5, 1.0])
    nibabel.save(nibabel.Nifti1Image(pixels.transpose(2, 1, 0), affine), path)
    return affine


def pixels_of(path: Path) -> np.ndarray:
    with open_image(path) as volume:
        return np.stack([volume.read(page).pixels[:, :, 0] for page in range(volume.header().pages)])


def test_a_nifti_volume_stays_one_with_its_place_in_space(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    pixels = scan()
    affine = write_nifti(tmp_path / "patient.nii.gz", pixels)
    summary = translate(tmp_path / "patient.nii.gz", MiddleOf(), tmp_path / "out")
    assert not summary.failed
    (made,) = summary.outputs
    assert made.name == "patient.nii.gz"
    assert np.array_equal(pixels_of(made), pixels_of(tmp_path / "patient.nii.gz"))
    assert np.allclose(nibabel.load(made).affine, affine)


def test_a_volume_is_translated_in_the_slices_that_the_model_was_trained_on(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    pixels = scan()[:, :, :8]  # PAGES slices of SIDE x 8 voxels
    affine = write_nifti(tmp_path / "patient.nii.gz", pixels)
    model = MiddleOf()
    model.info = replace(model.info, input=replace(CT, slice_axis="sagittal"))
    told: list[tuple[int, int, str]] = []

    class Listener:
        def __call__(self, result: object) -> None:
            pass

        def frames(self, done: int, total: int, unit: str = "frame") -> None:
            told.append((done, total, unit))

    for axis, count in ((None, 8), ("coronal", SIDE), ("axial", PAGES)):
        told.clear()
        out = tmp_path / f"out-{axis}"
        summary = translate(tmp_path / "patient.nii.gz", model, out, slice_axis=axis, progress=Listener())
        assert not summary.failed
        assert told == [(page, count, "slice") for page in range(1, count + 1)]
        made = nibabel.load(out / "patient.nii.gz")
        assert np.array_equal(np.asarray(made.dataobj), pixels.transpose(2, 1, 0))
        assert np.allclose(made.affine, affine)


@pytest.mark.slow
def test_slices_of_another_axis_are_trained_on_and_evaluated(tmp_path: Path) -> None:
    import translatekit

    for split, side in ((split, side) for split in ("train", "val") for side in "AB"):
        (tmp_path / "data" / split / side).mkdir(parents=True)
        write_nifti(tmp_path / "data" / split / side / "patient.nii.gz", scan(6))
    run = translatekit.train(
        "pix2pix",
        tmp_path / "data",
        **SMALL,
        max_steps=2,
        precision="fp32",
        range="-1000..3000",
        slices=3,
        slice_axis="coronal",
        output=str(tmp_path / "run"),
    )
    info = translatekit.read_info(run)
    assert (info.input.slice_axis, info.input.slices) == ("coronal", 3)
    assert translatekit.evaluate(run, metrics=("l1",)).images == SIDE  # coronal ones; 6 are axial
    summary = translatekit.translate(
        tmp_path / "data" / "val" / "A" / "patient.nii.gz", run, tmp_path / "out"
    )
    assert not summary.failed
    write_tiffs(tmp_path / "flat")
    with pytest.raises(OptionError, match="--slice-axis coronal is for NIfTI volumes"):
        translatekit.train("pix2pix", tmp_path / "flat", slice_axis="coronal", output=str(tmp_path / "x"))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pix2pix", "cyclegan"])
def test_pages_that_are_trained_on_as_slices_are_evaluated_as_such(tmp_path: Path, method: str) -> None:
    import translatekit

    for split, side in ((split, side) for split in ("train", "val") for side in "AB"):
        (tmp_path / "data" / split / side).mkdir(parents=True)
        pages = RNG.integers(0, 256, (PAGES, SIDE, SIDE, 3), np.uint8)
        tifffile.imwrite(tmp_path / "data" / split / side / "stack.tif", pages, photometric="rgb")
    run = translatekit.train(
        method,
        tmp_path / "data",
        **SMALL,
        max_steps=1,
        precision="fp32",
        slices=1,
        output=str(tmp_path / "run"),
    )
    info = translatekit.read_info(run)
    assert (info.input, info.output) == (RGB, RGB)
    assert translatekit.evaluate(run, tmp_path / "data", features="own").images == PAGES


@pytest.mark.slow
def test_unpaired_volumes_are_translated_by_the_middle_of_the_slices_that_are_made(tmp_path: Path) -> None:
    """The cycle needs as many slices out as in; what is deployed gives the middle one."""
    import timm
    from safetensors.torch import save_file

    import translatekit

    weights = tmp_path / "resnet10t.safetensors"
    save_file(timm.create_model("resnet10t").state_dict(), weights)
    features = f"resnet10t,path={weights}"
    for split, side in ((split, side) for split in ("train", "val") for side in "AB"):
        (tmp_path / "data" / f"{split}{side}").mkdir(parents=True)
        write_nifti(tmp_path / "data" / f"{split}{side}" / "patient.nii.gz", scan(4))
    run = translatekit.train(
        "cyclegan",
        tmp_path / "data",
        **SMALL,
        max_steps=1,
        precision="fp32",
        range="-1000..3000",
        unit="HU",
        slices=3,
        best_by="fid",
        features=features,
        output=str(tmp_path / "run"),
    )
    assert "fid" in translatekit.read_info(run).metrics
    assert (run / "samples").is_dir()
    info = translatekit.read_info(run)
    assert (info.input.slices, info.input.count, info.in_channels) == (3, 3, 3)
    assert (info.output.slices, info.output.network_slices, info.output.count, info.out_channels) == (
        1,
        3,
        1,
        3,
    )
    compiled = tmp_path / "run.onnx"
    translatekit.compile(run, compiled, precision="fp32")
    volume, made = tmp_path / "data" / "valA" / "patient.nii.gz", {}
    for model in (run, compiled):
        summary = translatekit.translate(volume, model, tmp_path / f"out-{model.stem}", precision="fp32")
        assert not summary.failed
        made[model] = pixels_of(summary.outputs[0]).astype(float)
        assert made[model].shape == (4, SIDE, SIDE)
    assert np.abs(made[run] - made[compiled]).max() <= 1  # HU
    network, _ = translatekit.load_network(run)
    around = pixels_of(volume)[[0, 1, 2]].astype(np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy((around + 1000) / 2000 - 1).clamp(-1, 1)[None])[0, 1]
    assert np.abs(made[run][1] - ((wanted.numpy() + 1) * 2000 - 1000)).max() <= 1
    assert translatekit.evaluate(run, metrics=("fid",), features=features).images == 4
    with pytest.raises(OptionError, match="3 neighbouring slices"):
        translatekit.evaluate(run, metrics=("fid",), features=features, discriminator=True)


@pytest.mark.parametrize("method", ["pix2pix", "cyclegan"])
def test_images_without_neighbours_take_no_slices(tmp_path: Path, method: str) -> None:
    import translatekit

    for name in ("train", "trainA", "trainB"):
        (tmp_path / name).mkdir()
        tifffile.imwrite(
            tmp_path / name / "0.tif", np.arange(SIDE * SIDE * 2, dtype=np.uint8).reshape(SIDE, -1)
        )
    data = tmp_path / "train" if method == "pix2pix" else tmp_path
    with pytest.raises(DataError, match="has no neighbours: leave"):
        translatekit.train(method, data, slices=3, output=str(tmp_path / "x"))


def write_tiffs(root: Path) -> None:
    for side in "AB":
        (root / "train" / side).mkdir(parents=True)
        tifffile.imwrite(root / "train" / side / "0.tif", np.zeros((SIDE, SIDE), np.uint8))


def test_neighbouring_slices_are_the_models_channels(tmp_path: Path) -> None:
    pixels = scan()
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack")
    model = MiddleOf(3)
    summary = translate(tmp_path / "a.tif", model, tmp_path / "out")
    assert not summary.failed
    around = [[max(page - 1, 0), page, min(page + 1, PAGES - 1)] for page in range(PAGES)]
    for given, near in zip(model.given, around, strict=True):
        assert np.array_equal(given, pixels[near].transpose(1, 2, 0))
    assert np.array_equal(pixels_of(summary.outputs[0]), pixels)


def test_one_image_has_no_neighbours(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", scan(1)[0], photometric="minisblack")
    ((_, reason),) = translate(tmp_path / "a.tif", MiddleOf(3), tmp_path / "out").failed
    assert "3 neighbouring slices of a volume: give it the whole volume" in reason


def write_series(folder: Path, pixels: np.ndarray) -> None:
    """A CT series as scanners write it, its files in no order."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(parents=True)
    series, study = generate_uid(), generate_uid()
    for place, page in enumerate(pixels):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = series, study, "CT"
        data.PatientName, data.PatientID = "A^B", "7"
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 2.5 * place], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness, data.InstanceNumber = [0.8, 0.7], 2.5, place + 1
        data.Rows, data.Columns = page.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 0
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.PixelData = (page.astype(np.int32) + 1024).astype(np.uint16).tobytes()
        data.save_as(folder / f"{(place * 7) % 31:02}.dcm", enforce_file_format=True)


def test_a_study_is_mirrored_series_by_series(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    scans = {"patient1/ct": scan(), "patient2/ct": scan(3)}
    for name, pixels in scans.items():
        write_series(tmp_path / "study" / name, pixels)
    summary = translate(tmp_path / "study", MiddleOf(), tmp_path / "out")
    assert not summary.failed
    assert {path.relative_to(tmp_path / "out").as_posix() for path in summary.outputs} == set(scans)
    for name, pixels in scans.items():
        made = tmp_path / "out" / name
        assert np.array_equal(pixels_of(made), pixels)
        old = pydicom.dcmread(next((tmp_path / "study" / name).iterdir()))
        new = pydicom.dcmread(next(made.iterdir()))
        assert new.PatientID == old.PatientID
        assert new.SeriesInstanceUID != old.SeriesInstanceUID
        assert "DERIVED" in new.ImageType


def test_a_series_is_done_or_not_done(tmp_path: Path) -> None:
    write_series(tmp_path / "study" / "a", scan())
    write_series(tmp_path / "study" / "b", scan())
    model = tmp_path / "model.safetensors"
    network = make_generator(
        "resnet", {"width": 2, "blocks": 1, "norm": "none"}, in_channels=1, out_channels=1
    )
    info = ModelInfo(
        method="test",
        generator="resnet",
        generator_options=dict(network.arguments),
        input=CT,
        output=CT,
        size_multiple=int(network.size_multiple),
    )
    save_model(model, network.state_dict(), info)
    run = partial(translate, tmp_path / "study", model, tmp_path / "out")
    assert run().translated == 2
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.dcm")}
    assert run().skipped == 2
    (tmp_path / "study" / "b" / "00.dcm").unlink()
    again = run()
    assert (again.translated, again.skipped) == (1, 1)
    assert len(list((tmp_path / "out" / "b").iterdir())) == PAGES - 1
    assert {
        path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "a").iterdir()
    }.items() <= before.items()


def test_a_series_cut_short_is_named_and_nothing_of_it_is_written(tmp_path: Path) -> None:
    write_series(tmp_path / "study" / "ct", scan())
    victim = sorted((tmp_path / "study" / "ct").iterdir())[2]
    victim.write_bytes(victim.read_bytes()[:600])
    ((source, reason),) = translate(tmp_path / "study", MiddleOf(), tmp_path / "out").failed
    assert Path(source) == tmp_path / "study" / "ct"
    assert f"{victim.name} in it is cut off" in reason
    assert not list((tmp_path / "out").rglob("*.dcm"))


def test_radiographs_of_one_folder_are_images_of_their_own(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(3):
        dataset = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm", download=False))
        dataset.SeriesInstanceUID = f"1.2.3.{number + 1}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{number + 1}"
        dataset.save_as(folder / f"{number}.dcm")
    summary = translate(folder, MiddleOf(), tmp_path / "out")
    assert not summary.failed
    assert sorted(path.name for path in summary.outputs) == ["0.dcm", "1.dcm", "2.dcm"]
    assert all(path.is_file() for path in summary.outputs)
    assert np.array_equal(read_image(summary.outputs[0]).pixels, read_image(folder / "0.dcm").pixels)


def test_slices_that_are_read_alone_are_images(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", scan())
    file = sorted((tmp_path / "ct").iterdir())[0]
    (made,) = translate(file, MiddleOf(), tmp_path / "out").outputs
    assert np.array_equal(read_image(made).pixels, read_image(file).pixels)
