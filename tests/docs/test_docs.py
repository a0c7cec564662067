"""The documentation says what is true."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import click
import pytest

import translatekit
from translatekit.cli import program
from translatekit.registry import registry

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands_in(page: Path) -> list[str]:
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.split("   #")[0] for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("translatekit ")]


def test_every_dependency_is_explained_and_none_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[^\w-]", requirement)[0] for requirement in project["dependencies"]}
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("## Dependencies")[1].split("##")[0]
    explained = set(re.findall(r"^\| ([\w-]+) \|", table, re.MULTILINE)) - {"package", "---"}
    assert explained == wanted


def test_the_page_of_commands_is_current() -> None:
    make_cli = runpy.run_path(str(ROOT / "docs" / "make_cli.py"))
    current = make_cli["PAGE"].read_text(encoding="utf-8")
    assert current == make_cli["render"](), "run python docs/make_cli.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize(
    ("page", "line"), [(page.name, line) for page in PAGES for line in commands_in(page)]
)
def test_commands_in_the_text_exist_with_their_options(page: str, line: str) -> None:
    name, *words = shlex.split(line)[1:]
    command = registry("command").load(name)
    context = click.Context(command, info_name=name, parent=click.Context(program))
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, f"{page}: {line}"
        command = found
        context = click.Context(command, info_name=name, parent=context)
    command.parse_args(context, words)  # raises where an option or argument is not there


def test_the_python_interface_in_the_readme_exists() -> None:
    used = set(re.findall(r"translatekit\.([a-z_]+)\(", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert used == set(translatekit.__all__)
