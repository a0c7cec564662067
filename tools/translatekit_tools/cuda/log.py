"""What TensorRT says. Import only where there is a driver."""

from __future__ import annotations

from collections import deque

import tensorrt as trt


class Log(trt.ILogger):
    """Keeps TensorRT's latest complaints, to be quoted when something fails, and prints nothing."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._errors: deque[str] = deque(maxlen=20)

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Take a message; TensorRT calls it from any thread."""
        if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
            self._errors.append(" ".join(msg.split()))

    def clear(self) -> None:
        """Forget everything."""
        self._errors.clear()

    def reason(self) -> str:
        """The first complaint since `clear`, which the later ones mostly follow from."""
        return self._errors[0] if self._errors else "TensorRT gives no reason"


LOG = Log()  # TensorRT holds on to the first one that it is given, for the whole process
