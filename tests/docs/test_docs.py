"""The documentation says what is true."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.evaluate.options import EvaluateOptions

import translatekit
from translatekit.cli import program
from translatekit.cli.options import collect
from translatekit.config import RunConfig, TrainOptions
from translatekit.model_info import ModelInfo
from translatekit.options import check_options, option_types
from translatekit.registry import registry

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
README, CHANGELOG, BENCHMARKS = ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md"
GUIDES = sorted((ROOT / "docs").glob("*.md"))
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
PAGES = [README, CHANGELOG, BENCHMARKS, *GUIDES, *TUTORIALS]
REFERENCE = ROOT / "docs" / "cli.md"  # made from the code; its lines are usages, not commands
NETWORK_ARGUMENTS = ("in_channels", "out_channels", "latent_size", "num_classes", "size")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def relative(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path, language: str | None = None) -> list[str]:
    """The contents of fenced blocks: all of them, or those of one language."""
    blocks = re.findall(r"^```([a-z]*)\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)
    return [block for label, block in blocks if language in (None, label)]


def prose_of(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


def rows_of(text: str) -> list[list[str]]:
    """The cells of each line of each table, the headings among them."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("| ---")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def section_of(page: Path, heading: str) -> str:
    """What stands under a heading of the second level."""
    parts = re.split(r"^## ", text_of(page), flags=re.MULTILINE)
    return next(part for part in parts if part.splitlines()[0] == heading)


def commands_of(page: Path, name: str) -> list[str]:
    """The command lines in fenced blocks that start with `name`, with continued lines joined."""
    blocks = [block.replace("\\\n", " ") for block in blocks_of(page)]
    return [line for block in blocks for line in block.splitlines() if line.startswith(f"{name} ")]


def own(kind: str) -> list[Any]:
    """The descriptors of one kind that come with translatekit."""
    entries = registry(kind).entries()
    return [entry.spec for entry in entries if entry.plugin.distribution == "translatekit"]


def parsed(line: str) -> tuple[list[str], click.Context]:
    """The names of the command and its subcommands, and click's understanding of their parameters."""
    name, *words = shlex.split(line, comments=True)[1:]
    path, command = [name], registry("command").load(name)
    context = click.Context(
        command, info_name=name, parent=click.Context(program), **command.context_settings
    )
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name}"
        path, command = [*path, name], found
        context = click.Context(command, info_name=name, parent=context)
    command.parse_args(context, words)
    return path, context


def all_flags(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        yield from (*parameter.opts, *parameter.secondary_opts)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = (
                registry("command").load(name) if command is program else command.get_command(context, name)
            )
            assert child is not None
            yield from all_flags(child, click.Context(child, info_name=name, parent=context))


COMMANDS = [
    pytest.param(line, id=f"{relative(page)}: {line}")
    for page in PAGES
    if page != REFERENCE
    for line in commands_of(page, "translatekit")
]


def packages_of(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w-]", requirement)[0] for requirement in requirements} - {"translatekit"}


def test_every_dependency_is_explained_and_none_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {package: {"always"} for package in packages_of(project["dependencies"])}
    for extra, requirements in project["optional-dependencies"].items():
        for package in packages_of(requirements) if extra != "dev" else ():
            wanted.setdefault(package, set()).add(f"`{extra}`")
    rows = [row for row in rows_of(section_of(README, "Dependencies")) if len(row) == 3][1:]
    told = {package: set(extras.split(", ")) for names, extras, _ in rows for package in names.split(", ")}
    assert told == wanted
    assert all(purpose for *_, purpose in rows)


def test_every_extra_is_explained_and_none_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = [row for row in rows_of(section_of(README, "Dependencies")) if len(row) == 2][1:]
    assert {name.strip("`") for name, _ in rows} == {"none", *project["optional-dependencies"]} - {"dev"}
    assert all(purpose for _, purpose in rows)


def test_all_is_what_needs_no_gpu() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    (names,) = re.findall(r"^translatekit\[(.*)\]$", "\n".join(extras["all"]))
    assert set(extras) - set(names.split(",")) == {
        "all",
        "dev",
        "testing",
        "tensorrt",
        "tensorrt-rtx",
        "pycuda",
        "litert-compile",  # brings JAX, and pins packages that others need newer
        "mlflow",
        "trackio",
        "wandb",
        "ray",  # a quarter of a gigabyte for what few have
    }


def test_the_changelog_has_this_version() -> None:
    assert re.search(rf"^## {re.escape(translatekit.__version__)}\b", text_of(CHANGELOG), re.MULTILINE)


def test_the_page_of_commands_is_current() -> None:
    make_cli = runpy.run_path(str(ROOT / "docs" / "make_cli.py"))
    assert make_cli["PAGE"] == REFERENCE
    assert text_of(REFERENCE) == make_cli["render"](), "run python docs/make_cli.py"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", prose_of(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{relative(page)} links to {link}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", prose_of(target), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in anchors, f"{relative(page)} links to {link}"


@pytest.mark.parametrize("page", [page for page in GUIDES if page.name != "index.md"], ids=relative)
def test_readme_and_index_lead_to_every_guide(page: Path) -> None:
    assert f"](docs/{page.name})" in text_of(README)
    assert f"]({page.name})" in text_of(ROOT / "docs" / "index.md")


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) > 30


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_understood(line: str) -> None:
    path, context = parsed(line)  # raises where an option or argument is not there
    if path == ["run"]:
        assert context.params["model"] is not None
        RunOptions(**collect(RunOptions, context.params))
    if path[0] == "train" and len(path) == 2 and not context.params["resume"]:
        check_training(path[1], context.params)


