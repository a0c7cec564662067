"""What a run writes to go on from and to be used: checkpoints and model files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from translatekit.datasets.slices import middle_slice
from translatekit.errors import ModelFileError, TrainingError
from translatekit.image_spec import RGB
from translatekit.interfaces import Deployed, Method
from translatekit.model_file import read_info, save_model
from translatekit.model_info import ModelInfo
from translatekit.registry import registry
from translatekit.storage import TEMPORARY
from translatekit.training.checkpoint import (
    gather_ranks,
    newest_checkpoint,
    random_state,
    save_checkpoint,
    set_random_state,
)
from translatekit.training.fabric import Fabric
from translatekit.training.progress import truncate_log
from translatekit.training.state import Progress, Training
from translatekit.version import __version__


def save(training: Training) -> None:
    """Write a checkpoint and the model files; every process must call this.

    Raises:
        LossError: a loss is not a number, so that nothing is worth saving.
    """
    training.losses.check()
    fabric, method = training.fabric, training.method
    ranks = gather_ranks(fabric, {"random": random_state(fabric.device), "extra": method.extra_state()})
    if fabric.is_global_zero:
        state = {
            "progress": {item.name: getattr(training.progress, item.name) for item in fields(Progress)},
            "images": len(training.data),
            "losses": training.losses.checked,
            "metrics": training.metrics,
            "deployed": _places(method),
            "networks": {name: network.state_dict() for name, network in method.unwrapped.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in method.optimizers.items()},
            "ema": {name: average.state_dict() for name, average in training.ema.items()},
            "precision": fabric.strategy.precision.state_dict(),
            "ranks": ranks,
        }
        save_checkpoint(
            training.folder / "checkpoints", training.progress.step, state, training.options.keep_checkpoints
        )
        save_models(training, "model")
        training.keeper.saved()
    fabric.barrier()


def save_models(training: Training, stem: str) -> None:
    """Write a model file of each deployed generator; the main one's is called `stem` alone."""
    generators, deployed = training.generators(), training.method.deployed()
    for name, path in _model_files(training, stem).items():
        direction = name if len(generators) > 1 else training.options.direction
        info = describe(training, name, deployed[name], direction)
        save_model(path, generators[name].state_dict(), info)


def _model_files(training: Training, stem: str) -> dict[str, Path]:
    """Where each deployed generator is written, by their names."""
    return {
        name: training.folder / f"{stem}{f'-{name}' if number else ''}.safetensors"
        for number, name in enumerate(training.generators())
    }


def describe(training: Training, name: str, deployed: Deployed, direction: str) -> ModelInfo:
    """The header of a generator's model file."""
    config, options, specs = training.config, training.options, training.data.specs
    arguments: dict[str, Any] = dict(deployed.network.arguments)  # type: ignore[arg-type]
    entry = registry("generator").entry(str(options.generator))
    generator, package = entry.spec, entry.plugin
    sides = {"input": deployed.input, "target": deployed.target}
    target, bridge = specs[deployed.target], deployed.bridge
    taken = RGB if deployed.input is None else specs[deployed.input]
    made = target if target.slices == 1 else middle_slice(target)
    return ModelInfo(
        method=config.method,
        generator=generator.name,
        generator_options=arguments,
        source=generator.source,
        input=taken if bridge is None else bridge.pass_input,
        output=made if bridge is None else bridge.pass_output,
        bridge=bridge,
        size=options.crop_size,
        size_multiple=int(deployed.network.size_multiple),  # type: ignore[arg-type]
        norm_inference=options.norm_inference,
        direction=direction,
        classes=tuple(training.data.class_names),
        data={
            "dataset": options.dataset,
            "name": config.data_name,
            "images": len(training.data),
            "palette": training.palettes[name],
            **({"slices": 1} if options.slices == 1 else {}),  # else its input says how many
            **{side: key for side, key in sides.items() if key is not None},
        },
        metrics=dict(training.metrics),
        step=training.progress.step,
        epoch=training.progress.epoch,
        package=package.distribution,
        versions={
            package.distribution: package.version,
            "translatekit": __version__,
            "torch": torch.__version__,
        },
    )


