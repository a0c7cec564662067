"""Every field of a header is checked where the file is read, and what is wrong is named in one short sentence."""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from translatekit.errors import ModelFileError
from translatekit.image_spec import GRAY, RGB, ImageSpec, labels_spec, specs_of_8_bits
from translatekit.model_file import StoredTensor, read_header, read_info, save_model
from translatekit.model_info import _RULES, ModelInfo

INFO = ModelInfo(method="pix2pix", generator="unet", generator_options={"in_channels": 3, "out_channels": 3})


def rewrite(path: Path, **changes: Any) -> Path:
    """A model file whose header says something else; where a value is Ellipsis, nothing of that."""
    save_model(path, {"a": torch.zeros(2, 3), "b": torch.zeros((), dtype=torch.int64)}, INFO)
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    fields = json.loads(header["__metadata__"]["translatekit"]) | changes
    fields = {name: value for name, value in fields.items() if value is not ...}
    header["__metadata__"]["translatekit"] = json.dumps(fields)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return path


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("method", None, "its method must be a text of 1 to 1000 characters, got None"),
        ("method", "", "its method must be a text"),
        ("generator", "../unet", "its generator must be a name"),
        ("generator", ["unet"], "its generator must be a name"),
        ("generator", ..., "it lacks field 'generator'"),
        ("generator_options", [], "its generator_options must be an object"),
        ("generator_options", {"dropout": float("nan")}, "its generator_options must be an object of finite"),
        ("generator_options", {"depth": 10**30}, "its generator_options must be an object of finite values"),
        ("source", "video", "its source must be one of image, latent, got 'video'"),
        ("in_channels", "3", "its in_channels must be a whole number from 1 to 65536, got '3'"),
        ("in_channels", True, "its in_channels must be a whole number"),
        ("in_channels", 1, "its in_channels is 1, but its generator was made with in_channels=3"),
        ("out_channels", 3.0, "its out_channels must be a whole number"),
        ("size", 0, "its size must be a whole number from 1 to 16384, got 0"),
        ("size", None, "its size must be a whole number"),
        ("size_multiple", -4, "its size_multiple must be a whole number from 1"),
        (
            "size_multiple",
            10**12,
            "its size_multiple must be a whole number from 1 to 16384, got 1000000000000",
        ),
        ("norm_inference", "batch", "its norm_inference must be one of running, per_image"),
        ("direction", 7, "its direction must be a text"),
        ("color", "rgb", "it has the unknown field 'color'"),
        ("input", "RGB", "its input must be an object of finite values, got 'RGB'"),
        ("input", {"channels": ["CT"]}, "its input is no kind of images, since rgb has 3 channels, not 1"),
        ("output", {"high": [float("inf")]}, "its output must be an object of finite values"),
        (
            "output",
            {"channels": ["gray"], "meaning": "gray"},
            "its out_channels is 3, but its output, gray of uint8, has 1 for the network",
        ),
        ("output", {"codec": "lab"}, "its out_channels is 3, but its output, RGB of uint8, has 2"),
        ("classes", "cat", "its classes must be a list of texts"),
        ("classes", [1, 2], "its classes must be a list of texts"),
        ("data", [], "its data must be an object"),
        (
            "data",
            {"dataset": 7},
            "its data must be an object of finite values, in which dataset, name, input and target are texts",
        ),
        ("metrics", {"l1": "low"}, "its metrics must be an object of numbers"),
        ("step", -1, "its step must be a whole number from 0"),
        ("epoch", 1.5, "its epoch must be a whole number"),
        ("versions", {"torch": 2}, "its versions must be an object of texts"),
        ("package", "x; rm -rf ~", "its package must be the name of a Python package"),
        ("package", "--index-url=http://x", "its package must be the name of a Python package"),
        ("compiled", "fp16", "its compiled must be an object"),
        (
            "compiled",
            {"precision": 16},
            "its compiled must be an object of finite values, in which backend and",
        ),
        ("format", 0, "its format must be a whole number from 1"),
        ("format", "1", "its format must be a whole number"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, field: str, value: Any, words: str) -> None:
    with pytest.raises(ModelFileError) as error:
        read_info(rewrite(tmp_path / "x.safetensors", **{field: value}))
    assert words in str(error.value)
    assert str(error.value).endswith("train or import the model again")
    assert len(str(error.value)) < 500