def check_training(method: str, params: dict[str, Any]) -> None:
    """Read the options as the program would, those of networks and dataset included."""
    options_type = registry("method").get(method).load_options()
    given = {**collect(TrainOptions, params), **collect(options_type, params)}
    options = RunConfig.resolve(method, next(iter(params["data"]), None), given).options
    for kind, name, chosen in (
        ("generator", options.generator, options.generator_options),
        ("discriminator", options.discriminator, options.discriminator_options),
        ("dataset", options.dataset, options.dataset_options),
    ):
        if name in ("mynet", "tiny"):  # the reader's own
            continue
        check_options(registry(kind).load(str(name)), chosen, f"{kind} {name!r}")


@pytest.mark.parametrize("page", [page for page in PAGES if page != BENCHMARKS], ids=relative)
def test_options_in_the_prose_exist(page: Path) -> None:
    known = set(all_flags(program, click.Context(program))) | {"--help", "--logdir"}
    named = {
        flag for code in re.findall(r"`([^`]+)`", prose_of(page)) for flag in re.findall(r"--[\w-]+", code)
    }
    assert named <= known


def test_the_commands_of_the_benchmarks_exist_with_their_options() -> None:
    lines = commands_of(BENCHMARKS, "python")
    for line in lines:
        _, script, *words = shlex.split(line)
        flags = {word for word in words if word.startswith("--")}
        assert flags <= flags_of_script(ROOT / script), f"{script} has no such option: {line}"
    measured = {Path(shlex.split(line)[1]).name for line in lines}
    programs = [path for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text()]
    assert measured == {path.name for path in programs}


def flags_of_script(path: Path) -> set[str]:
    """The flags that a script's argparse is told of."""
    calls = (node for node in ast.walk(ast.parse(text_of(path))) if isinstance(node, ast.Call))
    added = (
        call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"
    )
    return {
        str(argument.value) for call in added for argument in call.args if isinstance(argument, ast.Constant)
    }


def test_the_python_interface_in_the_readme_exists() -> None:
    general = {item.name for item in fields(TrainOptions)}
    options = {"train": general, "translate": {item.name for item in fields(RunOptions)}}
    options["evaluate"] = {"compare", *(item.name for item in fields(EvaluateOptions))}
    used = set()
    for block in blocks_of(README, "python"):
        for call in (node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)):
            name = ast.unparse(call.func).removeprefix("translatekit.")
            if name not in translatekit.__all__:
                continue
            used.add(name)
            inspect.signature(getattr(translatekit, name)).bind(
                *call.args, **{key.arg: 0 for key in call.keywords}
            )
            assert {key.arg for key in call.keywords} <= options.get(name, set())
    assert used == set(translatekit.__all__)


