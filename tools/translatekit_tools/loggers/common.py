"""What these loggers share."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from translatekit.errors import OptionError
from translatekit.storage import TEMPORARY, shown

Upload = Literal["none", "model", "run"]
"""What of a run's folder goes to the logger at its end: nothing, its models, or all but its checkpoints."""

PROJECT = "translatekit"
_NOT_UPLOADED = ("checkpoints", "loggers")


def files_to_upload(folder: Path, upload: Upload) -> list[Path]:
    """Files of a run's folder."""
    if upload == "none":
        return []
    if upload == "model":
        return [*sorted(folder.glob("*.safetensors")), folder / "config.toml"]
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.relative_to(folder).parts[0] not in _NOT_UPLOADED
        and "tfevents" not in path.name
        and not path.match(TEMPORARY)
    )


def without_password(address: str | None, logger: str, instead: str) -> str | None:
    """An address that may be written down.

    Raises:
        OptionError: it holds a password, which a run's configuration would keep.
    """
    if address is not None and shown(address) != address:
        raise OptionError(
            f"the address {shown(address)} was given to {logger} with a password, which the run's config.toml would "
            f"keep: leave it out, and set {instead} in the environment"
        )
    return address
