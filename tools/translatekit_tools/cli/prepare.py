"""``translatekit prepare``: from folders of images to training data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import rich_click

from translatekit.cli.options import collect, options_from_dataclass
from translatekit.errors import DataError, OptionError
from translatekit.requirements import VIDEO, require
from translatekit.storage import is_uri, local_place, shown, written_folder
from translatekit.terminal import echo, say, stderr
from translatekit_tools.prepare.options import (
    CheckOptions,
    CropOptions,
    DatasetOptions,
    EdgesOptions,
    FramesOptions,
    LabelsOptions,
    MakerOptions,
    PairsOptions,
    ResizeOptions,
    SegmentOptions,
    ShardsOptions,
    SplitOptions,
    TileOptions,
    TilesOptions,
    VolumeOptions,
)
from translatekit_tools.scale.options import ScaleOptions

if TYPE_CHECKING:
    from translatekit_tools.prepare.check import Report
    from translatekit_tools.prepare.work import Progress, Summary


_SHOWN = 20  # findings of one kind on the terminal

_output = rich_click.option(
    "-o",
    "--output",
    "out",
    required=True,
    type=click.Path(),
    metavar="OUT",
    help="The folder to write to, or its address.",
    panel="Output",
)
_json = rich_click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object of what was done to stdout.",
    panel="Output",
)


@click.group(cls=rich_click.RichGroup)
def prepare() -> None:
    """Make training data: pairs, label maps, edges, slices, tiles, splits, frames; and check it.

    Originals are only read. A rerun goes on where the last one stopped, and overwrites nothing that it did not write
    itself, unless --force is given. A file that cannot be used is named with the reason, the rest goes on, and the
    exit status is 1.
    """


def _maker(
    options_class: type[MakerOptions], doing: str, *, scales: bool = True
) -> Callable[[Callable[..., Summary]], click.Command]:
    """A command that writes files into a folder, as a decorator of what makes them.

    What is decorated takes the command's arguments, ``out``, ``options`` and ``progress``.

    Args:
        options_class: the command's options.
        doing: what it does, for the progress bar.
        scales: whether it works on each source by itself, so that a cluster can.
    """

    def decorate(make: Callable[..., Summary]) -> click.Command:
        def callback(out: str, as_json: bool, **params: Any) -> None:
            options = options_class(**collect(options_class, params))
            own = {field.name for each in (options_class, ScaleOptions) for field in fields(each)}
            given = {name: value for name, value in params.items() if name not in own}
            scale = ScaleOptions(**collect(ScaleOptions, params))
            inputs = {name: _local(value, out) for name, value in given.items()}
            with (
                written_folder(out) as folder,
                _progress(doing) as progress,
                _on(scale, [*given.values(), out]),
            ):
                if scale.on is not None:  # the workers are elsewhere
                    inputs, folder = {key: _absolute(each) for key, each in inputs.items()}, _absolute(folder)
                summary = make(**inputs, out=folder, options=options, progress=progress)
            _finish(summary, folder, shown(out), as_json)

        callback.__click_params__ = getattr(make, "__click_params__", [])  # type: ignore[attr-defined]
        callback.__doc__ = make.__doc__
        command = prepare.command(make.__name__)(_output(_json(callback)))
        if scales:
            command.params += options_from_dataclass(ScaleOptions)
        return _with_options(command, options_class)

    return decorate


def _local(given: Any, out: str) -> Any:
    """The paths of inputs; those of local copies where addresses are given.

    Raises:
        DataError: the output lies among them, where a second run would take it.
        StorageError: an address cannot be read.
    """
    if isinstance(given, tuple):
        return tuple(_local(one, out) for one in given)
    if given is not None and is_uri(given) and f"{out.rstrip('/')}/".startswith(f"{given.rstrip('/')}/"):
        raise DataError(f"the output {out} lies in {given}, whose images are read: choose a place beside it")
    return None if given is None else local_place(given)


def _absolute(path: Any) -> Any:
    return path.expanduser().absolute() if isinstance(path, Path) else path


@contextmanager
def _on(scale: ScaleOptions, places: Sequence[Any]) -> Iterator[None]:
    """Within, files are made on the cluster that was asked for, if any.

    Raises:
        OptionError: a place is in a store.
    """
    if scale.on is None:
        yield
        return
    texts = [str(place) for place in places if place is not None]
    if stored := next(filter(is_uri, texts), None):
        raise OptionError(
            f"prepare reads and writes {shown(stored)} by local copies, which the nodes of a cluster do not see: name "
            "folders that they do, or leave out --on"
        )
    from translatekit_tools.scale.prepare import prepared_on

    with prepared_on(scale, [_absolute(Path(text)) for text in texts], say):
        yield


def _with_options(command: click.Command, options_class: type[Any]) -> click.Command:
    """A command with the options of a dataclass too: arguments first, and where the output goes last."""
    params = [*options_from_dataclass(options_class), *command.params]
    command.params = sorted(params, key=_place)
    return command


def _place(param: click.Parameter) -> int:
    return 0 if isinstance(param, click.Argument) else 2 if getattr(param, "panel", None) == "Output" else 1


@_maker(PairsOptions, "Pairing")
@click.argument("a", type=click.Path())
@click.argument("b", type=click.Path())
def pairs(a: Path, b: Path, out: Path, options: PairsOptions, progress: Progress) -> Summary:
    """Join two folders whose files belong together: by their names, or numbers, order, a pattern or a table.

    Names are compared without their suffix, below A and B. What has no partner is reported and left out.
    """
    from translatekit_tools.prepare.pairs import make_pairs

    return make_pairs(a, b, out, options, progress)


@_maker(SegmentOptions, "Segmenting")
@click.argument("photos", type=click.Path())
def segment(photos: Path, out: Path, options: SegmentOptions, progress: Progress) -> Summary:
    """Make label maps of photographs by k-means over colour, with one palette for all.

    A becomes the label map and B the photograph. OUT/palette.json names the classes: edit names and colours, and run
    it again with --like OUT for another folder. Training stores the palette, and the painting page reads it.
    """
    from translatekit_tools.prepare.segment import segment_photos

    return segment_photos(photos, out, options, progress)


@_maker(EdgesOptions, "Drawing")
@click.argument("photos", type=click.Path())
def edges(photos: Path, out: Path, options: EdgesOptions, progress: Progress) -> Summary:
    """Draw the edges of photographs: A the drawing, black on white, B the photograph."""
    from translatekit_tools.prepare.convert import make_edges

    return make_edges(photos, out, options, progress)


@_maker(DatasetOptions, "Converting")
@click.argument("photos", type=click.Path())
def gray(photos: Path, out: Path, options: DatasetOptions, progress: Progress) -> Summary:
    """Make gray versions: A the gray image, B the photograph."""
    from translatekit_tools.prepare.convert import make_gray

    return make_gray(photos, out, options, progress)


@_maker(ResizeOptions, "Resizing")
@click.argument("images", type=click.Path())
def resize(images: Path, out: Path, options: ResizeOptions, progress: Progress) -> Summary:
    """Resize images."""
    from translatekit_tools.prepare.cut import resize_images

    return resize_images(images, out, options, progress)


@_maker(CropOptions, "Cropping")
@click.argument("images", type=click.Path())
def crop(images: Path, out: Path, options: CropOptions, progress: Progress) -> Summary:
    """Cut out the centre, or a box, of each image."""
    from translatekit_tools.prepare.cut import crop_images

    return crop_images(images, out, options, progress)


@_maker(TileOptions, "Tiling")
@click.argument("images", type=click.Path())
def tile(images: Path, out: Path, options: TileOptions, progress: Progress) -> Summary:
    """Cut each image into tiles, which together show all of it."""
    from translatekit_tools.prepare.cut import tile_images

    return tile_images(images, out, options, progress)


@_maker(SplitOptions, "Splitting", scales=False)
@click.argument("data", type=click.Path())
def split(data: Path, out: Path, options: SplitOptions, progress: Progress) -> Summary:
    """Copy a dataset into train, val and test, with no near-duplicates across them.

    Where an image goes depends on its contents and the seed. Pairs in folders A and B stay together.
    """
    from translatekit_tools.prepare.split import split_data

    return split_data(data, out, options, progress)


@_maker(ShardsOptions, "Writing", scales=False)
@click.argument("data", type=click.Path())
@click.argument("b", type=click.Path(), required=False)
def shards(data: Path, b: Path | None, out: Path, options: ShardsOptions, progress: Progress) -> Summary:
    """Write training data as shards: tar files of many samples, for data of very many files or that lies elsewhere.

    Files stay as they are, byte for byte. Training takes the folder of the shards as DATA, or its address. Give one
    folder as training reads it, or two, A and B.
    """
    from translatekit_tools.prepare.shards import make_shards

    return make_shards(data, b, out, options, progress)


@_maker(FramesOptions, "Extracting", scales=False)
@click.argument("videos", nargs=-1, required=True, type=click.Path(), metavar="VIDEO...")
def frames(videos: tuple[Path, ...], out: Path, options: FramesOptions, progress: Progress) -> Summary:
    """Write the frames of videos as images, upright and with square pixels."""
    require("taking frames from videos", VIDEO)
    from translatekit_tools.prepare.frames import extract_frames

    return extract_frames(videos, out, options, progress)


@_maker(LabelsOptions, "Converting")
@click.argument("images", type=click.Path())
def labels(images: Path, out: Path, options: LabelsOptions, progress: Progress) -> Summary:
    """Turn index images into coloured label maps, or back."""
    from translatekit_tools.prepare.labels import convert_labels

    return convert_labels(images, out, options, progress)


@_maker(VolumeOptions, "Slicing", scales=False)
@click.argument("a", type=click.Path())
@click.argument("b", type=click.Path(), required=False)
def volume(a: Path, b: Path | None, out: Path, options: VolumeOptions, progress: Progress) -> Summary:
    """Cut volumes into training slices: DICOM series and NIfTI files, alone or in pairs such as MR and CT.

    A and B are folders of NIfTI files, or of folders with one DICOM series each; they are matched by name. Values stay
    in their unit. Pairs must lie on one grid: same shape, spacing and place, by their headers.
    """
    from translatekit_tools.prepare.volume import make_slices

    return make_slices(a, b, out, options, progress)


@_maker(TilesOptions, "Tiling", scales=False)
@click.argument("a", type=click.Path())
@click.argument("b", type=click.Path(), required=False)
def tiles(a: Path, b: Path | None, out: Path, options: TilesOptions, progress: Progress) -> Summary:
    """Cut whole slides and GeoTIFF into training tiles, background and nodata left out.

    A and B are files or folders; with B, tiles are of the same places on both sides. Bands, dtype, coordinates and
    nodata are kept. No raster is ever read as a whole.
    """
    from translatekit_tools.prepare.tiles import make_tiles

    return make_tiles(a, b, out, options, progress)


@prepare.command()
@click.argument("data", type=click.Path())
@rich_click.option("--strict", is_flag=True, help="Warnings count as errors.", panel="Output")
@rich_click.option("--json", "as_json", is_flag=True, help="Print one JSON object.", panel="Output")
def check(data: str, as_json: bool, strict: bool, **params: Any) -> None:
    """Look at a dataset as a careful person would before training.

    Unreadable files, files without partner or of one name, pairs of two sizes or places, images without data and
    images in two splits are errors, and the exit status is 1. Near-duplicates, unusual sizes and kinds, pairs that do
    not align, empty images, values that are missing, saturated or outside of --range, and rare classes are warnings.
    """
    from translatekit_tools.prepare.check import check_data

    with _progress("Checking") as progress:
        report = check_data(local_place(data), CheckOptions(**collect(CheckOptions, params)), progress)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        _print_report(report)
    if report.errors or (strict and report.findings):
        raise SystemExit(1)


_with_options(check, CheckOptions)


def _print_report(report: Report) -> None:
    counts = ", ".join(f"{split} {count}" for split, count in report.counts.items())
    echo(f"{report.kind}: {counts}")
    sizes = [f"{size} ({count})" for size, count in list(report.sizes.items())[:5]]
    more = f" and {len(report.sizes) - 5} more" if len(report.sizes) > 5 else ""
    click.echo(f"sizes: {', '.join(sizes)}{more}")
    for side, (low, high) in report.values.items():
        echo(f"values{f' of {side}' if side else ''}: {low:g} to {high:g}")
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


def _finish(summary: Summary, folder: Path, out: str, as_json: bool) -> None:
    """Say what was done in a folder, which is shown as the place that the user named."""

    def named(text: str) -> str:
        return text.replace(str(folder), out) if is_uri(out) else text

    for path, reason in summary.failed:
        say(named(f"{path}: {reason}"))
    for note in summary.notes:
        say(named(note))
    if as_json:
        click.echo(named(json.dumps(summary.to_dict(), indent=2)))
    elif summary.written or summary.skipped:
        echo(out)
    skipped = f", {len(summary.skipped)} were there from an earlier run" if summary.skipped else ""
    failed = f", {len(summary.failed)} inputs failed" if summary.failed else ""
    click.echo(f"{len(summary.written)} files written{skipped}{failed}", err=True)
    if summary.failed:
        raise SystemExit(1)
