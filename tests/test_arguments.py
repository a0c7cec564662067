"""What type checkers and editors are told of the public functions is what these take and return."""

from __future__ import annotations

import inspect
import runpy
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from translatekit_tools.backends.options import CompileOptions
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.summary import Result, Summary
from translatekit_tools.compile import CompileReport
from translatekit_tools.evaluate.options import EvaluateOptions
from translatekit_tools.evaluate.result import Evaluation, ModelResult
from translatekit_tools.evaluate.statistics import Estimate

import translatekit
from translatekit import arguments, results
from translatekit.config import TrainOptions

ROOT = Path(__file__).parent.parent


def test_the_arguments_are_made_from_the_options() -> None:
    make_arguments = runpy.run_path(str(ROOT / "docs" / "make_arguments.py"))
    assert Path(arguments.__file__).read_text(encoding="utf-8") == make_arguments["render"](), (
        "run python docs/make_cli.py"
    )


@pytest.mark.parametrize(
    ("function", "options"),
    [
        ("train", TrainOptions),
        ("translate", RunOptions),
        ("compile", CompileOptions),
        ("evaluate", EvaluateOptions),
    ],
)
def test_every_option_is_an_argument_of_its_function(function: str, options: type[Any]) -> None:
    typed = getattr(arguments, f"{function.capitalize()}Arguments")
    assert set(typed.__annotations__) == {field.name for field in fields(options)}
    parameters = inspect.signature(getattr(translatekit, function)).parameters
    if function != "train":  # whose overload says it: a method's own options come beside them
        assert parameters["options"].annotation == f"Unpack[{typed.__name__}]"
    assert not set(parameters) & set(typed.__annotations__)


@pytest.mark.parametrize("made", [Result, Summary, CompileReport, Estimate, ModelResult, Evaluation])
def test_results_have_what_is_told_of_them(made: type[Any]) -> None:
    told = getattr(results, made.__name__)
    assert is_dataclass(made)
    names = {name for name, value in vars(told).items() if isinstance(value, property) or name == "to_dict"}
    assert names
    assert names <= {field.name for field in fields(made)} | set(vars(made))


def test_the_package_is_typed() -> None:
    assert (ROOT / "translatekit" / "py.typed").is_file()