@pytest.mark.parametrize("kind", ["generator", "discriminator"])
def test_the_tables_of_networks_give_their_options_and_defaults(kind: str) -> None:
    rows = rows_of(section_of(ROOT / "docs" / "concepts.md", f"{kind.capitalize()}s"))
    options_column = rows[0].index("options and defaults")
    told = {row[0].split("`")[1]: row[options_column] for row in rows[1:] if "=" in row[options_column]}
    told["encoder_decoder"] = told.get("unet", "")  # "as `unet`"
    for spec in own(kind):
        parameters = inspect.signature(spec.load().__init__).parameters
        wanted = {
            name: parameters[name].default
            for name in option_types(spec.load())
            if name not in NETWORK_ARGUMENTS
        }
        pairs = dict(pair.split("=") for pair in re.findall(r"`([^`]+)`", told[spec.name]))
        assert check_options(spec.load(), pairs, spec.name) == wanted


@pytest.mark.parametrize("kind", ["method", "generator", "discriminator", "loss"])
def test_the_concepts_name_everything_that_is_there(kind: str) -> None:
    page = text_of(ROOT / "docs" / "concepts.md")
    assert [spec.name for spec in own(kind) if f"`{spec.name}`" not in page] == []


def test_the_fields_of_the_model_file_are_explained_and_none_other() -> None:
    rows = rows_of(section_of(ROOT / "docs" / "concepts.md", "The model file"))
    told = {name for row in rows[1:] for name in re.findall(r"`(\w+)`", row[0])}
    assert told == {item.name for item in fields(ModelInfo)}


@pytest.mark.parametrize("spec", own("dataset"), ids=lambda spec: spec.name)
def test_every_dataset_is_explained_with_its_options(spec: Any) -> None:
    page = ROOT / "docs" / "data.md"
    heading = next(line for line in text_of(page).splitlines() if line.startswith(f"## {spec.name}: "))
    told = [row[0].strip("`") for row in rows_of(section_of(page, heading.removeprefix("## ")))[1:]]
    assert told == list(option_types(spec.load(), skip=("root", "options")))


def test_the_metrics_are_told_with_their_directions_and_none_other() -> None:
    rows = rows_of(section_of(ROOT / "docs" / "evaluate.md", "The metrics"))[1:]
    told = {
        name: row[-1]
        for row in rows
        for name in re.findall(r"`(\w+)`", row[0])
        if not name.startswith(("accuracy_", "fcn_"))
    }
    assert told == {spec.name: spec.better for spec in own("metric")}


def test_the_layers_in_the_architecture_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    checked = [
        [re.sub(r"translatekit(_tools)?\.", "", layer) for layer in item["layers"]]
        for item in contracts["contracts"]
        if item["type"] == "layers" and "containers" not in item
    ]
    told = [block.splitlines() for block in blocks_of(ROOT / "docs" / "architecture.md")[1:]]
    assert [layers for layers in checked if layers not in told] == []
    assert len(checked) == 2


def test_the_run_folder_is_as_described(tmp_path: Path) -> None:
    run = translatekit.train("pix2pix", **tiny_run(tmp_path / "run"))
    rows = rows_of(section_of(ROOT / "docs" / "concepts.md", "The run's folder"))
    told = [re.findall(r"`([^`]+)`", row[0])[0] for row in rows[1:]]
    there = {path.name for path in run.iterdir()}
    unmatched = {name for name in there if not any(name.startswith(item.rstrip("/.")) for item in told)}
    missing = [item for item in told if not any(name.startswith(item.rstrip("/.")) for name in there)]
    assert (unmatched, missing) == (set(), [])


def tiny_run(folder: Path) -> dict[str, Any]:
    """Options of a run of five steps on the demo, with a generator that has dropout."""
    return {
        "output": str(folder),
        "dataset_options": {"count": 5},
        "load_size": 64,
        "crop_size": 64,
        "generator_options": {"depth": 6, "width": 4},
        "discriminator_options": {"layers": 1, "width": 4},
        "epochs": 1,
        "epochs_decay": 0,
        "accelerator": "cpu",
        "precision": "fp32",
    }
