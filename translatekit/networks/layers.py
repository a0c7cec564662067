"""What the networks share: normalization that is explicit at inference, noise, initialization."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from translatekit.errors import DataError
from translatekit.options import Bounds
from translatekit.types import NormInference

Norm = Literal["batch", "instance", "none"]
Init = Literal["normal", "xavier", "kaiming", "orthogonal"]
Upsampling = Literal["transposed", "nearest"]
Width = Annotated[int, Bounds(minimum=1, maximum=4096)]
Layers = Annotated[int, Bounds(minimum=1, maximum=16)]
Dropout = Annotated[float, Bounds(minimum=0, exclusive_maximum=1)]


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalization that says which statistics it uses at inference.

    In training it is `torch.nn.BatchNorm2d`. In evaluation it normalizes by its running statistics, or each
    image by the mean and biased variance of its own pixels, which is what training at batch size 1 does.

    Attributes:
        inference: ``running`` or ``per_image``. With either, an image's result is independent of its batch.
        synchronized: whether the statistics in training are those of the images of all processes.
    """

    inference: NormInference = "running"
    synchronized: bool = False

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (N, num_features, H, W)."""
        if self.training and self.synchronized and _processes() > 1:
            return self._over_all_processes(input)
        if self.training or self.inference == "running":
            return super().forward(input)
        # Not F.instance_norm: that refuses images of a single pixel, such as a U-Net's bottleneck.
        x = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        x = x - x.mean(dim=(2, 3), keepdim=True)
        scale = torch.rsqrt(x.square().mean(dim=(2, 3), keepdim=True) + self.eps)
        if self.affine:
            x = x * (scale * self.weight.view(1, -1, 1, 1)) + self.bias.view(1, -1, 1, 1)
        else:
            x = x * scale
        return x.to(input.dtype)

    def _over_all_processes(self, input: Tensor) -> Tensor:
        """`torch.nn.SyncBatchNorm`, which refuses tensors on a CPU, in full precision on any device.

        Gradients pass through the sums, to the images of every process.
        """
        x = input.float()
        pixels = x.new_full((1,), x.numel() // x.shape[1])
        sums = _SumOfProcesses.apply(torch.cat([x.sum((0, 2, 3)), pixels]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centered = x - mean.view(1, -1, 1, 1)
        variance = _SumOfProcesses.apply(centered.square().sum((0, 2, 3))) / count
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                assert self.num_batches_tracked is not None
                self.num_batches_tracked.add_(1)
                share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance * count / (count - 1), share)
        out = centered * torch.rsqrt(variance + self.eps).view(1, -1, 1, 1)
        if self.affine:
            out = out * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return out.to(input.dtype)

    def extra_repr(self) -> str:
        """Also name the inference mode."""
        return f"{super().extra_repr()}, inference={self.inference}"


class _SumOfProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        """The sum."""
        total = tensor.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """The sum, again."""
        return _SumOfProcesses.apply(gradient)


def _processes() -> int:
    """How many train together."""
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


# Pixels of an image up to which a convolution is quicker on a CPU as one matrix product: there its cost is
# the reading of its weights, which the convolution libraries first copy into an order of their own.
_FEW_PIXELS = 64


def _is_few_pixels(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.shape[-2] * x.shape[-1] <= _FEW_PIXELS
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )


class HalvingConv2d(nn.Conv2d):
    """A convolution 4x4 of stride 2 that halves each side: (N, C, H, W) to (N, C', H / 2, W / 2)."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool) -> None:
        super().__init__(in_channels, out_channels, 4, stride=2, padding=1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve; few pixels on a CPU as a matrix product, which is the same sum."""
        if not _is_few_pixels(input):
            return super().forward(input)
        n, _, h, w = input.shape
        patches = F.unfold(input, 4, padding=1, stride=2)
        out = torch.matmul(self.weight.flatten(1), patches).view(n, self.out_channels, h // 2, w // 2)
        return out if self.bias is None else out + self.bias.view(1, -1, 1, 1)


class DoublingConv2d(nn.ConvTranspose2d):
    """A transposed convolution 4x4 of stride 2 that doubles each side: (N, C, H, W) to (N, C', 2H, 2W)."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool) -> None:
        super().__init__(in_channels, out_channels, 4, stride=2, padding=1, bias=bias)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve; few pixels on a CPU as a matrix product, which is the same sum."""
        if not _is_few_pixels(input):
            return super().forward(input, output_size)
        h, w = input.shape[-2:]
        patches = torch.matmul(self.weight.flatten(1).t(), input.flatten(2))
        out = F.fold(patches, (2 * h, 2 * w), 4, padding=1, stride=2)
        return out if self.bias is None else out + self.bias.view(1, -1, 1, 1)


class ResizeConv2d(nn.Conv2d):
    """Each pixel twice in both directions, and a convolution 3x3 of that: (N, C, H, W) to (N, C', 2H, 2W).

    Odena et al., "Deconvolution and Checkerboard Artifacts", Distill 2016: the four pixels that one becomes share its
    weights at first, where a transposed convolution has to learn that they are alike.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, padding_mode="reflect", bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Double and convolve."""
        return super().forward(F.interpolate(input, scale_factor=2.0, mode="nearest"))


def doubling(
    kind: Upsampling, in_channels: int, out_channels: int, bias: bool
) -> nn.Conv2d | nn.ConvTranspose2d:
    """What doubles the sides of features in residual generators: (N, in_channels, H, W) to (N, out_channels, 2H, 2W).

    Args:
        kind: ``transposed``, a transposed convolution 3x3, as in the papers; ``nearest``, a `ResizeConv2d`.
        in_channels, out_channels: of the features.
        bias: whether it has one.
    """
    if kind == "nearest":
        return ResizeConv2d(in_channels, out_channels, bias)
    return nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=bias)


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weight, as a matrix with a row for each filter, is divided by its largest singular value.

    Miyato et al., "Spectral Normalization for Generative Adversarial Networks", ICLR 2018, section 2.1. The value is
    estimated as in algorithm 1: by one power iteration a forward pass, while its weight is trained. Where gradients
    only pass through, and in evaluation, the estimate stays as it is.

    Attributes:
        u: the estimate of its first left singular vector.
        iterates: whether forward passes improve the estimate; off where one is computed again for its gradients.
        folded: whether the weight is divided already, for evaluation (see `fold_spectral_norm`).
    """

    u: Tensor
    iterates = True
    folded = False

    def __init__(
        self, in_channels: int, out_channels: int, size: int, *, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__(in_channels, out_channels, size, stride=stride, padding=padding)
        self.register_buffer("u", F.normalize(torch.randn(out_channels), dim=0))

    def forward(self, input: Tensor) -> Tensor:
        """Convolve."""
        return self._conv_forward(input, self.divided(), self.bias)

    def divided(self) -> Tensor:
        """The weight as it is convolved with."""
        if self.folded and not self.training:
            return self.weight
        with torch.autocast(self.weight.device.type, enabled=False):  # half precision is too coarse for it
            matrix = self.weight.flatten(1)
            with torch.no_grad():
                v = F.normalize(matrix.t() @ self.u, dim=0)
                if self.training and self.iterates and self.weight.requires_grad:
                    self.u.copy_(F.normalize(matrix @ v, dim=0))
            u = self.u.clone()  # which the next pass changes, before this one's gradients are computed
            return self.weight / torch.dot(u, matrix @ v)


@torch.no_grad()
def fold_spectral_norm(network: nn.Module) -> None:
    """Divide the weights of every `SpectralConv2d` once and for all, for a network that is not trained any more.

    Its results in evaluation stay the same. Dividing them again changes nothing, so that its weights can be saved.
    """
    for module in network.modules():
        if isinstance(module, SpectralConv2d) and not module.folded:
            module.eval()
            module.weight.copy_(module.divided())
            module.folded = True


class Noise(nn.Module):
    """A vector of noise for each image, normal(0, 1): in evaluation its mean, zero, unless noise is asked for.

    Attributes:
        active: whether it is drawn in evaluation, too (see `set_noise`).
        fixed: drawn once, (1, size), instead of the mean; None where no seed was given.
    """

    fixed: Tensor | None
    active = False

    def __init__(self, size: int, seed: int | None = None) -> None:
        """Make it.

        Args:
            size: numbers of a vector.
            seed: in evaluation all images get the vector of this seed.
        """
        super().__init__()
        self.size = size
        fixed = None
        if seed is not None:
            drawn = np.random.default_rng(seed).standard_normal((1, size), np.float32)
            fixed = torch.from_numpy(drawn)
        self.register_buffer("fixed", fixed, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """A vector for each of some images: (N, C, H, W) to (N, size)."""
        if self.training or self.active:
            return torch.randn(len(x), self.size, device=x.device, dtype=x.dtype)
        if self.fixed is not None:
            return self.fixed.to(x.dtype).expand(x.shape[0], -1)
        return x.new_zeros(x.shape[0], self.size)


def make_norm(norm: Norm, channels: int, affine: bool = True) -> nn.Module:
    """The normalization of that name for (N, channels, H, W).

    ``batch`` has learned scale and shift unless `affine` is off, ``instance`` neither (as in CycleGAN); ``none``
    changes nothing.
    """
    if norm == "batch":
        return BatchNorm2d(channels, affine=affine)
    if norm == "instance":
        return nn.InstanceNorm2d(channels)
    return nn.Identity()


def conv_bias(norm: Norm) -> bool:
    """Whether a convolution before that normalization has a bias: batch normalization brings its own."""
    return norm != "batch"


def set_norm_inference(network: nn.Module, mode: NormInference) -> None:
    """Choose what every `BatchNorm2d` of a network does in evaluation: ``running`` or ``per_image``."""
    for module in network.modules():
        if isinstance(module, BatchNorm2d):
            module.inference = mode


def set_noise(network: nn.Module, active: bool) -> None:
    """Keep dropout and `Noise` drawing in evaluation, or not.

    Call it after ``network.eval()``, which turns dropout off.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.train(active)
        elif isinstance(module, Noise):
            module.active = active


def draws_noise(network: nn.Module) -> bool:
    """Whether a network has anything that `set_noise` turns on."""
    return any(
        isinstance(module, Noise) or (isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0)
        for module in network.modules()
    )


def init_weights(network: nn.Module, init: Init = "normal", gain: float = 0.02) -> None:
    """Draw a network's weights anew.

    Weights of convolutions and linear layers are drawn by `init`; their biases become 0. Scales of
    normalization are drawn from normal(1, `gain`), their shifts become 0. A module whose attribute
    ``pretrained`` is True is left as it is, with all that it holds.

    Args:
        network: changed in place.
        init: ``normal`` (mean 0, standard deviation `gain`), ``xavier`` (normal), ``kaiming`` (normal,
            fan in, without the gain) or ``orthogonal``.
        gain: standard deviation or gain.
    """
    if getattr(network, "pretrained", False) is True:
        return
    if isinstance(network, nn.modules.conv._ConvNd | nn.Linear):
        _draw(network.weight, init, gain)
        if network.bias is not None:
            nn.init.zeros_(network.bias)
    elif isinstance(network, nn.modules.batchnorm._NormBase) and network.affine:
        nn.init.normal_(network.weight, 1.0, gain)
        nn.init.zeros_(network.bias)
    for child in network.children():
        init_weights(child, init, gain)


def _draw(weight: Tensor, init: Init, gain: float) -> None:
    if init == "normal":
        nn.init.normal_(weight, 0.0, gain)
    elif init == "xavier":
        nn.init.xavier_normal_(weight, gain)
    elif init == "kaiming":
        nn.init.kaiming_normal_(weight)
    else:
        nn.init.orthogonal_(weight, gain)


class SidesError(DataError):
    """Images of a size that a network cannot take, in words that suit what runs it.

    Attributes:
        problem: the sentence without its remedy.
        size: pixels a side that it could take.
    """

    def __init__(self, problem: str, size: int) -> None:
        super().__init__(f"{problem}: pass --fit pad or --size {size}")
        self.problem, self.size = problem, size


def check_sides(x: Tensor, owner: str, multiple: int, smallest: int = 1) -> None:
    """Refuse images whose sides a network cannot take. Not checked while a graph is traced.

    Args:
        x: (N, C, H, W).
        owner: the network's name.
        multiple: what each side must be a multiple of.
        smallest: the least number of pixels a side.

    Raises:
        SidesError: names the size as width x height.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return
    height, width = x.shape[-2:]
    if height % multiple or width % multiple:
        size = max(smallest, multiple, round(max(height, width) / multiple) * multiple)
        raise SidesError(f"{owner} needs sides that are multiples of {multiple}, got {width}x{height}", size)
    if min(height, width) < smallest:
        size = -(-smallest // multiple) * multiple
        raise SidesError(f"{owner} needs sides of at least {smallest} pixels, got {width}x{height}", size)
