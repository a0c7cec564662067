"""A network that makes one pass of several, as one that makes all of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from translatekit.bridge import Bridge
from translatekit.inference.passes import cross, network_noise, way_noise


def pass_input(place: Tensor, time: float, noise: Tensor) -> Tensor:
    """What a pass is given: (N, C, H, W), the time in a plane, and noise (N or 1, 1, H, W)."""
    shape = (len(place), 1, *place.shape[2:])
    return torch.cat([place, place.new_full(shape, time), noise.to(place).expand(shape)], dim=1)


class InPasses(nn.Module):
    """From images (N, C, H, W) to their translations in network values, as a `PassesTranslator` makes them.

    Attributes:
        network: makes one pass.
        bridge: leads from each to the next.
        passes: how many are made; all when it is made with None.
    """

    def __init__(self, network: nn.Module, bridge: Bridge, passes: int | None = None, seed: int = 0) -> None:
        super().__init__()
        self.network, self.bridge, self.passes, self._seed = network, bridge, bridge.passes(passes), seed

    def forward(self, images: Tensor) -> Tensor:
        """Translate images; the noise is that of the seed."""
        height, width = images.shape[2:]

        def foresee(place: Tensor, step: int) -> Tensor:
            noise = torch.from_numpy(network_noise(self._seed, step, height, width))
            end: Tensor = self.network(pass_input(place, self.bridge.times[step], noise[None, None]))
            return end

        def noise(step: int) -> Any:
            drawn = torch.from_numpy(way_noise(self._seed, step, height, width, images.shape[1]))
            return drawn.permute(2, 0, 1).to(images)

        return cross(self.bridge, self.passes, images, foresee, noise)
