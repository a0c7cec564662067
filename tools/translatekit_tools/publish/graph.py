"""The model as the graph that a page runs, and what of it runs where."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from translatekit.errors import ModelFileError
from translatekit.interfaces import Progress
from translatekit.model_info import ModelInfo
from translatekit_tools.publish.model import Model

if TYPE_CHECKING:
    import numpy as np

    from translatekit_tools.publish.runtime import Runtime

CHECK_IMAGES = 2
_HALF = "translatekit_half"


@dataclass(frozen=True, slots=True)
class Graph:
    """What a page runs.

    Attributes:
        path: an ONNX file that maps ``image`` to ``translated``, uint8 (N, H, W, C).
        info: its header.
        images: (H, W, C) of sizes that it takes, to compare on.
        expected: what Python makes of each by ONNX Runtime.
    """

    path: Path
    info: ModelInfo
    images: list[np.ndarray] = field(repr=False)
    expected: list[np.ndarray] = field(repr=False)


def make_graph(model: Model, folder: Path, precision: str, progress: Progress) -> Graph:
    """Compile a model for the page.

    Args:
        model: which one; an ``.onnx`` in fp32 needs no PyTorch here.
        folder: where its files are made.
        precision: of the weights as they are kept, ``fp32`` or ``fp16``.
        progress: told what is being done.

    Raises:
        TranslatekitError: it cannot be compiled, strays from the model, or holds operators that are not ONNX's own.
    """
    from translatekit_tools.backends.onnxruntime.translator import load
    from translatekit_tools.backends.options import CompileOptions
    from translatekit_tools.backends.parity import compare
    from translatekit_tools.compile import compile_model
    from translatekit_tools.compile.images import compiled_size, sample_images
    from translatekit_tools.compile.source import Source
    from translatekit_tools.graphs.half import store_half
    from translatekit_tools.graphs.onnx_file import read_info

    if model.path.suffix == ".onnx":
        path = Source(model.path, "uint8").onnx()  # it was compared when it was compiled
    else:
        path = folder / "model.onnx"
        compile_model(model.path, path, dtype="uint8", progress=progress)
    info = read_info(path)
    foreign = _foreign_operators(path)
    if foreign:
        raise ModelFileError(
            f"{model.path} cannot be published as a page: its graph holds {', '.join(foreign)}, which browsers do not "
            "have; write that part of the network in PyTorch's own operators"
        )
    size = compiled_size(info, info.compiled.get("shapes", "any"))
    images, _ = sample_images(None, model.path, info, CHECK_IMAGES, size, "uint8")
    if precision == "fp16":
        halved = store_half(path, folder / "half.onnx")
        parity = compare(load(path, "cpu", None), load(halved, "cpu", None), images, "fp32")
        least = CompileOptions(precision="fp16").min_psnr("uint8", info.output)
        if parity.psnr < least:
            raise ModelFileError(
                f"{model.path} was not published: with its weights in fp16 its outputs reach {parity.psnr:.1f} dB "
                f"against fp32, and {least:g} dB are asked for: leave out --weights fp16"
            )
        path = halved
    translator = load(path, "cpu", None)
    expected = [translator(image[None])[0] for image in images]
    return Graph(_without_round(path, folder / "page.onnx"), info, images, expected)


def not_on_webgpu(graph: Path, runtime: Runtime) -> list[str]:
    """The operators of a graph that the runtime runs on the CPU even where it has WebGPU, by name.

    Args:
        graph: an ONNX file.
        runtime: which says what it has.
    """
    import onnx

    model = onnx.load(str(graph))
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    known = runtime.webgpu_operators()
    computed = {node.op_type for node in model.graph.node if node.op_type != "Constant"}

    def is_there(name: str) -> bool:
        """Whether there is the version of the operator that is in force in the graph's opset."""
        since = onnx.defs.get_schema(name, opset).since_version
        return any(low <= since <= high for low, high in known.get(name, []))

    return sorted(name for name in computed if not is_there(name))


def _without_round(graph: Path, out: Path) -> Path:
    """The graph with ``Round``, which WebGPU does not have, as ``Floor`` of half more, which it has.

    Else the runtime would bring what is not yet rounded to the CPU, and back. Values halfway between two levels go up,
    where ``Round`` takes the even one.
    """
    import onnx

    model = onnx.load(str(graph))
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type != "Round":
            nodes.append(node)
            continue
        more = f"{node.output[0]}_half_more"
        nodes.append(onnx.helper.make_node("Add", [node.input[0], _HALF], [more], name=more))
        nodes.append(onnx.helper.make_node("Floor", [more], node.output, name=node.name))
    if len(nodes) == len(model.graph.node):
        return graph
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(onnx.helper.make_tensor(_HALF, onnx.TensorProto.FLOAT, [], [0.5]))
    onnx.save(model, str(out))
    return out


def _foreign_operators(graph: Path) -> list[str]:
    """The operators that are none of ONNX's own, which the runtime would have to know by chance."""
    import onnx

    nodes = onnx.load(str(graph)).graph.node
    return sorted({f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in ("", "ai.onnx")})
