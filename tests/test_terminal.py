"""What is shown on a terminal holds no control character, and what goes into a pipe is exact."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import run_program
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.terminal import native_output_captured, printable, stderr, stdout

EVIL = "a\x1b[2J\x07\r\nError: b\u202egnp.\x9b31m\udcff[/red]"
SAFE = r"a\x1b[2J\x07\r\nError: b\u202egnp.\x9b31m\xff[/red]"


def test_control_characters_are_written_out() -> None:
    assert printable(EVIL) == SAFE
    assert printable("a\tb\nc\rd", lines=True) == "a\tb\nc\\rd"


TALKATIVE = """
import logging, os, sys, warnings
from translatekit.cli import program
from translatekit.terminal import native_output_captured
try:
    program.main(sys.argv[1:])
except SystemExit:
    pass
warnings.warn("a warning of a library")
logging.getLogger("library").warning("a line of its log")
with native_output_captured():
    os.write(2, b"a line of native code\\n")
"""
LIBRARY = {"a warning of a library", "a line of its log", "a line of native code"}


@pytest.mark.parametrize(("words", "shown"), [(["plugins"], set()), (["--debug", "plugins"], LIBRARY)])
def test_what_libraries_say_is_for_developers(words: list[str], shown: set[str]) -> None:
    process = subprocess.run(
        [sys.executable, "-c", TALKATIVE, *words], capture_output=True, text=True, check=True
    )
    assert {line for line in LIBRARY if line in process.stderr} == shown


def test_what_native_code_said_is_shown_when_it_fails(capfd: pytest.CaptureFixture[str]) -> None:
    @native_output_captured()
    def fail() -> None:
        os.write(2, b"the library is missing a symbol\n")
        raise ImportError

    with pytest.raises(ImportError):
        fail()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "the library is missing a symbol\nafter\n"


@pytest.mark.parametrize("text", ["façade 窓.png", "👩\u200d🎨 .png", "می\u200cخواهم", "C:\\n\\x1b"])  # noqa: RUF001
def test_what_people_write_stands(text: str) -> None:
    assert printable(text) == text


@settings(derandomize=True, database=None, max_examples=300)
@given(st.text(st.characters(codec=None)))
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = printable(text)
    shown.encode()  # no lone surrogate
    assert shown.isprintable() or not any(
        ord(character) < 32 or 126 < ord(character) < 160 or "\u202a" <= character <= "\u202e"
        for character in shown
    )


@pytest.mark.parametrize("make", [stdout, stderr])
def test_consoles_take_nothing_for_markup_or_a_command(make, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.table import Table

    monkeypatch.setattr(sys, make.__name__, io.StringIO())
    console = make()
    table = Table(box=None)
    table.add_column(EVIL)
    table.add_row(EVIL.replace("\n", ""))
    console.print(f"skipped {EVIL}", soft_wrap=True)
    console.print(table)
    shown = console.file.getvalue()
    assert f"skipped {SAFE}\n" in shown
    assert not {"\x1b", "\x07", "\r", "\u202e", "\x9b"} & set(shown)


@pytest.fixture
def evil_model(tmp_path: Path) -> Path:
    path = tmp_path / f"{EVIL.replace('/', '|')}.safetensors"
    info = ModelInfo(
        method="m" + EVIL, generator="unet", classes=(EVIL,), data={EVIL: EVIL}, versions={EVIL: EVIL}
    )
    save_model(path, {"weight": torch.zeros(3)}, info)
    return path


def on_a_terminal(*arguments: str) -> bytes:
    """What the program writes to a terminal."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "translatekit", *arguments]
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "dumb"}
    with subprocess.Popen(command, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # all of it was read, and nobody writes any more
                break
            if not part:
                break
            shown += part
        process.wait()
    os.close(leader)
    return shown.replace(b"\r\n", b"\n")


def test_info_on_a_terminal_shows_a_hostile_header_as_text(evil_model: Path) -> None:
    shown = on_a_terminal("info", str(evil_model)).decode()
    assert not {"\x1b", "\x07", "\r", "\u202e", "\x9b"} & set(shown)
    assert r"\x1b[2J" in shown
    assert "\nError" not in shown


def test_an_error_shows_a_hostile_name_as_text(evil_model: Path) -> None:
    evil_model.write_bytes(b"no model")
    result = run_program("info", str(evil_model))
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert r"\x1b[2J" in result.stderr
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(result.stderr)


def test_names_of_written_files_are_exact_in_a_pipe_and_text_on_a_terminal(tmp_path: Path) -> None:
    code = "import sys; from translatekit.terminal import echo; echo(sys.argv[1])"
    name = os.fsencode(EVIL)
    command = [os.fsencode(sys.executable), b"-c", os.fsencode(code), name]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == name + b"\n"
    leader, follower = pty.openpty()
    subprocess.run(command, stdout=follower, check=True)
    os.close(follower)
    assert os.read(leader, 4096).replace(b"\r\n", b"\n").decode() == SAFE + "\n"
    os.close(leader)
