"""Which number stands for which class and colour, and the tables of well-known data sets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from translatekit.datasets.palette import Palette
from translatekit.errors import DataError

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Which number stands for which class and colour.

    Attributes:
        ids: numbers in [0, 255], as in index images.
        palette: name and colour of each.
    """

    ids: tuple[int, ...]
    palette: Palette

    @classmethod
    def load(cls, path: Path) -> LabelTable:
        """Read a ``palette.json``; a class's number is its ``"id"``, or its place from 0 where it has none.

        Raises:
            DataError: it is missing, damaged, or has a number twice.
        """
        palette = Palette.load(path)
        classes = json.loads(path.read_text(encoding="utf-8"))["classes"]
        ids = [item.get("id", place) for place, item in enumerate(classes)]
        if not all(isinstance(number, int) and 0 <= number <= 255 for number in ids) or len(set(ids)) < len(
            ids
        ):
            raise DataError(
                f'{path} must number its classes from 0 to 255, each once: mend the "id"s, not {ids}'
            )
        return cls(tuple(ids), palette)

    def colors_of(self, ids: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 of class numbers (H, W).

        Raises:
            DataError: a number is not in the table.
        """
        unknown = np.setdiff1d(ids, self.ids)
        if len(unknown):
            raise DataError(
                f"its number {unknown[0]} is no class of the palette: choose the right --palette, "
                "or add the class to a palette.json"
            )
        table = np.zeros((256, 3), np.uint8)
        table[list(self.ids)] = self.palette.colors
        return table[ids]

    def ids_of(self, colors: np.ndarray, exact: bool = False) -> np.ndarray:
        """(H, W) uint8 of colours (H, W, 3) uint8: the nearest, the first where classes share a colour.

        Raises:
            DataError: with `exact`, a colour is not in the table.
        """
        nearest = self.palette.nearest(colors)
        if exact and (odd := (self.palette.paint(nearest) != colors).any(2)).any():
            color = ", ".join(map(str, colors[odd][0].tolist()))
            raise DataError(
                f"{int(odd.sum())} of its pixels have no colour of the palette, such as ({color}): "
                "leave out --exact to take the nearest"
            )
        return np.array(self.ids, np.uint8)[nearest]


def _table(*classes: tuple[int, str, Rgb]) -> LabelTable:
    return LabelTable(
        tuple(number for number, _, _ in classes),
        Palette(tuple(name for _, name, _ in classes), tuple(color for _, _, color in classes)),
    )


# Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", 2016: number, number in training
# (255: not trained on), name and colour.
_CITYSCAPES: tuple[tuple[int, int, str, Rgb], ...] = (
    (0, 255, "unlabeled", (0, 0, 0)),
    (1, 255, "ego vehicle", (0, 0, 0)),
    (2, 255, "rectification border", (0, 0, 0)),
    (3, 255, "out of roi", (0, 0, 0)),
    (4, 255, "static", (0, 0, 0)),
    (5, 255, "dynamic", (111, 74, 0)),
    (6, 255, "ground", (81, 0, 81)),
    (7, 0, "road", (128, 64, 128)),
    (8, 1, "sidewalk", (244, 35, 232)),
    (9, 255, "parking", (250, 170, 160)),
    (10, 255, "rail track", (230, 150, 140)),
    (11, 2, "building", (70, 70, 70)),
    (12, 3, "wall", (102, 102, 156)),
    (13, 4, "fence", (190, 153, 153)),
    (14, 255, "guard rail", (180, 165, 180)),
    (15, 255, "bridge", (150, 100, 100)),
    (16, 255, "tunnel", (150, 120, 90)),
    (17, 5, "pole", (153, 153, 153)),
    (18, 255, "polegroup", (153, 153, 153)),
    (19, 6, "traffic light", (250, 170, 30)),
    (20, 7, "traffic sign", (220, 220, 0)),
    (21, 8, "vegetation", (107, 142, 35)),
    (22, 9, "terrain", (152, 251, 152)),
    (23, 10, "sky", (70, 130, 180)),
    (24, 11, "person", (220, 20, 60)),
    (25, 12, "rider", (255, 0, 0)),
    (26, 13, "car", (0, 0, 142)),
    (27, 14, "truck", (0, 0, 70)),
    (28, 15, "bus", (0, 60, 100)),
    (29, 255, "caravan", (0, 0, 90)),
    (30, 255, "trailer", (0, 0, 110)),
    (31, 16, "train", (0, 80, 100)),
    (32, 17, "motorcycle", (0, 0, 230)),
    (33, 18, "bicycle", (119, 11, 32)),
)

# Brostow et al., "Semantic object classes in video", 2009: the 32 classes in the order of their names.
_CAMVID: tuple[tuple[str, Rgb], ...] = (
    ("Animal", (64, 128, 64)),
    ("Archway", (192, 0, 128)),
    ("Bicyclist", (0, 128, 192)),
    ("Bridge", (0, 128, 64)),
    ("Building", (128, 0, 0)),
    ("Car", (64, 0, 128)),
    ("CartLuggagePram", (64, 0, 192)),
    ("Child", (192, 128, 64)),
    ("Column_Pole", (192, 192, 128)),
    ("Fence", (64, 64, 128)),
    ("LaneMkgsDriv", (128, 0, 192)),
    ("LaneMkgsNonDriv", (192, 0, 64)),
    ("Misc_Text", (128, 128, 64)),
    ("MotorcycleScooter", (192, 0, 192)),
    ("OtherMoving", (128, 64, 64)),
    ("ParkingBlock", (64, 192, 128)),
    ("Pedestrian", (64, 64, 0)),
    ("Road", (128, 64, 128)),
    ("RoadShoulder", (128, 128, 192)),
    ("Sidewalk", (0, 0, 192)),
    ("SignSymbol", (192, 128, 128)),
    ("Sky", (128, 128, 128)),
    ("SUVPickupTruck", (64, 128, 192)),
    ("TrafficCone", (0, 0, 64)),
    ("TrafficLight", (0, 64, 64)),
    ("Train", (192, 64, 128)),
    ("Tree", (128, 128, 0)),
    ("Truck_Bus", (192, 128, 192)),
    ("Tunnel", (64, 0, 64)),
    ("VegetationMisc", (192, 192, 0)),
    ("Void", (0, 0, 0)),
    ("Wall", (64, 192, 0)),
)

# Its 11 classes and the rest, numbered as by Badrinarayanan et al., "SegNet", 2015.
_CAMVID_11: tuple[tuple[str, Rgb], ...] = (
    ("Sky", (128, 128, 128)),
    ("Building", (128, 0, 0)),
    ("Pole", (192, 192, 128)),
    ("Road", (128, 64, 128)),
    ("Pavement", (0, 0, 192)),
    ("Tree", (128, 128, 0)),
    ("SignSymbol", (192, 128, 128)),
    ("Fence", (64, 64, 128)),
    ("Car", (64, 0, 128)),
    ("Pedestrian", (64, 64, 0)),
    ("Bicyclist", (0, 128, 192)),
    ("Unlabelled", (0, 0, 0)),
)

TABLES: dict[str, LabelTable] = {
    "camvid": _table(*((number, *item) for number, item in enumerate(_CAMVID))),
    "camvid-11": _table(*((number, *item) for number, item in enumerate(_CAMVID_11))),
    "cityscapes": _table(*((number, name, color) for number, _, name, color in _CITYSCAPES)),
    "cityscapes-train": _table(
        *((number, name, color) for _, number, name, color in _CITYSCAPES if number != 255),
        (255, "unlabeled", (0, 0, 0)),
    ),
}
"""The built-in tables, by name."""
