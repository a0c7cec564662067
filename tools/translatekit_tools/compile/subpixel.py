"""Transposed convolutions as convolutions, for runtimes that are slow at the former."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_TAPS = ((2, 0), (3, 1))
"""Of a kernel of 4 at stride 2: which meet two neighbouring inputs, for the output after and the one before."""


def to_subpixel(source: Path) -> bytes:
    """An ONNX file whose transposed convolutions that double the sides are sub-pixel convolutions.

    Each becomes a convolution 2x2 with four times the channels, whose output is spread over blocks of 2x2 pixels, less
    the border of one pixel: the same sums of the same products (Shi et al., "Is the deconvolution layer the same as a
    convolutional layer?", 2016). A kernel of 3 is taken as one of 4 with zeros. Others are left as they are.

    Args:
        source: an ONNX file in fp32.

    Returns:
        The bytes of the other.
    """
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(source))
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    inner = [("subpixel_starts", [1, 1]), ("subpixel_ends", [-1, -1]), ("subpixel_axes", [2, 3])]
    graph.initializer.extend(numpy_helper.from_array(np.array(value), name) for name, value in inner)
    nodes: list[Any] = []
    for node in graph.node:
        if not _doubles(node, weights):
            nodes.append(node)
            continue
        name = node.output[0]
        kernel = numpy_helper.to_array(weights[node.input[1]])
        kernel = np.pad(kernel, ((0, 0), (0, 0), (0, 4 - kernel.shape[2]), (0, 4 - kernel.shape[3])))
        phases = [kernel[:, :, rows][:, :, :, columns] for rows in _TAPS for columns in _TAPS]
        tensors = [np.concatenate([phase.swapaxes(0, 1) for phase in phases])]
        tensors += [np.tile(numpy_helper.to_array(weights[bias]), 4) for bias in node.input[2:]]
        names = [f"{name}_subpixel_{number}" for number in range(len(tensors))]
        graph.initializer.extend(map(numpy_helper.from_array, tensors, names))
        nodes += [
            helper.make_node(
                "Conv",
                [node.input[0], *names],
                [f"{name}_phases"],
                name=node.name,
                kernel_shape=[2, 2],
                pads=[1] * 4,
            ),
            helper.make_node("DepthToSpace", [f"{name}_phases"], [f"{name}_spread"], blocksize=2, mode="DCR"),
            helper.make_node("Slice", [f"{name}_spread", *(name for name, _ in inner)], [name]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return bytes(model.SerializeToString())


def _doubles(node: Any, weights: dict[str, Any]) -> bool:
    from onnx import helper

    if node.op_type != "ConvTranspose" or any(name not in weights for name in node.input[1:]):
        return False
    settings = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    if settings.get("group", 1) != 1 or set(settings.get("dilations", [1])) != {1}:
        return False
    geometry = (
        tuple(weights[node.input[1]].dims[2:]),
        tuple(settings.get("strides", ())),
        tuple(settings.get("pads", ())),
        tuple(settings.get("output_padding", (0, 0))),
    )
    return geometry in (
        ((4, 4), (2, 2), (1, 1, 1, 1), (0, 0)),
        ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    )
