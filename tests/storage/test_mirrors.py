"""Folders of a store for what needs a local one: fetched where they changed, and written back."""

from __future__ import annotations

import shutil
import uuid
import zipfile
from pathlib import Path

import pytest

from tests.stores import Proxy
from translatekit.errors import StorageError
from translatekit.storage import (
    Item,
    Sink,
    Source,
    local_file,
    local_folder,
    local_place,
    mirrors,
    open_sink,
    write_file,
    written_folder,
)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bucket(s3: Proxy) -> Sink:
    place = open_sink(f"s3://bucket/{uuid.uuid4().hex}")
    for name in ("a/1.png", "a/2.png", "b.png"):
        place.commit(name, name.encode())
    s3.requests.clear()
    return place


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != mirrors.RECORD)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_only_what_has_changed_is_fetched_again(s3: Proxy, bucket: Sink) -> None:
    folder = local_folder(bucket.uri)
    assert folder.name == bucket.uri.rpartition("/")[2]
    assert contents(folder) == {name: name.encode() for name in ("a/1.png", "a/2.png", "b.png")}
    assert s3.requests == {"HEAD": 1, "GET": 4}  # whether it is one object, the listing, three objects
    bucket.commit("a/2.png", b"changed")
    bucket.commit("c.png", b"new")
    bucket.delete("b.png")
    s3.requests.clear()
    assert local_folder(f"{bucket.uri}/") == folder
    assert contents(folder) == {"a/1.png": b"a/1.png", "a/2.png": b"changed", "c.png": b"new"}
    assert s3.requests == {"GET": 3}  # what ends in a slash is a folder


def test_a_local_file_that_was_changed_is_fetched_again(bucket: Sink) -> None:
    folder = local_folder(bucket.uri)
    (folder / "b.png").write_bytes(b"spoilt")
    (folder / "a" / "1.png").unlink()
    assert contents(local_folder(bucket.uri)) == {
        name: name.encode() for name in ("a/1.png", "a/2.png", "b.png")
    }


def test_what_was_fetched_beside_a_file_that_failed_is_removed_when_the_place_has_it_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("fsspec")
    place = open_sink(f"memory://mirrors/{uuid.uuid4().hex}")
    for name in ("0.png", "1.png", "2.png"):
        place.commit(name, name.encode())

    def fail(source: Source, item: Item, path: Path) -> str:
        if item.name == "0.png":
            raise StorageError("0.png was not read")
        return fetch(source, item, path)

    fetch = mirrors.fetch
    with monkeypatch.context() as patch:
        patch.setattr(mirrors, "fetch", fail)
        with pytest.raises(StorageError, match="was not read"):
            local_folder(place.uri)
    place.delete("0.png")
    place.delete("1.png")
    assert contents(local_folder(place.uri)) == {"2.png": b"2.png"}


def test_a_path_is_itself(tmp_path: Path) -> None:
    assert local_folder(tmp_path) == local_place(str(tmp_path)) == tmp_path
    with written_folder(tmp_path) as folder:
        assert folder == tmp_path
    write_file(tmp_path / "a.html", b"page")
    assert local_file(tmp_path / "a.html").read_bytes() == b"page"


def test_a_file_and_a_folder_are_told_apart(bucket: Sink) -> None:
    assert local_place(f"{bucket.uri}/b.png").read_bytes() == b"b.png"
    assert contents(local_place(f"{bucket.uri}/a")) == {"1.png": b"a/1.png", "2.png": b"a/2.png"}
    bucket.commit("v1.5/x.png", b"x")
    assert contents(local_place(f"{bucket.uri}/v1.5")) == {"x.png": b"x"}


def test_nothing_at_an_address(bucket: Sink) -> None:
    for read in (local_folder, local_place, local_file):
        with pytest.raises(
            StorageError, match=rf"there is (nothing at|no) {bucket.uri}/none: check the address"
        ):
            read(f"{bucket.uri}/none")


