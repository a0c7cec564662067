"""From a model file to its network: nothing larger than the file's weights is made, and nothing wrong is loaded."""

from __future__ import annotations

import json
import resource
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from translatekit.errors import ModelFileError, OptionError, PluginError
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks import load_network, make_generator
from translatekit.plugins import Plugin
from translatekit.registry import Entry, registry
from translatekit.specs import GeneratorSpec

CHANNELS = {"in_channels": 3, "out_channels": 3}


def write(path: Path, state: dict[str, torch.Tensor], info: ModelInfo, **changes: Any) -> Path:
    """A file of weights of any kind under a header of any kind."""
    save_file(state, path, {"translatekit": json.dumps({**json.loads(info.to_json()), **changes})})
    return path


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return make_generator("unet", {"depth": 3, "width": 2}, **CHANNELS)


@pytest.fixture(scope="module")
def info(network: nn.Module) -> ModelInfo:
    arguments: dict[str, Any] = network.arguments  # type: ignore[assignment]
    return ModelInfo(method="test", generator="unet", generator_options=arguments, size=8, size_multiple=8)


class Greedy(nn.Module):
    """A plugin's generator that does whatever its options say, whatever they are."""

    size_multiple = 1

    def __init__(
        self, in_channels: int, out_channels: int, *, width: int = 1, layers: int = 1, how: str = "conv"
    ):
        super().__init__()
        if how == "raise":
            raise KeyError("no such thing")
        if how == "buffer":
            self.register_buffer("table", torch.zeros(width, width))
        if how == "throwaway":
            self.size = torch.ones(width, width).sum()
        self.layers = nn.ModuleList(
            nn.ReLU() if how == "empty" else nn.Conv2d(in_channels, out_channels, width)
            for _ in range(layers)
        )


@pytest.fixture
def greedy(monkeypatch: pytest.MonkeyPatch) -> ModelInfo:
    spec = GeneratorSpec(name="greedy", target=f"{__name__}:Greedy", summary="takes what it can")
    entry = Entry(spec, Plugin("greedy", "translatekit-greedy", "1.0"))
    monkeypatch.setitem(registry("generator")._claims, "greedy", [entry])
    return ModelInfo(method="test", generator="greedy", generator_options={**CHANNELS})


def memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize(
    ("generator", "options", "multiple"),
    [
        ("unet", {"depth": 9, "width": 4096}, 512),  # 5 TB
        ("unet", {"depth": 16, "width": 4096}, 16384),
        ("resnet", {"blocks": 1024, "width": 4096}, 4),
        ("timm_unet", {"encoder": "vit_giant_patch14_dinov2", "width": 16}, 32),
    ],
)
def test_a_small_file_cannot_ask_for_a_giant_network(
    tmp_path: Path, network: nn.Module, generator: str, options: dict[str, Any], multiple: int
) -> None:
    before = memory()
    said = ModelInfo(
        method="test",
        generator=generator,
        generator_options={**CHANNELS, **options},
        size_multiple=multiple,
    )
    path = write(tmp_path / "model.safetensors", network.state_dict(), said)
    with pytest.raises(ModelFileError, match="that is larger than the weights in the file: copy it again"):
        load_network(path)
    assert memory() - before < 700  # MB


