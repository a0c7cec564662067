"""A third party's distribution that uses what the interfaces offer: found through its entry point like anyone's."""

from __future__ import annotations

from pathlib import Path

PLUGIN = """
from translatekit.hookspecs import hookimpl
from translatekit.specs import GeneratorSpec, MethodSpec, MetricSpec

@hookimpl
def register_methods():
    yield MethodSpec(name="likeness", target="likeness.method:Likeness", options="likeness.options:Options",
                     summary="one generator and heads on its features, no discriminator", data="unpaired",
                     generator="windowed", dataset="unaligned", defaults=(("epochs", 2), ("epochs_decay", 0)))

@hookimpl
def register_generators():
    yield GeneratorSpec(name="windowed", target="likeness.network:Windowed", summary="two convolutions, a window")

@hookimpl
def register_metrics():
    yield MetricSpec(name="brightness", target="likeness.metrics:Brightness", summary="difference of mean values",
                     compares="pairs", better="lower", minimum=0, maximum=2, perfect=0.0, label="Brightness")
    yield MetricSpec(name="spread", target="likeness.metrics:Spread", summary="distance of mean colours",
                     compares="sets", better="lower", minimum=0, perfect=0.0)
    yield MetricSpec(name="steadiness", target="likeness.metrics:Steadiness", summary="1 where nothing flickers",
                     compares="video", better="higher", maximum=1)
"""

TYPES = '''
"""An option type of this package's own."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """A range of values, written ``-0.5..0.5``."""

    low: float
    high: float
    metavar = "LOW..HIGH"

    @classmethod
    def parse(cls, value):
        if isinstance(value, cls):
            return value
        low, dots, high = str(value).partition("..")
        window = cls(float(low), float(high))
        if not window.low < window.high:
            raise ValueError
        return window

    @staticmethod
    def words():
        return "LOW..HIGH, such as -0.5..0.5"

    def __str__(self):
        return f"{self.low:g}..{self.high:g}"
'''

OPTIONS = """
from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from likeness.types import Window
from translatekit.config import option
from translatekit.options import Bounds


@dataclass(kw_only=True)
class Options:
    window: Window = option(Window(-1, 1), "Values that are compared.", "Likeness")
    layers: Annotated[tuple[int, ...], Bounds(minimum=0)] = option((0, 2), "Of the generator.", "Likeness")
    pixels: tuple[int, int] | None = option(None, "A fixed size.", "Likeness")
"""

NETWORK = """
from __future__ import annotations

import torch
from torch import nn

from likeness.types import Window


class Windowed(nn.Module):
    size_multiple = 1

    def __init__(self, in_channels: int, out_channels: int, *, width: int = 4, window: Window = Window(-1, 1)):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(width, out_channels, 1)
        )
        self.window = window

    def forward(self, x):
        return torch.tanh(self.body(x.clamp(self.window.low, self.window.high)))
"""

METHOD = """
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from translatekit.interfaces import Deployed
from translatekit.networks.features import inner_features
from translatekit.training.method import Method


class Heads(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(count, 3, 1) for count in channels)

    def forward(self, features):
        return [conv(feature) for conv, feature in zip(self.convs, features)]


class Likeness(Method):
    def __init__(self, options, networks, data):
        a, b = (data.specs[side].network_channels for side in "AB")
        generator = networks.generator(in_channels=a, out_channels=b)
        super().__init__({"translator": generator})
        self.options, self.factory, self.count = options, networks, 0
        self.add_network("fixed", nn.Conv2d(3, 2, 1).requires_grad_(False))

    def begin(self, batch):
        with torch.no_grad():
            features = inner_features(self.unwrapped["translator"], self.options.layers, batch["A"])
        heads = Heads([feature.shape[1] for feature in features])
        self.add_network("heads", self.factory.initialize(heads))

    def make_optimizers(self, make):
        return {
            "both": make([*self.unwrapped["translator"].parameters()], lr=1e-3),
            "heads": torch.optim.SGD(self.unwrapped["heads"].parameters(), lr=0.1, momentum=0.9),
        }

    def learning_rate_factor(self, optimizer, step, epoch):
        return 0.5**step if optimizer == "heads" else None

    def step(self, batch):
        fake = self.networks["translator"](batch["A"])
        pairs = [self.features("translator", self.options.layers, x) for x in (fake, batch["A"])]
        found, wanted = (self.networks["heads"](features) for features in pairs)
        nearness = torch.stack([F.mse_loss(one, other) for one, other in zip(found, wanted)]).mean()
        level = (self.networks["fixed"](fake).mean() - self.networks["fixed"](batch["B"]).mean()).abs()
        self.update(nearness + level, "both", "heads")
        self.count += 1
        return {"nearness": nearness.detach(), "level": level.detach()}

    def deployed(self):
        return {"main": Deployed(self.unwrapped["translator"], input="A", target="B")}

    def samples(self, batch):
        return {"A": batch["A"], "made": self.networks["translator"](batch["A"])}

    def extra_state(self):
        return {"count": self.count}

    def load_extra_state(self, state):
        self.count = state["count"]
"""

METRICS = """
from __future__ import annotations

import numpy as np


class Brightness:
    def __init__(self, *, weight: float = 1.0):
        self.weight = weight

    def __call__(self, output, target):
        apart = (output.values - target.values).abs()
        counts = apart.new_ones(apart.shape) if target.valid is None else target.valid.expand_as(apart).float()
        return self.weight * (apart * counts).sum((1, 2, 3)) / counts.sum((1, 2, 3))


class Spread:
    def __init__(self):
        self.extractor = lambda images: images.values.mean((2, 3))

    def __call__(self, real, fake):
        return float((real - fake).square().mean()) if real.shape == fake.shape else float(
            (real.mean(0) - fake.mean(0)).abs().mean())


class Steadiness:
    def __init__(self):
        self.last, self.changes = None, []

    def update(self, frame, output):
        if self.last is not None:
            self.changes.append(np.abs(output.astype(float) - self.last).mean() / 255)
        self.last = output.astype(float)

    def compute(self):
        return 1 - float(np.mean(self.changes))
"""

FILES = {
    "plugin.py": PLUGIN,
    "types.py": TYPES,
    "options.py": OPTIONS,
    "network.py": NETWORK,
    "method.py": METHOD,
    "metrics.py": METRICS,
    "__init__.py": "",
}


def write_distribution(site: Path) -> None:
    """Write the distribution as pip leaves it behind."""
    (site / "likeness").mkdir(parents=True)
    for name, text in FILES.items():
        (site / "likeness" / name).write_text(text)
    info = site / "likeness-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: likeness\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[translatekit]\nlikeness = likeness.plugin\n")
