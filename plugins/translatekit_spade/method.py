"""SPADE: semantic image synthesis with spatially-adaptive normalization (Park et al., 2019)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from translatekit.errors import OptionError
from translatekit.interfaces import Dataset, Deployed, NetworkFactory
from translatekit.losses import make_loss
from translatekit.losses.scales import OverScales, feature_matching
from translatekit.networks.scales import MultiScale, activations
from translatekit.registry import registry
from translatekit.training.accumulation import Update, Updates
from translatekit.training.method import Method, accuracy
from translatekit_spade.networks import StyleEncoder
from translatekit_spade.options import SPADEOptions


class SPADE(Method):
    """The generator G(m) makes an image of a label map m, which discriminators of several scales judge with it.

    Hinge losses, and the matching of the discriminators' features (section 3). With a style encoder E it is a
    variational autoencoder: G(m, z), where z is drawn as E says of the real image, and E is held to normal(0, 1).
    """

    def __init__(self, options: SPADEOptions, networks: NetworkFactory, data: Dataset) -> None:
        x, y = (data.specs[key].network_channels for key in ("input", "target"))
        style: dict[str, Any] = {"style_size": options.style_size} if options.style_encoder else {}
        if style and "style_size" not in _arguments(networks.generator_name):
            raise OptionError(
                f"the generator {networks.generator_name!r} takes no style: leave out --style-encoder, or pass "
                "--generator spade"
            )
        D = MultiScale([networks.discriminator(in_channels=x + y) for _ in range(options.scales)])
        made: dict[str, nn.Module] = {"G": networks.generator(in_channels=x, out_channels=y, **style), "D": D}
        if style:
            encoder = StyleEncoder(y, data.options.crop_size, options.style_size)
            made["E"] = networks.initialize(encoder)
        super().__init__(made)
        self.options = options
        self.adversarial = OverScales(make_loss(options.adversarial, "adversarial"))
        self.perceptual = make_loss("perceptual", "reconstruction") if options.lambda_perceptual else None
        self.loss_roles = {
            "G_GAN": "adversarial",
            "D_real": "discriminator",
            "D_fake": "discriminator",
            "G_features": "reconstruction",
            "G_perceptual": "reconstruction",
        }
        self.matched = activations(D)

    def updates(self, batch: Mapping[str, Any]) -> Updates:
        """One update of D, then one of G, and of E with it."""
        x, y = batch["input"], batch["target"]
        G, D = self.networks["G"], self.networks["D"]
        losses: dict[str, Tensor] = {}
        style: tuple[Tensor, ...] = ()
        if self.options.style_encoder:
            mean, log_variance = (parameter.float() for parameter in self.networks["E"](y))
            style = (mean + torch.exp(log_variance / 2) * torch.randn_like(mean),)
            losses["KL"] = self.options.lambda_kl * divergence(mean, log_variance)
        fake = G(x, *style)

        real_pair, fake_pair = torch.cat([x, y], 1), torch.cat([x, fake], 1)
        fake_logits, real_logits = D(fake_pair.detach()), D(real_pair)
        D_real, D_fake = self.adversarial.discriminator(real_logits, fake_logits)
        loss_D = D_real + D_fake
        penalty = self.adversarial.penalty(self.unwrapped["D"], real_pair, fake_pair.detach())
        yield Update(loss_D if penalty is None else loss_D + penalty, "D")

        with self.frozen("D"):
            losses["G_GAN"] = self.adversarial.generator(D(fake_pair))
            if self.options.lambda_features:
                with torch.no_grad():
                    real_features = self.features("D", self.matched, real_pair)
                fake_features = self.features("D", self.matched, fake_pair)
                distance = feature_matching(real_features, fake_features, self.options.scales)
                losses["G_features"] = self.options.lambda_features * distance
            if self.perceptual is not None:
                distance = self.perceptual.to(fake.device)(fake, y)
                losses["G_perceptual"] = self.options.lambda_perceptual * distance
            yield Update(torch.stack(list(losses.values())).sum(), "G", *(["E"] if style else []))

        losses |= {"D_real": D_real, "D_fake": D_fake}
        return {name: loss.detach() for name, loss in losses.items()} | accuracy(
            real_logits, fake_logits, self.adversarial
        )

    def deployed(self) -> dict[str, Deployed]:
        """The generator."""
        return {"G": Deployed(self.unwrapped["G"], input="input", target="target")}

    def samples(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Input, output and target; with styles, the output in that of the target, too."""
        x, G = batch["input"], self.networks["G"]
        columns = {"input": x, "output": G(x)}
        if self.options.style_encoder:
            columns["in the target's style"] = G(x, self.networks["E"](batch["target"])[0])
        return {**columns, "target": batch["target"]}


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """How far normal distributions are from normal(0, 1) (Kullback-Leibler), summed over numbers of a vector.

    Args:
        mean: (N, D).
        log_variance: (N, D).

    Returns:
        A scalar, the mean over the batch.
    """
    return (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean() / 2


def _arguments(generator: str) -> set[str]:
    """The arguments that a generator's constructor takes."""
    return set(inspect.signature(registry("generator").load(generator)).parameters)