def test_changes_are_written_back(s3: Proxy, bucket: Sink) -> None:
    with written_folder(bucket.uri) as folder:
        assert (folder / "a" / "1.png").read_bytes() == b"a/1.png"
        (folder / "a" / "1.png").write_bytes(b"changed")
        (folder / "b.png").unlink()
        (folder / ".journal.jsonl").write_bytes(b"{}")
        (folder / "new").mkdir()
        (folder / "new" / "c.png").write_bytes(b"new")
        s3.requests.clear()
    assert s3.requests == {"PUT": 3, "DELETE": 1}
    assert {item.name: bucket.read(item.name) for item in bucket.list()} == {
        ".journal.jsonl": b"{}",
        "a/1.png": b"changed",
        "a/2.png": b"a/2.png",
        "new/c.png": b"new",
    }
    s3.requests.clear()
    with written_folder(bucket.uri):
        pass
    assert s3.requests == {"GET": 1}


def write_and_raise(place: Sink, error: BaseException) -> None:
    with written_folder(place.uri) as folder:
        (folder / "c.png").write_bytes(b"whole")
        raise error


def test_what_was_written_before_an_error_is_kept(bucket: Sink) -> None:
    with pytest.raises(ValueError, match="in the middle"):
        write_and_raise(bucket, ValueError("in the middle"))
    assert bucket.read("c.png") == b"whole"


def test_what_an_interrupted_run_has_written_is_written_back_by_the_next(bucket: Sink) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_and_raise(bucket, KeyboardInterrupt())
    assert bucket.stat("c.png") is None
    with written_folder(bucket.uri) as folder:
        assert (folder / "c.png").read_bytes() == b"whole"
    assert bucket.read("c.png") == b"whole"


def test_what_a_run_that_was_killed_has_noted_of_its_files_is_kept_for_the_next(bucket: Sink) -> None:
    bucket.commit(".journal.jsonl", b"1\n")

    def note_and_die() -> None:
        with written_folder(bucket.uri) as folder:
            (folder / ".journal.jsonl").write_bytes(b"1\n2\n")
            raise KeyboardInterrupt  # which, as a kill, writes nothing back

    with pytest.raises(KeyboardInterrupt):
        note_and_die()
    with written_folder(bucket.uri) as folder:
        assert (folder / ".journal.jsonl").read_bytes() == b"1\n2\n"
    assert bucket.read(".journal.jsonl") == b"1\n2\n"
    bucket.commit(".journal.jsonl", b"of another machine\n")
    with written_folder(bucket.uri) as folder:
        assert (folder / ".journal.jsonl").read_bytes() == b"of another machine\n"


def test_a_place_that_does_not_fit(bucket: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "_LEFT_FREE", shutil.disk_usage(tmp_path).total)
    with pytest.raises(
        StorageError, match=r"does not fit on the disk of .*: name a part of it, or set TRANSLATEKIT_C"
    ):
        local_folder(bucket.uri)


def test_no_name_leads_out_of_a_mirror(s3: Proxy, s3_server: str, bucket: Sink) -> None:
    bucket._store.put(f"{bucket.uri.removeprefix('s3://')}/x/../../y.png", b"out")  # type: ignore[attr-defined]
    with pytest.raises(StorageError, match="is no name of a file below"):
        local_folder(bucket.uri)


def test_a_page_is_written_to_an_address(bucket: Sink) -> None:
    write_file(f"{bucket.uri}/pages/index.html", b"page")
    assert bucket.read("pages/index.html") == b"page"


def test_an_archive_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a/1.png", b"one")
    for text in (
        tmp_path / "photos.zip",
        (tmp_path / "photos.zip").as_uri(),
        f"zip://a::{tmp_path / 'photos.zip'}",
    ):
        folder = local_place(text)
        assert [file.read_bytes() for file in folder.rglob("1.png")] == [b"one"]
