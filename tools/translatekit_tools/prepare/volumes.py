"""Volumes as arrays in real units: NIfTI files, and DICOM series in folders of their own."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import DataError
from translatekit.images.image import kept
from translatekit.requirements import of_extra, require

NIFTI_SUFFIXES = (".nii", ".nii.gz")

_DENSEST = 1032  # bytes that gzip makes of one, at most
_UNEVEN = 0.01  # of the distance of two slices
_ACROSS = 1e-3  # between the directions of two slices


@dataclass(frozen=True, slots=True)
class VolumeFiles:
    """Where a volume lies.

    Attributes:
        path: a NIfTI file, or a folder that holds a DICOM series.
        name: its path below the folder that was given, without the suffix, with ``/``.
        files: the NIfTI file, or the files of the series.
    """

    path: Path
    name: str
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume in real units.

    Attributes:
        values: (X, Y, Z), uint8, uint16, int16 or float32; NaN where there is no value.
        affine: (4, 4): from indices to millimetres to the patient's right, front and head (RAS+).
        unit: of the values, such as ``HU``; empty where the file does not say.
    """

    values: np.ndarray
    affine: np.ndarray
    unit: str

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres from one value to the next along each axis."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(x), float(y), float(z)


# Finding


def find_volumes(place: Path) -> list[VolumeFiles]:
    """The volumes of a folder and its subfolders, or the one that is given, in the order of their names.

    Raises:
        DataError: there are none.
    """
    place = place.expanduser()
    if not place.exists():
        raise DataError(f"there is no file or folder {place}: check the path")
    if place.is_file():
        return [VolumeFiles(place, _stem(place.name), (place,))]
    found: list[VolumeFiles] = []
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = sorted(name for name in names if not name.startswith("."))
        here = Path(folder)
        relative = here.relative_to(place)
        niftis = [name for name in names if name.lower().endswith(NIFTI_SUFFIXES)]
        found += [
            VolumeFiles(here / name, (relative / _stem(name)).as_posix(), (here / name,)) for name in niftis
        ]
        dicoms = tuple(here / name for name in names if name not in niftis and _is_dicom(here / name))
        if dicoms:
            found.append(VolumeFiles(here, place.name if here == place else relative.as_posix(), dicoms))
    if not found:
        raise DataError(f"{place} holds neither NIfTI files (.nii, .nii.gz) nor DICOM series: check the path")
    return sorted(found, key=lambda volume: volume.name)


def _stem(name: str) -> str:
    suffix = next((end for end in (".nii.gz", ".nii") if name.lower().endswith(end)), Path(name).suffix)
    return name.removesuffix(name[len(name) - len(suffix) :]) if suffix else name


def _is_dicom(path: Path) -> bool:
    if path.name.upper() == "DICOMDIR":
        return False
    if path.suffix.lower() in (".dcm", ".dicom", ".ima"):
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


# Reading


