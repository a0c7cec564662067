"""Images in shards: tar files of many samples each, for data that has too many files, or lies in an object store.

A shard is a tar file named and filled as WebDataset does it, so that its readers and plain ``tar`` read it too: the
files of a sample have one key and follow each other, such as ``town/0001.a.png`` and ``town/0001.b.png``. Files are the
originals, byte for byte. Beside the shards lie ``shards.json``, which says what there is, and for each set of samples
the places where they start. So the length of an epoch is known without looking into a shard, and a sample is one read,
by range, of just its bytes: each process reads only what it trains on, whatever their number.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast

import numpy as np

from translatekit.datasets.layouts import MissingSplitError, split_names
from translatekit.datasets.stored import Place, Stored, StoredPath
from translatekit.errors import DataError
from translatekit.interfaces import DataOptions
from translatekit.storage import VARIABLE, Source, hash_bytes, open_source, writable_cache, write_atomically

INDEX = "shards.json"
"""The file that makes a folder one of shards."""

WINDOW = 2**16
"""Samples that are shuffled together, in an order of the shards that is shuffled first."""

Kind = Literal["images", "pairs", "unpaired", "labelled"]

_FORMAT = 1
_SAYS = {
    "images": "images of which each is a file",
    "pairs": "pairs of two files each",
    "unpaired": "two sets of images without pairs",
    "labelled": "images with a class each",
}


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar file.

    Attributes:
        name: of the file, below the folder.
        count: samples in it.
        size: in bytes.
        digest: BLAKE2b of its bytes, 128 bits in hexadecimal.
    """

    name: str
    count: int
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class SampleSet:
    """Samples that are gone through together: a split, or one side of a split of unpaired images.

    Attributes:
        shards: in order.
        smallest: height and width of an image, each the least that occurs.
    """

    shards: tuple[Shard, ...]
    smallest: tuple[int, int]

    @property
    def count(self) -> int:
        """Samples."""
        return sum(shard.count for shard in self.shards)


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """What is in a folder of shards.

    Attributes:
        kind: of samples.
        classes: of labelled ones, by label.
        sets: by name: ``train``, or ``trainA`` and ``trainB``.
        specs: what the images are, by their part of a sample's files: ``a`` and ``b`` of pairs, else ``image``, as the
            first of them are; for people and for other readers.
    """

    kind: Kind
    classes: tuple[str, ...]
    sets: dict[str, SampleSet]
    specs: dict[str, Any]

    def to_json(self) -> str:
        """As a file has it."""
        sets = {
            name: {"samples": found.count, "bytes": sum(s.size for s in found.shards), **asdict(found)}
            for name, found in self.sets.items()
        }
        content = {
            "format": _FORMAT,
            "kind": self.kind,
            "classes": self.classes,
            "sets": sets,
            "specs": self.specs,
        }
        return json.dumps(content, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: bytes | str, where: str) -> ShardIndex:
        """Read it.

        Raises:
            DataError: it is none, or one of a newer version.
        """
        try:
            content = json.loads(text)
            if content["format"] != _FORMAT or content["kind"] not in _SAYS:
                raise ValueError(f"format {content['format']} of {content['kind']!r}")
            sets = {
                name: SampleSet(tuple(Shard(**shard) for shard in found["shards"]), tuple(found["smallest"]))
                for name, found in content["sets"].items()
            }
            return cls(content["kind"], tuple(content["classes"]), sets, content["specs"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{where} cannot be understood ({error}): make the shards anew by translatekit prepare shards"
            ) from None


def starts_name(name: str) -> str:
    """The file that says where the samples of a set start, one number more than there are, shard after shard."""
    return f"{name}.starts.npy"


def key_of(name: str) -> str:
    """A file's name without its suffix as a key: what follows the first dot of a key's last part is a suffix."""
    return name.replace("%", "%25").replace(".", "%2E")


def name_of(key: str) -> str:
    """The way back from `key_of`."""
    return key.replace("%2E", ".").replace("%25", "%")


class Shards:
    """A folder of shards, wherever it is.

    Args:
        source: the folder.
        index: what is in it.
    """

    def __init__(self, source: Source, index: ShardIndex) -> None:
        self.source, self.index = source, index

    @classmethod
    def found(cls, root: Place) -> Shards | None:
        """The shards in a folder, or None where it is a folder of images.

        Raises:
            DataError: its index cannot be understood.
            StorageError: it cannot be read.
        """
        path = root / INDEX
        if not path.is_file():
            return None
        index = ShardIndex.from_json(path.read_bytes(), str(path))
        source = root.source if isinstance(root, StoredPath) else open_source(root)
        return cls(source, index)

    def samples(self, kinds: Sequence[Kind], dataset: str, *names: str) -> ShardSamples | None:
        """The first of some sets that is there.

        Args:
            kinds: those that the dataset takes.
            dataset: its name.
            names: of sets, best first.

        Raises:
            DataError: it is another kind, or the index beside the shards is not theirs.
        """
        if self.index.kind not in kinds:
            raise DataError(
                f"{self.source.uri} holds {_SAYS[self.index.kind]}, and the dataset {dataset!r} wants "
                f"{' or '.join(_SAYS[kind] for kind in kinds)}: choose another method or --dataset"
            )
        name = next((name for name in names if name in self.index.sets), None)
        return None if name is None else ShardSamples(self.source, name, self.index)


class ShardFile(Stored):
    """A file in a shard.

    Args:
        sample: it belongs to.
        part: what is between the key and the suffix: ``a`` or ``b`` in pairs; else empty.
    """

    def __init__(self, sample: Sample, part: str = "") -> None:
        self._sample, self._part = sample, part
        self.stamp = sample.shard.digest

    @property
    def address(self) -> str:
        """The shard, and where the sample starts in it."""
        return f"{self._sample.place}:{self._sample.start}:{self._part}"

    @property
    def name(self) -> str:
        """Its name, as it was before it came into a shard."""
        key, suffix = self._member[:2]
        return f"{name_of(key.rpartition('/')[2])}.{suffix}"

    @property
    def parent(self) -> str:
        """The shard."""
        return self._sample.place

    @property
    def label(self) -> int:
        """The number of its class."""
        return int(self._sample.files["cls"][2])

    def read_bytes(self) -> bytes:
        """Its contents."""
        return self._member[2]

    @property
    def _member(self) -> tuple[str, str, bytes]:
        start = f"{self._part}." if self._part else ""
        for extension, (key, suffix, data) in self._sample.files.items():
            if extension != "cls" and extension.startswith(start):
                return key, suffix.removeprefix(start), data
        raise self._sample.damaged("a file of the sample is missing")

    def __str__(self) -> str:
        key, suffix, _ = self._member
        side = f" ({self._part.upper()})" if self._part else ""
        return f"{self.parent}/{name_of(key)}.{suffix}{side}"


class Sample:
    """The files of one sample, read together when one of them is first needed.

    Args:
        source: where the shards are.
        shard: which of them.
        start, end: of the sample in it, in bytes.
    """

    def __init__(self, source: Source, shard: Shard, start: int, end: int) -> None:
        self._source, self.shard = source, shard
        self.start, self._end = start, end

    @property
    def place(self) -> str:
        """The shard's address."""
        return self._source.uri_of(self.shard.name)

    @cached_property
    def files(self) -> dict[str, tuple[str, str, bytes]]:
        """Key, suffix and contents by what follows the key in the name of a file.

        Raises:
            DataError: the shard is not the one that the index knows.
            StorageError: it cannot be read.
        """
        data = self._source.read_range(self.shard.name, self.start, self._end)
        files = {}
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                for member in tar:
                    path = PurePosixPath(member.name)
                    stem, _, extension = path.name.partition(".")
                    content = tar.extractfile(member)
                    if content is None or len(contents := content.read()) != member.size:
                        raise tarfile.ReadError("it is cut off")
                    files[extension] = (str(path.with_name(stem)), extension, contents)
        except (tarfile.TarError, ValueError) as error:
            raise self.damaged(str(error)) from None
        return files

    def damaged(self, reason: str) -> DataError:
        """The error of a shard that holds something else here."""
        return DataError(
            f"{self.place} is not the shard that {INDEX} was written for, or damaged at byte {self.start} ({reason}): "
            "copy it again, or make the shards anew by translatekit prepare shards"
        )


class ShardSamples(Sequence[tuple[ShardFile, ...]]):
    """The files of each sample of a set. Nothing is read, and no memory taken, for a sample before it is used.

    Args:
        source: where the shards are.
        name: of the set.
        index: what is in them.

    Raises:
        DataError: the file of places is not that of these shards.
        StorageError: it cannot be read.
    """

    def __init__(self, source: Source, name: str, index: ShardIndex) -> None:
        self.source, self._name = source, name
        self.kind, self.classes, self.set = index.kind, index.classes, index.sets[name]
        self._bounds = np.cumsum([0, *(shard.count for shard in self.set.shards)])
        starts = self._starts
        if len(starts) != len(self):
            raise DataError(
                f"{source.uri_of(starts_name(name))} speaks of {len(starts)} samples, and {INDEX} of {len(self)}: copy "
                "both again, or make the shards anew by translatekit prepare shards"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_starts"}

    @cached_property
    def _starts(self) -> np.ndarray:
        """Where each sample starts in its shard, in bytes: a file that stays on the disk."""
        name = starts_name(self._name)
        file = self._copied(name) if self.source.path is None else self.source.path / name
        try:
            return cast("np.ndarray", np.load(file, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                f"{file} cannot be read ({error}): copy it again, or make the shards anew by translatekit prepare "
                "shards"
            ) from None

    def _copied(self, name: str) -> Path:
        """The local copy of a file, made when the store has another than the last time."""
        item = self.source.stat(name)
        folder = writable_cache("shards")
        if item is None or folder is None:
            raise DataError(
                f"there is no {self.source.uri_of(name)}: copy it again, or make the shards anew"
                if item is None
                else f"{name} cannot be kept: set {VARIABLE} to a folder that can be written"
            )
        copy = (
            folder
            / f"{hash_bytes(json.dumps([self.source.uri_of(name), item.stamp, item.size]).encode())}.npy"
        )
        if not copy.is_file():
            write_atomically(copy, self.source.read(name), shared=True)
        return copy

    def __len__(self) -> int:
        """Samples."""
        return int(self._bounds[-1])

    def __getitem__(self, index: Any) -> Any:
        """The files of a sample."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self._bounds, index, "right")) - 1
        shard = self.set.shards[number]
        last = index + 1 == self._bounds[number + 1]
        # Behind the last sample, a shard ends in two blocks of zeros, and more to fill its last record.
        end = shard.size if last else int(self._starts[index + 1])
        sample = Sample(self.source, shard, int(self._starts[index]), end)
        return (
            (ShardFile(sample, "a"), ShardFile(sample, "b")) if self.kind == "pairs" else (ShardFile(sample),)
        )

    def order(self, seed: int, epoch: int, first: int) -> Iterator[np.ndarray]:
        """The indexes of an epoch from a place on, window by window (see `translatekit.training.sampling.Order`).

        The shards are shuffled, and so are the samples within each window of that order. What is read at one time thus
        lies in few shards, and memory is taken for one window, however many samples there are.
        """
        shards = np.random.default_rng((seed, epoch)).permutation(len(self.set.shards))
        counts = np.diff(self._bounds)[shards]
        ends = np.cumsum(counts)  # of each shard in this order
        shift = self._bounds[shards] - (
            ends - counts
        )  # from a place in this order to the index of its sample
        for window in range(first // WINDOW, -(-len(self) // WINDOW)):
            places = np.arange(window * WINDOW, min((window + 1) * WINDOW, len(self)))
            samples = places + shift[np.searchsorted(ends, places, "right")]
            mixed = np.random.default_rng((seed, epoch, window)).permutation(samples)
            yield mixed[max(0, first - window * WINDOW) :]


def open_shards(
    root: Place | None, kinds: Sequence[Kind], dataset: str, options: DataOptions, side: str = ""
) -> ShardSamples | None:
    """The samples of a split, where the dataset's folder is one of shards; else None.

    Args:
        root: the folder.
        kinds: of samples that the dataset takes.
        dataset: its name.
        options: which split.
        side: of unpaired images.

    Raises:
        MissingSplitError: there are shards, but none of this split.
        DataError: they hold something else, or their index cannot be understood.
        StorageError: they cannot be read.
    """
    found = None if root is None else Shards.found(root)
    if found is None:
        return None
    if options.slices is not None:
        raise DataError(
            f"{root} holds shards of single images: leave out --slices, or train on a folder of volumes"
        )
    samples = found.samples(kinds, dataset, *(name + side for name in split_names(options.split)))
    if samples is None:
        raise MissingSplitError(
            f"{root} has no {options.split} shards: make them of images with that split, or do without"
        )
    return samples
