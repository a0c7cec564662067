"""Zip archives, tar shards and files on the web are read where they lie, and never written."""

from __future__ import annotations

import http.server
import io
import pickle
import re
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.stores import HOST, Proxy, free_port
from translatekit.errors import StorageError
from translatekit.storage import is_uri, local_copy, open_sink, open_source, retries

FILES = {"a/1.png": b"one", "a/2.png": b"two" * 100, "b.txt": b"", "ä.jpg": b"x"}


def zipped(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("a")
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


PACKED = {"zip": zipped(FILES), "tar": tarred(FILES)}


class Served(http.server.BaseHTTPRequestHandler):
    """Files by name; with ranges, except below ``/plain/``."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes] = {}
    requests: Counter[str] = Counter()
    truncated = 0

    def do_GET(self) -> None:
        type(self).requests[self.command] += 1
        path, _, query = self.path.partition("?")
        name = unquote(path.rpartition("/")[2])
        secret = path.startswith("/secret/") and "sig=right" not in query
        if path.startswith("/login/"):
            secret = self.headers.get("Authorization") != "Basic dXNlcjpwYXNz"  # user:pass
        data = self.files.get(name)
        if data is None or secret:
            self.send_error(403 if secret else 404)
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        ranged = found is not None and not path.startswith("/plain/")
        part = data[int(found[1]) : int(found[2]) + 1] if ranged and found else data
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", f'"{hash(data):x}"')
        if not path.startswith("/plain/"):
            self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if self.command == "HEAD":
            return
        if type(self).truncated:
            type(self).truncated -= 1
            part, self.close_connection = part[: len(part) // 2], True
        self.wfile.write(part)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of a web server that has the archives and a large file."""
    Served.files = {
        **{f"photos.{kind}": data for kind, data in PACKED.items()},
        "large.bin": bytes(range(256)) * 2**16,
        "1 2.png": b"pixels",
        "maps.xml": b"<xml/>",
        "maps.bin": b"numbers",
    }
    server = http.server.ThreadingHTTPServer((HOST, 0), Served)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://{HOST}:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["local", "s3", "web"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where archives called ``photos`` are, without their suffix."""
    if request.param == "web":
        return f"{request.getfixturevalue('site')}/photos"
    if request.param == "s3":
        request.getfixturevalue("s3")
    place = open_sink(tmp_path if request.param == "local" else "s3://bucket/archives")
    for kind, data in PACKED.items():
        place.commit(f"photos.{kind}", data)
    return place.uri_of("photos")


@pytest.mark.parametrize("kind", PACKED)
def test_an_archive_is_a_place(archive: str, kind: str) -> None:
    source = open_source(f"{archive}.{kind}")
    assert source.uri == f"{archive}.{kind}"
    assert not source.is_local
    listed = {item.name: item for item in source.list()}
    assert {name: item.size for name, item in listed.items()} == {
        name: len(data) for name, data in FILES.items()
    }
    assert len({item.stamp for item in listed.values()}) == len(FILES)
    for name, data in FILES.items():
        assert source.read(name) == data
        assert source.stat(name) == listed[name]
        with source.open(name) as file:
            file.seek(1)
            assert file.read() == data[1:]
    assert [item.name for item in source.list("a/")] == ["a/1.png", "a/2.png"]
    assert source.stat("a") is None
    assert source.stat("none.png") is None
    with pytest.raises(StorageError, match=r"there is no none\.png in .*photos"):
        source.read("none.png")
    assert pickle.loads(pickle.dumps(source)).read("a/1.png") == b"one"


@pytest.mark.parametrize("kind", PACKED)
def test_a_file_is_read_before_all_are_listed(archive: str, kind: str) -> None:
    assert open_source(f"{archive}.{kind}").read("a/2.png") == FILES["a/2.png"]


@pytest.mark.parametrize("kind", PACKED)
def test_a_folder_or_a_file_in_an_archive_is_a_place(archive: str, kind: str) -> None:
    source = open_source(f"{kind}://a::{archive}.{kind}")
    assert source.uri == f"{kind}://a::{archive}.{kind}"
    assert [item.name for item in source.list()] == ["1.png", "2.png"]
    assert source.read("1.png") == b"one"
    assert source.uri_of("1.png") == f"{kind}://a/1.png::{archive}.{kind}"
    single = open_source(source.uri_of("1.png"))
    assert [item.name for item in single.list()] == ["1.png"]
    assert single.read("1.png") == b"one"


def test_a_tar_file_of_a_folder_itself_has_the_names_below_it(tmp_path: Path) -> None:
    (tmp_path / "photos.tar").write_bytes(tarred({f"./{name}": content for name, content in FILES.items()}))
    for uri in (str(tmp_path / "photos.tar"), f"tar://a::{tmp_path / 'photos.tar'}"):
        place = open_source(uri)
        names = {item.name for item in place.list()}
        assert names == ({"1.png", "2.png"} if "::" in uri else FILES.keys())
        assert [place.read(name) for name in names if name.endswith("1.png")] == [b"one"]


def test_only_what_is_needed_of_an_archive_is_read(s3: Proxy) -> None:
    files = {f"{number:02d}.png": bytes([number]) * 2**19 for number in range(40)}
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:  # 20 MiB, stored
        for name, content in files.items():
            archive.writestr(name, content)
    open_sink("s3://bucket/archives").commit("large.zip", data.getvalue())
    s3.requests.clear()
    source = open_source("s3://bucket/archives/large.zip")
    assert len(list(source.list())) == 40
    assert source.read("03.png") == files["03.png"]
    assert s3.requests["HEAD"] == 1
    assert s3.requests["GET"] <= 3


@pytest.mark.parametrize("kind", PACKED)
def test_an_archive_that_is_none(tmp_path: Path, kind: str) -> None:
    (tmp_path / f"x.{kind}").write_bytes(b"no archive" * 100)
    with pytest.raises(StorageError, match=rf"x\.{kind} is damaged or no .*\): .* again"):
        list(open_source(tmp_path / f"x.{kind}").list())


def test_a_compressed_tar_file_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    with pytest.raises(StorageError, match=r"no uncompressed tar file .*: make it again, uncompressed"):
        list(open_source(tmp_path / "x.tar").list())


def test_a_damaged_file_in_an_archive(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.png": b"abc" * 1000, "b.png": b"fine"}))
    data[60:64] = b"\0\0\0\0"
    (tmp_path / "x.zip").write_bytes(data)
    source = open_source(tmp_path / "x.zip")
    with pytest.raises(StorageError, match=r"a\.png in .*x\.zip cannot be read"):
        source.read("a.png")
    assert source.read("b.png") == b"fine"


def test_an_address_that_says_no_archive() -> None:
    with pytest.raises(StorageError, match=r"zip://photos says no archive: write zip://photos::s3://"):
        open_source("zip://photos")


@pytest.mark.parametrize(
    "uri", ["https://host/photos", "zip://a::s3://bucket/a.zip", "http://host/a.png?sig=x"]
)
def test_what_is_only_read(uri: str) -> None:
    with pytest.raises(
        StorageError, match=r"cannot be written to: name a local folder, or a place in a bucket"
    ):
        open_sink(uri)


# The web


def test_a_file_on_the_web(site: str) -> None:
    source = open_source(f"{site}/1%202.png")
    (item,) = source.list()
    assert (item.name, item.size) == ("1 2.png", 6)
    assert source.read("1 2.png") == b"pixels"
    with pytest.raises(StorageError, match=r"there is no other\.png at .*, which is one file"):
        source.read("other.png")


def test_a_large_file_is_read_by_range_where_the_server_does_that(site: str) -> None:
    data = Served.files["large.bin"]
    for folder in ("", "plain/"):
        Served.requests.clear()
        with open_source(f"{site}/{folder}large.bin").open("large.bin") as file:
            file.seek(-1000, io.SEEK_END)
            assert file.read() == data[-1000:]
        assert Served.requests == {"HEAD": 1, "GET": 1}


def test_a_signature_is_used_and_not_shown(site: str) -> None:
    source = open_source(f"{site}/secret/1%202.png?sig=right")
    assert source.read("1 2.png") == b"pixels"
    assert "sig" not in source.uri + source.uri_of("1 2.png")
    with pytest.raises(
        StorageError, match=r"/secret/1%202\.png may not be read \(status 403\): .* signed"
    ) as caught:
        open_source(f"{site}/secret/1%202.png?sig=wrong").read("1 2.png")
    assert "wrong" not in str(caught.value)


def test_a_password_is_used_and_not_shown(site: str) -> None:
    source = open_source(f"{site.replace('//', '//user:pass@')}/login/1%202.png")
    assert source.read("1 2.png") == b"pixels"
    assert source.uri == f"{site}/login/1%202.png"


def test_an_answer_that_was_cut_off_is_asked_for_again(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "DELAY", 0.001)
    Served.truncated = 3
    assert open_source(f"{site}/large.bin").read("large.bin") == Served.files["large.bin"]
    assert Served.truncated == 0


def test_what_is_not_on_the_web(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "DELAY", 0.001)
    with pytest.raises(StorageError, match=r"there is no http://.*/none\.png: check the address"):
        list(open_source(f"{site}/none.png").list())
    with pytest.raises(StorageError, match=r"there is no http://.*/none\.png: check the address"):
        open_source(f"{site}/none.png").read("none.png")
    with pytest.raises(StorageError, match=r"names no file, and what is below it cannot be listed"):
        list(open_source(f"{site}/photos/").list())
    with pytest.raises(StorageError, match=r"cannot be reached \(.*\): check the network and the address"):
        open_source(f"http://{HOST}:{free_port()}/a.png").read("a.png")


def test_a_model_on_the_web_is_copied_with_what_belongs_to_it(
    site: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path))
    copy = local_copy(f"{site}/secret/maps.xml?sig=right")
    assert is_uri(f"{site}/maps.xml")
    assert (copy.name, copy.with_suffix(".bin").read_bytes()) == ("maps.xml", b"numbers")
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and b"sig" in file.read_bytes()]
