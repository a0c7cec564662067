"""Label maps as class numbers and as colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from translatekit.datasets.palette import PALETTE_FILE
from translatekit.errors import DataError
from translatekit.images import MAX_PIXELS, UnreadableImageError, read_levels
from translatekit_tools.prepare.label_tables import TABLES, LabelTable
from translatekit_tools.prepare.layout import encoded, to_rgb
from translatekit_tools.prepare.options import LabelsOptions
from translatekit_tools.prepare.output import Made, Output
from translatekit_tools.prepare.work import Progress, Source, Summary, find_sources, work_on


def convert_labels(
    images: Path, out: Path, options: LabelsOptions, progress: Progress | None = None
) -> Summary:
    """Turn index images into colours, or colours into index images, as PNG.

    Args:
        images: a folder of label maps.
        out: where they go, under the same names; with colours, ``palette.json`` too.
        options: the palette, a name of `TABLES` or a ``palette.json``, and what to do with it.
        progress: is told how far it is.

    Raises:
        DataError: there is no such palette, or no images.
    """
    palette, to = options.palette, options.to
    table = TABLES[palette] if palette in TABLES else LabelTable.load(_palette_file(palette))
    sources = find_sources(images, out)
    output = Output(out, [source.path for source in sources], options.force)
    if to == "colors":
        output.write(PALETTE_FILE, table.palette.to_json().encode())

    def make(source: Source) -> Made:
        if to == "colors":
            made = table.colors_of(read_ids(source.path))
        else:
            colors = to_rgb(read_levels(source.path, deep=False).pixels)
            made = table.ids_of(colors, options.exact)[:, :, None]
        return encoded(f"{source.name}.png", made)

    recipe = {"labels": to, "ids": table.ids, "palette": table.palette.to_json(), "exact": options.exact}
    return work_on(output, sources, make, recipe, progress)


def read_ids(path: Path) -> np.ndarray:
    """The class numbers (H, W) uint8 of an index image: gray levels, or places in the file's own palette.

    Raises:
        UnreadableImageError: it cannot be decoded, or holds colours.
    """
    try:
        with Image.open(path, formats=("PNG", "TIFF", "BMP", "GIF")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            mode, ids = image.mode, np.asarray(image)
    except (UnidentifiedImageError, Image.DecompressionBombError):
        raise UnreadableImageError(
            f"{path} cannot be read: it is no index image; replace or remove it"
        ) from None
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise UnreadableImageError(f"{path} cannot be read ({error}): replace or remove it") from None
    if mode not in ("L", "P", "I", "I;16", "1") or ids.ndim != 2:
        raise UnreadableImageError(f"{path} holds colours, not class numbers: pass --to ids to get these")
    if ids.max(initial=0) > 255 or ids.min(initial=0) < 0:
        raise UnreadableImageError(
            f"{path} has the class number {ids.max()}: only those up to 255 can be coloured"
        )
    return ids.astype(np.uint8)


def _palette_file(palette: str) -> Path:
    path = Path(palette).expanduser()
    if path.suffix != ".json" and not path.exists():
        raise DataError(
            f"there is no palette {palette!r}: choose one of {', '.join(TABLES)}, or a palette.json"
        )
    return path
