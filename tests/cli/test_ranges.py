"""Every number that a user can give is held to a declared range, by every way of giving it.

The options are found by walking the commands, so a new one is tried without being named here.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import click
import pytest
import tomli_w
from click.testing import CliRunner, Result

from tests.training.conftest import draw_pairs
from translatekit.cli import program
from translatekit.cli.options import ValueType, collect
from translatekit.config import RunConfig, TrainOptions
from translatekit.errors import OptionError
from translatekit.hookspecs import HOOKS
from translatekit.options import Bounds, Pattern, bounds_of, check_options, option_types
from translatekit.registry import registry

if sys.version_info >= (3, 11):
    pass
else:
    pass

HUGE = str(10**30)
ODD = [
    "-1",
    "0",
    "nan",
    "inf",
    "-inf",
    HUGE,
    "-" + HUGE,
    "1e400",
    "1.5",
    "",
    " ",
    "x",
    "none",
    "0x10",
    "٣" * 30,
]
NO_OPTIONS = {
    "in_channels",
    "out_channels",
    "latent_size",
    "num_classes",
    "size",
    "root",
    "options",
}  # not the user's


@dataclass(frozen=True)
class Found:
    """An option of a command, and the arguments that the command cannot go without."""

    path: tuple[str, ...]
    flag: str
    option: click.Option
    required: tuple[str, ...]

    def __str__(self) -> str:
        return f"{' '.join(self.path)} {self.flag}"


def walk(command: click.Command, path: tuple[str, ...], context: click.Context) -> Iterator[Found]:
    params = command.get_params(context)
    required = [param for param in params if param.required]
    for option in params:
        if isinstance(option, click.Option) and not option.is_flag and option.name != "help":
            words: list[str] = []
            for param in required:
                if isinstance(param, click.Option) and param is not option:
                    words += [param.opts[-1], "x"]
            words += ["x" for param in required if isinstance(param, click.Argument)]
            yield Found(path, option.opts[-1], option, tuple(words))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = (
                registry("command").load(name) if command is program else command.get_command(context, name)
            )
            assert child is not None
            yield from walk(child, (*path, name), click.Context(child, info_name=name, parent=context))


ALL = list(walk(program, (), click.Context(program)))


def is_number(annotation: Any) -> bool:
    """Whether an annotation takes numbers: alone, in a union, or in a tuple."""
    return annotation in (int, float) or any(is_number(arg) for arg in get_args(annotation))


def takes_words(annotation: Any) -> bool:
    """Whether an annotation takes text of any letters, such as a token."""
    return any(
        isinstance(item, Pattern) and re.fullmatch(item.regex, "anything") for item in get_args(annotation)
    )


def is_numeric(found: Found) -> bool:
    """Whether an option's value is a number, or a text made of numbers."""
    if isinstance(found.option.type, ValueType):
        annotation = found.option.type.annotation
        return (
            is_number(annotation)
            or (get_origin(annotation) is Annotated and not takes_words(annotation))
            or found.option.type.name in ("Size", "Box")
        )
    return isinstance(found.option.type, click.types.IntParamType | click.types.FloatParamType)


NUMERIC = [found for found in ALL if is_numeric(found)]
# What all methods share is one field of one dataclass, with one type: its odd values are tried with the first of them.
DIFFERENT = list(
    {
        (found.path[0], found.flag, repr(getattr(found.option.type, "annotation", None))): found
        for found in reversed(NUMERIC)
    }.values()
)


