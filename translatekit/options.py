"""Options as keyword arguments: read from text, checked against annotations and ranges, refused by name.

The same check serves the command line, ``-G key=value``, the TOML file and the Python API. A range is declared once:
`translatekit.config.option` takes it for a field of an options dataclass, and a constructor's keyword argument is
annotated with it, as in ``depth: Annotated[int, Bounds(minimum=2)] = 8``.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import os
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from translatekit.errors import OptionError, PluginError

_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}

LARGEST_SEED = 2**32 - 1
"""The largest seed that every random generator takes."""

LARGEST_SIDE = 65_535
"""Pixels of the longest side that is asked of an image: JPEG holds no longer one."""

_LARGEST = 2**63 - 1  # what the libraries that numbers are handed to can hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The range of a number. What is None is not bounded; the exclusive bounds are not in the range themselves.

    In an annotation, ``Annotated[int, Bounds(minimum=1)]``, it holds for every number in the value: for those of a
    tuple too, and not for None.
    """

    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None

    def __contains__(self, value: float) -> bool:
        """Whether a number is in the range."""
        return not (
            (self.minimum is not None and value < self.minimum)
            or (self.maximum is not None and value > self.maximum)
            or (self.exclusive_minimum is not None and value <= self.exclusive_minimum)
            or (self.exclusive_maximum is not None and value >= self.exclusive_maximum)
        )

    def __str__(self) -> str:
        """The range in words: ``1 to 100``, ``at least 1``, ``above 0 and below 1``."""
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum} to {self.maximum}"
        parts = (
            ("at least", self.minimum),
            ("above", self.exclusive_minimum),
            ("at most", self.maximum),
            ("below", self.exclusive_maximum),
        )
        return " and ".join(f"{word} {limit}" for word, limit in parts if limit is not None)


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a text must look like, for an annotation: ``Annotated[str, Pattern(r"auto|\\d+", "auto or a number")]``.

    Attributes:
        regex: matches all of it, whatever the case of its letters.
        words: the same for people.
    """

    regex: str
    words: str


@dataclass(frozen=True, slots=True, eq=False)
class Aliases:
    """Other words for a value, for an annotation: ``Annotated[Literal["fp32"], Aliases({"32-true": "fp32"})]``.

    Attributes:
        names: what each stands for.
    """

    names: Mapping[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """Words that are known when they are asked for, such as what is installed: ``Annotated[str, Choices(names)]``.

    Attributes:
        names: gives them, in the order they are shown in.
    """

    names: Callable[[], Iterable[str]]


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """How a type that is not ours is read from text: ``Annotated[Fraction, Form(Fraction, "a fraction such as 1/3")]``.

    Its ``str`` must be text that is read back as an equal value: TOML files and model files hold that.

    Attributes:
        parse: from a value or its text to the type; raises ValueError or TypeError for any other.
        words: what it reads, for people.
        metavar: the same in a word, for help, such as ``N/D``.
    """

    parse: Callable[[Any], Any]
    words: str
    metavar: str = ""


def parse_assignments(assignments: Iterable[str], flag: str) -> dict[str, str]:
    """``["depth=7", "norm=batch"]`` as a dict of text values.

    Raises:
        OptionError: one has no ``=``; `flag` is the option it was given to, such as ``-G``.
    """
    pairs = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise OptionError(f"{flag} {assignment!r} is not of the form key=value: write {flag} depth=7")
        pairs[key.strip().replace("-", "_")] = value.strip()
    return pairs


def option_types(target: Callable[..., Any], skip: Iterable[str] = ()) -> dict[str, Any]:
    """Names and annotations of a callable's keyword arguments (a class's constructor), without those in
    `skip`. The range of an options dataclass's field is part of its annotation.

    Raises:
        PluginError: an annotation names what is not imported where the callable is defined.
    """
    function = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise PluginError(
            f"the annotations of {target.__module__}.{target.__qualname__} cannot be read ({error}): "
            "import what they name outside of TYPE_CHECKING"
        ) from None
    if dataclasses.is_dataclass(target):
        for field in dataclasses.fields(target):
            if bounds := field.metadata.get("bounds"):
                hints[field.name] = Annotated[hints[field.name], bounds]
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {
        name: hints.get(name, Any)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in kinds and name != "self" and name not in skip
    }


def check_options(
    target: Callable[..., Any], options: Mapping[str, Any], owner: str, skip: Iterable[str] = ()
) -> dict[str, Any]:
    """The options converted to the types that the target's keyword arguments are annotated with.

    Args:
        target: a class or function; its annotations decide.
        options: values, or the text a user typed for them.
        owner: named in errors, such as ``generator 'unet'``.
        skip: arguments that are not the user's to set.

    Raises:
        OptionError: an unknown name, or a value that does not fit its annotation.
    """
    known = option_types(target, skip)
    checked = {}
    for name, value in options.items():
        if name not in known:
            close = closest(name, known)
            hint = f"did you mean {close!r}? " if close else ""
            raise OptionError(f"{owner} has no option {name!r}: {hint}it has {', '.join(known) or 'none'}")
        checked[name] = convert(value, known[name], f"{owner}: option {name!r}")
    return checked


def convert(value: Any, annotation: Any, owner: str) -> Any:
    """One value, or its text, as the annotated type.

    Knows bool, int, float, str, Path, Literal (whatever the case of its letters), unions with None, tuples of one type
    or of a fixed length (text: comma-separated), and any of these ``Annotated`` with `Bounds`, a `Pattern` or
    `Choices`. Infinity and NaN are no numbers.
    A class of its own kind says itself how: by a class method ``parse``, which takes a value or its text and raises
    ValueError, a static method ``words``, and a ``__str__`` that `parse` reads back, as `translatekit.sizes.Size` has.
    For a class that cannot be changed, a `Form` in the annotation says the same.

    Raises:
        OptionError: it does not fit.
    """
    try:
        return _convert(value, annotation)
    except (TypeError, ValueError, ArithmeticError):
        hint = _suggestion(value, annotation)
        raise OptionError(f"{owner} must be {describe(annotation)}, got {_short(value)}{hint}") from None


def written(value: Any) -> Any:
    """A value as TOML and JSON hold it: what is of a type of its own kind as its text."""
    if isinstance(value, Mapping):
        return {key: written(item) for key, item in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "parse"):
        return type(value)(written(item) for item in value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def describe(annotation: Any) -> str:
    """An annotation in words, for errors: ``a whole number of at least 1``, ``one of 'batch', 'none'``."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _describe_annotated(args[0], args[1:])
    if origin is Literal:
        return "one of " + ", ".join(repr(arg) for arg in args)
    if origin in (Union, types.UnionType):
        words = [describe(arg) for arg in args]
        # a comma where the first has an "or" of its own
        return (", or " if hasattr(args[0], "words") else " or ").join(words)
    if origin is tuple:
        if Ellipsis not in args:
            return f"{len(args)} values: {', '.join(map(describe, args))}"
        return f"a list of values, each {describe(args[0])}"
    if hasattr(annotation, "words"):
        return str(annotation.words())
    names = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        Path: "a path",
        type(None): "none",
    }
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _describe_annotated(annotation: Any, metadata: tuple[Any, ...]) -> str:
    """The range stands beside the number that it holds for, not beside ``none``."""
    form = form_of(Annotated[(annotation, *metadata)])
    if form is not None:
        return form.words
    if choices := literals(Annotated[(annotation, *metadata)]):
        return describe(Literal[tuple(choices)])
    words = describe(annotation)
    value = words.removesuffix(" or none")
    end = ", or none" if value != words else ""
    for item in metadata:
        if isinstance(item, Pattern):
            return f"{item.words}{end}"
        if isinstance(item, Bounds):
            ranges = str(item)
            between = "of " if ranges.startswith("at ") else "from " if " to " in ranges else ""
            return f"{value} {between}{ranges}{end}"
    return words


