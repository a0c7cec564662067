"""Docstrings name the arguments and attributes that are there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECTION = r"(?m)^{}:\n((?:    .*\n?|\n)+)"
FunctionDef = (ast.FunctionDef, ast.AsyncFunctionDef)


def told(docstring: str, section: str) -> Iterator[str]:
    """The names that a section explains."""
    found = re.search(SECTION.format(section), docstring)
    for names in re.findall(r"(?m)^    (\w+(?:, \w+)*): ", found[1] if found else ""):
        yield from names.split(", ")


def names_in(node: ast.AST) -> set[str]:
    """What is given a name in a class or function."""
    found = {item.attr for item in ast.walk(node) if isinstance(item, ast.Attribute)}
    found |= {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}
    found |= {item.arg for item in ast.walk(node) if isinstance(item, ast.arg)}
    return found | {item.name for item in ast.walk(node) if isinstance(item, FunctionDef)}


def test_no_docstring_explains_what_is_not_there() -> None:
    wrong = []
    for folder in ("translatekit", "plugins", "tools"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, FunctionDef):
                    section, there = (
                        "Args",
                        {item.arg for item in ast.walk(node.args) if isinstance(item, ast.arg)},
                    )
                elif isinstance(node, ast.ClassDef):
                    section, there = "Attributes", names_in(node)
                else:
                    continue
                unknown = set(told(ast.get_docstring(node) or "", section)) - there
                if unknown:
                    wrong.append(f"{path.relative_to(ROOT)}: {node.name}: {', '.join(sorted(unknown))}")
    assert wrong == []
