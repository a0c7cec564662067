"""A transposed convolution at the end of a network as a convolution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_TAPS = ((2, 0), (3, 1))
"""Of a kernel of 4 at stride 2: which meet two neighbouring inputs, for the output after and the one before."""


def end_in_convolution(source: Path) -> bytes:
    """An ONNX file whose last convolution is a plain one, where it was transposed, 4x4, of stride 2.

    OpenVINO leaves all that comes after the last convolution in fp32, whatever the precision asked for, and a
    transposed one is none to it: of a U-Net, the whole decoder. Instead: a convolution 2x2 with four times the
    channels, whose output is spread over blocks of 2x2 pixels, less the border of one pixel. Those are the same sums of
    the same products (Shi et al., "Is the deconvolution layer the same as a convolutional layer?", 2016).

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
    place, node = [item for item in enumerate(graph.node) if item[1].op_type in ("Conv", "ConvTranspose")][-1]
    if not _doubles(node, weights):
        return source.read_bytes()
    kernel, *bias = (numpy_helper.to_array(weights[name]) for name in node.input[1:])
    phases = [kernel[:, :, rows][:, :, :, columns].swapaxes(0, 1) for rows in _TAPS for columns in _TAPS]
    of_conv = {"subpixel_kernel": np.concatenate(phases)}
    of_conv |= {f"subpixel_bias_{number}": np.tile(one, 4) for number, one in enumerate(bias)}
    of_slice = {"subpixel_starts": [1, 1], "subpixel_ends": [-1, -1], "subpixel_axes": [2, 3]}
    for name, values in (of_conv | of_slice).items():
        graph.initializer.append(numpy_helper.from_array(np.array(values), name))
    nodes = [
        helper.make_node(
            "Conv",
            [node.input[0], *of_conv],
            ["subpixel_phases"],
            node.name,
            kernel_shape=[2, 2],
            pads=[1] * 4,
        ),
        helper.make_node("DepthToSpace", ["subpixel_phases"], ["subpixel_spread"], blocksize=2, mode="DCR"),
        helper.make_node("Slice", ["subpixel_spread", *of_slice], list(node.output)),
    ]
    for name in node.input[1:]:
        graph.initializer.remove(weights[name])
    del graph.node[place]
    for offset, new in enumerate(nodes):
        graph.node.insert(place + offset, new)
    return bytes(model.SerializeToString())


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
