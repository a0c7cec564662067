"""Where the page's runtime comes from: a stand-in for the npm registry, an archive, a folder."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from translatekit_tools.publish import runtime

from translatekit.errors import DataError, OptionError

OPERATORS = """
| Operator | Opset | Comments |
|:--------:|:-------------:|-----|
| Cast | ai.onnx(6-8,9-12,13-18,19-20,21+) |  |
| Conv | ai.onnx(1-10,11+); com.ms.internal.nhwc(1-10,11+) | need perf optimization |
| Gelu | com.microsoft(1+); ai.onnx(20) |  |
"""


def package(version: str = runtime.VERSION, without: str = "") -> dict[str, bytes]:
    files = {name: name.encode() for name in runtime._NEEDED}
    files["package.json"] = json.dumps({"name": runtime.PACKAGE, "version": version}).encode()
    files["docs/webgpu-operators.md"] = OPERATORS.encode()
    files.pop(without, None)
    return files


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def quiet(text: str, share: float | None) -> None:
    pass


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """A registry that has the package; what it is asked for is the list."""
    data = archive(package())
    integrity = base64.b64encode(hashlib.sha512(data).digest()).decode()
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_address[1]}/mirror/")
    monkeypatch.setattr(runtime, "INTEGRITY", f"sha512-{integrity}")
    yield asked
    server.shutdown()
    server.server_close()


def test_the_package_is_fetched_once_and_its_hash_is_checked_each_time(
    registry: list[str], tmp_path: Path
) -> None:
    for _ in range(2):
        found = runtime.open_runtime(None, quiet)
    assert registry == [f"/mirror/onnxruntime-web/-/onnxruntime-web-{runtime.VERSION}.tgz"]
    assert found.files == package()
    (kept,) = (tmp_path / "cache/npm").glob("*.tgz")
    kept.write_bytes(kept.read_bytes() + b"\0")
    with pytest.raises(DataError, match="SHA512 checksum"):
        runtime.open_runtime(None, quiet)


def test_what_the_registry_gives_must_be_what_was_pinned(
    registry: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runtime, "INTEGRITY", f"sha512-{base64.b64encode(bytes(64)).decode()}")
    with pytest.raises(DataError, match=r"SHA512 checksum.*--web-runtime"):
        runtime.open_runtime(None, quiet)
    assert not list((tmp_path / "cache/npm").glob("*.tgz*"))


def test_the_registry_is_that_of_npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("NPM_CONFIG_REGISTRY", "npm_config_registry", "npm_config_userconfig"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "npmrc"
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(config))
    assert runtime.registry() == runtime.REGISTRY
    config.write_text(
        "audit = false\n; registry = https://old.example/\nregistry = https://npm.example/all/\n"
    )
    assert runtime.registry() == "https://npm.example/all"
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://other.example/")
    assert runtime.registry() == "https://other.example"


def test_an_archive_or_a_folder_does_as_well(tmp_path: Path) -> None:
    (tmp_path / "package.tgz").write_bytes(archive(package()))
    inner = tmp_path / "node_modules" / runtime.PACKAGE
    for name, data in package().items():
        (inner / name).parent.mkdir(parents=True, exist_ok=True)
        (inner / name).write_bytes(data)
    for given in (tmp_path / "package.tgz", inner, tmp_path):
        assert runtime.open_runtime(str(given), quiet).files == package()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (package(version="1.2.3"), r"version 1\.2\.3"),
        (package(without="dist/ort.wasm.min.mjs"), r"without dist/ort\.wasm\.min\.mjs"),
        ({}, "version unknown"),
    ],
)
def test_another_package_is_refused(tmp_path: Path, files: dict[str, bytes], said: str) -> None:
    (tmp_path / "other.tgz").write_bytes(archive(files))
    with pytest.raises(OptionError, match=rf"other\.tgz is not onnxruntime-web .*{said}.*npm pack"):
        runtime.open_runtime(str(tmp_path / "other.tgz"), quiet)
    (tmp_path / "broken.tgz").write_bytes(b"no archive")
    with pytest.raises(OptionError, match=r"broken\.tgz cannot be read as an npm package"):
        runtime.open_runtime(str(tmp_path / "broken.tgz"), quiet)


def test_operators_are_looked_up_in_the_packages_own_table() -> None:
    known = runtime.Runtime(package()).webgpu_operators()
    assert known["Conv"] == [(1, 10), (11, float("inf"))]
    assert known["Cast"][-2:] == [(19, 20), (21, float("inf"))]
    assert known["Gelu"] == [(20, 20)]
