"""CUT: contrastive learning for unpaired image-to-image translation (Park et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from translatekit.errors import OptionError
from translatekit.interfaces import SIDES, Dataset, Deployed, NetworkFactory
from translatekit.losses import make_loss
from translatekit.networks.features import Layer, feature_layers, inner_features
from translatekit.training.accumulation import Update, Updates
from translatekit.training.method import Method, accuracy
from translatekit_cut.heads import Heads, at_places, draw_places, patch_nce
from translatekit_cut.options import CUTOptions

INPUT = "input"


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
        self.with_input, self.layers = _layers(options.layers, self.unwrapped["G"])

    def begin(self, batch: Mapping[str, Any]) -> None:
        """Make a head for each layer, of as many channels as the layer gives."""
        G = self.unwrapped["G"]
        training = G.training
        with torch.no_grad():
            maps = inner_features(G.eval(), self.layers, batch[self.x])
        G.train(training)
        channels = [batch[self.x].shape[1]] * self.with_input + [tensor.shape[1] for tensor in maps]
        self.add_network("H", self.factory.initialize(Heads(channels)))

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
            nce = self._contrast(output, real, mirrored)
            losses["NCE"] = self.options.lambda_x * nce[0]
            if self.options.lambda_y:
                losses["NCE_Y"] = self.options.lambda_y * nce[1]
            yield Update(torch.stack(list(losses.values())).sum(), "G", "H")

        losses |= {"D_real": D_real, "D_fake": D_fake}
        return {name: loss.detach() for name, loss in losses.items()} | accuracy(real_logits, fake_logits)

    def deployed(self) -> dict[str, Deployed]:
        """The generator."""
        return {"G": Deployed(self.unwrapped["G"], input=self.x, target=self.y)}

    def samples(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """The input and its translation; an image of the other side and its own, which is to leave it as it is."""
        G, x, y = self.networks["G"], self.x, self.y
        return {x: batch[x], f"{x} to {y}": G(batch[x]), y: batch[y], f"{y} to {y}": G(batch[y])}

    def _contrast(self, output: Tensor, real: Tensor, mirrored: bool) -> list[Tensor]:
        """The contrastive loss between outputs and what they were made of, of X and, if wanted, of Y."""
        with torch.no_grad():
            of_real = self._features(real)
        of_output = self._features(output)
        if mirrored:
            of_output = [tensor.flip(-1) for tensor in of_output]
        places = draw_places(of_real, self.options.patches)
        chosen = [
            torch.cat(pair)
            for pair in zip(at_places(of_output, places), at_places(of_real, places), strict=True)
        ]
        vectors = [tensor.chunk(2) for tensor in self.networks["H"](chosen)]
        temperature, hard = self.options.temperature, self.options.hard_negatives
        parts = 2 if self.options.lambda_y else 1
        losses = [
            [
                patch_nce(q, k.detach(), temperature, hard)
                for q, k in zip(queries.chunk(parts), keys.chunk(parts), strict=True)
            ]
            for queries, keys in vectors
        ]
        return [torch.stack(of_layers).mean() for of_layers in zip(*losses, strict=True)]

    def _features(self, images: Tensor) -> list[Tensor]:
        return [images] * self.with_input + self.features("G", self.layers, images)


def _layers(text: str | None, network: nn.Module) -> tuple[bool, Sequence[Layer]]:
    """Whether the image itself is compared, and the layers whose features are.

    Without a choice, the layers at one, two, three and four eighths of the way. Of `resnet` with 9 blocks these are the
    paper's: both strided convolutions, the first and the fifth residual block (appendix A).
    """
    if text is None:
        names = feature_layers(network)
        return True, list(dict.fromkeys(names[len(names) * eighths // 8] for eighths in (1, 2, 3, 4)))
    words = [word.strip() for word in text.split(",") if word.strip()]
    layers: list[Layer] = [
        int(word) if word.lstrip("-").isdecimal() else word for word in words if word != INPUT
    ]
    if not layers:
        raise OptionError(
            f"--layers {text} names no layer of the generator: choose among {', '.join(feature_layers(network))}"
        )
    return INPUT in words, layers