def load_volume(volume: VolumeFiles) -> Volume:
    """Read a volume, its axes in the order and direction that come nearest to right, front and head.

    Raises:
        DataError: it is damaged, cut off or no volume of single numbers.
        PluginError: what reads it is not installed.
    """
    is_nifti = volume.path.is_file() and volume.path.name.lower().endswith(NIFTI_SUFFIXES)
    require(f"reading {volume.path}", of_extra("medical", "nibabel", "pydicom"))
    with _explained(volume.path):
        return _oriented(_load_nifti(volume.path) if is_nifti else _load_series(volume))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn whatever a reader raises into one sentence."""
    try:
        yield
    except DataError:
        raise
    except MemoryError:
        raise DataError(f"{path} does not fit into memory: crop it, or use a larger machine") from None
    except Exception as error:  # readers raise nearly anything on damaged files
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{path} cannot be read: it is damaged or not accessible ({reason}); replace or remove it"
        ) from None


def _oriented(volume: Volume) -> Volume:
    """The same volume with its axes nearest to right, front and head."""
    import nibabel

    if not np.isfinite(volume.affine).all() or abs(np.linalg.det(volume.affine[:3, :3])) < 1e-9:
        raise DataError("its affine maps the volume to less than a volume; mend its header")
    orientation = nibabel.orientations.io_orientation(volume.affine)
    values = nibabel.orientations.apply_orientation(volume.values, orientation)
    affine = volume.affine @ nibabel.orientations.inv_ornt_aff(orientation, volume.values.shape)
    return replace(volume, values=values, affine=affine)


def _load_nifti(path: Path) -> Volume:
    import nibabel

    image: Any = nibabel.load(path)
    shape = tuple(int(side) for side in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 1:
        raise DataError(
            f"{path} has the shape {'x'.join(map(str, image.shape))}, and not one volume of three axes: "
            "split it into volumes"
        )
    stored = image.header.get_data_dtype()
    if stored.kind not in "uif":
        raise DataError(f"{path} holds {stored}, and not single real numbers: convert it to float32")
    needed, there = math.prod(shape) * stored.itemsize, path.stat().st_size
    densest = _DENSEST if path.name.lower().endswith(".gz") else 1
    if needed > there * densest:
        raise DataError(
            f"{path} claims {'x'.join(map(str, shape))} values, which are more than its {there:,} bytes hold: "
            "it is cut off or damaged; replace it"
        )
    raw = np.asanyarray(image.dataobj.get_unscaled()).reshape(shape)
    return Volume(_scaled(raw, image.dataobj.slope, image.dataobj.inter), np.asarray(image.affine), "")


def _scaled(raw: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Stored numbers in their unit, as integers where these hold them exactly."""
    if raw.dtype.kind in "ui" and slope == 1 and float(intercept).is_integer():
        return kept(raw if intercept == 0 else raw.astype(np.int64) + int(intercept))
    if slope == 1 and intercept == 0:
        return kept(raw)
    return np.asarray(raw * np.float64(slope) + np.float64(intercept), np.float32)


def _load_series(volume: VolumeFiles) -> Volume:
    import pydicom

    headers: list[tuple[Path, Any]] = []
    for path in volume.files:
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"{path} cannot be read: it is damaged ({reason}); replace or remove it"
            ) from None
        if "Rows" in header:  # what has none, such as a report, is no image
            headers.append((path, header))
    if not headers:
        raise DataError(f"{volume.path} holds no DICOM images: check the folder")
    _check_one_series(volume.path, headers)
    ordered, affine = _placed(volume.path, headers)
    first = ordered[0][1]
    slices = [_slice_of(path) for path, _ in ordered]
    dtype = np.result_type(*slices) if len({values.dtype for values in slices}) > 1 else slices[0].dtype
    if dtype not in (np.uint8, np.uint16, np.int16, np.float32):
        dtype = np.dtype(np.float32)
    values = np.empty((first.Columns, first.Rows, len(slices)), dtype)
    for index, plane in enumerate(slices):
        values[:, :, index] = plane.T
    return Volume(values, affine, _unit_of(first))


def _check_one_series(folder: Path, headers: Sequence[tuple[Path, Any]]) -> None:
    """Refuse what is not one stack of slices.

    Raises:
        DataError: several series, several sizes, frames in one file, or no places.
    """
    series = {str(header.get("SeriesInstanceUID", "")) for _, header in headers}
    if len(series) > 1:
        raise DataError(f"{folder} holds {len(series)} DICOM series: put each into a folder of its own")
    for path, header in headers:
        if int(header.get("NumberOfFrames", 1) or 1) > 1:
            raise DataError(
                f"{path} holds {header.NumberOfFrames} frames in one file: convert it to NIfTI, such as with dcm2niix"
            )
        if int(header.get("SamplesPerPixel", 1)) != 1:
            raise DataError(f"{path} holds colours, not single numbers: use prepare on its exported images")
        missing = [
            tag
            for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
            if not header.get(tag)
        ]
        if missing:
            raise DataError(
                f"{path} does not say where it lies ({missing[0]} is missing): it is no slice of a volume"
            )
    sizes = {(header.Rows, header.Columns) for _, header in headers}
    if len(sizes) > 1:
        shown = " and ".join(f"{columns}x{rows}" for rows, columns in sorted(sizes)[:2])
        raise DataError(
            f"the slices of {folder} are of several sizes, {shown}: put each series into a folder of its own"
        )


