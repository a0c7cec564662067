"""Writing ``.mlpackage`` folders by coremltools, on any system."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from translatekit.errors import ModelFileError, OptionError
from translatekit.image_spec import ImageSpec
from translatekit.interfaces import ModelSource, Progress
from translatekit_tools.backends.coreml.ends import INPUT, OUTPUT, is_image
from translatekit_tools.backends.coreml.package import write_info
from translatekit_tools.backends.options import CompileOptions
from translatekit_tools.backends.quiet import quietly
from translatekit_tools.backends.shapes import fixed_sizes
from translatekit_tools.deployable import Deployable
from translatekit_tools.graphs.program import load_deployable

_CONVOLUTIONS = ("conv", "conv_transpose")


def compile(source: ModelSource, out: Path, options: CompileOptions, progress: Progress) -> dict[str, Any]:  # noqa: A001
    """Write an ``.mlpackage`` for iOS 16 and macOS 13 or later.

    Args:
        source: the model: a model file, since the network itself is converted.
        out: the folder to write.
        options: ``precision`` and ``shapes`` are looked at. In fp16, all from the first to the last convolution
            computes in half, as the Neural Engine does.
        progress: told what is being done.

    Returns:
        Backend, precision, shapes and versions.

    Raises:
        OptionError: bf16 or int8, more than one size, or no model file.
        ModelFileError: the network cannot be converted.
    """
    if options.precision not in ("fp32", "fp16"):
        raise OptionError(
            f"an .mlpackage is written in fp32 or fp16, not in {options.precision}: choose one of them"
        )
    sizes = fixed_sizes(options.shapes, source.info, "Core ML")
    if len(sizes) > 1:
        raise OptionError(
            f"an .mlpackage is compiled for one size, got {', '.join(map(str, sizes))}: compile one for each"
        )
    (size,) = sizes
    model, info = load_deployable(source.path, "an .mlpackage")
    progress("converting to Core ML", None)
    try:
        with quietly():
            import coremltools

            converted = _convert(
                model, info.input, info.output, source.dtype, (size.height, size.width), options
            )
            converted.save(str(out))
    except Exception as error:  # the converter raises nearly anything on what it cannot trace
        reason = " ".join(str(error).split())[:300]
        raise ModelFileError(
            f"the generator {info.generator!r} of {source.path} cannot be converted to Core ML ({reason}): "
            "compile it for another runtime, or change what its forward does"
        ) from None
    report = {
        "backend": "coreml",
        "precision": options.precision,
        "dtype": source.dtype,
        "shapes": str(size),
        "versions": {"coremltools": coremltools.__version__},
    }
    write_info(out, replace(source.info, compiled=report))
    return report


def _convert(
    model: Deployable,
    taken: ImageSpec,
    given: ImageSpec,
    dtype: str,
    sides: tuple[int, int],
    options: CompileOptions,
) -> Any:
    import coremltools as ct

    ends = _Ends(model, taken, given, dtype).eval()
    shape = (1, taken.count, *sides) if is_image(taken, dtype) else (1, *sides, taken.count)
    program = torch.export.export(ends, (torch.zeros(shape),)).run_decompositions({})
    into = (
        ct.ImageType(name=INPUT, shape=shape, color_layout=_layout(taken))
        if is_image(taken, dtype)
        else ct.TensorType(name=INPUT, shape=shape)
    )
    out = (
        ct.ImageType(name=OUTPUT, color_layout=_layout(given))
        if is_image(given, dtype)
        else ct.TensorType(name=OUTPUT)
    )
    half = ct.transform.FP16ComputePrecision(op_selector=_between_convolutions)
    return ct.convert(
        program,
        inputs=[into],
        outputs=[out],
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=half if options.precision == "fp16" else ct.precision.FLOAT32,
    )


def _layout(spec: ImageSpec) -> Any:
    import coremltools as ct

    return ct.colorlayout.RGB if spec.count == 3 else ct.colorlayout.GRAYSCALE


def _between_convolutions(operation: Any) -> bool:
    """Whether an operation is from the first convolution to the last: what scales values is before or after."""
    operations = list(operation.enclosing_block.operations)
    places = [place for place, one in enumerate(operations) if one.op_type in _CONVOLUTIONS]
    return bool(places) and places[0] <= operations.index(operation) <= places[-1]


class _Ends(nn.Module):
    """A network between what Core ML has: float32 alone, images as (1, C, H, W) in [0, 255]."""

    def __init__(self, model: Deployable, taken: ImageSpec, given: ImageSpec, dtype: str) -> None:
        super().__init__()
        self.model = model
        self._is_image = is_image(taken, dtype), is_image(given, dtype)
        eight_bits = dtype == "uint8"
        self._levels = eight_bits and taken.levels, eight_bits and given.levels

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        batch = image.permute(0, 2, 3, 1) if self._is_image[0] else image
        output = self.model(batch / 255.0 if self._levels[0] else batch).to(torch.float32)
        if self._levels[1]:
            output = torch.round(output * 255.0)
        return output.permute(0, 3, 1, 2) if self._is_image[1] else output
