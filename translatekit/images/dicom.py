"""DICOM: a file, or a folder of a series as a volume, by pydicom."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import DataError
from translatekit.images.guard import opened
from translatekit.images.image import DTYPES, Header, Image, file_spec, kept, white_of
from translatekit.images.pixels import MAX_PIXELS

DICOM = "dicom"
"""The key of `Source` in an image's metadata."""

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_NOTE = "translated by translatekit"
# Of a dataset that pixels were taken from: what says how they were stored.
_STORED = (
    "PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
    "SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingRangeLimit", "PlanarConfiguration",
    "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "ModalityLUTSequence", "NumberOfFrames", "FrameIncrementPointer",
    "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", "PixelPaddingValue", "RescaleSlope",
    "RescaleIntercept",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where an image comes from.

    Attributes:
        dataset: all of its tags but the pixels.
        name: of its file; empty for contents.
        padding: the value in its unit that stands for nothing.
    """

    dataset: Any
    name: str = ""
    padding: float | None = None

    def part(self, top: float, left: float, height: float, width: float) -> Source:
        """That of a part, in pixels: over the same part of the body."""
        dataset = copy.deepcopy(self.dataset)
        _move(dataset, top, left)
        dataset.Rows, dataset.Columns = round(height), round(width)
        return replace(self, dataset=dataset)


class DicomReader:
    """A file, whose frames are pages; or a folder of one series, whose files are slices sorted by their position.

    Stored numbers become values in the series' unit by the rescale slope and intercept: HU for CT.
    """

    def __init__(self, source: Path | bytes) -> None:
        if isinstance(source, Path) and source.is_dir():
            self._slices, self._spacing = _series(source)
        else:
            with opened(source):
                pass
            self._slices, self._spacing = [(source, _dataset(source, pixels=False))], None
        first = self._slices[0][1]
        frames = int(first.get("NumberOfFrames", 1) or 1)
        self._frames = frames if len(self._slices) == 1 else 1

    def close(self) -> None:
        """Free the headers."""

    def header(self, page: int = 0) -> Header:
        """What the tags say."""
        _, dataset = self._place(page)
        rows, columns = _size(dataset)
        return Header(
            height=rows,
            width=columns,
            spec=_spec(dataset, page if self._frames > 1 else 0),
            pages=max(self._frames, len(self._slices)),
            spacing=self._spacing or _spacing(dataset),
            metadata={DICOM: Source(dataset)},
        )

    def read(self, page: int = 0) -> Image:
        """A slice, or a frame, in its unit."""
        source, _ = self._place(page)
        dataset = _dataset(source, pixels=True)
        rows, columns = _size(dataset)
        frame = page if self._frames > 1 else 0
        stored = _stored(dataset, frame).reshape(rows, columns, -1)
        spec = _spec(dataset, frame)
        kept_tags = copy.copy(dataset)
        for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
            if name in kept_tags:
                delattr(kept_tags, name)
        named = source.name if isinstance(source, Path) else ""
        if spec.levels:
            pixels = np.ascontiguousarray(kept(stored))
            metadata = {DICOM: Source(kept_tags, named)}
            return Image(pixels=pixels, spec=spec, white=white_of(pixels.dtype), metadata=metadata)
        slope, intercept = _rescale(dataset, frame)
        values = (
            stored if (slope, intercept) == (1.0, 0.0) else stored * np.float64(slope) + np.float64(intercept)
        )
        pixels = np.ascontiguousarray(values.astype(spec.dtype))
        valid = padding = None
        if "PixelPaddingValue" in dataset and isinstance(dataset.PixelPaddingValue, int):
            padding = dataset.PixelPaddingValue * slope + intercept
            missing = np.asarray(_is_padding(stored, dataset).any(axis=2))
            valid = ~missing if missing.any() else None
        return Image(
            pixels=pixels, spec=spec, valid=valid, metadata={DICOM: Source(kept_tags, named, padding)}
        )

    def _place(self, page: int) -> tuple[Path | bytes, Any]:
        pages = max(self._frames, len(self._slices))
        if page >= pages:
            raise DataError(f"it has {pages} slices, and no slice {page + 1}; name one that is there")
        return self._slices[page if self._frames == 1 else 0]


def encode_file(image: Image, suffix: str, *, quality: int = 95, compression: int = 4) -> bytes:
    """A file of a series of its own."""
    from pydicom.uid import generate_uid

    return _encoded(image, generate_uid(), 1)


def write_series(
    path: Path, images: Iterable[Image], *, pages: int, suffix: str, compression: int = 4
) -> None:
    """Write a folder of a new series: a file a slice, called as those that they were made from."""
    from pydicom.uid import generate_uid

    path.mkdir()
    series, taken = generate_uid(), set()
    for number, image in enumerate(images, 1):
        source: Source | None = image.metadata.get(DICOM)
        name = source.name if source is not None and source.name else f"{number:04d}.dcm"
        if name in taken:
            name = f"{number:04d}.dcm"
        taken.add(name)
        (path / name).write_bytes(_encoded(image, series, number))


def are_apart(paths: Sequence[Path]) -> bool:
    """Whether each of several files is a series of its own, so that they are no slices of one volume.

    Raises:
        Exception: whatever pydicom raises on a damaged file.
    """
    import pydicom

    seen: set[str] = set()
    for path in paths:
        dataset = pydicom.dcmread(path, specific_tags=["SeriesInstanceUID"], stop_before_pixels=True)
        series = str(dataset.get("SeriesInstanceUID", ""))
        if not series or series in seen:
            return False
        seen.add(series)
    return True


# Reading


def _dataset(source: Path | bytes, *, pixels: bool) -> Any:
    import pydicom

    file: Any = io.BytesIO(source) if isinstance(source, bytes) else source
    # Large values are read when they are asked for; pixels are left alone where only tags are wanted.
    return pydicom.dcmread(file, stop_before_pixels=not pixels)


def _series(folder: Path) -> tuple[list[tuple[Path | bytes, Any]], tuple[float, float, float] | None]:
    """The files of a folder's series, sorted from the first slice to the last, with their tags; and the spacing."""
    found: list[tuple[Path | bytes, Any]] = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith(".") and _is_dicom(path):
            dataset = _dataset(path, pixels=False)
            if "Rows" in dataset:
                found.append((path, dataset))
            elif _should_be_image(dataset):
                raise DataError(f"{path.name} in it is cut off; replace or remove it")
    if not found:
        raise DataError("it is a folder without DICOM images; choose one that holds a series")
    series = {str(dataset.get("SeriesInstanceUID", "")) for _, dataset in found}
    if len(series) > 1:
        raise DataError(f"it holds {len(series)} series; give each a folder of its own")
    sizes = {_size(dataset) for _, dataset in found}
    if len(sizes) > 1:
        raise DataError(
            f"its slices have {len(sizes)} different sizes; give those of one size a folder of their own"
        )
    if any(int(dataset.get("NumberOfFrames", 1) or 1) > 1 for _, dataset in found) and len(found) > 1:
        raise DataError("it holds several files of several frames; name one of the files")
    places = [_position(dataset) for _, dataset in found]
    spacing = _spacing(found[0][1])
    if all(place is not None for place in places) and len(set(places)) == len(places):
        order = sorted(range(len(found)), key=lambda index: places[index] or 0.0)
        steps = np.diff(sorted(place for place in places if place is not None))
        if spacing is not None and len(steps):
            spacing = (float(np.median(steps)), *spacing[1:])
    else:
        order = sorted(
            range(len(found)), key=lambda index: int(found[index][1].get("InstanceNumber") or index)
        )
    return [found[index] for index in order], spacing


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _should_be_image(dataset: Any) -> bool:
    """Whether a file without pixels is a damaged image, and no report, plan or directory."""
    kind = getattr(dataset.get("SOPClassUID"), "name", "")
    return not kind or "Image Storage" in kind


def _position(dataset: Any) -> float | None:
    """Along the normal of the slices, in mm."""
    try:
        turned = np.array([float(part) for part in dataset.ImageOrientationPatient])
        place = np.array([float(part) for part in dataset.ImagePositionPatient])
        return round(float(np.cross(turned[:3], turned[3:]) @ place), 4)
    except (AttributeError, TypeError, ValueError):
        return None


def _spacing(dataset: Any) -> tuple[float, float, float] | None:
    try:
        down, across = (float(part) for part in dataset.PixelSpacing)
        along = float(dataset.get("SpacingBetweenSlices") or dataset.get("SliceThickness") or 1.0)
        return along, down, across
    except (AttributeError, TypeError, ValueError):
        return None


def _size(dataset: Any) -> tuple[int, int]:
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if not rows * columns:
        raise DataError("it holds no image; choose another file")
    if rows * columns > MAX_PIXELS:
        raise MemoryError
    return rows, columns


def _spec(dataset: Any, frame: int) -> Any:
    samples = int(dataset.get("SamplesPerPixel", 1))
    if samples == 3 or str(dataset.get("PhotometricInterpretation", "")) == "PALETTE COLOR":
        return file_spec(3, "uint8" if int(dataset.get("BitsAllocated", 8)) <= 8 else "uint16", True)
    modality = str(dataset.get("Modality", "") or "gray")
    unit = str(dataset.get("RescaleType", "") or "")
    if modality == "CT" and not unit:
        unit = "HU"
    unit = "" if unit == "US" else unit  # unspecified
    return file_spec((modality,), _dtype(dataset, frame), False, unit)


def _dtype(dataset: Any, frame: int) -> str:
    """The smallest type that holds every value that the file could have."""
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset or "BitsStored" not in dataset:
        return "float32"
    slope, intercept = _rescale(dataset, frame)
    bits, signed = int(dataset.BitsStored), bool(int(dataset.get("PixelRepresentation", 0)))
    stored = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    low, high = sorted(slope * value + intercept for value in stored)
    if slope == int(slope) and intercept == int(intercept):
        for name in ("uint8", "uint16", "int16"):
            limits = np.iinfo(name)
            if limits.min <= low and high <= limits.max and name in DTYPES:
                return name
    return "float32"


def _rescale(dataset: Any, frame: int) -> tuple[float, float]:
    """Slope and intercept: of the dataset, or of a frame of an enhanced one."""
    for group in (dataset, *_groups(dataset, frame)):
        if "RescaleSlope" in group:
            slope, intercept = float(group.RescaleSlope), float(group.get("RescaleIntercept") or 0.0)
            if not (np.isfinite(slope) and np.isfinite(intercept) and slope):
                raise DataError(
                    f"its rescale slope is {slope:g} and its intercept {intercept:g}; repair its tags"
                )
            return slope, intercept
    return 1.0, 0.0


def _groups(dataset: Any, frame: int) -> list[Any]:
    found = []
    for name, index in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        sequence = dataset.get(name) or []
        if index < len(sequence):
            found += list(sequence[index].get("PixelValueTransformationSequence") or [])
    return found


def _stored(dataset: Any, frame: int) -> np.ndarray:
    """The numbers of a frame as they are stored; colours as RGB."""
    import pydicom.pixels

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        try:
            lacking = not pydicom.pixels.get_decoder(syntax).is_available
        except NotImplementedError:
            lacking = True
        if lacking:
            raise DataError(
                f"it is compressed as {syntax.name}, for which no decoder is installed: "
                "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg, or decompress it"
            )
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    values = pydicom.pixels.pixel_array(dataset, index=frame if frames > 1 else None)
    if str(dataset.PhotometricInterpretation) == "PALETTE COLOR":
        colours = pydicom.pixels.apply_color_lut(values, dataset)
        deep = int(dataset.get("BitsAllocated", 8)) > 8
        return colours if deep or colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)
    return np.asarray(values)


