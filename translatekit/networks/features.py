"""The features inside of a network: what its layers give, by their names or their numbers.

What contrastive methods (Park et al., 2020) and distillation learn from. It works on any `nn.Module`, through torch's
forward hooks: a network need not know of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from torch import Tensor, nn

from translatekit.errors import OptionError
from translatekit.options import closest

Layer = str | int


def feature_layers(network: nn.Module) -> tuple[str, ...]:
    """The names of the layers whose outputs are a network's features, in the order of its forward pass.

    They are those that its attribute ``feature_layers`` names, as in ``named_modules()``; without it, its children,
    each `nn.Sequential` and `nn.ModuleList` taken apart.
    """
    own: Sequence[str] | None = getattr(network, "feature_layers", None)
    return tuple(own) if own is not None else tuple(_stages(network, ""))


@contextmanager
def layer_outputs(network: nn.Module, layers: Sequence[Layer]) -> Iterator[dict[Layer, Tensor]]:
    """What layers of a network give in the forward passes within, by the names or numbers that were asked for.

    Args:
        network: it, or what it is wrapped in for the training, is called within.
        layers: names, or numbers in `feature_layers`; negative ones count from its end.

    Returns:
        A dict that each forward pass fills; copies, which gradients pass through, since what follows a layer may work
        in place.

    Raises:
        OptionError: there is no such layer.
    """
    found: dict[Layer, Tensor] = {}
    modules = dict(network.named_modules())
    with ExitStack() as stack:
        for layer in layers:
            name = _name(network, modules, layer)

            def keep(module: nn.Module, inputs: Any, output: Any, layer: Layer = layer) -> None:
                if not isinstance(output, Tensor):
                    raise OptionError(
                        f"the layer {layer!r} gives a {type(output).__name__} and no features: choose among "
                        f"{', '.join(feature_layers(network))}"
                    )
                found[layer] = output.clone()

            stack.callback(modules[name].register_forward_hook(keep).remove)
        yield found


def inner_features(network: nn.Module, layers: Sequence[Layer], *inputs: Any) -> list[Tensor]:
    """What layers of a network give for some inputs; what comes behind the last of them is not computed.

    Args:
        network: unwrapped: neither wrapped for several processes nor compiled.
        layers: names, or numbers in `feature_layers`.
        inputs: of its forward pass.

    Returns:
        Tensors, (N, C, H, W) of an image generator's layers, in the order of `layers`.

    Raises:
        OptionError: there is no such layer, or it is not run.
    """
    wanted = set(layers)
    with layer_outputs(network, layers) as found, ExitStack() as stack:
        modules = dict(network.named_modules())

        def end(module: nn.Module, args: Any, output: Any) -> None:
            if found.keys() == wanted:
                raise _Done

        for layer in wanted:  # behind those that keep, since hooks run in the order they were made
            hook = modules[_name(network, modules, layer)].register_forward_hook(end)
            stack.callback(hook.remove)
        with suppress(_Done):
            network(*inputs)
        if missing := [layer for layer in layers if layer not in found]:
            raise OptionError(f"the layer {missing[0]!r} is not run by a forward pass: choose another")
        return [found[layer] for layer in layers]


class _Done(Exception):  # noqa: N818 - no error
    """All features are there."""


def _stages(network: nn.Module, prefix: str) -> Iterator[str]:
    for name, child in network.named_children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            yield from _stages(child, f"{prefix}{name}.")
        else:
            yield prefix + name


def _name(network: nn.Module, modules: Mapping[str, nn.Module], layer: Layer) -> str:
    """The name of a layer.

    Raises:
        OptionError: there is no such layer.
    """
    names = feature_layers(network)
    if isinstance(layer, int):
        if not -len(names) <= layer < len(names):
            raise OptionError(
                f"there is no layer {layer}: there are {len(names)}, from 0 to {len(names) - 1}"
            )
        return names[layer]
    if layer not in modules:
        close = closest(layer, modules)
        hint = f"did you mean {close!r}? " if close else ""
        raise OptionError(f"there is no layer {layer!r}: {hint}there are {', '.join(names)}")
    return layer
