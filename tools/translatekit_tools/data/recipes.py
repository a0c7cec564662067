"""Where well-known data sets are, and how they become folders that ``translatekit train`` reads.

A checksum stands here only where it is publicly documented. For the other archives, the one of the first download
is kept beside it, and later downloads must equal that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Layout = Literal["unpack", "files", "cityscapes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A file to download.

    Attributes:
        url: http or https; empty for one that its owner gives out only after a registration.
        name: of the file.
        md5: its checksum where that is published.
    """

    url: str
    name: str
    md5: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A data set.

    Attributes:
        name: what the user types.
        summary: one line.
        files: to download.
        size: of the download, in words.
        layout: ``unpack`` an archive, whose one top folder is left out; keep the ``files`` as they are; or join the
            photographs and label maps of ``cityscapes``.
        train: the command that trains on it, to be shown; DATA stands for the folder.
        page: its home, where its terms are stated.
    """

    name: str
    summary: str
    files: tuple[Remote, ...]
    size: str
    layout: Layout
    train: str
    page: str


_PIX2PIX = "http://efrosgans.eecs.berkeley.edu/pix2pix/datasets"
_CYCLEGAN = "http://efrosgans.eecs.berkeley.edu/cyclegan/datasets"
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
_PIX2PIX_PAGE = "https://phillipi.github.io/pix2pix/"
_CITYSCAPES_PAGE = "https://www.cityscapes-dataset.com/downloads/"


def _pix2pix(name: str, summary: str, size: str, direction: str) -> Recipe:
    return Recipe(
        name=name,
        summary=summary,
        files=(Remote(url=f"{_PIX2PIX}/{name}.tar.gz", name=f"{name}.tar.gz"),),
        size=size,
        layout="unpack",
        train=f"translatekit train pix2pix DATA --direction {direction}",
        page=_PIX2PIX_PAGE,
    )


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        _pix2pix("facades", "606 facades with label maps, side by side", "30 MB", "BtoA"),
        _pix2pix("maps", "2194 aerial photographs with maps, side by side", "250 MB", "AtoB"),
        _pix2pix("edges2shoes", "50,000 drawings of edges with shoes, side by side", "2 GB", "AtoB"),
        Recipe(
            name="cityscapes",
            summary="3475 street scenes with label maps; needs a registration",
            files=(
                Remote(url="", name="leftImg8bit_trainvaltest.zip"),
                Remote(url="", name="gtFine_trainvaltest.zip"),
            ),
            size="11 GB",
            layout="cityscapes",
            train="translatekit train pix2pix DATA --direction BtoA",
            page=_CITYSCAPES_PAGE,
        ),
        Recipe(
            name="horse2zebra",
            summary="1067 photographs of horses and 1334 of zebras, unpaired",
            files=(Remote(url=f"{_CYCLEGAN}/horse2zebra.zip", name="horse2zebra.zip"),),
            size="110 MB",
            layout="unpack",
            train="translatekit train cyclegan DATA",
            page="https://junyanz.github.io/CycleGAN/",
        ),
        Recipe(
            name="mnist",
            summary="70,000 handwritten digits with their classes",
            files=tuple(
                Remote(url=f"{_MNIST}/{name}-ubyte.gz", name=f"{name}-ubyte.gz", md5=md5)
                for name, md5 in (
                    ("train-images-idx3", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
                    ("train-labels-idx1", "d53e105ee54ea40749a09fcbcd1e9432"),
                    ("t10k-images-idx3", "9fb629c4189551a2d022fa330f9573f3"),
                    ("t10k-labels-idx1", "ec29112dd5afa0611ce80d1b7f02629c"),
                )
            ),
            size="12 MB",
            layout="files",
            train="translatekit train cgan DATA",
            page="http://yann.lecun.com/exdb/mnist/",
        ),
    )
}
"""By name."""
