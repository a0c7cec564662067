"""The evaluation itself: every model over the same images, then statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from translatekit.config import RunConfig
from translatekit.datasets import make_dataset, sides_of
from translatekit.datasets.layouts import MissingSplitError
from translatekit.datasets.palette import (
    PALETTE_FILE,
    Palette,
    PaletteClass,
    known_palette,
    learn_palette,
    read_palette,
    stored_palette,
)
from translatekit.errors import DataError, OptionError
from translatekit.image_spec import ImageSpec
from translatekit.images import to_uint8
from translatekit.images.codec import ValueCodec
from translatekit.images.preview import preview
from translatekit.inference.batching import Request
from translatekit.inference.predictor import Predictor
from translatekit.inference.stages import batched
from translatekit.interfaces import SIDES, DataOptions, Dataset, MetricImages, SetMetric
from translatekit.metrics import better, metric_specs
from translatekit.metrics.labels import class_accuracies, ious
from translatekit.metrics.pairs import measure_pairs
from translatekit.model_info import ModelInfo
from translatekit.registry import registry
from translatekit.requirements import VIDEO, require
from translatekit_tools.evaluate.choice import ChosenMetrics, choose_metrics
from translatekit_tools.evaluate.labels import confusion
from translatekit_tools.evaluate.models import check_channels, display_names, open_predictor, run_of
from translatekit_tools.evaluate.options import EvaluateOptions
from translatekit_tools.evaluate.result import ClassScore, Evaluation, Example, ModelResult
from translatekit_tools.evaluate.statistics import Bootstrap, around, halves

_LABEL_IMAGES = 8  # looked at to tell label maps from photographs


@dataclass
class Images:
    """The images to measure on, as arrays (H, W, C) of their specs: uint8 where they have levels of 8 bits or classes.

    Attributes:
        data: the dataset.
        source, target: the keys of its items.
        indices: of the items that are taken.
        paired: whether the target belongs to the input.
    """

    data: Dataset
    source: str
    target: str
    indices: list[int]
    paired: bool

    def __len__(self) -> int:
        return len(self.indices)

    def item(self, number: int) -> tuple[str, np.ndarray, np.ndarray]:
        """Name, input and target (unpaired: any image of the other side)."""
        item = self.data[self.indices[number]]
        name = item["name"] if self.paired else item[f"name_{self.source}"]
        source, target = (
            to_array(item[key], self.data.specs[key], item[self.source]) for key in (self.source, self.target)
        )
        return str(name), source, target

    def items(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """All of them, in order."""
        return map(self.item, range(len(self)))

    def others(self, size: int) -> Iterator[np.ndarray]:
        """Each image of the target's side of unpaired data, once."""
        seen: set[str] = set()
        batch: list[np.ndarray] = []
        for index in range(len(self.data)):
            item = self.data[index]
            name = str(item[f"name_{self.target}"])
            if name not in seen:
                seen.add(name)
                batch.append(to_array(item[self.target], self.data.specs[self.target], item[self.source]))
            if len(batch) == size:
                yield np.stack(batch)
                batch = []
        if batch:
            yield np.stack(batch)


@dataclass
class Tools:
    """What measures: None where it was not asked for or cannot be had."""

    metrics: ChosenMetrics
    palette: list[PaletteClass] | None
    target_is_labels: bool
    segmenter: Predictor | None
    device: torch.device


@dataclass(slots=True)
class _Asked:
    """An image whose translation is measured."""

    source: np.ndarray
    target: np.ndarray
    request: Request


@dataclass
class Measured:
    """Raw figures of one model: by image, or as confusions of label maps, or as features by their extractor."""

    values: dict[str, np.ndarray] = field(default_factory=dict)
    confusions: dict[str, np.ndarray] = field(default_factory=dict)
    features: dict[int, Tensor] = field(default_factory=dict)