def _suggestion(value: Any, annotation: Any) -> str:
    """A suggestion, where one of a fixed set of words is asked for."""
    close = closest(value, map(str, literals(annotation))) if isinstance(value, str) else None
    return f": did you mean {close!r}?" if close else ""


def closest(word: str, choices: Iterable[str]) -> str | None:
    """What was probably meant by a word that is none of `choices`, whatever the case of its letters; or None."""
    known = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(word.lower(), known, n=1)
    return known[found[0]] if found else None


def bounds_of(annotation: Any) -> Bounds | None:
    """The range that an annotation declares."""
    found = (item for item in getattr(annotation, "__metadata__", ()) if isinstance(item, Bounds))
    return next(found, None)


def form_of(annotation: Any) -> Form | None:
    """How an annotation says that its type is read from text."""
    found = (item for item in getattr(annotation, "__metadata__", ()) if isinstance(item, Form))
    return next(found, None)


def literals(annotation: Any) -> tuple[Any, ...]:
    """The values of a Literal, the words of `Choices`, those of either in a union or a tuple, or nothing."""
    origin, args = get_origin(annotation), get_args(annotation)
    for item in getattr(annotation, "__metadata__", ()):
        if isinstance(item, Choices):
            return tuple(item.names())
    if origin is tuple:
        return literals(args[0])
    if origin is Literal:
        return args
    if origin in (Union, types.UnionType):
        return tuple(value for arg in args for value in literals(arg))
    return literals(args[0]) if origin is Annotated else ()


