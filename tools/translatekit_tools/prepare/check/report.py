"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or looks so.

    Attributes:
        level: ``error``, or ``warning`` where only a person can tell.
        kind: a word for programs.
        text: one sentence.
        files: that it is about.
    """

    level: Literal["error", "warning"]
    kind: str
    text: str
    files: tuple[Path, ...] = ()


@dataclass(slots=True, kw_only=True)
class Report:
    """What a check has found.

    Attributes:
        kind: what the items were taken for.
        counts: items by split.
        sizes: how often each "WIDTHxHEIGHT" occurs, the most frequent first.
        classes: by side, each class's fraction of all pixels, where that side holds label maps.
        values: by side, the lowest and the highest value, where its images are more than photographs of 8 bits.
        findings: the errors first.
        sheet: the contact sheet, if one was written.
    """

    kind: str
    counts: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    classes: dict[str, dict[str, float]] = field(default_factory=dict)
    values: dict[str, list[float]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    sheet: Path | None = None

    @property
    def errors(self) -> list[Finding]:
        """Those of level ``error``."""
        return [finding for finding in self.findings if finding.level == "error"]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        findings = [
            {"level": item.level, "kind": item.kind, "text": item.text, "files": list(map(str, item.files))}
            for item in self.findings
        ]
        return {
            "kind": self.kind,
            "counts": self.counts,
            "sizes": self.sizes,
            "classes": self.classes,
            "values": self.values,
            "findings": findings,
            "sheet": str(self.sheet) if self.sheet else None,
        }
