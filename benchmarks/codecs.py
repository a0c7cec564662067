"""JPEG and PNG by the libraries at hand: milliseconds of one core to decode and to encode an image of 256x256.

    python benchmarks/codecs.py [--json FILE]

Libraries that are not installed are left out. The images are a drawn facade and its label map. Then, byte for byte, at
what part of the rate of 8 bits PNG and TIFF of 16 bits are decoded and encoded. Then, for translatekit's own, how many
images a second one thread, a thread for each core and a process for each core decode and encode, the way between
processes included.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from machine import describe
from PIL import Image

from translatekit.datasets.facades import draw_facade
from translatekit.images import Image as FileImage
from translatekit.images import encode_image, image_of, read_image, read_levels
from translatekit.images.image import file_spec

Codec = tuple[Callable[[bytes], object], Callable[[np.ndarray], bytes]]
ROUNDS = 60
DEPTH_ROUNDS = 15
WORKER_ROUNDS, WORKER_IMAGES = 7, 400


def pillow(kind: str) -> Codec:
    settings = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"compress_level": 4}

    def encode(pixels: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind, **settings)  # type: ignore[arg-type]
        return buffer.getvalue()

    return lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), encode


def ours(kind: str) -> Codec:
    suffix = ".jpg" if kind == "JPEG" else ".png"
    return lambda data: read_levels(data, 3).pixels, lambda pixels: encode_image(image_of(pixels), suffix)


def opencv(kind: str) -> Codec:
    import cv2

    if kind == "JPEG":
        settings = [
            cv2.IMWRITE_JPEG_QUALITY,
            95,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ]
    else:
        settings = [cv2.IMWRITE_PNG_COMPRESSION, 4]
    ending = ".jpg" if kind == "JPEG" else ".png"

    def decode(data: bytes) -> object:
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def encode(pixels: np.ndarray) -> bytes:
        return cv2.imencode(ending, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), settings)[1].tobytes()

    return decode, encode


def simplejpeg(kind: str) -> Codec:
    import simplejpeg as codec

    if kind != "JPEG":
        raise ImportError
    return codec.decode_jpeg, lambda pixels: codec.encode_jpeg(pixels, 95, colorsubsampling="444")


def imageio(kind: str) -> Codec:
    import imageio.v3 as codec

    ending = ".jpg" if kind == "JPEG" else ".png"
    return (
        lambda data: codec.imread(data, extension=ending),
        lambda pixels: codec.imwrite("<bytes>", pixels, extension=ending),
    )


def decode_jpeg(data: bytes) -> np.ndarray:
    return ours("JPEG")[0](data)  # type: ignore[return-value]


def encode_jpeg(pixels: np.ndarray) -> bytes:
    return ours("JPEG")[1](pixels)


def workers() -> dict[str, dict[str, float]]:
    """Images a second by kind of worker, the median of rounds that take turns."""
    pixels = draw_facade(0, 256)[1]
    stages = {"decode": (decode_jpeg, encode_jpeg(pixels)), "encode": (encode_jpeg, pixels)}
    cores = os.cpu_count() or 1
    with (
        ThreadPoolExecutor(1) as one,
        ThreadPoolExecutor(cores) as threads,
        ProcessPoolExecutor(cores) as others,
    ):
        pools = {"one thread": one, f"{cores} threads": threads, f"{cores} processes": others}
        rates: dict[str, dict[str, list[float]]] = {name: {stage: [] for stage in stages} for name in pools}
        for number in range(WORKER_ROUNDS + 1):
            for stage, (function, item) in stages.items():
                for name, pool in pools.items():
                    start = time.perf_counter()
                    deque(pool.map(function, [item] * WORKER_IMAGES, chunksize=8), maxlen=0)
                    if number:  # the first starts the workers
                        rates[name][stage].append(WORKER_IMAGES / (time.perf_counter() - start))
    return {
        name: {stage: statistics.median(values) for stage, values in of.items()} for name, of in rates.items()
    }


def depths() -> dict[str, dict[str, float]]:
    """The rate of 16 bits a channel, in bytes of pixels a second, as a fraction of that of 8 bits.

    The image is a facade with the noise of a sensor in its lowest bits; those of both depths take turns.
    """
    facade = draw_facade(0, 512)[1]
    noise = np.random.default_rng(0).integers(0, 1024, facade.shape, np.uint16)
    found: dict[str, dict[str, float]] = {}
    for suffix in (".png", ".tif"):
        times: dict[tuple[str, str], list[float]] = {}
        stored = {"uint8": facade, "uint16": np.minimum(facade.astype(np.uint16) * 250 + noise, 65535)}
        for _ in range(DEPTH_ROUNDS):
            for dtype, pixels in stored.items():
                image = FileImage(
                    pixels=pixels, spec=file_spec(3, dtype, True), white=float(np.iinfo(dtype).max)
                )
                start = time.perf_counter()
                data = encode_image(image, suffix)
                between = time.perf_counter()
                read_image(data, suffix=suffix)
                times.setdefault((dtype, "encode"), []).append(between - start)
                times.setdefault((dtype, "decode"), []).append(time.perf_counter() - between)
        found[f"16 bits {suffix}"] = {
            stage: 2 * statistics.median(times["uint8", stage]) / statistics.median(times["uint16", stage])
            for stage in ("decode", "encode")
        }
    return found


def milliseconds(function: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    label, facade = draw_facade(0, 256)
    results: dict[str, dict[str, float]] = {}
    for kind, pixels in (("JPEG", facade), ("PNG", label)):
        for library in (ours, pillow, opencv, simplejpeg, imageio):
            try:
                decode, encode = library(kind)
            except ImportError:
                continue
            data = pillow(kind)[1](pixels)
            figures = {
                "decode": milliseconds(lambda decode=decode, data=data: decode(data)),  # type: ignore[misc]
                "encode": milliseconds(lambda encode=encode, pixels=pixels: encode(pixels)),  # type: ignore[misc]
                "bytes": len(encode(pixels)),
            }
            name = "translatekit" if library is ours else library.__name__
            results[f"{kind} {name}"] = figures
            print(
                f"{kind:5} {name:13} decode {figures['decode']:.2f} ms, encode {figures['encode']:.2f} ms",
                flush=True,
            )
    for name, ratios in depths().items():
        results[name] = ratios
        print(
            f"{name}: {ratios['decode']:.2f} of the rate of 8 bits decoding, {ratios['encode']:.2f} encoding",
            flush=True,
        )
    for name, rates in workers().items():
        results[name] = rates
        print(f"{name}: {rates['decode']:.0f} images/s decoded, {rates['encode']:.0f} encoded", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": describe(), **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
