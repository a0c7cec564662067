"""Whether discriminators know the training images by heart: what they say of those, and of others that were held out.

Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020, section 3.1: a discriminator
that has memorized its images takes real ones that it has not seen for generated ones.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from translatekit.interfaces import Dataset
from translatekit.training.batches import collate
from translatekit.training.discriminators import discriminators_of
from translatekit.training.method import Method
from translatekit.training.state import Training

_IMAGES = 8  # of each kind: passes that take a few per cent of an epoch of some hundred


def memorization(training: Training) -> dict[str, float]:
    """How far each discriminator has memorized its images: 0 not at all, 1 as far as can be.

    Where several processes train, all of them must look, since an update's forward passes are collective operations
    where batch normalization is synchronized or weights are sharded. They see the same images.

    It is the share of the distance between what it says of training images and of generated ones by which its verdict
    on held-out images falls. All are seen as the training sees images, by the same networks in the same state, which
    stay as they are.

    Returns:
        By the discriminator's name; empty where there are no held-out images, or the method does not tell its updates
        apart (see `translatekit.training.method.Method.updates`).
    """
    method, held_out = training.method, training.held_out
    if held_out is None or not isinstance(method, Method) or type(method).updates is Method.updates:
        return {}
    targets = [deployed.target for deployed in method.deployed().values()]
    with _undisturbed(method, training.fabric.device):
        known = _verdicts(method, _batches(training, training.data), targets)
        unknown = _verdicts(method, _batches(training, held_out), targets)
    found = {}
    for name in known.keys() & unknown.keys():
        distance = known[name].real - known[name].fake
        if distance > 0:
            share = (known[name].real - unknown[name].real) / distance
            found[name] = min(1.0, max(0.0, share))
    return found


class _Verdicts:
    """Means of a discriminator's logits."""

    def __init__(self) -> None:
        self._real: list[float] = []
        self._fake: list[float] = []

    def add(self, logits: Tensor, real: bool) -> None:
        (self._real if real else self._fake).append(float(logits.detach().float().mean()))

    @property
    def complete(self) -> bool:
        return bool(self._real and self._fake)

    @property
    def real(self) -> float:
        return sum(self._real) / len(self._real)

    @property
    def fake(self) -> float:
        return sum(self._fake) / len(self._fake)


def _batches(training: Training, data: Dataset) -> Iterator[dict[str, Any]]:
    """Items of a dataset, as evenly spread as can be, in batches as the training has them."""
    size = training.options.batch_size
    count = min(len(data), max(_IMAGES, size)) // size * size
    indices = [number * len(data) // count for number in range(count)]
    for start in range(0, count, size):
        items = [data[index] for index in indices[start : start + size]]
        yield training.fabric.to_device(collate(items))


def _verdicts(method: Method, batches: Iterator[dict[str, Any]], targets: list[str]) -> dict[str, _Verdicts]:
    """What each discriminator says in a method's updates, none of which is done."""
    found = {name: _Verdicts() for name, network in method.unwrapped.items() if _judging(network, method)}
    batch: Mapping[str, Any] = {}

    def looks(name: str) -> tuple[Callable[..., None], Callable[..., None]]:
        real: list[bool | None] = []

        def before(network: nn.Module, inputs: tuple[Any, ...]) -> None:
            real.append(_is_real(inputs[0], [batch[target] for target in targets]))

        def after(network: nn.Module, inputs: tuple[Any, ...], logits: Any) -> None:
            verdict = real.pop()
            if verdict is not None and isinstance(logits, Tensor):
                found[name].add(logits, verdict)

        return before, after

    with ExitStack() as stack:
        for name, network in method.unwrapped.items():
            for module in _judging(network, method):
                before_it, after_it = looks(name)
                stack.callback(module.register_forward_pre_hook(before_it, prepend=True).remove)
                stack.callback(module.register_forward_hook(after_it).remove)
        for batch in batches:
            for _ in method.updates(batch):
                pass
    return {name: verdicts for name, verdicts in found.items() if verdicts.complete}


def _judging(network: nn.Module, method: Method) -> list[nn.Module]:
    known = {id(module) for module in discriminators_of(method)}
    return [module for module in network.modules() if id(module) in known]


@torch.no_grad()
def _is_real(x: Tensor, targets: list[Tensor]) -> bool | None:
    """Whether a discriminator is given a real image, with a condition before it or none; None for neither that nor a
    generated one, such as a further scale of it, or what a penalty is computed at."""
    if x.is_leaf and x.requires_grad:
        return None
    fitting = [
        target for target in targets if target.shape[2:] == x.shape[2:] and target.shape[1] <= x.shape[1]
    ]
    if not fitting or any(len(target) != len(x) for target in fitting):
        return None
    return any(torch.equal(x[:, x.shape[1] - target.shape[1] :].to(target), target) for target in fitting)


@contextmanager
def _undisturbed(method: Method, device: torch.device) -> Iterator[None]:
    """Leave buffers, random numbers and whatever else the updates change as they were."""
    buffers = {name: buffer.clone() for name, buffer in _buffers(method)}
    extra = copy.deepcopy(method.extra_state())
    devices = [device] if device.type == "cuda" else []
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices))
        try:
            yield
        finally:
            with torch.no_grad():
                for name, buffer in _buffers(method):
                    buffer.copy_(buffers[name])
            method.load_extra_state(extra)


def _buffers(method: Method) -> Iterator[tuple[str, Tensor]]:
    for name, network in method.unwrapped.items():
        for key, buffer in network.named_buffers():
            yield f"{name}.{key}", buffer
