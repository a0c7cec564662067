"""How much of a translator's own speed reaches the user: the whole line around translators that only sleep.

    python benchmarks/pipeline.py [--images 500] [--json FILE]

Files of 256x256 to files, JPEG to JPEG and JPEG to PNG. Each translator sleeps a given time a batch, as a device would
that leaves the processor free; the ratio is the sum of these times over the time of the run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe
from translatekit_tools.bulk import translate

from translatekit.datasets.facades import draw_facade
from translatekit.images import encode_image, image_of
from translatekit.model_info import ModelInfo

CASES = ((0.0, 4), (0.02, 4), (0.08, 16))  # seconds a batch, images a batch


class Sleeping:
    """A translator that gives back what it is given, after a while."""

    info = ModelInfo(method="benchmark", generator="none", generator_options={}, size_multiple=1)
    device = "cpu"

    def __init__(self, seconds: float) -> None:
        self.seconds, self.batches = seconds, 0

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.batches += 1
        time.sleep(self.seconds)
        return batch


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        data = encode_image(image_of(draw_facade(0, 256)[1]), ".jpg")
        for index in range(arguments.images):
            (folder / "in" / f"{index:05}.jpg").write_bytes(data)
        for kind in ("jpg", "png"):
            for seconds, batch in CASES:
                translator = Sleeping(seconds)
                out = folder / f"{kind}-{seconds}-{batch}"
                processor = time.process_time()
                summary = translate(folder / "in", translator, out, batch_size=batch, format=kind)
                case = f"JPEG to {kind.upper()}, {1e3 * seconds:.0f} ms a batch of {batch}"
                results[case] = {
                    "seconds": summary.seconds,
                    "ratio": translator.batches * seconds / summary.seconds,
                    "cpu_ms_per_image": 1e3 * (time.process_time() - processor) / arguments.images,
                    "stats": summary.to_dict()["stats"],
                }
                print(
                    f"{case}: {summary.images_per_second:.0f} images/s, ratio {results[case]['ratio']:.2f}, "
                    f"{results[case]['cpu_ms_per_image']:.2f} ms of processor an image",
                    flush=True,
                )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": describe(), **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
