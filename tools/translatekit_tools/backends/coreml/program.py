"""Computing what a Core ML program says, in PyTorch: its own operations and weights, without Core ML.

The operations are those of coremltools' MIL (https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html)
that networks of images become. Results are rounded to the type that the program gives each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from translatekit.errors import ModelFileError
from translatekit_tools.backends.coreml.package import model_path

_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "replicate"}


class Program:
    """The main function of a package's model."""

    def __init__(self, path: Path) -> None:
        """Read a program.

        Raises:
            ModelFileError: it has an operation that is not known here.
        """
        from coremltools.proto import MIL_pb2, Model_pb2

        model = Model_pb2.Model()
        model.ParseFromString(model_path(path).read_bytes())
        function = model.mlProgram.functions["main"]
        block = function.block_specializations[function.opset]
        self.description = model.description
        self._path, self._types = path, MIL_pb2.DataType
        self._operations = list(block.operations)
        self._input, self._output = function.inputs[0].name, block.outputs[0]
        unknown = sorted({one.type for one in self._operations} - OPERATIONS.keys() - {"const"})
        if unknown:
            raise ModelFileError(
                f"the model became operations that can only be compared by Core ML itself ({', '.join(unknown)}): "
                "compile it on macOS"
            )
        self._constants = {
            one.outputs[0].name: self._value(one.attributes["val"])
            for one in self._operations
            if one.type == "const"
        }

    def __call__(self, image: Tensor) -> Tensor:
        """The program's output for its input, both as they are in it, float32."""
        values: dict[str, Any] = {**self._constants, self._input: image}
        for one in self._operations:
            if one.type == "const":
                continue
            given = {
                name: [self._argument(argument, values) for argument in binding.arguments]
                for name, binding in one.inputs.items()
            }
            single = {name: items if name == "values" else items[0] for name, items in given.items()}
            result = OPERATIONS[one.type](
                **{_python(name): _widened(value) for name, value in single.items()}
            )
            values[one.outputs[0].name] = self._rounded(result, one.outputs[0].type.tensorType.dataType)
        output: Tensor = values[self._output]
        return output.to(torch.float32)

    def _argument(self, argument: Any, values: dict[str, Any]) -> Any:
        return (
            values[argument.name] if argument.WhichOneof("binding") == "name" else self._value(argument.value)
        )

    def _rounded(self, result: Tensor, kind: int) -> Tensor:
        kinds = {self._types.FLOAT16: torch.float16, self._types.FLOAT32: torch.float32}
        return result.to(kinds[kind]) if kind in kinds else result

    def _value(self, value: Any) -> Any:
        tensor = value.type.tensorType
        shape = [dimension.constant.size for dimension in tensor.dimensions]
        if value.WhichOneof("value") == "blobFileValue":
            return self._stored(value.blobFileValue, tensor.dataType, shape)
        content = value.immediateValue.tensor
        kind = content.WhichOneof("value")
        if kind == "strings":
            return content.strings.values[0]
        if kind == "bytes":
            dtype = {self._types.FLOAT16: np.float16, self._types.INT8: np.int8, self._types.UINT8: np.uint8}
            numbers = np.frombuffer(content.bytes.values, dtype[tensor.dataType])
        else:
            numbers = np.array(getattr(content, kind).values)
        if kind in ("ints", "longInts", "bools"):
            listed = numbers.tolist()
            return listed if tensor.rank else listed[0]
        if kind == "floats":
            numbers = numbers.astype(np.float32)
        return torch.from_numpy(numbers.copy()).reshape(shape)

    def _stored(self, place: Any, kind: int, shape: list[int]) -> Tensor:
        from coremltools.libmilstoragepython import _BlobStorageReader

        name = place.fileName.replace("@model_path/", "", 1)
        try:
            reader = _BlobStorageReader(str(model_path(self._path).parent / name))
            if kind == self._types.FLOAT16:
                numbers = np.array(reader.read_fp16_data(place.offset), np.uint16).view(np.float16)
            else:
                numbers = np.array(reader.read_float_data(place.offset), np.float32)
            return torch.from_numpy(numbers.copy()).reshape(shape)
        except (ValueError, RuntimeError):  # the reader's, for places and sizes that are not of this file
            raise ModelFileError(
                f"the weights of {self._path.name} cannot be read back: compile the model again"
            ) from None


def _python(name: str) -> str:
    return f"{name}_" if name in ("min", "max") else name


def _widened(value: Any) -> Any:
    """Half as float32: each operation is exact, and its result is rounded."""
    if isinstance(value, list):
        return [_widened(item) for item in value]
    return value.to(torch.float32) if isinstance(value, Tensor) and value.dtype == torch.float16 else value


def _padded(x: Tensor, pad_type: str, pad: list[int] | None, value: float = 0.0) -> Tensor:
    """An image, (N, C, H, W), with what is padded around it."""
    if pad_type == "custom" and pad is not None:
        return F.pad(x, [pad[2], pad[3], pad[0], pad[1]], value=value)
    if pad_type == "valid":
        return x
    raise ModelFileError(
        f"the model pads by {pad_type!r}, which only Core ML itself computes: compile it on macOS"
    )


def _conv(
    x: Tensor,
    weight: Tensor,
    strides: list[int],
    pad_type: str,
    pad: list[int],
    dilations: list[int],
    groups: int,
    bias: Tensor | None = None,
) -> Tensor:
    return F.conv2d(_padded(x, pad_type, pad), weight, bias, strides, 0, dilations, groups)


