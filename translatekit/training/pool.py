"""The image pool: earlier outputs that a discriminator is shown again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """A history of generated images (Shrivastava et al., 2017, section 2.3; CycleGAN, section 4).

    Half of the images asked about are swapped for earlier ones, so that the discriminator does not forget.

    Args:
        size: how many images are kept; 0 passes every image through.
        seed: decides which are swapped.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self._random = torch.Generator().manual_seed(seed)
        self._images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """A batch (N, C, H, W) of which each image is the given one or an earlier one, without gradient."""
        if self.size == 0:
            return images.detach()
        return torch.stack([self._query_one(image) for image in images.detach()])

    def _query_one(self, image: Tensor) -> Tensor:
        if len(self._images) < self.size:
            self._images.append(image.clone())
            return image
        if torch.rand(1, generator=self._random).item() < 0.5:
            return image
        place = int(torch.randint(self.size, (1,), generator=self._random).item())
        earlier, self._images[place] = self._images[place], image.clone()
        return earlier

    def state_dict(self) -> dict[str, Any]:
        """All that an exact resume needs."""
        return {"images": self._images, "random": self._random.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take `state_dict` back."""
        self._images = list(state["images"])
        self._random.set_state(state["random"].cpu())
