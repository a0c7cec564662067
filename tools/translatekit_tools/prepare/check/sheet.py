"""The contact sheet: what was found, framed, and some of the rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from translatekit_tools.prepare.check.items import Item
from translatekit_tools.prepare.check.look import THUMBNAIL, Looked
from translatekit_tools.prepare.check.report import Finding

_COLUMNS, _ROWS = 6, 6


def contact_sheet(looked: list[Looked], findings: Sequence[Finding]) -> np.ndarray:
    """What is suspicious, framed in red or orange, and some of the rest, spread over the set."""
    color: dict[Item, tuple[int, int, int]] = {}
    for finding in reversed(findings):  # errors come first, and have the last word
        for entry in looked:
            if set(entry.item) & set(finding.files):
                color[entry.item] = (220, 30, 30) if finding.level == "error" else (240, 150, 20)
    suspicious = [entry for entry in looked if entry.item in color][: _COLUMNS * _ROWS * 2 // 3]
    rest = [entry for entry in looked if entry.item not in color]
    room = min(_COLUMNS * _ROWS - len(suspicious), len(rest))
    shown = suspicious + [rest[number] for number in np.linspace(0, len(rest) - 1, room).astype(int)]
    if not shown:
        return np.full((THUMBNAIL, THUMBNAIL, 3), 255, np.uint8)
    width, height, edge = shown[0].thumbnail.shape[1], THUMBNAIL + 16, 4
    rows = -(-len(shown) // _COLUMNS)
    columns = min(_COLUMNS, len(shown))
    sheet = Image.new("RGB", (columns * (width + 2 * edge), rows * (height + 2 * edge)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, entry in enumerate(shown):
        left = number % _COLUMNS * (width + 2 * edge)
        top = number // _COLUMNS * (height + 2 * edge)
        box = (left, top, left + width + 2 * edge - 1, top + THUMBNAIL + 2 * edge - 1)
        draw.rectangle(box, fill=color.get(entry.item, (255, 255, 255)))
        sheet.paste(Image.fromarray(entry.thumbnail), (left + edge, top + edge))
        caption = f"{entry.split} {entry.item[0].name}".encode("ascii", "replace").decode()
        draw.text((left + edge, box[3] + 2), caption[: width // 6], fill="black")
    return np.asarray(sheet)
