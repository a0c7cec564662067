"""Distillation: a small network learns what a trained one, its teacher, makes of images.

Hinton et al., "Distilling the Knowledge in a Neural Network", 2015; for image translation, Li et al., "GAN
Compression", CVPR 2020, and Ren et al., "Online Multi-Granularity Distillation for GAN Compression", ICCV 2021.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translatekit.errors import OptionError, TranslatekitError
from translatekit.image_spec import ImageSpec
from translatekit.interfaces import Dataset, Deployed, MakeOptimizer, NetworkFactory
from translatekit.losses import make_loss
from translatekit.model_file import read_info, save_model
from translatekit.networks.features import feature_layers, layer_outputs
from translatekit.networks.loading import load_network
from translatekit.storage import hash_file, is_uri, local_copy
from translatekit.training.checkpoint import load_checkpoint
from translatekit.training.continued import ContinuedRun
from translatekit.training.fabric import Fabric
from translatekit.training.method import Method, accuracy
from translatekit.version import __version__
from translatekit_tools.distill.options import (
    DistillOptions,
    check_own_training,
    check_passes,
    check_same_task,
)

TEACHER = "teacher"
"""The name of a teacher that is trained among the networks of a distillation, and the beginning of its other parts'."""

_Asked = tuple[
    Mapping[str, Any], list[Tensor], dict[Any, Tensor]
]  # images, outputs by teacher, the first's features

_FEWEST_PIXELS = 4  # a side, of features that are compared
_STAGES = 3  # of layers at one resolution, whose ends are compared
_PLACES = 32  # a side, at which features are compared: of larger ones every second, third, ...


