"""Checkpoints: everything that an exact resume needs, written whole or not at all."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import torch

from translatekit.errors import StorageError, TrainingError
from translatekit.storage import atomic_file
from translatekit.training.fabric import Fabric


def gather_ranks(fabric: Fabric, state: dict[str, Any]) -> list[dict[str, Any]]:
    """What each process holds of its own, in the order of their ranks; every process must call this."""
    if fabric.world_size == 1:
        return [state]
    states: list[dict[str, Any]] = [{} for _ in range(fabric.world_size)]
    torch.distributed.all_gather_object(states, state)
    return states


def random_state(device: torch.device) -> dict[str, Any]:
    """torch's random state on the CPU and on the device of this process."""
    state = {"cpu": torch.get_rng_state()}
    return {**state, "cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else state


def set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Take `random_state` back, as far as it is of such a device."""
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any], keep: int) -> Path:
    """Write ``step-XXXXXXXX.pt`` and delete the oldest beyond `keep`.

    Raises:
        StorageError: the disk is full or the folder cannot be written; earlier checkpoints are untouched.
    """
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{step:08d}.pt"
    try:
        with atomic_file(path) as file:
            torch.save(dict(state), file)
    except RuntimeError as error:  # torch wraps the system's error when the disk is full
        raise StorageError(
            f"{path} could not be written ({error}): free some space or choose another folder"
        ) from None
    for old in sorted(folder.glob("step-*.pt"))[: -max(keep, 1)]:
        old.unlink()
    return path


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """The newest checkpoint of a folder. Nothing in it is executed.

    Raises:
        TrainingError: there is none, or it is damaged.
    """
    state = newest_checkpoint(folder)
    if state is None:
        raise TrainingError(
            f"{folder.parent} holds no checkpoint yet: "
            f"go on with it by translatekit train --resume {quote(str(folder.parent))}"
        )
    return state


def newest_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint of a folder, or None where there is none yet.

    Raises:
        TrainingError: it is damaged.
    """
    paths = sorted(folder.glob("step-*.pt"))
    if not paths:
        return None
    try:
        state: dict[str, Any] = torch.load(paths[-1], map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
        raise TrainingError(f"{paths[-1]} is damaged: delete it to go on from the one before") from None
    return state
