"""The page of a distillation: the verdict, the table, and a picture of time, size and quality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from markupsafe import Markup

from translatekit.storage import write_atomically
from translatekit.training.report.page import render
from translatekit_tools.distill.candidates import Timing
from translatekit_tools.distill.verdict import Distilled, Row

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 720, 360, 64, 48
_COLORS = {"teacher": "#8250df", "compiled": "#8250df", "student": "#1a7f37"}


def write_page(made: Distilled, key: str) -> None:
    """Write the page and the picture.

    Args:
        made: what there is to show.
        key: the runtime and precision whose times are drawn.
    """
    picture = draw_pareto(made.rows, key)
    write_atomically(made.picture, picture.encode())
    page = render(
        "distill.html",
        "translatekit_tools",
        title=f"Distillation of {made.folder.name}",
        verdict=made.summary if made.model is not None else f"Falls short: {made.summary}",
        picture=Markup(picture),  # of our own making, names in it escaped
        columns=columns(made.rows),
        rows=[cells(row, made.rows) for row in made.rows],
        shortcomings=[f"{row.name}: {text}" for row in made.rows for text in row.shortcomings],
        trained=made.trained,
        measured=f"{made.images} {made.split} images",
    )
    write_atomically(made.page, page.encode())


def columns(rows: Sequence[Row]) -> list[str]:
    """The titles of the table."""
    timed = [f"{key}, ms" for key in rows[0].timings]
    targets = ["L1 to targets", "above the teacher's"] if any(row.to_targets for row in rows) else []
    return ["model", "MB", *timed, "PSNR to teacher, dB", "SSIM to teacher", *targets]


def cells(row: Row, rows: Sequence[Row]) -> list[str]:
    """One line of the table, as text."""
    times = []
    for key in rows[0].timings:
        timing = timing_in(row, key)
        faster = "" if timing is None or row.kind == "teacher" else f" ({timing.faster:.1f}x)"
        times.append("" if timing is None else f"{timing.median * 1e3:.1f}{faster}")
    found = [row.name, f"{row.bytes / 1e6:.2f}", *times]
    for name, digits in (("psnr", 1), ("ssim", 3)):
        item = row.to_teacher.get(name)
        found.append("" if item is None else f"{item.value:.{digits}f}")
    if any(other.to_targets for other in rows):
        for item in (row.to_targets.get("l1"), row.difference.get("l1")):
            interval = "" if item is None or item.low is None else f" [{item.low:.4f}, {item.high:.4f}]"
            found.append("" if item is None else f"{item.value:.4f}{interval}")
    return found


def timing_in(row: Row, key: str) -> Timing | None:
    """How long a model takes in a runtime; of the teacher in another precision, in that one."""
    runtime = key.rpartition(" ")[0]
    others = (timing for name, timing in row.timings.items() if name.rpartition(" ")[0] == runtime)
    return row.timings.get(key) or (next(others, None) if row.kind == "compiled" else None)


def draw_pareto(rows: Sequence[Row], key: str) -> str:
    """Time (logarithmic) and quality of each model as an SVG; the area of a disc is the model's size.

    Models whose quality was not measured stand on the lower edge; the teacher, in any precision, on the upper one.

    Args:
        rows: the models.
        key: of the timings.
    """
    timed = [(row, timing) for row in rows if (timing := timing_in(row, key)) is not None]
    quality = {row.name: row.to_teacher["psnr"].value for row, _ in timed if row.kind == "student"}
    low = math.floor(min(quality.values(), default=20.0)) - 2
    high = math.ceil(max(quality.values(), default=30.0)) + 3
    times = [timing.median * 1e3 for _, timing in timed]
    first, last = math.log10(min(times) / 1.6), math.log10(max(times) * 1.6)
    largest = max(row.bytes for row, _ in timed)

    def across(milliseconds: float) -> float:
        return _LEFT + (math.log10(milliseconds) - first) / (last - first) * (_WIDTH - _LEFT - 24)

    def up(value: float) -> float:
        return 24 + (high - value) / (high - low) * (_HEIGHT - _BOTTOM - 24)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="Time and quality of {len(timed)} models" font-family="system-ui, sans-serif" font-size="12" '
        'fill="#6e7781">',
        f'<path d="M{_LEFT} 24V{_HEIGHT - _BOTTOM}H{_WIDTH - 24}" fill="none" stroke="#8c959f"/>',
        f'<text x="{(_WIDTH + _LEFT) / 2}" y="{_HEIGHT - 10}" text-anchor="middle">milliseconds an image, '
        f"{escape(key)}</text>",
        f'<text x="14" y="{_HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 {_HEIGHT / 2})">PSNR to the '
        "teacher, dB</text>",
    ]
    for tick in _ticks(10**first, 10**last):
        parts.append(
            f'<text x="{across(tick):.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{tick:g}</text>'
        )
    for value in range(low, high + 1, max(1, (high - low) // 6)):
        parts.append(f'<text x="{_LEFT - 8}" y="{up(value) + 4:.1f}" text-anchor="end">{value}</text>')
    for row, timing in timed:
        x = across(timing.median * 1e3)
        y = 24.0 if row.kind in ("teacher", "compiled") else up(quality.get(row.name, low))
        radius = max(3.0, 22 * math.sqrt(row.bytes / largest))
        color = _COLORS.get(row.kind, "#8c959f")
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{color}" fill-opacity="0.55" stroke="{color}">'
            f"<title>{escape(row.name)}: {row.bytes / 1e6:.2f} MB</title></circle>"
        )
        if row.kind != "timed":
            parts.append(
                f'<text x="{x:.1f}" y="{y + radius + 14:.1f}" text-anchor="middle" fill="{color}">{escape(row.name)}, '
                f"{row.bytes / 1e6:.2f} MB</text>"
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _ticks(low: float, high: float) -> list[float]:
    return [
        digit * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digit in (1, 2, 5)
        if low <= digit * 10.0**power <= high
    ]
