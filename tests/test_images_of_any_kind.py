"""Any number of channels in and out, of any depth: trained, compiled, run whole and in tiles, evaluated.

A few of the combinations are tried, in which each number and each depth is; TRANSLATEKIT_TEST_MATRIX=1 tries all.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import tifffile

import translatekit
from tests.matrix import combinations
from translatekit.images import read_image

CHANNELS = (1, 2, 3, 4, 5, 13)
DTYPES = ("uint8", "uint16", "float32")
SIDE = 32
FEW = [
    (1, 13, "uint8"),
    (2, 1, "uint16"),
    (3, 5, "float32"),
    (4, 2, "uint8"),
    (5, 3, "uint16"),
    (13, 4, "float32"),
]
VALUES = (-1000.0, 3000.0)


def make_data(folder: Path, in_channels: int, out_channels: int, dtype: str) -> None:
    rng = np.random.default_rng(0)
    for split, side, channels in itertools.product(("train", "val"), "AB", (0,)):
        channels = in_channels if side == "A" else out_channels
        where = folder / split / side
        where.mkdir(parents=True)
        for number in range(2):
            smooth = rng.random((SIDE, SIDE, channels)) * 0.2 + np.linspace(0, 0.8, SIDE)[:, None, None]
            low, high = VALUES if dtype == "float32" else (0, np.iinfo(dtype).max)
            pixels = (low + smooth * (high - low)).astype(dtype)
            tifffile.imwrite(
                where / f"{number}.tif",
                pixels.squeeze(),
                photometric="rgb" if channels == 3 else "minisblack",
                **({"planarconfig": "contig"} if channels > 1 else {}),
            )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("in_channels", "out_channels", "dtype"), combinations(CHANNELS, CHANNELS, DTYPES, few=FEW)
)
def test_from_files_to_files(tmp_path: Path, in_channels: int, out_channels: int, dtype: str) -> None:
    pytest.importorskip("openvino")
    data, run = tmp_path / "data", tmp_path / "run"
    make_data(data, in_channels, out_channels, dtype)
    translatekit.train(
        "pix2pix",
        data,
        generator="resnet",
        generator_options={"width": 4, "blocks": 1, "norm": "none"},
        discriminator_options={"width": 4, "layers": 1},
        load_size=SIDE,
        crop_size=SIDE,
        max_steps=2,
        precision="fp32",
        dataset_options={"in_channels": in_channels, "out_channels": out_channels},
        range="-1000..3000" if dtype == "float32" else None,
        output=str(run),
    )
    info = translatekit.read_info(run)
    assert (info.input.count, info.output.count) == (in_channels, out_channels)
    span = info.output.span[1] - info.output.span[0]

    models = [run, tmp_path / "model.onnx", tmp_path / "model.xml"]
    for path in models[1:]:
        translatekit.compile(run, path, precision="fp32")
    outputs = {}
    for model, tile in itertools.product(models, (None, 16)):
        out = tmp_path / f"out-{model.suffix}-{tile}"
        summary = translatekit.translate(data / "val" / "A", model, out, tile=tile, precision=None)
        assert not summary.failed
        image = read_image(next(out.glob("0.tif*")))
        assert image.pixels.shape == (SIDE, SIDE, out_channels)
        assert image.pixels.dtype == dtype
        outputs[model.suffix, tile] = image.pixels.astype(np.float64) / (image.white or span)
    # Within a level of what is written, and in float32 within 1 of 65,535.
    step = 1 / 255 if dtype == "uint8" else 1 / 65535
    for (_, tile), output in outputs.items():
        assert np.abs(output - outputs["", tile]).max() <= 1.01 * step

    evaluation = translatekit.evaluate(run, data)
    assert evaluation.images == 2
