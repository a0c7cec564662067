"""The compute capabilities that an engine of TensorRT-RTX is built for."""

from __future__ import annotations

from collections.abc import Sequence

from translatekit.errors import OptionError

ANY = "any"
TARGETS = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
_WITHOUT_BF16 = ("7.5",)
_NOT_IN_ANY = ("7.5",)


def parse_targets(option: str | None, precision: str) -> tuple[str, ...]:
    """What ``--target`` asks for.

    Args:
        option: capabilities with commas, or ``any`` or None for all of 8.0 and later.
        precision: of the convolutions.

    Raises:
        OptionError: there is no such target, or it does not compute in that precision.
    """
    entries = tuple(dict.fromkeys(entry.strip() for entry in (option or ANY).lower().split(",")))
    for entry in entries:
        if entry not in (ANY, *TARGETS):
            raise OptionError(
                f"TensorRT-RTX builds for no compute capability {entry!r}: "
                f"pass --target with any, {', '.join(TARGETS)} or several of them, or use the full TensorRT on its GPU"
            )
        if precision == "bf16" and entry in _WITHOUT_BF16:
            raise OptionError(
                f"GPUs of compute capability {entry} do not compute in bf16: pass --precision fp16 or another --target"
            )
    if ANY in entries and len(entries) > 1:
        raise OptionError(f"--target takes any alone, got {option!r}: name capabilities or any")
    return entries


def runs_on(targets: Sequence[str], capability: str) -> bool:
    """Whether an engine for these targets runs on a GPU of that compute capability."""
    return capability in targets or (
        ANY in targets and capability in TARGETS and capability not in _NOT_IN_ANY
    )