class Distill(Method):
    """The student G(x) is held to its teacher T(x) by outputs and inner features, to targets where there are any.

    loss = lambda_output |G(x) - T(x)| + lambda_ssim (1 - SSIM(G(x), T(x)))
           + lambda_features mean(|A(g) - t| / mean |t|) + lambda_target |G(x) - y| + lambda_gan GAN(D, G)

    where g and t are features inside of both at the same resolutions, and each A is a convolution 1x1 that is learned.

    Of several teachers, the outputs of all are learned from, their losses averaged, and the features of the first:
    multi-granularity, where one of them is wider than the student and the other deeper (Ren et al., section 3.2). A
    teacher whose own training goes on does a step before it is asked (section 3.1).
    """

    def __init__(self, options: DistillOptions, networks: NetworkFactory, data: Dataset) -> None:
        if not options.teacher:
            raise OptionError("distill learns from a trained model: name it with --teacher")
        self.options = options
        every = options.asks_every()
        x, y = (data.specs[key].network_channels for key in ("input", "target"))
        student = networks.generator(in_channels=x, out_channels=y)  # first: no teacher changes what is drawn
        paths = [local_copy(name) for name in (options.teacher, *options.teacher_also)]
        _check_hash(paths, options)
        self.teacher, info = load_network(paths[0])
        check_passes(options.teacher, info)
        self.others: list[nn.Module] = []
        for name, path in zip(options.teacher_also, paths[1:], strict=True):
            network, other = load_network(path)
            check_same_task(options.teacher, info, name, other)
            self.others.append(network)
        if (x, y) != (info.in_channels, info.out_channels):
            raise OptionError(
                f"the teacher {options.teacher} makes {info.output} of {info.input}, and the images are "
                f"{data.specs['input']} and {data.specs['target']}: pass the --dataset it was trained with"
            )
        for network in (self.teacher, *self.others):
            network.eval().requires_grad_(False)
        if options.start == "teacher" and type(student) is type(self.teacher):
            start_from: Callable[[nn.Module], None] | None = getattr(student, "start_from", None)
            if start_from is not None:
                start_from(self.teacher)
        made = {"G": student}
        self.conditional = True
        if options.lambda_gan:
            made["D"], self.conditional = _discriminator(networks, x, y, options.teacher, info.direction)
        super().__init__(made)
        self.has_targets = not getattr(data, "taught", False)
        self.adversarial = make_loss(options.adversarial, "adversarial")
        self.loss_roles = {
            "G_output": "reconstruction",
            "G_target": "reconstruction",
            "G_GAN": "adversarial",
            "D_real": "discriminator",
            "D_fake": "discriminator",
        }
        self.layers: list[tuple[str, str]] = []
        weights = [options.lambda_output, options.lambda_ssim, options.lambda_features, options.lambda_gan]
        if not any([*weights, self.has_targets and options.lambda_target]):
            raise OptionError(
                "the student would learn from nothing, since all parts of its loss are left out: give one of them a "
                "weight, such as --lambda-output 50"
            )
        self.training: ContinuedRun | None = None
        if options.train_teacher:
            own = data if self.has_targets else getattr(data, "unpaired", None)
            check_own_training(
                paths[0], info, "paired" if self.has_targets else None if own is None else "unpaired"
            )
            self.training = ContinuedRun(paths[0].parent, own or data)
            self.loss_roles |= {
                _of_teacher(name): role for name, role in self.training.method.loss_roles.items()
            }
        self._direction = info.direction
        self._steps = 0
        self._every = every
        self._asked: deque[_Asked] = deque(maxlen=2 * every + 1)

    @staticmethod
    def image_specs(options: DistillOptions) -> Mapping[str, ImageSpec]:
        """The images that the teacher takes and gives, which the data are read as."""
        if not options.teacher:
            return {}
        info = read_info(local_copy(options.teacher))
        check_passes(options.teacher, info)
        return {"input": info.input, "target": info.output}

    def begin(self, batch: Mapping[str, Any]) -> None:
        """Find the layers that are compared, and make the convolutions between them."""
        if not self.options.lambda_features:
            return
        found = matching_layers(self.unwrapped["G"], self.teacher, batch["input"][:1])
        self.layers = [(student, teacher) for student, teacher, _, _ in found]
        if found:
            self.add_network("adaptors", _Adaptors([channels for _, _, *channels in found]))

    def make_optimizers(self, make: MakeOptimizer) -> dict[str, torch.optim.Optimizer]:
        """One for what is deployed and the convolutions that come with it, one for the discriminator."""
        own = [*self.unwrapped["G"].parameters()]
        if "adaptors" in self.unwrapped:
            own += self.unwrapped["adaptors"].parameters()
        optimizers = {"G": make(own)}
        if "D" in self.unwrapped:
            optimizers["D"] = make(self.unwrapped["D"].parameters(), lr=2e-4, betas=(0.5, 0.999))
        return optimizers

    def setup(self, fabric: Fabric, make_optimizer: MakeOptimizer, wrap: Callable[[nn.Module], Any]) -> None:
        """Also put the teachers on the device; the networks of one that is trained are among those of checkpoints."""
        super().setup(fabric, make_optimizer, wrap)
        self.others = [fabric.to_device(network) for network in self.others]
        if self.training is None:
            self.teacher = fabric.to_device(self.teacher)
            return
        self.training.setup(fabric, wrap)
        self.teacher = self.training.generator(self._direction)
        for name, network in self.training.networks.items():
            key = TEACHER if network is self.teacher else f"{TEACHER}.{name}"
            self.unwrapped[key] = network
            self.networks[key] = self.training.method.networks.get(name, network)
        for name, optimizer in self.training.method.optimizers.items():
            self.optimizers[f"{TEACHER}.{name}"] = optimizer

    def learning_rate_factor(self, optimizer: str, step: int, epoch: int) -> float | None:
        """Of a run of a known length: full for the first half of it, then falling linearly to zero."""
        if self.training is not None and optimizer.startswith(f"{TEACHER}."):
            name = optimizer.removeprefix(f"{TEACHER}.")
            factor = self.training.learning_rate_factor(name, step, epoch)
            if factor is not None:
                return factor
        steps = self.options.steps
        return None if steps is None else min(1.0, max(0.0, 2 * (1 - step / steps)))

    def step(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:  # type: ignore[override]
        """A step of the teacher, where it is trained; one update of D, where there is one; then one of G."""
        options = self.options
        trained: dict[str, Tensor] = {}
        if self.training is not None:
            losses = self.training.step(batch, self._steps)
            trained = {_of_teacher(name): loss for name, loss in losses.items()}
        batch, taught, features = self._next(batch)
        x = batch["input"]
        with layer_outputs(self.unwrapped["G"], [own for own, _ in self.layers]) as inner:
            fake = self.networks["G"](x)
        losses = {}
        judged: dict[str, Tensor] = {}
        if "D" in self.networks:
            real = batch["target"] if self.has_targets else taught[0]
            judged = self._update_discriminator(x, real, fake)
        if options.lambda_output:
            losses["G_output"] = options.lambda_output * _mean(F.l1_loss(fake, wanted) for wanted in taught)
        if options.lambda_ssim:
            losses["G_SSIM"] = options.lambda_ssim * (1 - _mean(_ssim(fake, wanted) for wanted in taught))
        if self.layers:
            losses["G_features"] = options.lambda_features * self._compare(inner, features)
        if self.has_targets and options.lambda_target:
            losses["G_target"] = options.lambda_target * F.l1_loss(fake, batch["target"])
        if "D" in self.networks:
            with self.frozen("D"):
                logits = self.networks["D"](self._seen(x, fake))
                losses["G_GAN"] = options.lambda_gan * self.adversarial.generator(logits)
                self.update(torch.stack(list(losses.values())).sum(), "G")
        else:
            self.update(torch.stack(list(losses.values())).sum(), "G")
        return {name: loss.detach() for name, loss in losses.items()} | judged | trained

    def deployed(self) -> dict[str, Deployed]:
        """The student."""
        return {"G": Deployed(self.unwrapped["G"], input="input", target="target")}

    def samples(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Input, the student's output and each teacher's, and the target where there is one."""
        taught, _ = self._ask(batch["input"])
        columns = {
            "input": batch["input"],
            "output": self.networks["G"](batch["input"]),
            **{
                f"teacher {number + 1}" if number else "teacher": image for number, image in enumerate(taught)
            },
        }
        return columns | ({"target": batch["target"]} if self.has_targets else {})

    def extra_state(self) -> dict[str, Any]:
        """The images that are learned from again; what the teacher makes of them it can be asked anew."""
        own = {"steps": self._steps, "asked": [dict(batch) for batch, _, _ in self._asked]}
        return own if self.training is None else {**own, TEACHER: self.training.extra_state()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take them back."""
        self._steps = state["steps"]
        if self.training is not None:
            self.training.load_extra_state(state[TEACHER])
        self._asked.extend((batch, *self._ask(batch["input"])) for batch in state["asked"])

    def _next(self, batch: Mapping[str, Any]) -> _Asked:
        """What is learned from now: these images, or earlier ones that the teacher need not be asked about again."""
        options, step = self.options, self._steps
        self._steps += 1
        if not (self.layers or options.lambda_output or options.lambda_ssim) and self.has_targets:
            return batch, [batch["input"]], {}
        if step % self._every:
            return self._asked[step % len(self._asked)]
        images = {key: batch[key] for key in ("input", "target")}
        asked = images, *self._ask(images["input"])
        if self._every > 1:
            self._asked.append(asked)
        return asked

    @torch.no_grad()
    def _ask(self, x: Tensor) -> tuple[list[Tensor], dict[Any, Tensor]]:
        """What each teacher makes of images, and what the first one's layers give."""
        trains = self.teacher.training  # as one does whose own training goes on
        self.teacher.eval()
        with (
            self.fabric.autocast(),
            layer_outputs(self.teacher, [other for _, other in self.layers]) as inner,
        ):
            taught = [network(x).float() for network in (self.teacher, *self.others)]
        self.teacher.train(trains)
        return taught, {name: _thinned(value).float().contiguous() for name, value in inner.items()}

    def _compare(self, own: Mapping[Any, Tensor], other: Mapping[Any, Tensor]) -> Tensor:
        """How far features are from the teacher's, as a share of these."""
        adapted = self.networks["adaptors"]([_thinned(own[student]) for student, _ in self.layers])
        shares = []
        for (_, teacher), found in zip(self.layers, adapted, strict=True):
            wanted = other[teacher]
            shares.append(F.l1_loss(found.float(), wanted) / wanted.abs().mean().clamp(min=1e-6))
        return torch.stack(shares).mean()

    def _seen(self, x: Tensor, image: Tensor) -> Tensor:
        return torch.cat([x, image], 1) if self.conditional else image

    def _update_discriminator(self, x: Tensor, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        D, given = self.networks["D"], (self._seen(x, real), self._seen(x, fake.detach()))
        fake_logits, real_logits = D(given[1]), D(given[0])
        D_real, D_fake = self.adversarial.discriminator(real_logits, fake_logits)
        loss = (D_real + D_fake) / 2
        penalty = self.adversarial.penalty(self.unwrapped["D"], *given)
        self.update(loss if penalty is None else loss + penalty, "D")
        return {"D_real": D_real.detach(), "D_fake": D_fake.detach()} | accuracy(
            real_logits, fake_logits, self.adversarial
        )


class _Adaptors(nn.Module):
    """Convolutions 1x1 from a student's features to its teacher's, which have more channels."""

    def __init__(self, channels: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(fan_in, fan_out, 1) for fan_in, fan_out in channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Features (N, C, H, W) with as many channels as the teacher's."""
        return [conv(value) for conv, value in zip(self.convolutions, features, strict=True)]


def _of_teacher(name: str) -> str:
    """What a loss or an accuracy of the teacher's own training is called beside the student's."""
    kind = "accuracy_"
    return f"{kind}teacher_{name[len(kind) :]}" if name.startswith(kind) else f"teacher_{name}"


def _mean(values: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()


def _thinned(features: Tensor) -> Tensor:
    """Features (N, C, H, W) at about `_PLACES` places a side, evenly spread: neighbours say much the same."""
    stride = max(1, min(features.shape[2:]) // _PLACES)
    return features[:, :, ::stride, ::stride]


@torch.no_grad()
def matching_layers(student: nn.Module, teacher: nn.Module, x: Tensor) -> list[tuple[str, str, int, int]]:
    """Layers of two networks whose features have the same resolution and are as far on their way.

    A network goes through resolutions; of each, the last layers of up to `_STAGES` equal parts are compared. The last
    resolution is left out: that is where the output is made, which is compared itself.

    Args:
        student, teacher: the networks.
        x: (1, C, H, W), what both take.

    Returns:
        The layers' names and how many channels they give: the student's, the teacher's.
    """
    own, other = (_resolutions(network, x) for network in (student, teacher))
    pairs: list[tuple[str, str, int, int]] = []
    met: dict[tuple[int, int], int] = {}
    for size, layers in own[:-1]:
        place = met[size] = met.get(size, -1) + 1
        same = [found for wanted, found in other[:-1] if wanted == size]
        if place >= len(same) or min(size) < _FEWEST_PIXELS:
            continue
        parts = min(_STAGES, len(layers), len(same[place]))
        for part in range(1, parts + 1):
            (name, fan_in), (twin, fan_out) = (
                found[len(found) * part // parts - 1] for found in (layers, same[place])
            )
            pairs.append((name, twin, fan_in, fan_out))
    return pairs


def _resolutions(network: nn.Module, x: Tensor) -> list[tuple[tuple[int, int], list[tuple[str, int]]]]:
    """The layers that a forward pass goes through, by resolution, in order, with their channels."""
    names = feature_layers(network)
    training = network.training
    network.eval()
    with layer_outputs(network, names) as found:
        network(x)
    network.train(training)
    stages: list[tuple[tuple[int, int], list[tuple[str, int]]]] = []
    for name in names:
        value = found.get(name)
        if value is None or value.ndim != 4:
            continue
        size = (value.shape[2], value.shape[3])
        if not stages or stages[-1][0] != size:
            stages.append((size, []))
        stages[-1][1].append((name, value.shape[1]))
    return stages


def _ssim(output: Tensor, target: Tensor) -> Tensor:
    """The structural similarity (Wang et al., 2004), which gradients pass through."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    value = structural_similarity_index_measure(output.float(), target, data_range=2.0)
    assert isinstance(value, Tensor)
    return value


def _check_hash(paths: Sequence[Path], options: DistillOptions) -> None:
    """See that the teachers are those that the run was started with.

    Raises:
        OptionError: one is another.
    """
    found = [hash_file(path) for path in paths]
    known = found if options.teacher_hash is None else options.teacher_hash.split(",")
    for name, own, other in zip((options.teacher, *options.teacher_also), found, known, strict=True):
        if own != other:
            raise OptionError(
                f"{name} is not the teacher any more that this student was learning from: put that back, or start anew"
            )
    options.teacher_hash = ",".join(found)


def save_trained_teacher(run: Path, teacher: Path, out: Path) -> Path:
    """Write what has become of a teacher that was trained beside its student.

    Args:
        run: the student's.
        teacher: the model file that the teacher started from.
        out: the model file to write.

    Returns:
        `out`.
    """
    state = load_checkpoint(run / "checkpoints")
    info = read_info(teacher)
    header = replace(
        info,
        step=info.step + state["progress"]["step"],
        metrics={},
        versions={**info.versions, "translatekit": __version__, "torch": torch.__version__},
    )
    save_model(out, state["networks"][TEACHER], header)
    return out


def _discriminator(
    networks: NetworkFactory, x: int, y: int, teacher: str, direction: str
) -> tuple[nn.Module, bool]:
    """The discriminator, with the weights of the teacher's run where that is at hand; and whether it sees inputs.

    Of a run both ways it is the one that faces the teacher: D_A faces AtoB, as everywhere in the field.
    """
    run = None if is_uri(teacher) else Path(teacher).expanduser().parent
    states: Mapping[str, Mapping[str, Tensor]] = {}
    if run is not None and (run / "checkpoints").is_dir():
        try:
            states = load_checkpoint(run / "checkpoints")["networks"]
        except TranslatekitError:
            states = {}
    facing = f"D_{direction[0]}"
    for conditional in (True, False):
        made = networks.discriminator(in_channels=x + y if conditional else y)
        shapes = {name: value.shape for name, value in made.state_dict().items()}
        for name in sorted(states, key=lambda name: name != facing):
            if {key: value.shape for key, value in states[name].items()} == shapes:
                made.load_state_dict(dict(states[name]))
                return made, conditional
    return networks.discriminator(in_channels=x + y), True
