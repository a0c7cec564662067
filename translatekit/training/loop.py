"""The training loop: data, step, log, sample, checkpoint, schedule. It knows nothing of GANs."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import fields
from pathlib import Path
from shlex import quote
from statistics import fmean
from typing import Any, NoReturn

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.distributed import ReduceOp
from torch.utils.data import DataLoader

import translatekit
from translatekit.datasets.palette import PaletteClass, palette_of
from translatekit.errors import OptionError, Stopped, TrainingError, TranslatekitError
from translatekit.images.color_torch import lab_to_rgb
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.layers import SidesError
from translatekit.registry import registry
from translatekit.storage import TEMPORARY, write_atomically
from translatekit.training.checkpoint import (
    gather_ranks,
    newest_checkpoint,
    random_state,
    save_checkpoint,
    set_random_state,
)
from translatekit.training.diagnosis import diagnose_run
from translatekit.training.processes import Processes
from translatekit.training.progress import Reporter, forget_after
from translatekit.training.report.page import write_index
from translatekit.training.samples import sample_grid
from translatekit.training.setup import (
    build,
    collate,
    make_batches,
    make_fabric,
    make_loader,
    prepare,
    resolve,
    settle_precision,
    to_channels_last,
    use_channels_last,
)
from translatekit.training.signals import Stop, stop_on_signal
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
    processes = Processes(fabric, resolved.options.process_timeout, folder)
    with stop_on_signal(processes.kill) as stop, processes.together(stop), _in_sentences(folder):
        parts = build(resolved, fabric)  # before any other process is there, so that one alone refuses
        processes.start()
        fabric.launch()
        folder = fabric.broadcast(folder)
        processes.agree("images", len(parts.data))
        _agree_on_precision(fabric, resolved.options.precision)
        training = prepare(parts, resolved, folder, fabric)
        training.notes = notes
        if resume is not None:
            _restore(training)
            if fabric.is_global_zero and data is not None:  # they have moved
                write_atomically(folder / "config.toml", resolved.to_toml().encode())
        with _leaving_nothing(training) if resume is None else nullcontext():
            _loop(training, processes, stop)
    return folder


def _loop(training: Training, processes: Processes, stop: Stop) -> None:
    options, fabric, method, progress = training.options, training.fabric, training.method, training.progress
    batches = make_batches(training.data, options, fabric)
    loader = make_loader(training, batches)
    epochs = options.epochs + options.epochs_decay
    total = progress.step + batches.batches_per_epoch * (epochs - progress.epoch) - progress.batch
    total = min(total, options.max_steps or total)
    sample_every = options.sample_every or batches.batches_per_epoch
    checkpoint_every = options.checkpoint_every or batches.batches_per_epoch
    fixed = _fixed_samples(training)
    training.palettes = _palettes(training)
    channels_last = use_channels_last(options, fabric.device)
    saving = _Timer(options.checkpoint_minutes)

    with _reporter(training, total, epochs) as report, _noting_failure(training, report):
        _announce(training, report, batches.batches_per_epoch, total)
        if report:
            stop.say = report.say
        stop.between_steps = True
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
                signal_number, due = _agree(fabric, stop.number, saving.due or progress.step == 1)
                if report:
                    report.step(progress.step, progress.epoch)
                if progress.step % options.log_every == 0 or last or signal_number:
                    values = _drain(training)
                    seconds = time.perf_counter() - clock
                    images = (progress.step - since) * options.batch_size * fabric.world_size
                    if report:
                        report.train(progress.step, progress.epoch, values, _rate(training), images / seconds)
                    since, clock = progress.step, time.perf_counter()
                if progress.step % sample_every == 0 or last:
                    _sample(training, report, fixed)
                ends_epoch = last or progress.batch == batches.batches_per_epoch
                if signal_number or (not ends_epoch and (due or progress.step % checkpoint_every == 0)):
                    _save(training)
                    saving.start()
                    if report and due:
                        write_index(training.folder)
                if signal_number:
                    processes.stopping = True
                    _stopped(training, report, signal_number)
                if last:
                    break
            if progress.batch == batches.batches_per_epoch:
                progress.epoch, progress.batch = progress.epoch + 1, 0
            if options.validate_every and (
                progress.epoch % options.validate_every == 0 or progress.step == total
            ):
                _validate(training, report)
            due = _agree(fabric, 0, saving.due or progress.step == 1)[1]
            ending = progress.step == total or _out_of_patience(training)
            if due or ending or progress.step % checkpoint_every == 0:
                _save(training)
                saving.start()
            if report:
                write_index(training.folder)
        stop.between_steps = False
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
            _say_what_is_next(training, report)


def _stopped(training: Training, report: Reporter | None, number: int) -> NoReturn:
    """Say how to go on with a run that was asked to stop and is saved."""
    if report:
        step = training.progress.step
        again = f"translatekit train --resume {quote(str(training.folder))}"
        report.event(step, training.progress.epoch, f"stopped and saved at step {step}; go on with {again}")
        write_index(training.folder)
    raise Stopped(number)


@contextmanager
def _in_sentences(folder: Path) -> Iterator[None]:
    """What a user's machine or images refuse, in a sentence.

    Raises:
        TrainingError: a full disk, or too little memory.
        OptionError: images of a size that a network cannot take.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise TrainingError(
            f"the disk that holds {folder} is full: free some space, "
            f"then go on with translatekit train --resume {quote(str(folder))}"
        ) from None
    except SidesError as error:
        raise OptionError(
            f"{error.problem}: pass --crop-size {error.size}, with a --load-size of no less, or other -G options"
        ) from None
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"the memory of the device is too small ({str(error).splitlines()[0]}): pass a smaller --batch-size or "
            "--crop-size, narrower networks (-G width=32), or --precision bf16"
        ) from None


