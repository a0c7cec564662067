"""The training loop: data, step, log, sample, checkpoint, schedule. It knows nothing of GANs."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader

import translatekit
from translatekit.datasets.color_torch import lab_to_rgb
from translatekit.datasets.palette import PaletteClass, palette_of
from translatekit.errors import TrainingError
from translatekit.model_file import ModelInfo, save_model, write_atomically
from translatekit.precision import FABRIC
from translatekit.registry import registry
from translatekit.training.checkpoint import (
    gather_ranks,
    load_checkpoint,
    random_state,
    save_checkpoint,
    set_random_state,
)
from translatekit.training.diagnosis import diagnose_run
from translatekit.training.progress import Reporter, forget_after
from translatekit.training.report import sample_grid, write_index
from translatekit.training.sampling import EpochBatches
from translatekit.training.setup import (
    collate,
    make_fabric,
    make_loader,
    prepare,
    resolve,
    settle_precision,
    to_channels_last,
    use_channels_last,
)
from translatekit.training.signals import stop_on_signal
from translatekit.training.state import Progress, Training
from translatekit.training.validation import diversity

SAMPLE_IMAGES = 4
VALIDATION_BATCH = 8


class LossError(TrainingError):
    """A loss that is not a number: its name, its value and the step."""

    def __init__(self, sentence: str, name: str, value: float, step: int) -> None:
        super().__init__(sentence)
        self.name, self.value, self.step = name, value, step


def run(
    method: str | None,
    data: str | Path | None,
    *,
    config: str | Path | None,
    resume: str | Path | None,
    given: Mapping[str, Any],
) -> Path:
    """See `translatekit.training.train`."""
    resolved, folder = resolve(method, data, config, resume, given)
    # Subnormal numbers appear in Adam's moments and slow a CPU down many times; threads inherit this setting.
    torch.set_flush_denormal(True)
    notes = settle_precision(resolved.options)
    fabric = make_fabric(resolved.options)
    fabric.launch()
    _agree_on_precision(fabric, resolved.options.precision)
    try:
        training = prepare(resolved, folder, fabric)
        training.notes = notes
        if fabric.is_global_zero and resume is None:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / "config.toml", resolved.to_toml().encode())
        if resume is not None:
            _restore(training)
        _loop(training)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise TrainingError(
            f"the disk that holds {folder} is full: free some space, "
            f"then go on with translatekit train --resume {folder}"
        ) from None
    return folder


def _loop(training: Training) -> None:
    options, fabric, method, progress = training.options, training.fabric, training.method, training.progress
    batches = EpochBatches(
        len(training.data), options.batch_size, options.seed, fabric.global_rank, fabric.world_size
    )
    loader = make_loader(training, batches)
    epochs = options.epochs + options.epochs_decay
    total = batches.batches_per_epoch * epochs
    total = min(total, options.max_steps or total)
    sample_every = options.sample_every or batches.batches_per_epoch
    checkpoint_every = options.checkpoint_every or batches.batches_per_epoch
    fixed = _fixed_samples(training)
    training.palettes = _palettes(training)
    channels_last = use_channels_last(options, fabric.device)

    with (
        _reporter(training, total, epochs) as report,
        _noting_failure(training, report),
        stop_on_signal() as stop,
    ):
        _announce(training, report, batches.batches_per_epoch, total)
        while progress.step < total and not _out_of_patience(training):
            _set_learning_rate(training, progress.epoch)
            training.data.set_epoch(progress.epoch)
            batches.start(progress.epoch, skip=progress.batch)
            since, clock = progress.step, time.perf_counter()
            for batch in loader:
                if channels_last:
                    batch = {name: to_channels_last(value) for name, value in batch.items()}
                training.pending.append((progress.step + 1, method.step(batch)))
                progress.step += 1
                progress.batch += 1
                _average(training)
                last = progress.step == total
                stopping = _anyone(fabric, stop.requested)
                if report:
                    report.step(progress.step, progress.epoch)
                if progress.step % options.log_every == 0 or last or stopping:
                    values = _drain(training)
                    seconds = time.perf_counter() - clock
                    images = (progress.step - since) * options.batch_size * fabric.world_size
                    if report:
                        report.train(progress.step, progress.epoch, values, _rate(training), images / seconds)
                    since, clock = progress.step, time.perf_counter()
                if progress.step % sample_every == 0 or last:
                    _sample(training, report, fixed)
                ends_epoch = last or progress.batch == batches.batches_per_epoch
                if stopping or (not ends_epoch and progress.step % checkpoint_every == 0):
                    _save(training)
                if stopping:
                    if report:
                        report.event(
                            progress.step,
                            progress.epoch,
                            f"stopped and saved at step {progress.step}; "
                            f"go on with translatekit train --resume {training.folder}",
                        )
                        write_index(training.folder)
                    raise KeyboardInterrupt
                if last:
                    break
            if progress.batch == batches.batches_per_epoch:
                progress.epoch, progress.batch = progress.epoch + 1, 0
            if options.validate_every and (
                progress.epoch % options.validate_every == 0 or progress.step == total
            ):
                _validate(training, report)
            if progress.step % checkpoint_every == 0 or progress.step == total or _out_of_patience(training):
                _save(training)
            if report:
                write_index(training.folder)
        if report:
            why = (
                "" if progress.step >= total else f" after {progress.waited} validations without a better one"
            )
            report.event(
                progress.step, progress.epoch, f"finished{why}: {training.folder / 'model.safetensors'}"
            )
            for trouble in diagnose_run(training.folder):
                report.say(str(trouble))
            write_index(training.folder)


@contextmanager
def _noting_failure(training: Training, report: Reporter | None) -> Iterator[None]:
    """Leave in the log what ended the run, for its page to explain."""
    try:
        yield
    except LossError as error:
        if report:
            report.failure(error.step, training.progress.epoch, error.name, error.value)
            write_index(training.folder)
        raise


# --- what happens every so often --------------------------------------------------------------------------------


def _drain(training: Training) -> dict[str, float]:
    """The means of what was logged since the last time; the first loss that is not a number ends the run."""
    pending, training.pending = training.pending, []
    if not pending:
        return {}
    names = list(pending[0][1])
    values = torch.stack([torch.stack([losses[name].float() for name in names]) for _, losses in pending])
    values = (
        training.fabric.all_reduce(values, reduce_op="mean").cpu()
        if training.fabric.world_size > 1
        else values.cpu()
    )
    bad = (~torch.isfinite(values)).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        name, value, step = names[column], values[row, column].item(), pending[row][0]
        raise LossError(
            f"the loss {name} is {value} at step {step}: start again with "
            f"--config {training.folder / 'config.toml'} and a lower --lr"
            + ("" if training.options.precision == "fp32" else " or --precision fp32"),
            name,
            value,
            step,
        )
    return dict(zip(names, values.mean(0).tolist(), strict=True))


def _save(training: Training) -> None:
    """Write a checkpoint and the model files; a run whose losses are not numbers never gets here."""
    _drain(training)
    fabric, method = training.fabric, training.method
    ranks = gather_ranks(fabric, {"random": random_state(), "extra": method.extra_state()})
    if fabric.is_global_zero:
        state = {
            "progress": {item.name: getattr(training.progress, item.name) for item in fields(Progress)},
            "metrics": training.metrics,
            "networks": {name: network.state_dict() for name, network in method.bare.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in method.optimizers.items()},
            "averages": {name: average.state_dict() for name, average in training.averages.items()},
            "precision": fabric.strategy.precision.state_dict(),
            "ranks": ranks,
        }
        save_checkpoint(
            training.folder / "checkpoints", training.progress.step, state, training.options.keep_checkpoints
        )
        _save_models(training, "model")
    fabric.barrier()


def _save_models(training: Training, stem: str) -> None:
    names = list(training.method.deployed())
    for name, network in _deployed(training).items():
        suffix = "" if name == names[0] else f"-{name}"
        direction = name if len(names) > 1 else training.options.direction
        info = _describe(training, name, direction)
        save_model(training.folder / f"{stem}{suffix}.safetensors", network.state_dict(), info)


def _validate(training: Training, report: Reporter | None) -> None:
    """Measure the main generator on the validation images; keep the best."""
    judge, progress = training.judge, training.progress
    if training.validation is None or judge is None:
        return
    if training.fabric.is_global_zero:
        name, network = next(iter(_deployed(training).items()))
        images: Any = training.validation
        loader: DataLoader[Any] = DataLoader(
            images, batch_size=VALIDATION_BATCH, collate_fn=collate, generator=torch.Generator()
        )
        training.metrics = judge.measure(network, loader, name[:1], training.fabric.to_device)
        if report:
            epoch = progress.epoch - (progress.batch == 0)  # an epoch just ended counts as itself
            report.validation(progress.step, epoch, training.metrics)
        progress.waited += 1
        if judge.score(training.metrics) < progress.best:
            progress.best, progress.waited = judge.score(training.metrics), 0
            _save_models(training, "best")
    training.fabric.barrier()


def _sample(training: Training, report: Reporter | None, fixed: dict[str, Any] | None) -> None:
    if report is None or fixed is None:
        return
    method = training.method
    batch = training.fabric.to_device(fixed)
    with _evaluating(training):
        images = method.samples(batch)
    varied = diversity(images, batch)
    if training.data.color == "lab":  # what was learned is ab, which nobody can look at without its L
        images = {
            name: lab_to_rgb(fixed["input"].to(image.device), image) * 2 - 1 if image.shape[1] == 2 else image
            for name, image in images.items()
        }
    grid = sample_grid({name: image.float().cpu() for name, image in images.items()})
    report.samples(training.progress.step, training.progress.epoch, grid, varied)


@contextmanager
def _evaluating(training: Training) -> Iterator[None]:
    """Networks in evaluation mode, the averaged weights in place where there are any; everything back after."""
    bare = training.method.bare
    modes = {name: network.training for name, network in bare.items()}
    kept: dict[str, dict[str, Tensor]] = {}
    for name, network in bare.items():
        network.eval()
        if name in training.averages:
            kept[name] = {key: value.clone() for key, value in network.state_dict().items()}
            network.load_state_dict(training.averages[name].module.state_dict())
    try:
        with torch.no_grad():
            yield
    finally:
        for name, network in bare.items():
            if name in kept:
                network.load_state_dict(kept[name])
            network.train(modes[name])


def _average(training: Training) -> None:
    deployed = training.method.deployed()
    for name, average in training.averages.items():
        average.update_parameters(deployed[name])


def _deployed(training: Training) -> dict[str, nn.Module]:
    """The generators that a user will run: averaged where the run averages."""
    return {
        name: training.averages[name].module if name in training.averages else network
        for name, network in training.method.deployed().items()
    }


def _set_learning_rate(training: Training, epoch: int) -> None:
    """Constant for `epochs`, then falling linearly to zero over `epochs_decay` (Pix2Pix and CycleGAN alike)."""
    options = training.options
    factor = 1 - max(0, epoch + 1 - options.epochs) / (options.epochs_decay + 1)
    for optimizer in training.method.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = options.lr * factor


def _rate(training: Training) -> float:
    optimizer = next(iter(training.method.optimizers.values()))
    return float(optimizer.param_groups[0]["lr"])


def _restore(training: Training) -> None:
    fabric, method = training.fabric, training.method
    state = load_checkpoint(training.folder / "checkpoints")
    own = state["ranks"][fabric.global_rank if len(state["ranks"]) == fabric.world_size else 0]
    try:
        for name, network in method.bare.items():
            network.load_state_dict(state["networks"][name])
            method.optimizers[name].load_state_dict(state["optimizers"][name])
        for name, average in training.averages.items():
            average.load_state_dict(state["averages"][name])
        fabric.strategy.precision.load_state_dict(state["precision"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise TrainingError(
            f"the checkpoint does not fit the networks of {training.folder} "
            f"({str(error).splitlines()[-1].strip()}): install the plugin versions that trained it"
        ) from None
    method.load_extra_state(fabric.to_device(own["extra"]))
    set_random_state(own["random"])
    training.progress = Progress(**state["progress"])
    training.metrics = state["metrics"]
    if fabric.is_global_zero:
        forget_after(training.folder, training.progress.step)
        for unfinished in training.folder.rglob(".*.tmp"):  # what was being written when the run was killed
            unfinished.unlink()
    fabric.barrier()


def _fixed_samples(training: Training) -> dict[str, Any] | None:
    """The same few images at every sampling, from the validation set where there is one."""
    source = training.validation or training.data
    source.set_epoch(0)
    return collate([source[index] for index in range(min(SAMPLE_IMAGES, len(source)))])


def _palettes(training: Training) -> dict[str, list[PaletteClass]]:
    """The colours of each deployed generator's inputs, none where they are no label maps; asked of one process."""
    if not training.fabric.is_global_zero:
        return {}
    data, root = training.data, training.config.data
    return {
        name: palette_of(data, name, None if root is None else Path(root)) or []
        for name in training.method.deployed()
    }


