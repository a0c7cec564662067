"""Conditional generative adversarial nets (Mirza and Osindero, 2014); without labels, GANs (Goodfellow et al.)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from translatekit.errors import DataError, OptionError
from translatekit.interfaces import Dataset, Deployed, NetworkFactory
from translatekit.losses import make_loss
from translatekit.registry import registry
from translatekit.training.accumulation import Update, Updates
from translatekit.training.method import Method, accuracy
from translatekit_cgan.options import CGANOptions

SAMPLE_COLUMNS = 10


class CGAN(Method):
    """The generator makes images G(z, c) of class c from noise z, and the discriminator judges D(x, c).

    min_G max_D E log D(x, c) + E log(1 - D(G(z, c), c)): equation 2 of the paper. With the loss ``vanilla`` the
    generator maximizes log D(G(z, c), c) instead, which does not saturate (section 3 of GANs).
    """

    loss_roles = {"G_GAN": "adversarial", "D_real": "discriminator", "D_fake": "discriminator"}

    def __init__(self, options: CGANOptions, networks: NetworkFactory, data: Dataset) -> None:
        self.class_names = data.class_names if options.conditional else ()
        _check(options, networks, data)
        channels, classes = data.specs["image"].network_channels, len(self.class_names)
        conditional = registry("discriminator").get(str(networks.discriminator_name)).conditional
        super().__init__(
            {
                "G": networks.generator(
                    latent_size=options.latent_size,
                    num_classes=classes,
                    out_channels=channels,
                    size=data.options.crop_size,
                ),
                "D": networks.discriminator(
                    in_channels=channels, **({"num_classes": classes} if conditional else {})
                ),
            }
        )
        self.latent_size = options.latent_size
        self.adversarial = make_loss(options.adversarial, "adversarial")

    def updates(self, batch: Mapping[str, Any]) -> Updates:
        """One update of D, then one of G (algorithm 1 of GANs, with k = 1)."""
        real, c = batch["image"], self._condition(batch["label"])
        G, D = self.networks["G"], self.networks["D"]
        z = torch.randn(len(real), self.latent_size, device=real.device)
        fake = G(z, *c)

        # real last, so that running statistics of batch normalization end on real images
        fake_logits, real_logits = D(fake.detach(), *c), D(real, *c)
        D_real, D_fake = self.adversarial.discriminator(real_logits, fake_logits)
        loss_D = D_real + D_fake
        penalty = self.adversarial.penalty(lambda x: self.unwrapped["D"](x, *c), real, fake.detach())
        if penalty is not None:
            loss_D = loss_D + penalty
        yield Update(loss_D, "D")

        with self.frozen("D"):
            loss_G = self.adversarial.generator(D(fake, *c))
            yield Update(loss_G, "G")

        losses = {"G_GAN": loss_G, "D_real": D_real, "D_fake": D_fake}
        return {name: loss.detach() for name, loss in losses.items()} | accuracy(
            real_logits, fake_logits, self.adversarial
        )

    def deployed(self) -> dict[str, Deployed]:
        """The generator."""
        return {"G": Deployed(self.unwrapped["G"], input=None, target="image")}

    def samples(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Training images, and beside them a column for each class (the first ten), a row from the same noise."""
        real = batch["image"]
        rows = len(real)
        # always the same noise, drawn apart from that of the training, which it must not disturb
        noise = torch.Generator().manual_seed(0)
        columns = {"real": real}
        if self.class_names:
            z = torch.randn(rows, self.latent_size, generator=noise).to(real.device)
            for label, name in enumerate(self.class_names[:SAMPLE_COLUMNS]):
                labels = torch.full((rows,), label, device=real.device)
                columns[f"fake: {name}"] = self.networks["G"](z, labels)
        else:
            for column in range(1, SAMPLE_COLUMNS + 1):
                z = torch.randn(rows, self.latent_size, generator=noise).to(real.device)
                columns[f"fake {column}"] = self.networks["G"](z)
        return columns

    def _condition(self, labels: Tensor) -> tuple[Tensor, ...]:
        """What G and D are given beside noise and images: nothing, for the plain GAN."""
        return (labels,) if self.class_names else ()


def _check(options: CGANOptions, networks: NetworkFactory, data: Dataset) -> None:
    """Refuse networks and data that do not fit, before they fail in less plain words.

    Raises:
        DataError: there are no classes to condition on.
        OptionError: a network does not take what it would be given.
    """
    if options.conditional and not data.class_names:
        raise DataError(
            "the dataset names no classes to condition on: pass --no-conditional for the plain GAN"
        )
    generators, discriminators = registry("generator"), registry("discriminator")
    if generators.get(networks.generator_name).source != "latent":
        fitting = ", ".join(
            entry.spec.name for entry in generators.entries() if entry.spec.source == "latent"
        )
        raise OptionError(
            f"cgan makes images from noise, and the generator {networks.generator_name!r} takes images: "
            f"pass --generator with one of {fitting}"
        )
    if options.conditional and not discriminators.get(str(networks.discriminator_name)).conditional:
        fitting = ", ".join(entry.spec.name for entry in discriminators.entries() if entry.spec.conditional)
        raise OptionError(
            f"the discriminator {networks.discriminator_name!r} takes no labels: "
            f"pass --discriminator with one of {fitting}, or --no-conditional for the plain GAN"
        )
