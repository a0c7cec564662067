"""A server of the tests' own that speaks as the Hugging Face Hub does, whose own program is not to be had.

The library that talks to it is the real one. What it does not speak is Xet, for which the library is told to use LFS.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.stores import HOST

REPOSITORY = r"(?P<id>[^/]+/[^/]+)"


class Hub(http.server.BaseHTTPRequestHandler):
    """Repositories such as ``models/user/x`` and ``datasets/user/photos``, with a revision called ``main``.

    Attributes:
        repositories: files by name, of each.
        private: those that are seen with the token alone.
        token: without which nothing is written; None where nobody needs one.
        objects: what was uploaded as LFS objects, by their SHA-256.
        commits: the messages of all.
        busy: how many of the next requests are refused for now.
    """

    protocol_version = "HTTP/1.1"
    repositories: dict[str, dict[str, bytes]] = {}
    private: set[str] = set()
    token: str | None = None
    objects: dict[str, bytes] = {}
    commits: list[str] = []
    busy = 0

    @classmethod
    def reset(cls, repositories: Mapping[str, dict[str, bytes]] | None = None, busy: int = 0) -> None:
        """Hold these repositories and nothing else."""
        cls.repositories = {name: dict(files) for name, files in (repositories or {}).items()}
        cls.private, cls.token, cls.objects, cls.commits, cls.busy = set(), None, {}, [], busy

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
        if url.path == "/api/validate-yaml":
            return self.validate(json.loads(body)["content"])
        if url.path == "/api/repos/create":
            return self.create(json.loads(body))
        if url.path.endswith(".git/info/lfs/objects/batch"):
            return self.tell({"objects": [self.place(each) for each in json.loads(body)["objects"]]})
        if url.path.startswith("/lfs/"):
            assert hashlib.sha256(body).hexdigest() == url.path.removeprefix("/lfs/")
            self.objects[url.path.removeprefix("/lfs/")] = body
            return self.give(200, b"")
        repository = rf"/api/(?P<type>models|datasets)/{REPOSITORY}"
        api = re.fullmatch(rf"{repository}(?:/(?P<what>[a-z-]+)/main)?(?P<rest>/.*)?", url.path)
        if api:
            files = self.seen(f"{api['type']}/{api['id']}")
            if files is None:
                return self.give(404 if self.is_known() else 401, b"", {"X-Error-Code": "RepoNotFound"})
            if api["what"] in ("preupload", "commit") and not self.is_known():
                return self.give(403, b"")
            return self.about(files, api["what"], (api["rest"] or "").strip("/"), parse_qs(url.query), body)
        found = re.fullmatch(rf"/(?P<type>datasets/)?{REPOSITORY}/resolve/main/(?P<path>.+)", url.path)
        files = self.seen(f"{'datasets' if found['type'] else 'models'}/{found['id']}") if found else None
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
            large = (".safetensors", ".bin", ".onnx")  # as a new repository's .gitattributes has them
            modes = {path: "lfs" if path.endswith(large) else "regular" for path in asked}
            return self.tell(
                {
                    "files": [
                        {"path": path, "uploadMode": mode, "shouldIgnore": False}
                        for path, mode in modes.items()
                    ]
                }
            )
        if what == "commit":
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.objects[value["oid"]]
                elif line["key"] == "header":
                    self.commits.append(value["summary"])
                elif line["key"] == "deletedFile":
                    if value["path"] not in files:
                        return self.give(404, b"", {"X-Error-Code": "EntryNotFound"})
                    del files[value["path"]]
            done = f"http://{self.headers['Host']}/user/x/commit/{'1' * 40}"
            return self.tell({"success": True, "commitOid": "1" * 40, "commitUrl": done})
        return self.tell({"id": "user/x", "sha": "1" * 40, "siblings": [], "private": False, "tags": []})

    def is_known(self) -> bool:
        """Whether the one who asks has the token, where one is needed."""
        return self.token is None or self.headers.get("Authorization") == f"Bearer {self.token}"

    def seen(self, name: str) -> dict[str, bytes] | None:
        """The files of a repository, where it is there and may be seen."""
        return None if name in self.private and not self.is_known() else self.repositories.get(name)

    def create(self, asked: dict[str, str]) -> None:
        if not self.is_known():
            return self.give(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
        name = f"{asked['organization']}/{asked['name']}"
        if f"models/{name}" in self.repositories:
            url = f"http://{self.headers['Host']}/{name}"
            return self.give(
                409, json.dumps({"error": "You already created this model repo", "url": url}).encode()
            )
        self.repositories[f"models/{name}"] = {".gitattributes": b"*.safetensors filter=lfs"}
        if asked.get("visibility") == "private":
            self.private.add(f"models/{name}")
        return self.tell({"url": f"http://{self.headers['Host']}/{name}"})

    def place(self, each: dict[str, object]) -> dict[str, object]:
        """Where an LFS object is to be put."""
        return {**each, "actions": {"upload": {"href": f"http://{self.headers['Host']}/lfs/{each['oid']}"}}}

    def validate(self, content: str) -> None:
        """See that a card's metadata can be read, as far as its library tells."""
        from huggingface_hub import ModelCard

        try:
            ModelCard(content)
        except ValueError as error:
            return self.give(400, json.dumps({"errors": [{"message": str(error)}]}).encode())
        return self.tell({"errors": [], "warnings": []})

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

    do_GET = do_POST = do_HEAD = do_PUT = answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        return


def entry(path: str, data: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


@pytest.fixture(scope="session")
def hub_server() -> Iterator[str]:
    """The address of a server that stands in for the Hub."""
    pytest.importorskip("huggingface_hub")
    server = http.server.ThreadingHTTPServer((HOST, 0), Hub)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://{HOST}:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def hub(hub_server: str) -> Iterator[str]:
    """Its address, when it holds nothing yet; programs go there with `hub_environment`."""
    Hub.reset()
    yield hub_server
    Hub.reset()


def hub_environment(address: str, home: Path) -> dict[str, str]:
    """The variables that let ``hf://`` be a server's, read when the library is imported."""
    return {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
