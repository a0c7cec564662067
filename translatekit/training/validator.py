"""The figures of a validation, and the one that decides which state of a generator is the best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from translatekit.datasets import identity_of
from translatekit.errors import OptionError
from translatekit.image_spec import ImageSpec
from translatekit.interfaces import PairMetric, SetMetric
from translatekit.metrics import make_available, make_metric, metric_names, metric_specs
from translatekit.metrics.pairs import MetricMean, measure_pairs, network_images
from translatekit.metrics.sets import without_invalid
from translatekit.registry import registry


class Validator:
    """The metrics of a run's validation: the usual ones on pairs, and the one that decides which state is the best.

    Args:
        best_by: the metric that decides.
        paired: whether there are pairs; without them there are only metrics of sets.
        features: what metrics of sets compare by, for those that take it.

    Attributes:
        notes: which of the usual ones cannot be measured here, and why.

    Raises:
        OptionError: a metric of pairs is to decide and there are none.
        TranslatekitError: the weights of a network that the metric needs are not there.
    """

    def __init__(self, best_by: str, paired: bool, features: str | None = None) -> None:
        self.best_by = registry("metric").get(best_by)
        self.paired = paired
        if not paired and self.best_by.compares != "sets":
            raise OptionError(
                f"--best-by {best_by} needs pairs, and these images have none: pass --best-by "
                f"{' or '.join(metric_names('sets'))}"
            )
        decides = make_metric(best_by, features=features)
        self.notes: list[str] = []
        usual = [spec for spec in metric_specs("pairs") if paired and spec.validation]
        self._pairs: dict[str, PairMetric] = make_available(usual, self.notes)
        if self.best_by.compares == "pairs":
            self._pairs[best_by] = decides
        self._set: SetMetric | None = decides if self.best_by.compares == "sets" else None

    def check_images(self, spec: ImageSpec) -> None:
        """Leave out usual metrics that do not take such images, with a note.

        Args:
            spec: what is compared.

        Raises:
            OptionError: the one that decides does not take them.
        """
        count = network_images(torch.zeros(1, spec.network_channels, 1, 1), spec).values.shape[1]
        for name in dict.fromkeys([self.best_by.name, *self._pairs]):
            taken = registry("metric").get(name).channels
            if not taken or count in taken:
                continue
            reason = f"takes images of {' or '.join(map(str, taken))} channels, and these have {count}"
            if name == self.best_by.name:
                fitting = [
                    other.name
                    for other in metric_specs("pairs" if self.paired else "sets")
                    if not other.channels or count in other.channels
                ]
                remedy = f"pass another, such as {fitting[0]}" if fitting else "leave it out"
                raise OptionError(f"--best-by {name} {reason}: {remedy}")
            self.notes.append(f"without {name}: it {reason}")
            del self._pairs[name]

    @torch.no_grad()
    def measure(
        self,
        network: nn.Module,
        batches: Iterable[Mapping[str, Any]],
        source: str,
        target: str,
        spec: ImageSpec,
        to_device: Callable[[Tensor], Tensor],
    ) -> dict[str, float]:
        """The metrics of a network, which is put into evaluation mode and back.

        Args:
            network: from images to images.
            batches: of the validation set.
            source: the key of the images that the network takes, such as ``input`` or ``A``.
            target: the key of those that its outputs are compared with, such as ``target`` or ``B``.
            spec: what those are.
            to_device: brings images to the network.
        """
        mean = MetricMean()
        real: list[Tensor] = []
        fake: list[Tensor] = []
        seen: dict[str, set[tuple[str, bytes]]] = {source: set(), target: set()}

        def unseen(batch: Mapping[str, Any], of: str) -> list[int]:
            """Of unpaired images each is taken once: an epoch shows the smaller side again and again."""
            if self.paired:
                return list(range(len(batch[of])))
            new = []
            for index, (name, image) in enumerate(zip(batch[f"name_{of}"], batch[of], strict=True)):
                known = identity_of(str(name), image)
                if known not in seen[of]:
                    seen[of].add(known)
                    new.append(index)
            return new

        was_training = network.training
        network.eval()
        try:
            for batch in batches:
                output = network(to_device(batch[source])).float().cpu()
                valid = batch.get("valid")
                made, wanted = (network_images(images, spec, valid) for images in (output, batch[target]))
                for name, value in measure_pairs(self._pairs, made, wanted).items():
                    there = value[~value.isnan()]  # an image of which no pixel counts has no figure
                    mean.update({name: there.sum().item() / max(1, len(there))}, len(there))
                if self._set:
                    for features, images, of in ((real, batch[target], target), (fake, output, source)):
                        new = unseen(batch, of)
                        counts = None if valid is None else valid[new]
                        shown = without_invalid(network_images(images[new], spec, counts))
                        features.append(self._set.extractor(shown))
        finally:
            network.train(was_training)
        result = mean.compute() if self._pairs else {}
        if self._set:
            result[self.best_by.name] = self._set(torch.cat(real), torch.cat(fake))
        return result

    def score(self, metrics: Mapping[str, float]) -> float:
        """The metric that decides, negated where more is better: the lowest score is the best."""
        value = metrics[self.best_by.name]
        return -value if self.best_by.better == "higher" else value
