"""The painting page's server under load: many clients at once, each of whose requests must be answered.

    python benchmarks/paint.py [--model MODEL] [--clients 50] [--requests 10] [--json FILE]

A server in a process of its own; each client sends one image after the other to ``POST /translate`` over one
connection, and must get a PNG back. Printed: requests lost, the median and the 99th percentile of the time from
request to answer, and images a second. Without a model, a small U-Net that was not trained.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe

from translatekit.images import encode_image, image_of

SIZE = 256


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="of any backend")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=10, help="of each client")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or small_model(Path(folder) / "model.safetensors")
        command = [sys.executable, "-m", "translatekit", "paint", str(model), "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert server.stdout is not None
            port = int(re.search(r":(\d+)", server.stdout.readline()).group(1))  # type: ignore[union-attr]
            ask(http.client.HTTPConnection("127.0.0.1", port, timeout=120), picture(0))
            times, lost, seconds = load(port, options.clients, options.requests)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
    result = {
        "clients": options.clients,
        "requests": options.clients * options.requests,
        "lost": lost,
        "p50_ms": round(1000 * float(np.percentile(times, 50)), 1),
        "p99_ms": round(1000 * float(np.percentile(times, 99)), 1),
        "images_per_second": round(len(times) / seconds, 1),
        "model": Path(options.model).suffix if options.model else "small U-Net, PyTorch",
        "machine": describe(),
    }
    print(json.dumps(result, indent=2))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if lost:
        raise SystemExit(1)


def small_model(path: Path) -> Path:
    import torch

    from translatekit.model_file import save_model
    from translatekit.model_info import ModelInfo
    from translatekit.networks.factory import make_generator

    torch.manual_seed(0)
    network: Any = make_generator("unet", {"depth": 6, "width": 8}, in_channels=3, out_channels=3)
    info = ModelInfo(
        method="benchmark",
        generator="unet",
        generator_options=network.arguments,
        size=SIZE,
        size_multiple=network.size_multiple,
        norm_inference="per_image",
    )
    save_model(path, network.state_dict(), info)
    return path


def picture(seed: int) -> bytes:
    blocks = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    return encode_image(image_of(np.kron(blocks, np.ones((SIZE // 16, SIZE // 16, 1), np.uint8))), ".png")


def ask(connection: http.client.HTTPConnection, body: bytes) -> bytes:
    connection.request("POST", "/translate", body, {"Content-Type": "image/png"})
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise ConnectionError(f"{response.status} {answer[:200]!r}")
    return answer


def load(port: int, clients: int, requests: int) -> tuple[list[float], int, float]:
    """Seconds of each answered request, how many were not, and how long it all took."""
    times: list[float] = []
    failures: list[str] = []
    begin = threading.Barrier(clients + 1)

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        body = picture(number)
        begin.wait()
        for _ in range(requests):
            start = time.perf_counter()
            try:
                answer = ask(connection, body)
                if not answer.startswith(b"\x89PNG"):
                    raise ConnectionError("no PNG came back")
                times.append(time.perf_counter() - start)
            except (OSError, http.client.HTTPException) as error:
                failures.append(str(error))
                connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    begin.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    for reason in sorted(set(failures)):
        print(f"lost: {reason}", file=sys.stderr)
    return times, len(failures), time.perf_counter() - start


if __name__ == "__main__":
    main()
