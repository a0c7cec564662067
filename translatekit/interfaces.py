"""What a loaded thing must be: the contracts between the core, its plugins and its tools.

Tensors of images are NCHW, float32, in [-1, 1], wherever networks are trained; arrays of images are NHWC, uint8 in
[0, 255] or float32 in [0, 1], wherever files are translated. The suite in `translatekit.testing` checks each contract.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from translatekit.augmentation import Augment, Fold
from translatekit.image_spec import ImageSpec
from translatekit.types import Cache, Direction, SliceAxis

if TYPE_CHECKING:
    import numpy as np
    import torch
    from lightning_fabric import Fabric
    from torch import nn

    from translatekit.bridge import Bridge
    from translatekit.image_spec import ImageSpec
    from translatekit.model_info import ModelInfo

Progress = Callable[[str, float | None], None]
"""Told what is being done, and the share of it that is done, in [0, 1], or None where nobody knows."""

SIDES: Mapping[str, tuple[str, str]] = {"AtoB": ("A", "B"), "BtoA": ("B", "A")}
"""Of unpaired data, what a generator of each `Direction` takes and what its outputs are to be like."""


class Generator(Protocol):
    """A network from images to images: an `nn.Module`.

    Its constructor takes ``in_channels: int`` and ``out_channels: int`` and, as annotated keyword arguments with
    defaults and a docstring, the options that ``-G key=value`` sets. A generator whose descriptor says
    ``source="latent"`` takes ``latent_size``, ``num_classes``, ``out_channels`` and ``size`` instead, and its
    forward takes latent vectors (N, latent_size) and, if ``num_classes`` > 0, labels (N,). One that can be conditioned
    on texts has an option ``embedding_size``; if that is > 0, it takes their embeddings (N, embedding_size) instead.

    Attributes:
        size_multiple: each side of the input must be a multiple of this, in pixels.
    """

    size_multiple: int

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) in [-1, 1] to (N, out_channels, H, W) in [-1, 1]."""
        ...


class Discriminator(Protocol):
    """A network that judges images: an `nn.Module`.

    Its constructor takes ``in_channels: int`` and its options as annotated keyword arguments. A conditional one
    also takes ``num_classes: int``, and its forward the labels (N,) as a second argument.
    """

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, in_channels, H, W) in [-1, 1] to logits (N, 1, H', W'), one a patch; not through a sigmoid."""
        ...


class AdversarialLoss(Protocol):
    """What generator and discriminator play for, on logits of any shape.

    A loss may have a number ``boundary``: the logit above which a discriminator takes an image for real. It is 0 where
    there is none.
    """

    def discriminator(self, real: torch.Tensor, fake: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The discriminator's losses on real and on fake images, each a scalar to be minimized."""
        ...

    def generator(self, fake: torch.Tensor) -> torch.Tensor:
        """The generator's loss, a scalar to be minimized."""
        ...

    def penalty(
        self, discriminator: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor, fake: torch.Tensor
    ) -> torch.Tensor | None:
        """A regularizer of the discriminator, such as a gradient penalty: a scalar, or None where there is none.

        `real` and `fake` are batches of what the discriminator sees, of one shape. `discriminator` calls the unwrapped
        network: gradients of gradients want fp32, and the wrapping for other precisions refuses them.
        """
        ...


