"""Write translatekit/arguments.py, the keyword arguments of the public functions, from the options of the commands.

The core imports no tool, so type checkers and editors could not find them there: python docs/make_cli.py runs this too.
"""

from __future__ import annotations

import types
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from translatekit_tools.backends.options import CompileOptions
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.evaluate.options import EvaluateOptions

from translatekit.config import TrainOptions

MODULE = Path(__file__).parent.parent / "translatekit" / "arguments.py"
INTRODUCTION = '''\
"""The keyword arguments of the public functions, made from the options of the commands by docs/make_cli.py.

They are for type checkers and editors; what each means, its default and its range are in docs/cli.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict
'''

CLASSES = {
    "TrainArguments": (TrainOptions, "Of `translatekit.train`; a method takes its own beside them."),
    "TranslateArguments": (RunOptions, "Of `translatekit.translate`."),
    "CompileArguments": (CompileOptions, "Of `translatekit.compile`."),
    "EvaluateArguments": (EvaluateOptions, "Of `translatekit.evaluate`."),
}
_PARSED = {
    "Augment": "str",
    "Fold": "str | tuple[int, int]",
    "Shard": "str",
    "Size": "int | str | tuple[int, int]",
    "Memory": "float | str",
}
"""What the API takes for fields that are parsed."""

_PLACES = {"output"}
"""Fields of text that a path may be given for."""

_LINE = 110


def render() -> str:
    """The module's text."""
    lines = [INTRODUCTION]
    for name, (options, summary) in CLASSES.items():
        lines += ["", f"class {name}(TypedDict, total=False):", f'    """{summary}"""', ""]
        hints = get_type_hints(options)
        lines += [_line(field.name, hints[field.name]) for field in fields(options)]
        lines += [""]
    return "\n".join(lines)


def _line(name: str, hint: Any) -> str:
    line = f"    {name}: {_text(hint)}"
    if name in _PLACES:
        line = line.replace("str", "str | Path")
    if len(line) <= _LINE:
        return line
    values, _, rest = _text(hint).removeprefix("Literal[").partition("]")
    each = "".join(f"            {value},\n" for value in values.split(", "))
    return f"    {name}: (\n        Literal[\n{each}        ]\n        {rest.strip()}\n    )"


def _text(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "Literal[" + ", ".join(f'"{value}"' for value in args) + "]"
    if origin in (Union, types.UnionType):
        return " | ".join(_text(arg) for arg in args)
    if origin is tuple:
        return "Sequence[str] | str"
    if origin is dict:
        return "Mapping[str, Any]"
    if hint is type(None):
        return "None"
    if hasattr(hint, "parse"):
        return _PARSED[hint.__name__]
    return str(hint.__name__)


if __name__ == "__main__":
    MODULE.write_text(render(), encoding="utf-8")
