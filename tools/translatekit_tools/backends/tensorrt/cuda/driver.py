"""Is there a CUDA driver, and which GPUs? Asked by ctypes, before anything is loaded that crashes without one."""

from __future__ import annotations

import ctypes
import re
import sys
from dataclasses import dataclass

from translatekit.errors import OptionError

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

_COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR = 75, 76  # of CUdevice_attribute, in cuda.h
_NO_DEVICE = 100  # of CUresult


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that the driver offers.

    Attributes:
        index: the driver's number for it, which ``CUDA_VISIBLE_DEVICES`` has already chosen from.
        name: such as ``NVIDIA H200``.
        compute_capability: such as ``9.0``.
        memory: in bytes.
        driver: the newest CUDA version that the driver serves, such as ``13.0``.
    """

    index: int
    name: str
    compute_capability: str
    memory: int
    driver: str


def find_gpus() -> list[Gpu]:
    """The GPUs of this machine, at least one.

    Raises:
        OptionError: there is no driver, it does not start, or it finds no GPU.
    """
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise OptionError(
            f"there is no NVIDIA driver here ({LIBRARY} cannot be loaded: {error}): use a machine with an NVIDIA "
            "GPU and its driver, or compile to .onnx or .xml, which run without"
        ) from None
    status = library.cuInit(0)
    count = ctypes.c_int()
    if status == 0:
        status = library.cuDeviceGetCount(ctypes.byref(count))
    if status == _NO_DEVICE or (status == 0 and count.value == 0):
        raise OptionError(
            "the NVIDIA driver finds no GPU: look at nvidia-smi and at CUDA_VISIBLE_DEVICES, "
            "and start a container with --gpus all"
        )
    if status != 0:
        raise OptionError(
            f"the NVIDIA driver does not start (cuInit says {_error_name(library, status)}): "
            "look at nvidia-smi, and reboot after an update of the driver"
        )
    version = ctypes.c_int()
    _check(library, library.cuDriverGetVersion(ctypes.byref(version)))
    driver = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return [_describe(library, index, driver) for index in range(count.value)]


def find_gpu(device: str = "auto") -> Gpu:
    """The GPU that a user means.

    Args:
        device: ``auto``, ``cuda`` or ``cuda:1``.

    Raises:
        OptionError: it is none of these, or it is not there.
    """
    match = re.fullmatch(r"auto|cuda(?::(\d+))?", device)
    if match is None:
        raise OptionError(
            f"TensorRT engines run on an NVIDIA GPU, not on {device!r}: "
            "pass --device cuda, or compile to .onnx or .xml"
        )
    gpus = find_gpus()
    index = int(match[1] or 0)
    if index >= len(gpus):
        devices = ", ".join(f"cuda:{gpu.index}" for gpu in gpus)
        raise OptionError(f"the device {device!r} is not available here: choose auto or one of {devices}")
    return gpus[index]


def _describe(library: ctypes.CDLL, index: int, driver: str) -> Gpu:
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t()
    _check(library, library.cuDeviceGet(ctypes.byref(device), index))
    _check(library, library.cuDeviceGetName(name, len(name), device))
    _check(library, library.cuDeviceGetAttribute(ctypes.byref(major), _COMPUTE_CAPABILITY_MAJOR, device))
    _check(library, library.cuDeviceGetAttribute(ctypes.byref(minor), _COMPUTE_CAPABILITY_MINOR, device))
    _check(library, library.cuDeviceTotalMem_v2(ctypes.byref(memory), device))
    return Gpu(
        index, name.value.decode(errors="replace"), f"{major.value}.{minor.value}", memory.value, driver
    )


def _check(library: ctypes.CDLL, status: int) -> None:
    if status != 0:
        raise OptionError(
            f"the NVIDIA driver does not answer ({_error_name(library, status)}): look at nvidia-smi, or reboot"
        )


def _error_name(library: ctypes.CDLL, status: int) -> str:
    name = ctypes.c_char_p()
    library.cuGetErrorName(status, ctypes.byref(name))
    return name.value.decode() if name.value else f"error {status}"