def measure(
    paths: Sequence[Path],
    data: Path | None,
    options: EvaluateOptions,
    *,
    videos: Sequence[Path],
    progress: Callable[[int, int], None],
) -> Evaluation:
    """See `translatekit_tools.evaluate.evaluate`."""
    predictors = [open_predictor(path, options) for path in paths]
    _check_directions(paths, predictors)
    notes: list[str] = []
    data, options = choose_data(data, options, paths[0], predictors[0].info, notes)
    images = open_images(data, options, predictors[0].info)
    notes += [f"skipped {path}: {reason}" for path, reason in images.data.skipped]
    tools = _tools(options, images, data, predictors[0].info, notes)

    names = display_names(list(paths))
    total = len(images) * len(paths)
    real = _real_features(images, tools, options.batch_size)
    measured = []
    for number, predictor in enumerate(predictors):
        done = partial(_advance, progress, number * len(images), total)
        measured.append(_measure_one(predictor, images, tools, options.batch_size, done))
    results = [
        ModelResult(name, str(path), predictor.info.step)
        for name, path, predictor in zip(names, paths, predictors, strict=True)
    ]
    _summarize(results, measured, images, tools, options, real)
    if options.discriminator:
        _add_discriminators(results, images, paths, options)
    for video in videos:
        require("--temporal", VIDEO)
        from translatekit_tools.evaluate.video import measure_video

        for result, predictor in zip(results, predictors, strict=True):
            for name, value in measure_video(predictor, video).items():
                key = name if len(videos) == 1 else f"{name} {video.name}"
                result.metrics[key] = around(value, [])
    examples = _examples(images, predictors, names, measured[0], options) if options.report else []
    return Evaluation(
        data=data.resolve().name if data else str(options.dataset),
        split=options.split,
        images=len(images),
        models=results,
        examples=examples,
        notes=notes,
    )


# --- what is measured on ----------------------------------------------------------------------------------------


def choose_data(
    root: Path | None, options: EvaluateOptions, model: Path, info: ModelInfo, notes: list[str]
) -> tuple[Path | None, EvaluateOptions]:
    """Which images to measure on: their folder, and the options with the dataset filled in.

    Without a folder they are those of the run that the model lies in, or what was drawn for its training.

    Args:
        root: the folder that the user named.
        options: which dataset the user named, and with what options.
        model: the first model's path.
        info: its header.
        notes: told where the images come from, where the user did not say.

    Raises:
        DataError: there is nothing to measure on, or it is not there any more.
    """
    datasets, methods = registry("dataset"), registry("method")
    name = options.dataset or info.data.get("dataset")
    if root is not None:
        if options.dataset is None and (name is None or not datasets.get(name).folder):
            name = methods.get(info.method).dataset if info.method in methods.names() else "aligned"
        return root, replace(options, dataset=name)
    run = None if options.dataset and not datasets.get(options.dataset).folder else run_of(model)
    if run is not None:
        config = RunConfig.from_toml(run / "config.toml")
        trained_on = str(config.options.dataset)
        own = config.options.dataset_options if options.dataset in (None, trained_on) else {}
        name = options.dataset or trained_on
        if config.data is not None:
            root = Path(config.data)
            if not root.is_dir():
                raise DataError(f"the run's data, {root}, are not there any more: name their folder as DATA")
        options = replace(options, dataset_options={**own, **options.dataset_options})
        notes.append(f"measured on the run's own data, {config.data or name}")
    if root is None and (name is None or datasets.get(name).folder):
        raise DataError(f"{model} does not say where its images lie: name a folder of images as DATA")
    return root, replace(options, dataset=name)


def open_images(root: Path | None, options: EvaluateOptions, info: ModelInfo) -> Images:
    """The images of one split, in the model's direction.

    Raises:
        OptionError: the dataset has labels and no images to translate.
        DataError: there are no such images.
    """
    name = options.dataset or info.data.get("dataset") or ("aligned" if root else "demo")
    spec = registry("dataset").get(name)
    if spec.provides == "labelled":
        raise OptionError(
            f"the dataset {name!r} gives images by class and nothing to translate them to: pass another --dataset"
        )
    own = dict(options.dataset_options)
    if info.output.codec == "lab" and "mode" not in own and name == "colorization":
        own["mode"] = "rgb"  # the model takes gray and gives RGB, whatever its network predicts
    paired = spec.provides == "paired"
    direction: Any = info.direction if info.direction in SIDES else "AtoB"
    # Images are read as the model takes and gives them; colours that are made for a lightness are compared as RGB.
    keys = ("input", "target") if paired else SIDES[direction]
    specs = dict(zip(keys, (info.input, info.output), strict=True)) if info.output.codec != "lab" else {}
    data_options = DataOptions(
        split=options.split,
        direction=direction if paired else "AtoB",
        load_size=options.size or info.size,
        crop_size=options.size or info.size,
        flip=False,
        slices=info.input.slices if info.input.slices > 1 else None,
        specs=specs,
    )
    try:
        data = make_dataset(name, root, data_options, own)
    except MissingSplitError:
        raise DataError(
            f"{root} has no {options.split} images: pass --split train, or add a folder {options.split}"
        ) from None
    data.set_epoch(0)
    source, target = sides_of(data, info)
    indices: list[int] = []
    seen: set[str] = set()
    for index in range(len(data)):
        if len(indices) == options.max_images:
            break
        if not paired:  # an epoch of unpaired data shows the smaller side more than once
            own_name = str(data[index][f"name_{source}"])
            if own_name in seen:
                continue
            seen.add(own_name)
        indices.append(index)
    return Images(data, source, target, indices, paired)


