"""Small third-party distributions, written to a folder and really installed by pip."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

GOOD_PLUGIN = """
from translatekit.hookspecs import hookimpl
from translatekit.specs import CommandSpec, GeneratorSpec

@hookimpl
def register_generators():
    yield GeneratorSpec(name="goodnet", target="fake_good.net:GoodNet", summary="one convolution")

@hookimpl
def register_commands():
    yield CommandSpec(name="misbehave", target="fake_good.command:misbehave", summary="do as told")
    yield CommandSpec(name="nowhere", target="fake_good.missing:nowhere", summary="cannot be imported")
    yield CommandSpec(name="notacommand", target="fake_good.net:GoodNet", summary="is a network")
"""

GOOD_COMMAND = '''
import click
from translatekit.errors import DataError

@click.command()
@click.argument("how")
def misbehave(how):
    """Do as told."""
    if how == "user-error":
        raise DataError("the folder x is empty: choose another")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "exit":
        click.get_current_context().exit(3)
    click.echo(f"did {how}")
    return 7
'''

CONVOLUTION = """
import torch
from torch import nn

class {name}(nn.Module):
    size_multiple = {size_multiple}

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride={stride}, padding=1)

    def forward(self, x):
        return torch.tanh(self.conv(x))
"""

TYPO_PLUGIN = """
from translatekit.hookspecs import hookimpl

@hookimpl
def register_generator():
    return []
"""

TAKER_PLUGIN = """
from translatekit.hookspecs import hookimpl
from translatekit.specs import MethodSpec

@hookimpl
def register_methods():
    yield MethodSpec(name="pix2pix", target="fake_taker.method:Mine", options="fake_taker.options:Mine",
                     summary="mine", data="paired", generator="unet", discriminator="patch", dataset="aligned")
"""

WRONG_PLUGIN = """
from translatekit.hookspecs import hookimpl
from translatekit.specs import GeneratorSpec

@hookimpl
def register_generators():
    return [GeneratorSpec(name="halfsize", target="fake_wrong.net:HalfSize", summary="halves", size_multiple=2)]
"""

FORMAT_PLUGIN = """
from translatekit.hookspecs import hookimpl
from translatekit.specs import FormatSpec

@hookimpl
def register_formats():
    yield FormatSpec(name="plainlevels", target="fake_format.files:Open", writer="fake_format.files:encode",
                     summary="levels as bytes behind a line of text", suffixes=(".levels",),
                     signatures=((0, b"LEVELS "),), dtypes=("uint8",), channels=(1, 3))
"""

FORMAT_FILES = """
import numpy as np
from translatekit.errors import DataError
from translatekit.images import Header, Image
from translatekit.images.image import file_spec


class Open:
    def __init__(self, source):
        data = source if isinstance(source, bytes) else source.read_bytes()
        line, _, self.data = data.partition(b"\\n")
        magic, *shape = line.split()
        if magic != b"LEVELS":
            raise DataError("it does not start as such files do")
        self.shape = tuple(map(int, shape))

    def header(self, page=0):
        return Header(height=self.shape[0], width=self.shape[1], spec=file_spec(self.shape[2], "uint8", True))

    def read(self, page=0):
        pixels = np.frombuffer(self.data, np.uint8).reshape(self.shape)
        return Image(pixels=pixels, spec=self.header().spec, white=255.0)

    def close(self):
        pass


def encode(image, suffix, *, quality, compression):
    line = "LEVELS " + " ".join(map(str, image.pixels.shape)) + chr(10)
    return line.encode() + image.pixels.tobytes()
"""

FAKES: dict[str, dict[str, str]] = {
    "fake-good": {
        "plugin.py": GOOD_PLUGIN,
        "command.py": GOOD_COMMAND,
        "net.py": CONVOLUTION.format(name="GoodNet", size_multiple=1, stride=1),
    },
    "fake-format": {"plugin.py": FORMAT_PLUGIN, "files.py": FORMAT_FILES},
    "fake-raises": {"plugin.py": "raise RuntimeError('no licence found')"},
    "fake-typo": {"plugin.py": TYPO_PLUGIN},
    "fake-taker": {"plugin.py": TAKER_PLUGIN},
    "fake-wrong": {
        "plugin.py": WRONG_PLUGIN,
        "net.py": CONVOLUTION.format(name="HalfSize", size_multiple=2, stride=2),
    },
}

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.2.3"

[project.entry-points.translatekit]
plugin = "{module}.plugin"
"""


def write_fake(name: str, folder: Path) -> Path:
    """Write the sources of one of `FAKES` and return their folder."""
    module = name.replace("-", "_")
    package = folder / name / module
    package.mkdir(parents=True)
    (folder / name / "pyproject.toml").write_text(PYPROJECT.format(name=name, module=module))
    (package / "__init__.py").touch()
    for file, text in FAKES[name].items():
        (package / file).write_text(text)
    return folder / name


def pip_install(sources: list[Path], site: Path) -> None:
    """Install source folders into the folder `site`, offline."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += [
        "--no-build-isolation",
        "--disable-pip-version-check",
        "--target",
        str(site),
        *map(str, sources),
    ]
    subprocess.run(command, check=True, capture_output=True, text=True)


def run_program(
    *arguments: str, site: Path | None = None, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``translatekit`` in a process of its own, with what is installed in `site` beside the rest."""
    return run_python("-m", "translatekit", *arguments, site=site, cwd=cwd, **environment)


def run_programs(*commands: Sequence[str | Path], site: Path | None = None, cwd: Path | None = None) -> str:
    """What commands print, run one after the other in one process of their own, whose start takes longest.

    It ends at the first that fails.
    """
    code = f"""
import sys
from translatekit.cli import program
for words in {[[str(word) for word in words] for words in commands]!r}:
    try:
        program.main(words, prog_name="translatekit")
    except SystemExit as end:
        assert not end.code, words
"""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "commands.py")
        script.write_text(code)
        done = run_python(str(script), site=site, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_here(*arguments: str) -> int:
    """The exit status of ``translatekit`` in this process: most of what a process of its own takes is its start."""
    from translatekit.cli import program

    with warnings.catch_warnings():
        try:
            program.main(list(arguments), prog_name="translatekit")
        except SystemExit as end:
            return int(end.code or 0)


def run_python(
    *arguments: str, site: Path | None = None, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, with what is installed in `site` beside the rest."""
    env = {**os.environ, **environment}
    if site is not None:
        env["PYTHONPATH"] = str(site)
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env=env, check=False
    )


class Told:
    """What a user is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, result: object) -> None: ...

    def frames(self, done: int, total: int) -> None: ...

    def say(self, text: str) -> None:
        self.said.append(text)
