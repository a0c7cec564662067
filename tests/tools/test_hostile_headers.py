"""Two thousand headers that nobody wrote on purpose: each is refused in a sentence, or means what it says.

The mutations are drawn from seeds. A file that loads in spite of its mutation must translate as it did before: what a
header can still say then is nothing that the output depends on.
"""

from __future__ import annotations

import copy
import json
import math
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from translatekit_tools.backends.openvino import ir_file
from translatekit_tools.backends.tensorrt.engine_file import header_path
from translatekit_tools.compile.source import Source
from translatekit_tools.evaluate.models import open_predictor
from translatekit_tools.evaluate.options import EvaluateOptions
from translatekit_tools.graphs import onnx_file

import translatekit
from tests.tools.backends.tensorrt.engines import write_engine
from translatekit.cli.info import info as info_command
from translatekit.errors import TranslatekitError
from translatekit.model_file import read_any_info, save_model
from translatekit.model_info import ModelInfo
from translatekit.networks import load_network, make_generator
from translatekit.terminal import printable

CHANNELS = {"in_channels": 3, "out_channels": 3}
SIDE = 8
LONG = 2000
"""Characters that no sentence needs."""

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    16,
    2**31,
    2**63,
    10**30,
    1e308,
    0.5,
    math.nan,
    math.inf,
    "",
    "x",
    "7",
    "nan",
    "unet",
    "resnet",
    "lab",
    "gray",
    "latent",
    "BtoA",
    "demo",
    "../../etc/passwd",
    "\x1b[2J\x07\r\nError: no",
    "\u202etxt.exe",
    "\ud800",
    "y" * 5000,
    [],
    {},
    [1, 2],
    ["a", "b"],
    [[[[]]]],
    {"a": 1},
    {"name": "x", "color": [1, 2, 3]},
    {"\x1b[31m" + "k" * 3000: None},
]


def mutate(value: Any, draw: random.Random) -> Any:
    """A JSON value with one to three changes somewhere in it."""
    value = copy.deepcopy(value)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        places = list(containers(value))
        if not places:
            return draw.choice(VALUES)
        place = draw.choice(places)
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw.choice(keys) if keys else None
        change = draw.choice(("replace", "replace", "replace", "remove", "add", "nest", "tweak", "many"))
        if key is None or change == "add":
            add(place, draw.choice(VALUES), draw)
        elif change == "remove":
            del place[key]
        elif change == "nest":
            place[key] = draw.choice((lambda old: [old], lambda old: {"x": old}, deep))(place[key])
        elif change == "tweak":
            place[key] = tweak(place[key], draw)
        elif change == "many" and isinstance(place, dict):
            place.update({f"key{number}{'z' * 100}": number for number in range(300)})
        else:
            place[key] = draw.choice(VALUES)
    return value


def containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from containers(item)


def add(place: Any, value: Any, draw: random.Random) -> None:
    if isinstance(place, dict):
        place[
            draw.choice(("extra", "depth", "pretrained", "size", "\x1b]0;title\x07", "shapes", "palette"))
        ] = value
    else:
        place.append(value)


def deep(value: Any) -> Any:
    for _ in range(200):
        value = [value]
    return value


def tweak(value: Any, draw: random.Random) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value) + draw.choice(("", " ", "\n", "\0", "é"))
    return draw.choice((-value, value + 1, value * 2, value * 10**6, float(value), str(value), [value]))


