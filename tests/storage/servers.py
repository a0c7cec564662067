"""Real servers of the stores, each a program of its own, and a proxy between that fails as networks do."""

from __future__ import annotations

import http.client
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOST = "127.0.0.1"


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def started(command: list[str], port: int, log: Path, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """A server program, while it listens; ended afterwards."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=env)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection((HOST, port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"the server did not start: {log.read_text(errors='replace')}"
                    ) from None
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def moto(log: Path, **env: str) -> Iterator[str]:
    """An S3 server that takes parts of any size; its address."""
    port = free_port()
    environment = {**os.environ, "S3_UPLOAD_PART_MIN_SIZE": "1", **env}
    with started([sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)], port, log, environment):
        yield f"http://{HOST}:{port}"


class Proxy:
    """Hands requests on to a server, and fails a share of them: busy, broken, cut off before or within the answer.

    Attributes:
        share: of the requests that fail, in [0, 1].
        failed: how many did, by how.
        requests: how many there were.
    """

    def __init__(self, target: str, seed: int = 0) -> None:
        self.share = 0.0
        self.failed: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        address = target.removeprefix("http://")
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = _chunks(self.rfile)
                failure = proxy._next(self.command)
                if failure in ("busy", "throttled", "broken"):
                    status = {"busy": 503, "throttled": 429, "broken": 500}[failure]
                    code = {"busy": "SlowDown", "throttled": "TooManyRequests", "broken": "InternalError"}[
                        failure
                    ]
                    text = f"<Error><Code>{code}</Code><Message>later</Message></Error>".encode()
                    self._answer(status, {"Content-Type": "application/xml"}, text)
                    return
                if failure == "closed":
                    self.close_connection = True
                    return
                connection = http.client.HTTPConnection(address, timeout=60)
                headers = {k: v for k, v in self.headers.items() if k.lower() != "transfer-encoding"}
                headers["Content-Length"] = str(len(body))
                connection.request(self.command, self.path, body, headers)
                response = connection.getresponse()
                data = response.read()
                connection.close()
                self._answer(response.status, dict(response.getheaders()), data, cut=failure == "cut off")

            def _answer(
                self, status: int, headers: Mapping[str, str], data: bytes, cut: bool = False
            ) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                length = headers.get("Content-Length") if self.command == "HEAD" else str(len(data))
                if length is not None and status not in (204, 304):
                    self.send_header("Content-Length", length)
                self.end_headers()
                if self.command == "HEAD":
                    return
                self.wfile.write(data[: len(data) // 2] if cut else data)
                if cut:
                    self.close_connection = True

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://{HOST}:{self._server.server_address[1]}"
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def _next(self, method: str) -> str | None:
        with self._lock:
            self.requests[method] += 1
            if self._random.random() >= self.share:
                return None
            failure = self._random.choice(["busy", "throttled", "broken", "closed", "cut off"])
            self.failed[failure] += 1
            return failure

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _chunks(file: object) -> bytes:
    data = b""
    while size := int(file.readline().split(b";")[0], 16):  # type: ignore[attr-defined]
        data += file.read(size)  # type: ignore[attr-defined]
        file.readline()  # type: ignore[attr-defined]
    while file.readline() not in (b"\r\n", b"\n", b""):  # type: ignore[attr-defined]
        pass
    return data


def ask(url: str, method: str = "GET", data: bytes | None = None) -> bytes:
    """A plain request to a server."""
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method)) as response:
        body: bytes = response.read()
        return body
