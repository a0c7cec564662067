"""Pix2Pix and CycleGAN compute what the widely used reference implementation computes, step by step."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from translatekit_tools.importer import convert_discriminator, convert_generator

from translatekit.config import RunConfig
from translatekit.image_spec import levels_spec
from translatekit.networks import Networks
from translatekit.registry import registry

RUNS = {
    "pix2pix": {
        "file": "pix2pix_vanilla.npz",
        "images": {"A": "input", "B": "target"},
        "networks": {"G": "G", "D": "D"},
        "options": {"discriminator_options": {"width": 4}},
    },
    "cyclegan": {
        "file": "cyclegan_lsgan.npz",
        "images": {"A": "A", "B": "B"},
        "networks": {"G_A": "AtoB", "G_B": "BtoA", "D_A": "D_A", "D_B": "D_B"},
        "options": {"discriminator_options": {"width": 4, "norm": "instance"}, "pool_size": 0},
    },
}
CHANNELS = {"input": 3, "target": 3, "A": 3, "B": 3}


def state_of(arrays: Any, prefix: str) -> dict[str, torch.Tensor]:
    state = {
        name.removeprefix(prefix): torch.from_numpy(arrays[name])
        for name in arrays
        if name.startswith(prefix)
    }
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def convert(name: str, state: dict[str, torch.Tensor]) -> tuple[str, dict[str, Any], dict[str, torch.Tensor]]:
    return convert_generator(state) if name.startswith("G") else convert_discriminator(state)


@pytest.mark.parametrize("method_name", RUNS)
def test_six_training_steps_match(data_dir: Path, method_name: str) -> None:
    run = RUNS[method_name]
    arrays = dict(np.load(data_dir / "parity" / run["file"]))
    first = next(name for name in run["networks"] if name.startswith("G"))
    generator, arguments, _ = convert(first, state_of(arrays, f"init/{first}/"))
    options = {key: value for key, value in arguments.items() if not key.endswith("_channels")} | {
        "dropout": 0.0
    }
    config = RunConfig.resolve(
        method_name, "data", {**run["options"], "generator": generator, "generator_options": options}
    )
    factory = Networks(
        generator_name=generator,
        generator_options=options,
        discriminator_name=str(config.options.discriminator),
        discriminator_options=config.options.discriminator_options,
    )
    data = SimpleNamespace(specs={key: levels_spec(count) for key, count in CHANNELS.items()})
    method = registry("method").load(method_name)(config.method_options, factory, data)
    names: dict[str, dict[str, str]] = {}
    for theirs, ours in run["networks"].items():
        initial = state_of(arrays, f"init/{theirs}/")
        converted = convert(theirs, initial)[2]
        numbered = {
            name: torch.full_like(value, number) for number, (name, value) in enumerate(initial.items())
        }
        places = {int(value.flatten()[0]): name for name, value in convert(theirs, numbered)[2].items()}
        names[theirs] = {name: places[number] for number, name in enumerate(numbered)}
        missing = method.unwrapped[ours].load_state_dict(converted, strict=False)
        assert not missing.unexpected_keys
        assert all("running_" in key or "num_batches" in key for key in missing.missing_keys)
    method.setup(
        Fabric(accelerator="cpu", devices=1),
        lambda parameters: torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999), fused=True),
        lambda network: network,
    )

    losses = sorted(name.removeprefix("loss/") for name in arrays if name.startswith("loss/"))
    for step in range(len(arrays["A"])):
        batch = {name: torch.from_numpy(arrays[side][step]).float() for side, name in run["images"].items()}
        values = method.step(batch)
        for name in losses:
            expected = float(arrays[f"loss/{name}"][step])
            assert float(values[name]) == pytest.approx(expected, rel=1e-4 if step == 0 else 1e-3), (
                name,
                step,
            )

    for theirs, ours in run["networks"].items():
        state = method.unwrapped[ours].state_dict()
        after = state_of(arrays, f"after/{theirs}/")
        assert after
        for name, value in after.items():
            torch.testing.assert_close(
                state[names[theirs][name]], value, rtol=0, atol=2e-4, msg=f"{ours} {name}"
            )
    with torch.no_grad():
        output = method.unwrapped[run["networks"][first]](torch.from_numpy(arrays["A"][0]).float())
    torch.testing.assert_close(output, torch.from_numpy(arrays["after/G_of_A0"]).float(), rtol=0, atol=2e-4)
