"""``translatekit run``: translate files and folders."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click
import rich_click

from translatekit.cli.natives import natives_are_silent
from translatekit.cli.options import collect, options_from_dataclass
from translatekit.cli.signals import command_line, stops_on_signals
from translatekit.errors import OptionError, Stopped
from translatekit.terminal import echo, stderr
from translatekit_tools.bulk.addresses import STANDARD
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.stats import PARALLEL_STAGES
from translatekit_tools.scale.options import ScaleOptions

if TYPE_CHECKING:
    from rich.console import Console

    from translatekit_tools.bulk import Result, Summary
    from translatekit_tools.bulk.stats import Stats

_SECONDS_BETWEEN_LINES = 5.0


@rich_click.command(no_args_is_help=True)
@rich_click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@rich_click.option(
    "-m",
    "--model",
    metavar="MODEL",
    help="A model file, or a run's folder.",
    panel="Model",
    type=click.Path(),
)
@rich_click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="The output folder, or the output file of one input file; beside the input when not given.",
    panel="Output",
    type=click.Path(),
)
@rich_click.option(
    "--json", "as_json", is_flag=True, help="Print a summary as JSON to stdout.", panel="Output"
)
@rich_click.option(
    "--collect",
    "collects",
    is_flag=True,
    help="Translate nothing: sum up what all parts of --shard have done, and name what failed or is missing.",
    panel="Shards",
)
def run(
    inputs: tuple[str, ...],
    model: str | None,
    output: str | None,
    as_json: bool,
    collects: bool,
    **params: Any,
) -> None:
    """Translate images and videos with a trained model.

    INPUT is a file, a folder (taken recursively and mirrored under OUT), the address of one, such as
    s3://bucket/photos, or a quoted glob; - for an image or a video from standard input; or a video: a URL, or
    numbered images (frames/%06d.png). -o - writes to standard output. Without -o, a folder's outputs go to
    FOLDER-translated and a file's to NAME-translated beside it. Originals are never overwritten. A rerun skips
    what is done, so a run that was stopped goes on when the same command is given again. Ctrl-C, SIGTERM and
    SIGHUP stop it after what is being translated; a second one ends it at once.

    The written files' names are printed to stdout, everything else to stderr. The exit status is 1 if any
    file failed, and 130, 143 or 129 if it was stopped.
    """
    options = collect(RunOptions, params)
    scale = ScaleOptions(**collect(ScaleOptions, params))
    if model is None:
        raise OptionError(
            "no model is given: pass --model with a model file or the folder of a run of translatekit train"
        )
    if collects:
        return _collect(inputs, model, output, RunOptions(**options), as_json)
    to_stdout = output == STANDARD
    if to_stdout and as_json:
        raise OptionError("-o - and --json both want standard output: leave one of them out")
    if to_stdout and sys.stdout.isatty():
        raise OptionError(
            "-o - writes an image or a video, and standard output is a terminal: pipe it into a program or a file"
        )
    if STANDARD in inputs and sys.stdin.isatty():
        raise OptionError("- reads an image or a video from standard input, which is a terminal: pipe one in")
    if scale.on is not None and STANDARD in (*inputs, output):
        raise OptionError(
            "a cluster reads and writes no pipe: leave out --on, or name a folder or an address"
        )
    console = stderr()
    reporter = _Reporter(console, print_outputs=not as_json and not to_stdout)
    try:
        with natives_are_silent(), stops_on_signals(), reporter:
            summary = _translate(inputs, model, output, options, scale, reporter)
    except Stopped as stopped:
        files = (
            "1 file, which is whole" if reporter.done == 1 else f"{reporter.done} files, all of them whole"
        )
        reporter.say(f"Stopped after {files}. To go on: {command_line()}")
        raise SystemExit(stopped.status) from None
    if as_json:
        click.echo(json.dumps(summary.to_dict()))
    _print_summary(console, summary)
    if options.get("stats") and summary.stats is not None:
        _print_stats(console, summary.stats)
    if summary.failed:
        raise SystemExit(1)


run.params += options_from_dataclass(RunOptions)
run.params += options_from_dataclass(ScaleOptions)


def _translate(
    inputs: tuple[str, ...],
    model: str,
    output: str | None,
    options: dict[str, Any],
    scale: ScaleOptions,
    reporter: _Reporter,
) -> Summary:
    if scale.on is not None:
        from translatekit_tools.scale.run import translate_on

        return translate_on(inputs, model, output, RunOptions(**options), scale, reporter)
    from translatekit_tools.bulk import translate
    from translatekit_tools.bulk.pipes import images_in_pipes

    with images_in_pipes(inputs, output, RunOptions(**options)) as (sources, target):
        return translate(sources, model, target, progress=reporter, **options)


def _collect(
    inputs: tuple[str, ...], model: str, output: str | None, options: RunOptions, as_json: bool
) -> None:
    from translatekit_tools.bulk.collect import collect

    console = stderr()
    with stops_on_signals():
        collected = collect(inputs, model, output, options)
    if as_json:
        click.echo(json.dumps(collected.to_dict()))
    else:
        for path, reason in collected.failed:
            echo(f"failed {path}: {reason.removeprefix(f'{path} ')}")
        for path in collected.missing:
            echo(f"missing {path}")
    if collected.missing and not collected.done and not collected.failed:
        console.print(
            "Nothing was translated yet from these inputs, by this model and with these options: run the same command "
            "without --collect first, or check what is different",
            markup=False,
        )
    console.print(
        f"{collected.done} done, {len(collected.failed)} failed, {len(collected.missing)} missing",
        markup=False,
        style="green" if collected.is_complete else "red",
    )
    if not collected.is_complete:
        raise SystemExit(1)


class _Reporter:
    """Shows progress on stderr: a bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, console: Console, print_outputs: bool) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = console
        self._print_outputs = print_outputs
        self._start = time.monotonic()
        self._last_line = self._start
        self.done = 0
        self._translated = 0
        self._failed = 0
        self._bytes = 0
        self._video: tuple[float, int] | None = None  # when and at which frame it began
        self._bar = Progress(
            TextColumn("Translating"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failures]}", style="red"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, rate="", failures="")

    def __enter__(self) -> _Reporter:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def frames(self, done: int, total: int, unit: str = "frame") -> None:
        """Show how far a video is, or another file in parts of some name."""
        now = time.monotonic()
        if (
            self._video is None or done <= self._video[1]
        ):  # the first frame of a video, or after a stopped run
            self._video = (now, done)
        rate = (done - self._video[1]) / max(now - self._video[0], 1e-9)
        text = f"{unit} {done}/{total}" if total else f"{unit} {done}"
        if rate > 0:
            text += f", {rate:{'.1f' if rate >= 1 else '.2g'}} {unit}s/s" + (
                f", {(total - done) / rate:.0f} s left" if total else ""
            )
        self._bar.update(self._task, rate=text)
        if self._bar.disable and now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            print(text, file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Show a sentence that the user should know."""
        self._console.print(text, soft_wrap=True)

    def __call__(self, result: Result) -> None:
        """Take note of one finished input."""
        self.done += 1
        if result.outcome == "failed":
            self._failed += 1
            reason = result.reason.removeprefix(f"{result.source} ")  # many reasons name the file themselves
            self._console.print(f"{result.source}: {reason}", soft_wrap=True)
        elif result.outcome == "translated":
            self._translated += 1
            self._bytes += result.bytes_read + result.bytes_written
            if self._print_outputs and not self._bar.disable and sys.stdout.isatty():
                self.say(str(result.output))  # above the bar, where both are on one terminal
            elif self._print_outputs:
                echo(result.output)
        seconds = max(time.monotonic() - self._start, 1e-9)
        rate = f"{self._translated / seconds:.1f} images/s, {self._bytes / seconds / 1e6:.1f} MB/s"
        failures = f"{self._failed} failed" if self._failed else ""
        total = result.total or None  # a cluster's listing is not at its end yet
        self._bar.update(self._task, total=total, completed=self.done, rate=rate, failures=failures)
        if self._bar.disable and time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            left = f"{seconds / self.done * (total - self.done):.0f} s left" if total else ""
            done = f"{self.done}/{total}" if total else f"{self.done} done"
            line = ", ".join(filter(None, (done, rate, left, failures)))
            print(line, file=sys.stderr, flush=True)


def _print_summary(console: Console, summary: Summary) -> None:
    translated = "would translate" if summary.dry_run else "translated"
    parts = [f"{translated} {summary.translated}"]
    if summary.skipped:
        parts.append(f"skipped {summary.skipped} done before")
    if summary.failed:
        parts.append(f"{len(summary.failed)} failed")
    if summary.translated and not summary.dry_run:
        parts.append(f"{summary.seconds:.1f} s, {summary.images_per_second:.1f} images/s")
    if summary.frames:
        parts.append(f"{summary.frames} frames, {summary.frames / max(summary.seconds, 1e-9):.1f} a second")
    for path, (before, after) in summary.flicker.items():
        parts.append(f"flicker of {path}: warp error {before:.5f}, smoothed {after:.5f}")
    for what, count in summary.hdr.items():
        parts.append(f"{count} of the videos {'is' if count == 1 else 'are'} {what}")
    line = ", ".join(parts)
    console.print(
        line[0].upper() + line[1:], markup=False, soft_wrap=True, style="red" if summary.failed else "green"
    )


def _print_stats(console: Console, stats: Stats) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("stage")
    table.add_column("busy, s", justify="right")
    table.add_column("share of the time", justify="right")
    for stage, seconds in stats.seconds.items():
        workers = stats.threads if stage in PARALLEL_STAGES else 1
        share = seconds / (stats.wall * workers) if stats.wall else 0.0
        note = f" of {workers} threads" if workers > 1 else ""
        table.add_row(stage, f"{seconds:.2f}", f"{100 * share:.0f} %{note}")
    console.print(table)
    console.print(f"The others wait for: {stats.bottleneck}", style="bold")
