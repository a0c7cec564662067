"""Click options made from an options dataclass."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import rich_click as click
from click.testing import CliRunner

from translatekit.cli._options import collect, options_from_dataclass
from translatekit.config import option
from translatekit.errors import OptionError


@dataclass(kw_only=True)
class Options:
    size: int = option(256, "Pixels a side.", "Data")
    load: int | None = option(286, "Resize first.", "Data")
    rate: float = option(2e-4, "Learning rate.", "Optimization")
    flip: bool = option(True, "Mirror.", "Data")
    kind: Literal["a", "b"] = option("a", "Which kind.", "Networks")
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
        (["--size", "big"], "--size must be a whole number, got 'big'"),
        (["--load", "1.5"], "--load must be a whole number or none, got '1.5'"),
        (["-G", "depth"], "-G 'depth' is not of the form key=value: write -G depth=7"),
    ],
)
def test_what_does_not_fit_is_refused_by_flag(arguments: list[str], sentence: str) -> None:
    with pytest.raises(OptionError, match=re.escape(sentence)):
        parse(*arguments)


def test_a_choice_is_checked_by_click() -> None:
    with pytest.raises(click.BadParameter, match="'c' is not one of 'a', 'b'"):
        parse("--kind", "c")


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
        "Pixels a side. [default: 32]",
        "Resize first. [default: 286]",
        "Learning rate. [default: 0.0002]",
        "--flip/--no-flip",
        "[default: flip]",
        "[a|b]",
        "[x|y|none]",
        "Network option. [default: norm=instance]",
        "--output  -o",
    ):
        assert text in shown
    assert re.search(r"Folder\.\s+│", shown)  # no default, so none is shown
