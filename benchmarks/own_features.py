"""Train the small network whose features FID and KID compare images by where no other network's weights are at hand.

python benchmarks/own_features.py --out translatekit/metrics/own_features.safetensors

It sees nothing but pictures that this file draws: 600 ways to draw, each a family of shapes or textures with colours,
sizes, directions, softness and noise of its own. The network learns to tell from a part of a picture in which way it
was drawn, which is what a distance of sets is to notice: style, texture, colour and sharpness, not objects.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor, nn

from translatekit.metrics.own_features import OwnFeatures, save

WAYS, PALETTES, EACH, SIDE, CROP = 600, 25, 32, 96, 64


def main() -> None:
    """Draw, train, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    start = time.perf_counter()
    images = draw_all(arguments.seed)
    say(f"{len(images)} pictures drawn in {time.perf_counter() - start:.0f} s")
    network = OwnFeatures()
    head = nn.Linear(network.size, WAYS)
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=arguments.steps)
    generator = torch.Generator().manual_seed(arguments.seed)
    held = torch.arange(len(images)) % EACH >= EACH - 4
    train, rest = torch.nonzero(~held)[:, 0], torch.nonzero(held)[:, 0]
    network.train()
    for step in range(1, arguments.steps + 1):
        chosen = train[torch.randint(len(train), (arguments.batch,), generator=generator)]
        logits = head(network.pooled(crops(images, chosen, generator)))
        loss = nn.functional.cross_entropy(logits, chosen // EACH)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 200 == 0:
            say(f"step {step}: loss {loss.item():.3f} after {time.perf_counter() - start:.0f} s")
    network.eval()
    with torch.no_grad():
        parts = rest[torch.randperm(len(rest), generator=generator)].split(256)
        found = [network.pooled(crops(images, part, generator)) for part in parts]
        right = [head(one).argmax(1) == part // EACH for one, part in zip(found, parts, strict=True)]
        say(f"of held pictures, the way is found for {torch.cat(right).float().mean():.1%}")
        network.standardize(torch.cat(found))
    save(network, arguments.out)
    say(f"{arguments.out}: {arguments.out.stat().st_size / 1e3:.0f} kB")


def crops(images: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """Parts (N, 3, CROP, CROP) in [-1, 1], half of them mirrored."""
    parts = []
    for index in chosen.tolist():
        top, left, mirrored = (
            int(torch.randint(n, (1,), generator=generator)) for n in (SIDE - CROP + 1,) * 2 + (2,)
        )
        part = images[index, :, top : top + CROP, left : left + CROP]
        parts.append(part.flip(2) if mirrored else part)
    return torch.stack(parts).float() / 127.5 - 1


def draw_all(seed: int) -> Tensor:
    """(WAYS * EACH, 3, SIDE, SIDE), uint8: the pictures of each way, one after the other."""
    pictures = np.empty((WAYS * EACH, 3, SIDE, SIDE), np.uint8)
    for way in range(WAYS):
        for number in range(EACH):
            picture = draw(
                np.random.default_rng((seed, way)), np.random.default_rng((seed, way, number + 1)), way
            )
            pictures[way * EACH + number] = picture.transpose(2, 0, 1)
    return torch.from_numpy(pictures)


def draw(way: np.random.Generator, chance: np.random.Generator, number: int) -> np.ndarray:
    """One picture, (SIDE, SIDE, 3) uint8: `way` decides what all of its way share, `chance` the rest."""
    hue = np.random.default_rng(
        number % PALETTES
    )  # shared with other ways: colour alone does not tell which one it is
    gray = hue.uniform(40, 215)
    mean = gray + (hue.uniform(0, 255, 3) - gray) * hue.uniform(0.1, 0.9)
    colours = np.clip(mean + hue.normal(0, hue.uniform(15, 90), (6, 3)), 0, 255)
    image = FAMILIES[number % len(FAMILIES)](way, chance, colours)
    picture = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    if way.random() < 0.4:
        picture = picture.filter(ImageFilter.GaussianBlur(way.uniform(0.4, 2.5)))
    values = np.asarray(picture, np.float32)
    if way.random() < 0.4:
        values = values + chance.normal(0, way.uniform(3, 30), (SIDE, SIDE, 1 if way.random() < 0.5 else 3))
    if way.random() < 0.2:
        steps = way.choice([16, 32, 64])
        values = np.round(values / steps) * steps
    values = (values - 128) * way.uniform(0.5, 1.2) + 128 + way.uniform(-30, 30)
    return np.clip(values, 0, 255).astype(np.uint8)


def cloud(way: np.random.Generator, chance: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """Noise whose spectrum falls with the frequency, across and along alike or not, coloured by its height."""
    heights = _noise(chance, way.uniform(0.6, 2.2), way.uniform(0.4, 2.5))
    return _coloured(heights, colours[: way.integers(2, 6)])


def waves(way: np.random.Generator, chance: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """Stripes of a direction and width, bent by noise."""
    angle, width = way.uniform(0, np.pi), way.uniform(3, 24)
    bend = _noise(chance, 1.8, 1.0) * way.uniform(0, 12)
    y, x = np.mgrid[:SIDE, :SIDE]
    phase = (x * np.cos(angle) + y * np.sin(angle) + bend) / width + chance.uniform(0, 1)
    heights = np.sin(2 * np.pi * phase)
    return _coloured(np.sign(heights) if way.random() < 0.4 else heights, colours[:3])


def strokes(way: np.random.Generator, chance: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """Short brush strokes over one another, coloured by a soft ground below them."""
    length, thick, spread = way.uniform(3, 22), way.integers(1, 7), way.uniform(0.05, 1.5)
    ground = _coloured(_noise(chance, 1.7, 1.0), colours)
    angle, jitter = way.uniform(0, np.pi), way.uniform(0, 45)
    picture = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(2.2 * SIDE**2 / (length * thick + 8))):
        x, y = chance.uniform(0, SIDE, 2)
        turn = angle + chance.normal(0, spread)
        across, along = np.cos(turn) * length / 2, np.sin(turn) * length / 2
        colour = ground[min(int(y), SIDE - 1), min(int(x), SIDE - 1)] + chance.normal(0, jitter, 3)
        fill = tuple(int(value) for value in np.clip(colour, 0, 255))
        pen.line((x - across, y - along, x + across, y + along), fill=fill, width=int(thick))
    return np.asarray(picture, np.float32)


def leaves(way: np.random.Generator, chance: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """Discs, boxes or polygons that cover one another."""
    kind, largest, edge = way.integers(3), way.uniform(4, 30), way.random() < 0.3
    picture = Image.new("RGB", (SIDE, SIDE), tuple(int(value) for value in colours[0]))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(way.uniform(1, 5) * SIDE**2 / largest**2) + 1):
        x, y = chance.uniform(0, SIDE, 2)
        size = largest * chance.uniform(0.3, 1)
        fill = tuple(
            int(value) for value in np.clip(colours[chance.integers(1, 6)] + chance.normal(0, 8, 3), 0, 255)
        )
        line = (20, 20, 20) if edge else None
        if kind == 0:
            pen.ellipse((x - size, y - size, x + size, y + size), fill=fill, outline=line)
        elif kind == 1:
            pen.rectangle((x - size, y - size * 0.7, x + size, y + size * 0.7), fill=fill, outline=line)
        else:
            angles = np.sort(chance.uniform(0, 2 * np.pi, 5))
            pen.polygon(
                [(x + size * np.cos(a), y + size * np.sin(a)) for a in angles], fill=fill, outline=line
            )
    return np.asarray(picture, np.float32)


def scene(way: np.random.Generator, chance: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """Layers from the top to the bottom with ragged edges, each with a texture of its own, as in a landscape."""
    layers, roughness = way.integers(2, 5), way.uniform(2, 18)
    image = np.empty((SIDE, SIDE, 3))
    y = np.mgrid[:SIDE, :SIDE][0]
    for layer in range(layers):
        edge = SIDE * layer / layers + roughness * _noise(chance, 1.6, 1.0)[0][None]
        texture = _coloured(_noise(chance, 1.0 + 0.3 * layer, 1 + layer), colours[layer : layer + 2])
        image = np.where((y >= edge)[..., None] if layer else np.ones((SIDE, SIDE, 1), bool), texture, image)
    return image


def grid(way: np.random.Generator, chance: np.random.Generator, colours: np.ndarray) -> np.ndarray:
    """Windows in rows on a wall, as on a facade."""
    across, down = way.integers(2, 8, 2)
    image = _coloured(_noise(chance, 1.2, 1.0) * way.uniform(0, 0.6), colours[:2])
    wide, high = SIDE / across, SIDE / down
    share, shift = way.uniform(0.3, 0.8, 2), chance.uniform(0, 6, 2)
    for row in range(down):
        for column in range(across):
            top, left = int(row * high + shift[0]), int(column * wide + shift[1])
            bottom, right = top + max(int(high * share[0]), 1), left + max(int(wide * share[1]), 1)
            image[top:bottom, left:right] = colours[2 + (chance.random() < 0.3)]
            image[top : top + 1, left:right] = colours[4]
    return image


FAMILIES: tuple[Callable[..., np.ndarray], ...] = (cloud, waves, strokes, leaves, scene, grid)


def _noise(chance: np.random.Generator, fall: float, stretch: float) -> np.ndarray:
    """(SIDE, SIDE) of mean 0 and deviation 1."""
    y, x = np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None] * stretch
    weights = 1 / np.maximum(np.hypot(y, x), 1 / SIDE) ** fall
    heights = np.fft.ifft2(np.fft.fft2(chance.normal(size=(SIDE, SIDE))) * weights).real
    return (heights - heights.mean()) / heights.std()


def _coloured(heights: np.ndarray, colours: np.ndarray) -> np.ndarray:
    places = np.linspace(-1.5, 1.5, len(colours))
    return np.stack([np.interp(heights, places, colours[:, channel]) for channel in range(3)], 2)


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
