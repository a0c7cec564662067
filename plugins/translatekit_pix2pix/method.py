"""Pix2Pix: image-to-image translation with conditional adversarial networks (Isola et al., 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from translatekit.interfaces import Dataset, Deployed, NetworkFactory
from translatekit.losses import make_loss
from translatekit.losses.scales import OverScales, feature_matching
from translatekit.networks.scales import MultiScale, activations
from translatekit.training.accumulation import Update, Updates
from translatekit.training.method import Method, accuracy
from translatekit_pix2pix.options import Pix2PixOptions


class Pix2Pix(Method):
    """The generator G(x) is held to its target y by a reconstruction loss, and to realism by D(x, y).

    G* = arg min_G max_D L_cGAN(G, D) + lambda L1(G): equations 1 to 4 of the paper. Noise enters by dropout.

    With discriminators of several scales and the matching of their features it is Pix2PixHD (Wang et al., 2018).
    """

    def __init__(self, options: Pix2PixOptions, networks: NetworkFactory, data: Dataset) -> None:
        x, y = (data.specs[key].network_channels for key in ("input", "target"))
        G = networks.generator(in_channels=x, out_channels=y)
        discriminators = [networks.discriminator(in_channels=x + y) for _ in range(options.scales)]
        D = MultiScale(discriminators) if options.scales > 1 else discriminators[0]
        super().__init__({"G": G, "D": D})
        self.options = options
        self.adversarial = OverScales(make_loss(options.adversarial, "adversarial"))
        self.loss_roles = {"G_GAN": "adversarial", "D_real": "discriminator", "D_fake": "discriminator"}
        self.reconstructions: list[tuple[str, float, nn.Module]] = []
        if options.reconstruction != "none":
            loss = make_loss(options.reconstruction, "reconstruction")
            self.reconstructions.append((f"G_{options.reconstruction.upper()}", options.lambda_l1, loss))
        if options.lambda_perceptual:
            loss = make_loss("perceptual", "reconstruction")
            self.reconstructions.append(("G_perceptual", options.lambda_perceptual, loss))
        self.loss_roles |= {name: "reconstruction" for name, _, _ in self.reconstructions}
        if options.lambda_features:
            self.loss_roles["G_features"] = "reconstruction"
        self.matched = activations(D)

    def updates(self, batch: Mapping[str, Any]) -> Updates:
        """One update of D, then one of G (section 3.3: D's loss is halved, to slow it down against G)."""
        x, y = batch["input"], batch["target"]
        G, D = self.networks["G"], self.networks["D"]
        fake = G(x)

        real_pair, fake_pair = torch.cat([x, y], 1), torch.cat([x, fake], 1)
        # real last, so that running statistics of batch normalization end on real images
        fake_logits, real_logits = D(fake_pair.detach()), D(real_pair)
        D_real, D_fake = self.adversarial.discriminator(real_logits, fake_logits)
        loss_D = (D_real + D_fake) / 2
        penalty = self.adversarial.penalty(self.unwrapped["D"], real_pair, fake_pair.detach())
        if penalty is not None:
            loss_D = loss_D + penalty
        yield Update(loss_D, "D")

        with self.frozen("D"):
            losses = {"G_GAN": self.adversarial.generator(D(fake_pair))}
            if self.options.lambda_features:
                with torch.no_grad():
                    real_features = self.features("D", self.matched, real_pair)
                fake_features = self.features("D", self.matched, fake_pair)
                distance = feature_matching(real_features, fake_features, self.options.scales)
                losses["G_features"] = self.options.lambda_features * distance
            for name, weight, reconstruction in self.reconstructions:
                losses[name] = weight * reconstruction.to(fake.device)(fake, y)
            yield Update(torch.stack(list(losses.values())).sum(), "G")

        losses |= {"D_real": D_real, "D_fake": D_fake}
        return {name: loss.detach() for name, loss in losses.items()} | accuracy(
            real_logits, fake_logits, self.adversarial
        )

    def deployed(self) -> dict[str, Deployed]:
        """The generator."""
        return {"G": Deployed(self.unwrapped["G"], input="input", target="target")}

    def samples(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Input, output and target."""
        return {
            "input": batch["input"],
            "output": self.networks["G"](batch["input"]),
            "target": batch["target"],
        }
