"""The options of ``translatekit compile``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from translatekit.config import option
from translatekit.image_spec import ImageSpec
from translatekit.options import Pattern
from translatekit.precision import ALIASES

Precision = Annotated[Literal["fp32", "bf16", "fp16", "int8"], ALIASES]
"""There is no ``auto``: a file is made to be kept, and its precision is a choice of how near to the model it stays."""

_CAPABILITY = r"\s*(any|\d{1,2}\.\d)\s*"
_SIZE = r"\s*[1-9]\d{0,4}x[1-9]\d{0,4}\s*"

TOLERANCES: dict[str, float] = {"fp32": 70.0, "fp16": 45.0, "bf16": 45.0, "int8": 30.0}
"""The least PSNR in dB, against the model in fp32, at which a compiled model is handed over."""

FINE_TOLERANCE = 90.0
"""The same in fp32 where no output is rounded to 8 bits: a root mean square error of 1/31,623 of the range."""


CLASSES_TOLERANCES: dict[str, float] = {"fp32": 30.0, "fp16": 20.0, "bf16": 20.0, "int8": 20.0}
"""The same of class numbers, in dB of the share of pixels of another class: 1 in 1000, and 1 in 100.

Two classes that are as likely as each other change places by the last bit, in fp32 too.
"""


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """Everything ``translatekit compile`` can be told beside the model and where the result goes."""

    precision: Precision = option(
        "fp32", "What convolutions compute in; all else stays in fp32.", "Precision"
    )
    dtype: Literal["uint8", "float32"] | None = option(
        None,
        "What the graph takes and gives; uint8 where the model's images are of 8 bits, else float32, when not given.",
        "Precision",
    )
    calibrate: str | None = option(
        None,
        "A folder of images that int8 ranges are measured on; the images of --check when not given.",
        "Precision",
        metavar="DIR",
    )
    tolerance: float | None = option(
        None,
        "Least PSNR in dB against the model in fp32: 70 for fp32 (90 with float32 at both ends), 45 for fp16 and bf16, "
        "30 for int8; where the model gives classes, 30 for fp32 and 20 for others; when not given.",
        "Check",
        metavar="DB",
        minimum=0,
        maximum=100,
    )
    check: str | None = option(
        None,
        "A folder of images to compare on; images that the run was trained or validated on when not given.",
        "Check",
        metavar="DIR",
    )
    direction: str | None = option(
        None, "Which generator of a run's folder, such as BtoA; its main one when not given.", "Model"
    )
    best: bool = option(False, "Use the run's best.safetensors instead of its newest weights.", "Model")
    batch: Annotated[str, Pattern(r"\d{1,5}|\d{1,5},\d{1,5},\d{1,5}", "MIN,OPT,MAX or one number")] = option(
        "1,8,32",
        "TensorRT: images a batch, smallest, tuned for, largest; or the largest alone.",
        "TensorRT",
        metavar="MIN,OPT,MAX",
    )
    shapes: Annotated[
        str | None,
        Pattern(
            rf"{_SIZE}(/{_SIZE}/{_SIZE})?(,{_SIZE}(/{_SIZE}/{_SIZE})?)*",
            "WIDTHxHEIGHT, or smallest/tuned for/largest such as 256x256/512x512/2048x1024, or several with commas",
        ),
    ] = option(
        None,
        "TensorRT, LiteRT, Core ML: sizes to build for; also a range for TensorRT, one alone for Core ML; the size the "
        "model was trained at when not given.",
        "TensorRT",
        metavar="WIDTHxHEIGHT,...|MIN/OPT/MAX",
    )
    flavour: Literal["auto", "tensorrt", "tensorrt-rtx"] = option(
        "auto",
        "TensorRT: the library that builds; the full one where it and a GPU are, else TensorRT-RTX, when not given.",
        "TensorRT",
    )
    target: Annotated[
        str | None,
        Pattern(rf"{_CAPABILITY}(,{_CAPABILITY})*", "any, or compute capabilities such as 7.5,8.9"),
    ] = option(
        None,
        "TensorRT-RTX: compute capabilities to build for: 7.5, 8.0, 8.6, 8.9, 12.0, 12.1, several with commas; or any, "
        "which is all from 8.0 on.",
        "TensorRT",
        metavar="any|CAPABILITY,...",
    )
    workspace: float | None = option(
        None,
        "TensorRT: memory in GiB that the build may use; all there is when not given.",
        "TensorRT",
        exclusive_minimum=0,
    )
    timing_cache: str | None = option(
        None,
        "TensorRT: where timings are kept between builds, or none; the user's cache folder when not given.",
        "TensorRT",
        metavar="FILE",
    )
    backend: str | None = option(
        None,
        "What to compile for, where several backends write files of OUT's extension; the first by name when not given.",
        "Output",
        metavar="NAME",
    )
    device: str = option("auto", "Where to build and compare: auto, cpu, cuda or cuda:1.", "Output")
    force: bool = option(False, "Overwrite what is there.", "Output")

    def min_psnr(self, dtype: str, output: ImageSpec) -> float:
        """The tolerance in dB, the precision's own where the user named none.

        Args:
            dtype: that the graph takes.
            output: what it gives.
        """
        if self.tolerance is not None:
            return self.tolerance
        if output.meaning == "labels":
            return CLASSES_TOLERANCES[self.precision]
        fine = (self.precision, dtype) == ("fp32", "float32")
        return FINE_TOLERANCE if fine else TOLERANCES[self.precision]