def start(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> tuple[Result, dict[str, Any] | None]:
    """Run the program up to where a command would begin its work; and the parameters it would begin with."""
    reached: list[dict[str, Any]] = []

    def record(command: click.Command, context: click.Context) -> None:
        if not isinstance(command, click.Group):
            reached.append(context.params)

    monkeypatch.setattr(click.Command, "invoke", record)
    result = CliRunner().invoke(program, arguments)
    return result, reached[0] if reached else None


def assert_in_range(value: Any, bounds: Bounds) -> None:
    """Compare by hand, so that this is no second look through the same glasses."""
    for number in value if isinstance(value, tuple) else (value,):
        if number is None:
            continue
        assert math.isfinite(number)
        assert bounds.minimum is None or number >= bounds.minimum
        assert bounds.maximum is None or number <= bounds.maximum
        assert bounds.exclusive_minimum is None or number > bounds.exclusive_minimum
        assert bounds.exclusive_maximum is None or number < bounds.exclusive_maximum


def test_the_walk_finds_the_options_of_every_command() -> None:
    there = {str(found) for found in NUMERIC}
    for wanted in (
        "train pix2pix --lr",
        "train cyclegan --lambda-A",
        "train cgan --latent-size",
        "run --size",
        "run --crf",
        "compile --batch",
        "evaluate --resamples",
        "bench --rounds",
        "paint --port",
        "watch --port",
        "prepare segment --classes",
        "prepare crop --box",
        "sample --count",
    ):
        assert wanted in there
    assert len(NUMERIC) > 120


@pytest.mark.parametrize("found", NUMERIC, ids=str)
def test_a_number_has_a_declared_range_and_help_shows_it(found: Found) -> None:
    assert isinstance(found.option.type, ValueType), f"declare {found} with value_option or config.option"
    if is_number(found.option.type.annotation):
        bounds = bounds_of(found.option.type.annotation)
        assert bounds is not None, f"give {found} a range: minimum=, maximum="
        assert f"[{bounds}]" in str(found.option.help)


@pytest.mark.parametrize("found", DIFFERENT, ids=str)
def test_an_odd_value_is_refused_by_name_in_one_sentence_or_lies_in_the_range(
    found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in ODD:
        result, params = start(monkeypatch, [*found.path, *found.required, found.flag, value])
        if params is None:
            assert isinstance(result.exception, SystemExit), (value, result.exception)
            assert result.exit_code == 1
            (line,) = result.stderr.splitlines()
            assert line.startswith(f"Error: {found.flag} must be "), line
            assert len(line) < 300
            continue
        assert result.exit_code == 0
        annotation = found.option.type.annotation  # type: ignore[attr-defined]
        if is_number(annotation):
            accepted = check_options(_taking(annotation), {"value": value}, "x")["value"]
            bounds = bounds_of(annotation)
            assert bounds is not None
            assert_in_range(accepted, bounds)
        else:
            assert re.fullmatch(r"[\d.,x/ ]*|none", value), f"{found} takes {value!r}"


def _taking(annotation: Any) -> Any:
    def target(*, value: Any) -> None: ...

    target.__annotations__["value"] = annotation
    return target


CHOICES = [found for found in ALL if getattr(found.option.type, "choices", None)]


@pytest.mark.parametrize("found", CHOICES, ids=str)
def test_the_case_of_a_word_does_not_matter_and_a_slip_gets_a_suggestion(
    found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_with(value: str) -> tuple[Result, dict[str, Any] | None]:
        return start(monkeypatch, [*found.path, *found.required, found.flag, value])

    assert isinstance(found.option.type, ValueType), f"declare {found} with value_option or config.option"
    for word in found.option.type.choices:
        assert start_with(word.swapcase())[1] is not None
    longest = max(found.option.type.choices, key=len)
    result, params = start_with(f"{longest}x")
    assert params is None
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    must = f"Error: {found.flag} must be "
    assert line.startswith((f"{must}one of ", f"{must}a list of values, each one of "))
    assert line.endswith(f"got '{longest}x': did you mean {longest!r}?")


@pytest.mark.parametrize("method", registry("method").names())
def test_command_line_toml_and_python_refuse_the_same(
    method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = registry("method").get(method).load_options()
    path = tmp_path / "config.toml"
    # what all methods share is tried with the first
    for cls in (TrainOptions, own) if method == registry("method").names()[0] else (own,):
        flags = {found.option.name: found.flag for found in NUMERIC if found.path == ("train", method)}
        for name in numbers_of(cls):
            for value in (-1, 0, 1, 1.5, 10**18, math.nan, math.inf, "x"):
                _, params = start(monkeypatch, ["train", method, "data", flags[name], str(value)])
                by_line = "refused" if params is None else collect(cls, params)[name]
                by_python = resolved(lambda: RunConfig.resolve(method, "data", {**BUSY, name: value}), name)  # noqa: B023
                content = {"method": method, "options": {**BUSY, name: value}}
                path.write_text(tomli_w.dumps(content))
                by_toml = resolved(lambda: RunConfig.from_toml(path), name)
                assert by_line == by_python == by_toml, (name, value)


BUSY = {"epochs": 1, "epochs_decay": 1}  # either may be zero, and both may not


def numbers_of(cls: type[Any]) -> list[str]:
    return [name for name, annotation in option_types(cls).items() if is_number(annotation)]


def resolved(make: Callable[[], RunConfig], name: str) -> Any:
    """What became of an option."""
    try:
        config = make()
    except OptionError as error:
        assert f"option {name!r} must be" in str(error)  # noqa: PT017
        return "refused"
    return {**vars(config.options), **vars(config.method_options)}[name]


def test_a_training_of_no_epochs_is_refused() -> None:
    with pytest.raises(OptionError, match="nothing would be trained: pass --epochs 1 or more"):
        RunConfig.resolve("pix2pix", None, {"epochs": 0, "epochs_decay": 0})


PARTS = [
    pytest.param(kind, entry.spec, id=f"{kind} {entry.spec.name}")
    for kind in ("generator", "discriminator", "loss", "dataset", "metric", "logger")
    for entry in registry(kind).entries()
    if not entry.spec.missing()
]


@pytest.mark.parametrize(("kind", "spec"), PARTS)
def test_options_of_what_plugins_offer_have_ranges_too(kind: str, spec: Any) -> None:
    target = spec.load()
    for name, annotation in option_types(target, skip=NO_OPTIONS).items():
        if not is_number(annotation):
            continue
        bounds = bounds_of(annotation)
        assert bounds is not None, f"annotate {name} of {kind} {spec.name} with Bounds"
        for value in [*ODD, -1, 0, math.nan, math.inf, 10**30, 10**5000]:
            try:
                accepted = check_options(target, {name: value}, f"{kind} {spec.name!r}")[name]
            except OptionError as refused:
                said = str(refused)
            else:
                assert_in_range(accepted, bounds)
                continue
            assert said.startswith(f"{kind} {spec.name!r}: option {name!r} must be ")
            assert len(said) < 300


def test_every_kind_with_options_is_tried() -> None:
    assert set(HOOKS) - {"method", "backend", "format", "command"} <= {
        "generator",
        "discriminator",
        "loss",
        "dataset",
        "metric",
        "logger",
    }


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pairs")
    draw_pairs(root / "train", 2)
    return root


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["data", "get", "facade"], "did you mean 'facades'?"),
        (["plugins", "check", "Unet_"], "did you mean 'unet'?"),
        (["train", "pix2pix", "DATA", "--dataset-option", "layout=folder"], "did you mean 'folders'?"),
        (["train", "pix2pix", "DATA", "--dataset-option", "layuot=folders"], "did you mean 'layout'?"),
        (["train", "pix2pix", "DATA", "-G", "dpeth=7"], "did you mean 'depth'?"),
        (["train", "pix2pix", "DATA", "-G", "norm=instanse"], "did you mean 'instance'?"),
        (["train", "pix2pix", "DATA", "-D", "layer=2"], "did you mean 'layers'?"),
        (["train", "pix2pix", "DATA", "--direction", "BtA"], "did you mean 'BtoA'?"),
    ],
)
def test_a_slip_gets_a_suggestion(
    arguments: list[str], meant: str, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(program, [str(pairs) if word == "DATA" else word for word in arguments])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert meant in errors[0]
    assert list(tmp_path.rglob("*")) == []
