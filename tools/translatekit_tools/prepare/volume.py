"""Training slices of volumes: NIfTI files and DICOM series, alone or in registered pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from translatekit.datasets.layouts import listed
from translatekit.errors import DataError
from translatekit.images import Image, encode_image
from translatekit.images.image import file_spec, finite
from translatekit.types import SliceAxis
from translatekit_tools.prepare.foreground import above_background, body_mask
from translatekit_tools.prepare.layout import check_name
from translatekit_tools.prepare.matching import by_key, stem_key
from translatekit_tools.prepare.options import VolumeOptions
from translatekit_tools.prepare.output import Made, Output, refuse_inside
from translatekit_tools.prepare.volumes import (
    Volume,
    VolumeFiles,
    find_volumes,
    load_volume,
    misplacement,
    resampled,
)
from translatekit_tools.prepare.work import Part, Progress, Source, Summary, work_on_parts

_AXES: dict[SliceAxis, int] = {"sagittal": 0, "coronal": 1, "axial": 2}


def make_slices(
    a: Path, b: Path | None, out: Path, options: VolumeOptions, progress: Progress | None = None
) -> Summary:
    """Write the slices of volumes as TIFF files of one channel, whose numbers are the values in their unit.

    A slice is shown as radiologists look at it: axial with the patient's front at the top and right side on the left;
    coronal with the head at the top and right side on the left; sagittal with the head at the top and front on the
    left. Integers stay integers where these hold the values exactly; else values are float32.

    Args:
        a: a folder of NIfTI files or of folders with a DICOM series each; or one volume.
        b: the same of B, whose volumes have the names of those of A; None for A alone.
        out: the dataset's folder.
        options: which slices, and what becomes of volumes on different grids.
        progress: is told how far it is.

    Returns:
        Its details: ``parts`` (slices), ``left_out`` of them, and the lowest and highest value of each side that was
        read, as ``values``.

    Raises:
        DataError: there are no volumes, or none of A has a partner in B.
    """
    check_name(options.split)
    for place in filter(None, (a, b)):
        refuse_inside(out, place)
    sides = [find_volumes(place) for place in (a, b) if place is not None]
    volumes = {volume.path: volume for side in sides for volume in side}
    sources, unmatched, ambiguous = _sources(sides, options)
    if b is not None and not sources:
        raise DataError(
            f"no volume of {a} has a partner in {b}: give them equal names, or name what differs with --strip"
        )
    ranges: dict[str, list[float]] = {}
    units: dict[str, str] = {}

    def originals(source: Source) -> Iterator[Path]:
        for path in filter(None, (source.path, source.partner)):
            yield from volumes[path].files

    @contextmanager
    def opened(source: Source) -> Iterator[Sequence[Part]]:
        pair = [load_volume(volumes[source.path])]
        if source.partner is not None:
            pair.append(
                _on_grid(pair[0], source.path, load_volume(volumes[source.partner]), source.partner, options)
            )
        for side, volume in zip("AB", pair, strict=False):
            low, high = float(np.nanmin(volume.values)), float(np.nanmax(volume.values))
            known = ranges.setdefault(side, [low, high])
            known[:] = [min(known[0], low), max(known[1], high)]
            units[side] = volume.unit
        yield _parts(source.name, pair, options)

    output = Output(out, [path for volume in volumes.values() for path in volume.files], options.force)
    recipe = {"volume": {**options.recipe(), "strip": None}, "sides": len(sides)}
    summary = work_on_parts(output, sources, originals, opened, recipe, progress)
    summary.failed += ambiguous
    if summary.details["left_out"]:
        summary.notes.append(
            f"{summary.details['left_out']} of {summary.details['parts']} slices show less than "
            f"{100 * options.min_content:g}% of anything but background, and were left out"
        )
    if unmatched:
        summary.notes.append(f"{len(unmatched)} volumes have no partner: {listed(list(map(str, unmatched)))}")
    for side, (low, high) in ranges.items():
        unit = f" {units[side]}" if units[side] else ""
        summary.notes.append(f"values of {side}: {low:g} to {high:g}{unit}")
    summary.details["values"] = ranges
    summary.details["unmatched"] = list(map(str, unmatched))
    return summary


def _sources(
    sides: Sequence[list[VolumeFiles]], options: VolumeOptions
) -> tuple[list[Source], list[Path], list[tuple[Path, str]]]:
    """What is to be worked on, what has no partner, and what has several.

    Volumes belong together whose names are equal, or else the first folders of their names, as of a patient.
    """
    found = [[Source(volume.path, volume.name) for volume in side] for side in sides]
    if len(found) == 1:
        return found[0], [], []
    if all(len(side) == 1 for side in found):  # nothing can be mistaken
        return [Source(found[0][0].path, found[0][0].name, found[1][0].path)], [], []

    def whole(name: str) -> str:
        return stem_key(name, options.strip)

    def patient(name: str) -> str:
        return stem_key(name.partition("/")[0], options.strip)

    def shared(key: Callable[[str], str]) -> set[str]:
        return {key(source.name) for source in found[0]} & {key(source.name) for source in found[1]}

    key = next((key for key in (whole, patient) if shared(key)), None)
    if key is None:
        return [], [], []
    matches, ambiguous = by_key(found[0], found[1], key, "", named=True)
    paired = {path for _, *paths in matches for path in paths} | {path for path, _ in ambiguous}
    unmatched = [source.path for side in found for source in side if source.path not in paired]
    return [Source(first, name, second) for name, first, second in matches], unmatched, ambiguous


def _on_grid(a: Volume, a_path: Path, b: Volume, b_path: Path, options: VolumeOptions) -> Volume:
    """B on the grid of A.

    Raises:
        DataError: it lies on another, and is not to be resampled.
    """
    same_shape = a.values.shape == b.values.shape
    apart = misplacement(a, b) if same_shape else 0.0
    if same_shape and apart <= options.tolerance:
        return b
    if options.resample != "no":
        moved = resampled(b, a, nearest=options.resample == "nearest")
        if not np.isfinite(moved.values).any():
            raise DataError(
                f"{b_path} and {a_path} do not overlap: they are not of one examination, or not registered"
            )
        return moved
    remedy = "pass --resample linear (or nearest, for class numbers) to bring B onto the grid of A"
    if not same_shape or not np.allclose(a.spacing, b.spacing, rtol=0.01):
        raise DataError(f"{b_path} has {_grid(b)} and {a_path} {_grid(a)}: {remedy}")
    raise DataError(
        f"{b_path} lies up to {apart:.3g} mm from {a_path}, where {options.tolerance:g} mm are allowed: {remedy}, "
        "or register them first where the patient has moved"
    )


def _grid(volume: Volume) -> str:
    shape = "x".join(map(str, volume.values.shape))
    return f"{shape} values of {'x'.join(f'{step:.3g}' for step in volume.spacing)} mm"


def _parts(name: str, pair: Sequence[Volume], options: VolumeOptions) -> list[Part]:
    axis = _AXES[options.axis]
    others = tuple({0, 1, 2} - {axis})
    shares = np.min([above_background(volume.values).mean(axis=others) for volume in pair], axis=0)
    mask = body_mask(pair[0].values) if options.mask == "body" else None

    def make(index: int) -> Made:
        if shares[index] < options.min_content:
            return {}
        made: Made = {}
        for side, volume in zip("AB", pair, strict=False):
            folder = "/".join(filter(None, (options.split, side if len(pair) == 2 else "")))
            made[f"{folder + '/' if folder else ''}{name}_{index:04}.tiff"] = _encoded(
                shown(volume.values, axis, index), volume.unit
            )
        if mask is not None:
            levels = shown(mask, axis, index).astype(np.uint8) * np.uint8(255)
            image = Image(pixels=levels[:, :, None], spec=file_spec(1, "uint8", True), white=255.0)
            folder = f"{options.split}-masks" if options.split else "masks"
            made[f"{folder}/{name}_{index:04}.png"] = encode_image(image, ".png")
        return made

    def part(index: int) -> Part:
        return Part(f"{index:04}", lambda: make(index))

    return [part(index) for index in range(0, pair[0].values.shape[axis], options.every)]


def shown(values: np.ndarray, axis: int, index: int) -> np.ndarray:
    """A slice (rows, columns) of a volume (right, front, head), as radiologists look at it."""
    plane = np.take(values, index, axis)
    # Head or front goes to the top. The patient's right is on the left; in a sagittal slice, the front is.
    return np.ascontiguousarray(plane[::-1, ::-1].T)


def _encoded(plane: np.ndarray, unit: str) -> bytes:
    pixels = plane[:, :, None]
    spec = file_spec(1, pixels.dtype.name, False, unit, shown=False)
    return encode_image(Image(pixels=pixels, spec=spec, valid=finite(pixels)), ".tiff")