def _placed(folder: Path, headers: Sequence[tuple[Path, Any]]) -> tuple[list[tuple[Path, Any]], np.ndarray]:
    """The slices in their order in space, and the affine of the volume (DICOM PS3.3, C.7.6.2.1.1).

    Raises:
        DataError: they are not evenly spaced along one direction.
    """
    first = headers[0][1]
    along_row, along_column = np.asarray(first.ImageOrientationPatient, np.float64).reshape(2, 3)
    for path, header in headers:
        other = np.asarray(header.ImageOrientationPatient, np.float64).reshape(2, 3)
        if np.abs(other - (along_row, along_column)).max() > _ACROSS:
            raise DataError(
                f"{path} lies in another direction than {headers[0][0].name}: "
                "take out what does not belong to the stack, such as a localizer"
            )
    normal = np.cross(along_row, along_column)
    positions = [np.asarray(header.ImagePositionPatient, np.float64) for _, header in headers]
    order = sorted(range(len(headers)), key=lambda number: float(positions[number] @ normal))
    heights = np.array([positions[number] @ normal for number in order])
    if len(order) > 1:
        gaps = np.diff(heights)
        usual = float(np.median(gaps))
        for number, gap in enumerate(gaps):
            before, after = (headers[order[at]][0].name for at in (number, number + 1))
            if gap < 1e-4:
                raise DataError(
                    f"{before} and {after} of {folder} lie at the same place: keep one of several acquisitions"
                )
            if abs(gap - usual) > max(_UNEVEN * usual, 1e-3):
                raise DataError(
                    f"{before} and {after} of {folder} are {gap:g} mm apart and the others {usual:g} mm: "
                    "slices are missing; complete the series, or resample it to even distances"
                )
        step = (positions[order[-1]] - positions[order[0]]) / (len(order) - 1)
    else:
        step = normal * float(first.get("SliceThickness") or 1)
    row_spacing, column_spacing = (float(value) for value in first.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0] = along_row * column_spacing
    affine[:3, 1] = along_column * row_spacing
    affine[:3, 2] = step
    affine[:3, 3] = positions[order[0]]
    return [headers[number] for number in order], np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _slice_of(path: Path) -> np.ndarray:
    """(rows, columns) of a DICOM file in its unit.

    Raises:
        DataError: it cannot be decoded.
    """
    import pydicom
    from pydicom.pixels import apply_modality_lut

    dataset: Any = pydicom.dcmread(path)
    try:
        stored = dataset.pixel_array
    except Exception as error:
        syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
        if syntax is not None and syntax.is_compressed and "plugin" in str(error):
            raise DataError(
                f"{path} is compressed as {syntax.name}, for which no codec is installed: "
                "pip install pylibjpeg[all], or decompress it with gdcmconv --raw"
            ) from None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path} cannot be decoded: it is damaged or cut off ({reason}); replace or remove it"
        ) from None
    if "ModalityLUTSequence" in dataset:
        return kept(np.asarray(apply_modality_lut(stored, dataset)))
    return _scaled(stored, float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0)))


def _unit_of(header: Any) -> str:
    said = str(header.get("RescaleType", "") or header.get("Units", ""))
    return "HU" if header.get("Modality") == "CT" and said in ("", "US", "HU") else said.replace("US", "")


# Comparing, and bringing together


def misplacement(a: Volume, b: Volume) -> float:
    """Millimetres that the corners of two volumes of one shape lie apart at most."""
    corners = np.array([[(x, y, z, 1)] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float64)[:, 0]
    corners[:, :3] *= np.array(a.values.shape) - 1
    apart = corners @ (a.affine - b.affine).T
    return float(np.sqrt((apart[:, :3] ** 2).sum(axis=1)).max())


def resampled(volume: Volume, like: Volume, nearest: bool) -> Volume:
    """A volume on the grid of another, by their affines; NaN outside of it (nearest: its lowest value).

    Args:
        volume: what is resampled.
        like: whose shape and affine the result has.
        nearest: take the nearest value, as class numbers need it; else interpolate linearly, to float32.
    """
    require("bringing volumes onto one grid", of_extra("medical", "scipy"))
    import nibabel
    from nibabel.processing import resample_from_to

    outside = float(volume.values.min()) if nearest else math.nan
    values = volume.values if nearest else volume.values.astype(np.float32)
    moving = nibabel.nifti1.Nifti1Image(values, volume.affine)
    moved: Any = resample_from_to(
        moving, (like.values.shape, like.affine), order=0 if nearest else 1, cval=outside
    )
    return Volume(np.asarray(moved.dataobj), like.affine, volume.unit)
