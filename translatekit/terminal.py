"""What people read: sentences and tables on a terminal, where no file's name and no header may take control of it.

A file's name, a model file's header and an error that quotes them can hold anything: escape sequences that repaint the
screen, line breaks that forge a message, marks that reverse the direction of writing. Programs that read a pipe, and
``--json``, get all of it exactly.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

DEBUG_VARIABLE = "TRANSLATEKIT_DEBUG"
PIPE_WIDTH = 160  # columns, where stdout is no terminal and nothing says how wide it is

# C0 and C1 controls, line and paragraph separators, bidirectional marks, embeddings, overrides and isolates,
# annotations, and the lone surrogates that stand for bytes of a file's name that are no text. What joins emoji and
# letters stays.
_CONTROLS = re.compile(
    "[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb\ud800-\udfff]"
)


def printable(text: str, *, lines: bool = False) -> str:
    r"""A text with its control characters written out, as in ``\x1b`` and ``\u202e``.

    Args:
        text: of any origin.
        lines: let line breaks and tabs stand.
    """
    return _CONTROLS.sub(lambda match: match[0] if lines and match[0] in "\n\t" else _written(match[0]), text)


def _written(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python holds a byte that is no text
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def debugging() -> bool:
    """Whether the program was asked to show what is meant for developers: tracebacks, and what libraries say."""
    return os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")


@contextmanager
def native_output_captured() -> Iterator[None]:
    """Keep back what a library's native code writes to stderr within; it is shown when it fails, or when debugging.

    Native code writes to the file descriptor itself, so that nothing in Python can filter it.
    """
    sys.stderr.flush()
    if debugging():
        yield
        return
    with tempfile.TemporaryFile() as held:
        original = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.lseek(held.fileno(), 0, os.SEEK_SET)
            os.write(original, held.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


def echo(result: str | os.PathLike[str]) -> None:
    """Print a line of results to stdout: exact in a pipe or a file, printable on a terminal."""
    import click

    data = os.fsencode(result)
    click.echo(printable(os.fsdecode(data)) if sys.stdout.isatty() else data)


def say(sentence: str) -> None:
    """Print a sentence to stderr, which people read."""
    import click

    click.echo(printable(sentence), err=True)


def stdout() -> Console:
    """A rich console on stdout that shows texts as they are, control characters written out."""
    return _console_type()(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def stderr() -> Console:
    """A rich console on stderr that shows texts as they are, control characters written out."""
    return _console_type()(stderr=True)


@cache
def _console_type() -> type[Console]:
    from rich.console import Console

    class PlainConsole(Console):
        """Takes nothing in a text for markup, an emoji or a command to the terminal."""

        def __init__(self, **settings: Any) -> None:
            super().__init__(highlight=False, markup=False, emoji=False, **settings)

        def print(self, *objects: Any, **settings: Any) -> None:
            """Print sentences, each of which stays on its line, and whatever else rich knows."""
            super().print(
                *(printable(item) if isinstance(item, str) else item for item in objects), **settings
            )

        def render_str(self, text: str, **settings: Any) -> Text:
            """Every text that is printed or stands in a table passes here."""
            return super().render_str(printable(text, lines=True), **settings)

    return PlainConsole
