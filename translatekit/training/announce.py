"""What a user is told around a run: what begins, how to go on with it, and what to do with what it made."""

from __future__ import annotations

from shlex import quote

from translatekit.registry import registry
from translatekit.training.diagnosis import diagnose_run
from translatekit.training.progress import Report
from translatekit.training.schedule import Plan
from translatekit.training.state import Training


def announce_start(training: Training, report: Report, plan: Plan) -> None:
    """What is trained, on what, and where to look."""
    config, options, fabric = training.config, training.options, training.fabric
    if options.dataset == "demo" and config.data is None:
        report.say("no data named: training on the built-in demo, drawn facades")
    report.say(
        f"{config.method} with {options.generator} on {len(training.data)} images: {plan.total} steps, "
        f"{plan.steps_per_epoch} an epoch, on {fabric.world_size} x {fabric.device.type}; "
        f"the run is {training.keeper.place}"
    )
    for note in training.notes:
        report.say(note)
    page = f"look at {training.folder / 'index.html'}"
    if "watch" in registry("command").names():
        report.say(f"{page}, or follow the run with")
        report.show(f"translatekit watch {quote(str(training.folder))}")
    else:
        report.say(page)
    for path, reason in training.data.skipped:
        report.say(f"skipped {path}: {reason}")
    for remark in getattr(training.data, "remarks", ()):  # datasets of older plugins have none
        report.say(remark)


def announce_stop(training: Training, report: Report) -> None:
    """How to go on with a run that was asked to stop and is saved."""
    step = training.progress.step
    again = f"translatekit train --resume {quote(training.keeper.place)}"
    report.event(step, training.progress.epoch, f"stopped and saved at step {step}; go on with {again}")
    report.page()


def announce_end(training: Training, report: Report, plan: Plan) -> None:
    """That it is done, what is wrong with it, where to look, and what to type."""
    progress, folder = training.progress, training.folder
    why = ""
    if progress.step < plan.total:
        why = (
            ", given up"
            if training.given_up
            else f" after {progress.since_best} validations without a better one"
        )
    report.event(progress.step, progress.epoch, f"finished{why}: {training.keeper.place}/model.safetensors")
    for trouble in diagnose_run(folder):
        report.say(str(trouble))
    report.page()
    _say_what_is_next(training, report)


def _say_what_is_next(training: Training, report: Report) -> None:
    """Commands to go on with, as far as they are installed."""
    config, run = training.config, quote(training.keeper.place)
    report.say(f"look at {training.folder / 'index.html'}; next:")
    if registry("generator").get(str(training.options.generator)).source == "latent":
        commands = {"sample": f"{run} -o samples.png"}
    else:
        # Where A and B are two folders, the run itself knows both.
        one = config.data is not None and not config.options.dataset_options.get("b")
        data = f" {quote(str(config.data))}" if one else ""
        commands = {
            "evaluate": f"{run}{data}",
            "compile": f"{run} -o {quote(f'{training.keeper.place}/model.onnx')}",
            "run": f"FOLDER --model {run}",
        }
        if registry("method").get(config.method).data != "paired":
            del commands["evaluate"]
    known = registry("command").names()
    for name, arguments in commands.items():
        if name in known:
            report.show(f"translatekit {name} {arguments}")
