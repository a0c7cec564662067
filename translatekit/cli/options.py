"""The command line of an options dataclass: its fields as click options, and back.

A command that takes the options of a dataclass made with `translatekit.config.option` reads::

    command.params += options_from_dataclass(TrainOptions, defaults=dict(spec.defaults))

    def callback(**params):
        chosen = collect(TrainOptions, params)   # only what the user set, converted
        options = TrainOptions(**{**dict(spec.defaults), **chosen})

Any other command declares the same for each option by itself, and its value is checked in the same way::

    @value_option("-k", "--classes", annotation=int, minimum=2, maximum=64, default=8, help="How many classes.")
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import click
import rich_click
from click.shell_completion import CompletionItem

from translatekit.options import (
    Bounds,
    bounds_of,
    convert,
    form_of,
    literals,
    option_types,
    parse_assignments,
)

F = TypeVar("F", bound=Callable[..., Any])


class ValueType(click.ParamType):
    """The type of a click option whose value `translatekit.options.convert` reads and checks.

    Attributes:
        annotation: as of a keyword argument, its range included.
        choices: the words of a Literal, those that `translatekit.options.Choices` gives, or nothing.
        several: whether the value is a list of them.
    """

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self.choices = tuple(map(str, literals(annotation)))
        inner, optional = _without_none(_plain(annotation))
        self.several = get_origin(inner) is tuple
        if self.choices and optional and not self.several:
            self.choices += ("none",)
        form = form_of(annotation)
        own_class = isinstance(inner, type) and hasattr(inner, "parse")
        own_name = getattr(inner, "metavar", getattr(inner, "__name__", "")) if own_class else ""
        self.name = (form.metavar if form else own_name) or _metavar(inner)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:
        """As help shows it: the choices, or what kind of value it is."""
        if self.choices:
            return "NAME,..." if self.several else f"[{'|'.join(self.choices)}]"
        return self.name.upper()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value.

        Raises:
            OptionError: it does not fit, by the option's name.
        """
        return convert(value, self.annotation, param.opts[-1] if param is not None else "this option")

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The choices that begin so; the shell's own files for a path."""
        if self.name == "path":
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(item) for item in self.choices if item.lower().startswith(incomplete.lower())]


class FieldType(ValueType):
    """The type of a dataclass field's option: checked here, converted by `collect`, to which None means unset."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text as it is, if it fits."""
        super().convert(value, param, ctx)
        return value


class RangedOption(rich_click.RichOption):
    """A click option whose help shows the range of its value."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(self.type, ValueType):
            return
        if bounds := bounds_of(self.type.annotation):
            self.help = f"{self.help} [{bounds}]"
        if self.type.several and self.type.choices:
            self.help = f"{self.help} [{', '.join(self.type.choices)}]"


class FieldOption(RangedOption):
    """A click option for a dataclass field: unset until the user sets it, though its help shows the default."""

    def __init__(self, *args: Any, shown_default: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, show_default=shown_default is not None, **kwargs)
        self.shown_default = shown_default

    def get_default(self, ctx: click.Context, call: bool = True) -> Any:
        """The default to show where click asks for one to show (``call=False``), and none to use."""
        return super().get_default(ctx, call) if call else self.shown_default


def value_option(
    *flags: str,
    annotation: Any,
    minimum: float | None = None,
    maximum: float | None = None,
    exclusive_minimum: float | None = None,
    exclusive_maximum: float | None = None,
    **settings: Any,
) -> Callable[[F], F]:
    """A click option, as a decorator, whose value is read by its annotation and checked against its range.

    Args:
        flags: such as ``"-k", "--classes"``.
        annotation: ``int``, ``float | None``, ``Literal["png", "jpg"]`` and so on: see `translatekit.options.convert`.
        minimum, maximum, exclusive_minimum, exclusive_maximum: the range of a number, which help shows too.
        settings: click's own: ``default``, ``help``, ``metavar``.
    """
    bounds = Bounds(
        minimum=minimum,
        maximum=maximum,
        exclusive_minimum=exclusive_minimum,
        exclusive_maximum=exclusive_maximum,
    )
    value_type = ValueType(annotation if bounds == Bounds() else Annotated[annotation, bounds])
    settings.setdefault("show_default", settings.get("default") is not None)
    return rich_click.option(*flags, type=value_type, cls=RangedOption, **settings)


def options_from_dataclass(
    cls: type[Any], skip: Iterable[str] = (), defaults: Mapping[str, Any] | None = None
) -> list[click.Option]:
    """One click option for each field of an options dataclass, in the panels of its fields' groups.

    A bool becomes ``--x/--no-x``; a Literal a choice; a dict a repeatable ``KEY=VALUE``; a tuple whose field says
    ``multiple`` a repeatable option; all else takes text, which is checked when it is parsed. A field without a
    default is required. Parameters are named like the fields. What the user does not set is None
    (a dict: empty).

    Args:
        cls: a dataclass whose fields were made with `translatekit.config.option`.
        skip: fields that get no option.
        defaults: what ``--help`` shows in place of the fields' own defaults.
    """
    defaults = defaults or {}
    hints = option_types(cls)
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
    hints = option_types(cls)
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
        "shown_default": default or None if field.metadata.get("multiple") else default,
        "required": _is_required(field),
        "multiple": field.metadata.get("multiple", False),
    }
    inner, _ = _without_none(_plain(annotation))
    if get_origin(inner) is dict:
        settings.update(
            multiple=True, shown_default=_assignments(default), metavar=settings["metavar"] or "KEY=VALUE"
        )
    elif inner is bool:
        flags = [f"{flag}/--no-{flag.lstrip('-')}" if flag.startswith("--") else flag for flag in flags]
        settings.update(default=None, metavar=None)
    else:
        settings["type"] = FieldType(annotation)
    return FieldOption([field.name, *flags], **settings)


def _metavar(annotation: Any) -> str:
    """What a value is, in a word; of a list, its first values."""
    if get_origin(annotation) is not tuple:
        return _METAVARS.get(annotation, "text")
    return ",".join("..." if arg is Ellipsis else _metavar(_plain(arg)) for arg in get_args(annotation))


_METAVARS: dict[Any, str] = {int: "integer", float: "number", Path: "path"}


def _plain(annotation: Any) -> Any:
    """An annotation without its range."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _flags(field: dataclasses.Field[Any]) -> list[str]:
    return list(field.metadata.get("flags") or (f"--{field.name.replace('_', '-')}",))


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


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
