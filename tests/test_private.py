"""What a module keeps to itself, by a leading underscore, no other module imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import translatekit_tools

import translatekit


def _private_imports(file: Path) -> list[str]:
    """The imports of private modules or names of our packages in a file."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found += [
            f"{file}:{node.lineno}: {name}"
            for name in names
            if name.startswith("translatekit")
            and any(part.startswith("_") and not part.startswith("__") for part in name.split("."))
        ]
    return found


@pytest.mark.parametrize("package", [translatekit, translatekit_tools], ids=lambda package: package.__name__)
def test_nothing_private_is_imported_across_modules(package):
    files = sorted(Path(package.__file__).parent.rglob("*.py"))
    assert len(files) > 50
    assert [line for file in files for line in _private_imports(file)] == []


def test_a_private_import_is_found(tmp_path):
    file = tmp_path / "module.py"
    file.write_text("def f():\n    from translatekit.cli._options import collect\n")
    assert len(_private_imports(file)) == 1