def _is_padding(stored: np.ndarray, dataset: Any) -> np.ndarray:
    """Which stored numbers stand for nothing: one of them, or a range (PS3.3, C.7.5.1.1.2)."""
    value, limit = dataset.PixelPaddingValue, dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((value, limit if isinstance(limit, int) else value))
    return (stored >= low) & (stored <= high)


# Writing


def _encoded(image: Image, series: str, number: int) -> bytes:
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    source: Source | None = image.metadata.get(DICOM)
    dataset = _derived(source, series, number) if source is not None else _secondary(series, number)
    pixels = image.pixels
    slope, intercept = 1.0, 0.0
    if not image.spec.levels and pixels.dtype == np.float32:
        pixels, slope, intercept = _quantized(pixels, image)
    elif image.valid is not None and source is not None and source.padding is not None:
        limits = np.iinfo(pixels.dtype)
        if limits.min <= source.padding <= limits.max:
            pixels = np.where(
                image.valid[:, :, None], pixels, np.asarray(source.padding).astype(pixels.dtype)
            )
            dataset.add_new((0x0028, 0x0120), "SS" if pixels.dtype == np.int16 else "US", int(source.padding))
    if pixels.dtype == np.float32:
        pixels = np.rint(np.clip(pixels, 0, 1) * 65535).astype(np.uint16)
    colours = pixels.shape[2]
    bits = pixels.dtype.itemsize * 8
    _resize(dataset, *pixels.shape[:2])
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *pixels.shape[:2], colours
    if colours == 3:
        dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    elif str(dataset.get("PhotometricInterpretation", "")) not in ("MONOCHROME1", "MONOCHROME2"):
        dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    if not image.spec.levels:
        dataset.RescaleSlope, dataset.RescaleIntercept = _decimal(slope), _decimal(intercept)
        dataset.RescaleType = image.spec.unit or "US"
    data = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<"))).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _quantized(pixels: np.ndarray, image: Image) -> tuple[np.ndarray, float, float]:
    """Values on 65,536 steps from the lowest to the highest, as PET stores them; slope and intercept."""
    sound = pixels[np.isfinite(pixels)] if image.valid is None else pixels[image.valid]
    low, high = (float(sound.min()), float(sound.max())) if sound.size else (0.0, 0.0)
    slope = float(f"{max((high - low) / 65535, 1e-12):.10g}")
    intercept = float(f"{low:.10g}")
    steps = np.rint((np.nan_to_num(pixels, nan=low, posinf=high, neginf=low) - intercept) / slope)
    return np.clip(steps, 0, 65535).astype(np.uint16), slope, intercept