def test_at_most_three_unknown_fields_are_listed(tmp_path: Path) -> None:
    path = rewrite(tmp_path / "x.safetensors", **{f"\x1b[31m{n}" + "y" * 100: n for n in range(1000)})
    with pytest.raises(ModelFileError, match=r"it has the unknown fields '.* and 997 more") as error:
        read_info(path)
    assert len(str(error.value)) < 500
    assert "\x1b" not in str(error.value)


def test_a_field_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    text = '{"method": "a", "generator": "unet", "size": 64, "size": 128}'
    header = json.dumps({"__metadata__": {"translatekit": text}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ModelFileError, match="'size' occurs twice in it"):
        read_info(path)


def test_metrics_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    path = rewrite(tmp_path / "x.safetensors", metrics={"l1": 1, "fid": float("nan"), "psnr": float("inf")})
    assert read_info(path).metrics == {"l1": 1.0}


def test_headers_without_the_newer_fields_are_read(tmp_path: Path) -> None:
    assert read_info(rewrite(tmp_path / "x.safetensors", package=..., metrics=...)).package == ""


FORMAT_1: dict[str, Any] = {"format": 1, "input": ..., "output": ..., "generator_options": {}}


@pytest.mark.parametrize(
    ("fields", "input", "output"),
    [
        ({"in_channels": 3, "out_channels": 3, "color": "rgb"}, "RGB of uint8", "RGB of uint8"),
        ({"in_channels": 1, "out_channels": 1, "color": "gray"}, "gray of uint8", "gray of uint8"),
        ({"in_channels": 1, "out_channels": 2, "color": "lab"}, "gray of uint8", "RGB of uint8"),
        ({"in_channels": 3, "out_channels": 1}, "RGB of uint8", "gray of uint8"),
        (
            {"in_channels": 2, "out_channels": 3, "color": "rgb"},
            "2 channels (channel 1, channel 2) of uint8",
            "RGB of uint8",
        ),
    ],
)
def test_what_an_older_header_says_of_its_images(
    tmp_path: Path, fields: dict[str, Any], input: str, output: str
) -> None:
    info = read_info(rewrite(tmp_path / "x.safetensors", **FORMAT_1, **fields))
    assert (str(info.input), str(info.output), info.format) == (input, output, 2)
    assert (info.in_channels, info.out_channels) == (fields["in_channels"], fields["out_channels"])
    assert all(spec.levels for spec in (info.input, info.output))
    assert ModelInfo.from_json(info.to_json(), "x") == info


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"color": {}}, "its color must be one of rgb, gray, lab"),
        ({"color": "lab"}, "its color is 'lab', which has 1 channel in and 2 out, but it has 3 and 3"),
        ({"input": {}}, "it has the unknown field 'input'"),
    ],
)
def test_what_an_older_header_may_not_say(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelFileError, match=words):
        read_info(rewrite(tmp_path / "x.safetensors", **{**FORMAT_1, **fields}))


LAB = specs_of_8_bits("lab", 1, 2)


@pytest.mark.parametrize(
    ("input", "output", "words"),
    [
        (LAB[1], LAB[1], "its input is coded lab, which is a code of gray there"),
        (GRAY, LAB[1], "its output is coded lab, which takes an input of gray that is coded lab"),
        (RGB, labels_spec([0, 1], edges=True), "its output has the edges of instances"),
    ],
)
def test_images_that_no_network_maps_to_each_other(input: ImageSpec, output: ImageSpec, words: str) -> None:
    info = ModelInfo(method="x", generator="y", input=input, output=output)
    with pytest.raises(ModelFileError, match=words):
        ModelInfo.from_json(info.to_json(), "x")


