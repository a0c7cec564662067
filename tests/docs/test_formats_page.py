"""The page of formats says what the registry says."""

from __future__ import annotations

import re
from pathlib import Path

from translatekit.registry import registry
from translatekit.specs import FormatSpec

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")


def row(spec: FormatSpec) -> str:
    """A format's line of the table."""
    written = spec.written_suffixes
    kept = ["transparency"] * spec.alpha + ["colour profile"] * spec.profile if written else []
    extras = re.findall(r"\[(\w+)\]", " ".join(spec.requires))
    cells = (
        f"`{spec.name}`",
        ", ".join(f"`{suffix}`" for suffix in spec.suffixes),
        ", ".join(f"`{suffix}`" for suffix in written) or "-",
        spec.holds if written else "-",
        ", ".join([*kept, *spec.keeps]) or "-",
        f"`{extras[0]}`" if extras else "-",
    )
    return f"| {' | '.join(cells)} |"


def test_every_format_has_its_line_and_no_other_is_there() -> None:
    wanted = [
        row(entry.spec)
        for entry in registry("format").entries()
        if entry.plugin.distribution == "translatekit"
    ]
    shown = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert shown == wanted


def test_what_is_written_with_a_loss_is_named() -> None:
    lossy = {
        entry.spec.name
        for entry in registry("format").entries()
        if entry.spec.written_suffixes and not entry.spec.lossless
    }
    assert lossy == {"jpeg", "webp", "avif", "hdr"}
    assert "except JPEG, WebP, AVIF and Radiance HDR" in PAGE
