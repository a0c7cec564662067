"""A transposed convolution at the end of a network as a convolution."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

_TAPS = ((2, 0), (3, 1))
"""Of a kernel of 4 at stride 2: which meet two neighbouring inputs, for the output after and the one before."""

_PIXELWISE = {"Tanh", "Add", "Sub", "Mul", "Div", "Clip", "Round", "Cast", "Transpose"}


def end_in_convolution(source: Path) -> bytes:
    """An ONNX file whose last convolution is a plain one, where it was transposed, 4x4, of stride 2.

    Asked for bf16, OpenVINO leaves all that comes after the last convolution in fp32, and a transposed one is none to
    it: of a U-Net, the whole decoder. Instead: a convolution 2x2 with four times the channels, whose output is spread
    over blocks of 2x2 pixels, less the border of one pixel. Those are the same sums of the same products (Shi et al.,
    "Is the deconvolution layer the same as a convolutional layer?", 2016). What changes values one by one comes before
    they are spread: it is then computed with the convolution, and what is moved are bytes. That is quicker in fp32 and
    int8 too.

    Args:
        source: an ONNX file in fp32.

    Returns:
        The bytes of the other, or of the same where the network ends otherwise.
    """
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(source))
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    convolutions = [
        place for place, node in enumerate(graph.node) if node.op_type in ("Conv", "ConvTranspose")
    ]
    if not convolutions or not _doubles(graph.node[convolutions[-1]], weights):
        return source.read_bytes()
    place = convolutions[-1]
    node = graph.node[place]
    kernel, *bias = (numpy_helper.to_array(weights[name]) for name in node.input[1:])
    phases = [kernel[:, :, rows][:, :, :, columns].swapaxes(0, 1) for rows in _TAPS for columns in _TAPS]
    of_conv = {"subpixel_kernel": np.concatenate(phases)}
    of_conv |= {f"subpixel_bias_{number}": np.tile(one, 4) for number, one in enumerate(bias)}
    of_slice = {"subpixel_starts": [1, 1], "subpixel_ends": [-1, -1], "subpixel_axes": [2, 3]}
    for name, values in (of_conv | of_slice).items():
        graph.initializer.append(numpy_helper.from_array(np.array(values), name))
    for name in node.input[1:]:
        graph.initializer.remove(weights[name])
    tail = _following(node, graph.node[place + 1 :], weights)
    result = [node, *tail][-1].output[0]
    chain = [
        helper.make_node("Conv", [node.input[0], *of_conv], [""], kernel_shape=[2, 2], pads=[1] * 4),
        *(one for one in tail if one.op_type != "Transpose"),
        helper.make_node("DepthToSpace", [""], [""], blocksize=2, mode="DCR"),
        helper.make_node("Slice", ["", *of_slice], [""]),
        *(one for one in tail if one.op_type == "Transpose"),
    ]
    for number, (one, following) in enumerate(pairwise(chain)):
        one.output[0] = following.input[0] = f"subpixel_{number}"
    chain[-1].output[0] = result
    rest = graph.node[place + 1 + len(tail) :]
    del graph.node[place:]
    graph.node.extend([*chain, *rest])
    return bytes(model.SerializeToString())


def _following(node: Any, nodes: Sequence[Any], weights: dict[str, Any]) -> list[Any]:
    """Those of the next nodes that are a chain behind `node`, and treat every value of every pixel alike."""
    chain = [node]
    for following in nodes:
        source, *constants = following.input
        tensors = [weights.get(name) for name in constants if name]
        if (
            following.op_type not in _PIXELWISE
            or source != chain[-1].output[0]
            or sum(source in other.input for other in nodes) > 1
            or any(tensor is None or prod(tensor.dims) != 1 for tensor in tensors)
        ):
            break
        chain.append(following)
    return chain[1:]


def _doubles(node: Any, weights: dict[str, Any]) -> bool:
    """Whether it is a transposed convolution 4x4 that doubles each side, its weights constants."""
    from onnx import helper

    if node.op_type != "ConvTranspose" or any(name not in weights for name in node.input[1:]):
        return False
    settings = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    return (
        list(weights[node.input[1]].dims[2:]) == [4, 4]
        and list(settings.get("strides", ())) == [2, 2]
        and list(settings.get("pads", ())) == [1, 1, 1, 1]
        and set(settings.get("output_padding", [0])) == {0}
        and set(settings.get("dilations", [1])) == {1}
        and settings.get("group", 1) == 1
    )
