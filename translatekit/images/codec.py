"""From the values of images to those of a network and back: a module, exported with the network.

Elementary operations only, so that every exporter takes it.
"""

from __future__ import annotations

import torch
from torch import nn

from translatekit.image_spec import ImageSpec
from translatekit.images.color_torch import gray_to_l, lab_to_rgb


class ValueCodec(nn.Module):
    """What a spec says of values, as arithmetic.

    A network's values are in [-1, 1], or 0 and 1 where they are the channels of classes.
    """

    low: torch.Tensor
    scale: torch.Tensor
    ids: torch.Tensor

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.spec = spec
        self._plain = spec.span == (0.0, 1.0) and len(spec.low) == len(spec.high) == 1
        if not self._plain:
            low, high = (torch.tensor(bound, dtype=torch.float64) for bound in (spec.low, spec.high))

            self.register_buffer("low", _planes(low), persistent=False)
            self.register_buffer("scale", _planes(high - low), persistent=False)
        if spec.codec == "onehot":
            ids = torch.tensor(spec.ids, dtype=torch.float32)
            self.register_buffer("ids", ids.reshape(1, -1, 1, 1), persistent=False)

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        """Images as a network takes them.

        Args:
            batch: (N, H, W, C) of the spec: uint8 or float32.

        Returns:
            (N, C', H, W), float32, C' being the spec's ``network_channels``.
        """
        # Cast first: TensorRT has uint8 only at the ends of a graph, directly beside a cast.
        images = batch.to(torch.float32).permute(0, 3, 1, 2)
        if self.spec.codec == "onehot":
            if self.spec.count == 1:  # no slice of all there is, which Core ML's converter does not know
                return (images == self.ids).to(torch.float32)
            return torch.cat([(images[:, :1] == self.ids).to(torch.float32), images[:, 1:]], dim=1)
        if self.spec.levels and batch.dtype == torch.uint8:
            images = images / 255.0
        if self.spec.codec == "lab":
            return gray_to_l(images)
        if not self._plain:
            images = (images - self.low) / self.scale
        if self.spec.clip:
            images = images.clamp(0.0, 1.0)
        return images * 2.0 - 1.0

    def decode(self, values: torch.Tensor, taken: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """A network's output as images.

        Args:
            values: (N, C', H, W), of any float dtype.
            taken: what the network was given, (N, C'', H, W): where colour is added by ``lab``, it is the lightness.
            dtype: of the batch that came in.

        Returns:
            (N, H, W, C). Where the spec has levels, of the dtype that came in: uint8, rounded to the nearest level, or
            float32 in [0, 1]. Class numbers are uint8, those of the largest channels. Else float32 in the spec's unit,
            clamped to the range unless the spec is not clipped. Of several slices, the middle one.
        """
        values = values.to(torch.float32)
        if self.spec.codec == "onehot":
            return self._decode_classes(values)
        if self.spec.network_slices > 1:
            first = self.spec.network_slices // 2 * self.spec.count
            values = values[:, first : first + self.spec.count]
        if self.spec.codec == "lab":
            images = self._decode_lab(values, taken)
        else:
            images = (values + 1.0) / 2.0
        if self.spec.levels or self.spec.clip:
            images = images.clamp(0.0, 1.0)
        if not self._plain:
            images = images * self.scale + self.low
        images = images.permute(0, 2, 3, 1)
        if self.spec.levels and dtype == torch.uint8:
            return torch.round(images * 255.0).to(torch.uint8)
        return images

    def _decode_lab(self, values: torch.Tensor, taken: torch.Tensor) -> torch.Tensor:
        if self.spec.meaning == "gray":
            return lab_to_rgb(values, torch.zeros_like(values).repeat(1, 2, 1, 1))[:, :1]
        return lab_to_rgb(taken, values)

    def _decode_classes(self, values: torch.Tensor) -> torch.Tensor:
        count = self.ids.shape[1]
        classes = self.ids.flatten()[values[:, :count].argmax(dim=1)]
        images = torch.cat([classes[:, None], values[:, count:]], dim=1)
        return images.permute(0, 2, 3, 1).to(torch.uint8)


def _planes(bounds: torch.Tensor) -> torch.Tensor:
    return bounds.to(torch.float32).reshape(1, -1, 1, 1)