@contextmanager
def _leaving_nothing(training: Training) -> Iterator[None]:
    """Make the run's folder, and take it away again if the training is refused before a step is done."""
    if not training.fabric.is_global_zero:
        yield
        return
    folder = training.folder
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"the folder {folder} cannot be made ({error.strerror}): choose another with -o"
        ) from None
    write_atomically(folder / "config.toml", training.config.to_toml().encode())
    try:
        yield
    except (TranslatekitError, KeyboardInterrupt):
        if training.progress.step == 0:
            for name in ("config.toml", "metrics.jsonl", "index.html", "events.out.tfevents.*"):
                for path in folder.glob(name):
                    path.unlink()
            with suppress(OSError):  # somebody else has put something there
                for path in made:
                    path.rmdir()
        raise


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
    """The means of what the steps gave since the last time."""
    _check(training)
    checked, training.checked = training.checked, []
    return {name: fmean(losses[name] for losses in checked) for name in checked[0]} if checked else {}


def _check(training: Training) -> None:
    """Bring the losses from the device; the first that is not a number ends the run."""
    pending, training.pending = training.pending, []
    if not pending:
        return
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
            f"--config {quote(str(training.folder / 'config.toml'))} and a lower --lr"
            + ("" if training.options.precision == "fp32" else " or --precision fp32"),
            name,
            value,
            step,
        )
    training.checked += [dict(zip(names, row, strict=True)) for row in values.tolist()]


