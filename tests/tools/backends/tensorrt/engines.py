"""Engines for the fake TensorRT, and a build."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from translatekit_tools.backends.tensorrt.engine_file import EngineHeader, hash_engine, write_header
from translatekit_tools.backends.tensorrt.profiles import parse_profiles

from translatekit.model_info import ModelInfo

INFO = ModelInfo(method="test", generator="unet", size=8, size_multiple=4, compiled={"dtype": "uint8"})


def write_engine(
    path: Path, batch: str = "1,2,4", shapes: str = "8x8,16x12", *, dtype: str = "uint8", **header: str
) -> Path:
    """An engine that inverts images, with its JSON file."""
    profiles = parse_profiles(batch, shapes, INFO)
    sides = [[[*shape, 3] for shape in (p.minimum, p.optimum, p.maximum)] for p in profiles]
    path.write_bytes(json.dumps({"profiles": sides}).encode())
    fields = {
        "source": "runs/maps",
        "precision": "fp16",
        "gpu": "Stub 0",
        "compute_capability": "9.0",
        "tensorrt": "10.16.1.11",
        "driver": "13.0",
        **header,
    }
    info = replace(INFO, compiled={"dtype": dtype})
    digest = hash_engine(path.read_bytes())
    write_header(path, EngineHeader(info=info, sha256=digest, profiles=profiles, **fields))
    return path


def write_graph(path: Path) -> Path:
    """A graph of three nodes, whatever the fake TensorRT makes of it."""
    onnx = pytest.importorskip("onnx")
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, ["n", "h", "w", 3])
        for name in ("image", "translated")
    ]
    nodes = [
        onnx.helper.make_node("Cast", ["image"], ["a"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Relu", ["a"], ["b"]),
        onnx.helper.make_node("Cast", ["b"], ["translated"], to=onnx.TensorProto.UINT8),
    ]
    graph = onnx.helper.make_graph(nodes, "graph", ends[:1], ends[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)]), path)
    return path


COMPILE = """
import json, os, sys
from pathlib import Path
from types import SimpleNamespace
from tests.tools.backends.tensorrt.engines import INFO
from translatekit.errors import TranslatekitError
from translatekit_tools.backends.tensorrt.compiler import compile

class Source:
    info, path, hash = INFO, Path("runs/maps"), "abc"

    def onnx(self, precision="fp32"):
        asked.append(precision)
        return Path(os.environ["GRAPH"])

asked, told = [], []
def progress(text, share):
    told.append([text, share])
    if len(told) == int(os.environ.get("STOP_AT", 0)):
        raise KeyboardInterrupt

given = {"precision": "fp16", "batch": "1,2,4", "shapes": None, "workspace": None}
given |= {"timing_cache": None, "device": "auto", "flavour": "tensorrt", "target": None}
options = SimpleNamespace(**{**given, **json.loads(os.environ.get("OPTIONS", "{}"))})
try:
    report = compile(Source(), Path(sys.argv[1]), options, progress)
    print(json.dumps({"report": report, "asked": asked, "told": told}))
except TranslatekitError as error:
    print("refused:", error)
except KeyboardInterrupt:
    print("interrupted")
"""
