"""UNSB: unpaired image-to-image translation by a neural Schrödinger bridge (Kim et al., 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from translatekit.bridge import CONDITIONS, Bridge
from translatekit.errors import OptionError
from translatekit.interfaces import SIDES, Dataset, Deployed, NetworkFactory
from translatekit.losses import make_loss
from translatekit.networks.passes import InPasses, pass_input
from translatekit.training.accumulation import Update, Updates
from translatekit.training.contrast import PatchContrast
from translatekit.training.method import Method, accuracy
from translatekit_unsb.options import UNSBOptions


class UNSB(Method):
    """A generator that goes from images of X to images of Y in steps, seeing at each where the way ends.

    Sections 4.1 and 4.2 of the paper: a step i is drawn; the way from x_0 to its beginning, x_t, is gone with the
    generator as it is; there it foresees x_1 = G(x_t, t, z), which is trained by

        L_Adv(i) + lambda_SB L_SB(i) + lambda_Reg L_Reg(i)

    L_Adv plays against D, which is told the step. L_SB(i) = tau (|x_t - x_1|^2 - (1 - t) H(x_t, x_1)), a mean over
    values, makes the way short and its ends varied; the authors' code weighs the entropy by 1 - i/T instead, T being
    the number of steps. The entropy H is the mutual information of the pair with itself, which the network E
    estimates. L_Reg is CUT's contrastive loss between x_0 and x_1, whose heads H are trained with G.
    """

    loss_roles = {
        "G_GAN": "adversarial",
        "NCE": "reconstruction",
        "NCE_Y": "reconstruction",
        "D_real": "discriminator",
        "D_fake": "discriminator",
    }

    def __init__(self, options: UNSBOptions, networks: NetworkFactory, data: Dataset) -> None:
        self.x, self.y = SIDES[data.options.direction]
        self.bridge = Bridge(
            times=harmonic_times(options.steps),
            tau=options.tau,
            input=data.specs[self.x],
            output=data.specs[self.y],
        )
        try:
            self.bridge.check()
        except ValueError as error:
            raise OptionError(
                f"unsb cannot go from {self.x} to {self.y}, since {error}: give both sides images of the "
                "same channels, or train cyclegan"
            ) from None
        channels = data.specs[self.y].network_channels
        super().__init__(
            {
                "G": networks.generator(in_channels=channels, out_channels=channels, conditions=CONDITIONS),
                "D": networks.discriminator(in_channels=channels, num_classes=options.steps),
                "E": networks.discriminator(in_channels=4 * channels, num_classes=options.steps),
            }
        )
        # it estimates, and plays against nobody
        self.unwrapped["E"].judges = False  # type: ignore[assignment]
        self.options, self.factory = options, networks
        self.adversarial = make_loss(options.adversarial, "adversarial")
        self.contrast = PatchContrast(self, "G", "H", options, _at_the_beginning)

    def begin(self, batch: Mapping[str, Any]) -> None:
        """Make a head for each layer, of as many channels as the layer gives."""
        self.add_network("H", self.factory.initialize(self.contrast.make_heads(batch[self.x])))

    def updates(self, batch: Mapping[str, Any]) -> Updates:
        """One update of D, one of E, then one of G and H together."""
        options, G, D, E = self.options, self.networks["G"], self.networks["D"], self.networks["E"]
        real_x, real_y = batch[self.x], batch[self.y]
        count = len(real_x)
        real = torch.cat([real_x, real_y]) if options.identity else real_x
        step = int(torch.randint(options.steps, ()))
        label = torch.full((count,), step, device=real_x.device)
        with torch.no_grad():
            place = self._way(real, step)
        end = self._foresee(place, step, G)
        place_x, end_x = place[:count], end[:count]

        judge = partial(D, labels=label)
        fake_logits, real_logits = judge(end_x.detach()), judge(real_y)
        D_real, D_fake = self.adversarial.discriminator(real_logits, fake_logits)
        loss_D = (D_real + D_fake) / 2
        unwrapped = partial(self.unwrapped["D"], labels=label)
        penalty = self.adversarial.penalty(unwrapped, real_y, end_x.detach())
        yield Update(loss_D if penalty is None else loss_D + penalty, "D")

        together, apart = _pairs(place_x, end_x.detach())
        information, partition = mutual_information(E(together, labels=label), E(apart, labels=label))
        yield Update(partition**2 - information, "E")

        with self.frozen("D", "E"):
            losses = {"G_GAN": self.adversarial.generator(judge(end_x))}
            together, apart = _pairs(place_x, end_x)
            entropy, _ = mutual_information(E(together, labels=label), E(apart, labels=label))
            distance = (place_x - end_x).square().mean()
            left = 1 - self.bridge.times[step]
            losses["SB"] = options.lambda_sb * options.tau * (distance - left * entropy)
            if options.lambda_reg:
                parts = 2 if options.identity else 1
                nce = self.contrast(end, real, parts=parts)
                for name, loss in zip(("NCE", "NCE_Y"), nce, strict=False):
                    losses[name] = options.lambda_reg * loss / parts
            names = ("G", "H") if options.lambda_reg else ("G",)
            yield Update(torch.stack(list(losses.values())).sum(), *names)

        losses |= {"D_real": D_real, "D_fake": D_fake, "E": partition**2 - information}
        return {name: loss.detach() for name, loss in losses.items()} | accuracy(
            real_logits, fake_logits, self.adversarial
        )

    def deployed(self) -> dict[str, Deployed]:
        """The generator, to be run as often as the bridge has steps."""
        return {
            "G": Deployed(self.unwrapped["G"], input=self.x, target=self.y, bridge=self.bridge),
        }

    def samples(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """The input, what a single pass makes of it, and what all of them do; an image of the other side."""
        G, x, y = self.networks["G"], self.x, self.y
        columns = {x: batch[x], f"{x} to {y}, one pass": InPasses(G, self.bridge, 1)(batch[x])}
        if self.bridge.steps > 1:
            columns[f"{x} to {y}"] = InPasses(G, self.bridge)(batch[x])
        return columns | {y: batch[y]}

    def _way(self, images: Tensor, step: int) -> Tensor:
        """Where the way from images has led when a step begins, gone with the generator as it is."""
        place = images
        for before in range(step):
            end = self._foresee(place, before, self.networks["G"])
            place = self.bridge.next_place(before, place, end, torch.randn_like(place))
        return place

    def _foresee(self, place: Tensor, step: int, G: Any) -> Tensor:
        noise = torch.randn_like(place[:, :1])
        end: Tensor = G(pass_input(place, self.bridge.times[step], noise))
        return end


def harmonic_times(steps: int) -> tuple[float, ...]:
    """When each step of the way begins; the last one ends at 1.

    As in the code that the paper's authors published: the first step leads half of the way, and those behind it grow
    shorter, in proportion to 1, 1/2, 1/3 and so on.
    """
    if steps == 1:
        return (0.0,)
    *gone, whole = accumulate((1 / number for number in range(1, steps)), initial=0.0)
    return (0.0, *(0.5 + 0.5 * length / whole for length in gone))


def mutual_information(together: Tensor, apart: Tensor) -> tuple[Tensor, Tensor]:
    """The estimate of Donsker and Varadhan, from a network's output for pairs that belong together and that do not.

    Belghazi et al., "Mutual Information Neural Estimation", ICML 2018; each patch of the output is a sample.

    Args:
        together, apart: (N, 1, H, W).

    Returns:
        The estimate; and the logarithm of the mean exponential of `apart`, which a network that is trained keeps
        near 0 (Choi and Lee, "Regularized Mutual Information Neural Estimation", 2020), since the estimate does not
        depend on a constant that is added to its output.
    """
    flat = apart.float().flatten()
    partition = torch.logsumexp(flat, 0) - torch.log(flat.new_tensor(float(len(flat))))
    return together.float().mean() - partition, partition


def _pairs(place: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs (x_t, x_1) beside themselves, and beside others: of the next image, and of another part of it."""
    pair = torch.cat([place, end], dim=1)
    height, width = pair.shape[2:]
    other = pair.roll((1, height // 2, width // 2), (0, 2, 3))
    return torch.cat([pair, pair], dim=1), torch.cat([pair, other], dim=1)


def _at_the_beginning(images: Tensor) -> Tensor:
    """What the generator is given to take features of images: at time 0, without noise."""
    return pass_input(images, 0.0, images.new_zeros(1, 1, *images.shape[2:]))
