"""A published page in Chromium: images a second by WebAssembly, the time to the first picture, what is transferred.

python benchmarks/publish.py --model small.onnx
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import tempfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from machine import describe
from playwright.sync_api import sync_playwright
from translatekit_tools.publish import publish
from translatekit_tools.publish.check import find_browser

STARTS = 5


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


def first_pictures(folder: Path, program: str) -> list[float]:
    """Seconds from the address to the first translation, each in a profile that has never seen the page."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seconds = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for _ in range(STARTS):
            context = browser.new_context()
            page = context.new_page()
            began = time.perf_counter()
            page.goto(f"http://127.0.0.1:{server.server_address[1]}/?run=wasm", wait_until="commit")
            page.wait_for_selector("#result[data-count]", timeout=120_000)
            seconds.append(time.perf_counter() - began)
            context.close()
        browser.close()
    server.shutdown()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a model file of 256 pixels")
    parser.add_argument("--out", default="benchmarks/results/publish.json")
    given = parser.parse_args()
    browser = find_browser()
    if browser is None or browser.name != "Chromium":
        raise SystemExit("there is no Chromium on this machine")
    with tempfile.TemporaryDirectory() as name:
        site = Path(name) / "site"
        published = publish(given.model, site, mode="paint", check="yes")
        seconds = first_pictures(site, browser.program)
    details = published.details
    result = {
        "machine": describe(),
        "model_bytes": details["model_bytes"],
        "transfer_bytes": details["transfer"],
        "checked": details["checked"],
        "images_per_second": 1 / details["checked"]["seconds"],
        "first_picture_seconds": {"median": statistics.median(seconds), "all": seconds},
    }
    Path(given.out).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
