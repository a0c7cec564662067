"""The network as it is deployed: images in, images out, with all arithmetic between inside of the graph."""

from __future__ import annotations

import torch
from torch import nn

from translatekit.image_spec import RGB, ImageSpec
from translatekit.images.codec import ValueCodec


class NotFiniteError(Exception):
    """An output is not a finite number."""


class Deployable(nn.Module):
    """A generator between the values of images.

    Traces and exports as one graph for each dtype of its input: only tensor operations depend on the data.
    """

    def __init__(
        self,
        network: nn.Module,
        input: ImageSpec = RGB,  # as a model's header calls it
        output: ImageSpec = RGB,
        *,
        checks: bool = False,
    ) -> None:
        """Wrap a network.

        Args:
            network: maps (N, C, H, W) in [-1, 1] to (N, C', H, W) in [-1, 1], in evaluation mode.
            input: the images that are given to it.
            output: those that it makes.
            checks: raise `NotFiniteError` where an output is no number, which 8 bits would show as black. Such a
                module cannot be exported.
        """
        super().__init__()
        self.network = network
        self.into = ValueCodec(input)
        self.out = ValueCodec(output)
        self.checks = checks

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Translate a batch.

        Args:
            batch: (N, H, W, C) of the input's spec, uint8 or float32; class numbers may be either.

        Raises:
            NotFiniteError: with `checks`, an output is NaN or infinite.

        Returns:
            (N, H, W, C') of the output's spec: of the dtype that came in where that has levels, rounded to the nearest
            one and clamped; else float32.
        """
        encoded = self.into.encode(batch)
        values = self.network(encoded)
        if self.checks and not bool(values.isfinite().all()):
            raise NotFiniteError
        return self.out.decode(values, encoded, batch.dtype)
