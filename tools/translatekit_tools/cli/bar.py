"""What a command is doing, on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


class Bar:
    """What is being done, on stderr: a bar on a terminal, a line each elsewhere."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = console
        self._text = ""
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, text: str, share: float | None) -> None:
        """Show a step, and the share of it that is done."""
        self._progress.update(
            self._task, description=text, total=None if share is None else 1.0, completed=share or 0.0
        )
        if text != self._text and not self._console.is_terminal:
            self._console.print(text, soft_wrap=True)
        self._text = text
