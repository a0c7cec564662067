"""Options: read from text, checked against annotations, refused by name."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from translatekit.config import option
from translatekit.errors import OptionError, PluginError
from translatekit.options import (
    Bounds,
    Choices,
    Form,
    check_options,
    convert,
    describe,
    option_types,
    parse_assignments,
    written,
)
from translatekit.sizes import Size


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


@dataclass(kw_only=True)
class Ranged:
    """The fields of an options dataclass, whose ranges stand in their metadata."""

    steps: int | None = option(None, "", "", minimum=1)
    rate: float = option(0.5, "", "", exclusive_minimum=0, maximum=1)
    beta: float = option(0.5, "", "", minimum=0, exclusive_maximum=1)
    sizes: tuple[int, ...] = option((), "", "", minimum=1, maximum=9)
    shift: int = option(0, "", "", maximum=3)


class RangedNetwork:
    """The same for constructors."""

    def __init__(
        self,
        *,
        steps: Annotated[int | None, Bounds(minimum=1)] = None,
        rate: Annotated[float, Bounds(exclusive_minimum=0, maximum=1)] = 0.5,
        beta: Annotated[float, Bounds(minimum=0, exclusive_maximum=1)] = 0.5,
        sizes: Annotated[tuple[int, ...], Bounds(minimum=1, maximum=9)] = (),
        shift: Annotated[int, Bounds(maximum=3)] = 0,
    ) -> None: ...


@pytest.mark.parametrize("target", [Ranged, RangedNetwork])
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("steps", 0, "a whole number of at least 1, or none"),
        ("rate", 0, "a number above 0 and at most 1"),
        ("rate", "1.01", "a number above 0 and at most 1"),
        ("beta", -0.1, "a number of at least 0 and below 1"),
        ("beta", "1", "a number of at least 0 and below 1"),
        ("sizes", "3,10", "a list of values, each a whole number from 1 to 9"),
        ("shift", 4, "a whole number of at most 3"),
    ],
)
def test_what_lies_outside_its_range_is_refused_with_the_range(
    target: type[Any], name: str, value: object, expected: str
) -> None:
    with pytest.raises(OptionError) as error:
        check_options(target, {name: value}, "x")
    assert str(error.value) == f"x: option {name!r} must be {expected}, got {value!r}"


@pytest.mark.parametrize("target", [Ranged, RangedNetwork])
def test_the_ends_of_a_range_belong_to_it(target: type[Any]) -> None:
    given = {"steps": "1", "rate": 1, "beta": "0", "sizes": "1,9", "shift": 3}
    assert check_options(target, given, "x") == {
        "steps": 1,
        "rate": 1.0,
        "beta": 0.0,
        "sizes": (1, 9),
        "shift": 3,
    }
    assert check_options(target, {"steps": "none"}, "x") == {"steps": None}


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", math.nan, math.inf, 10**400, -(10**400)])
def test_what_is_not_finite_is_no_number(value: object) -> None:
    for annotation in (int, float, int | float | None):
        with pytest.raises(OptionError, match=r"^x must be a .* got .{1,80}$"):
            convert(value, annotation, "x")


def test_a_number_that_cannot_be_written_out_is_refused_in_words() -> None:
    with pytest.raises(OptionError, match="got a number of thousands of digits"):
        convert(10**5000, int, "x")


# Training in the same process turns subnormal numbers off.
@given(
    number=st.one_of(st.integers(), st.floats(allow_subnormal=False)),
    bounds=st.lists(st.none() | st.integers(-9, 9), min_size=4),
)
@settings(derandomize=True, database=None)
def test_a_value_is_either_in_its_range_or_refused(number: float, bounds: list[int | None]) -> None:
    low, high, above, below = bounds[:4]
    declared = Bounds(minimum=low, maximum=high, exclusive_minimum=above, exclusive_maximum=below)
    for text in (number, repr(number)):
        try:
            value = convert(text, Annotated[float, declared], "x")
        except OptionError:
            continue
        assert value == number
        assert low is None or low <= value
        assert high is None or value <= high
        assert above is None or above < value
        assert below is None or value < below


def test_the_case_of_a_literal_does_not_matter_unless_two_differ_in_it_alone() -> None:
    assert convert("btoa", Literal["AtoB", "BtoA"], "x") == "BtoA"
    assert convert("NONE", Literal["A"] | None, "x") is None
    assert [convert(word, Literal["A", "a"], "x") for word in "aA"] == ["a", "A"]


def test_a_word_that_is_nearly_one_of_a_literal_gets_a_suggestion() -> None:
    with pytest.raises(OptionError, match=r"one of 'AtoB', 'BtoA', got 'BtA': did you mean 'BtoA'\?"):
        convert("BtA", Literal["AtoB", "BtoA"], "x")


def test_annotations_that_cannot_be_read_blame_the_plugin() -> None:
    class Foreign:
        def __init__(self, x: NotImportedAnywhere = 1) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(
        PluginError, match=r"Foreign cannot be read .*import what they name outside of TYPE_CHECKING"
    ):
        option_types(Foreign)


THIRD = Annotated[Fraction, Form(Fraction, "a fraction such as 1/3", "N/D")]


@pytest.mark.parametrize("value", ["1/3", Fraction(1, 3), " 2/6 "])
def test_a_class_that_is_not_ours_is_read_by_its_form(value: Any) -> None:
    assert convert(value, THIRD, "x") == Fraction(1, 3)
    assert convert(written(convert(value, THIRD, "x")), THIRD, "x") == Fraction(1, 3)
    assert convert("none", THIRD | None, "x") is None


@pytest.mark.parametrize("value", ["a third", "1/0", None])
def test_what_its_form_does_not_read_is_refused_in_its_words(value: Any) -> None:
    with pytest.raises(OptionError, match="x must be a fraction such as 1/3, got"):
        convert(value, THIRD, "x")


def test_choices_are_asked_for_when_they_are_needed() -> None:
    names = ["fid"]
    annotation = tuple[Annotated[str, Choices(lambda: names)], ...]
    assert convert("FID", annotation, "x") == ("fid",)
    with pytest.raises(OptionError, match="x must be a list of values, each one of 'fid', got 'fid,l1'"):
        convert("fid,l1", annotation, "x")
    names.append("l1")
    assert convert("fid,l1", annotation, "x") == ("fid", "l1")
    with pytest.raises(OptionError, match="did you mean 'fid'"):
        convert("fdi", Annotated[str, Choices(lambda: names)], "x")


def test_a_tuple_of_fixed_length_has_it() -> None:
    annotation = tuple[int, float]
    assert convert("8, 0.5", annotation, "x") == (8, 0.5)
    assert convert([8, "2"], annotation, "x") == (8, 2.0)
    with pytest.raises(OptionError, match="x must be 2 values: a whole number, a number, got '8'"):
        convert("8", annotation, "x")


def test_values_are_written_as_files_hold_them() -> None:
    held = {"size": Size(4, 3), "list": [Fraction(1, 2), 1], "none": None, "flag": True}
    assert written(held) == {"size": "4x3", "list": ["1/2", 1], "none": None, "flag": True}
