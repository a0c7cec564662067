"""Repositories of the Hugging Face Hub, on a server of the test's own that speaks as the Hub does.

It stands in for the Hub, whose own program is not to be had; its library is the real one.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.fakes import run_python
from tests.stores import HOST

REPOSITORY = r"(?P<id>[^/]+/[^/]+)"


class Hub(http.server.BaseHTTPRequestHandler):
    """Repositories ``models/user/x`` and ``datasets/user/photos``, with a revision called ``main``."""

    protocol_version = "HTTP/1.1"
    repositories: dict[str, dict[str, bytes]] = {}
    busy = 0

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        if type(self).busy:
            type(self).busy -= 1
            return self.give(503, b"later")
        url = urlsplit(unquote(self.path))
        repository = rf"/api/(?P<type>models|datasets)/{REPOSITORY}"
        api = re.fullmatch(rf"{repository}(?:/(?P<what>[a-z-]+)/main)?(?P<rest>/.*)?", url.path)
        if api:
            files = self.repositories.get(f"{api['type']}/{api['id']}")
            if files is None:
                return self.give(404, b"", {"X-Error-Code": "RepoNotFound"})
            return self.about(files, api["what"], (api["rest"] or "").strip("/"), parse_qs(url.query), body)
        found = re.fullmatch(rf"/(?P<type>datasets/)?{REPOSITORY}/resolve/main/(?P<path>.+)", url.path)
        files = (
            self.repositories.get(f"{'datasets' if found['type'] else 'models'}/{found['id']}")
            if found
            else None
        )
        data = files.get(found["path"]) if found and files else None
        if data is None:
            return self.give(404, b"", {"X-Error-Code": "EntryNotFound"})
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if part:
            return self.give(206, data[int(part[1]) : int(part[2]) + 1])
        return self.give(200, data)

    def about(
        self, files: dict[str, bytes], what: str | None, rest: str, query: dict[str, list[str]], body: bytes
    ) -> None:
        if what == "tree":
            entries = [entry(path, data) for path, data in sorted(files.items()) if path.startswith(rest)]
            entries = [{"type": "directory", "path": "folder", "oid": "0", "size": 0}, *entries]
            start = int(query.get("cursor", ["0"])[0])
            more = {}
            if start + 2 < len(entries):  # two a page
                here = f"http://{self.headers['Host']}{urlsplit(self.path).path}"
                more = {"Link": f'<{here}?recursive=True&cursor={start + 2}>; rel="next"'}
            return self.tell(entries[start : start + 2], more)
        if what == "paths-info":
            asked = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode())["paths"]
            return self.tell([entry(path, files[path]) for path in asked if path in files])
        if what == "preupload":
            asked = [file["path"] for file in json.loads(body)["files"]]
            return self.tell(
                {"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in asked]}
            )
        if what == "commit":
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "deletedFile":
                    if value["path"] not in files:
                        return self.give(404, b"", {"X-Error-Code": "EntryNotFound"})
                    del files[value["path"]]
            done = f"http://{self.headers['Host']}/user/x/commit/{'1' * 40}"
            return self.tell({"success": True, "commitOid": "1" * 40, "commitUrl": done})
        return self.tell({"id": "user/x", "sha": "1" * 40, "siblings": [], "private": False, "tags": []})

    def tell(self, found: object, headers: dict[str, str] | None = None) -> None:
        self.give(200, json.dumps(found).encode(), {"Content-Type": "application/json", **(headers or {})})

    def give(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(data)),
            "X-Repo-Commit": "1" * 40,
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_HEAD = answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        return


def entry(path: str, data: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    """The address of the server."""
    pytest.importorskip("huggingface_hub")
    server = http.server.ThreadingHTTPServer((HOST, 0), Hub)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://{HOST}:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


CODE = """
import io, json
from translatekit.errors import TranslatekitError
from translatekit.storage import local_copy, local_folder, open_sink, open_source, retries

retries.DELAY = 0.001
photos = open_source("hf://datasets/user/photos")
items = list(photos.list())
result = {
    "names": [item.name for item in items],
    "sizes": [item.size for item in items],
    "of a folder": [item.name for item in open_source("hf://datasets/user/photos@main/folder").list()],
    "prefix": [item.name for item in photos.list("folder/2")],
    "read": [photos.read(item.name).decode() for item in items],
    "stat": [photos.stat(item.name) == item for item in items],
    "missing": photos.stat("none.png") is None,
    "mirror": sorted(path.name for path in local_folder("hf://datasets/user/photos").rglob("*.png")),
    "model": local_copy("hf://user/x/maps.onnx").read_bytes().decode(),
    "run": sorted(path.name for path in local_copy("hf://user/x").glob("*.safetensors")),
}
with photos.open("large.bin") as file:
    file.seek(-4, io.SEEK_END)
    result["end"] = file.read().decode()
sink = open_sink("hf://user/x")
sink.commit("new/maps.onnx", b"new")
result["written"] = sink.read("new/maps.onnx").decode()
sink.delete("new/maps.onnx")
sink.delete("new/maps.onnx")
result["deleted"] = sink.stat("new/maps.onnx") is None
for uri in ("hf://user/nothing", "hf://datasets/user/photos/none.png"):
    try:
        open_source(uri).read("none.png")
    except TranslatekitError as error:
        result[uri] = str(error)
print(json.dumps(result))
"""


@pytest.mark.parametrize("busy", [0, 2])
def test_a_repository_is_a_place(hub: str, tmp_path: Path, busy: int) -> None:
    files = {
        "folder/1.png": b"one",
        "folder/2.png": b"two",
        "3.png": b"three",
        "large.bin": b"x" * 5_000_000 + b"last",
    }
    Hub.repositories = {
        "datasets/user/photos": dict(files),
        "models/user/x": {"maps.onnx": b"graph", "model.safetensors": b"weights", "config.toml": b""},
    }
    Hub.busy = busy
    result = run_python(
        "-c", CODE, HF_ENDPOINT=hub, TRANSLATEKIT_CACHE=str(tmp_path), HF_HOME=str(tmp_path / "hf")
    )
    assert result.returncode == 0, result.stderr[-3000:]
    said = json.loads(result.stdout)
    names = ["3.png", "folder/1.png", "folder/2.png", "large.bin"]
    assert said == {
        "names": names,
        "sizes": [len(files[name]) for name in names],
        "of a folder": ["1.png", "2.png"],
        "prefix": ["folder/2.png"],
        "read": [files[name].decode() for name in names],
        "stat": [True] * 4,
        "missing": True,
        "mirror": ["1.png", "2.png", "3.png"],
        "model": "graph",
        "run": ["model.safetensors"],
        "end": "last",
        "written": "new",
        "deleted": True,
        "hf://user/nothing": "there is no repository for hf://user/nothing: check its name, and the account "
        "or endpoint",
        "hf://datasets/user/photos/none.png": "there is no hf://datasets/user/photos/none.png/none.png: check the "
        "address",
    }
