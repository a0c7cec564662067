"""What all datasets of image files share: checking, caching, and skipping what cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, TypeVar

import numpy as np
import torch

from translatekit.augmentation import Augment
from translatekit.datasets.cache import DiskCache, Loaded
from translatekit.datasets.classes import decide_labels, parse_labels
from translatekit.datasets.folds import part_of
from translatekit.datasets.layouts import listed
from translatekit.datasets.ranges import decide_bounds, far_values, parse_ranges
from translatekit.datasets.remarks import find_remarks
from translatekit.datasets.shards import ShardFile, ShardSamples
from translatekit.datasets.slices import (
    File,
    Files,
    Slice,
    header_of,
    image_of_file,
    is_local,
    read_fitting,
    with_slices,
)
from translatekit.datasets.stored import Stored
from translatekit.datasets.transforms import Geometry, check_sizes, item_rng, loaded, to_tensor
from translatekit.errors import DataError
from translatekit.image_spec import MAX_CHANNELS, ImageSpec, levels_spec
from translatekit.images import Image, UnreadableImageError, fit_image
from translatekit.images.codec import ValueCodec
from translatekit.interfaces import DataOptions
from translatekit.options import Bounds
from translatekit.types import PaletteClass

Arrays = tuple[np.ndarray, ...]
ChannelCount = Annotated[int | None, Bounds(minimum=1, maximum=MAX_CHANNELS)]
"""How many channels images are to have; None leaves it to their files."""

T = TypeVar("T")

_LOOKED_AT = 8  # files, for what need not be exact
_THREADS = 8  # decoding releases the interpreter's lock, and opening files waits for the disk


class BaseDataset:
    """State that every dataset has (see `translatekit.interfaces.Dataset` for the attributes).

    Args:
        options: how images are read.

    Raises:
        OptionError: sizes that cannot be.
    """

    specs: Mapping[str, ImageSpec]
    class_names: tuple[str, ...] = ()
    embedding_size: int = 0
    palettes: Mapping[str, list[PaletteClass]] = {}
    order: Callable[[int, int, int], Iterator[np.ndarray]] | None = None
    sliced: tuple[str, ...] = ()  # the keys of images that may be several neighbouring slices of a volume

    def __init__(self, options: DataOptions) -> None:
        check_sizes(options)
        self.options = options
        self.skipped: list[tuple[File | str, str]] = []
        self.remarks: list[str] = []
        self.epoch = 0
        self.sides: dict[str, ImageSpec] = {}
        self.side_of: dict[str, str] = {}  # by the key of an image in an item
        self._codecs: dict[str, ValueCodec] = {}

    def choose_spec(self, key: str, side: str, files: Sequence[File], channels: int | None) -> ImageSpec:
        """What the images of one kind are: as the options say, else by their files.

        Args:
            key: of the image in an item.
            side: what ``--range`` calls it, such as ``A``.
            files: that hold such images.
            channels: as the user wants them; None for RGB where the files are gray or RGB, else as the files have them.

        Raises:
            DataError: none of the files can be read, or no range for their values is given, or none that fits.
        """
        spec = self.options.specs.get(key)
        read = partial(self.image_of, side)
        if spec is None:
            spec = self._found_spec(side, files, channels)
            if key in self.sliced and self.options.slices is not None:
                spec = with_slices(spec, self.options.slices)
        if spec.slices > 1 and not isinstance(files[0], Slice):
            raise DataError(
                f"--slices {spec.slices} is for volumes, and {files[0]} is one image, which has no neighbours: leave "
                "it out, or give folders of volumes"
            )
        if any(isinstance(file, Slice) for file in files[:1]):
            spec = replace(spec, slice_axis=self.options.slice_axis)
        self.sides[side] = spec
        self.side_of[key] = side
        if key != "input" and not spec.levels and not spec.clip and self.options.split == "train":
            some = files[:: max(1, len(files) // _LOOKED_AT)]
            remark = far_values(spec, [read_values(file, spec, read) for file in some])
            self.remarks += [remark] if remark is not None else []
        return spec

    def _found_spec(self, side: str, files: Sequence[File], channels: int | None) -> ImageSpec:
        found, read = first_spec(files), partial(self.image_of, side)
        classes = parse_labels(self.options.labels) if self.options.labels is not None else {}
        if side in classes or "" in classes:
            rule = classes.get(side, classes.get("", ""))
            return decide_labels(rule, found, files, partial(read_numbers, read=read))
        rules = parse_ranges(self.options.range) if self.options.range is not None else {}
        bounds = rules.get(side, rules.get(""))
        if bounds is None:
            if found.unit:
                raise DataError(
                    f"{files[0].parent} holds values in {found.unit}, which have no black and white: say which of them "
                    "the network should see, such as --range -1024..3071, --range data or --range 1%..99%"
                )
            count = channels or (3 if found.count in (1, 3) else found.count)
            return found if found.levels and count == found.count else levels_spec(count, found.dtype)
        spec = found if channels is None or channels == found.count else levels_spec(channels, found.dtype)
        spec = spec.with_range(0.0, 1.0, unit=self.options.unit)
        values = partial(read_values, spec=spec, read=read)
        low, high = decide_bounds(bounds, files, values, str(files[0].parent))
        try:
            spec = spec.with_range(low, high, clip=bounds.clip)
            spec.check()
        except ValueError as error:
            raise DataError(f"--range does not fit {files[0].parent}, which holds {found}: {error}") from None
        return spec

    def image_of(self, side: str, file: File) -> Image:
        """Decode what a file holds of a side."""
        return image_of_file(file)

    def tensor(self, key: str, pixels: np.ndarray, geometry: Geometry | None = None) -> torch.Tensor:
        """Pixels (H, W, C) of an image's spec as the network's (C', H, W), float32.

        Args:
            key: of the image in an item.
            pixels: of all of it, where there is a geometry.
            geometry: what becomes of the images of this item.
        """
        spec = self.specs[key]
        if geometry is not None:
            augment = self.options.augment or Augment()
            pixels = geometry(pixels, nearest=spec.meaning == "labels")
            pixels = geometry.recolored(pixels, spec, augment.color_of(self.side_of.get(key)))
        if spec.levels and spec.codec == "linear":
            return to_tensor(pixels)
        if key not in self._codecs:
            self._codecs[key] = ValueCodec(spec)
        return self._codecs[key].encode(torch.from_numpy(np.ascontiguousarray(pixels))[None])[0]

    def set_epoch(self, epoch: int) -> None:
        """Choose the random geometry (and an unpaired dataset's partners) of an epoch."""
        self.epoch = epoch

    def rng(self, index: int) -> np.random.Generator:
        """The random numbers of one item in the current epoch.

        Raises:
            IndexError: there is no such item.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        return item_rng(self.options.seed, self.epoch, index)

    def __len__(self) -> int:
        """Items an epoch."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One item."""
        raise NotImplementedError


class Samples:
    """Samples of one or more image files each, decoded on demand or kept.

    Local files are looked at first, by their headers. Those that lie elsewhere are not: that would take as long as
    reading them, so that what is wrong with one is found out when it is read.

    Args:
        files: of each sample.
        decode: from a sample's files to its images, each (H, W, C) of its spec; all of one size in pixels where
            ``load_size`` is None.
        specs: of these images.
        options: how images are read.
        skipped: the list to which unreadable files are added, with the reason.
        remarks: the list to which sentences about suspicious training images are added (see `datasets.remarks`).
        size: from a sample's files to the height and width of its images, by their headers.
        label: from a sample's file to the number of its class; None where there are no classes.

    Raises:
        DataError: no sample can be read, or some are smaller than the crop.
        UnreadableImageError: a file cannot be read, and `options.strict`.
        OptionError: images are to be kept on disk, and nothing can be written there.
    """

    def __init__(
        self,
        files: Sequence[Files],
        decode: Callable[[Files], Arrays],
        specs: Sequence[ImageSpec],
        options: DataOptions,
        skipped: list[tuple[File | str, str]],
        remarks: list[str],
        size: Callable[[Files], tuple[int, int]],
        label: Callable[[File], int] | None = None,
    ) -> None:
        self._decode, self._specs, self._label = decode, specs, label
        self._options, self._skipped = options, skipped
        self._kept: list[Loaded] | None = None
        if options.fold is not None:
            files = part_of(files, options.fold, held_out=options.split != "train")
        self._disk = DiskCache(specs, options) if options.cache == "disk" and not options.masks else None
        self.files = files
        if options.cache == "memory":
            self.files, self._kept = self._readable(files, self._load)
        elif isinstance(files, ShardSamples):
            height, width = files.set.smallest
            if options.at_random and options.load_size is None and min(height, width) < options.crop_size:
                raise too_small(
                    options.crop_size, [f"{files.source.uri}, down to {width}x{height}"], " or more"
                )
        elif is_local(files[0][0]):
            self.files, sizes = self._readable(files, size)
            if options.at_random and options.load_size is None:
                self._check_crop(sizes)
        if not len(self.files):
            raise DataError(
                f"none of {len(files)} images can be read, the first because {skipped[0][1]}: "
                "check that they are images"
            )
        if options.split == "train":
            for side, spec in enumerate(specs[: len(self.files[0])]):
                if spec.meaning != "labels":
                    remarks += find_remarks(Side(self.files, side))

    def __len__(self) -> int:
        """How many can be read, as far as known."""
        return len(self.files)

    def __getitem__(self, index: int) -> Loaded:
        """A sample, or the next that can be read."""
        if self._kept is not None:
            return self._kept[index]
        for step in range(len(self.files)):
            files = self.files[(index + step) % len(self.files)]
            try:
                return self._load(files)
            except UnreadableImageError as error:
                self._skip(files, error)
        raise DataError(
            f"none of {len(self.files)} images can be read any more: check that their disk is there"
        )

    def _load(self, files: Files) -> Loaded:
        sample = None if self._disk is None else self._disk.get(files)
        if sample is None:
            images = tuple(
                loaded(image, self._options, spec)
                for image, spec in zip(self._decode(files), self._specs, strict=True)
            )
            sample = Loaded(tuple(file.stem for file in files), images, self._number(files[0]))
            if self._disk is not None:
                self._disk.put(files, sample)
        elif not isinstance(
            files[0], ShardFile
        ):  # whose sample holds its number, and need not be read for it
            sample = sample._replace(label=self._number(files[0]))
        height, width = sample.images[0].shape[:2]
        if self._options.at_random and min(height, width) < self._options.crop_size:
            raise too_small(self._options.crop_size, [f"{files[0]} ({width}x{height})"])
        return sample

    def _number(self, file: File) -> int:
        """Of a file's class, which classes that are added since change; -1 where there are none."""
        return -1 if self._label is None else self._label(file)

    def _readable(
        self, files: Sequence[Files], read: Callable[[Files], T]
    ) -> tuple[Sequence[Files], list[T]]:
        """Those that can be read, with what `read` made of them; the others are skipped."""

        def attempt(sample: Files) -> T | UnreadableImageError:
            try:
                return read(sample)
            except UnreadableImageError as error:
                return error

        good: list[int] = []
        results: list[T] = []
        with ThreadPoolExecutor(_THREADS) as pool:
            for index, result in enumerate(pool.map(attempt, files)):
                if isinstance(result, UnreadableImageError):
                    self._skip(files[index], result)
                else:
                    good.append(index)
                    results.append(result)
        return files if len(good) == len(files) else [files[index] for index in good], results

    def _skip(self, files: Files, error: UnreadableImageError) -> None:
        if self._options.strict:
            raise error
        culprit = next((path for path in files if str(path) in str(error)), files[0])
        named = str(culprit) if isinstance(culprit, Stored) else culprit  # which may hold its contents
        if all(path != named for path, _ in self._skipped):
            self._skipped.append((named, str(error)))

    def _check_crop(self, sizes: Sequence[tuple[int, int]]) -> None:
        crop = self._options.crop_size
        small = [
            f"{files[0]} ({width}x{height})"
            for files, (height, width) in zip(self.files, sizes, strict=True)
            if min(height, width) < crop
        ]
        if small:
            raise too_small(crop, small, f" of {len(self.files)}")


class Side(Sequence[File]):
    """The files of one side of samples, which may be too many to be listed.

    Args:
        samples: their files.
        side: which of each.
    """

    def __init__(self, samples: Sequence[Files], side: int) -> None:
        self._samples, self._side = samples, side

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: Any) -> Any:
        """The file of a sample, or those of several."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self._samples[index][self._side]


def too_small(crop: int, small: list[str], of: str = "") -> DataError:
    """The error of images that cannot be cropped.

    Args:
        crop: the side of the crop in pixels.
        small: the images, with their sizes.
        of: how many there are in all, where that is known.
    """
    verb = "images are" if of or len(small) > 1 else "image is"
    return DataError(
        f"{len(small)}{of} {verb} smaller than the crop of {crop}x{crop} pixels "
        f"({listed(small)}): pass --load-size {crop} to enlarge them, or a smaller --crop-size"
    )


def fitting_size(file: File, spec: ImageSpec) -> tuple[int, int]:
    """Height and width of an image, by its header.

    Raises:
        DataError: it is no such image as the spec says.
    """
    header = header_of(file)
    if spec.meaning != "labels":
        sample = np.zeros((1, 1, header.spec.count), header.spec.dtype)
        fit_image(Image(pixels=sample, spec=header.spec, alpha=sample[:, :, 0]), spec, str(file))
    return header.height, header.width


def file_size(spec: ImageSpec, files: Files) -> tuple[int, int]:
    """Height and width of a sample of one image, by its header.

    Raises:
        DataError: it is no such image as the spec says.
    """
    return fitting_size(files[0], spec)


def decode_one(spec: ImageSpec, files: Files) -> Arrays:
    """The image of a sample of one file, (H, W, C) of a spec."""
    return (read_fitting(files[0], spec),)


def read_values(file: File, spec: ImageSpec, read: Callable[[File], Image]) -> np.ndarray:
    """The values of an image (H, W, C), NaN where the file says that there are none; one NaN where it is unreadable."""
    try:
        image = read(file)
        values = fit_image(image, spec, str(file)).astype(np.float32)
    except UnreadableImageError:
        return np.full((1, 1, spec.count), np.nan, np.float32)
    if image.valid is not None:
        values[~image.valid] = np.nan
    return values


def read_numbers(file: File, read: Callable[[File], Image]) -> np.ndarray:
    """The numbers in a map of classes (H, W); none where it is unreadable."""
    try:
        image = read(file)
    except UnreadableImageError:
        return np.zeros((0, 0), np.uint8)
    return image.pixels[:, :, 0] if image.numbers is None else image.numbers


def first_spec(files: Sequence[File]) -> ImageSpec:
    """What the first readable of some files holds.

    Raises:
        DataError: none can be read.
    """
    reason = ""
    for file in files:
        try:
            return header_of(file).spec
        except UnreadableImageError as error:
            reason = reason or str(error)
    raise DataError(
        f"none of {len(files)} images can be read, the first because {reason}: check that they are images"
    )
