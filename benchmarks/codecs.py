"""JPEG and PNG by the libraries at hand: milliseconds of one core to decode and to encode an image of 256x256.

    python benchmarks/codecs.py [--json FILE]

Libraries that are not installed are left out. The images are a drawn facade and its label map.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from translatekit.datasets.facades import draw_facade
from translatekit.images import Picture, encode_picture, read_picture

Codec = tuple[Callable[[bytes], object], Callable[[np.ndarray], bytes]]
ROUNDS = 60


def pillow(kind: str) -> Codec:
    settings = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"compress_level": 4}

    def encode(pixels: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind, **settings)  # type: ignore[arg-type]
        return buffer.getvalue()

    return lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), encode


def ours(kind: str) -> Codec:
    suffix = ".jpg" if kind == "JPEG" else ".png"
    return lambda data: read_picture(data, 3).pixels, lambda pixels: encode_picture(Picture(pixels), suffix)


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
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
