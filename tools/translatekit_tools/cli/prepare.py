"""``translatekit prepare``: from folders of images to training data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
import rich_click

from translatekit.cli.options import value_option
from translatekit.options import LARGEST_SEED, LARGEST_SIDE
from translatekit.sizes import Box, Size
from translatekit.terminal import echo, say, stderr

if TYPE_CHECKING:
    from translatekit_tools.prepare.check import Report
    from translatekit_tools.prepare.work import Progress, Summary

F = TypeVar("F", bound=Callable[..., Any])

_PATH = click.Path(path_type=Path)
_SHOWN = 20  # findings of one kind on the terminal
Format = Literal["keep", "png", "jpg", "webp", "tiff"]


def _together(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_output = _together(
    rich_click.option(
        "-o", "--output", "out", required=True, type=_PATH, metavar="OUT", help="The folder to write to."
    ),
    rich_click.option(
        "--force", is_flag=True, help="Do all of it again and replace what is there already; never originals."
    ),
    rich_click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object of what was done to stdout."
    ),
)
_dataset = _together(
    value_option(
        "--layout",
        annotation=Literal["side-by-side", "folders", "single"],
        default="side-by-side",
        help="A left and B right in one file; in folders A and B; or A alone.",
    ),
    rich_click.option(
        "--split",
        default="train",
        show_default=True,
        help="The subfolder; empty for none.",
    ),
    value_option(
        "--format",
        annotation=Literal["png", "webp", "jpg"],
        default="png",
        help="Of what is encoded; all but PNG blur the colours of label maps.",
    ),
)
_images = _together(
    rich_click.option(
        "--pairs", is_flag=True, help="Each file holds two images side by side: treat both alike."
    ),
    value_option("--format", annotation=Format, default="keep", help="Of the new files."),
)


@click.group(cls=rich_click.RichGroup)
def prepare() -> None:
    """Make training data: pairs, label maps, edges, tiles, splits, frames; and check it.

    Originals are only read. A rerun goes on where the last one stopped, and overwrites nothing that it did not write
    itself, unless --force is given. A file that cannot be used is named with the reason, the rest goes on, and the
    exit status is 1.
    """


@prepare.command()
@click.argument("a", type=_PATH)
@click.argument("b", type=_PATH)
@value_option(
    "--by",
    annotation=Literal["name", "number", "order"],
    default="name",
    help="What makes two files a pair: equal names, the last number in their names, or their order.",
)
@rich_click.option(
    "--strip",
    multiple=True,
    metavar="TEXT",
    help="Take this off the beginning or end of the names before they are compared, such as _label.",
)
@rich_click.option(
    "--pattern",
    metavar="REGEX",
    help="A regular expression; files are a pair when its groups find the same in their names.",
)
@rich_click.option(
    "--table", type=_PATH, metavar="FILE", help="A CSV file of two columns: the files of A, and of B."
)
@value_option(
    "--layout",
    annotation=Literal["side-by-side", "folders"],
    default="side-by-side",
    help="A left and B right in one file, or in folders A and B.",
)
@rich_click.option("--split", default="train", show_default=True, help="The subfolder; empty for none.")
@value_option(
    "--format",
    annotation=Literal["png", "webp", "jpg"],
    default="png",
    help="Of what is encoded; in folders, files that need no change are copied.",
)
@value_option(
    "--resize-b",
    annotation=Literal["no", "bicubic", "nearest"],
    default="no",
    help="Give B the size of A where they differ, by this filter; with no, such pairs are refused.",
)
@_output
def pairs(a: Path, b: Path, as_json: bool, **options: Any) -> None:
    """Join two folders whose files belong together: by their names, or numbers, order, a pattern or a table.

    Names are compared without their suffix, below A and B. What has no partner is reported and left out.
    """
    from translatekit_tools.prepare.pairs import make_pairs

    with _progress("Pairing") as progress:
        summary = make_pairs(a, b, progress=progress, **options)
    _finish(summary, options["out"], as_json)


@prepare.command()
@click.argument("photos", type=_PATH)
@value_option("-k", "--classes", annotation=int, minimum=2, maximum=64, default=8, help="How many classes.")
@value_option(
    "--spatial",
    annotation=float,
    minimum=0,
    maximum=10,
    default=0.1,
    help="Weight of the height in the image against the colour: 0 for colour alone.",
)
@value_option(
    "--smooth",
    annotation=float,
    minimum=0,
    maximum=0.2,
    default=0.002,
    help="Regions smaller than this fraction of the image go to their surroundings.",
)
@rich_click.option(
    "--like",
    type=_PATH,
    metavar="DATA",
    help="Use the classes and the palette of a folder that was made before, instead of -k.",
)
@value_option(
    "--seed", annotation=int, minimum=0, maximum=LARGEST_SEED, default=0, help="Of the sample and of k-means."
)
@_dataset
@_output
def segment(photos: Path, as_json: bool, **options: Any) -> None:
    """Make label maps of photographs by k-means over colour, with one palette for all.

    A becomes the label map and B the photograph. OUT/palette.json names the classes: edit names and colours, and run
    it again with --like OUT for another folder. Training stores the palette, and the painting page reads it.
    """
    from translatekit_tools.prepare.segment import segment as run

    with _progress("Segmenting") as progress:
        summary = run(photos, progress=progress, **options)
    _finish(summary, options["out"], as_json)


@prepare.command()
@click.argument("photos", type=_PATH)
@rich_click.option(
    "-m", "--model", type=_PATH, metavar="MODEL", help="A model from photographs to edges, in place of Canny."
)
@value_option(
    "--low", annotation=float, minimum=0, help="Canny's lower threshold; each image's own when not given."
)
@value_option(
    "--high", annotation=float, minimum=0, help="Canny's upper threshold; each image's own when not given."
)
@value_option(
    "--blur",
    annotation=float,
    minimum=0,
    maximum=50,
    default=1.4,
    help="Pixels of blur before Canny: more, fewer edges.",
)
@rich_click.option("--white-on-black", is_flag=True, help="White lines on black (with --model: inverted).")
@_dataset
@_output
def edges(photos: Path, as_json: bool, **options: Any) -> None:
    """Draw the edges of photographs: A the drawing, black on white, B the photograph."""
    from translatekit_tools.prepare.convert import make_edges

    with _progress("Drawing") as progress:
        summary = make_edges(photos, progress=progress, **options)
    _finish(summary, options["out"], as_json)


@prepare.command()
@click.argument("photos", type=_PATH)
@_dataset
@_output
def gray(photos: Path, as_json: bool, **options: Any) -> None:
    """Make gray versions: A the gray image, B the photograph."""
    from translatekit_tools.prepare.convert import make_gray

    with _progress("Converting") as progress:
        summary = make_gray(photos, progress=progress, **options)
    _finish(summary, options["out"], as_json)


@prepare.command()
@click.argument("images", type=_PATH)
@value_option("--size", annotation=Size, help="The new size exactly: 256, or 512x256 (width x height).")
@value_option(
    "--short",
    annotation=int,
    minimum=1,
    maximum=LARGEST_SIDE,
    metavar="PIXELS",
    help="Of the shorter side, keeping the shape.",
)
@value_option(
    "--long",
    annotation=int,
    minimum=1,
    maximum=LARGEST_SIDE,
    metavar="PIXELS",
    help="Of the longer side, keeping the shape.",
)
@value_option(
    "--filter",
    annotation=Literal["bicubic", "nearest"],
    default="bicubic",
    help="Nearest for label maps, whose colours must not mix.",
)
@_images
@_output
def resize(images: Path, as_json: bool, **options: Any) -> None:
    """Resize images."""
    from translatekit_tools.prepare.cut import resize_images

    with _progress("Resizing") as progress:
        summary = resize_images(images, progress=progress, **options)
    _finish(summary, options["out"], as_json)


@prepare.command()
@click.argument("images", type=_PATH)
@value_option("--size", annotation=Size, help="Of the centre: 256, or 512x256 (width x height).")
@value_option(
    "--box", annotation=Box, metavar="LEFT,TOP,WIDTH,HEIGHT", help="A place in pixels, such as 0,0,256,256."
)
@_images
@_output
def crop(images: Path, as_json: bool, **options: Any) -> None:
    """Cut out the centre, or a box, of each image."""
    from translatekit_tools.prepare.cut import crop_images

    with _progress("Cropping") as progress:
        summary = crop_images(images, progress=progress, **options)
    _finish(summary, options["out"], as_json)


@prepare.command()
@click.argument("images", type=_PATH)
@value_option(
    "--size",
    annotation=Size,
    default="256",
    help="Of a tile: 256, or 512x256 (width x height).",
)
@value_option(
    "--overlap",
    annotation=int,
    minimum=0,
    maximum=LARGEST_SIDE,
    default=0,
    help="Pixels that neighbours share.",
)
@rich_click.option(
    "--whole", is_flag=True, help="Leave out the rest instead of moving the last tile inwards."
)
@_images
@_output
def tile(images: Path, as_json: bool, **options: Any) -> None:
    """Cut each image into tiles, which together show all of it."""
    from translatekit_tools.prepare.cut import tile_images

    with _progress("Tiling") as progress:
        summary = tile_images(images, progress=progress, **options)
    _finish(summary, options["out"], as_json)


@prepare.command()
@click.argument("data", type=_PATH)
@value_option(
    "--val", annotation=float, minimum=0, exclusive_maximum=1, default=0.1, help="Fraction for validation."
)
@value_option(
    "--test", annotation=float, minimum=0, exclusive_maximum=1, default=0.1, help="Fraction for testing."
)
@value_option(
    "--near",
    annotation=int,
    minimum=-1,
    maximum=32,
    default=6,
    help="Bits of 64 in which the perceptual hashes of near-duplicates differ at most; -1 to look for none.",
)
@rich_click.option(
    "--unpaired", is_flag=True, help="A and B are two sets without pairs; split each by itself."
)
@rich_click.option("--link", is_flag=True, help="Make symbolic links instead of copies.")
@value_option(
    "--seed", annotation=int, minimum=0, maximum=LARGEST_SEED, default=0, help="Another gives another split."
)
@_output
def split(data: Path, as_json: bool, **options: Any) -> None:
    """Copy a dataset into train, val and test, with no near-duplicates across them.

    Where an image goes depends on its contents and the seed. Pairs in folders A and B stay together.
    """
    from translatekit_tools.prepare.split import split_data

    with _progress("Splitting") as progress:
        summary = split_data(data, progress=progress, **options)
    _finish(summary, options["out"], as_json)


@prepare.command()
@click.argument("videos", nargs=-1, required=True, type=_PATH, metavar="VIDEO...")
@value_option(
    "--every",
    annotation=int,
    minimum=1,
    metavar="N",
    help="Each Nth frame; all when neither this nor --fps is given.",
)
@value_option(
    "--fps",
    annotation=float,
    exclusive_minimum=0,
    maximum=1000,
    help="So many frames for each second of the video.",
)
@value_option(
    "--skip-similar",
    annotation=int,
    minimum=0,
    maximum=64,
    metavar="BITS",
    help="Leave out frames whose perceptual hash differs from the last one's in so few of 64 bits, such as 6.",
)
@value_option(
    "--format",
    annotation=Literal["png", "jpg", "webp"],
    default="png",
    help="Of the frames.",
)
@_output
def frames(videos: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Write the frames of videos as images, upright and with square pixels."""
    from translatekit_tools.prepare.frames import extract_frames

    with _progress("Extracting") as progress:
        summary = extract_frames(videos, progress=progress, **options)
    _finish(summary, options["out"], as_json)


