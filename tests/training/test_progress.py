"""What is seen of a training on terminals of several widths."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from translatekit.training import progress
from translatekit.training.progress import Reporter

LOSSES = ("G_A", "G_B", "cycle_A", "cycle_B", "idt_A", "idt_B", "D_A", "D_B")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_bar_steps_and_time_stay_whatever_the_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr(progress, "stderr", lambda: console)
    with Reporter(tmp_path, total_steps=80_000, done_steps=0, epochs=200) as report:
        report.step(12_345, 30)
        report.train(12_345, 30, dict.fromkeys(LOSSES, 0.12345), lr=2e-4, rate=12.3)
        assert report._progress is not None
        screen = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
        with screen.capture() as capture:
            screen.print(report._progress.get_renderable())
    first, *below = capture.get().splitlines()
    assert "epoch 31/200" in first
    assert "━━" in first
    assert "12345/80000" in first
    assert "12.3 images/s" in first
    assert first.rstrip().endswith(("-:--:--", ":00", ":01"))
    text = " ".join(below)
    for name in LOSSES:
        assert f"{name} 0.123" in text
    assert all(len(line) <= width for line in (first, *below))


def test_commands_are_not_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=40, color_system=None)
    monkeypatch.setattr(progress, "stderr", lambda: console)
    command = "translatekit evaluate runs/pix2pix-facades /data/a/long/way/down"
    with Reporter(tmp_path, total_steps=10, done_steps=0, epochs=1) as report, console.capture() as capture:
        report.show(command)
    assert command in capture.get()
