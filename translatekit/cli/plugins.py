"""``translatekit plugins``: list, check and start plugins."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import rich_click as click

from translatekit.cli.options import value_option
from translatekit.errors import PluginError
from translatekit.hookspecs import HOOKS
from translatekit.options import closest, parse_assignments
from translatekit.plugins import installed
from translatekit.registry import Entry, registry
from translatekit.requirements import TRAINING, require

if TYPE_CHECKING:
    from rich.console import Console


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """List what is installed, by kind, with the package it came from and what is broken and why."""
    if ctx.invoked_subcommand is not None:
        return
    listing = _listing()
    if as_json:
        click.echo(json.dumps(listing, indent=2))
    else:
        _print_listing(listing)


@plugins.command()
@click.argument("name")
@value_option("--kind", annotation=Literal[tuple(HOOKS)], help="Which of several things of that name.")
@click.option(
    "-O",
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Check with this option of the thing.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="Sample images for a dataset of unusual layout."
)
@click.pass_context
def check(
    ctx: click.Context, name: str, kind: str | None, options: tuple[str, ...], data: Path | None
) -> None:
    """Run the contract suite on the thing called NAME, or on everything of the package NAME."""
    require("plugins check", TRAINING)
    from translatekit.testing import Subject

    given = parse_assignments(options, "-O")
    subjects = [(Subject(spec=entry.spec, options=given, data=data), entry) for entry in _find(name, kind)]
    failures = [broken for subject, entry in subjects for broken in _check(subject, entry)]
    if failures:
        click.echo(f"{len(failures)} contracts are broken", err=True)
        ctx.exit(1)


@plugins.command()
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The new folder; translatekit-NAME when not given.",
)
def new(name: str, output: Path | None) -> None:
    """Write a complete package with a generator called NAME: to install, test and train as it stands."""
    from translatekit.cli.template import write_package

    folder = write_package(name, output)
    click.echo(f"{folder} holds a package with the generator {name}. Next:\n", err=True)
    for step in (
        f"cd {folder}",
        "pip install -e '.[test]'",
        f"translatekit plugins check {name}",
        "pytest",
        f"translatekit train pix2pix --generator {name}",
    ):
        click.echo(f"  {step}", err=True)


def _listing() -> dict[str, Any]:
    """Everything installed, as plain values. Asks every hook, so that each fault shows."""
    things = {
        kind: [
            {
                "name": entry.spec.name,
                "summary": entry.spec.summary,
                "distribution": entry.plugin.distribution,
                "version": entry.plugin.version,
                "target": entry.spec.target,
                "missing": entry.spec.missing(),
            }
            for entry in registry(kind).entries()
        ]
        for kind in HOOKS
    }
    conflicts = [
        {
            "kind": kind,
            "name": name,
            "distributions": sorted({claim.plugin.distribution for claim in claims}),
            "error": _refusal(kind, name),
        }
        for kind in HOOKS
        for name, claims in registry(kind).conflicts().items()
    ]
    broken = [dataclasses.asdict(plugin) for plugin in installed().broken]
    return {**things, "conflicts": conflicts, "broken": broken}


def _refusal(kind: str, name: str) -> str:
    """What a user is told who asks for a name that is claimed twice."""
    try:
        registry(kind).get(name)
    except PluginError as error:
        return str(error)
    raise AssertionError(f"{kind} {name} is in no conflict")


def _print_listing(listing: dict[str, Any]) -> None:
    from rich.table import Table

    from translatekit.terminal import stdout

    console = stdout()
    for kind in HOOKS:
        table = Table(box=None, pad_edge=False, show_header=False, title_justify="left")
        table.title = kind + "s" if kind != "loss" else "losses"
        table.title_style = "bold"
        table.add_column(style="cyan", no_wrap=True, min_width=16)
        table.add_column(ratio=1)
        table.add_column(style="dim", no_wrap=True)
        for thing in listing[kind]:
            lacks = f" (needs pip install {' '.join(thing['missing'])})" if thing["missing"] else ""
            origin = f"{thing['distribution']} {thing['version']}"
            table.add_row(thing["name"], thing["summary"] + lacks, origin)
        if not listing[kind]:
            table.add_row("none", "", "")
        console.print(table, "")
    if listing["conflicts"]:
        console.print("conflicts", style="bold red")
        for conflict in listing["conflicts"]:
            _print_fault(console, f"{conflict['kind']} {conflict['name']}", conflict["error"])
        console.print()
    if listing["broken"]:
        console.print("broken", style="bold red")
        for plugin in listing["broken"]:
            _print_fault(console, f"{plugin['distribution']} {plugin['version']}", plugin["error"])


def _print_fault(console: Console, what: str, why: str) -> None:
    console.print(f"{what}: ", style="red", end="", soft_wrap=True)
    console.print(why, soft_wrap=True)


def _find(name: str, kind: str | None) -> list[Entry[Any]]:
    """What a user means by a name: things called so, or else all things of the distribution called so.

    Raises:
        PluginError: nothing is called so; or it is claimed twice, or what is called so is broken.
    """
    kinds = [kind] if kind else list(HOOKS)
    entries = [entry for each in kinds for entry in registry(each).entries()]
    for each in kinds:
        for claimed, claims in registry(each).conflicts().items():
            # a distribution that offers what cannot be used must not pass by what is left of it
            if name in {claimed, *(claim.plugin.distribution for claim in claims)}:
                raise PluginError(_refusal(each, claimed))
    for plugin in installed().broken:
        if name == plugin.distribution:
            raise PluginError(f"{plugin.distribution} is broken: {plugin.error}")
    found = [entry for entry in entries if entry.spec.name == name]
    found = found or [entry for entry in entries if entry.plugin.distribution == name]
    if not found:
        known = {called for entry in entries for called in (entry.spec.name, entry.plugin.distribution)}
        close = closest(name, known)
        raise PluginError(
            f"nothing installed is called {name!r}{f' among the {kind}s' if kind else ''}: "
            f"{f'did you mean {close!r}? ' if close else ''}translatekit plugins lists everything"
        )
    return found


def _check(subject: Any, entry: Entry[Any]) -> list[str]:
    """Run every contract on one thing, print how it went, and return the names of those that are broken."""
    from translatekit.terminal import stdout
    from translatekit.testing import ContractError, NotApplicableError, contracts_of

    console, broken = stdout(), []
    console.print(
        f"{entry.spec.kind} {entry.spec.name}  ({entry.plugin.distribution} {entry.plugin.version})",
        style="bold",
    )
    for contract in contracts_of(entry.spec.kind):
        try:
            contract.run(subject)
        except NotApplicableError as reason:
            console.print(f"  skip  {contract.promise}: {reason}", style="dim", soft_wrap=True)
        except ContractError as error:
            broken.append(contract.name)
            console.print(f"  FAIL  {contract.promise}", style="red", soft_wrap=True)
            console.print(f"        {error}", soft_wrap=True)
        else:
            console.print(f"  pass  {contract.promise}", soft_wrap=True)
        sys.stdout.flush()
    return broken
