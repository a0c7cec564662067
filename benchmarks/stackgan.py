"""Whether StackGAN draws the digit it is asked for: samples of each class, read by a classifier of real digits.

The classifier learns from MNIST's training images, resized as the generator's are, and says how well it reads those of
the test set.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from machine import describe
from torch import Tensor, nn
from translatekit_tools.sample import _draw

import translatekit
from translatekit.datasets import make_dataset
from translatekit.interfaces import DataOptions

EACH = 50  # samples of a class


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="MNIST's four files")
    parser.add_argument("--out", type=Path, default=Path("runs/stackgan-mnist"), help="where the two runs go")
    parser.add_argument(
        "--sizes", type=int, nargs=2, default=[16, 32], help="pixels a side of the two stages"
    )
    parser.add_argument("--steps", type=int, nargs=2, default=[1500, 600], help="of the two stages")
    parser.add_argument(
        "--widths", type=int, nargs=2, default=[8, 32], help="of the generators of both stages"
    )
    parser.add_argument("--discriminator-width", type=int, default=8, help="of both discriminators")
    parser.add_argument("--json", type=Path, help="where the result goes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    one = None
    stages = []
    settings = zip(arguments.sizes, arguments.steps, arguments.widths, strict=True)
    for number, (size, steps, width) in enumerate(settings, 1):
        run = translatekit.train(
            "stackgan",
            arguments.data,
            output=str(arguments.out / f"stage-{number}"),
            **({} if one is None else {"stage_one": str(one)}),
            load_size=size,
            crop_size=size,
            flip=False,
            batch_size=64,
            max_steps=steps,
            generator_options={"width": width, **({} if one else {"condition_size": 32})},
            discriminator_options={"width": arguments.discriminator_width, "condition_size": 32},
            precision="fp32",
            log_every=100,
            sample_every=steps,
            checkpoint_every=steps,
        )
        one = one or run
        classifier, accuracy = train_classifier(arguments.data, size)
        right = read_samples(run, classifier)
        stages.append(
            {
                "stage": number,
                "size": size,
                "width": width,
                "steps": steps,
                "real": accuracy,
                "samples": right,
                "images": 10 * EACH,
            }
        )
        print(json.dumps(stages[-1]), flush=True)
    if arguments.json:
        result = {
            "machine": describe(),
            "discriminator_width": arguments.discriminator_width,
            "stages": stages,
        }
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


def train_classifier(data: Path, size: int) -> tuple[nn.Module, float]:
    """A small network that reads digits, and the share of MNIST's test images that it reads right."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * (size // 4) ** 2, 10),
    )  # fmt: skip
    images, labels = real_digits(data, "train", size, 12_000)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(2):
        for batch in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    images, labels = real_digits(data, "test", size, 2_000)
    return network, share(network, images, labels)


def real_digits(data: Path, split: str, size: int, count: int) -> tuple[Tensor, Tensor]:
    options = DataOptions(split=split, load_size=size, crop_size=size, flip=False)
    digits = make_dataset("labelled", data, options)
    items = [digits[index] for index in range(count)]
    return torch.stack([item["image"] for item in items]), torch.tensor([item["label"] for item in items])


def read_samples(run: Path, classifier: nn.Module) -> float:
    """The share of a model's samples that are read as the class that was asked for."""
    network, info = translatekit.load_network(run)
    drawn = np.stack(list(_draw(network, info, [torch.tensor(label) for label in range(10)], EACH, 0)))
    images = torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1
    return share(classifier, images, torch.arange(10).repeat_interleave(EACH))


@torch.no_grad()
def share(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    return float((network(images).argmax(1) == labels).float().mean())


if __name__ == "__main__":
    main()
