"""The network as it is deployed: images in, images out, with all arithmetic between inside of the graph."""

from __future__ import annotations

import torch
from torch import nn

from translatekit.image_spec import RGB, ImageSpec
from translatekit.images.codec import ValueCodec


class Deployable(nn.Module):
    """A generator between the values of images.

    Traces and exports as one graph for each dtype of its input: only tensor operations depend on the data.
    """

    def __init__(
        self,
        network: nn.Module,
        input: ImageSpec = RGB,  # as a model's header calls it
        output: ImageSpec = RGB,
    ) -> None:
        """Wrap a network.

        Args:
            network: maps (N, C, H, W) in [-1, 1] to (N, C', H, W) in [-1, 1], in evaluation mode.
            input: the images that are given to it.
            output: those that it makes.
        """
        super().__init__()
        self.network = network
        self.into = ValueCodec(input)
        self.out = ValueCodec(output)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Translate a batch.

        Args:
            batch: (N, H, W, C) of the input's spec, uint8 or float32; class numbers may be either.

        Returns:
            (N, H, W, C') of the output's spec: of the dtype that came in where that has levels, rounded to the nearest
            one and clamped; else float32.
        """
        encoded = self.into.encode(batch)
        return self.out.decode(self.network(encoded), encoded, batch.dtype)

    def checked(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Translate a batch as `forward` does, and say whether every value was a finite number.

        Returns:
            The images, where NaN is black, and a bool of no dimensions, still on the device.
        """
        encoded = self.into.encode(batch)
        values = self.network(encoded)
        return self.out.decode(values, encoded, batch.dtype), values.isfinite().all()