def _derived(source: Source, series: str, number: int) -> Any:
    """The tags of a source, for an image that was made from it."""
    import pydicom

    dataset = pydicom.Dataset()
    for element in source.dataset:
        if element.keyword not in _STORED:
            dataset.add(copy.deepcopy(element))
    several = int(source.dataset.get("NumberOfFrames", 1) or 1) > 1
    if several or "SOPClassUID" not in dataset:
        dataset.SOPClassUID = _SECONDARY_CAPTURE
    was = pydicom.Dataset()
    was.ReferencedSOPClassUID = source.dataset.get("SOPClassUID", _SECONDARY_CAPTURE)
    was.ReferencedSOPInstanceUID = source.dataset.get("SOPInstanceUID", "")
    if was.ReferencedSOPInstanceUID:
        dataset.SourceImageSequence = pydicom.Sequence([was])
    rest = list(source.dataset.get("ImageType") or [])[2:]
    dataset.ImageType = ["DERIVED", "SECONDARY", *rest]
    dataset.DerivationDescription = _NOTE
    described = str(source.dataset.get("SeriesDescription", "") or "")
    dataset.SeriesDescription = f"{described} ({_NOTE})"[-64:] if described else _NOTE
    dataset.SeriesInstanceUID = series
    # The frames of one file have one number, by which they could not be told apart any more.
    dataset.InstanceNumber = number if several else source.dataset.get("InstanceNumber") or number
    return dataset


