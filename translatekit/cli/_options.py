"""The command line of an options dataclass: its fields as click options, and back.

A command that takes the options of a dataclass made with `translatekit.config.option` reads::

    command.params += options_from_dataclass(TrainOptions, defaults=dict(spec.defaults))

    def callback(**params):
        chosen = collect(TrainOptions, params)   # only what the user set, converted
        options = TrainOptions(**{**dict(spec.defaults), **chosen})
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import click
import rich_click

from translatekit.options import convert, parse_assignments


class FieldOption(rich_click.RichOption):
    """A click option for a dataclass field: unset until the user sets it, though its help shows the default."""

    def __init__(self, *args: Any, shown_default: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, show_default=shown_default is not None, **kwargs)
        self.shown_default = shown_default

    def get_default(self, ctx: click.Context, call: bool = True) -> Any:
        """The default to show where click asks for one to show (``call=False``), and none to use."""
        return super().get_default(ctx, call) if call else self.shown_default


def options_from_dataclass(
    cls: type[Any], skip: Iterable[str] = (), defaults: Mapping[str, Any] | None = None
) -> list[click.Option]:
    """One click option for each field of an options dataclass, in the panels of its fields' groups.

    A bool becomes ``--x/--no-x``; a Literal a choice; a dict a repeatable ``KEY=VALUE``; all else takes
    text, which `collect` converts. Parameters are named like the fields. What the user does not set is None
    (a dict: empty).

    Args:
        cls: a dataclass whose fields were made with `translatekit.config.option`.
        skip: fields that get no option.
        defaults: what ``--help`` shows in place of the fields' own defaults.
    """
    defaults = defaults or {}
    hints = get_type_hints(cls)
    return [
        _option(field, hints[field.name], defaults.get(field.name, _default(field)))
        for field in dataclasses.fields(cls)
        if field.name not in skip
    ]


def collect(cls: type[Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """What the user set of a dataclass's fields, converted to the fields' types.

    Args:
        cls: the dataclass `options_from_dataclass` was given.
        params: the command's parameters, possibly with others among them.

    Returns:
        Values by field; a field that the user did not set is absent. The values of a dict are still text:
        they mean what the network's or dataset's own annotations say (`translatekit.options.check_options`).

    Raises:
        OptionError: a value that does not fit its field, by the flag's name.
    """
    hints = get_type_hints(cls)
    chosen: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        value = params.get(field.name)
        if value is None or value == ():
            continue
        flag = _flags(field)[-1]
        if get_origin(hints[field.name]) is dict:
            chosen[field.name] = parse_assignments(value, flag)
        else:
            chosen[field.name] = convert(value, hints[field.name], flag)
    return chosen


def _option(field: dataclasses.Field[Any], annotation: Any, default: Any) -> click.Option:
    flags = _flags(field)
    settings: dict[str, Any] = {
        "help": field.metadata.get("help"),
        "panel": field.metadata.get("group"),
        "metavar": field.metadata.get("metavar"),
        "shown_default": default,
    }
    inner, optional = _without_none(annotation)
    if get_origin(inner) is dict:
        settings.update(
            multiple=True, shown_default=_assignments(default), metavar=settings["metavar"] or "KEY=VALUE"
        )
    elif inner is bool:
        flags = [f"{flag}/--no-{flag.lstrip('-')}" if flag.startswith("--") else flag for flag in flags]
        settings.update(default=None, metavar=None)
    elif get_origin(inner) is Literal:
        settings["type"] = click.Choice([str(arg) for arg in get_args(inner)] + ["none"] * optional)
    else:
        settings["type"] = click.STRING
        settings["metavar"] = settings["metavar"] or _METAVARS.get(inner, "TEXT")
    return FieldOption([field.name, *flags], **settings)


_METAVARS: dict[Any, str] = {int: "INTEGER", float: "NUMBER"}


def _flags(field: dataclasses.Field[Any]) -> list[str]:
    return list(field.metadata.get("flags") or (f"--{field.name.replace('_', '-')}",))


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else None


def _assignments(default: Mapping[str, Any] | None) -> str | None:
    return " ".join(f"{key}={value}" for key, value in (default or {}).items()) or None


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """``int | None`` as ``(int, True)``; a union of more is left as it is."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    others = [arg for arg in get_args(annotation) if arg is not type(None)]
    optional = len(others) < len(get_args(annotation))
    return (others[0], optional) if len(others) == 1 else (annotation, optional)
