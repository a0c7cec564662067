"""A page of images: inputs, outputs and targets side by side, with figures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from translatekit.storage import write_atomically
from translatekit.training.report.page import render


@dataclass(frozen=True, kw_only=True)
class GalleryRow:
    """One example.

    Attributes:
        name: its caption.
        images: files by column title, in the order they are shown.
        figures: what was measured on it, as text by label.
    """

    name: str
    images: Mapping[str, Path]
    figures: Mapping[str, str] = field(default_factory=dict)


def write_gallery(
    path: Path,
    rows: Sequence[GalleryRow],
    title: str,
    figures: Mapping[str, str],
    *,
    summary: str = "",
    links: Mapping[str, Path] | None = None,
    commands: Mapping[str, str] | None = None,
) -> None:
    """Write a page that needs nothing but the images beside it.

    Args:
        path: the page; replaced when it exists.
        rows: the examples. Their images are linked relatively, not copied.
        title: of the page.
        figures: key figures, as text by label; a unit after the first space is set smaller.
        summary: a sentence under the title.
        links: further pages, by the text of the link.
        commands: how to go on: command lines by what they do.

    Raises:
        ModelFileError: the page cannot be written.
    """
    folder = path.parent
    page = render(
        "gallery.html",
        "translatekit_tools",
        title=title,
        summary=summary,
        figures=figures,
        rows=[_shown(row, folder) for row in rows],
        links={text: _relative(target, folder) for text, target in (links or {}).items()},
        commands=commands or {},
    )
    write_atomically(path, page.encode())


def _shown(row: GalleryRow, folder: Path) -> dict[str, Any]:
    return {
        "name": row.name,
        "images": [(column, _relative(image, folder)) for column, image in row.images.items()],
        "figures": " · ".join(f"{label} {value}" for label, value in row.figures.items()),
    }


def _relative(target: Path, folder: Path) -> str:
    return quote(Path(os.path.relpath(target, folder)).as_posix())
