"""Real servers of the stores, each a program of its own, and a proxy between that fails as networks do."""

from __future__ import annotations

import http.client
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from translatekit.storage import retries

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
        kinds: how they fail.
        cut_next: tells, of method and path, the one request whose answer is cut off.
        failed: how many did, by how.
        requests: how many there were, by method.
    """

    def __init__(self, target: str, seed: int = 0) -> None:
        self.reset()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        address = target.removeprefix("http://")
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = _chunks(self.rfile)
                elif len(body) < length:  # whoever sent it is dead: no server takes half of an upload
                    self.close_connection = True
                    return
                failure = proxy._next(self.command, self.path)
                if failure == "refused":
                    text = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
                    self._answer(403, {"Content-Type": "application/xml"}, text)
                    return
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
                self._answer(response.status, response.headers, data, cut=failure == "cut off")

            def _answer(
                self,
                status: int,
                headers: Mapping[str, str] | http.client.HTTPMessage,
                data: bytes,
                cut: bool = False,
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

    def reset(self) -> None:
        """Fail nothing, and count from 0."""
        self.share = 0.0
        self.kinds = ["busy", "throttled", "broken", "closed", "cut off"]
        self.cut_next: Callable[[str, str], bool] | None = None
        self.failed: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()

    def refuses(self, method: str, path: str) -> bool:
        """Whether a request is one that the user has no permission for."""
        return False

    def _next(self, method: str, path: str) -> str | None:
        with self._lock:
            self.requests[method] += 1
            if self.refuses(method, path):
                return "refused"
            if self.cut_next is not None and self.cut_next(method, path):
                self.cut_next = None
                failure = "cut off"
            elif self._random.random() < self.share:
                failure = self._random.choice(self.kinds)
            else:
                return None
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
    with urllib.request.urlopen(
        urllib.request.Request(url, data, {"Content-Type": "image/png"}, method=method)
    ) as response:
        body: bytes = response.read()
        return body


def forget_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stores be connected to anew, with the environment as it is."""
    import fsspec

    from translatekit.storage.stores import known

    monkeypatch.setattr(known, "_made", {})
    for name in ("s3", "abfs", "gs", "hf"):
        try:
            fsspec.get_filesystem_class(name).clear_instance_cache()
        except (ImportError, ValueError):
            continue


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server with a bucket called ``bucket``, which takes any credentials."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    with moto(tmp_path_factory.mktemp("moto") / "log") as address:
        ask(f"{address}/bucket", "PUT")
        yield address


@pytest.fixture(scope="session")
def s3_proxy(s3_server: str) -> Iterator[Proxy]:
    """A proxy before the S3 server: one address, so that connections are made once."""
    proxy = Proxy(s3_server)
    yield proxy
    proxy.close()


@pytest.fixture
def s3(s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy through which ``s3://`` goes; it fails nothing until it is told to."""
    for name, value in s3_environment(s3_proxy.address).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(retries, "DELAY", 0.002)
    s3_proxy.reset()
    yield s3_proxy
    s3_proxy.reset()


def s3_environment(address: str) -> dict[str, str]:
    """The variables that let ``s3://`` be a server's."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


AZURITE = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
)
"""The account of Azure's emulator and its key, which are the same everywhere."""


def azure_environment(address: str) -> dict[str, str]:
    """The variables that let ``az://`` be a server's."""
    name, key = AZURITE
    return {
        "AZURE_STORAGE_CONNECTION_STRING": f"DefaultEndpointsProtocol=http;AccountName={name};AccountKey={key};"
        f"BlobEndpoint={address}/{name};"
    }


@pytest.fixture(scope="session")
def az_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy before Azure's emulator with a container called ``bucket``, or a skip where there is no emulator."""
    pytest.importorskip("adlfs")
    program = shutil.which(os.environ.get("TRANSLATEKIT_TEST_AZURITE", "azurite-blob"))
    if program is None:
        pytest.skip("there is no azurite-blob: npm install azurite, and set TRANSLATEKIT_TEST_AZURITE to it")
    folder, port = tmp_path_factory.mktemp("azurite"), free_port()
    command = [program, "--blobHost", HOST, "--blobPort", str(port)]
    command += ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    with started(command, port, folder / "log"):
        from azure.storage.blob import BlobServiceClient

        text = azure_environment(f"http://{HOST}:{port}")["AZURE_STORAGE_CONNECTION_STRING"]
        with BlobServiceClient.from_connection_string(text) as client:
            client.create_container("bucket")
        proxy = Proxy(f"http://{HOST}:{port}")
        yield proxy
        proxy.close()


@pytest.fixture
def az(az_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy through which ``az://`` goes; it fails nothing until it is told to."""
    for name, value in azure_environment(az_proxy.address).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(retries, "DELAY", 0.002)
    az_proxy.reset()
    yield az_proxy
    az_proxy.reset()


@pytest.fixture(scope="session")
def gs_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy before an emulator of Google Cloud Storage with a bucket called ``bucket``."""
    pytest.importorskip("gcsfs")
    pytest.importorskip("gcp_storage_emulator")
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "gcp_storage_emulator",
        "start",
        "-H",
        HOST,
        "--port",
        str(port),
        "-M",
        "-q",
    ]
    with started([*command, "--default-bucket", "bucket"], port, tmp_path_factory.mktemp("gs") / "log"):
        proxy = Proxy(f"http://{HOST}:{port}")
        yield proxy
        proxy.close()


@pytest.fixture
def gs(gs_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy through which ``gs://`` goes; it fails nothing until it is told to."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gs_proxy.address)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setattr(retries, "DELAY", 0.002)
    gs_proxy.reset()
    yield gs_proxy
    gs_proxy.reset()
