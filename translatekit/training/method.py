"""The base of training methods: everything but the mathematics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from translatekit.interfaces import MakeOptimizer


class Method:
    """A training method whose subclass builds `networks` and writes `step` and `deployed`.

    See `translatekit.interfaces.Method` for what its attributes mean.
    """

    networks: dict[str, Any]
    bare: dict[str, nn.Module]
    optimizers: dict[str, Any]
    fabric: Fabric

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        """Take the networks by name; each is updated by an optimizer of its own."""
        self.bare = dict(networks)
        self.networks = dict(networks)
        self.optimizers = {}

    def setup(self, fabric: Fabric, make_optimizer: MakeOptimizer, wrap: Callable[[nn.Module], Any]) -> None:
        """See `translatekit.interfaces.Method.setup`."""
        self.fabric = fabric
        for name, network in self.bare.items():
            optimizer = make_optimizer(network.parameters())
            self.networks[name], self.optimizers[name] = fabric.setup(wrap(network), optimizer)

    def step(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """See `translatekit.interfaces.Method.step`."""
        raise NotImplementedError

    def deployed(self) -> dict[str, nn.Module]:
        """See `translatekit.interfaces.Method.deployed`."""
        raise NotImplementedError

    def samples(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """See `translatekit.interfaces.Method.samples`."""
        raise NotImplementedError

    def extra_state(self) -> dict[str, Any]:
        """Nothing, unless a subclass holds more than networks and optimizers."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take `extra_state` back."""

    def update(self, loss: Tensor, *names: str) -> None:
        """One optimizer step of the named networks down the gradient of a loss."""
        for name in names:
            self.optimizers[name].zero_grad()
        self.fabric.backward(loss)
        for name in names:
            self.optimizers[name].step()

    @contextmanager
    def frozen(self, *names: str) -> Iterator[None]:
        """Let gradients pass through the named networks without reaching their weights.

        Several processes must not wait for gradients that nobody computes, hence no synchronization either.
        """
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(self.fabric.no_backward_sync(self.networks[name]))
                self.bare[name].requires_grad_(False)
            try:
                yield
            finally:
                for name in names:
                    self.bare[name].requires_grad_(True)


@torch.no_grad()
def accuracy(real: Tensor, fake: Tensor) -> dict[str, Tensor]:
    """The share of logits on the right side of zero, as ``accuracy_real`` and ``accuracy_fake`` in [0, 1]."""
    return {"accuracy_real": (real > 0).float().mean(), "accuracy_fake": (fake < 0).float().mean()}
