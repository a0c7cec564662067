"""A run starts from the weights of an earlier model, says what it took, and leaves frozen parts as they are."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from translatekit_pix2pix.method import Pix2Pix

from tests.training.conftest import TINY
from translatekit import read_info, train
from translatekit.config import RunConfig
from translatekit.errors import ModelFileError, OptionError, TranslatekitError
from translatekit.interfaces import Deployed
from translatekit.model_file import save_model
from translatekit.model_info import ModelInfo
from translatekit.networks.factory import make_generator
from translatekit.registry import Entry, registry
from translatekit.specs import GeneratorSpec
from translatekit.training.checkpoint import load_checkpoint
from translatekit.training.start import freeze, with_networks_of

STILL = {
    "load_size": 36,
    "crop_size": 32,
    "accelerator": "cpu",
    "precision": "fp32",
    "epochs": 1,
    "epochs_decay": 0,
    "max_steps": 1,
    "lr": 1e-30,  # so small that a weight stays what it was
    "validate_every": 0,
}
NETWORKS = {key: TINY[key] for key in ("generator_options", "discriminator_options")}


@pytest.fixture(scope="module")
def finished(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has ended."""
    return train("pix2pix", pairs, output=tmp_path_factory.mktemp("earlier") / "run", **TINY)


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Of the generator, without the running statistics, which every pass moves."""
    return {
        name: value
        for name, value in load_file(run / "model.safetensors").items()
        if "running" not in name and "num_batches" not in name
    }


def test_a_run_starts_from_all_networks_of_another(
    finished: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train("pix2pix", pairs, start_from=finished, output=tmp_path / "run", **STILL)
    assert read_info(run).generator_options == read_info(finished).generator_options
    for name, value in weights(finished).items():
        assert torch.equal(weights(run)[name], value), name
    D, earlier = (load_checkpoint(place / "checkpoints")["networks"]["D"] for place in (run, finished))
    trained = {name for name in D if "running" not in name and "num_batches" not in name}
    assert all(torch.equal(D[name], earlier[name]) for name in trained)
    said = " ".join(capsys.readouterr().err.split())
    assert f"the generator G starts from {finished}/model.safetensors" in said
    assert f"the network D starts from {finished}" in said
    assert "anew" not in said


def test_a_run_that_died_before_its_first_checkpoint_starts_from_the_model_again(
    finished: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Pix2Pix, "step", lambda self, batch: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train("pix2pix", pairs, start_from=finished, output=run, **STILL)
    train(resume=run)
    assert all(torch.equal(weights(run)[name], value) for name, value in weights(finished).items())


def test_a_configuration_keeps_where_the_model_lies_wherever_it_is_repeated(
    finished: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(RunConfig.resolve("pix2pix", pairs, {}).to_toml())
    monkeypatch.chdir(finished.parent)
    options = RunConfig.from_toml(path, {"start_from": finished.name}).options
    assert options.start_from == str(finished)
    with pytest.raises(OptionError, match="with a password or a signature"):
        RunConfig.from_toml(path, {"start_from": "s3://key:secret@bucket/run"})


def test_discriminators_that_are_normalized_spectrally_are_taken_as_such(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train("pix2pix", pairs, output=tmp_path / "run", **STILL, **NETWORKS, spectral_norm=True)
    train("pix2pix", pairs, start_from=run, output=tmp_path / "on", **STILL)
    assert f"the network D starts from {run}\n" in capsys.readouterr().err


def test_what_does_not_fit_is_named_and_drawn_anew(
    finished: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gray = {"dataset_options": {"in_channels": 1}, "discriminator_options": {"layers": 1, "width": 4}}
    run = train("pix2pix", pairs, start_from=finished, output=tmp_path / "run", **STILL, **gray)
    ours, theirs = weights(run), weights(finished)
    other = [name for name in ours if ours[name].shape != theirs[name].shape]
    assert len(other) == 1
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if name not in other)
    said = " ".join(capsys.readouterr().err.split())
    assert f"but for 1 of its {len(load_file(run / 'model.safetensors'))} tensors" in said
    assert other[0] in said


def test_a_model_file_of_another_method_gives_its_generator(
    finished: Path, unpaired: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "alone.safetensors"
    model.write_bytes((finished / "model.safetensors").read_bytes())
    run = train(
        "cyclegan",
        unpaired,
        start_from=model,
        output=tmp_path / "run",
        **{**STILL, "discriminator_options": {"layers": 1, "width": 4}},
    )
    assert all(torch.equal(weights(run)[name], value) for name, value in weights(finished).items())
    said = " ".join(capsys.readouterr().err.split())
    assert "the generator AtoB starts from" in said
    assert "BtoA and D_A and D_B start anew: only a run of cyclegan with a checkpoint" in said


def test_what_cannot_be_started_from_is_a_sentence(finished: Path, pairs: Path, tmp_path: Path) -> None:
    compiled = tmp_path / "model.onnx"
    compiled.write_bytes(b"")
    for start, options, error, sentence in (
        (compiled, {}, OptionError, "is compiled, and training starts from weights"),
        (tmp_path / "none", {}, ModelFileError, "there is no model"),
        (
            finished,
            {"generator": "resnet", "generator_options": {"width": 2}},
            OptionError,
            "nothing of .* fits the",
        ),
    ):
        with pytest.raises(error, match=sentence):
            train("pix2pix", pairs, start_from=start, output=tmp_path / "run", **{**STILL, **options})
        assert not (tmp_path / "run").exists()


def test_frozen_parts_stay_as_they_are_also_when_resumed(finished: Path, pairs: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {**STILL, "lr": 1e-2, "epochs": 2, "max_steps": 2, "freeze": "encoder"}
    run = train("pix2pix", pairs, start_from=finished, output=tmp_path / "run", **options)
    run = train(resume=run, max_steps=4)
    ours, theirs = (load_file(place / "model.safetensors") for place in (run, finished))
    frozen = [name for name in ours if name.startswith("encoder.") and "num_batches" not in name]
    assert frozen
    assert all(torch.equal(ours[name], theirs[name]) for name in frozen)
    assert not all(torch.equal(ours[name], theirs[name]) for name in ours if not name.startswith("encoder."))


def test_a_frozen_part_gives_the_same_features_in_training_as_in_use() -> None:
    network = make_generator("unet", {"depth": 4, "width": 4}, in_channels=3, out_channels=3)
    deployed = Deployed(network=network, input="input", target="target")
    freeze(type("Method", (), {"deployed": lambda self: {"G": deployed}})(), "encoder")  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
    for copied in (network, copy.deepcopy(network)):
        seen = []
        for mode in (True, False, True):
            with torch.no_grad():
                x = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
                for level in copied.train(mode).encoder[:3]:
                    x = level(x)
            seen.append(x)
        assert torch.equal(seen[0], seen[1])
        assert torch.equal(seen[0], seen[2])
        assert copied.training
        assert copied.decoder[1].norm.training


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ("encodr", r"--freeze encodr: the generator has no such part: did you mean 'encoder'\?"),
        ("encoder,decoder", "leaves nothing of the generator G to train"),
    ],
)
def test_what_cannot_be_frozen_is_a_sentence(pairs: Path, tmp_path: Path, parts: str, sentence: str) -> None:
    with pytest.raises(TranslatekitError, match=sentence):
        train("pix2pix", pairs, output=tmp_path / "run", **{**STILL, **NETWORKS, "freeze": parts})


def test_another_learning_rate_is_a_start_and_no_resume(finished: Path) -> None:
    with pytest.raises(OptionError, match=r"start anew from its weights with --config \S+ --from \S+"):
        train(resume=finished, lr=1e-3)


class Sized(nn.Module):
    """A third party's generator: its method says how many domains there are, its user how large its kernels are."""

    size_multiple = 1

    def __init__(self, in_channels: int, out_channels: int, domains: int, *, size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels + domains, out_channels, size, padding=size // 2)


def test_a_generators_own_options_are_taken_over_whatever_they_are_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = registry("generator")
    spec = GeneratorSpec(name="sized", target=f"{__name__}:Sized", summary="")
    monkeypatch.setitem(known._claims, "sized", [Entry(spec, known.entry("resnet").plugin)])
    options = {"in_channels": 3, "out_channels": 3, "domains": 2, "size": 5}
    info = ModelInfo(method="mine", generator="sized", generator_options=options, size=32, size_multiple=1)
    save_model(tmp_path / "model.safetensors", Sized(**options).state_dict(), info)
    found = with_networks_of(str(tmp_path / "model.safetensors"), "pix2pix", {})
    assert (found["generator"], found["generator_options"]) == ("sized", {"size": 5})
