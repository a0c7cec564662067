"""Volumes as arrays in real units: NIfTI files, and DICOM series in folders of their own."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import DataError
from translatekit.images import open_image
from translatekit.images.dicom import DICOM
from translatekit.images.nifti import NIFTI
from translatekit.requirements import of_extra, require

NIFTI_SUFFIXES = (".nii", ".nii.gz")

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
        DataError: it is damaged, cut off or no volume of single numbers, or its slices are not evenly spaced.
    """
    with open_image(volume.path) as file:
        header = file.header()
        if header.spec.levels or header.spec.count != 1:
            raise DataError(
                f"{volume.path} holds {header.spec}, and not one value at each place: export its images"
            )
        if NIFTI in header.metadata:
            affine = header.metadata[NIFTI].shown_affine
        else:
            tags = [file.header(page).metadata[DICOM].dataset for page in range(header.pages)]
            affine = _series_affine(volume.path, tags)
        values = np.empty((header.width, header.height, header.pages), header.spec.dtype)
        for page in range(header.pages):
            image = file.read(page)
            plane = image.pixels[:, :, 0]
            if image.valid is not None:  # no integer stands for what is missing
                plane = np.where(image.valid, plane, np.float32(np.nan))
            if plane.dtype != values.dtype:
                values = values.astype(np.float32)
            values[:, :, page] = plane.T
    return _oriented(Volume(_compact(values), affine, header.spec.unit), volume.path)


def _compact(values: np.ndarray) -> np.ndarray:
    """Values that are whole numbers, such as those of a CT, as int16 where that holds all of them."""
    limits = np.iinfo(np.int16)
    for plane in np.moveaxis(values, 2, 0):
        with np.errstate(invalid="ignore"):
            whole = values.dtype == np.float32 and bool((plane == np.rint(plane)).all())
        if not whole or plane.min() < limits.min or plane.max() > limits.max:
            return values
    return values.astype(np.int16)


def _inverse(orientation: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """From indices of a volume whose axes were turned to those that it had."""
    import nibabel

    return np.asarray(nibabel.orientations.inv_ornt_aff(orientation, (*shape, 1)[:3]))


def _oriented(volume: Volume, path: Path) -> Volume:
    """The same volume with its axes nearest to right, front and head."""
    import nibabel

    if not np.isfinite(volume.affine).all() or abs(np.linalg.det(volume.affine[:3, :3])) < 1e-9:
        raise DataError(f"the affine of {path} maps it to less than a volume: mend its header")
    orientation = nibabel.orientations.io_orientation(volume.affine)
    values = nibabel.orientations.apply_orientation(volume.values, orientation)
    return replace(volume, values=values, affine=volume.affine @ _inverse(orientation, volume.values.shape))


def _series_affine(folder: Path, slices: Sequence[Any]) -> np.ndarray:
    """The affine of a series (columns, rows, slices), by the tags of its slices in order (DICOM PS3.3, C.7.6.2.1.1).

    Raises:
        DataError: they do not say where they lie, or are not evenly spaced along one direction.
    """
    for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        if not all(tags.get(tag) for tags in slices):
            raise DataError(f"{folder} does not say where its slices lie ({tag} is missing): it is no volume")
    if len({str(tags.get("SOPInstanceUID", number)) for number, tags in enumerate(slices)}) < len(slices):
        raise DataError(
            f"{folder} holds several slices in one file, or one twice: convert it to NIfTI, such as with dcm2niix"
        )
    directions = np.array([tags.ImageOrientationPatient for tags in slices], np.float64).reshape(-1, 2, 3)
    if np.abs(directions - directions[0]).max() > _ACROSS:
        raise DataError(
            f"the slices of {folder} lie in several directions: take out what does not belong, such as a localizer"
        )
    along_row, along_column = directions[0]
    positions = np.array([tags.ImagePositionPatient for tags in slices], np.float64)
    normal = np.cross(along_row, along_column)
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps)) if len(gaps) else float(slices[0].get("SliceThickness") or 1)
    for number, gap in enumerate(gaps, 1):
        if abs(gap) < 1e-4:
            raise DataError(
                f"slices {number} and {number + 1} of {folder} lie at the same place: keep one of several acquisitions"
            )
        if abs(gap - usual) > max(_UNEVEN * usual, 1e-3):
            raise DataError(
                f"slices {number} and {number + 1} of {folder} are {gap:g} mm apart and the others {usual:g} mm: "
                "slices are missing; complete the series, or resample it to even distances"
            )
    row_spacing, column_spacing = (float(value) for value in slices[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0] = along_row * column_spacing
    affine[:3, 1] = along_column * row_spacing
    affine[:3, 2] = (positions[-1] - positions[0]) / len(gaps) if len(gaps) else normal * usual
    affine[:3, 3] = positions[0]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


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