def _short(value: Any, limit: int = 60) -> str:
    """A value as an error shows it."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= limit else f"{text[:limit]}..."


def _check_bounds(value: Any, bounds: Bounds) -> None:
    if isinstance(value, tuple):
        for item in value:
            _check_bounds(item, bounds)
    elif isinstance(value, int | float) and not isinstance(value, bool) and value not in bounds:
        raise ValueError


def _check_pattern(value: str, pattern: Pattern) -> None:
    if re.fullmatch(pattern.regex, value, re.IGNORECASE | re.ASCII) is None:
        raise ValueError


def _convert(value: Any, annotation: Any) -> Any:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        for item in args[1:]:
            if isinstance(item, Aliases):
                value = item.names.get(value, value)
        form = form_of(annotation)
        converted = _convert(value, args[0]) if form is None else form.parse(value)
        for item in args[1:]:
            if isinstance(item, Choices) and converted is not None:
                converted = _convert(converted, Literal[tuple(item.names())])
            if isinstance(item, Bounds):
                _check_bounds(converted, item)
            if isinstance(item, Pattern) and converted is not None:
                _check_pattern(converted, item)
        return converted
    if hasattr(annotation, "parse"):
        return annotation.parse(value)
    if annotation is Any:
        return value
    if origin in (Union, types.UnionType):
        if type(None) in args and (value is None or (isinstance(value, str) and value.lower() == "none")):
            return None
        for arg in args:
            try:
                return _convert(value, arg)
            except (TypeError, ValueError, ArithmeticError):
                continue
        raise ValueError
    if origin is Literal:
        for arg in args:
            if value == arg:
                return arg
        for arg in args:
            if isinstance(value, str) and value.lower() == str(arg).lower():
                return arg
        raise ValueError
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if Ellipsis not in args:
            return tuple(_convert(item, arg) for item, arg in zip(items, args, strict=True))
        return tuple(_convert(item, args[0]) for item in items)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError
        return dict(value)
    if annotation is bool:
        return _convert_bool(value)
    if annotation is int:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        whole = int(value)
        if abs(whole) > _LARGEST:
            raise ValueError
        return whole
    if annotation is float:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
        return number
    if annotation is str:
        if not isinstance(value, str | os.PathLike):  # a place may be a path or an address
            raise ValueError
        return os.fspath(value)
    if annotation is Path:
        if not isinstance(value, str | Path) or not str(value):
            raise ValueError
        return Path(value)
    if isinstance(annotation, type) and isinstance(value, annotation):
        return value
    raise ValueError


def _convert_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = value.lower() if isinstance(value, str) else ""
    if text not in _TRUE | _FALSE:
        raise ValueError
    return text in _TRUE
