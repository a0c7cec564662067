"""What is published, and what became of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from translatekit.model_info import ModelInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The model that is published.

    Attributes:
        path: its file, of any backend.
        info: its header.
        name: what people call it: its run's folder, or the file.
        others: the files of a run's other directions, where the run and none of its directions was named.
    """

    path: Path
    info: ModelInfo
    name: str
    others: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What was written.

    Attributes:
        path: the folder or file, or its address.
        kind: what it is, as ``--as`` has it.
        bytes: of all that was written.
        details: what else there is to know, by name, as JSON has it.
        notes: sentences for people, such as what to do next.
    """

    path: Path | str
    kind: str
    bytes: int
    details: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "path": str(self.path), "notes": list(self.notes)}