@pytest.mark.parametrize(
    "options",
    [
        {"width": 100_000},
        {"width": 10**7},
        {"layers": 10**8},
        {"how": "buffer", "width": 10**6},
        {"how": "throwaway", "width": 10**6},
        {"how": "empty", "layers": 10**8},
    ],
)
def test_a_plugins_generator_cannot_either(
    tmp_path: Path, greedy: ModelInfo, options: dict[str, Any]
) -> None:
    before = memory()
    state = Greedy(3, 3).state_dict()
    path = write(tmp_path / "x.safetensors", state, greedy, generator_options={**CHANNELS, **options})
    with pytest.raises(ModelFileError, match="is larger than the weights in the file"):
        load_network(path)
    assert memory() - before < 700  # MB


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"how": "raise"},
            r"cannot be made as its header says \(KeyError: 'no such thing'\): install the version",
        ),
        ({"width": 2**40}, "cannot be made as its header says"),
        (
            {"layers": -1},
            r"do not fit .* \(it holds the unknown 'layers\.0\.\w+', 'layers\.0\.\w+'\): install",
        ),
        ({"depth": 3}, "generator 'greedy' has no option 'depth'"),
        ({"width": "x" * 10_000}, r"must be a whole number, got 'x+\.\.\."),
    ],
)
def test_what_a_plugins_constructor_raises_is_a_sentence(
    tmp_path: Path, greedy: ModelInfo, options: dict[str, Any], words: str
) -> None:
    state = Greedy(3, 3).state_dict()
    path = write(tmp_path / "x.safetensors", state, greedy, generator_options={**CHANNELS, **options})
    with pytest.raises((ModelFileError, OptionError), match=words) as error:
        load_network(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700


def test_backbones_may_make_more_than_they_keep(tmp_path: Path) -> None:
    """Such as the classifier of an encoder, which is made and thrown away."""
    network = make_generator("timm_unet", {"encoder": "test_vit", "width": 1}, **CHANNELS)
    arguments: dict[str, Any] = network.arguments  # type: ignore[assignment]
    multiple: int = network.size_multiple  # type: ignore[assignment]
    said = ModelInfo(method="t", generator="timm_unet", generator_options=arguments, size_multiple=multiple)
    save_model(tmp_path / "model.safetensors", network.state_dict(), said)
    load_network(tmp_path / "model.safetensors")


FIRST, MEAN, VARIANCE = "encoder.0.conv.weight", "encoder.1.norm.running_mean", "encoder.1.norm.running_var"


@pytest.mark.parametrize("norm_inference", ["running", "per_image"])
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (FIRST, float("nan"), "its weights are not all finite ('encoder.0.conv.weight' holds NaN)"),
        (FIRST, float("-inf"), "its weights are not all finite ('encoder.0.conv.weight' holds an infinity)"),
        (MEAN, float("nan"), "its weights are not all finite"),
        (VARIANCE, float("inf"), "its weights are not all finite"),
        (VARIANCE, -1.0, "a variance is negative ('encoder.1.norm.running_var' goes down to -1)"),
    ],
)
def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(
    tmp_path: Path,
    network: nn.Module,
    info: ModelInfo,
    name: str,
    value: float,
    words: str,
    norm_inference: str,
) -> None:
    state = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    state[name].view(-1)[-1] = value
    with pytest.raises(ModelFileError, match="was not written, since") as error:
        save_model(tmp_path / "saved.safetensors", state, info)
    assert words in str(error.value)
    assert not list(tmp_path.iterdir())
    path = write(tmp_path / "model.safetensors", state, info, norm_inference=norm_inference)
    with pytest.raises(ModelFileError, match="cannot be used, since") as error:
        load_network(path)
    assert words in str(error.value)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_weights_of_another_kind_are_refused(
    tmp_path: Path, network: nn.Module, info: ModelInfo, dtype: torch.dtype
) -> None:
    state = {**network.state_dict(), FIRST: torch.ones(2, 3, 4, 4, dtype=dtype)}
    with pytest.raises(ModelFileError, match=f"holds 'encoder.0.conv.weight' as {dtype}"):
        load_network(write(tmp_path / "x.safetensors", state, info))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop(FIRST), "it lacks 'encoder.0.conv.weight'"),
        (lambda state: state.update(more=torch.zeros(1)), "it holds the unknown 'more'"),
        (
            lambda state: state.update({FIRST: torch.zeros(2, 3, 1, 1)}),
            "another shape has 'encoder.0.conv.weight'",
        ),
        (
            lambda state: state.update({f"more{'x' * 90}{n}": torch.zeros(1) for n in range(2000)}),
            "it holds the unknown 'morexxxx",
        ),
    ],
)
def test_at_most_three_weights_that_do_not_fit_are_named(
    tmp_path: Path, network: nn.Module, info: ModelInfo, change: Any, words: str
) -> None:
    state = dict(network.state_dict())
    change(state)
    with pytest.raises(ModelFileError) as error:
        load_network(write(tmp_path / "x.safetensors", state, info))
    assert words in str(error.value)
    assert len(str(error.value)) < 700
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size_multiple": 4}, "says size_multiple=4, but its generator 'unet' has 8"),
        (
            {"out_channels": 1, "generator_options": {**CHANNELS, "depth": 3, "width": 2}},
            "but its generator was made",
        ),
        ({"generator": "encoder_decoder"}, "do not fit the generator 'encoder_decoder'"),
        ({"generator": "nothing"}, "there is no generator named 'nothing'"),
        ({"generator_options": {}}, "give it the arguments of its constructor"),
    ],
)
def test_a_header_that_contradicts_its_network_is_refused(
    tmp_path: Path, network: nn.Module, info: ModelInfo, changes: dict[str, Any], words: str
) -> None:
    path = write(tmp_path / "x.safetensors", network.state_dict(), info, **changes)
    with pytest.raises((ModelFileError, PluginError, OptionError)) as error:
        load_network(path)
    assert words in str(error.value)


def test_a_plugin_that_is_not_installed_is_named(tmp_path: Path, network: nn.Module, info: ModelInfo) -> None:
    changes = {"generator": "tiny", "package": "translatekit-tiny", "versions": {"translatekit-tiny": "1.2"}}
    path = write(tmp_path / "x.safetensors", network.state_dict(), info, **changes)
    words = r"needs the generator 'tiny' of the package translatekit-tiny 1\.2, which is not installed"
    with pytest.raises(PluginError, match=words) as error:
        load_network(path)
    assert str(error.value).endswith(": run pip install translatekit-tiny")


def test_a_plugin_that_lost_its_generator_is_named(
    tmp_path: Path, network: nn.Module, info: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    from translatekit.plugins import installed

    plugin = Plugin("tiny", "translatekit-tiny", "2.0", error="importing it raised RuntimeError")
    monkeypatch.setattr(installed(), "found", [*installed().found, plugin])
    changes = {"generator": "tiny", "package": "translatekit-tiny"}
    path = write(tmp_path / "x.safetensors", network.state_dict(), info, **changes)
    with pytest.raises(
        PluginError, match=r"is installed as 2\.0 but does not offer it: see translatekit plugins"
    ):
        load_network(path)


def test_a_giant_in_the_header_of_a_tensor_is_refused_before_it_is_read(
    tmp_path: Path, info: ModelInfo
) -> None:
    header = {
        "__metadata__": {"translatekit": info.to_json()},
        "a": {"dtype": "F32", "shape": [2**20, 2**20], "data_offsets": [0, 2**42]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    with pytest.raises(ModelFileError, match="is truncated"):
        load_network(path)


def test_a_generator_that_two_plugins_claim_is_said_to_be_so_and_not_to_be_missing(
    tmp_path: Path, network: nn.Module, info: ModelInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = registry("generator")
    mine = known.entry("resnet")
    other = replace(mine, plugin=replace(mine.plugin, distribution="translatekit-other"))
    monkeypatch.setitem(known._claims, "tiny", [mine, other])
    changes = {"generator": "tiny", "package": "translatekit-other"}
    path = write(tmp_path / "x.safetensors", network.state_dict(), info, **changes)
    with pytest.raises(PluginError, match="claimed by translatekit and translatekit-other"):
        load_network(path)