def _conv_transpose(
    x: Tensor,
    weight: Tensor,
    strides: list[int],
    pad_type: str,
    dilations: list[int],
    groups: int,
    pad: list[int] | None = None,
    bias: Tensor | None = None,
    output_shape: list[int] | None = None,
) -> Tensor:
    whole = F.conv_transpose2d(x, weight, bias, strides, 0, 0, groups, dilations)
    top, bottom, left, right = pad if pad is not None and pad_type == "custom" else (0, 0, 0, 0)
    height, width = (
        output_shape[-2:]
        if output_shape
        else (
            whole.shape[2] - top - bottom,
            whole.shape[3] - left - right,
        )
    )
    return whole[:, :, top : top + height, left : left + width]


def _max_pool(
    x: Tensor,
    kernel_sizes: list[int],
    pad_type: str,
    strides: list[int] | None = None,
    pad: list[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    return F.max_pool2d(
        _padded(x, pad_type, pad, -torch.inf), kernel_sizes, strides or 1, ceil_mode=ceil_mode
    )


def _avg_pool(
    x: Tensor,
    kernel_sizes: list[int],
    pad_type: str,
    strides: list[int] | None = None,
    pad: list[int] | None = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    def pooled(image: Tensor) -> Tensor:
        return F.avg_pool2d(image, kernel_sizes, strides or 1, ceil_mode=ceil_mode)

    sums = pooled(_padded(x, pad_type, pad))
    # The mean of what lies inside is that of all, over the share that lies inside.
    return sums / pooled(_padded(torch.ones_like(x), pad_type, pad)) if exclude_padding_from_average else sums


def _upsample(x: Tensor, scale_factor_height: float = 1, scale_factor_width: float = 1) -> Tensor:
    return F.interpolate(x, scale_factor=(float(scale_factor_height), float(scale_factor_width)))


def _pad(x: Tensor, pad: list[int], mode: str, constant_val: Tensor | None = None) -> Tensor:
    sides = [pad[2 * axis + side] for axis in reversed(range(len(pad) // 2)) for side in (0, 1)]
    if mode == "constant":
        return F.pad(x, sides, value=float(constant_val) if constant_val is not None else 0.0)
    while len(sides) > 4 and sides[-2:] == [0, 0]:
        sides = sides[:-2]
    return F.pad(x, sides, mode=_MODES[mode])


def _instance_norm(
    x: Tensor, epsilon: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None
) -> Tensor:
    return F.instance_norm(x, weight=gamma, bias=beta, eps=float(epsilon))


def _batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
) -> Tensor:
    return F.batch_norm(x, mean, variance, gamma, beta, eps=float(epsilon))


def _cast(x: Tensor, dtype: str) -> Tensor:
    kinds = {"fp16": torch.float16, "fp32": torch.float32, "int32": torch.int32, "bool": torch.bool}
    return x.to(kinds[dtype])


def _crop(x: Tensor, crop_height: list[int], crop_width: list[int]) -> Tensor:
    height, width = x.shape[-2:]
    return x[..., crop_height[0] : height - crop_height[1], crop_width[0] : width - crop_width[1]]


def _concat(values: list[Tensor], axis: int, interleave: bool = False) -> Tensor:
    if interleave:
        raise ModelFileError(
            "the model interleaves channels, which only Core ML itself computes: compile it on macOS"
        )
    return torch.cat(values, axis)


def _slice(
    x: Tensor,
    begin: list[int],
    end: list[int],
    stride: list[int] | None = None,
    begin_mask: list[bool] | None = None,
    end_mask: list[bool] | None = None,
) -> Tensor:
    axes = range(x.ndim)
    return x[
        tuple(
            slice(
                None if begin_mask and begin_mask[axis] else begin[axis],
                None if end_mask and end_mask[axis] else end[axis],
                stride[axis] if stride else 1,
            )
            for axis in axes
        )
    ]


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "add": lambda x, y: x + y,
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    "cast": _cast,
    "clip": lambda x, alpha, beta: x.clamp(float(alpha), float(beta)),
    "concat": _concat,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "crop": _crop,
    "equal": lambda x, y: x == y,
    "identity": lambda x: x,
    "instance_norm": _instance_norm,
    "leaky_relu": lambda x, alpha: F.leaky_relu(x, float(alpha)),
    "max_pool": _max_pool,
    "mul": lambda x, y: x * y,
    "pad": _pad,
    "pow": lambda x, y: x**y,
    "real_div": lambda x, y: x / y,
    "reduce_mean": lambda x, axes, keep_dims: x.mean(axes, keepdim=keep_dims),
    "relu": lambda x: x.relu(),
    "round": lambda x: x.round(),
    "rsqrt": lambda x, epsilon: (x + float(epsilon)).rsqrt(),
    "sigmoid": lambda x: x.sigmoid(),
    "silu": lambda x: F.silu(x),
    "slice_by_index": _slice,
    "sqrt": lambda x: x.sqrt(),
    "square": lambda x: x.square(),
    "sub": lambda x, y: x - y,
    "tanh": lambda x: x.tanh(),
    "transpose": lambda x, perm: x.permute(perm),
    "upsample_nearest_neighbor": _upsample,
}
"""The operations, by the names and arguments that MIL gives them."""