def to_array(image: Tensor, spec: ImageSpec, taken: Tensor) -> np.ndarray:
    """A network's image as an array.

    Args:
        image: (C, H, W), of the spec.
        spec: what it is.
        taken: what the network is given with it, which is the lightness of colours.

    Returns:
        (H, W, C'): uint8 for levels of 8 bits and for classes, else float32.
    """
    if spec.codec == "onehot":
        classes = torch.tensor(spec.ids, dtype=torch.uint8)[image[: len(spec.ids)].argmax(dim=0)]
        return torch.cat([classes[None], image[len(spec.ids) :].to(torch.uint8)]).permute(1, 2, 0).numpy()
    kind = torch.uint8 if spec.dtype == "uint8" else torch.float32
    return np.asarray(ValueCodec(spec).decode(image[None], taken[None], kind)[0].numpy())


def _metric_images(images: np.ndarray, spec: ImageSpec, device: torch.device) -> MetricImages:
    """Arrays (N, H, W, C) of a spec as metrics take them."""
    values = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float()
    if spec.levels:
        values = values / (127.5 if images.dtype == np.uint8 else 0.5) - 1
    return MetricImages(values, spec)


def _check_directions(paths: Sequence[Path], predictors: Sequence[Predictor]) -> None:
    first = predictors[0].info.direction
    for path, predictor in zip(paths, predictors, strict=True):
        if predictor.info.direction != first:
            raise OptionError(
                f"{path} translates {predictor.info.direction} and {paths[0]} {first}: compare models of one direction"
            )


def _tools(
    options: EvaluateOptions, images: Images, root: Path | None, info: ModelInfo, notes: list[str]
) -> Tools:
    """What measures these images, by these options."""
    some = [
        (
            name,
            _in_colours(source, images.data.specs[images.source]),
            _in_colours(target, images.data.specs[images.target]),
        )
        for name, source, target in map(images.item, range(min(_LABEL_IMAGES, len(images))))
    ]
    metrics = choose_metrics(
        options, paired=images.paired, images=len(images), channels=some[0][2].shape[2], notes=notes
    )
    palette = None
    if options.palette is not None:
        palette = read_palette(Path(options.palette).expanduser())
    elif root is not None and (root / PALETTE_FILE).is_file():
        palette = read_palette(root / PALETTE_FILE)
    else:
        palette = known_palette(images.data, images.source if options.segmenter else images.target)
    segmenter = None
    if options.segmenter is not None:
        if not images.paired:
            raise OptionError(
                "--segmenter compares outputs with the label maps they were made from: give paired data"
            )
        segmenter = open_predictor(
            Path(options.segmenter).expanduser(),
            EvaluateOptions(
                device=options.device, precision=options.precision, batch_size=options.batch_size
            ),
        )
        palette = palette or stored_palette(info.data)
        palette = palette or learn_palette(item[1] for item in some if item[1].shape[2] == 3)
        if palette is None:
            raise OptionError(
                "--segmenter needs to know the label maps' colours, and the inputs have too many: pass --palette FILE"
            )
    labels = images.paired and palette is not None and some[0][2].shape[2] == 3
    if labels and not (options.palette is not None and segmenter is None):
        labels = learn_palette(item[2] for item in some) is not None  # photographs have no classes
    named = [spec.name for spec in metric_specs("labels") if spec.name in (options.metrics or ())]
    if named and not labels and segmenter is None:
        raise OptionError(
            f"{named[0]} compares label maps, and the targets are none whose colours are known: pass --palette FILE, "
            "or other --metrics"
        )
    cuda = torch.cuda.is_available() and options.device != "cpu"
    return Tools(metrics, palette, labels, segmenter, torch.device("cuda" if cuda else "cpu"))


