"""CUT: contrastive learning for unpaired image-to-image translation (Park et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from translatekit.errors import OptionError
from translatekit.interfaces import SIDES, Dataset, Deployed, NetworkFactory
from translatekit.losses import make_loss
from translatekit.training.accumulation import Update, Updates
from translatekit.training.contrast import PatchContrast
from translatekit.training.method import Method, accuracy
from translatekit_cut.options import CUTOptions


class CUT(Method):
    """A generator one way, whose every patch is to be told by its features as that of the input it came from.

    min_G max_D L_GAN(G, D) + lambda_X L_PatchNCE(G, H, X) + lambda_Y L_PatchNCE(G, H, Y): equation 5 of the paper,
    where L_PatchNCE is the mean over places and layers. H, the heads, are trained with G.
    """

    loss_roles = {
        "G_GAN": "adversarial",
        "NCE": "reconstruction",
        "NCE_Y": "reconstruction",
        "D_real": "discriminator",
        "D_fake": "discriminator",
    }

    def __init__(self, options: CUTOptions, networks: NetworkFactory, data: Dataset) -> None:
        self.x, self.y = SIDES[data.options.direction]
        x, y = (data.specs[side].network_channels for side in (self.x, self.y))
        if x != y:
            raise OptionError(
                f"the features of outputs are compared with those of inputs, by the same network, and {self.x} has "
                f"{x} channels, {self.y} has {y}: give both sides the same, by --dataset-option in_channels={y}, or "
                "train cyclegan"
            )
        super().__init__(
            {
                "G": networks.generator(in_channels=x, out_channels=y),
                "D": networks.discriminator(in_channels=y),
            }
        )
        self.options, self.factory = options, networks
        self.adversarial = make_loss(options.adversarial, "adversarial")
        self.contrast = PatchContrast(self, "G", "H", options)

    def begin(self, batch: Mapping[str, Any]) -> None:
        """Make a head for each layer, of as many channels as the layer gives."""
        self.add_network("H", self.factory.initialize(self.contrast.make_heads(batch[self.x])))

    def updates(self, batch: Mapping[str, Any]) -> Updates:
        """One update of D, then one of G and H together."""
        real_x, real_y = batch[self.x], batch[self.y]
        G, D = self.networks["G"], self.networks["D"]
        # the Ys go through G in the same pass, as do their features
        real = torch.cat([real_x, real_y]) if self.options.lambda_y else real_x
        mirrored = self.options.flip_equivariance and bool(torch.rand(()) < 0.5)
        output = G(real.flip(-1) if mirrored else real)
        fake_y = output[: len(real_x)]

        fake_logits, real_logits = D(fake_y.detach()), D(real_y)
        D_real, D_fake = self.adversarial.discriminator(real_logits, fake_logits)
        loss_D = (D_real + D_fake) / 2
        penalty = self.adversarial.penalty(self.unwrapped["D"], real_y, fake_y.detach())
        yield Update(loss_D if penalty is None else loss_D + penalty, "D")

        with self.frozen("D"):
            losses = {"G_GAN": self.adversarial.generator(D(fake_y))}
            nce = self.contrast(output, real, parts=2 if self.options.lambda_y else 1, mirrored=mirrored)
            losses["NCE"] = self.options.lambda_x * nce[0]
            if self.options.lambda_y:
                losses["NCE_Y"] = self.options.lambda_y * nce[1]
            yield Update(torch.stack(list(losses.values())).sum(), "G", "H")

        losses |= {"D_real": D_real, "D_fake": D_fake}
        return {name: loss.detach() for name, loss in losses.items()} | accuracy(
            real_logits, fake_logits, self.adversarial
        )

    def deployed(self) -> dict[str, Deployed]:
        """The generator."""
        return {"G": Deployed(self.unwrapped["G"], input=self.x, target=self.y)}

    def samples(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """The input and its translation; an image of the other side and its own, which is to leave it as it is."""
        G, x, y = self.networks["G"], self.x, self.y
        return {x: batch[x], f"{x} to {y}": G(batch[x]), y: batch[y], f"{y} to {y}": G(batch[y])}