# --- small things -----------------------------------------------------------------------------------------------


def _reporter(training: Training, total: int, epochs: int) -> AbstractContextManager[Reporter | None]:
    if not training.fabric.is_global_zero:
        return nullcontext(None)
    return Reporter(training.folder, total, training.progress.step, epochs)


def _announce(training: Training, report: Reporter | None, steps: int, total: int) -> None:
    if report is None:
        return
    config, options = training.config, training.options
    if options.dataset == "demo" and config.data is None:
        report.say("no data named: training on the built-in demo, drawn facades")
    report.say(
        f"{config.method} with {options.generator} on {len(training.data)} images: {total} steps, {steps} an epoch, "
        f"on {training.fabric.world_size} x {training.fabric.device.type}; the run is {training.folder}"
    )
    for note in training.notes:
        report.say(note)
    for path, reason in training.data.skipped:
        report.say(f"skipped {path}: {reason}")
    for remark in getattr(training.data, "remarks", ()):  # datasets of older plugins have none
        report.say(remark)


def _describe(training: Training, name: str, direction: str) -> ModelInfo:
    config, options = training.config, training.options
    network = training.method.deployed()[name]
    arguments: dict[str, Any] = dict(network.arguments)  # type: ignore[arg-type]
    entry = registry("generator").entry(str(options.generator))
    generator, package = entry.spec, entry.plugin
    return ModelInfo(
        method=config.method,
        generator=generator.name,
        generator_options=arguments,
        source=generator.source,
        in_channels=arguments.get("in_channels", arguments.get("latent_size", 0)),
        out_channels=arguments["out_channels"],
        size=options.crop_size,
        size_multiple=int(network.size_multiple),  # type: ignore[arg-type]
        norm_inference=options.norm_inference,
        direction=direction,
        color=training.data.color,
        classes=tuple(training.data.class_names),
        data={
            "dataset": options.dataset,
            "name": Path(config.data).name if config.data else options.dataset,
            "images": len(training.data),
            "palette": training.palettes[name],
        },
        metrics=dict(training.metrics),
        step=training.progress.step,
        epoch=training.progress.epoch,
        package=package.distribution,
        versions={
            package.distribution: package.version,
            "translatekit": translatekit.__version__,
            "torch": torch.__version__,
        },
    )


def _agree_on_precision(fabric: Fabric, precision: str) -> None:
    """Refuse a run whose processes would compute in different precisions: ``auto`` on machines of several kinds.

    Raises:
        TrainingError: they would.
    """
    if fabric.world_size == 1:
        return
    names = list(FABRIC)
    numbers = fabric.all_gather(torch.tensor(names.index(precision)))
    if numbers.min() != numbers.max():
        chosen = " and ".join(names[number] for number in sorted(set(numbers.tolist())))
        raise TrainingError(f"the processes of this run would compute in {chosen}: pass --precision fp32")


def _out_of_patience(training: Training) -> bool:
    """Whether the last validations brought nothing better; process 0, which validates, decides for all."""
    patience = training.options.patience
    return patience is not None and _anyone(training.fabric, training.progress.waited >= patience)


def _anyone(fabric: Fabric, requested: bool) -> bool:
    """Whether any process was asked to stop; all must agree, or some would wait for the others for ever."""
    if fabric.world_size == 1:
        return requested
    return bool(fabric.all_reduce(torch.tensor(float(requested)), reduce_op="sum") > 0)