def _in_colours(image: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Photographs and label maps as uint8; others have no colours, and keep their channels."""
    return to_uint8(image) if spec.shown else image


# --- measuring --------------------------------------------------------------------------------------------------


def _advance(progress: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _real_features(images: Images, tools: Tools, batch_size: int) -> dict[int, Tensor]:
    """The features of all real images, by their extractor."""
    found: dict[int, list[Tensor]] = {}
    if not tools.metrics.sets:
        return {}
    if images.paired:
        targets: Iterator[np.ndarray] = map(
            np.stack, batched((item[2] for item in images.items()), batch_size)
        )
    else:
        targets = images.others(batch_size)
    for batch in targets:
        _extract(_metric_images(batch, images.data.specs[images.target], tools.device), tools, found)
    return {key: torch.cat(parts) for key, parts in found.items()}


@torch.no_grad()
def _extract(images: MetricImages, tools: Tools, found: dict[int, list[Tensor]]) -> None:
    for key, extractor in tools.metrics.extractors.items():
        found.setdefault(key, []).append(extractor(images).cpu())


def _measure_one(
    predictor: Predictor, images: Images, tools: Tools, batch_size: int, done: Callable[[int], None]
) -> Measured:
    values: dict[str, list[np.ndarray]] = {}
    confusions: dict[str, list[np.ndarray]] = {}
    features: dict[int, list[Tensor]] = {}
    finished = 0
    spec = images.data.specs[images.target]
    asked = (_asked(predictor, source, target) for _, source, target in images.items())
    for batch in batched(predictor.run(asked), batch_size):
        inputs, targets = (np.stack([getattr(one, side) for one in batch]) for side in ("source", "target"))
        outputs = np.stack([one.request.result() for one in batch])
        if images.paired and outputs.shape != targets.shape:
            raise DataError(
                f"the model gives images of {outputs.shape[3]} channels and the targets have {targets.shape[3]}: "
                "pass the --dataset and --dataset-option it was trained with"
            )
        made = _metric_images(outputs, spec, tools.device)
        if images.paired:
            wanted = _metric_images(targets, spec, tools.device)
            for name, value in measure_pairs(tools.metrics.pairs, made, wanted).items():
                values.setdefault(name, []).append(value.cpu().numpy())
        _extract(made, tools, features)
        if tools.palette and tools.target_is_labels:
            confusions.setdefault("", []).append(
                _confusions(to_uint8(outputs), to_uint8(targets), tools.palette)
            )
        if tools.palette and tools.segmenter:
            for prefix, pictures in (("fcn_", outputs), ("fcn_real_", targets)):
                check_channels(pictures, tools.segmenter.info)
                segmented = np.stack(list(tools.segmenter.predict(pictures)))
                confusions.setdefault(prefix, []).append(
                    _confusions(to_uint8(segmented), to_uint8(inputs), tools.palette)
                )
        finished += len(inputs)
        done(finished)
    return Measured(
        {name: np.concatenate(parts) for name, parts in values.items()},
        {name: np.concatenate(parts) for name, parts in confusions.items()},
        {key: torch.cat(parts) for key, parts in features.items()},
    )


def _asked(predictor: Predictor, source: np.ndarray, target: np.ndarray) -> _Asked:
    check_channels(source, predictor.info)
    return _Asked(source, target, predictor.request(source))


def _confusions(found: np.ndarray, wanted: np.ndarray, classes: list[PaletteClass]) -> np.ndarray:
    palette = Palette.of(classes)
    return np.stack(
        [
            confusion(palette.nearest(one), palette.nearest(other), len(classes))
            for one, other in zip(found, wanted, strict=True)
        ]
    )


def _summarize(
    results: Sequence[ModelResult],
    measured: Sequence[Measured],
    images: Images,
    tools: Tools,
    options: EvaluateOptions,
    real: dict[int, Tensor],
) -> None:
    bootstrap = Bootstrap(len(images), options.resamples, options.seed)
    first = measured[0]
    for result, raw in zip(results, measured, strict=True):
        for name, values in raw.values.items():
            result.metrics[name] = bootstrap.estimate(values)
            if raw is not first:
                result.differences[name] = bootstrap.difference(values, first.values[name])
    for name, metric in tools.metrics.sets.items():
        _summarize_sets(name, metric, results, measured, images.paired, options.seed, real)
    for result, raw in zip(results, measured, strict=True):
        for prefix, counts in raw.confusions.items():
            for name, statistic in tools.metrics.labels.items():
                result.metrics[prefix + name] = bootstrap.estimate(counts, statistic)
                if raw is not first:
                    earlier = first.confusions[prefix]
                    result.differences[prefix + name] = bootstrap.difference(counts, earlier, statistic)
            if prefix == "fcn_real_":
                continue
            result.classes = _class_scores(counts, tools.palette or [])


def _summarize_sets(
    name: str,
    metric: SetMetric,
    results: Sequence[ModelResult],
    measured: Sequence[Measured],
    paired: bool,
    seed: int,
    real: dict[int, Tensor],
) -> None:
    wholes: list[float] = []
    parts: list[list[float]] = []
    for raw in measured:
        those, made = (found[id(metric.extractor)] for found in (real, raw.features))
        wholes.append(metric(those, made))
        parts.append(halves(partial(_part, metric, those, made), len(those), len(made), paired, seed))
    for result, whole, part in zip(results, wholes, parts, strict=True):
        result.metrics[name] = around(whole, part)
        if result is not results[0]:
            spread = [one - other for one, other in zip(part, parts[0], strict=True)]
            result.differences[name] = around(whole - wholes[0], spread)


def _part(metric: SetMetric, real: Tensor, fake: Tensor, some: np.ndarray, others: np.ndarray) -> float:
    return metric(real[torch.from_numpy(some)], fake[torch.from_numpy(others)])


def _class_scores(counts: np.ndarray, palette: Sequence[PaletteClass]) -> list[ClassScore]:
    total = counts.sum(0, keepdims=True)
    accuracy, iou, share = class_accuracies(total)[0], ious(total)[0], total[0].sum(1) / max(total.sum(), 1)
    return [
        ClassScore(item["name"], float(accuracy[index]), float(iou[index]), float(share[index]))
        for index, item in enumerate(palette)
    ]


def _add_discriminators(
    results: Sequence[ModelResult], images: Images, paths: Sequence[Path], options: EvaluateOptions
) -> None:
    from translatekit_tools.evaluate.adversary import discriminator_accuracy

    for result, path in zip(results, paths, strict=True):
        found = discriminator_accuracy(path, images.data, len(images))
        bootstrap = Bootstrap(len(images), options.resamples, options.seed)
        for name, values in found.items():
            result.metrics[name] = bootstrap.estimate(np.array(values))


# --- what is shown ----------------------------------------------------------------------------------------------


def _examples(
    images: Images,
    predictors: Sequence[Predictor],
    names: Sequence[str],
    first: Measured,
    options: EvaluateOptions,
) -> list[Example]:
    """The best and worst images of the first model by its first metric, with all models' outputs."""
    count = min(options.examples, len(images))
    ranked: list[tuple[int, str]]
    if first.values:
        name, values = next(iter(first.values.items()))
        order = np.argsort(values if better(name) == "lower" else -values, kind="stable").tolist()
        best = order[:count]
        worst = [number for number in order[::-1][:count] if number not in best]
        ranked = [(number, "best") for number in best] + [(number, "worst") for number in worst]
    else:
        ranked = [(number, "first") for number in range(count)]
    examples = []
    for number, rank in ranked:
        name, source, target = images.item(number)
        outputs = {
            model: next(predictor.predict([source]))
            for model, predictor in zip(names, predictors, strict=True)
        }
        figures = {metric: float(values[number]) for metric, values in first.values.items()}
        specs = images.data.specs
        shown = {model: preview(output, specs[images.target]) for model, output in outputs.items()}
        wanted = preview(target, specs[images.target]) if images.paired else None
        examples.append(Example(name, rank, preview(source, specs[images.source]), shown, wanted, figures))
    return examples
