"""Where links in a folder of outputs lead: by them, an output must replace no input and no other output."""

from __future__ import annotations

import os
from pathlib import Path

from translatekit_tools.bulk.manifest import Manifest


class OutputFolders:
    """The folders that outputs go to, each looked at once.

    Names alone do not tell that an output is an input where a folder below that of the outputs is a link, or one folder
    has two names. What is there then is left alone, even by ``--force``, unless an earlier run has written it.

    Args:
        manifest: of the outputs, which are files of this machine.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._root = os.path.realpath(manifest.folder)
        self._names: dict[str, str] = {}  # of each folder, the one that outputs go there by
        self._known: dict[
            str, tuple[str, bool]
        ] = {}  # of each name, the folder, and whether it may hold inputs
        self._input_folder = ""
        self._inputs: set[tuple[int, int]] = set()

    def problem(self, source: str | Path, output: Path) -> str | None:
        """Why an output must not be written; None where it may be.

        Args:
            source: the input, a file or folder of this machine.
            output: the file that is made of it.
        """
        source_folder, folder = os.path.dirname(source), os.path.dirname(output)  # noqa: PTH120 (for each file)
        if source_folder != self._input_folder:
            self._input_folder = source_folder
            self._inputs |= _identity(source_folder)
        if (known := self._known.get(folder)) is None:
            known = self._known[folder] = self._look(folder)
        real, may_hold_inputs = known
        if (other := self._names[real]) != folder:
            return f"the output folder {folder} is a link to {other}, where other outputs go: remove the link"
        is_link = os.path.islink(source)  # noqa: PTH114 (for each file)
        if is_link and Path(os.path.realpath(source)) == Path(real, output.name):
            return f"the output {output} would overwrite an input: pass --suffix, or another folder with -o"
        if may_hold_inputs and os.path.lexists(output) and self._manifest.source_of(output) is None:
            return (
                f"the output {output} would overwrite a file in {real}, which a link leads to or inputs are in: "
                "pass --suffix, or another folder with -o"
            )
        return None

    def _look(self, folder: str) -> tuple[str, bool]:
        real = os.path.realpath(folder)
        self._names.setdefault(real, folder)
        below = os.path.relpath(folder, self._manifest.folder)
        expected = os.path.normpath(os.path.join(self._root, below))  # noqa: PTH118
        return real, real != expected or bool(self._inputs & _identity(real))


def _identity(folder: str) -> set[tuple[int, int]]:
    """What a folder is, by whatever name; nothing where there is none yet."""
    try:
        status = os.stat(folder or os.curdir)  # noqa: PTH116
    except OSError:
        return set()
    return {(status.st_dev, status.st_ino)}
