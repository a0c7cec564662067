"""Measuring the main generator while it trains, and keeping the best of its states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from translatekit.interfaces import Deployed
from translatekit.networks.passes import InPasses
from translatekit.training.batches import collate
from translatekit.training.diagnosis import MEMORIZATION, diagnose_run
from translatekit.training.memorization import memorization
from translatekit.training.progress import Report
from translatekit.training.saving import save_models
from translatekit.training.state import Training

VALIDATION_BATCH = 8


def validate(training: Training, report: Report) -> None:
    """Measure the main generator on the validation images; keep the best. Every process must call this."""
    validator, progress = training.validator, training.progress
    if training.validation is None or validator is None:
        return
    if training.fabric.is_global_zero:
        main: Deployed = next(iter(training.method.deployed().values()))
        network = next(iter(training.generators().values()))
        if main.bridge is not None:
            network = InPasses(network, main.bridge)
        images: Any = training.validation
        loader: DataLoader[Any] = DataLoader(
            images, batch_size=VALIDATION_BATCH, collate_fn=collate, generator=torch.Generator()
        )
        spec = training.data.specs[main.target]
        training.metrics = validator.measure(
            network, loader, str(main.input), main.target, spec, training.fabric.to_device
        )
        epoch = progress.epoch - (progress.images == 0)  # an epoch just ended counts as itself
        report.validation(progress.step, epoch, training.metrics, spec.unit)
        progress.since_best += 1
        if validator.score(training.metrics) < progress.best:
            progress.best, progress.since_best = validator.score(training.metrics), 0
            save_models(training, "best")
        if training.judge is not None:
            training.given_up = not training.judge(epoch + 1, training.metrics)
    progress.best, progress.since_best, training.given_up = training.fabric.broadcast(
        (progress.best, progress.since_best, training.given_up)
    )


def look_at_discriminators(training: Training, report: Report) -> None:
    """Log how far discriminators have memorized their images, and say when one has. Every process must call this."""
    progress, shares = training.progress, memorization(training)
    if shares and training.fabric.is_global_zero:
        epoch = progress.epoch - (progress.images == 0)
        report.memorization(progress.step, epoch, shares)
        for trouble in diagnose_run(training.folder):
            if trouble.name == MEMORIZATION and trouble.first:
                report.event(progress.step, epoch, str(trouble))


@torch.no_grad()
def diversity(columns: Mapping[str, Tensor], given: Mapping[str, Any]) -> dict[str, float]:
    """How much the images that a generator made differ from each other, as a share of how much real ones do.

    About 1 is as it should be; 0 is the same image for every input.

    Args:
        columns: what a method shows at a sampling, (N, C, H, W) each.
        given: the batch it was shown for; columns that are taken from it are the real ones.

    Returns:
        By the title of each column that was made; empty where there is but one image, or real ones are all alike.
    """
    real_tensors = [value for value in given.values() if isinstance(value, Tensor) and value.ndim == 4]
    made: dict[str, float] = {}
    real: list[float] = []
    for title, images in columns.items():
        if len(images) < 2:
            continue
        spread = (images.float() - images.float().mean(0)).abs().mean().item()
        if any(images is tensor for tensor in real_tensors):
            real.append(spread)
        else:
            made[title] = spread
    level = sum(real) / len(real) if real else 0.0
    return {title: spread / level for title, spread in made.items()} if level else {}