def restore(training: Training) -> None:
    """Go on from the newest checkpoint; from the start, where the run was ended before it had one.

    Rank 0 reads it and tells the others: they need not see its disk, and cannot go on from another one.

    Raises:
        TrainingError: the checkpoint is damaged, or of other images or networks.
    """
    fabric = training.fabric
    if fabric.is_global_zero:
        training.keeper.pull()
    state = newest_checkpoint(training.folder / "checkpoints") if fabric.is_global_zero else None
    state = fabric.broadcast(state)
    if state is not None:
        _load(training, state)
    if fabric.is_global_zero:
        if state is not None and not _has_models(training):
            save_models(training, "model")
        truncate_log(training.folder, training.progress.step)
        for unfinished in training.folder.rglob(TEMPORARY):  # what was being written when the run was killed
            unfinished.unlink()
    fabric.barrier()


def _has_models(training: Training) -> bool:
    """Whether the model files are of the checkpoint that was restored: a kill may have come between it and them."""
    try:
        infos = [read_info(path) for path in _model_files(training, "model").values()]
    except ModelFileError:
        return False
    return all(info.step == training.progress.step for info in infos)


def load_networks(method: Method, state: dict[str, Any], run: Path) -> None:
    """Put the weights of a checkpoint into a method's networks.

    Raises:
        TrainingError: they are those of other networks.
    """
    try:
        for name, network in method.unwrapped.items():
            network.load_state_dict(state["networks"][name])
    except (RuntimeError, KeyError, ValueError) as error:
        raise _other_networks(run, error) from None


def load_method(
    method: Method, averages: Mapping[str, AveragedModel], state: dict[str, Any], fabric: Fabric, run: Path
) -> None:
    """Put all that a checkpoint holds of a method into it, which is on its device, and into its generators' averages.

    Raises:
        TrainingError: it is of other networks.
    """
    load_networks(method, state, run)
    try:
        for name, optimizer in method.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        for name, average in averages.items():
            average.load_state_dict(state["ema"][name])
    except (RuntimeError, KeyError, ValueError) as error:
        raise _other_networks(run, error) from None
    ranks = state["ranks"]
    method.load_extra_state(fabric.to_device(ranks[fabric.global_rank % len(ranks)]["extra"]))


def _load(training: Training, state: dict[str, Any]) -> None:
    fabric, method, ranks = training.fabric, training.method, state["ranks"]
    if state.get("images", len(training.data)) != len(training.data):
        raise TrainingError(
            f"{training.folder} was trained on {state['images']} images and there are {len(training.data)} now: "
            "put them as they were, or start again with "
            f"--config {quote(str(training.folder / 'config.toml'))}"
        )
    load_method(method, training.ema, state, fabric, training.folder)
    if state["precision"]:  # else its scale of gradients starts anew: the run was in another precision
        fabric.strategy.precision.load_state_dict(state["precision"])
    training.progress = Progress(**state["progress"])
    training.metrics = state["metrics"]
    training.losses.checked = state.get("losses", [])
    rank = fabric.global_rank
    if rank < len(ranks):
        set_random_state(ranks[rank]["random"], fabric.device)
    else:  # a further process, whose noise must be that of no other one and of no earlier time
        torch.manual_seed((training.options.seed + 1 + rank + 1_000_003 * training.progress.step) % 2**63)


def _places(method: Method) -> dict[str, str]:
    """Under which of the networks' names each deployed generator is kept."""
    return {
        name: next(key for key, network in method.unwrapped.items() if network is deployed.network)
        for name, deployed in method.deployed().items()
    }


def _other_networks(run: Path, error: Exception) -> TrainingError:
    return TrainingError(
        f"the checkpoint does not fit the networks of {run} ({str(error).splitlines()[-1].strip()}): "
        "install the plugin versions that trained it"
    )
