"""Options as keyword arguments: read from text, checked against annotations, refused by name.

The same check serves ``-G key=value``, the TOML file and the Python API.
"""

from __future__ import annotations

import difflib
import inspect
import math
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from translatekit.errors import OptionError, PluginError

_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


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
    `skip`.

    Raises:
        PluginError: an annotation names what is not imported where the callable is defined.
    """
    function = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    try:
        hints = get_type_hints(function)
    except NameError as error:
        raise PluginError(
            f"the annotations of {target.__module__}.{target.__qualname__} cannot be read ({error}): "
            "import what they name outside of TYPE_CHECKING"
        ) from None
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
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise OptionError(f"{owner} has no option {name!r}: {hint}it has {', '.join(known) or 'none'}")
        checked[name] = convert(value, known[name], f"{owner}: option {name!r}")
    return checked


def convert(value: Any, annotation: Any, owner: str) -> Any:
    """One value, or its text, as the annotated type.

    Knows bool, int, float, str, Literal, unions with None, and tuples of one type (text: comma-separated).

    Raises:
        OptionError: it does not fit.
    """
    try:
        return _convert(value, annotation)
    except (TypeError, ValueError, OverflowError):
        raise OptionError(f"{owner} must be {describe(annotation)}, got {value!r}") from None


def describe(annotation: Any) -> str:
    """An annotation in words, for errors and help: ``a whole number``, ``one of 'batch', 'none'``."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(repr(arg) for arg in args)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(arg) for arg in args)
    if origin is tuple:
        return f"a list of values, each {describe(args[0])}"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "none"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _convert(value: Any, annotation: Any) -> Any:
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return value
    if origin in (Union, types.UnionType):
        if type(None) in args and (value is None or value == "none"):
            return None
        for arg in args:
            try:
                return _convert(value, arg)
            except (TypeError, ValueError, OverflowError):
                continue
        raise ValueError
    if origin is Literal:
        for arg in args:
            if value == arg or (isinstance(value, str) and value == str(arg)):
                return arg
        raise ValueError
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
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
        return int(value)
    if annotation is float:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if math.isnan(number):
            raise ValueError
        return number
    if annotation is str:
        if not isinstance(value, str):
            raise ValueError
        return value
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
