"""The training loop: data, step, log, sample, checkpoint, schedule. It knows nothing of GANs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from translatekit.errors import Stopped
from translatekit.storage import shown, write_atomically
from translatekit.training.announce import announce_end, announce_start, announce_stop
from translatekit.training.batches import in_memory_format, in_steps, make_batches, make_loader
from translatekit.training.failures import (
    alone_in_its_folder,
    explaining_errors,
    logging_failure,
    removing_if_refused,
)
from translatekit.training.processes import Processes
from translatekit.training.progress import make_report
from translatekit.training.remote import holds_checkpoint, make_keeper
from translatekit.training.samples import Samples
from translatekit.training.saving import restore, save
from translatekit.training.schedule import Plan, Speed, Timer, agree, main_learning_rate, set_learning_rates
from translatekit.training.setup import (
    agree_on_precision,
    build,
    make_fabric,
    prepare,
    resolve,
    resolve_precision,
)
from translatekit.training.signals import Stop, stop_on_signal
from translatekit.training.start import take_weights
from translatekit.training.state import Judge, Training
from translatekit.training.validation import look_at_discriminators, validate


def run(
    method: str | None,
    data: str | Path | None,
    *,
    config: str | Path | None,
    resume: str | Path | None,
    given: Mapping[str, Any],
    autoresume: bool = False,
    judge: Judge | None = None,
) -> Path:
    """See `translatekit.training.train`; `judge` says after each validation whether to go on."""
    resolved, folder, goes_on = resolve(method, data, config, resume, given, autoresume)
    # Subnormal numbers appear in Adam's moments and slow a CPU down many times; threads inherit this setting.
    torch.set_flush_denormal(True)
    notes = resolve_precision(resolved.options)
    fabric = make_fabric(resolved.options)
    options, place = resolved.options, str(resolved.options.output)
    processes = Processes(fabric, options.process_timeout, shown(place))
    with (
        stop_on_signal(processes.kill) as stop,
        processes.ending_together(stop),
        explaining_errors(folder, shown(place)),
    ):
        parts = build(resolved, fabric)  # before any other process is there, so that one alone refuses
        # A run that was killed before its first checkpoint goes on from its start.
        if options.start_from is not None and not (goes_on and holds_checkpoint(place)):
            notes += take_weights(parts.method, resolved)
        processes.start()
        fabric.launch()
        folder = fabric.broadcast(folder)
        processes.agree("images", len(parts.data))
        processes.agree("runs to go on with", int(goes_on), "let all hosts see the run's folder")
        agree_on_precision(fabric, options.precision)
        keeper = make_keeper(place, folder, options.keep_checkpoints, fabric.global_rank)
        training = prepare(parts, resolved, folder, fabric, keeper)
        training.notes[:0] = notes
        training.judge = judge
        with alone_in_its_folder(training), nullcontext() if goes_on else removing_if_refused(training):
            if goes_on:
                restore(training)
                if fabric.is_global_zero and (given or data is not None):
                    write_atomically(folder / "config.toml", resolved.to_toml().encode())
            loop(training, processes, stop)
    return folder


def loop(training: Training, processes: Processes, stop: Stop) -> None:
    """Train from where the run is to its end, or until it is asked to stop."""
    options, fabric, method, progress = training.options, training.fabric, training.method, training.progress
    batches = make_batches(training.data, options, fabric)
    loader = make_loader(training.data, batches, options, fabric)
    plan = Plan.of(training, batches)
    samples = Samples(training)
    saving = Timer(options.checkpoint_minutes)
    speed = Speed(batches.images_per_step, progress.step)

    with training.keeper as keeper, make_report(training, plan) as report, logging_failure(training, report):
        keeper.say = report.say
        announce_start(training, report, plan)
        report.roles(progress.step, progress.epoch, method.loss_roles)
        stop.say = report.say
        if fabric.is_global_zero:  # the others have a report that says nothing
            loader.say = report.say
        stop.between_steps = True
        while progress.step < plan.total and not training.ends_early:
            # data
            training.data.set_epoch(progress.epoch)
            batches.start(progress.epoch, seen=progress.images)
            speed.start(progress.step)
            for step in in_steps(loader, options.accumulate):
                # step
                set_learning_rates(training)
                training.begin_step()
                losses = method.step(*(in_memory_format(batch, options, fabric) for batch in step))
                training.losses.add(progress.step + 1, losses)
                progress.step += 1
                progress.images += batches.images_per_step
                training.average()
                last = progress.step == plan.total
                signal, due = agree(fabric, stop.number, saving.due or progress.step == 1)
                report.step(progress.step, progress.epoch)

                # log
                if progress.step % plan.log_every == 0 or last or signal:
                    means, rate = training.losses.drain(), speed.until(progress.step)
                    report.train(progress.step, progress.epoch, means, main_learning_rate(method), rate)

                # sample
                if progress.step % plan.sample_every == 0 or last:
                    samples.show(training, report)

                # checkpoint; at the end of an epoch it waits for the validation
                ends_epoch = last or not batches.steps_after(progress.images)
                if signal or (not ends_epoch and (due or progress.step % plan.checkpoint_every == 0)):
                    save(training)
                    saving.start()
                    if due:
                        report.page()
                        keeper.changed()
                if signal:
                    processes.stopping = True
                    announce_stop(training, report)
                    raise Stopped(signal)
                if last:
                    break
            if not batches.steps_after(progress.images):
                progress.epoch, progress.images = progress.epoch + 1, 0
            last = progress.step == plan.total
            if options.validate_every and (last or progress.epoch % options.validate_every == 0):
                validate(training, report)
                look_at_discriminators(training, report)
            _, due = agree(fabric, 0, saving.due or progress.step == 1)
            if due or last or training.ends_early or progress.step % plan.checkpoint_every == 0:
                save(training)
                saving.start()
            report.page()
            keeper.changed()
        stop.between_steps = False
        announce_end(training, report, plan)
