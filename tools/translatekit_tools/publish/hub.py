"""A folder for a hub of models, such as Hugging Face's: model files, a card, pictures; and its upload."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

import translatekit
from translatekit.errors import DataError, ModelFileError, OptionError
from translatekit.images import (
    UnreadableImageError,
    encode_image,
    fit_image,
    image_of,
    is_image,
    read_image,
    resize,
)
from translatekit.images.preview import preview
from translatekit.interfaces import Progress
from translatekit.model_file import read_any_info
from translatekit.model_info import ModelInfo
from translatekit.requirements import of_extra, require
from translatekit.storage import push, repository_of
from translatekit_tools.compile.images import find_folder
from translatekit_tools.publish.card import measurement_of, read_measurement, write_card
from translatekit_tools.publish.forms import compiled, copied
from translatekit_tools.publish.model import Model, Published
from translatekit_tools.publish.options import PublishOptions
from translatekit_tools.publish.output import new_folder, size_of

CARD = "README.md"
PICTURES = 6
LARGEST = 1024
"""Pixels a side; larger images are made smaller for their picture."""
_HEIGHT = 320  # pixels, of a picture in the card
_GAP = 8


def publish(model: Model, out: Path | None, options: PublishOptions, progress: Progress) -> Published:
    """Write the folder, and upload it where that is asked for.

    Args:
        model: what is published.
        out: the folder; None where it is uploaded and kept nowhere else.
        options: those of ``translatekit publish``.
        progress: told what is being done.

    Raises:
        TranslatekitError: the model cannot be published so, or a place cannot be written.
    """
    if model.info.source == "latent":
        raise ModelFileError(
            f"{model.path} draws images from noise and translates none: upload the file by the hub's own program"
        )
    if options.precision is not None and not options.runtimes:
        raise OptionError(
            f"--precision {options.precision} is for what is compiled, and --for names no runtime: pass --for "
            "onnxruntime or another too, or leave it out"
        )
    if options.push is not None:
        repository_of(options.push)
        require("an upload to the Hugging Face Hub", of_extra("hf", "huggingface_hub"))
    with _folder(out) as place:
        with new_folder(place, "hub", CARD, options.force) as made:
            notes = _write(made, model, options, progress)
            names = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
        size = size_of(place)
        if options.push is None:
            assert out is not None
            return Published(path=out, kind="hub", bytes=size, notes=(*notes, *_upload_by_hand(out)))
        progress(f"uploading to {options.push}", None)
        files = {name: place / name for name in names}  # and nothing that others have put there
        url = push(
            options.push,
            files,
            f"{model.name}, by translatekit",
            private=options.private,
            force=options.force,
        )
    details = {"url": url, "files": names}
    return Published(
        path=options.push, kind="hub", bytes=size, details=details, notes=(*notes, f"It is at {url}")
    )


def _write(folder: Path, model: Model, options: PublishOptions, progress: Progress) -> list[str]:
    """Write all files into a folder; what is to be said about them."""
    measured = (
        measurement_of(model.info) if options.figures is None else read_measurement(Path(options.figures))
    )
    forms = [copied(model.path, model.info, folder / f"model{model.path.suffix}")]
    for other in model.others:
        name = f"model{other.stem.removeprefix(model.path.stem)}{other.suffix}"
        forms.append(copied(other, read_any_info(other), folder / name))
    for backend in options.runtimes or ():
        form = compiled(model, backend, folder, options, progress)
        if all(form.path != each.path for each in forms):
            forms.append(form)
    progress("translating samples", None)
    model = replace(model, info=model.info.whole)  # as people and samples meet it
    pictures, notes = _samples(folder, model, options)
    address = options.push or "hf://USER/NAME"
    card = write_card(model, forms, pictures, measured, options, address)
    (folder / CARD).write_text(card, encoding="utf-8")
    if options.licence is None:
        notes.append("The card says that the licence is unknown: pass --licence, such as --licence cc-by-4.0")
    if measured is None:
        notes.append("The card has no figures: pass --figures with what translatekit evaluate --json prints")
    return notes


def _samples(folder: Path, model: Model, options: PublishOptions) -> tuple[list[tuple[str, str]], list[str]]:
    """Write pictures; their names with what they show, and what is to be said about them."""
    if options.samples == "off":
        return [], []
    if options.samples is None:
        newest = _newest_samples(model.path.parent)
        if newest is None:
            return [], ["The card shows no pictures: pass --samples with a folder of images to translate"]
        (folder / "samples").mkdir()
        name = f"samples/training{newest.suffix}"
        (folder / name).write_bytes(newest.read_bytes())
        shows = "Samples of the training: what goes in, what the model made of it, and what was wanted."
        said = f"The card shows {newest.name} of the run, which holds images of its data: see that they may be shown"
        return [(name, shows)], [said]
    files = [path for path in sorted(find_folder(options.samples).rglob("*")) if is_image(path)]
    pictures = list(_translated(model, files))
    if not pictures:
        raise DataError(
            f"the folder {options.samples} holds no images that can be read: name another for --samples"
        )
    (folder / "samples").mkdir()
    named = []
    for number, pixels in enumerate(pictures, start=1):
        name = f"samples/{number}.png"
        (folder / name).write_bytes(encode_image(image_of(pixels), ".png"))
        named.append((name, "What goes in, on the left, and what the model makes of it."))
    return named, []


def _translated(model: Model, files: Sequence[Path]) -> Iterator[np.ndarray]:
    """Pictures of inputs beside their translations, uint8."""
    shapes = model.info.compiled.get("shapes", "any")
    size = shapes if isinstance(shapes, str) and shapes[0].isdigit() and " " not in shapes else None
    with translatekit.open(model.path, size=size) as predictor:
        for taken in islice(_inputs(files, model.info), PICTURES):
            (given,) = predictor.predict([taken])
            yield _side_by_side([preview(taken, model.info.input), preview(given, model.info.output)])


def _inputs(files: Sequence[Path], info: ModelInfo) -> Iterator[np.ndarray]:
    """What the model takes of files that can be read, made smaller where they are large."""
    for file in files:
        try:
            pixels = fit_image(read_image(file), info.input, str(file))
        except UnreadableImageError:
            continue
        pixels = np.tile(pixels, (1, 1, info.input.slices))
        scale = min(1.0, LARGEST / max(pixels.shape[:2]))
        if scale < 1:
            height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
            pixels = resize(pixels, (height, width), info.input)
        yield pixels


def _side_by_side(images: Sequence[np.ndarray]) -> np.ndarray:
    height, width = images[1].shape[:2]
    shown = min(height, _HEIGHT)
    size = (shown, max(1, round(width * shown / height)))
    images = [image if image.shape[:2] == size else resize(image, size) for image in images]
    gap = np.full((images[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.ascontiguousarray(np.concatenate([images[0], gap, *images[1:]], axis=1))


def _newest_samples(run: Path) -> Path | None:
    """The last picture that a training wrote."""
    return max((run / "samples").glob("*.png"), default=None, key=lambda path: path.stat().st_mtime)


@contextlib.contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="translatekit-") as name:
        yield Path(name) / "hub"


def _upload_by_hand(out: Path) -> tuple[str, ...]:
    return (
        f"Look at {out / CARD}, and upload the folder with --push hf://user/name or hf upload user/name {out}",
    )