class ReconstructionLoss(Protocol):
    """How far an output is from its target: an `nn.Module`."""

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """A scalar, from two batches (N, C, H, W) in [-1, 1]."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """How a dataset reads its images; the same for every dataset.

    Attributes:
        split: the subfolder to read: ``train``, ``val`` or ``test``. Only ``train`` is cropped and flipped at
            random; the others are resized to `crop_size`.
        direction: which side of a pair is the input.
        load_size: images are resized to this many pixels a side before the random crop; None keeps their size.
        crop_size: what the network sees, in pixels a side.
        flip: mirror left to right, half the time.
        seed: with the epoch and the index, it decides all random geometry.
        cache: where decoded images are kept: in ``memory``, on ``disk``, or not at all.
        strict: raise on the first unreadable file instead of naming and skipping it.
        range: which values a network's -1 and 1 stand for (see `translatekit.datasets.ranges`); None where the numbers
            in files are levels from black to white.
        unit: of the values, such as ``HU``; empty for what the files say.
        slices: how many neighbouring slices of a volume an input is made of; None for one, and where TIFF files and
            those of a DICOM series are images of their own.
        labels: which images are maps of class numbers, and of which classes (see `translatekit.datasets.classes`).
        slice_axis: which slices of a volume are taken, where its file says how it lies in the body.
        valid: whether items of pairs say which pixels count, as ``valid`` (1, H, W) bool: those that have a value in
            both files. Others are in no metric.
        masks: a folder of masks that lie beside the images; what is 0 there doesn't count either.
        augment: further random changes of training images; None for none.
        fold: the part of the training images that is left out of them; it is what another split then holds. None leaves
            none out.
        random: whether images are cropped, flipped and changed at random; None where the split decides.
        specs: what the images are, by their key in an item, where that is known already: of a validation split as of
            the training images, or as a model takes and gives them. Takes the place of `range` and `labels`.
    """

    split: str = "train"
    direction: Direction = "AtoB"
    load_size: int | None = 286
    crop_size: int = 256
    flip: bool = True
    seed: int = 0
    cache: Cache = "none"
    strict: bool = False
    range: str | None = None
    unit: str = ""
    labels: str | None = None
    slices: int | None = None
    slice_axis: SliceAxis = "axial"
    valid: bool = False
    masks: Path | None = None
    augment: Augment | None = None
    fold: Fold | None = None
    random: bool | None = None
    specs: Mapping[str, ImageSpec] = field(default_factory=dict)

    @property
    def at_random(self) -> bool:
        """Whether images are cropped and changed at random."""
        return self.split == "train" if self.random is None else self.random

    @property
    def read_split(self) -> str:
        """The split whose folder is read: of folds, all lie in that of ``train``."""
        return self.split if self.fold is None else "train"


class Dataset(Protocol):
    """Training images. Its constructor is ``(root: Path | None, options: DataOptions, **its own options)``.

    An item is a dict. A paired dataset's holds ``input``, ``target`` (C, H, W) and ``name``; an unpaired one's
    ``A``, ``B``, ``name_A`` and ``name_B``; a labelled one's ``image``, ``label`` (an int) and ``name``. Images are
    float32, as `translatekit.images.codec.ValueCodec` makes them of the values that their spec speaks of: in [-1, 1],
    but for values beyond a range that is not clipped. An item depends on the seed, the epoch and the index alone,
    whichever process asks for it.

    Attributes:
        options: those it was made with.
        specs: what each image in an item is, such as ``{"input": RGB, "target": RGB}``.
        class_names: of a labelled dataset, by label; else empty.
        skipped: the files that could not be read, with the reason.
        remarks: what is worth knowing before training on it, one sentence each.

    One whose images are best read in an order of its own may have ``order(seed, epoch, first)``, an iterator of arrays
    of indexes from a place in the epoch on, each index once an epoch; else an epoch shuffles them all.

    One that reads its images by ``range``, ``labels`` or slices says so by ``sides``: what the images of each side are,
    by what ``--range`` calls it, such as ``A``; without it these options are refused. ``side_of`` says which side the
    images of each key are of, for ``--augment`` of the colours of one side.

    One whose images are described by texts may have ``embedding_size`` above 0; its items then hold ``embedding``,
    (embedding_size,), float32.

    One that knows what the colours of its label maps mean may have ``palettes`` as well: lists of `PaletteClass` by
    the key of an image in an item. Models, the painting page and reports take the names from there.
    """

    options: DataOptions
    specs: Mapping[str, ImageSpec]
    class_names: tuple[str, ...]
    skipped: list[tuple[Path, str]]
    remarks: list[str]

    def __len__(self) -> int:
        """Items an epoch."""
        ...

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One item."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """Choose the random geometry (and an unpaired dataset's partners) of an epoch."""
        ...


@runtime_checkable
class NetworkFactory(Protocol):
    """Makes the networks a user asked for, initialized, with their options checked.

    Attributes:
        generator_name, discriminator_name: their names in the registry, whose descriptors say what they take;
            None where the method has no discriminator.
    """

    @property
    def generator_name(self) -> str: ...  # noqa: D102

    @property
    def discriminator_name(self) -> str | None: ...  # noqa: D102

    def generator(self, *, conditions: tuple[str, ...] = (), **arguments: Any) -> nn.Module:
        """The chosen generator.

        Args:
            conditions: what the method gives it beside the image's channels, in planes of their own behind them. A
                generator that wants others is refused; see `translatekit.specs.GeneratorSpec`.
            arguments: those that are not the user's, such as ``in_channels``, in which conditions are not counted.
        """
        ...

    def discriminator(self, **arguments: Any) -> nn.Module:
        """The chosen discriminator.

        What an image is conditioned on comes before it in what it is given: ``torch.cat([condition, image], 1)``.
        """
        ...

    def initialize(self, network: nn.Module) -> nn.Module:
        """A network of the method's own, its weights initialized as the user asked."""
        ...


LossRole = Literal["adversarial", "discriminator", "reconstruction"]
"""A generator's loss against a discriminator, a discriminator's own, or what holds an output to an image."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A generator that users will run, and the images it is trained on.

    Attributes:
        network: one of the method's own, made by the factory, so that a model file can describe it.
        input: the key of the images in a batch that it takes, such as ``input`` or ``A``; None where it takes none.
        target: the key of those that its outputs are to be like, such as ``target`` or ``B``.
        bridge: of a network that is run several times for one image, what leads from each pass to the next. It then
            takes the planes of `translatekit.bridge.CONDITIONS` beside the channels of a place on the way. None for
            one that is run once.
    """

    network: nn.Module
    input: str | None
    target: str
    bridge: Bridge | None = None


class MakeOptimizer(Protocol):
    """Makes an optimizer as the run's options say."""

    def __call__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        lr: float | None = None,
        betas: tuple[float, float] | None = None,
    ) -> torch.optim.Optimizer:
        """Adam for some parameters; its initial learning rate and betas are the run's where they are None."""
        ...