def test_the_channels_of_the_network_follow_from_the_images(tmp_path: Path) -> None:
    city = labels_spec([0, 7, 255], ["void", "road", "sky"], edges=True)
    assert ModelInfo(method="x", generator="y", input=city).in_channels == 4
    assert ModelInfo(method="x", generator="y", input=LAB[0], output=LAB[1]).out_channels == 2
    noise = ModelInfo(method="x", generator="y", source="latent", generator_options={"latent_size": 5})
    assert noise.in_channels == 5
    assert ModelInfo.from_json(noise.to_json(), "x") == noise


def test_a_header_tells_its_tensors(tmp_path: Path) -> None:
    info, tensors = read_header(rewrite(tmp_path / "x.safetensors"))
    assert info == INFO
    assert tensors == {"a": StoredTensor("F32", (2, 3)), "b": StoredTensor("I64", ())}


def test_a_header_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    info = dataclasses.replace(INFO, generator_options={"limit": float("inf")})
    with pytest.raises(ModelFileError, match="was not written, since it could not be read again"):
        save_model(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, info)
    assert not list(tmp_path.iterdir())


def test_every_field_has_a_rule() -> None:
    of_format_1 = {"in_channels", "out_channels", "color"}
    assert set(_RULES) == {field.name for field in dataclasses.fields(ModelInfo)} | of_format_1


def test_metadata_of_other_programs_stand_beside_ours(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    metadata = {"format": "pt", "translatekit": INFO.to_json(), "modelspec.title": "x"}
    save_file({"a": torch.zeros(2)}, tmp_path / "x.safetensors", metadata)
    assert read_info(tmp_path / "x.safetensors") == INFO


ENTRY = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


@pytest.mark.parametrize(
    ("entries", "size", "words"),
    [
        ({"a": ENTRY}, 25, "is damaged (1 bytes lie behind its weights)"),
        ({"a": ENTRY}, 23, "is truncated"),
        ({"a": {**ENTRY, "shape": [3, 3]}}, 24, "the place of 'a' does not fit its shape"),
        ({"a": {**ENTRY, "dtype": "C64"}}, 24, "holds 'a' as 'C64', in which no weights are kept"),
        ({"a": {**ENTRY, "dtype": 7}}, 24, "is not a translatekit model file"),
        ({"a": {**ENTRY, "shape": [-2, -3]}}, 24, "is not a translatekit model file"),
        ({"a": {**ENTRY, "shape": [2.0, 3]}}, 24, "is not a translatekit model file"),
        ({"a": {**ENTRY, "data_offsets": [24, 0]}}, 24, "the place of 'a' does not fit its shape"),
        ({"a": {**ENTRY, "data_offsets": [0, 10**40]}}, 24, "is not a translatekit model file"),
        ({"a": {**ENTRY, "more": 1}}, 24, "is not a translatekit model file"),
        ({"a": ENTRY, "b": ENTRY}, 24, "the place of 'b' does not fit its shape"),
        (
            {"a": ENTRY, "b": {**ENTRY, "data_offsets": [28, 52]}},
            52,
            "the place of 'b' does not fit its shape",
        ),
    ],
)
def test_tensors_lie_one_behind_the_other(
    tmp_path: Path, entries: dict[str, Any], size: int, words: str
) -> None:
    metadata = {"translatekit": INFO.to_json()}
    header = json.dumps({"__metadata__": metadata, **entries}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    with pytest.raises(ModelFileError) as error:
        read_header(path)
    assert words in str(error.value)


@pytest.mark.parametrize(
    "metadata", [7, "text", {"translatekit": 7}, {"translatekit": None}, {"translatekit": []}]
)
def test_metadata_that_are_no_texts_are_refused(tmp_path: Path, metadata: Any) -> None:
    header = json.dumps({"__metadata__": metadata}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ModelFileError):
        read_info(tmp_path / "x.safetensors")
