"""CycleGAN: unpaired image-to-image translation with cycle-consistent adversarial networks (Zhu et al., 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from translatekit.errors import OptionError
from translatekit.interfaces import Dataset, Deployed, NetworkFactory
from translatekit.losses import make_loss
from translatekit.training.accumulation import Update, Updates
from translatekit.training.method import Method, accuracy
from translatekit.training.pool import ImagePool
from translatekit_cyclegan.options import CycleGANOptions


class CycleGAN(Method):
    """Two generators, AtoB and BtoA, each undoing the other; two discriminators that face them.

    As everywhere in the field, D_A is the one that faces AtoB, so it judges images of B.
    """

    def __init__(self, options: CycleGANOptions, networks: NetworkFactory, data: Dataset) -> None:
        a, b = (data.specs[key].network_channels for key in "AB")
        if options.lambda_identity and a != b:
            raise OptionError(
                f"the identity loss needs images of the same kind on both sides, and A has {a} channels, "
                f"B has {b}: pass --lambda-identity 0"
            )
        super().__init__(
            {
                "AtoB": networks.generator(in_channels=a, out_channels=b),
                "BtoA": networks.generator(in_channels=b, out_channels=a),
                "D_A": networks.discriminator(in_channels=b),
                "D_B": networks.discriminator(in_channels=a),
            }
        )
        self.options = options
        self.loss_roles = {
            **dict.fromkeys(("G_A", "G_B"), "adversarial"),
            **dict.fromkeys(("D_A", "D_B"), "discriminator"),
            **dict.fromkeys(("cycle_A", "cycle_B", "idt_A", "idt_B"), "reconstruction"),
        }
        self.adversarial = make_loss(options.adversarial, "adversarial")
        self.distance = nn.L1Loss()
        self.pools = {"A": ImagePool(options.pool_size, seed=1), "B": ImagePool(options.pool_size, seed=2)}

    def updates(self, batch: Mapping[str, Any]) -> Updates:
        """One update of both generators, then one of each discriminator (sections 3 and 4)."""
        real_A, real_B = batch["A"], batch["B"]
        AtoB, BtoA = self.networks["AtoB"], self.networks["BtoA"]
        D_A, D_B = self.networks["D_A"], self.networks["D_B"]
        weight_A, weight_B = self.options.lambda_a, self.options.lambda_b

        fake_B, fake_A = AtoB(real_A), BtoA(real_B)
        with self.frozen("D_A", "D_B"):
            losses = {
                "G_A": self.adversarial.generator(D_A(fake_B)),
                "G_B": self.adversarial.generator(D_B(fake_A)),
                "cycle_A": weight_A * self.distance(BtoA(fake_B), real_A),
                "cycle_B": weight_B * self.distance(AtoB(fake_A), real_B),
            }
            if self.options.lambda_identity:
                # AtoB shows what it leaves alone when it is given a B, hence the weight of the side it is given
                share = self.options.lambda_identity
                losses["idt_A"] = share * weight_B * self.distance(AtoB(real_B), real_B)
                losses["idt_B"] = share * weight_A * self.distance(BtoA(real_A), real_A)
            yield Update(torch.stack(list(losses.values())).sum(), "AtoB", "BtoA")

        accuracies: dict[str, Tensor] = {}
        for name, real, fake in (
            ("D_A", real_B, self.pools["B"].query(fake_B)),
            ("D_B", real_A, self.pools["A"].query(fake_A)),
        ):
            D = self.networks[name]
            real_logits, fake_logits = D(real), D(fake)
            losses[name] = torch.stack(self.adversarial.discriminator(real_logits, fake_logits)).mean()
            penalty = self.adversarial.penalty(self.unwrapped[name], real, fake)
            yield Update(losses[name] if penalty is None else losses[name] + penalty, name)
            accuracies |= {
                f"{key}_{name}": value
                for key, value in accuracy(real_logits, fake_logits, self.adversarial).items()
            }
        return {name: loss.detach() for name, loss in losses.items()} | accuracies

    def deployed(self) -> dict[str, Deployed]:
        """Both generators."""
        return {
            "AtoB": Deployed(self.unwrapped["AtoB"], input="A", target="B"),
            "BtoA": Deployed(self.unwrapped["BtoA"], input="B", target="A"),
        }

    def samples(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Each side, its translation, and the way back."""
        AtoB, BtoA = self.networks["AtoB"], self.networks["BtoA"]
        fake_B, fake_A = AtoB(batch["A"]), BtoA(batch["B"])
        return {
            "A": batch["A"],
            "A to B": fake_B,
            "and back": BtoA(fake_B),
            "B": batch["B"],
            "B to A": fake_A,
            "and back to B": AtoB(fake_A),
        }

    def extra_state(self) -> dict[str, Any]:
        """The image pools."""
        return {name: pool.state_dict() for name, pool in self.pools.items()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take the image pools back."""
        for name, pool in self.pools.items():
            pool.load_state_dict(state[name])
