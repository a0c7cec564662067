"""A page of pictures: inputs, outputs and targets side by side, with figures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from urllib.parse import quote

from translatekit.storage import write_atomically
from translatekit.training.report.page import figure_cards, html_page


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
    parts = [f"<header><h1>{escape(title)}</h1>"]
    if summary:
        parts.append(f'<p class="quiet">{escape(summary)}</p>')
    parts += ["</header>", figure_cards(figures)]
    parts.append(
        f'<h2>Results</h2><div class="gallery">{"".join(_row(row, path.parent) for row in rows)}</div>'
    )
    if links:
        items = "".join(
            f'<p><a href="{_relative(target, path.parent)}">{escape(text)}</a></p>'
            for text, target in links.items()
        )
        parts.append(f'<h2>More</h2><div class="card">{items}</div>')
    if commands:
        blocks = "".join(
            f'<p>{escape(purpose)}</p><pre tabindex="0">{escape(command)}</pre>'
            for purpose, command in commands.items()
        )
        parts.append(f'<h2>How to go on</h2><div class="card commands">{blocks}</div>')
    write_atomically(path, html_page(title, "\n".join(parts)).encode())


def _row(row: GalleryRow, folder: Path) -> str:
    images = "".join(
        f'<div><span>{escape(column)}</span><img src="{_relative(image, folder)}" loading="lazy" '
        f'alt="{escape(f"{row.name}: {column}")}"></div>'
        for column, image in row.images.items()
    )
    figures = " · ".join(f"{label} {value}" for label, value in row.figures.items())
    return (
        f'<figure class="card"><div class="images">{images}</div>'
        f"<figcaption><b>{escape(row.name)}</b><span>{escape(figures)}</span></figcaption></figure>"
    )


def _relative(target: Path, folder: Path) -> str:
    return escape(quote(Path(os.path.relpath(target, folder)).as_posix()))