def damage(data: bytes, draw: random.Random, end: int) -> bytes:
    """Bytes changed, put in, taken out or repeated in the first `end` of a file."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 2, 8))):
        place = draw.randrange(end)
        kind = draw.randrange(4)
        if kind == 0:
            changed[place] = draw.randrange(256)
        elif kind == 1:
            changed[place:place] = draw.choice(
                (b"\0", b'"', b"{", b"}", b"9" * 20, b"\x1b", b"\xff", b'"size":1,')
            )
        elif kind == 2:
            del changed[place : place + draw.choice((1, 4, 40))]
        else:
            changed[place:place] = changed[place : place + 40]
    return bytes(changed)


# What is mutated: for each kind of file a function that writes one from a seed.

Write = Callable[[Path, random.Random], Path]


def split(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(path: Path, header: Any, weights: bytes) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + weights)
    return path


def fields_of(source: Path) -> Write:
    header, weights = split(source)
    fields = json.loads(header["__metadata__"]["translatekit"])

    def write(path: Path, draw: random.Random) -> Path:
        metadata = {"translatekit": json.dumps(mutate(fields, draw))}
        return join(path, {**header, "__metadata__": metadata}, weights)

    return write


def tensors_of(source: Path) -> Write:
    header, weights = split(source)
    return lambda path, draw: join(path, mutate(header, draw), weights)


def bytes_of(source: Path) -> Write:
    data = source.read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]

    def write(path: Path, draw: random.Random) -> Path:
        path.write_bytes(damage(data, draw, end))
        return path

    return write


def onnx_of(source: Path) -> Write:
    import onnx

    fields = json.loads(onnx_file.read_info(source).to_json())
    model = onnx.load(str(source))

    def write(path: Path, draw: random.Random) -> Path:
        del model.metadata_props[:]
        model.metadata_props.add(key="translatekit", value=json.dumps(mutate(fields, draw)))
        data = model.SerializeToString()
        path.write_bytes(damage(data, draw, len(data)) if draw.random() < 0.2 else data)
        return path

    return write


def xml_of(source: Path) -> Write:
    fields = json.loads(ir_file.read_info(source).to_json())
    tree = ElementTree.fromstring(source.read_bytes())
    element = tree.find("rt_info/translatekit")
    assert element is not None

    def write(path: Path, draw: random.Random) -> Path:
        element.set("value", json.dumps(mutate(fields, draw)))
        data = ElementTree.tostring(tree)
        path.write_bytes(damage(data, draw, len(data)) if draw.random() < 0.2 else data)
        shutil.copyfile(source.with_suffix(".bin"), path.with_suffix(".bin"))
        return path

    return write


def engine_of(source: Path) -> Write:
    fields = json.loads(header_path(source).read_text())

    def write(path: Path, draw: random.Random) -> Path:
        path.write_bytes(source.read_bytes())
        header_path(path).write_text(json.dumps(mutate(fields, draw)))
        return path

    return write


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Images of 8 pixels a side are not worth more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A whole file of each kind."""
    import onnx
    import openvino as runtime
    from onnx import TensorProto, helper

    folder = tmp_path_factory.mktemp("whole")
    torch.manual_seed(0)
    network = make_generator("unet", {"depth": 3, "width": 2}, **CHANNELS)
    arguments: dict[str, Any] = network.arguments  # type: ignore[assignment]
    info = ModelInfo(
        method="pix2pix",
        generator="unet",
        generator_options=arguments,
        size=SIDE,
        size_multiple=8,
        norm_inference="running",
        classes=("a", "b"),
        data={
            "dataset": "demo",
            "name": "demo",
            "images": 3,
            "palette": [{"name": "wall", "color": [1, 2, 3]}],
        },
        metrics={"l1": 0.25},
        step=10,
        package="translatekit",
        versions={"translatekit": "0.1.0"},
    )
    save_model(folder / "model.safetensors", network.state_dict(), info)
    latent = make_generator("dcgan", {"width": 1}, latent_size=4, num_classes=2, out_channels=3, size=16)
    options: dict[str, Any] = latent.arguments  # type: ignore[assignment]
    drawn = ModelInfo(
        method="cgan",
        generator="dcgan",
        generator_options=options,
        source="latent",
        classes=("a", "b"),
    )
    save_model(folder / "latent.safetensors", latent.state_dict(), drawn)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, ["N", "H", "W", 3])
        for name in (onnx_file.INPUT, onnx_file.OUTPUT)
    ]
    node = helper.make_node("Identity", [onnx_file.INPUT], [onnx_file.OUTPUT])
    graph = helper.make_graph([node], "same", ends[:1], ends[1:])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    compiled = ModelInfo(
        method="pix2pix",
        generator="unet",
        size=SIDE,
        compiled={"backend": "x", "precision": "fp32", "shapes": "any", "versions": {"onnx": "1"}},
    )
    onnx_file.set_info(proto, compiled)
    onnx.save(proto, str(folder / "model.onnx"))
    runtime.save_model(runtime.Core().read_model(folder / "model.onnx"), folder / "model.xml")
    ir_file.write_info(folder / "model.xml", compiled)
    write_engine(folder / "model.engine")
    return {file.name: file for file in folder.iterdir()}


KINDS: dict[str, tuple[str, Callable[[Path], Write], int]] = {
    "fields": ("model.safetensors", fields_of, 700),
    "tensors": ("model.safetensors", tensors_of, 400),
    "bytes": ("model.safetensors", bytes_of, 200),
    "latent": ("latent.safetensors", fields_of, 100),
    "onnx": ("model.onnx", onnx_of, 200),
    "openvino": ("model.xml", xml_of, 150),
    "tensorrt": ("model.engine", engine_of, 250),
}


def test_there_are_two_thousand() -> None:
    assert sum(count for _, _, count in KINDS.values()) == 2000


@pytest.mark.parametrize("kind", KINDS)
def test_every_mutated_header_is_refused_or_means_what_it_says(
    kind: str, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    name, make, count = KINDS[kind]
    source = files[name]
    write = make(source)
    batch = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    runs = kind not in ("latent", "tensorrt")
    whole = translatekit.load(source, "cpu", "fp32")(batch) if runs else None
    passed = refused = 0
    for seed in range(count):
        path = write(tmp_path / name, random.Random(f"{kind} {seed}"))
        try:
            use(path, batch, whole)
            passed += 1
        except TranslatekitError as error:
            check_sentence(str(error), seed)
            refused += 1
        except Exception as error:
            raise AssertionError(f"seed {seed} gives a traceback: {error!r}") from error
    assert refused > 0.3 * count
    assert kind in ("tensors", "bytes") or passed > 0.02 * count, "what is harmless was refused as well"


def use(path: Path, batch: np.ndarray, whole: np.ndarray | None) -> None:
    """Do with a file what every command does that reads its header."""
    info = read_any_info(path)
    shown = CliRunner().invoke(info_command, [str(path)])
    assert shown.exception is None, repr(shown.exception)
    assert printable(shown.output, lines=True) == shown.output
    told = CliRunner().invoke(info_command, [str(path), "--json"])
    assert told.exception is None, repr(told.exception)
    assert json.loads(told.output, parse_constant=lambda text: pytest.fail(text))["classes"] == list(
        info.classes
    )
    if whole is None:
        if path.suffix == ".safetensors":
            load_network(path)
        return
    if path.suffix != ".xml":
        assert Source(path).info == info
    predictor = open_predictor(path, EvaluateOptions(device="cpu"))
    assert predictor.info == info
    output = predictor.translator(batch)
    assert output.shape == (*batch.shape[:3], info.output.count)
    if info.norm_inference == "running":
        assert np.array_equal(output, whole)


def check_sentence(text: str, seed: int) -> None:
    assert 20 < len(text) < LONG, (seed, text)
    assert printable(text).isprintable(), seed
    assert ": " in text, (seed, text)