def _save(training: Training) -> None:
    """Write a checkpoint and the model files; a run whose losses are not numbers never gets here."""
    _check(training)
    fabric, method = training.fabric, training.method
    ranks = gather_ranks(fabric, {"random": random_state(), "extra": method.extra_state()})
    if fabric.is_global_zero:
        state = {
            "progress": {item.name: getattr(training.progress, item.name) for item in fields(Progress)},
            "images": len(training.data),
            "losses": training.checked,
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
    progress.best, progress.waited = training.fabric.broadcast((progress.best, progress.waited))


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
    """Networks in evaluation mode, the averaged weights in place where there are any; everything back after.

    They are the bare ones, without what several processes wrap them in, so that one process alone may use them.
    """
    bare, wrapped = training.method.bare, training.method.networks
    modes = {name: network.training for name, network in bare.items()}
    kept: dict[str, dict[str, Tensor]] = {}
    for name, network in bare.items():
        network.eval()
        if name in training.averages:
            kept[name] = {key: value.clone() for key, value in network.state_dict().items()}
            network.load_state_dict(training.averages[name].module.state_dict())
    training.method.networks = dict(bare)
    try:
        with torch.no_grad():
            yield
    finally:
        training.method.networks = wrapped
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
    """Go on from the newest checkpoint; from the start, where the run was ended before it had one."""
    fabric = training.fabric
    state = newest_checkpoint(training.folder / "checkpoints")
    if state is not None:
        _load(training, state)
    if fabric.is_global_zero:
        forget_after(training.folder, training.progress.step)
        for unfinished in training.folder.rglob(TEMPORARY):  # what was being written when the run was killed
            unfinished.unlink()
    fabric.barrier()


def _load(training: Training, state: dict[str, Any]) -> None:
    fabric, method, ranks = training.fabric, training.method, state["ranks"]
    if state.get("images", len(training.data)) != len(training.data):
        raise TrainingError(
            f"{training.folder} was trained on {state['images']} images and there are {len(training.data)} now: "
            "put them as they were, or start again with "
            f"--config {quote(str(training.folder / 'config.toml'))}"
        )
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
    method.load_extra_state(fabric.to_device(ranks[fabric.global_rank % len(ranks)]["extra"]))
    training.progress = Progress(**state["progress"])
    training.metrics = state["metrics"]
    training.checked = state.get("losses", [])
    if len(ranks) == fabric.world_size:
        set_random_state(ranks[fabric.global_rank]["random"])
    else:  # as far into the epoch, in other batches
        training.progress.batch = training.progress.batch * len(ranks) // fabric.world_size


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
    run = quote(str(training.folder))
    page = f"look at {training.folder / 'index.html'}"
    if "watch" in registry("command").names():
        report.say(f"{page}, or follow the run with")
        report.show(f"translatekit watch {run}")
    else:
        report.say(page)
    for path, reason in training.data.skipped:
        report.say(f"skipped {path}: {reason}")
    for remark in getattr(training.data, "remarks", ()):  # datasets of older plugins have none
        report.say(remark)


def _say_what_is_next(training: Training, report: Reporter) -> None:
    """Where to look, and what to type, as far as the commands are installed."""
    config, run = training.config, quote(str(training.folder))
    report.say(f"look at {training.folder / 'index.html'}; next:")
    if registry("generator").get(str(training.options.generator)).source == "latent":
        commands = {"sample": f"{run} -o samples.png"}
    else:
        data = f" {quote(config.data)}" if config.data is not None else ""
        commands = {
            "evaluate": f"{run}{data}",
            "compile": f"{run} -o {quote(str(training.folder / 'model.onnx'))}",
            "run": f"FOLDER --model {run}",
        }
        if registry("method").get(config.method).data != "paired":
            del commands["evaluate"]
    known = registry("command").names()
    for name, arguments in commands.items():
        if name in known:
            report.show(f"translatekit {name} {arguments}")


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
    chosen = sorted({state["precision"] for state in gather_ranks(fabric, {"precision": precision})})
    if len(chosen) > 1:
        raise TrainingError(
            f"the processes of this run would compute in {' and '.join(chosen)}: pass --precision fp32"
        )


def _out_of_patience(training: Training) -> bool:
    """Whether the last validations brought nothing better."""
    patience = training.options.patience
    return patience is not None and training.progress.waited >= patience


def _agree(fabric: Fabric, number: int, due: bool) -> tuple[int, bool]:
    """The signal by which any process was asked to stop, and whether a checkpoint is due by any one's clock.

    All must agree, or some would wait for the others for ever.
    """
    if fabric.world_size == 1:
        return number, due
    wishes = fabric.all_reduce(torch.tensor([float(number), float(due)]), reduce_op=ReduceOp.MAX)
    return int(wishes[0]), bool(wishes[1] > 0)


class _Timer:
    """Says when some minutes have passed since it was started; never, where they are 0."""

    def __init__(self, minutes: float) -> None:
        self._seconds = 60 * minutes
        self.start()

    def start(self) -> None:
        self._since = time.monotonic()

    @property
    def due(self) -> bool:
        return 0 < self._seconds <= time.monotonic() - self._since
