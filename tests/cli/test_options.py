"""Click options made from an options dataclass."""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import rich_click as click
from click.testing import CliRunner

from translatekit.cli.options import collect, options_from_dataclass
from translatekit.config import option
from translatekit.errors import OptionError


@dataclass(kw_only=True)
class Options:
    size: int = option(256, "Pixels a side.", "Data", minimum=1, maximum=512)
    load: int | None = option(286, "Resize first.", "Data")
    rate: float = option(2e-4, "Learning rate.", "Optimization", exclusive_minimum=0)
    flip: bool = option(True, "Mirror.", "Data")
    kind: Literal["alpha", "b"] = option("alpha", "Which kind.", "Networks")
    extra: Literal["x", "y"] | None = option(None, "Which extra.", "Networks")
    network: dict[str, Any] = option({}, "Network option.", "Networks", flags=("-G",), metavar="KEY=VALUE")
    output: str | None = option(None, "Folder.", "Output", flags=("-o", "--output"))


def parse(*arguments: str, **settings: Any) -> dict[str, Any]:
    """What `collect` gives for a command line."""
    command = click.RichCommand(
        name="x", params=options_from_dataclass(Options, **settings), callback=lambda **params: params
    )
    params = command.main(list(arguments), standalone_mode=False)
    return collect(Options, params)


def test_what_is_not_set_is_absent() -> None:
    assert parse() == {}


def test_what_is_set_is_converted() -> None:
    arguments = "--size 8 --load none --rate 1e-3 --no-flip --kind b --extra none -G depth=7 -G a=b=c -o x"
    assert parse(*arguments.split()) == {
        "size": 8,
        "load": None,
        "rate": 1e-3,
        "flip": False,
        "kind": "b",
        "extra": None,
        "network": {"depth": "7", "a": "b=c"},
        "output": "x",
    }


def test_a_value_equal_to_the_default_counts_as_set() -> None:
    assert parse("--size", "256", "--flip") == {"size": 256, "flip": True}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--size", "big"], "--size must be a whole number from 1 to 512, got 'big'"),
        (["--size", "0"], "--size must be a whole number from 1 to 512, got '0'"),
        (["--rate", "0"], "--rate must be a number above 0, got '0'"),
        (["--rate", "inf"], "--rate must be a number above 0, got 'inf'"),
        (["--load", "1.5"], "--load must be a whole number or none, got '1.5'"),
        (["-G", "depth"], "-G 'depth' is not of the form key=value: write -G depth=7"),
    ],
)
def test_what_does_not_fit_is_refused_by_flag(arguments: list[str], sentence: str) -> None:
    with pytest.raises(OptionError, match=re.escape(sentence)):
        parse(*arguments)


def test_a_choice_outside_is_refused_with_a_suggestion() -> None:
    with pytest.raises(
        OptionError, match=r"--kind must be one of 'alpha', 'b', got 'alhpa': did you mean 'alpha'\?"
    ):
        parse("--kind", "alhpa")


@pytest.mark.parametrize("word", ["alpha", "ALPHA", "Alpha"])
def test_the_case_of_a_choice_does_not_matter(word: str) -> None:
    assert parse("--kind", word) == {"kind": "alpha"}


def test_skipped_fields_have_no_option() -> None:
    with pytest.raises(click.NoSuchOption):
        parse("--size", "8", skip=["size"])


def test_help_shows_groups_and_defaults_even_though_nothing_is_set() -> None:
    params = options_from_dataclass(Options, defaults={"size": 32, "network": {"norm": "instance"}})
    command = click.RichCommand(name="x", params=params, callback=lambda **_: None)
    shown = CliRunner().invoke(command, ["--help"], env={"COLUMNS": "120"}).output
    for text in (
        "─ Data ─",
        "─ Networks ─",
        "Pixels a side. [1 to 512] [default: 32]",
        "Resize first. [default: 286]",
        "Learning rate. [above 0] [default: 0.0002]",
        "--flip/--no-flip",
        "[default: flip]",
        "[alpha|b]",
        "[x|y|none]",
        "Network option. [default: norm=instance]",
        "--output  -o",
    ):
        assert text in shown
    assert re.search(r"Folder\.\s+│", shown)  # no default, so none is shown


@dataclass(kw_only=True)
class Further:
    name: str = option(MISSING, "Must be given.", "Data")
    strip: tuple[str, ...] = option((), "May be given several times.", "Data", multiple=True)
    table: Path | None = option(None, "A file.", "Data")


def command_of(options: type[Any]) -> click.RichCommand:
    return click.RichCommand(
        name="x", params=options_from_dataclass(options), callback=lambda **params: collect(options, params)
    )


def test_a_field_without_a_default_must_be_given() -> None:
    result = CliRunner().invoke(command_of(Further), [])
    assert result.exit_code == 2
    assert "Missing option '--name'" in result.output
    with pytest.raises(TypeError, match="name"):
        Further()


def test_an_option_may_be_given_several_times() -> None:
    arguments = ["--name", "x", "--strip", "_a", "--strip", "b,c"]
    assert command_of(Further).main(arguments, standalone_mode=False) == {
        "name": "x",
        "strip": ("_a", "b,c"),
    }


def test_a_path_is_a_path() -> None:
    chosen = command_of(Further).main(["--name", "x", "--table", "pairs.csv"], standalone_mode=False)
    assert chosen["table"] == Path("pairs.csv")
    with pytest.raises(OptionError, match="--table must be a path or none, got ''"):
        command_of(Further).main(["--name", "x", "--table", ""], standalone_mode=False)
