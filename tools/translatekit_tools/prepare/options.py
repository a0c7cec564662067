"""The options of ``translatekit prepare``, one dataclass a command; nothing heavy is imported for them."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from translatekit.config import option
from translatekit.options import LARGEST_SEED, LARGEST_SIDE
from translatekit.sizes import Box, Bytes, Size
from translatekit.types import HdrHandling, SliceAxis

Layout = Literal["side-by-side", "folders", "single"]
Format = Literal["png", "webp", "jpg"]
FormatOrKeep = Literal["keep", "png", "jpg", "webp", "tiff"]
Kind = Literal["auto", "pairs", "single", "unpaired"]
By = Literal["name", "number", "order"]


NEAR = 6
"""Bits of 64 in which the perceptual hashes of near-duplicates differ at most."""


@dataclass(frozen=True, kw_only=True)
class MakerOptions:
    """What every command that writes files can be told."""

    force: bool = option(
        False, "Do all of it again and replace what is there already; never originals.", "Output"
    )

    def recipe(self) -> dict[str, Any]:
        """The options that the files follow from."""
        return {name: value for name, value in asdict(self).items() if name != "force"}


@dataclass(frozen=True, kw_only=True)
class DatasetOptions(MakerOptions):
    """Of the commands that compute A from photographs, which are B."""

    layout: Layout = option(
        "side-by-side", "A left and B right in one file; in folders A and B; or A alone.", "Output"
    )
    split: str = option("train", "The subfolder; empty for none.", "Output")
    format: Format = option(
        "png", "Of what is encoded; all but PNG blur the colours of label maps.", "Output"
    )


@dataclass(frozen=True, kw_only=True)
class PairsOptions(MakerOptions):
    """Of ``prepare pairs``."""

    by: By = option(
        "name",
        "What makes two files a pair: equal names, the last number in their names, or their order.",
        "Matching",
    )
    strip: tuple[str, ...] = option(
        (),
        "Take this off the beginning or end of the names before they are compared, such as _label.",
        "Matching",
        metavar="TEXT",
        multiple=True,
    )
    pattern: str | None = option(
        None,
        "A regular expression; files are a pair when its groups find the same in their names.",
        "Matching",
        metavar="REGEX",
    )
    table: Path | None = option(
        None, "A CSV file of two columns: the files of A, and of B.", "Matching", metavar="FILE"
    )
    layout: Literal["side-by-side", "folders"] = option(
        "side-by-side", "A left and B right in one file, or in folders A and B.", "Output"
    )
    split: str = option("train", "The subfolder; empty for none.", "Output")
    format: Format = option(
        "png", "Of what is encoded; in folders, files that need no change are copied.", "Output"
    )
    resize_b: Literal["no", "bicubic", "nearest"] = option(
        "no",
        "Give B the size of A where they differ, by this filter; with no, such pairs are refused.",
        "Output",
    )


@dataclass(frozen=True, kw_only=True)
class SegmentOptions(DatasetOptions):
    """Of ``prepare segment``."""

    classes: int = option(8, "How many classes.", "Classes", flags=("-k", "--classes"), minimum=2, maximum=64)
    spatial: float = option(
        0.1,
        "Weight of the height in the image against the colour: 0 for colour alone; at 1, top and bottom are further "
        "apart than black and white.",
        "Classes",
        minimum=0,
        maximum=10,
    )
    smooth: float = option(
        0.002,
        "Regions smaller than this fraction of the image go to their surroundings.",
        "Classes",
        minimum=0,
        maximum=0.2,
    )
    like: Path | None = option(
        None,
        "Use the classes and the palette of a folder that was made before, instead of -k.",
        "Classes",
        metavar="DATA",
    )
    seed: int = option(0, "Of the sample and of k-means.", "Classes", minimum=0, maximum=LARGEST_SEED)


@dataclass(frozen=True, kw_only=True)
class EdgesOptions(DatasetOptions):
    """Of ``prepare edges``."""

    model: Path | None = option(
        None,
        "A model from photographs to edges, in place of Canny.",
        "Edges",
        flags=("-m", "--model"),
        metavar="MODEL",
    )
    low: float | None = option(
        None, "Canny's lower threshold; each image's own when not given.", "Edges", minimum=0
    )
    high: float | None = option(
        None, "Canny's upper threshold; each image's own when not given.", "Edges", minimum=0
    )
    blur: float = option(
        1.4,
        "Standard deviation of the Gaussian before Canny, in pixels: more, fewer edges.",
        "Edges",
        minimum=0,
        maximum=50,
    )
    white_on_black: bool = option(False, "White lines on black (with --model: inverted).", "Edges")


@dataclass(frozen=True, kw_only=True)
class CutOptions(MakerOptions):
    """Of the commands that write the same images in other sizes."""

    pairs: bool = option(False, "Each file holds two images side by side: treat both alike.", "Images")
    format: FormatOrKeep = option("keep", "Of the new files.", "Output")


@dataclass(frozen=True, kw_only=True)
class ResizeOptions(CutOptions):
    """Of ``prepare resize``."""

    size: Size | None = option(
        None,
        "The new size exactly, whatever becomes of the shape: 256, or 512x256 (width x height).",
        "Images",
    )
    short: int | None = option(
        None,
        "Of the shorter side, keeping the shape.",
        "Images",
        metavar="PIXELS",
        minimum=1,
        maximum=LARGEST_SIDE,
    )
    long: int | None = option(
        None,
        "Of the longer side, keeping the shape.",
        "Images",
        metavar="PIXELS",
        minimum=1,
        maximum=LARGEST_SIDE,
    )
    filter: Literal["bicubic", "nearest"] = option(
        "bicubic", "Nearest for label maps, whose colours must not mix.", "Images"
    )


@dataclass(frozen=True, kw_only=True)
class CropOptions(CutOptions):
    """Of ``prepare crop``."""

    size: Size | None = option(None, "Of the centre: 256, or 512x256 (width x height).", "Images")
    box: Box | None = option(
        None, "A place in pixels, such as 0,0,256,256.", "Images", metavar="LEFT,TOP,WIDTH,HEIGHT"
    )


@dataclass(frozen=True, kw_only=True)
class TileOptions(CutOptions):
    """Of ``prepare tile``."""

    size: Size = option(Size(256, 256), "Of a tile: 256, or 512x256 (width x height).", "Images")
    overlap: int = option(0, "Pixels that neighbours share.", "Images", minimum=0, maximum=LARGEST_SIDE)
    whole: bool = option(
        False,
        "Leave out what does not fill a tile, instead of moving the last tile inwards so that every pixel is in one.",
        "Images",
    )


@dataclass(frozen=True, kw_only=True)
class SplitOptions(MakerOptions):
    """Of ``prepare split``."""

    val: float = option(0.1, "Fraction of the items for validation.", "Split", minimum=0, exclusive_maximum=1)
    test: float = option(0.1, "Fraction of the items for testing.", "Split", minimum=0, exclusive_maximum=1)
    near: int = option(
        NEAR,
        "Bits of 64 in which the perceptual hashes of near-duplicates differ at most; -1 to look for none.",
        "Split",
        minimum=-1,
        maximum=32,
    )
    unpaired: bool = option(False, "A and B are two sets without pairs; split each by itself.", "Split")
    seed: int = option(0, "Another gives another split.", "Split", minimum=0, maximum=LARGEST_SEED)
    link: bool = option(False, "Make symbolic links instead of copies.", "Output")


@dataclass(frozen=True, kw_only=True)
class FramesOptions(MakerOptions):
    """Of ``prepare frames``."""

    every: int | None = option(
        None, "Each Nth frame; all when neither this nor --fps is given.", "Frames", metavar="N", minimum=1
    )
    fps: float | None = option(
        None,
        "So many frames for each second of the video's own time.",
        "Frames",
        exclusive_minimum=0,
        maximum=1000,
    )
    skip_similar: int | None = option(
        None,
        "Leave out frames whose perceptual hash differs from the last one's in so few of 64 bits, such as 6.",
        "Frames",
        metavar="BITS",
        minimum=0,
        maximum=64,
    )
    hdr: HdrHandling = option(
        "keep",
        "HDR (PQ, HLG) and BT.2020 videos with their values as they are, or tone-mapped to SDR (BT.709): as `run "
        "--hdr` will show them to the model.",
        "Frames",
    )
    format: Format = option("png", "Of the frames.", "Output")


@dataclass(frozen=True, kw_only=True)
class LabelsOptions(MakerOptions):
    """Of ``prepare labels``."""

    palette: str = option(
        MISSING,
        "camvid, camvid-11, cityscapes, cityscapes-train, or a palette.json.",
        "Labels",
        metavar="NAME|FILE",
    )
    to: Literal["colors", "ids"] = option(
        "colors", "Colours of class numbers, or numbers of colours.", "Labels"
    )
    exact: bool = option(False, "To ids: refuse colours that are not in the palette.", "Labels")


@dataclass(frozen=True, kw_only=True)
class VolumeOptions(MakerOptions):
    """Of ``prepare volume``."""

    axis: SliceAxis = option(
        "axial", "Which slices: across the body, from front to back, or from side to side.", "Slices"
    )
    every: int = option(1, "Each Nth slice.", "Slices", metavar="N", minimum=1)
    min_content: float = option(
        0.01,
        "Leave out slices of which a smaller share differs from the background, on either side.",
        "Slices",
        metavar="SHARE",
        minimum=0,
        maximum=1,
    )
    mask: Literal["none", "body"] = option(
        "none", "Write masks of the body in A too, white inside, beside the slices.", "Slices"
    )
    strip: tuple[str, ...] = option(
        (),
        "Take this off the beginning or end of the names of volumes before they are compared, such as _ct.",
        "Pairs",
        metavar="TEXT",
        multiple=True,
    )
    tolerance: float = option(
        0.1, "Millimetres that the grids of A and B may lie apart.", "Pairs", minimum=0, maximum=1000
    )
    resample: Literal["no", "linear", "nearest"] = option(
        "no",
        "Bring B onto the grid of A by their headers: linear for values, nearest for class numbers; with no, volumes "
        "on two grids are refused.",
        "Pairs",
    )
    split: str = option("train", "The subfolder; empty for none.", "Output")


@dataclass(frozen=True, kw_only=True)
class TilesOptions(MakerOptions):
    """Of ``prepare tiles``."""

    size: Size = option(Size(256, 256), "Of a tile: 256, or 512x256 (width x height).", "Tiles")
    overlap: int = option(0, "Pixels that neighbours share.", "Tiles", minimum=0, maximum=LARGEST_SIDE)
    whole: bool = option(
        False,
        "Leave out what does not fill a tile, instead of moving the last tile inwards so that every pixel is in one.",
        "Tiles",
    )
    level: int | None = option(
        None,
        "Of the pyramid: 0 for full resolution (the default), 1 for the next and so on.",
        "Tiles",
        minimum=0,
        maximum=99,
    )
    resolution: float | None = option(
        None,
        "In place of --level: micrometres a pixel of slides, or units of the coordinate system of rasters.",
        "Tiles",
        exclusive_minimum=0,
    )
    min_content: float = option(
        0.5,
        "Leave out tiles of which a smaller share is tissue (of slides: on one side or both) or holds data (on both).",
        "Background",
        metavar="SHARE",
        minimum=0,
        maximum=1,
    )
    saturation: float | None = option(
        None,
        "Of slides, tissue is what is more saturated than this; by Otsu's method from each overview when not given.",
        "Background",
        minimum=0,
        maximum=1,
    )
    strip: tuple[str, ...] = option(
        (),
        "Take this off the beginning or end of names before they are compared, such as _map.",
        "Pairs",
        metavar="TEXT",
        multiple=True,
    )
    resample_b: Literal["no", "nearest", "bilinear", "average"] = option(
        "no",
        "Bring a raster B onto the grid of A by their coordinates while it is read, or to its --resolution: nearest "
        "for class numbers; with no, two grids are refused.",
        "Pairs",
    )
    split: str = option("train", "The subfolder; empty for none.", "Output")


@dataclass(frozen=True, kw_only=True)
class ShardsOptions(MakerOptions):
    """Of ``prepare shards``."""

    kind: Literal["auto", "images", "pairs", "unpaired", "labelled"] = option(
        "auto",
        "What a sample is: a file (of a pair side by side, too), two files of equal names, one of two sets, or one in "
        "the folder of its class; auto takes pairs where there are two sides, else files.",
        "Shards",
    )
    size: Bytes = option(Bytes(256 * 10**6), "How large a shard becomes: 256MB, or 1GiB.", "Shards")
    seed: int = option(
        0,
        "Of the order in which training samples go into shards, since what is read together should be mixed.",
        "Shards",
        minimum=0,
        maximum=LARGEST_SEED,
    )


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Of ``prepare check``."""

    kind: Kind = option("auto", "What the images are; auto looks at folders and shapes.", "Data")
    near: int = option(
        NEAR,
        "Bits of 64 in which the perceptual hashes of near-duplicates differ at most; -1 to look for none.",
        "Data",
        minimum=-1,
        maximum=32,
    )
    range: str | None = option(
        None,
        "The values that training will see: those outside are counted. One for each side with A=...,B=...",
        "Data",
        metavar="LOW..HIGH",
    )
    sheet: Path | None = option(None, "Write a contact sheet, such as sheet.png.", "Output", metavar="FILE")
    force: bool = option(False, "Replace the contact sheet.", "Output")