class Method(Protocol):
    """A training method. Its constructor is ``(options, networks: NetworkFactory, data: Dataset)``.

    `translatekit.training.method.Method` is a base that does all but the mathematics.

    One that learns from a model may have a static method ``image_specs(options)``, which gives what the images are by
    their keys in an item; the data are then read as that, whatever the files hold.

    Attributes:
        networks: by name; what `step` calls.
        unwrapped: the same networks without the wrapping of `setup`; their weights are what a checkpoint holds.
        optimizers: by name, which need not be that of a network; a checkpoint holds their states.
        loss_roles: what the losses of a step are, by name, as far as they are any of `LossRole`; what is said of a
            run's troubles goes by it.
    """

    networks: dict[str, Any]
    unwrapped: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    loss_roles: Mapping[str, LossRole]

    def begin(self, batch: Mapping[str, Any]) -> None:
        """Make the networks whose shapes depend on what others give.

        Called once, before `setup`, also when a run is resumed: what is made here is then filled from the checkpoint.

        Args:
            batch: the first images of the data, on the CPU; the same for every process.
        """
        ...

    def setup(self, fabric: Fabric, make_optimizer: MakeOptimizer, wrap: Callable[[nn.Module], Any]) -> None:
        """Make the optimizers, move everything to its device and wrap it for the precision and strategy in use.

        Args:
            fabric: the engine.
            make_optimizer: from parameters to their optimizer.
            wrap: what is done to a network first (memory format, compilation).
        """
        ...

    def step(self, *batches: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Train on one batch, all optimizer steps included.

        Args:
            batches: one; or several, which are trained on as parts of one, their gradients accumulated. A method
                that takes one alone (``step(self, batch)``) is refused where gradients are to be accumulated.

        Returns:
            The losses by name, detached scalars; and under names that start with ``accuracy``, the discriminators'
            accuracies in [0, 1]. Not every step need give all of them, but all processes give the same in a step.
        """
        ...

    def learning_rate_factor(self, optimizer: str, step: int, epoch: int) -> float | None:
        """What an optimizer's initial learning rate is multiplied by; None leaves it to the run's schedule.

        Args:
            optimizer: its name.
            step: how many are done.
            epoch: how many are done.
        """
        ...

    def deployed(self) -> dict[str, Deployed]:
        """The generators that a user will run, by name; the first is the main one."""
        ...

    def samples(self, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Images to look at, by column title: (N, C, H, W) in [-1, 1] each."""
        ...

    def extra_state(self) -> dict[str, Any]:
        """Whatever an exact resume needs beside networks and optimizers, such as image pools."""
        ...

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take `extra_state` back."""
        ...


@dataclass(frozen=True, slots=True)
class MetricImages:
    """A batch of images to measure, and what their values mean.

    Attributes:
        values: (N, C, H, W), float32: in [-1, 1] where the spec has levels, else as they are, in its unit.
        spec: what they are.
        valid: (N, 1, H, W) bool: the pixels that count; None where all do.
    """

    values: torch.Tensor
    spec: ImageSpec
    valid: torch.Tensor | None = None

    @property
    def data_range(self) -> float:
        """From the lowest to the highest value that there can be."""
        low, high = (-1.0, 1.0) if self.spec.levels else self.spec.span
        return high - low

    def normalized(self) -> torch.Tensor:
        """The values with their range drawn to [-1, 1], (N, C, H, W)."""
        if self.spec.levels:
            return self.values
        low, high = self.spec.span
        return (self.values - low) / (high - low) * 2 - 1


class PairMetric(Protocol):
    """How far outputs are from their targets; the figure of a set of images is the mean of theirs.

    Its constructor takes its options as annotated keyword arguments.
    """

    def __call__(self, output: MetricImages, target: MetricImages) -> torch.Tensor:
        """The figure of each image, (N,); it does not depend on the others of its batch.

        Args:
            output: what a model made.
            target: what it should have made, of the same shape and spec; its ``valid`` says which pixels count.
        """
        ...


class SetMetric(Protocol):
    """How unlike two sets of images are, by features.

    Attributes:
        extractor: from images to features (N, D), each image's independent of the others of its batch. Metrics with
            the same extractor are given the same features.
    """

    extractor: Callable[[MetricImages], torch.Tensor]

    def __call__(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        """The figure for the features of real and of generated images, (N, D) and (M, D), in any order."""
        ...


class LabelMetric(Protocol):
    """How well the classes of label maps agree."""

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Figures (...) from counts of pixels (..., K, K): the wanted class by row, the found one by column."""
        ...


class VideoMetric(Protocol):
    """How good a translated video is, from its frames in order."""

    def update(self, frame: np.ndarray, output: np.ndarray) -> None:
        """See one more frame and its translation, (H, W, C) uint8 each."""
        ...

    def compute(self) -> float:
        """The figure of all frames so far, of which there are at least two."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRun:
    """What a logger is told of a run before anything of it is logged.

    Attributes:
        folder: of the run.
        own: a folder in it for files of the logger's, which need not be there yet.
        name: of the run, for people.
        options: all of them, resolved, by name; those of networks as ``generator_options.depth``.
        step: how many steps are done: 0 of a new run.
        key: what the logger's `Logger.key` was when the run was last trained; None for a new one.
    """

    folder: Path
    own: Path
    name: str
    options: Mapping[str, bool | int | float | str]
    step: int = 0
    key: str | None = None


Outcome = Literal["finished", "stopped", "failed"]
"""How a training ends: at its end, because it was asked to, or by an error."""


class Logger(Protocol):
    """Takes a training's figures and samples. Its constructor takes its options as annotated keyword arguments.

    The constructor imports what the logger needs and refuses, with an `OptionError`, what the user can mend; it
    connects to nothing. All else is called one after the other in a thread of the logger's own, so that it may take its
    time. What raises an error is said once and tried again a few times; the training goes on meanwhile.

    Attributes:
        key: after `start`, by what the run is found again when it is resumed; None where its folder is enough.
        where: after `start`, where people look at the run; None where there is nothing to say.
    """

    key: str | None
    where: str | None

    def start(self, run: LoggedRun) -> None:
        """Begin a run, or go on with the one of ``run.key``."""
        ...

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log figures, such as ``loss/G_L1``, which may be infinite or NaN. Steps never fall within a session."""
        ...

    def image(self, step: int, name: str, file: Path) -> None:
        """Log an image, a PNG file that stays where it is."""
        ...

    def finish(self, outcome: Outcome) -> None:
        """End the session. Model files, samples and the page of the run are written by then."""
        ...


class Translator(Protocol):
    """A loaded model, ready to translate arrays of images.

    What follows is all that one must have. ``run`` uses more of it where it is there: ``device``, its name;
    ``preferred_batch``, how many images at once are quickest; ``dtypes``, those of ``uint8`` and ``float32`` that it
    takes without a loss, both where it does not say; ``submit(batch)``, which returns at once, and ``result()`` of what
    it returns, so that several batches are in flight; ``set_noise(seed)`` for ``--noise``; and
    ``fixed_statistics(parts)`` for ``--tile``, within which a part of an image is normalized by the statistics of all
    of its parts.

    Attributes:
        info: the model file's header.
    """

    info: ModelInfo

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Translate a batch.

        Args:
            batch: (N, H, W, C) of ``info.input``, H and W multiples of ``info.size_multiple``: uint8 or float32 where
                that has levels or class numbers, else float32. NaN and infinity are refused.

        Returns:
            (N, H, W, C') of ``info.output``: where that has levels, of the dtype that came in; class numbers are
            uint8, all else float32. Each image's result is independent of the others in its batch.
        """
        ...


class Backend(Protocol):
    """Opens model files of its suffixes: a function."""

    def __call__(self, path: Path, device: str, precision: str | None) -> Translator:
        """Load `path` for `device` (``auto``, ``cpu``, ``cuda``, ``cuda:1``).

        Args:
            path: the model file.
            device: where to run it.
            precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``; None for what the file was made for. One that is slow
                here is said with a `translatekit.errors.TranslatekitWarning`.
        """
        ...


class ModelSource(Protocol):
    """A trained model in the forms that compilers take.

    Attributes:
        path: of the file that is compiled.
        info: its header.
        dtype: that the graph is to take, ``uint8`` or ``float32``.
    """

    path: Path
    info: ModelInfo
    dtype: str

    def onnx(self, precision: Literal["fp32", "fp16", "bf16"] = "fp32") -> Path:
        """The model as an ONNX file; in fp16 and bf16, convolutions alone compute in that.

        Raises:
            ModelFileError: the network cannot be exported, or its weights are not finite.
        """
        ...

    def images(self, folder: str | None, count: int) -> tuple[list[np.ndarray], str]:
        """Images (H, W, C), of `dtype`, to calibrate or check on, and where they are from.

        Args:
            folder: of the user's images; None for those that the model was trained on, else drawn ones.
            count: how many at most.

        Raises:
            DataError: there is no such folder, or it holds no image that can be read.
        """
        ...


class Compiler(Protocol):
    """Writes a backend's files from trained models: a function."""

    def __call__(self, source: ModelSource, out: Path, options: Any, progress: Progress) -> dict[str, Any]:
        """Compile a model.

        Args:
            source: the model.
            out: the file to write; what goes with it lies beside it.
            options: those of ``translatekit compile``, `precision` and `device` among them.
            progress: told how far it is.

        Returns:
            What was made, for the header's `compiled`: ``backend``, ``precision``, ``versions`` and, where it does not
            take images of any size, ``shapes``.

        Raises:
            TranslatekitError: the model cannot be compiled so.
        """
        ...
