"""The model in a browser of this machine, compared with Python before the page is handed over."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from translatekit.errors import DataError
from translatekit.image_spec import ImageSpec
from translatekit_tools.publish.graph import Graph

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_FIREFOX = ("firefox", "firefox-esr")
_PATIENCE = 180.0  # seconds, of which a busy machine may need many to start a browser
_TIMED = 5  # translations after the first

_PAGE = (
    b'<!doctype html><meta charset="utf-8"><title>check</title><script type="module" src="check.js"></script>'
)

_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".json": "application/json",
}


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser that can be started without a screen.

    Attributes:
        name: for people.
        program: its path.
    """

    name: str
    program: str

    def command(self, profile: Path, address: str) -> list[str]:
        """What starts it, with a profile of its own, to show a page and nothing else."""
        if self.name == "Firefox":
            return [self.program, "--headless", "--no-remote", "--profile", str(profile), address]
        # As root, as in a container, Chromium has no sandbox.
        root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        quiet = [
            "--no-first-run",
            "--disable-background-networking",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ]
        return [self.program, "--headless", f"--user-data-dir={profile}", *quiet, *root, address]


def find_browser() -> Browser | None:
    """The first browser that is on the path, or None."""
    for name, programs in (("Chromium", _CHROMIUM), ("Firefox", _FIREFOX)):
        path = next(filter(None, map(shutil.which, programs)), None)
        if path is not None:
            return Browser(name, path)
    return None


def check_in_browser(
    browser: Browser, files: Mapping[str, bytes], described: dict[str, Any], graph: Graph
) -> dict[str, Any]:
    """Translate the graph's images in a browser, by WebAssembly, and compare.

    Args:
        browser: which one.
        files: the page's, by name.
        described: what the page is told of the model.
        graph: with the images and what Python makes of them.

    Returns:
        The largest difference in levels of 255 (of classes: the share that differs), the seconds of one image, and on
        how many threads.

    Raises:
        DataError: the browser cannot be started, or cannot run the model.
    """
    keys = ("height", "width", "channels")
    sizes = [dict(zip(keys, image.shape, strict=True)) for image in graph.images]
    given = {
        **files,
        "check.html": _PAGE,
        "check.js": (resources.files(__package__) / "web" / "check.js").read_bytes(),
        "check.json": json.dumps({**described, "images": sizes, "timed": _TIMED}).encode(),
        **{f"image-{index}": image.tobytes() for index, image in enumerate(graph.images)},
    }
    answers: dict[str, bytes] = {}
    over = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, given, answers, over))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="translatekit-", ignore_cleanup_errors=True) as profile:
        address = f"http://127.0.0.1:{server.server_address[1]}/check.html"
        started = subprocess.Popen(
            browser.command(Path(profile), address),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            over.wait(_PATIENCE)
        finally:
            started.terminate()
            try:
                started.wait(10)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()
            server.shutdown()
            server.server_close()
    if "done" not in answers:
        reason = answers.get("failed", b"it gave no answer").decode(errors="replace")
        raise DataError(
            f"{browser.name} cannot run the model ({' '.join(reason.split())[:300]}): pass --check no to publish it "
            "unchecked"
        )
    told = json.loads(answers["done"])
    worst = 0.0
    for index, expected in enumerate(graph.expected):
        output = np.frombuffer(answers[f"output-{index}"], np.uint8)
        if output.size != expected.size:
            raise DataError(f"{browser.name} gave {output.size} values where Python gives {expected.size}")
        worst = max(worst, difference(output, expected.reshape(-1), graph.info.output))
    height, width = graph.images[0].shape[:2]
    return {
        "browser": browser.name,
        "images": len(sizes),
        "max_error": worst,
        "seconds": told["milliseconds"] / 1000,
        "size": f"{width}x{height}",
        "threads": told["threads"],
    }


def difference(output: np.ndarray, expected: np.ndarray, spec: ImageSpec) -> float:
    """The largest difference of two arrays of uint8 in levels of 255; of classes, the share that differs."""
    if spec.meaning == "labels":
        return float((output != expected).mean())
    return float(np.abs(output.astype(int) - expected.astype(int)).max())


class _Handler(BaseHTTPRequestHandler):
    """Gives files, and takes answers."""

    def __init__(
        self, files: Mapping[str, bytes], answers: dict[str, bytes], over: threading.Event, *args: Any
    ) -> None:
        self._files, self._answers, self._over = files, answers, over
        super().__init__(*args)

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        data = self._files.get(name)
        self.send_response(404 if data is None else 200)
        self.send_header("content-type", _TYPES.get(Path(name).suffix, "application/octet-stream"))
        self.send_header("content-length", str(len(data or b"")))
        self.send_header("cross-origin-opener-policy", "same-origin")
        self.send_header("cross-origin-embedder-policy", "require-corp")
        self.end_headers()
        self.wfile.write(data or b"")

    def do_POST(self) -> None:
        name = self.path.lstrip("/")
        self._answers[name] = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(204)
        self.end_headers()
        if name in ("done", "failed"):
            self._over.set()

    def log_message(self, *args: Any) -> None:
        pass
