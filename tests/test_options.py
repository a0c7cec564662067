"""Options: read from text, checked against annotations, refused by name."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from translatekit.errors import OptionError, PluginError
from translatekit.options import check_options, convert, describe, option_types, parse_assignments


class Thing:
    def __init__(
        self,
        in_channels: int,
        *,
        depth: int = 8,
        norm: Literal["batch", "none"] = "batch",
        dropout: float | None = 0.5,
        blocks: tuple[int, ...] = (),
        bias: bool = True,
        name: str = "",
        **others: Any,
    ) -> None: ...


def test_assignments_are_split_at_the_first_equals_sign() -> None:
    assert parse_assignments(["depth=7", "a-b=c=d", " x = y "], "-G") == {
        "depth": "7",
        "a_b": "c=d",
        "x": "y",
    }


@pytest.mark.parametrize("text", ["depth", "=7", ""])
def test_what_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match=r"-G .* is not of the form key=value: write -G depth=7"):
        parse_assignments([text], "-G")


def test_the_options_are_the_keyword_arguments_and_nothing_else() -> None:
    assert list(option_types(Thing, skip=["in_channels"])) == [
        "depth",
        "norm",
        "dropout",
        "blocks",
        "bias",
        "name",
    ]


def test_text_becomes_what_the_annotations_say() -> None:
    given = {"depth": "7", "norm": "none", "dropout": "none", "blocks": "1,2", "bias": "off", "name": "none"}
    assert check_options(Thing, given, "generator 'x'", skip=["in_channels"]) == {
        "depth": 7,
        "norm": "none",
        "dropout": None,
        "blocks": (1, 2),
        "bias": False,
        "name": "none",
    }


def test_values_are_kept() -> None:
    given = {"depth": 7, "dropout": 1, "blocks": [1, 2], "bias": True}
    assert check_options(Thing, given, "x") == {"depth": 7, "dropout": 1.0, "blocks": (1, 2), "bias": True}


def test_an_unknown_option_is_refused_by_name_though_the_target_takes_any() -> None:
    with pytest.raises(OptionError) as error:
        check_options(Thing, {"dpeth": 7}, "generator 'x'", skip=["in_channels"])
    assert str(error.value) == (
        "generator 'x' has no option 'dpeth': did you mean 'depth'? "
        "it has depth, norm, dropout, blocks, bias, name"
    )


def test_what_is_not_the_users_to_set_is_refused() -> None:
    with pytest.raises(OptionError, match="has no option 'in_channels'"):
        check_options(Thing, {"in_channels": 3}, "generator 'x'", skip=["in_channels"])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("depth", "seven", "a whole number"),
        ("depth", "7.5", "a whole number"),
        ("depth", 7.5, "a whole number"),
        ("depth", True, "a whole number"),
        ("depth", None, "a whole number"),
        ("norm", "layer", "one of 'batch', 'none'"),
        ("dropout", "half", "a number or none"),
        ("dropout", 10**400, "a number or none"),
        ("dropout", "nan", "a number or none"),
        ("blocks", "1,x", "a list of values, each a whole number"),
        ("blocks", 3, "a list of values, each a whole number"),
        ("bias", "maybe", "true or false"),
        ("bias", 1, "true or false"),
        ("name", 3, "text"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_words(name: str, value: object, expected: str) -> None:
    with pytest.raises(OptionError) as error:
        check_options(Thing, {name: value}, "generator 'x'")
    assert str(error.value) == f"generator 'x': option {name!r} must be {expected}, got {value!r}"


@pytest.mark.parametrize("text", ["true", "True", "yes", "on", "1"])
def test_words_for_true(text: str) -> None:
    assert convert(text, bool, "x") is True


def test_a_literal_may_hold_numbers() -> None:
    assert convert("3", Literal[1, 3], "x") == 3
    assert convert(3, Literal[1, 3], "x") == 3


def test_a_union_takes_the_first_that_fits() -> None:
    assert convert("2", int | float, "x") == 2
    assert convert("2.5", int | float, "x") == 2.5
    assert describe(int | float) == "a whole number or a number"


def test_annotations_that_cannot_be_read_blame_the_plugin() -> None:
    class Foreign:
        def __init__(self, x: NotImportedAnywhere = 1) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(
        PluginError, match=r"Foreign cannot be read .*import what they name outside of TYPE_CHECKING"
    ):
        option_types(Foreign)
