"""The torch backend: model files as they come from training."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from translatekit.errors import DataError, ModelFileError, OptionError, TranslatekitWarning
from translatekit.inference.memory import within_memory
from translatekit.inference.statistics import Parts
from translatekit.model_file import read_info
from translatekit.model_info import ModelInfo
from translatekit.networks.layers import draws_noise, set_noise
from translatekit.networks.loading import load_network
from translatekit.precision import torch_slowness
from translatekit_tools.backends.batches import array_dtypes, check_batch
from translatekit_tools.backends.torch.statistics import fixed_statistics
from translatekit_tools.deployable import Deployable

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchTranslator:
    """A `translatekit.interfaces.Translator` that runs the network in PyTorch.

    Attributes:
        info: the model file's header.
        device: where it runs, such as ``cpu`` or ``cuda:1``.
        dtypes: of the arrays that it takes.
    """

    def __init__(self, network: nn.Module, info: ModelInfo, device: torch.device, dtype: torch.dtype) -> None:
        self.info = info
        self.dtypes = array_dtypes(info.input)
        self.device = str(device)
        self._dtype = dtype
        self._noise: int | None = None
        if dtype != torch.float32:
            # Autocast alone would cast every weight again at every batch; what it keeps in float32 stays so.
            for module in network.modules():
                if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
                    module.to(dtype)
        model = Deployable(network, info.input, info.output).to(device).eval()
        if device.type != "cpu":  # a CPU's convolutions reorder their weights anyway; images are NHWC already
            model = model.to(memory_format=torch.channels_last)
        self._model = model

    def set_noise(self, seed: int | None) -> None:
        """Draw noise (dropout, or a style) from a seed anew for each image, or (None) not at all.

        The same image with the same seed gives the same result, whatever is translated beside it.

        Raises:
            OptionError: the network takes no noise.
        """
        if seed is not None and not draws_noise(self._model):
            raise OptionError(
                f"the model's {self.info.generator} has no dropout or style to draw noise for: leave out --noise"
            )
        set_noise(self._model, seed is not None)
        self._noise = seed

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Translate a batch, as `translatekit.interfaces.Translator` says.

        Raises:
            DataError: the batch is not of such a shape, too large for the memory, or the output no finite number.
        """
        check_batch(batch, self.info)
        if self._noise is None:
            return self._run(batch)
        return np.concatenate([self._run_with_noise(batch[index : index + 1]) for index in range(len(batch))])

    def fixed_statistics(self, parts: Parts) -> AbstractContextManager[None]:
        """Within, normalize each part of an image by the statistics of the whole.

        Args:
            parts: makes the parts of the image; see `translatekit_tools.backends.torch.statistics.fixed_statistics`.

        Raises:
            OptionError: the network has a layer whose statistics cannot be fixed.
        """
        return fixed_statistics(self._model, parts, self)

    def _run_with_noise(self, batch: np.ndarray) -> np.ndarray:
        assert self._noise is not None
        device = torch.device(self.device)
        with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type=device.type):
            torch.manual_seed(self._noise)
            return self._run(batch)

    def _run(self, batch: np.ndarray) -> np.ndarray:
        return within_memory(self._computed, batch, self.device)

    def _computed(self, batch: np.ndarray) -> np.ndarray:
        output, finite = self._start(_as_tensor(batch).to(torch.device(self.device)))
        self._check(finite)
        result: np.ndarray = output.cpu().numpy()
        return result

    def _start(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The images, and whether they are finite numbers; on a GPU neither may be there yet."""
        device = torch.device(self.device)
        exact = device.type == "cuda" and self._dtype == torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(device.type, self._dtype, enabled=self._dtype != torch.float32),
            _WITHOUT_TF32 if exact else nullcontext(),
        ):
            output, finite = self._model.checked(batch)
            return output.contiguous(), finite

    def _check(self, finite: torch.Tensor) -> None:
        if not bool(finite):
            raise DataError(
                f"the output of {self.info.generator} is not a finite number, which would be written as black: "
                + (
                    "pass --precision fp32"
                    if self._dtype != torch.float32
                    else "its weights are damaged; take an earlier checkpoint"
                )
            )


class Pending:
    """The result of a batch that was submitted to the GPU."""

    def __init__(
        self, output: torch.Tensor, finite: torch.Tensor, check: Callable[[torch.Tensor], None]
    ) -> None:
        self._output = _download(output)
        self._finite = _download(finite)
        self._check = check
        self._done = torch.cuda.Event(blocking=True)  # else whoever waits keeps a core busy
        self._done.record()

    def result(self) -> np.ndarray:
        """Wait for the batch and return it, as `TorchTranslator.__call__` does.

        Raises:
            DataError: the output is no finite number.
        """
        self._done.synchronize()
        self._check(self._finite)
        return self._output.numpy().copy()  # whoever keeps it would keep pinned memory


class _Ready:
    """A result that is there already."""

    def __init__(self, output: np.ndarray) -> None:
        self._output = output

    def result(self) -> np.ndarray:
        return self._output


class CudaTranslator(TorchTranslator):
    """Runs the network in PyTorch on a CUDA GPU, where several batches can be in flight."""

    def submit(self, batch: np.ndarray) -> Pending | _Ready:
        """Start to translate a batch and return without waiting for it.

        Batches are computed in the order of their submission. With noise, it is waited for.

        Args:
            batch: as for `__call__`; it may be changed afterwards.

        Raises:
            DataError: the batch is not of such a shape.
        """
        if self._noise is not None:
            return _Ready(self(batch))
        check_batch(batch, self.info)
        device = torch.device(self.device)
        with torch.cuda.device(device):
            output, finite = self._start(_as_tensor(batch).pin_memory().to(device, non_blocking=True))
            return Pending(output, finite, self._check)


def _download(values: torch.Tensor) -> torch.Tensor:
    """Values in pinned memory, where they are once the GPU has come so far."""
    return torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)


class _WithoutTf32:
    """Within, convolutions and matrix products of float32 keep all bits of the mantissa.

    PyTorch has one setting for the process, which is put back when the last thread leaves.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._kept: list[str] = []

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._kept = [place.fp32_precision for place in self._places()]
                for place in self._places():
                    place.fp32_precision = "ieee"
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                for place, kept in zip(self._places(), self._kept, strict=True):
                    place.fp32_precision = kept

    @staticmethod
    def _places() -> tuple[Any, ...]:
        return torch.backends.cudnn.conv, torch.backends.cuda.matmul  # type: ignore[attr-defined]


_WITHOUT_TF32 = _WithoutTf32()


def load(
    path: Path, device: str = "auto", precision: str | None = None, *, noise: int | None = None
) -> TorchTranslator:
    """Open a ``.safetensors`` model file: a `translatekit.interfaces.Backend`.

    Args:
        path: the model file.
        device: ``auto`` (a CUDA or Apple GPU where there is one), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``fp32``, ``bf16``, or on a GPU ``fp16``; None is ``fp32``, which gives the same on every machine
            (on a CUDA GPU, without TF32). Convolutions compute in it, normalization in float32.
        noise: a seed to draw noise from (see `TorchTranslator.set_noise`).

    Raises:
        ModelFileError: the file is damaged, or its model does not start from images.
        OptionError: there is no such device here, or it has no such precision.

    Warns:
        TranslatekitWarning: the precision is slower than fp32 here.
    """
    info = read_info(path)
    if info.source == "latent":
        raise ModelFileError(f"{path} draws images from noise and translates none: use translatekit sample")
    found = _find_device(device)
    dtype = choose_dtype(precision, found, path)
    torch.set_flush_denormal(True)  # numbers near zero can slow a CPU down tenfold
    network, info = load_network(path)
    kind = CudaTranslator if found.type == "cuda" else TorchTranslator
    translator = kind(network, info, found, dtype)
    translator.set_noise(noise)
    return translator


def choose_dtype(precision: str | None, device: torch.device, path: Path) -> torch.dtype:
    """What a model computes in.

    Args:
        precision: None is ``fp32``.
        device: which it computes on.
        path: the model file.

    Raises:
        OptionError: PyTorch has no such precision on it.

    Warns:
        TranslatekitWarning: it is slower than fp32 on it.
    """
    precision = precision or "fp32"
    if precision not in _DTYPES:
        raise OptionError(
            f"PyTorch does not translate in {precision}: pass --precision {', '.join(_DTYPES)}, "
            f"or compile {path} with translatekit compile"
        )
    if slow := torch_slowness(precision, device.type):
        warnings.warn(f"{slow}: --precision fp32 is quicker", TranslatekitWarning, stacklevel=3)
    return _DTYPES[precision]


def _find_device(name: str) -> torch.device:
    available = ["cpu"]
    if torch.cuda.is_available():
        available += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        available.append("mps")
    if name == "auto":
        return torch.device("cuda" if "cuda" in available else "mps" if "mps" in available else "cpu")
    if name not in available:
        raise OptionError(
            f"the device {name!r} is not available here: choose auto or one of {', '.join(available)}"
        )
    return torch.device(name)


def _as_tensor(batch: np.ndarray) -> torch.Tensor:
    array = np.ascontiguousarray(batch)
    return torch.from_numpy(array if array.flags.writeable else array.copy())
