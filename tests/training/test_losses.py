"""The losses of a log's line: of steps that need not all give the same ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from translatekit.training.fabric import Fabric
from translatekit.training.losses import LossError, LossLog


def log_of(folder: Path, *steps: dict[str, float]) -> LossLog:
    log = LossLog(Fabric(accelerator="cpu", devices=1), folder, "fp32")
    for step, losses in enumerate(steps, 1):
        log.add(step, {name: torch.tensor(value) for name, value in losses.items()})
    return log


def test_a_loss_is_averaged_over_the_steps_that_gave_it(tmp_path: Path) -> None:
    """Such as of a penalty that is only due in some of them."""
    log = log_of(tmp_path, {"G": 1.0}, {"G": 3.0, "penalty": 5.0}, {"G": 5.0})
    assert log.drain() == {"G": 3.0, "penalty": 5.0}
    assert log.drain() == {}


def test_a_loss_that_is_no_number_is_named_with_its_step(tmp_path: Path) -> None:
    log = log_of(tmp_path, {"penalty": 1.0, "G": 1.0}, {"G": 3.0, "penalty": float("nan")}, {"G": 5.0})
    with pytest.raises(LossError, match="the loss penalty is nan at step 2") as caught:
        log.check()
    assert (caught.value.name, caught.value.step) == ("penalty", 2)
