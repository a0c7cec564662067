"""``translatekit info``: what a model file says of itself, read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rich_click as click

from translatekit.model_file import find_model, read_any_info
from translatekit.storage import is_uri, local_copy, shown
from translatekit.terminal import printable
from translatekit.training.diagnosis import diagnose_run


@click.command()
@click.argument("model", metavar="FILE|RUN")
@click.option("--direction", help="Which of a run's generators, such as BtoA.")
@click.option("--json", "as_json", is_flag=True, help="Print the header as one JSON object.")
def info(model: str, direction: str | None, as_json: bool) -> None:
    """Show what a model file or a run's model is: its network, what it was trained on, and how well it does."""
    place = local_copy(model)
    path = find_model(place, direction)
    name = shown(model) if is_uri(model) else str(path)
    described = read_any_info(path)
    header = described.to_fields()
    header["other_directions"] = _other_directions(place, path)
    troubles = [str(trouble) for trouble in diagnose_run(place)]
    if as_json:
        click.echo(json.dumps({"file": name, **header, "troubles": troubles}, indent=2))
        return
    from rich.table import Table

    from translatekit.terminal import stdout

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    size = sum(part.stat().st_size for part in (path, *path.rglob("*")) if part.is_file())
    table.add_row("file", f"{printable(name)} ({size / 1e6:.1f} MB)")
    header |= {name: str(getattr(described, name)) for name in ("input", "output") if name in header}
    if described.bridge is not None:
        header["bridge"] = f"{described.bridge.steps} passes, noise of variance {described.bridge.tau:g}"
    for name, value in header.items():
        if value not in ({}, (), []):
            table.add_row(name.replace("_", " "), _shown(value))
    for trouble in troubles:
        table.add_row("trouble", printable(trouble))
    stdout().print(table)


def _other_directions(model: Path, shown: Path) -> list[str]:
    """The generators of a run's folder that are not shown; none beside a file."""
    paths = sorted(model.glob(f"model*{shown.suffix}"))
    return [read_any_info(path).direction for path in paths if path != shown]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(
            f"{printable(key)} = {_shown(item)}" for key, item in value.items() if item not in ([], {})
        )
    if isinstance(value, tuple | list):
        if all(isinstance(item, dict) for item in value):
            return "; ".join(" ".join(map(_shown, item.values())) for item in value)
        return ", ".join(_shown(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))
