"""Facades drawn from a seed: a label map, and the picture that it describes.

The picture follows from the label map, so that a network can learn it soon: each class has its own material,
the light always comes from the top left, and what varies from house to house has a class of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from translatekit.images import resize

Color3 = tuple[int, int, int]

PALETTE: dict[str, Color3] = {
    "sky": (0, 110, 255),
    "cloud": (150, 205, 255),
    "roof": (200, 50, 20),
    "slate": (110, 90, 150),
    "brick": (150, 30, 90),
    "plaster": (255, 205, 60),
    "render": (255, 130, 170),
    "cornice": (255, 255, 235),
    "window": (20, 20, 130),
    "shutter": (0, 160, 140),
    "door": (255, 120, 0),
    "balcony": (170, 0, 255),
    "plants": (60, 190, 40),
    "ground": (90, 90, 90),
}
"""Label colours by class."""

_CLASSES = {name: index for index, name in enumerate(PALETTE)}
_LABEL_COLORS = np.array(list(PALETTE.values()), np.uint8)
_WALLS = ("brick", "plaster", "render")
_STONE = (222, 212, 192)


def draw_facade(seed: int | Sequence[int], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one facade.

    Args:
        seed: decides everything but the size.
        size: in pixels a side.

    Returns:
        Label map and picture, (size, size, 3) uint8 each. The label map holds the colours of `PALETTE` only.
    """
    supersampling = max(2, -(-256 // size))
    canvas = _Canvas(size * supersampling)
    _draw_scene(canvas, np.random.default_rng(seed))
    centre = supersampling // 2
    labels = canvas.labels[centre::supersampling, centre::supersampling]
    fine = canvas.picture.reshape(size, supersampling, size, supersampling, 3)
    picture = np.clip(np.rint(fine.mean(axis=(1, 3))), 0, 255).astype(np.uint8)
    return _LABEL_COLORS[labels], picture


@dataclass(frozen=True, slots=True)
class _Box:
    """A rectangle in units of the image's side, y downwards."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    def part(self, x0: float, y0: float, x1: float, y1: float) -> _Box:
        """A rectangle in units of this one."""
        return _Box(
            self.x0 + x0 * self.width,
            self.y0 + y0 * self.height,
            self.x0 + x1 * self.width,
            self.y0 + y1 * self.height,
        )


class _Canvas:
    """A label map and a picture that are painted together, at several times their final size."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.labels = np.zeros((side, side), np.uint8)
        self.picture = np.zeros((side, side, 3), np.float32)
        self.textures = _textures(side)

    def area(self, box: _Box) -> tuple[slice, slice]:
        """The rows and columns of a box."""
        x0, y0, x1, y1 = (
            min(max(round(value * self.side), 0), self.side) for value in (box.x0, box.y0, box.x1, box.y1)
        )
        return slice(y0, max(y1, y0)), slice(x0, max(x1, x0))

    def grid(self, box: _Box) -> tuple[np.ndarray, np.ndarray]:
        """x (1, W) and y (H, 1) of a box's pixels, in units of the box."""
        rows, columns = self.area(box)
        x = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5) / self.side
        y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) / self.side
        return ((x - box.x0) / max(box.width, 1e-6))[None, :], ((y - box.y0) / max(box.height, 1e-6))[:, None]

    def fill(
        self,
        box: _Box,
        paint: str | Color3 | np.ndarray,
        name: str | None = None,
        mask: np.ndarray | None = None,
    ) -> None:
        """Paint a box with a texture's name, a colour, or pixels, and label it with a class."""
        area = self.area(box)
        pixels = self.textures[paint][area] if isinstance(paint, str) else np.asarray(paint, np.float32)
        if mask is None:
            self.picture[area] = pixels
            if name is not None:
                self.labels[area] = _CLASSES[name]
        else:
            self.picture[area][mask] = np.broadcast_to(pixels, (*mask.shape, 3))[mask]
            if name is not None:
                self.labels[area][mask] = _CLASSES[name]

    def shade(self, box: _Box, factor: float | np.ndarray) -> None:
        """Darken or lighten the picture in a box."""
        if isinstance(factor, np.ndarray):
            factor = factor[:, :, None]
        self.picture[self.area(box)] *= factor


