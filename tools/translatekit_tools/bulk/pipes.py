"""An image in a pipe: standard input and output in place of files. Videos in pipes are `bulk.video`'s own."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from translatekit.errors import OptionError
from translatekit_tools.bulk.addresses import STANDARD
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.video.standard import StandardInput, peek_input

_STARTS = {
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"\0\0\0\x0cjP  ": ".jp2",
    b"\xff\x4f\xff\x51": ".j2k",
    **{b"P%d%c" % (kind, space): ".ppm" for kind in range(1, 7) for space in b" \t\n\r"},
}
_BRANDS = {b"avif": ".avif", b"heic": ".heic", b"heix": ".heic", b"mif1": ".heic"}


@contextlib.contextmanager
def images_in_pipes(
    inputs: Sequence[str], output: str | None, options: RunOptions
) -> Iterator[tuple[Sequence[str], str | None]]:
    """Files to work on in place of an image that comes from standard input, or goes to standard output.

    Args:
        inputs: as the user names them; ``-`` is standard input.
        output: likewise; ``-`` is standard output, to which the image is written when all went well.
        options: say whether frames without a header come in.

    Returns:
        Inputs and output, as they are where no image is in a pipe.

    Raises:
        OptionError: nobody says where the image is to go.
    """
    from translatekit_tools.bulk.kinds import kind_of

    if STANDARD not in (*inputs, output):
        yield inputs, output
        return
    with tempfile.TemporaryDirectory(prefix="translatekit-") as name:
        folder = Path(name)
        if list(inputs) == [STANDARD] and options.raw is None and (suffix := _suffix(peek_input(16))):
            if output is None:
                raise OptionError("an image from standard input has no name: pass -o with a file, or -o -")
            image = folder / f"stdin{suffix}"
            with image.open("wb") as file, contextlib.closing(StandardInput()) as stream:
                while data := stream.read(2**20):
                    file.write(data)
            inputs = [str(image)]
        made = folder / "made"
        only = Path(inputs[0]).expanduser() if len(inputs) == 1 else Path()
        if output == STANDARD and only.is_file() and kind_of(only, Path("any.mkv")).way != "video":
            output = f"{made}/"
        yield inputs, output
        for path in made.glob("[!.]*"):
            with path.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()


def _suffix(start: bytes) -> str | None:
    """The suffix of the image format that a file starts like, if any."""
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return ".webp"
    if start[4:8] == b"ftyp":
        return _BRANDS.get(start[8:12])
    return next((suffix for magic, suffix in _STARTS.items() if start.startswith(magic)), None)
