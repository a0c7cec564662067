"""What is compiled: a model file, or an ONNX file that we wrote from one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

import numpy as np

from translatekit.errors import ModelFileError, OptionError
from translatekit.interfaces import Translator
from translatekit.model_file import read_info
from translatekit.requirements import NETWORKS, of_extra
from translatekit.storage import hash_file
from translatekit_tools.backends.batches import array_dtypes, lossless_dtype
from translatekit_tools.compile.images import compiled_size, sample_images
from translatekit_tools.graphs import onnx_file


def source_requires(path: Path) -> tuple[str, ...]:
    """What must be installed to take a graph from a model, and to run the model as the reference."""
    if path.suffix == ".safetensors":
        return (*NETWORKS, *of_extra("compile", "onnx", "onnxscript"))
    return of_extra("onnx", "onnxruntime")


class Source:
    """A trained model in the forms that compilers take.

    Attributes:
        path: the ``.safetensors`` or ``.onnx`` file.
        info: its header.
        hash: of its bytes.
        dtype: that its graph takes, ``uint8`` or ``float32``.
    """

    def __init__(self, path: Path, dtype: str | None = None) -> None:
        """Open a model.

        Args:
            path: of a ``.safetensors`` or ``.onnx`` file.
            dtype: that its graph is to take, ``uint8`` or ``float32``; None for the one that loses nothing.

        Raises:
            ModelFileError: it is damaged, or starts from no image.
            OptionError: it is of another kind, or takes no such dtype.
        """
        self.path = path
        if path.suffix == ".safetensors":
            self.info = read_info(path)
        elif path.suffix == ".onnx":
            self.info = onnx_file.read_info(path)
            precision = self.info.compiled.get("precision", "fp32")
            if precision != "fp32":
                raise OptionError(
                    f"{path} is in {precision} already: compile the model file, or an .onnx in fp32 made from it"
                )
        else:
            raise OptionError(
                f"{path} cannot be compiled: give a run's folder, a .safetensors or an .onnx file"
            )
        if self.info.source == "latent":
            raise ModelFileError(
                f"{path} draws images from noise and translates none: use translatekit sample"
            )
        own = lossless_dtype(self.info)
        if not self.is_torch:
            own = str(self.info.compiled.get("dtype", "uint8"))
            if dtype not in (None, own):
                raise OptionError(
                    f"{path} takes {own} already, not {dtype}: leave out --dtype, or compile the model file"
                )
        if dtype == "uint8" and dtype not in array_dtypes(self.info.input):
            raise OptionError(
                f"the model takes {self.info.input}, of which uint8 would leave nothing: pass --dtype float32"
            )
        self.dtype = dtype or own
        self.hash = hash_file(path)
        self._folder = tempfile.TemporaryDirectory(prefix="translatekit-")
        self._made: dict[str, Path] = {}

    @property
    def is_torch(self) -> bool:
        """Whether the network itself is at hand, and not only its graph."""
        return self.path.suffix == ".safetensors"

    def onnx(self, precision: Literal["fp32", "fp16", "bf16"] = "fp32") -> Path:
        """The model as an ONNX file in a temporary folder, made when first asked for.

        See `translatekit_tools.graphs.export.export_onnx`; in fp16 and bf16, convolutions alone compute in that.

        Raises:
            ModelFileError: the network cannot be exported, or its weights are not finite.
        """
        if precision not in self._made:
            out = Path(self._folder.name) / f"{precision}.onnx"
            if precision != "fp32":
                from translatekit_tools.graphs.half import to_half

                to_half(self.onnx(), out, precision)
            elif self.is_torch:
                from translatekit_tools.graphs.export import export_onnx

                self.info = export_onnx(self.path, out, self.dtype)
            else:
                onnx_file.check_weights(self.path)
                out = self.path
            self._made[precision] = out
        return self._made[precision]

    def images(self, folder: str | None, count: int) -> tuple[list[np.ndarray], str]:
        """Images to check or calibrate on, of sizes and the dtype that the graph takes: see `images.sample_images`."""
        size = compiled_size(self.info, self.info.compiled.get("shapes", "any"))
        return sample_images(folder, self.path, self.info, count, size, self.dtype)

    def reference(self) -> tuple[str, Translator]:
        """What compiled models are compared with, and its name: the network in PyTorch, else its graph, in fp32."""
        if self.is_torch:
            from translatekit_tools.backends.torch.translator import load

            return "torch fp32", load(self.path, "cpu", "fp32")
        from translatekit.registry import registry

        load_onnx = registry("backend").get("onnxruntime").load()
        return "onnxruntime fp32", load_onnx(self.path, "cpu", "fp32")
