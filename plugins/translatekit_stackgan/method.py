"""StackGAN: images of labels or texts in two stages (Zhang et al., 2017)."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from translatekit.errors import DataError, OptionError
from translatekit.interfaces import Dataset, Deployed, NetworkFactory
from translatekit.losses import make_loss
from translatekit.model_file import find_model, read_info
from translatekit.model_info import ModelInfo
from translatekit.networks import load_network, set_noise
from translatekit.registry import registry
from translatekit.storage import local_copy
from translatekit.training.accumulation import Update, Updates
from translatekit.training.method import Method, accuracy
from translatekit_stackgan.networks import StackGANDiscriminator, StackGANGenerator
from translatekit_stackgan.options import StackGANOptions

SAMPLE_COLUMNS = 10


class StackGAN(Method):
    """Stage I makes small images of noise and a condition, and Stage II large ones of these and the condition.

    max_D E log D(I, t) + (E log(1 - D(G(z, c), t)) + E log(1 - D(I, t'))) / 2 and, with ``vanilla``, the generator that
    does not saturate: equations 3 to 6 of the paper, where c is drawn for a label or text t, its divergence from
    normal(0, 1) is minimized, and t' is one that the image I is not of (section 3.3).

    A run trains one stage: Stage II on a Stage I that is trained already, and stays as it is.
    """

    loss_roles = {
        "G_GAN": "adversarial",
        "D_real": "discriminator",
        "D_fake": "discriminator",
        "D_mismatched": "discriminator",
    }

    def __init__(self, options: StackGANOptions, networks: NetworkFactory, data: Dataset) -> None:
        self.options, self.class_names = options, data.class_names
        self.embedding_size = int(getattr(data, "embedding_size", 0))
        channels, size = data.specs["image"].network_channels, data.options.crop_size
        _check(networks, data)
        known: dict[str, Any] = {
            "num_classes": len(self.class_names),
            **({"embedding_size": self.embedding_size} if self.embedding_size else {}),
        }
        shape = {"latent_size": options.latent_size, "out_channels": channels, **known}
        first = None if options.stage_one is None else _stage_one(options.stage_one, shape, data)
        if first is None:
            G = networks.generator(size=size, **shape)
        else:
            network, info = first
            made = info.generator_options
            G = networks.generator(
                size=size,
                stage_one_size=info.size,
                stage_one_width=made["width"],
                condition_size=made["condition_size"],
                **shape,
            )
            assert isinstance(G, StackGANGenerator)
            G.one.load_state_dict(network.one.state_dict())
            G.fix_stage_one()
        layers = _layers(networks, size)
        super().__init__({"G": G, "D": networks.discriminator(in_channels=channels, **known, **layers)})
        self.adversarial = make_loss(options.adversarial, "adversarial")

    def learning_rate_factor(self, optimizer: str, step: int, epoch: int) -> float:
        """Half of what it was, every so many epochs (section 3.4)."""
        return 0.5 ** (epoch // self.options.halve_every)

    def updates(self, batch: Mapping[str, Any]) -> Updates:
        """One update of D, then one of G."""
        real, given = batch["image"], self._given(batch)
        G, D = self.networks["G"], self.networks["D"]
        z = torch.randn(len(real), self.options.latent_size, device=real.device)
        fake, condition = G(z, given, with_condition=True)

        others, wrong = self._mismatched(given)
        wrong_logits = D(real[others], wrong) if len(others) else None
        # real last, so that running statistics of batch normalization end on real images
        fake_logits, real_logits = D(fake.detach(), given), D(real, given)
        D_real, D_fake = self.adversarial.discriminator(real_logits, fake_logits)
        losses = {"D_real": D_real, "D_fake": D_fake}
        if wrong_logits is None:
            loss_D = D_real + D_fake
        else:
            losses["D_mismatched"] = self.adversarial.discriminator(real_logits, wrong_logits)[1]
            loss_D = D_real + (D_fake + losses["D_mismatched"]) / 2
        penalty = self.adversarial.penalty(lambda x: self.unwrapped["D"](x, given), real, fake.detach())
        yield Update(loss_D if penalty is None else loss_D + penalty, "D")

        with self.frozen("D"):
            loss_G = losses["G_GAN"] = self.adversarial.generator(D(fake, given))
            if condition is not None:
                losses["KL"] = self.options.lambda_kl * divergence(*condition[1:])
                loss_G = loss_G + losses["KL"]
            yield Update(loss_G, "G")

        if wrong_logits is None:  # the same names in every step
            losses["D_mismatched"] = torch.zeros_like(D_fake)
        return {name: loss.detach() for name, loss in losses.items()} | accuracy(
            real_logits, fake_logits, self.adversarial
        )

    def deployed(self) -> dict[str, Deployed]:
        """The generator: of Stage I, or of both."""
        return {"G": Deployed(self.unwrapped["G"], input=None, target="image")}

    def samples(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Training images; beside them a column for each class, or of images of the same texts.

        Where there are two stages, what Stage I made of the same is beside each of the first classes.
        """
        real: Tensor = batch["image"]
        G: Any = self.unwrapped["G"]
        stages = [("", G)] if G.two is None else [("Stage I: ", G.one), ("Stage II: ", G)]
        shown = {"fake": batch["embedding"]} if self.embedding_size else self._classes(real, len(stages))
        columns = {"real": real}
        set_noise(G, True)
        # always the same noise, drawn apart from that of the training, which it must not disturb
        with torch.random.fork_rng([real.device] if real.device.type == "cuda" else []):
            for (name, given), (stage, network) in itertools.product(shown.items(), stages):
                torch.manual_seed(0)
                z = torch.randn(len(real), self.options.latent_size).to(real.device)
                columns[f"{stage}{name}"] = _images(network(z, given))
        set_noise(G, False)
        return columns

    def _classes(self, images: Tensor, stages: int) -> dict[str, Tensor]:
        """The first classes by name: a label for each of the images, (N,)."""
        names = self.class_names[: SAMPLE_COLUMNS // stages]
        return {
            name: torch.full((len(images),), label, device=images.device) for label, name in enumerate(names)
        }

    def _given(self, batch: Mapping[str, Any]) -> Tensor:
        """What images are conditioned on: texts' embeddings (N, D), or labels (N,)."""
        given: Tensor = batch["embedding"] if self.embedding_size else batch["label"]
        return given

    def _mismatched(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """Which images have a condition to be mismatched with, (M,), and those conditions, of M images."""
        if self.embedding_size:
            wrong = given.roll(1, 0)  # the text of another image
            others = (wrong != given).any(1).nonzero()[:, 0]
            return others, wrong[others]
        count = len(self.class_names)
        if count < 2:
            return given.new_zeros(0), given
        drawn = torch.randint(1, count, given.shape, device=given.device)
        return torch.arange(len(given), device=given.device), (given + drawn) % count


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """How far normal distributions are from normal(0, 1) (Kullback-Leibler), as a mean over their numbers.

    Args:
        mean: (N, D).
        log_variance: (N, D).

    Returns:
        A scalar.
    """
    return (mean.square() + log_variance.exp() - log_variance - 1).mean() / 2


def _images(output: Any) -> Tensor:
    """A stage's images; Stage I gives its condition, too."""
    images: Tensor = output[0] if isinstance(output, tuple) else output
    return images


def _check(networks: NetworkFactory, data: Dataset) -> None:
    """Refuse networks and data that do not fit, before they fail in less plain words.

    Raises:
        DataError: there is nothing to condition on.
        OptionError: a network is of another kind.
    """
    if not data.class_names:
        raise DataError("the dataset names no classes to condition on: train cgan with --no-conditional")
    generator = registry("generator").load(networks.generator_name)
    if not issubclass(generator, StackGANGenerator):
        raise OptionError(
            f"stackgan trains a generator of its own, and {networks.generator_name!r} is another: leave out --generator"
        )
    discriminator = registry("discriminator").get(str(networks.discriminator_name))
    if not discriminator.conditional:
        fitting = ", ".join(
            entry.spec.name for entry in registry("discriminator").entries() if entry.spec.conditional
        )
        raise OptionError(
            f"the discriminator {networks.discriminator_name!r} takes no labels: pass --discriminator with one of "
            f"{fitting}"
        )
    known = inspect.signature(discriminator.load()).parameters
    if getattr(data, "embedding_size", 0) and "embedding_size" not in known:
        raise OptionError(
            f"the discriminator {networks.discriminator_name!r} takes no embeddings of texts: leave out --discriminator"
        )


def _layers(networks: NetworkFactory, size: int) -> dict[str, int]:
    """As many convolutions as it takes from that size to 4 pixels a side, for the method's own discriminator."""
    own = registry("discriminator").load(str(networks.discriminator_name))
    return {"layers": max(1, (size // 4).bit_length() - 1)} if issubclass(own, StackGANDiscriminator) else {}


def _stage_one(model: str, shape: Mapping[str, Any], data: Dataset) -> tuple[Any, ModelInfo]:
    """The trained Stage I.

    Raises:
        OptionError: it is no such model, or was trained on other classes, embeddings or images.
    """
    path = find_model(local_copy(model))
    info = read_info(path)
    if info.generator != "stackgan" or info.generator_options.get("stage_one_size"):
        raise OptionError(
            f"{model} is no Stage I, but {info.method} with the generator {info.generator!r}: pass --stage-one with a "
            "run of stackgan that had none itself"
        )
    network, info = load_network(path)
    for name, value in {"embedding_size": 0, **shape}.items():
        has = info.generator_options.get(name, 0)
        if has != value:
            raise OptionError(
                f"the Stage I {model} has {name} {has}, and this run {value}: train both on the same kind of images "
                "with the same options"
            )
    if not shape.get("embedding_size") and info.classes != tuple(data.class_names):
        raise OptionError(
            f"the Stage I {model} knows the classes {', '.join(info.classes[:5])}..., and these images are of "
            f"{', '.join(data.class_names[:5])}...: train both on the same"
        )
    return network, info
