"""The base of training methods: everything but the mathematics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from translatekit.interfaces import Deployed, LossRole, MakeOptimizer
from translatekit.losses.adversarial import boundary_of
from translatekit.networks.features import Layer, inner_features
from translatekit.training.accumulation import Updates, accumulate
from translatekit.training.fabric import Fabric


class Method:
    """A training method whose subclass builds networks and writes `updates`, `deployed` and `samples`.

    A method whose steps are none of that kind writes `step` instead of `updates`, for one batch, with `update` for
    what an optimizer does; it then accumulates no gradients.

    See `translatekit.interfaces.Method` for what its attributes mean.

    Attributes:
        part: which of the batches of a step is being computed.
    """

    networks: dict[str, Any]
    unwrapped: dict[str, nn.Module]
    optimizers: dict[str, Any]
    fabric: Fabric
    loss_roles: Mapping[str, LossRole] = {}
    part: int = 0

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        """Take the networks by name."""
        self.unwrapped = dict(networks)
        self.networks = dict(networks)
        self.optimizers = {}

    def begin(self, batch: Mapping[str, Any]) -> None:
        """Nothing, unless a subclass has networks to add whose shapes depend on what others give."""

    def add_network(self, name: str, network: nn.Module) -> None:
        """One more network, such as in `begin`: trained, saved and resumed like the others."""
        self.unwrapped[name] = self.networks[name] = network

    def make_optimizers(self, make: MakeOptimizer) -> dict[str, torch.optim.Optimizer]:
        """The optimizers by name: here, one for each network that has weights to train, under its name.

        A subclass may give several networks one optimizer, other rates (``make(parameters, lr=1e-4)``), or optimizers
        of another kind.
        """
        return {
            name: make(network.parameters()) for name, network in self.unwrapped.items() if trains(network)
        }

    def setup(self, fabric: Fabric, make_optimizer: MakeOptimizer, wrap: Callable[[nn.Module], Any]) -> None:
        """See `translatekit.interfaces.Method.setup`."""
        self.fabric = fabric
        optimizers = self.make_optimizers(make_optimizer)
        for name, network in self.unwrapped.items():
            wrapped = wrap(network)
            self.networks[name] = (
                fabric.setup_module(wrapped) if trains(network) else _Fixed(fabric.to_device(wrapped), fabric)
            )
        for name, optimizer in optimizers.items():
            self.optimizers[name] = fabric.setup_optimizers(optimizer)

    def learning_rate_factor(self, optimizer: str, step: int, epoch: int) -> float | None:
        """The run's own schedule, unless a subclass has one."""
        return None

    def step(self, *batches: Mapping[str, Any]) -> dict[str, Tensor]:
        """See `translatekit.interfaces.Method.step`."""
        return accumulate(self, batches) if len(batches) > 1 else self._step(batches[0])

    def updates(self, batch: Mapping[str, Any]) -> Updates:
        """The algorithm: yield each of the updates that a step consists of, in order, and return the losses.

        Where the code goes on, the update is done. Of several batches, each is at the same update at a time::

            fake = G(x)
            yield Update(discriminator_loss(D(fake.detach()), D(y)), "D")
            with self.frozen("D"):
                yield Update(generator_loss(D(fake)), "G")  # judged by the D of now
            return {...}
        """
        raise NotImplementedError

    def _step(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        updates = self.updates(batch)
        while True:
            try:
                update = next(updates)
            except StopIteration as end:
                return dict(end.value)
            self.update(update.loss, *update.names)

    def deployed(self) -> dict[str, Deployed]:
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
        """One step of the named optimizers down the gradient of a loss."""
        for name in names:
            self.optimizers[name].zero_grad()
        self.fabric.backward(loss)
        for name in names:
            self.optimizers[name].step()

    def features(self, name: str, layers: Sequence[Layer], *inputs: Any) -> list[Tensor]:
        """What layers inside of a network give, in the run's precision.

        See `translatekit.networks.features.inner_features`. Gradients reach its weights as in `step`, among several
        processes too, as long as the step also calls the network as a whole.
        """
        with self.fabric.autocast():
            return inner_features(self.unwrapped[name], layers, *inputs)

    @contextmanager
    def frozen(self, *names: str) -> Iterator[None]:
        """Let gradients pass through the named networks without reaching their weights.

        Several processes must not wait for gradients that nobody computes, hence no synchronization either.
        """
        weights = [
            weight for name in names for weight in self.unwrapped[name].parameters() if weight.requires_grad
        ]
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(self.fabric.no_backward_sync(self.networks[name]))
            for weight in weights:
                weight.requires_grad_(False)
            try:
                yield
            finally:
                for weight in weights:  # and none that the user has frozen
                    weight.requires_grad_(True)


def trains(network: nn.Module) -> bool:
    """Whether a network has weights that are trained."""
    return any(parameter.requires_grad for parameter in network.parameters())


class _Fixed(nn.Module):
    """A network that is not trained, in the run's precision: there is nothing to synchronize between processes."""

    def __init__(self, network: nn.Module, fabric: Fabric) -> None:
        super().__init__()
        self.network = network
        self._autocast = fabric.autocast

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with self._autocast():
            return self.network(*args, **kwargs)


@torch.no_grad()
def accuracy(
    real: Tensor | Sequence[Tensor], fake: Tensor | Sequence[Tensor], loss: object
) -> dict[str, Tensor]:
    """The share of logits on the right side of a loss's boundary, as ``accuracy_real`` and ``accuracy_fake`` in [0, 1].

    Of several scales, their mean.

    Args:
        real, fake: logits, or those of each scale.
        loss: the adversarial one (see `translatekit.interfaces.AdversarialLoss`).
    """
    boundary = boundary_of(loss)
    right = {"accuracy_real": (real, 1), "accuracy_fake": (fake, -1)}
    return {
        name: torch.stack([(sign * (scale - boundary) > 0).float().mean() for scale in scales]).mean()
        for name, (logits, sign) in right.items()
        for scales in [[logits] if isinstance(logits, Tensor) else logits]
    }
