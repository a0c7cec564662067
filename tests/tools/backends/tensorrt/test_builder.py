"""Our graphs in the hands of TensorRT-RTX's real builder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from translatekit_tools.backends.tensorrt.flavour import RTX, use
from translatekit_tools.backends.tensorrt.graph import check_graph
from translatekit_tools.backends.tensorrt.phases import Phases
from translatekit_tools.backends.tensorrt.profiles import parse_profiles
from translatekit_tools.backends.tensorrt.targets import TARGETS
from translatekit_tools.compile.source import Source
from translatekit_tools.graphs.qdq import to_int8

from tests.matrix import combinations
from tests.tools.backends.tensorrt.builder import takes
from tests.tools.backends.tensorrt.models import draw_images, save
from translatekit.registry import registry

pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return save(
        tmp_path_factory.mktemp("unet") / "unet.safetensors", "unet", "per_image", 8, depth=3, width=4
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_what_is_exported_is_taken(unet: Source, precision: Any) -> None:
    graph = unet.onnx(precision)
    check_graph(graph)
    assert takes(graph)


def test_int8_is_explicit_and_taken(unet: Source, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    draw_images(tmp_path)
    graph = tmp_path / "int8.onnx"
    images, origin = unet.images(str(tmp_path), 64)
    assert (len(images), origin) == (2, str(tmp_path))
    to_int8(unet.onnx(), graph, images)
    model = onnx.load(graph).graph
    made_by = {node.output[0]: node.op_type for node in model.node}
    convolutions = [node for node in model.node if node.op_type in ("Conv", "ConvTranspose")]
    assert convolutions
    assert {made_by[name] for node in convolutions for name in node.input[:2]} == {"DequantizeLinear"}
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.initializer}
    zeros = [values[node.input[2]] for node in model.node if node.op_type == "QuantizeLinear"]
    assert zeros
    assert not any(zero.any() for zero in zeros)
    assert {zero.dtype.name for zero in zeros} == {"int8"}
    check_graph(graph)
    assert takes(graph)


NORMS = {"running": "batch", "per_image": "batch", "instance": "instance", "none": "none"}
SMALL: dict[str, dict[str, Any]] = {
    "unet": {"depth": 3, "width": 4},
    "encoder_decoder": {"depth": 3, "width": 4},
    "resnet": {"blocks": 1, "width": 4},
    "timm_unet": {"encoder": "resnet18", "width": 4},
}
LARGE: dict[str, dict[str, Any]] = {
    "unet": {"depth": 8, "width": 64},
    "resnet": {"blocks": 9, "width": 64},
}


def build_all(source: Source, precisions: Sequence[str], targets: Sequence[str], folder: Path) -> int:
    """How many of these precisions and targets are built by what ``compile`` builds with; all, or it raises."""
    pytest.importorskip("tensorrt_rtx")
    use(RTX)
    from translatekit_tools.backends.tensorrt.build import build

    profiles = parse_profiles("1,2,4", None, source.info)
    built = 0
    for precision in precisions:
        if precision == "int8":
            graph = folder / "int8.onnx"
            to_int8(source.onnx(), graph, source.images(str(folder), 64)[0])
        else:
            graph = source.onnx(precision)  # type: ignore[arg-type]
        check_graph(graph)
        for target in targets:
            if (precision, target) != ("bf16", "7.5"):  # is refused before
                plan, _ = build(graph, profiles, Phases(lambda *_: None), targets=[target])
                assert plan[:4] == b"vtrt"  # as its engines begin
                built += 1
    return built


def save_normed(folder: Path, generator: str, norm: str) -> Source:
    inference = norm if norm == "per_image" else "running"
    draw_images(folder, 32)
    return save(folder / "model.safetensors", generator, inference, 32, **SMALL[generator], norm=NORMS[norm])


def test_every_generator_is_among_those_built() -> None:
    """A new one needs its small size above."""
    specs = [entry.spec for entry in registry("generator").entries()]
    ours = [spec for spec in specs if spec.target.startswith("translatekit.") and spec.source == "image"]
    assert {spec.name for spec in ours} == set(SMALL)


@pytest.mark.parametrize(
    ("generator", "norm"), combinations(SMALL, NORMS, few=list(zip(SMALL, NORMS, strict=True)))
)
def test_every_generator_and_norm_is_built_in_every_precision(
    tmp_path: Path, generator: str, norm: str
) -> None:
    source = save_normed(tmp_path, generator, norm)
    assert build_all(source, ("fp32", "fp16", "bf16", "int8"), ("7.5", "any"), tmp_path) == 7


@pytest.mark.slow
@pytest.mark.parametrize(("generator", "norm"), combinations(SMALL, NORMS, few=[("unet", "instance")]))
def test_they_are_built_for_every_target(tmp_path: Path, generator: str, norm: str) -> None:
    source = save_normed(tmp_path, generator, norm)
    built = build_all(source, ("fp32", "fp16", "bf16", "int8"), TARGETS, tmp_path)
    assert built == 4 * len(TARGETS) - 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("generator", "precision", "target"),
    [
        case
        for case in combinations(
            LARGE,
            ("fp32", "fp16", "bf16"),
            ("7.5", "any"),
            few=[("unet", "fp16", "7.5"), ("resnet", "bf16", "any")],
        )
        if case.values[1:] != ("bf16", "7.5")
    ],
)
def test_networks_of_the_papers_size(tmp_path: Path, generator: str, precision: str, target: str) -> None:
    source = save(tmp_path / "model.safetensors", generator, "per_image", 256, **LARGE[generator])
    assert build_all(source, (precision,), (target,), tmp_path) == 1
