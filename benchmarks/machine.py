"""What every result says of the machine that it is from.

python benchmarks/machine.py
"""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from translatekit.precision import LIMITS, processor

_TELLING = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "amx_int8",
)
_LIBRARIES = ("torch", "openvino", "onnxruntime", "opencv-python-headless")


def describe() -> dict[str, Any]:
    """Processor, its instruction sets that decide about precisions, what limits them, cores, threads and versions."""
    flags: set[str] = set()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(("flags", "Features")):
                flags = set(line.split(":", 1)[1].split())
                break
    return {
        "processor": processor(),
        "instructions": [name for name in _TELLING if name in flags],
        "limits": {name: os.environ[name] for name in (*LIMITS, "OMP_NUM_THREADS") if name in os.environ},
        "cores": os.cpu_count(),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _LIBRARIES},
    }


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    print(json.dumps(describe(), indent=1))
