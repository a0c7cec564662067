"""What plugins hand over: small frozen descriptors that say what a thing is called and where it lives.

A descriptor costs nothing to make. The thing itself is imported by `Spec.load` when it is first used, so that
listing everything that is installed imports no torch.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from translatekit.errors import OptionError, PluginError, TranslatekitError
from translatekit.requirements import NETWORKS, missing, require

DataKind = Literal["paired", "unpaired", "labelled"]
Compares = Literal["pairs", "sets", "labels", "video"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One thing that a plugin offers.

    Attributes:
        name: what the user types.
        target: ``"package.module:attribute"``, imported only when used.
        summary: one line, shown by ``translatekit plugins`` without importing the target.
        requires: import names of optional packages that the target needs; when one is missing, the error says
            what to install. Write ``"module=distribution[extra]"`` where the two names differ, and ``"one|other=..."``
            where either will do.
    """

    kind: ClassVar[str] = "thing"
    kind_requires: ClassVar[tuple[str, ...]] = ()  # what all of the kind require beside

    name: str
    target: str
    summary: str
    requires: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no user could type and what could never be imported.

        Raises:
            PluginError: the name or the target is malformed.
        """
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            raise PluginError(f"a {self.kind} cannot be named {self.name!r}: use letters, digits, _ and -")
        if not re.fullmatch(r"\w+(\.\w+)*:\w+", self.target):
            raise PluginError(
                f"{self.kind} {self.name!r} has the target {self.target!r}: write package.module:attribute"
            )

    def load(self) -> Any:
        """Import the target and return it.

        Raises:
            PluginError: a required package is not installed, or the target cannot be imported.
        """
        self.require()
        return import_target(self.target, f"{self.kind} {self.name!r}")

    def require(self) -> None:
        """See that all that the target needs is installed.

        Raises:
            PluginError: it is not; says what to install.
        """
        require(f"{self.kind} {self.name!r}", (*self.kind_requires, *self.requires))

    def missing(self) -> list[str]:
        """What to ``pip install`` before the target can be used; empty when all that it needs is there."""
        return missing((*self.kind_requires, *self.requires))


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSpec(Spec):
    """A generator: a class whose keyword arguments are its options (see `translatekit.interfaces.Generator`).

    Attributes:
        size_multiple: with its default options, each side of an input must be a multiple of this, in pixels.
            The loaded network's own attribute of this name holds for the options it was made with.
        source: what it maps from: an ``"image"``, or a ``"latent"`` vector (with a label where there
            are any).
        conditions: the names of the last of its `in_channels`, which are no part of the image but say how to make it,
            such as ``("time", "noise")``. Only methods that give it just these can train it.
        students: ``"package.module:function"``, from a network's options to an iterator of those of smaller ones of
            its family, which ``translatekit distill`` chooses among; None where it offers none. A network with a method
            ``start_from(teacher)`` starts with weights of the larger one.
    """

    kind: ClassVar[str] = "generator"
    kind_requires: ClassVar[tuple[str, ...]] = NETWORKS
    size_multiple: int = 1
    source: Literal["image", "latent"] = "image"
    conditions: tuple[str, ...] = ()
    students: str | None = None

    def load_students(self) -> Any:
        """What gives the options of smaller networks of its family.

        Raises:
            PluginError: nothing does, or it cannot be imported.
        """
        if self.students is None:
            raise PluginError(
                f"generator {self.name!r} offers no smaller forms of itself: name one with --student KEY=VALUE"
            )
        self.require()
        return import_target(self.students, f"the students of generator {self.name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscriminatorSpec(Spec):
    """A discriminator: a class whose keyword arguments are its options.

    Attributes:
        conditional: whether its forward takes class labels beside the image.
    """

    kind: ClassVar[str] = "discriminator"
    kind_requires: ClassVar[tuple[str, ...]] = NETWORKS
    conditional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec(Spec):
    """A loss: a class whose keyword arguments are its options.

    Attributes:
        role: ``"adversarial"`` (see `interfaces.AdversarialLoss`) or ``"reconstruction"``
            (see `interfaces.ReconstructionLoss`).
    """

    kind: ClassVar[str] = "loss"
    kind_requires: ClassVar[tuple[str, ...]] = NETWORKS
    role: Literal["adversarial", "reconstruction"] = "reconstruction"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec(Spec):
    """A dataset: a class made from a folder and a `translatekit.interfaces.DataOptions`.

    Attributes:
        provides: what its items hold: ``"paired"``, ``"unpaired"`` or ``"labelled"`` images.
        folder: whether it reads a folder that the user names. One that draws its images gets None, and a folder that
            is named for it is refused. One that reads by another dataset says None, and takes what that takes.
        stores: whether its folder may lie in an archive or an object store. It then gets a
            `translatekit.datasets.stored.StoredPath`, which is used like a `pathlib.Path`.
        folds: whether ``--fold`` leaves a part of its training images out, as `DataOptions.fold` says: one that reads
            them by `translatekit.datasets.base.Samples` from the folder of `DataOptions.read_split` does.
        directed: whether ``--direction`` says which side of its pairs is the input. Only pairs can have two.
    """

    kind: ClassVar[str] = "dataset"
    kind_requires: ClassVar[tuple[str, ...]] = NETWORKS
    provides: DataKind = "paired"
    folder: bool | None = True
    stores: bool = False
    folds: bool = False
    directed: bool = True

    def check_folder(self, folder: object) -> None:
        """Refuse a folder that would be ignored.

        Raises:
            OptionError: one is named, and this dataset reads none.
        """
        if folder is not None and self.folder is False:
            raise OptionError(
                f"dataset {self.name!r} reads no folder, and {folder} would be ignored: leave it out, or pass another "
                "--dataset, such as aligned"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSpec(Spec):
    """A training method (see `translatekit.interfaces.Method`).

    Attributes:
        options: ``"package.module:Dataclass"`` with the method's own options. Its module must not import
            torch, because ``translatekit train METHOD --help`` is generated from it.
        data: what it trains on.
        directed: whether it learns one way only from unpaired images, which ``--direction`` then chooses.
        generator, dataset: the names it uses when the user names none.
        discriminator: likewise; None for a method that has none, which offers no options of one.
        defaults: values of `translatekit.config.TrainOptions` that this method starts from instead of the
            general ones, as pairs of field name and value.
        recipes: bundles of defaults by the names that ``--recipe`` takes: values of `TrainOptions` and of the method's
            own options, in place of all other defaults. ``paper``, which changes nothing, is always there.
    """

    kind: ClassVar[str] = "method"
    kind_requires: ClassVar[tuple[str, ...]] = NETWORKS
    options: str
    data: DataKind
    directed: bool = False
    generator: str
    dataset: str
    discriminator: str | None = None
    defaults: tuple[tuple[str, Any], ...] = ()
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def recipe(self, name: str | None) -> Mapping[str, Any]:
        """The defaults of a recipe; none where none is named.

        Raises:
            OptionError: the method has no such recipe.
        """
        known: dict[str, Mapping[str, Any]] = {"paper": {}, **self.recipes}
        if name is not None and name not in known:
            raise OptionError(f"{self.name} has no recipe {name!r}: pass --recipe {' or '.join(known)}")
        return known.get(name or "paper", {})

    def load_options(self) -> type[Any]:
        """The dataclass of the method's own options, imported without torch."""
        options: type[Any] = import_target(self.options, f"the options of method {self.name!r}")
        return options


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSpec(Spec):
    """What runs a model file of some kind: a function ``(path, device, precision) -> Translator``.

    Attributes:
        suffixes: of the files that are its own, with the dot: it runs them, and its compiler writes them.
        also_runs: suffixes of other backends' files that it runs where it is asked for by name.
        folders: whether its files are folders, which are written, replaced and copied whole.
        devices: the devices it may serve, such as ``("cpu", "cuda")``.
        compiler: ``"package.module:function"``, what writes such files from trained models; None where nothing
            does. A `translatekit.interfaces.Compiler`. It wants a `reader` and a `writer` of its files.
        compiler_requires: what the compiler needs beside, as `requires` has it.
        compiler_options: of the options of ``compile`` that only some backends have (such as ``"shapes"``), those that
            this compiler looks at: the others are refused. None for all of them.
        reader: ``"package.module:function"``, from a file's path to its `translatekit.model_info.ModelInfo`, without
            loading the model.
        writer: ``"package.module:function"`` of a path and a `ModelInfo`, which puts it into a compiled file.
        checker: ``"package.module:function"`` of a path and a device, what a file that was just compiled is compared by
            where the machine may be none that runs it: a translator, and a remark on how it computes or nothing. None
            for the target itself.
        machine: ``"package.module:function"`` without arguments, which raises an `OptionError` where this machine is
            none that runs such files, though it may compile them; None where every machine does.
    """

    kind: ClassVar[str] = "backend"
    suffixes: tuple[str, ...]
    also_runs: tuple[str, ...] = ()
    folders: bool = False
    devices: tuple[str, ...] = ("cpu",)
    compiler: str | None = None
    compiler_requires: tuple[str, ...] = ()
    compiler_options: tuple[str, ...] | None = None
    reader: str | None = None
    writer: str | None = None
    checker: str | None = None
    machine: str | None = None

    def load_compiler(self) -> Any:
        """What writes the backend's files.

        Raises:
            PluginError: nothing does, or what it needs is not installed.
        """
        require(f"compiling for {self.name}", self.compiler_requires)
        return self._function(self.compiler, "compiler")

    def load_reader(self) -> Any:
        """What reads a file's header."""
        return self._function(self.reader, "reader")

    def load_writer(self) -> Any:
        """What puts a header into a file."""
        return self._function(self.writer, "writer")

    def load_checker(self) -> Any:
        """What a file that was just compiled is compared by."""
        return self._function(self.checker, "checker")

    def check_machine(self) -> None:
        """Raise where this machine is none that runs the backend's files.

        Raises:
            OptionError: it is none.
        """
        if self.machine is not None:
            self._function(self.machine, "machine")()

    def _function(self, target: str | None, what: str) -> Any:
        if target is None:
            raise PluginError(f"backend {self.name!r} has no {what}: update the package it came with")
        return import_target(target, f"the {what} of backend {self.name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec(Spec):
    """A metric: a class whose keyword arguments are its options.

    Attributes:
        compares: ``"pairs"``, each output with its target (see `interfaces.PairMetric`); ``"sets"``, all outputs with
            all real images (`interfaces.SetMetric`); ``"labels"``, the classes of label maps
            (`interfaces.LabelMetric`); or ``"video"``, the frames of a translated video (`interfaces.VideoMetric`).
        better: whether ``"lower"`` or ``"higher"`` figures are better.
        label: how it is written for people; its name where it is empty.
        unit: of its figures, such as ``dB``; ``"image"`` for that of the images, where they have one.
        minimum, maximum: the range of its figures; None where it has no bound.
        perfect: its figure for identical images; None where it names none.
        channels: how many channels the images may have; any where it is empty.
        validation: whether every validation of a training measures it: one that costs little and needs no weights.
    """

    kind: ClassVar[str] = "metric"
    compares: Compares
    better: Literal["lower", "higher"]
    label: str = ""
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    perfect: float | None = None
    channels: tuple[int, ...] = ()
    validation: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatSpec(Spec):
    """A format of image files: a function from a path, or a file's bytes, to a `translatekit.images.formats.Reader`.

    Attributes:
        suffixes: of its files, in lower case, with the dot; two dots are allowed, as in ``.nii.gz``.
        writer: ``"package.module:function"``, called as ``encode(image, suffix, quality=95, compression=4)`` with a
            `translatekit.images.Image`; it returns the bytes of a file. None where single images are not written.
        volume_writer: ``"package.module:function"``, called as
            ``write(path, images, pages=N, suffix=".x", compression=4)`` with as many images as there are pages; it
            writes the file, or the folder, `path`, and holds one image at a time where the format allows. None where
            only single images are written.
        written: the suffixes that the writers write; all, where there is a writer and this is empty.
        signatures: what its files start with, as pairs of an offset in bytes and the bytes found there: how it is told
            without a suffix.
        dtypes: of the numbers that are written and read again exactly.
        takes: dtypes of values that it writes, too, though they come back rounded or as another dtype.
        channels: how many it writes; empty where any number will do.
        lossless: whether what it writes is read again exactly.
        alpha, profile: whether transparency and colour profiles are written.
        keeps: what else of an image comes back with it, in words.
        volumes: whether a file holds slices of a volume, or pages.
        any_axis: whether its reader takes an ``axis``, of `translatekit.types.SliceAxis`, that its slices are of.
        folders: whether a folder may be one such image, as a DICOM series is.
        fallback: whether it is asked only for suffixes that no other format has.
    """

    kind: ClassVar[str] = "format"
    suffixes: tuple[str, ...]
    writer: str | None = None
    volume_writer: str | None = None
    written: tuple[str, ...] = ()
    signatures: tuple[tuple[int, bytes], ...] = ()
    dtypes: tuple[str, ...] = ("uint8",)
    takes: tuple[str, ...] = ()
    channels: tuple[int, ...] = ()
    lossless: bool = True
    alpha: bool = False
    profile: bool = False
    keeps: tuple[str, ...] = ()
    volumes: bool = False
    any_axis: bool = False
    folders: bool = False
    fallback: bool = False

    @property
    def written_suffixes(self) -> tuple[str, ...]:
        """The suffixes that single images are written with."""
        return (self.written or self.suffixes) if self.writer is not None else ()

    @property
    def holds(self) -> str:
        """What its files hold, in words, such as ``1 or 3 channels of uint8``."""
        some = _either([str(count) for count in self.channels]) or "any number of"
        one = "channel" if self.channels == (1,) else "channels"
        return f"{some} {one} of {_either(self.dtypes)}"

    def load_writer(self) -> Any:
        """What encodes an image.

        Raises:
            PluginError: nothing does, or a required package is not installed.
        """
        return self._part(self.writer, "writer of images")

    def load_volume_writer(self) -> Any:
        """What writes several images into one file.

        Raises:
            PluginError: nothing does, or a required package is not installed.
        """
        return self._part(self.volume_writer, "writer of volumes")

    def _part(self, target: str | None, what: str) -> Any:
        if target is None:
            raise PluginError(f"format {self.name!r} has no {what}: choose another format, such as .tiff")
        self.require()
        return import_target(target, f"the {what} of format {self.name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggerSpec(Spec):
    """A logger: a class whose keyword arguments are its options (see `translatekit.interfaces.Logger`)."""

    kind: ClassVar[str] = "logger"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec(Spec):
    """A command of the ``translatekit`` program: a click command.

    Attributes:
        api: ``"package.module:function"``, the Python function behind the command, where there is one.
    """

    kind: ClassVar[str] = "command"
    api: str | None = None

    def load(self) -> Any:
        """Import the click command; what it requires need not be there, since its help is shown without."""
        return import_target(self.target, f"{self.kind} {self.name!r}")

    def load_api(self) -> Any:
        """The Python function behind the command.

        Raises:
            PluginError: the command has none, it cannot be imported, or what it needs is not installed.
        """
        self.require()
        if self.api is None:
            raise PluginError(
                f"command {self.name!r} offers no Python function: use it from the command line"
            )
        return import_target(self.api, f"the function of command {self.name!r}")


def _either(words: Sequence[str]) -> str:
    """One of these, as a sentence says it."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def import_target(target: str, owner: str) -> Any:
    """Import ``"package.module:attribute"``.

    Raises:
        PluginError: names the owner and says what failed.
    """
    module_name, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except TranslatekitError:
        raise  # it says itself what to do
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise PluginError(
            f"{owner} could not be imported from {target!r} ({reason}): "
            "update or uninstall the package it came with"
        ) from error


SPEC_TYPES: dict[str, type[Spec]] = {
    spec.kind: spec
    for spec in (
        GeneratorSpec,
        DiscriminatorSpec,
        LossSpec,
        DatasetSpec,
        MethodSpec,
        MetricSpec,
        BackendSpec,
        FormatSpec,
        LoggerSpec,
        CommandSpec,
    )
}
