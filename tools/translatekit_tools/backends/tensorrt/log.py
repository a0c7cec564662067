"""What TensorRT says. Import only after `flavour.use`, which says of which."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from translatekit_tools.backends.tensorrt.flavour import library

if TYPE_CHECKING:
    import tensorrt as trt
else:
    trt = library()

_errors: deque[str] = deque(maxlen=20)


class _Logger(trt.ILogger):
    """Collects TensorRT's latest errors, to be quoted when something fails, and prints nothing."""

    def __init__(self) -> None:
        super().__init__()

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Take a message; TensorRT calls it from any thread."""
        if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
            _errors.append(" ".join(msg.split()))


LOGGER = _Logger()
"""TensorRT holds on to the first that it is given, for the whole process."""


def clear_errors() -> None:
    """Drop the errors so far."""
    _errors.clear()


def reason() -> str:
    """The first error since `clear_errors`, which the later ones mostly follow from."""
    return _errors[0] if _errors else "TensorRT gives no reason"