@prepare.command()
@click.argument("images", type=_PATH)
@rich_click.option(
    "--palette",
    required=True,
    metavar="NAME|FILE",
    help="camvid, camvid-11, cityscapes, cityscapes-train, or a palette.json.",
)
@value_option(
    "--to",
    annotation=Literal["colors", "ids"],
    default="colors",
    help="Colours of class numbers, or numbers of colours.",
)
@rich_click.option("--exact", is_flag=True, help="To ids: refuse colours that are not in the palette.")
@_output
def labels(images: Path, as_json: bool, **options: Any) -> None:
    """Turn index images into coloured label maps, or back."""
    from translatekit_tools.prepare.labels import convert_labels

    with _progress("Converting") as progress:
        summary = convert_labels(images, progress=progress, **options)
    _finish(summary, options["out"], as_json)


@prepare.command()
@click.argument("data", type=_PATH)
@value_option(
    "--kind",
    annotation=Literal["auto", "pairs", "single", "unpaired"],
    default="auto",
    help="What the images are; auto looks at folders and shapes.",
)
@value_option(
    "--near",
    annotation=int,
    minimum=-1,
    maximum=32,
    default=6,
    help="Bits of 64 in which the perceptual hashes of near-duplicates differ at most; -1 to look for none.",
)
@rich_click.option("--sheet", type=_PATH, metavar="FILE", help="Write a contact sheet, such as sheet.png.")
@rich_click.option("--force", is_flag=True, help="Replace the contact sheet.")
@rich_click.option("--strict", is_flag=True, help="Warnings count as errors.")
@rich_click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(data: Path, as_json: bool, strict: bool, **options: Any) -> None:
    """Look at a dataset as a careful person would before training.

    Unreadable files, files without partner, pairs of two sizes and images in two splits are errors, and the exit
    status is 1. Near-duplicates, unusual sizes, pairs that do not align and rare classes are warnings.
    """
    from translatekit_tools.prepare.check import check_data

    with _progress("Checking") as progress:
        report = check_data(data, progress=progress, **options)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        _print_report(report)
    if report.errors or (strict and report.findings):
        raise SystemExit(1)


