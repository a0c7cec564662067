"""Features of timm's models, for the networks and losses that build on them."""

from __future__ import annotations

import difflib
import math
import textwrap
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from translatekit.errors import OptionError, TranslatekitError


class Backbone(nn.Module):
    """A timm model without its head: (N, in_channels, H, W) in [-1, 1] to features of several resolutions.

    Attributes:
        reductions: of each feature map: its sides are the image's divided by this.
        channels: of each feature map.
        pretrained: whether it holds trained weights, which an initialization must leave alone.
        scale, shift: bring [-1, 1] to the range that the weights were trained at.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self, name: str, in_channels: int = 3, *, pretrained: bool = False, weights: str | Path | None = None
    ) -> None:
        """Make the model.

        Args:
            name: of a timm model, such as ``resnet34`` or ``convnext_tiny.fb_in22k``.
            in_channels: of the images.
            pretrained: download its trained weights, or take them from Hugging Face's cache.
            weights: a file of trained weights to read instead (safetensors, or a state dict saved by torch).

        Raises:
            OptionError: timm has no such model, or it gives no features at every image size.
            TranslatekitError: the trained weights cannot be had.
        """
        super().__init__()
        self.model = _create(name, in_channels, pretrained, weights)
        self.pretrained = pretrained or weights is not None
        self.reductions: tuple[int, ...] = tuple(self.model.feature_info.reduction())
        self.channels: tuple[int, ...] = tuple(self.model.feature_info.channels())
        scale, shift = torch.ones(in_channels), torch.zeros(in_channels)
        if self.pretrained:
            mean, std = (torch.tensor(self.model.pretrained_cfg[key]) for key in ("mean", "std"))
            if in_channels != len(mean):
                mean, std = mean.mean().expand(in_channels), std.mean().expand(in_channels)
            scale, shift = 0.5 / std, (0.5 - mean) / std
        self.register_buffer("scale", scale.view(1, -1, 1, 1))
        self.register_buffer("shift", shift.view(1, -1, 1, 1))
        self._channels_last = getattr(self.model, "output_fmt", None) == "NHWC"
        self._probe(name, in_channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The features, from fine to coarse, (N, channels, H / reduction, W / reduction) each."""
        features: list[Tensor] = self.model(x * self.scale + self.shift)
        return [feature.movedim(-1, 1) for feature in features] if self._channels_last else features

    @torch.no_grad()
    def _probe(self, name: str, in_channels: int) -> None:
        """Refuse models that work at one size only, or whose features do not divide the image evenly."""
        side = 2 * max(32, *self.reductions)
        training = self.training
        try:
            features = self.eval()(torch.zeros(1, in_channels, side, side))
        except Exception as error:
            raise OptionError(_refusal(name, f"it takes no image of {side} pixels a side, {error}")) from None
        finally:
            self.train(training)
        sides = [tuple(feature.shape[1:]) for feature in features]
        even = [(c, side // r, side // r) for c, r in zip(self.channels, self.reductions, strict=True)]
        if sides != even or any(not math.log2(reduction).is_integer() for reduction in self.reductions):
            raise OptionError(_refusal(name, "its features are not the image halved again and again"))


def _create(name: str, in_channels: int, pretrained: bool, weights: str | Path | None) -> Any:
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() lists them"
        raise OptionError(f"timm has no model {name!r}: {hint}")
    arguments: dict[str, Any] = {"in_chans": in_channels, "features_only": True}
    if weights is not None:
        if not Path(weights).is_file():
            raise TranslatekitError(f"there is no file of weights {weights}: check the path")
        arguments["pretrained_cfg_overlay"] = {"file": str(weights)}
    # Transformers are made for one image size unless asked: which argument asks, depends on the family.
    for any_size in ({"dynamic_img_size": True}, {"strict_img_size": False}, {}):
        try:
            model = timm.create_model(
                name, pretrained=pretrained or weights is not None, **arguments, **any_size
            )
            if weights is not None:
                _check_weights(model, name, weights)
            return model
        except TranslatekitError:
            raise
        except TypeError as error:
            if not any_size:
                raise OptionError(_refusal(name, str(error))) from None
        except Exception as error:  # each family, and the network, fails in its own way
            reason = textwrap.shorten(f"{type(error).__name__}: {error}", 160, placeholder=" ...")
            if weights is not None:
                raise _unfit(name, weights, reason) from None
            if pretrained:
                raise TranslatekitError(
                    f"the pretrained weights of {name!r} could not be loaded ({reason}): connect to the "
                    "internet once so that they are cached, or set pretrained=false"
                ) from None
            raise OptionError(_refusal(name, reason)) from None
    raise AssertionError("unreachable")


def _check_weights(model: nn.Module, name: str, weights: str | Path) -> None:
    """Refuse another model's weights, of which timm loads what fits and passes over the rest."""
    # timm flattens the names of what it takes features from.
    given = {key.replace(".", "_") for key in timm.models.load_state_dict(str(weights))}
    wanted = [key.removeprefix("model.").replace(".", "_") for key in model.state_dict()]
    found = sum(key in given for key in wanted)
    if found < len(wanted) / 2:
        raise _unfit(name, weights, f"{found} of {len(wanted)} tensors are there")


def _unfit(name: str, weights: str | Path, reason: str) -> TranslatekitError:
    return TranslatekitError(
        f"the weights in {weights} do not fit the timm model {name!r} ({reason}): "
        "give the file that was saved from this model"
    )


def _refusal(name: str, reason: str) -> str:
    return f"the timm model {name!r} cannot be used here ({reason}): choose another, such as resnet34"
