"""From the name of a data set to a folder that ``translatekit train`` reads."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from translatekit.datasets.layouts import find_images
from translatekit.errors import DataError, OptionError
from translatekit.options import closest
from translatekit.storage import cache_folder
from translatekit_tools.data.download import Progress, download
from translatekit_tools.data.recipes import RECIPES, Recipe, Remote
from translatekit_tools.data.unpack import unpack

Tell = Callable[[str], None]


def get_data(
    name: str,
    out: Path | None = None,
    *,
    cache: Path | None = None,
    url: str | None = None,
    trust: bool = False,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> Path:
    """Download a data set and lay it out.

    The folder appears under its name when it is complete.

    Args:
        name: of a recipe.
        out: the folder; ``NAME`` in the current one when not given.
        cache: where downloads are kept.
        url: another place of its file; of a data set of several files, the folder that they are in.
        trust: accept a file whose checksum is not that of the first download.
        progress: is told the bytes of the file that is being downloaded.
        tell: is told what is being done, in one line.

    Returns:
        The folder.

    Raises:
        OptionError: there is no such data set.
        DataError: it cannot be downloaded or unpacked, or the folder is there already.
    """
    recipe = RECIPES.get(name)
    if recipe is None:
        close = closest(name, RECIPES)
        hint = f"did you mean {close!r}? " if close else ""
        raise OptionError(f"there is no data set {name!r}: {hint}choose one of {', '.join(RECIPES)}")
    out = (out or Path(name)).expanduser()
    if out.exists():
        raise DataError(f"{out} exists already: move it away, or choose another folder with -o")
    cache = (cache or cache_folder()).expanduser()
    tell = tell or (lambda _: None)
    archives = [_fetch_file(recipe, remote, cache, url, trust, progress, tell) for remote in recipe.files]
    unfinished = out.with_name(f".{out.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        tell(f"Laying out {out}")
        _LAYOUTS[recipe.layout](archives, unfinished)
        top = list(unfinished.iterdir())
        alone = recipe.layout == "unpack" and len(top) == 1 and top[0].is_dir()
        (top[0] if alone else unfinished).replace(out)
    except OSError as error:
        raise DataError(
            f"{out} could not be written ({error.strerror}): free some space, or choose another folder with -o"
        ) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return out


def _fetch_file(
    recipe: Recipe,
    remote: Remote,
    cache: Path,
    url: str | None,
    trust: bool,
    progress: Progress | None,
    tell: Tell,
) -> Path:
    path = cache / remote.name
    source = remote.url
    if url is not None:
        source = url if len(recipe.files) == 1 else f"{url.rstrip('/')}/{remote.name}"
    if source:
        if not path.is_file():
            tell(f"Downloading {source}")
        return download(source, path, md5=remote.md5, trust=trust, progress=progress)
    if not path.is_file():
        raise DataError(
            f"{recipe.name} is given out only after a registration: get {remote.name} from {recipe.page} and put it "
            f"into {cache}, or name its folder with --cache"
        )
    return path


def _unpack(archives: list[Path], folder: Path) -> None:
    for archive in archives:
        unpack(archive, folder)


def _copy_into(files: list[Path], folder: Path) -> None:
    for file in files:
        shutil.copyfile(file, folder / file.name)


def _join_cityscapes(archives: list[Path], folder: Path) -> None:
    """Photographs as A and coloured label maps as B, 256x256 each, as in the pix2pix paper (Isola et al., 2017)."""
    from translatekit.images import read_levels, resize
    from translatekit_tools.prepare.layout import PairLayout, resize_nearest
    from translatekit_tools.prepare.output import JOURNAL_NAME, Made, Output
    from translatekit_tools.prepare.work import Source, work_on

    raw = folder / ".raw"
    for archive in archives:
        unpack(archive, raw)
    for split in ("train", "val"):
        photos = [path for path in find_images(raw / "leftImg8bit" / split) if "_leftImg8bit" in path.stem]
        if not photos:
            raise DataError(f"{archives[0]} holds no photographs in leftImg8bit/{split}: get the right file")
        pairs = PairLayout("side-by-side", split, ".png")

        def join(source: Source, split: str = split, pairs: PairLayout = pairs) -> Made:
            labels = raw / "gtFine" / split / source.path.parent.name / f"{source.name}_gtFine_color.png"
            photo = resize(read_levels(source.path, 3, deep=False).pixels, (256, 256))
            return pairs.encode(
                source.name, photo, resize_nearest(read_levels(labels, 3, deep=False).pixels, (256, 256))
            )

        sources = [Source(path, path.stem.replace("_leftImg8bit", "")) for path in photos]
        summary = work_on(Output(folder, photos), sources, join, {"cityscapes": split})
        if summary.failed:
            raise DataError(f"{summary.failed[0][1]} ({len(summary.failed)} of {len(photos)} pairs failed)")
    shutil.rmtree(raw)
    (folder / JOURNAL_NAME).unlink()


_LAYOUTS: dict[str, Callable[[list[Path], Path], None]] = {
    "unpack": _unpack,
    "files": _copy_into,
    "cityscapes": _join_cityscapes,
}