def _resize(dataset: Any, rows: int, columns: int) -> None:
    """Make the tags those of an image of so many pixels that lies over the same body as theirs."""
    down, across = int(dataset.get("Rows", rows)) / rows, int(dataset.get("Columns", columns)) / columns
    if (down, across) == (1, 1):
        return
    _move(dataset, (down - 1) / 2, (across - 1) / 2)  # to the middle of the first pixel
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        if dataset.get(name):
            to_row, to_column = dataset[name].value
            setattr(dataset, name, [_decimal(float(to_row) * down), _decimal(float(to_column) * across)])


def _move(dataset: Any, top: float, left: float) -> None:
    """Make another place that of the first pixel, where the tags say that there is one."""
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        turned = np.array([float(part) for part in dataset.ImageOrientationPatient])
        place = np.array([float(part) for part in dataset.ImagePositionPatient])
        to_row, to_column = (float(part) for part in dataset.PixelSpacing)
        place += left * to_column * turned[:3] + top * to_row * turned[3:]
        dataset.ImagePositionPatient = [_decimal(part) for part in place]


def _decimal(number: float) -> str:
    """As a decimal string of DICOM, of at most 16 characters."""
    return f"{number:.10g}"[:16]


def _secondary(series: str, number: int) -> Any:
    """The tags of an image that comes from no DICOM file."""
    import pydicom
    from pydicom.uid import generate_uid

    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.Modality, dataset.ConversionType = _SECONDARY_CAPTURE, "OT", "WSD"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[series]), series
    dataset.PatientID = dataset.PatientName = dataset.StudyID = dataset.AccessionNumber = ""
    dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = ""
    dataset.ReferringPhysicianName = ""
    dataset.SeriesNumber, dataset.InstanceNumber = 1, number
    dataset.ImageType, dataset.DerivationDescription = ["DERIVED", "SECONDARY"], _NOTE
    return dataset
