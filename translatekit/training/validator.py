"""The figures of a validation, and the one that decides which state of a generator is the best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from translatekit.errors import OptionError
from translatekit.training.metrics import (
    PAIRED_METRICS,
    RISING,
    SET_METRICS,
    Features,
    MetricMean,
    PairedMetrics,
    set_metric,
)

_ALWAYS = ("l1", "psnr", "ssim")


class Validator:
    """The metrics of a run's validation: the usual ones on pairs, and the one that decides which state is the best.

    Args:
        best_by: the metric that decides.
        paired: whether there are pairs; sets without pairs have only `SET_METRICS`.
        features: what FID and KID compare images by, as `Features` takes it.

    Raises:
        OptionError: a metric of pairs is to decide and there are none.
        TranslatekitError: the weights of a network that the metric needs are not there.
    """

    def __init__(self, best_by: str, paired: bool, features: str | None = None) -> None:
        self.best_by = best_by
        self.paired = paired
        if not paired and best_by in PAIRED_METRICS:
            raise OptionError(
                f"--best-by {best_by} needs pairs, and these images have none: pass --best-by fid or kid"
            )
        extra = (best_by,) if best_by in PAIRED_METRICS and best_by not in _ALWAYS else ()
        self._metrics = PairedMetrics((*_ALWAYS, *extra)) if paired else None
        self._features = Features(features) if best_by in SET_METRICS else None

    @torch.no_grad()
    def measure(
        self,
        network: nn.Module,
        batches: Iterable[Mapping[str, Any]],
        source: str,
        target: str,
        to_device: Callable[[Tensor], Tensor],
    ) -> dict[str, float]:
        """The metrics of a network, which is put into evaluation mode and back.

        Args:
            network: from images to images.
            batches: of the validation set.
            source: the key of the images that the network takes, such as ``input`` or ``A``.
            target: the key of those that its outputs are compared with, such as ``target`` or ``B``.
            to_device: brings images to the network.
        """
        mean = MetricMean()
        real: list[Tensor] = []
        fake: list[Tensor] = []
        seen: dict[str, set[str]] = {source: set(), target: set()}

        def unseen(batch: Mapping[str, Any], of: str) -> list[int]:
            """Of unpaired images each is taken once: an epoch shows the smaller side again and again."""
            if self.paired:
                return list(range(len(batch[of])))
            names = [str(name) for name in batch[f"name_{of}"]]
            new = [index for index, name in enumerate(names) if name not in seen[of]]
            seen[of].update(names)
            return new

        was_training = network.training
        network.eval()
        try:
            for batch in batches:
                output = network(to_device(batch[source])).float().cpu()
                if self._metrics:
                    values = self._metrics(output, batch[target])
                    mean.update({name: value.mean().item() for name, value in values.items()}, len(output))
                if self._features:
                    real.append(self._features(batch[target][unseen(batch, target)]))
                    fake.append(self._features(output[unseen(batch, source)]))
        finally:
            network.train(was_training)
        result = mean.compute() if self._metrics else {}
        if self._features:
            result[self.best_by] = set_metric(self.best_by, torch.cat(real), torch.cat(fake))
        return result

    def score(self, metrics: Mapping[str, float]) -> float:
        """The metric that decides, negated where more is better: the lowest score is the best."""
        value = metrics[self.best_by]
        return -value if self.best_by in RISING else value