def _print_report(report: Report) -> None:
    counts = ", ".join(f"{split} {count}" for split, count in report.counts.items())
    echo(f"{report.kind}: {counts}")
    sizes = [f"{size} ({count})" for size, count in list(report.sizes.items())[:5]]
    more = f" and {len(report.sizes) - 5} more" if len(report.sizes) > 5 else ""
    click.echo(f"sizes: {', '.join(sizes)}{more}")
    for side, classes in report.classes.items():
        parts = ", ".join(f"{name} {100 * part:.1f}%" for name, part in classes.items())
        echo(f"classes of {side}: {parts}")
    shown: dict[str, int] = {}
    for finding in report.findings:
        shown[finding.kind] = shown.get(finding.kind, 0) + 1
        if shown[finding.kind] <= _SHOWN:
            echo(f"{finding.level}: {finding.text}")
    for kind, count in shown.items():
        if count > _SHOWN:
            click.echo(f"{kind}: {count - _SHOWN} more, all of them with --json")
    if report.sheet is not None:
        echo(f"contact sheet: {report.sheet}")
    errors = len(report.errors)
    click.echo(f"{errors} errors, {len(report.findings) - errors} warnings")


@contextmanager
def _progress(what: str) -> Iterator[Progress]:
    """A bar on stderr, where that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = stderr()
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("", total=None)
    try:
        with bar:
            yield lambda done, total: bar.update(task, completed=done, total=total)
    except KeyboardInterrupt:
        click.echo(
            "Interrupted: every file that was written is whole; the same command goes on from there.",
            err=True,
        )
        raise click.Abort from None


def _finish(summary: Summary, out: Path, as_json: bool) -> None:
    for path, reason in summary.failed:
        say(f"{path}: {reason}")
    for note in summary.notes:
        say(note)
    if as_json:
        click.echo(json.dumps(summary.to_dict(), indent=2))
    elif summary.written or summary.skipped:
        echo(out)
    skipped = f", {len(summary.skipped)} were there from an earlier run" if summary.skipped else ""
    failed = f", {len(summary.failed)} inputs failed" if summary.failed else ""
    click.echo(f"{len(summary.written)} files written{skipped}{failed}", err=True)
    if summary.failed:
        raise SystemExit(1)