# Materials


@lru_cache(maxsize=4)
def _textures(side: int) -> dict[str, np.ndarray]:
    """Materials over the whole canvas, (side, side, 3) float32 in [0, 255]: the same at every size."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    coarse, middle, fine = (_noise(side, cells, seed) for cells, seed in ((12, 1), (48, 2), (160, 3)))

    def material(color: Color3, variation: np.ndarray) -> np.ndarray:
        return np.asarray(color, np.float32) * (1.0 + variation[:, :, None])

    brick, joint = _courses(x, y, length=0.044, height=0.0175, gap=0.10)
    tile, _ = _courses(x, y, length=0.026, height=0.022, gap=0.0)
    slate, slate_gap = _courses(x, y, length=0.036, height=0.026, gap=0.07)
    roundness = np.sin(np.pi * ((x / 0.026) % 1.0))
    overlap = (y / 0.022) % 1.0
    depth = np.clip((y - 0.84) / 0.16, 0.0, 1.0)
    slabs = ((x - 0.5) / (0.5 + 1.2 * depth) * 9.0) % 1.0
    rows = (4.0 * np.sqrt(depth)) % 1.0
    textures = {
        "sky": np.stack([88 + 130 * y, 152 + 84 * y, 224 + 26 * y], axis=2),
        "cloud": material((255, 253, 248), 0.02 * coarse),
        "brick": np.where(
            joint[:, :, None],
            material((196, 176, 160), 0.06 * fine),
            material((168, 78, 58), 0.17 * brick + 0.10 * middle + 0.05 * fine),
        ),
        "plaster": material((236, 210, 158), 0.05 * coarse + 0.035 * middle + 0.02 * fine),
        "render": material((214, 172, 166), 0.05 * coarse + 0.035 * middle + 0.02 * fine),
        "roof": material(
            (186, 88, 52), 0.12 * tile + 0.06 * coarse + 0.38 * (roundness - 0.62) - 0.34 * overlap**3 + 0.05
        ),
        "slate": np.where(
            slate_gap[:, :, None],
            material((52, 56, 68), 0.05 * fine),
            material((104, 112, 130), 0.16 * slate + 0.06 * coarse - 0.20 * ((y / 0.026) % 1.0) ** 3),
        ),
        "cornice": material(_STONE, 0.03 * middle + 0.03 * fine),
        "plants": material((66, 118, 48), 0.10 * coarse + 0.30 * middle + 0.38 * fine),
        "ground": material((146, 140, 134), 0.04 * middle + 0.05 * fine)
        * np.where((slabs < 0.03) | (rows < 0.07), 0.72, 1.0).astype(np.float32)[:, :, None],
    }
    return {name: texture.astype(np.float32) for name, texture in textures.items()}


def _noise(side: int, cells: int, seed: int) -> np.ndarray:
    """Smooth noise in about [-1, 1], of so many cells a side."""
    lattice = np.random.default_rng(seed).random((cells, cells), np.float32)
    return resize(lattice, (side, side)) * 2.0 - 1.0


def _courses(
    x: np.ndarray, y: np.ndarray, length: float, height: float, gap: float
) -> tuple[np.ndarray, np.ndarray]:
    """Staggered courses: a value in [-1, 1] for each stone, and where the joints are."""
    row = np.floor(y / height)
    along = x / length + 0.5 * (row % 2)
    column = np.floor(along)
    value = np.modf(np.abs(np.sin(row * 12.9898 + column * 78.233) * 43758.547))[0] * 2.0 - 1.0
    joint = ((y / height) % 1.0 < gap * 1.6) | (along % 1.0 < gap * 0.7)
    return value, joint


# The scene, from the back to the front


@dataclass(frozen=True, slots=True)
class _Style:
    """What the windows of one house have in common."""

    wall: str
    shutters: bool
    arched: bool
    flowers: bool
    panes: int


def _draw_scene(canvas: _Canvas, rng: np.random.Generator) -> None:
    canvas.fill(_Box(0, 0, 1, 1), "sky", "sky")
    for _ in range(int(rng.integers(1, 4))):
        _draw_cloud(canvas, rng)
    ground = float(rng.uniform(0.885, 0.93))
    wide = rng.random() < 0.3
    left, right = (0.0, 1.0) if wide else (float(rng.uniform(0.05, 0.2)), float(rng.uniform(0.8, 0.95)))
    top = float(rng.uniform(0.2, 0.34))
    wall = str(rng.choice(_WALLS))
    others = [name for name in _WALLS if name != wall]
    for x0, x1 in ((-0.25, left), (right, 1.25)):
        neighbour, lower, which = rng.random(), float(rng.uniform(0.08, 0.25)), int(rng.integers(2))
        if not wide and neighbour < 0.6:
            _draw_house(canvas, rng, _Box(x0, top + lower, x1, ground), others[which], floors=2)
    _draw_house(
        canvas,
        rng,
        _Box(left, top, right, ground),
        wall,
        floors=int(rng.integers(2, 5)),
        door=True,
    )
    _draw_ground(canvas, ground)
    for x in (left, right):
        bush, dx, radius = rng.random(), float(rng.uniform(-0.04, 0.04)), float(rng.uniform(0.05, 0.09))
        if bush < 0.6:
            _draw_bush(canvas, min(max(x + dx, 0.04), 0.96), ground + 0.012, radius)


def _draw_cloud(canvas: _Canvas, rng: np.random.Generator) -> None:
    x, y, width = rng.uniform(0.0, 1.0), rng.uniform(0.03, 0.2), rng.uniform(0.16, 0.3)
    box = _Box(x - width / 2, y - width / 5, x + width / 2, y + width / 5)
    gx, gy = canvas.grid(box)
    inside = np.zeros((gy.shape[0], gx.shape[1]), bool)
    for _ in range(5):
        cx, cy, radius = rng.uniform(0.25, 0.75), rng.uniform(0.45, 0.7), rng.uniform(0.16, 0.26)
        inside |= ((gx - cx) / radius) ** 2 + ((gy - cy) / (radius * 1.7)) ** 2 < 1.0
    light = 1.02 - 0.16 * np.clip(gy, 0, 1)[:, :, None]
    canvas.fill(box, canvas.textures["cloud"][canvas.area(box)] * light, "cloud", inside)


def _draw_house(
    canvas: _Canvas, rng: np.random.Generator, box: _Box, wall: str, floors: int, door: bool = False
) -> None:
    style = _Style(
        wall=wall,
        shutters=bool(rng.random() < 0.4),
        arched=bool(rng.random() < 0.35),
        flowers=bool(rng.random() < 0.3),
        panes=int(rng.integers(2, 4)),
    )
    roof_height, slant = float(rng.uniform(0.08, 0.14)), float(rng.uniform(0.03, 0.10))
    _draw_roof(
        canvas, rng, box, roof_height, slant, "slate" if wall == "render" or rng.random() < 0.4 else "roof"
    )

    canvas.fill(box, wall, wall)
    gx, gy = canvas.grid(box)
    canvas.shade(box, 1.10 - 0.16 * np.clip(gx, 0, 1) - 0.10 * np.clip(gy, 0, 1))
    if style.wall == "brick":
        _draw_quoins(canvas, box)

    plinth = box.part(0, 0.94, 1, 1)
    canvas.fill(plinth, (168, 160, 148), "cornice")
    canvas.shade(plinth.part(0, 0, 1, 0.2), 1.15)

    storey = box.height * 0.93 / floors
    columns = min(max(round(box.width / (storey * float(rng.uniform(0.8, 1.1)))), 2), 6)
    door_column = int(rng.integers(1, max(columns - 1, 2))) if door else -1
    balcony_floor = int(rng.integers(1, floors)) if rng.random() < 0.65 else -1
    balcony_every = int(rng.integers(1, 3))
    margin = 0.035 * box.width
    cell_width = (box.width - 2 * margin) / columns
    tall = float(rng.uniform(0.54, 0.64))
    half = 0.5 * tall * storey / cell_width * float(rng.uniform(0.54, 0.68))
    half = min(half, 0.2 if style.shutters else 0.36)
    for floor in range(floors):
        y = box.y0 + 0.015 + (floors - 1 - floor) * storey
        if floor and style.wall != "brick":
            _draw_band(canvas, _Box(box.x0, y + storey - 0.012, box.x1, y + storey))
        for column in range(columns):
            x = box.x0 + margin + column * cell_width
            cell = _Box(x, y, x + cell_width, y + storey)
            if floor == 0 and column == door_column:
                _draw_door(
                    canvas, _Box(cell.x0, cell.y0, cell.x1, box.y1).part(0.5 - half, 0.2, 0.5 + half, 1.0)
                )
                continue
            has_balcony = floor == balcony_floor and column % balcony_every == 0
            bottom = 0.92 if has_balcony else 0.24 + tall
            _draw_window(canvas, cell.part(0.5 - half, 0.24, 0.5 + half, bottom), style, has_balcony)
            if has_balcony:
                _draw_balcony(canvas, cell.part(0.10, 0.60, 0.90, 0.97))
    _draw_eaves(canvas, box)


def _draw_roof(
    canvas: _Canvas, rng: np.random.Generator, box: _Box, height: float, slant: float, material: str
) -> None:
    roof = _Box(box.x0 - 0.012, box.y0 - height, box.x1 + 0.012, box.y0)
    for at in (0.22, 0.74):
        if rng.random() < 0.6:
            chimney = _Box(
                *((roof.x0 + at * roof.width), roof.y0 - 0.045, roof.x0 + at * roof.width + 0.05, box.y0)
            )
            canvas.fill(chimney, "brick", "brick")
            canvas.shade(chimney.part(0.6, 0, 1, 1), 0.72)
            canvas.fill(chimney.part(-0.12, -0.02, 1.12, 0.09), _STONE, "cornice")
    gx, gy = canvas.grid(roof)
    inset = slant / roof.width * (1.0 - gy)
    inside = (gx > inset) & (gx < 1.0 - inset)
    light = (1.12 - 0.22 * np.clip(gx, 0, 1)) * (0.92 + 0.12 * gy)
    canvas.fill(roof, canvas.textures[material][canvas.area(roof)] * light[:, :, None], material, inside)
    ridge = _Box(roof.x0 + slant, roof.y0 - 0.006, roof.x1 - slant, roof.y0 + 0.008)
    canvas.fill(ridge, canvas.textures[material][canvas.area(ridge)] * 1.2, material)
    for at in (0.3, 0.5, 0.7):
        if height > 0.10 and rng.random() < 0.4:
            x, half = roof.x0 + at * roof.width, 0.032
            _draw_dormer(canvas, _Box(x - half, roof.y0 + 0.32 * height, x + half, box.y0 - 0.012), material)


def _draw_dormer(canvas: _Canvas, box: _Box, material: str) -> None:
    shadow = box.part(0.2, 0.1, 1.35, 1.0)
    canvas.shade(shadow, 0.72)
    canvas.fill(box, "cornice", "cornice")
    _draw_glass(canvas, box.part(0.18, 0.3, 0.82, 0.95), panes=2)
    gable = box.part(-0.2, -0.15, 1.2, 0.28)
    gx, gy = canvas.grid(gable)
    canvas.fill(
        gable,
        canvas.textures[material][canvas.area(gable)] * 1.12,
        material,
        np.abs(gx - 0.5) < 0.08 + 0.42 * gy,
    )


def _draw_quoins(canvas: _Canvas, box: _Box) -> None:
    """Alternating corner stones."""
    count = 14
    for index in range(count):
        width = (0.042, 0.026)[index % 2]
        y0, y1 = (box.y0 + box.height * 0.94 * (index + step) / count for step in (0, 1))
        for stone in (_Box(box.x0, y0, box.x0 + width, y1), _Box(box.x1 - width, y0, box.x1, y1)):
            canvas.fill(stone, "cornice", "cornice")
            canvas.shade(stone.part(0, 0, 1, 0.15), 1.1)
            canvas.shade(stone.part(0, 0.85, 1, 1), 0.72)
    canvas.shade(_Box(box.x1 - 0.042, box.y0, box.x1, box.y1), 0.86)


def _draw_band(canvas: _Canvas, band: _Box) -> None:
    canvas.fill(band, "cornice", "cornice")
    canvas.shade(band.part(0, 0, 1, 0.35), 1.1)
    canvas.shade(band.part(0, 1, 1, 1.8), 0.74)


def _draw_eaves(canvas: _Canvas, box: _Box) -> None:
    """The main cornice under the roof, with dentils, and the shadow that it casts."""
    under = _Box(box.x0, box.y0 + 0.018, box.x1, box.y0 + 0.062)
    _, gy = canvas.grid(under)
    canvas.shade(under, np.clip(0.52 + 0.6 * gy, 0, 1))
    cornice = _Box(box.x0 - 0.016, box.y0 - 0.012, box.x1 + 0.016, box.y0 + 0.02)
    canvas.fill(cornice, "cornice", "cornice")
    canvas.shade(cornice.part(0, 0, 1, 0.3), 1.12)
    gx, _ = canvas.grid(cornice.part(0, 0.5, 1, 0.85))
    dentils = np.where((gx * cornice.width / 0.018) % 1.0 < 0.5, 0.68, 0.95)
    canvas.shade(cornice.part(0, 0.5, 1, 0.85), dentils)
    canvas.shade(cornice.part(0, 0.85, 1, 1), 0.8)


def _draw_window(canvas: _Canvas, box: _Box, style: _Style, balcony: bool) -> None:
    trim = _Box(box.x0 - 0.010, box.y0 - 0.012, box.x1 + 0.010, box.y1)
    if style.shutters:
        for shutter, shadow in (
            (box.part(-0.56, -0.01, -0.05, 1), box.part(-0.56, 1, -0.05, 1.04)),
            (box.part(1.05, -0.01, 1.56, 1), box.part(1.56, 0.02, 1.66, 1.04)),
        ):
            _draw_shutter(canvas, shutter)
            canvas.shade(shadow, 0.7)
    else:
        canvas.shade(trim.part(0.08, 0.02, 1.1, 1.03), 0.74)
        canvas.fill(trim, "cornice", "cornice")
        canvas.shade(trim.part(0, 0, 0.06, 1), 1.1)
        keystone = _Box(box.x0 - 0.014, box.y0 - 0.024, box.x1 + 0.014, box.y0 - 0.012)
        if not style.arched:
            canvas.fill(keystone, "cornice", "cornice")
            canvas.shade(keystone.part(0, 0, 1, 0.4), 1.12)
            canvas.shade(keystone.part(0.04, 1, 1.04, 1.5), 0.7)
    _draw_glass(canvas, box, style.panes, arched=style.arched and not style.shutters)
    if balcony:
        return
    sill = _Box(box.x0 - 0.016, box.y1, box.x1 + 0.016, box.y1 + 0.013)
    canvas.shade(_Box(sill.x0 + 0.006, sill.y1, sill.x1 + 0.008, sill.y1 + 0.016), 0.66)
    canvas.fill(sill, "cornice", "cornice")
    canvas.shade(sill.part(0, 0, 1, 0.4), 1.14)
    if style.flowers:
        _draw_flowers(canvas, _Box(box.x0, box.y1 - 0.02, box.x1, box.y1 + 0.006))


def _draw_glass(canvas: _Canvas, box: _Box, panes: int, arched: bool = False) -> None:
    """A window in its reveal: panes that reflect the sky, a white frame, the shadow of the wall."""
    gx, gy = canvas.grid(box)
    inside = np.ones((gy.shape[0], gx.shape[1]), bool)
    if arched:
        rise = 0.22
        inside = (gy > rise) | (((gx - 0.5) / 0.5) ** 2 + ((gy - rise) / rise) ** 2 < 1.0)
    sky = np.clip(1.0 - gy * 1.1 + 0.15 * (0.5 - gx), 0.0, 1.0)[:, :, None]
    glass = np.asarray((40, 52, 70), np.float32) + sky * np.asarray((104, 122, 132), np.float32)
    slope = gx + 0.8 * gy * box.height / box.width
    streak = ((slope > 0.62) & (slope < 0.86)) | ((slope > 0.94) & (slope < 1.0))
    glass = glass + 46.0 * streak[:, :, None]
    curtain = (gx < 0.24 + 0.10 * gy) | (gx > 0.76 - 0.10 * gy)
    folds = 0.5 + 0.5 * np.sin(gx * 60.0)
    glass = np.where(curtain[:, :, None], glass * 0.55 + (70.0 + 26.0 * folds[:, :, None]), glass)

    frame = 0.085
    tall = frame * box.width / box.height
    bars = (gx < frame) | (gx > 1 - frame) | (gy < tall) | (gy > 1 - tall) | (np.abs(gx - 0.5) < frame * 0.55)
    for row in range(1, panes):
        bars = bars | (np.abs(gy - row / panes) < tall * 0.45)
    if arched:
        bars = bars | (((gx - 0.5) / (0.5 - frame)) ** 2 + ((gy - 0.22) / (0.22 - tall)) ** 2 > 1.0) & (
            gy < 0.22
        )
    pixels = np.where(bars[:, :, None], np.asarray((240, 238, 230), np.float32), glass)
    reveal = np.where((gy < 0.10) | (gx < 0.09), 0.60, 1.0) * np.where((gy > 0.97), 0.85, 1.0)
    canvas.fill(box, pixels * reveal[:, :, None], "window", inside)


def _draw_shutter(canvas: _Canvas, box: _Box) -> None:
    gx, gy = canvas.grid(box)
    louvres = 0.78 + 0.34 * ((gy * box.height / 0.0125) % 1.0)
    border = (gx < 0.14) | (gx > 0.86) | (gy < 0.05) | (gy > 0.95) | (np.abs(gy - 0.5) < 0.03)
    light = np.where(border, 1.06, louvres) * (1.06 - 0.14 * gx)
    canvas.fill(box, np.asarray((52, 116, 106), np.float32) * light[:, :, None], "shutter")


def _draw_flowers(canvas: _Canvas, box: _Box) -> None:
    gx, gy = canvas.grid(box)
    leaves = canvas.textures["plants"][canvas.area(box)]
    spots = (np.sin(gx * 34.0 + 1.0) * np.sin(gy * 7.0 + gx * 23.0)) > 0.45
    canvas.fill(box, np.where(spots[:, :, None], np.asarray((214, 52, 66), np.float32), leaves), "plants")


def _draw_door(canvas: _Canvas, box: _Box) -> None:
    surround = _Box(box.x0 - 0.016, box.y0 - 0.02, box.x1 + 0.016, box.y1)
    canvas.shade(surround.part(0.1, 0.02, 1.1, 1), 0.7)
    canvas.fill(surround, "cornice", "cornice")
    canvas.shade(surround.part(0, 0, 0.07, 1), 1.1)
    canvas.shade(surround.part(0, 0.07, 1, 0.09), 0.72)
    gx, gy = canvas.grid(box)
    across = np.abs(gx - 0.5) * 2.0  # alike in both leaves
    panel = (across > 0.2) & (across < 0.78) & (((gy > 0.3) & (gy < 0.6)) | ((gy > 0.66) & (gy < 0.92)))
    rim = panel & (
        (across > 0.68) | (across < 0.3) | (np.abs(gy - 0.585) < 0.02) | (np.abs(gy - 0.905) < 0.02)
    )
    grain = 1.0 + 0.05 * np.sin(gx * 70.0 + 3.0 * gy)
    light = np.where(panel, 0.86, 1.0) * np.where(rim, 0.72, 1.0) * np.where(across < 0.05, 0.5, 1.0) * grain
    wood = np.asarray((124, 74, 42), np.float32) * light[:, :, None]
    fanlight = (gy < 0.2) & (gy > 0.03) & (gx > 0.07) & (gx < 0.93) & (across > 0.06)
    sky = np.asarray((150, 176, 196), np.float32) * (1.1 - 2.2 * gy)[:, :, None]
    wood = np.where(fanlight[:, :, None], sky, wood)
    knob = (np.abs(gx - 0.58) < 0.03) & (np.abs(gy - 0.63) < 0.015)
    wood = np.where(knob[:, :, None], np.asarray((232, 196, 96), np.float32), wood)
    canvas.fill(box, wood * np.where((gy < 0.05) | (gx < 0.07), 0.6, 1.0)[:, :, None], "door")
    step = _Box(box.x0 - 0.024, box.y1 - 0.014, box.x1 + 0.024, box.y1 + 0.002)
    canvas.fill(step, "cornice", "cornice")
    canvas.shade(step.part(0, 0.5, 1, 1), 0.78)


def _draw_balcony(canvas: _Canvas, box: _Box) -> None:
    """A stone slab with an iron railing before the window, and its shadow on the wall."""
    slab = box.part(-0.02, 0.84, 1.02, 1.0)
    shadow = _Box(slab.x0 + 0.012, slab.y1, slab.x1 + 0.016, slab.y1 + 0.045)
    _, sy = canvas.grid(shadow)
    canvas.shade(shadow, np.clip(0.5 + 0.45 * sy, 0, 1))
    railing = box.part(0, 0, 1, 0.84)
    rows, columns = canvas.area(railing)
    canvas.labels[rows, columns] = _CLASSES["balcony"]
    canvas.shade(railing, 0.80)
    gx, gy = canvas.grid(railing)
    bars = (gx * railing.width / 0.0135) % 1.0 < 0.36
    rails = (gy < 0.11) | (np.abs(gy - 0.28) < 0.035) | (gy > 0.9) | (gx < 0.03) | (gx > 0.97)
    canvas.fill(railing, (38, 40, 46), mask=np.broadcast_to(bars | rails, (gy.shape[0], gx.shape[1])))
    canvas.shade(railing.part(0, 0, 1, 0.05), 1.9)
    canvas.fill(slab, "cornice", "balcony")
    canvas.shade(slab.part(0, 0, 1, 0.35), 1.1)
    canvas.shade(slab.part(0, 0.7, 1, 1), 0.7)


def _draw_ground(canvas: _Canvas, y: float) -> None:
    ground = _Box(0, y, 1, 1)
    canvas.fill(ground, "ground", "ground")
    _, gy = canvas.grid(ground)
    canvas.shade(ground, np.clip(0.62 + 1.6 * gy, 0, 1.06))
    curb = ground.part(0, 0.62, 1, 0.74)
    canvas.shade(curb, 1.16)
    road = ground.part(0, 0.74, 1, 1)
    canvas.fill(road, (92, 92, 98), "ground")
    canvas.shade(road.part(0, 0, 1, 0.3), 0.72)


def _draw_bush(canvas: _Canvas, x: float, base: float, radius: float) -> None:
    canvas.shade(_Box(x - radius * 0.7, base - 0.006, x + radius * 1.5, base + 0.012), 0.7)
    box = _Box(x - radius, base - 2.1 * radius, x + radius, base)
    gx, gy = canvas.grid(box)
    angle = np.arctan2(gy - 0.5, gx - 0.5)
    distance = np.hypot(gx - 0.5, gy - 0.5) * 2.0
    inside = distance < 0.92 + 0.07 * np.sin(angle * 9.0)
    light = np.clip(1.35 - 0.75 * np.hypot(gx - 0.3, gy - 0.22), 0.45, 1.4)
    canvas.fill(box, canvas.textures["plants"][canvas.area(box)] * light[:, :, None], "plants", inside)
