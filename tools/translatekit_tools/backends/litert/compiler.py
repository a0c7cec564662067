"""Writing ``.tflite`` files by LiteRT Torch, int8 and fp16 by the AI Edge Quantizer."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import ModelFileError, OptionError
from translatekit.image_spec import ImageSpec
from translatekit.images import resize
from translatekit.interfaces import ModelSource, Progress
from translatekit.sizes import Size
from translatekit_tools.backends.litert.tflite_file import pack, unpack, write_info
from translatekit_tools.backends.litert.transposed import crop_transposed
from translatekit_tools.backends.options import CompileOptions
from translatekit_tools.backends.quiet import quietly
from translatekit_tools.backends.shapes import fixed_sizes

CALIBRATION_IMAGES = 100
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE")
_INPUTS_WITH_BIAS = 4  # of a transposed convolution: the shape, the weights, what it convolves, the bias


def compile(source: ModelSource, out: Path, options: CompileOptions, progress: Progress) -> dict[str, Any]:  # noqa: A001
    """Write a ``.tflite`` file, with a signature for each size that shares its weights with the others.

    Args:
        source: the model: a model file, since the network itself is converted.
        out: the file to write.
        options: ``precision``, ``shapes``, ``calibrate`` and ``check`` are looked at. In fp16 the weights of
            convolutions are kept in half, and GPUs compute in it; in int8 convolutions compute in it.
        progress: told what is being done.

    Returns:
        Backend, precision, shapes, versions and, for int8, what it was calibrated on.

    Raises:
        OptionError: bf16, a range of sizes, or no model file.
        ModelFileError: the network cannot be converted.
    """
    precision = options.precision
    if precision == "bf16":
        raise OptionError("a .tflite has no bf16: pass --precision fp32, fp16 or int8")
    sizes = fixed_sizes(options.shapes, source.info, "LiteRT")
    progress("converting to LiteRT", None)
    with quietly():
        converted = _convert(source, sizes)
    report: dict[str, Any] = {
        "backend": "litert",
        "precision": precision,
        "dtype": source.dtype,
        "shapes": str(sizes[0]) if len(sizes) == 1 else [str(size) for size in sizes],
        "versions": {name: version(name) for name in ("ai-edge-litert", "litert-torch")},
    }
    if precision == "int8":
        images, origin = source.images(options.calibrate or options.check, CALIBRATION_IMAGES)
        report["calibration"] = {"images": len(images), "from": origin}
        progress("measuring the ranges of activations", None)
    if precision != "fp32":
        report["versions"]["ai-edge-quantizer"] = version("ai-edge-quantizer")
        with quietly():
            converted = (
                _to_int8(converted, images, sizes, source.info.input)
                if precision == "int8"
                else _weights_to_half(converted)
            )
    out.write_bytes(converted)
    write_info(out, replace(source.info, compiled=report))
    return report


def _convert(source: ModelSource, sizes: tuple[Size, ...]) -> bytes:
    import litert_torch
    import torch

    from translatekit_tools.graphs.program import load_deployable

    model, info = load_deployable(source.path, "a .tflite")
    crop_transposed(model)
    images = [
        torch.zeros(1, size.height, size.width, info.input.count, dtype=getattr(torch, source.dtype))
        for size in sizes
    ]
    try:
        converter: Any = litert_torch
        for size, image in zip(sizes, images, strict=True):
            converter = converter.signature(str(size), model, (image,))
        return bytes(converter.convert().model_content())
    except Exception as error:  # the converter raises nearly anything on what it cannot trace
        reason = " ".join(str(error).split())[:300]
        raise ModelFileError(
            f"the generator {info.generator!r} of {source.path} cannot be converted to LiteRT ({reason}): "
            "compile it for another runtime, or change what its forward does"
        ) from None


def _weights_to_half(model: bytes) -> bytes:
    """A model whose convolutions keep their weights in half precision."""
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    halver = quantizer.Quantizer(bytearray(model))
    half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    for operation in _CONVOLUTIONS:
        halver.update_quantization_recipe(
            regex=".*",
            operation_name=qtyping.TFLOperationName(operation),
            op_config=qtyping.OpQuantizationConfig(
                weight_tensor_config=half,
                compute_precision=qtyping.ComputePrecision.FLOAT,
                explicit_dequantize=True,
            ),
            algorithm_key=AlgorithmName.FLOAT_CASTING,
        )
    return bytes(halver.quantize(enable_progress_report=False).quantized_model)


def _to_int8(model: bytes, images: list[np.ndarray], sizes: tuple[Size, ...], spec: ImageSpec) -> bytes:
    """A model whose convolutions compute in int8, by the ranges of these images (H, W, C)."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import qtyping, quantizer

    model = _with_flat_biases(model)
    measured = quantizer.Quantizer(bytearray(model))
    for operation in _CONVOLUTIONS:
        measured.add_static_config(".*", qtyping.TFLOperationName(operation), 8, 8)
    interpreter = Interpreter(model_content=model)
    data = {}
    for size in sizes:
        (name,) = interpreter.get_signature_runner(str(size)).get_input_details()
        data[str(size)] = [{name: resize(image, (size.height, size.width), spec)[None]} for image in images]
    ranges = measured.calibrate(data, num_threads=1)
    return bytes(measured.quantize(ranges, enable_progress_report=False).quantized_model)


def _with_flat_biases(model: bytes) -> bytes:
    """A model whose transposed convolutions have biases of one dimension.

    Where a normalization was folded into one, its bias keeps four, and int8 is refused a scale for each channel.
    """
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    objects = unpack(model)
    for graph in objects.subgraphs:
        for operator in graph.operators:
            kind = objects.operatorCodes[operator.opcodeIndex].builtinCode
            if kind == BuiltinOperator.TRANSPOSE_CONV and len(operator.inputs) == _INPUTS_WITH_BIAS:
                bias = graph.tensors[operator.inputs[-1]]
                bias.shape, bias.shapeSignature = [int(np.prod(bias.shape))], None
    return pack(objects)
