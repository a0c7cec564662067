"""What holds for every place, whatever keeps its objects."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest

from translatekit.errors import StorageError
from translatekit.storage import AppendLog, Item, Sink, open_sink, open_source

NAMES = ["a.png", "a/b.png", "a/c d.png", "ä€.png", "b/c/d.png", "b/c.png"]


class Pipe(io.RawIOBase):
    """What cannot be sought in."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._file.readinto(buffer)


def test_what_is_committed_is_listed_and_read(place: Sink) -> None:
    committed = [place.commit(name, name.encode()) for name in NAMES]
    listed = sorted(place.list(), key=lambda item: item.name)
    assert listed == sorted(committed, key=lambda item: item.name)
    assert {item.name: item.size for item in listed} == {name: len(name.encode()) for name in NAMES}
    assert all(item.stamp for item in listed)
    for name in NAMES:
        assert place.read(name) == name.encode()
        assert place.stat(name) in listed


def test_a_prefix_is_of_names(place: Sink) -> None:
    for name in NAMES:
        place.commit(name, b"x")
    for prefix in ("a", "a/", "a/c", "b/", "b/c", "b/c/", "c", "nothing/at/all"):
        assert sorted(item.name for item in place.list(prefix)) == sorted(
            name for name in NAMES if name.startswith(prefix)
        )


def test_another_reader_sees_the_same(place: Sink) -> None:
    item = place.commit("a/b.png", b"pixels")
    source = open_source(place.uri)
    assert list(source.list()) == [item]
    assert source.read("a/b.png") == b"pixels"
    assert source.uri == place.uri
    assert source.uri_of(item).endswith("a/b.png")
    assert open_source(source.uri_of(item)).read("b.png") == b"pixels"


def test_one_object_is_a_place_of_one(place: Sink) -> None:
    place.commit("a/b.png", b"pixels")
    place.commit("a/b.png.json", b"{}")
    source = open_source(place.uri_of("a/b.png"))
    (item,) = source.list()
    assert (item.name, item.size) == ("b.png", 6)
    assert source.read(item.name) == b"pixels"
    assert source.uri_of(item) == place.uri_of("a/b.png")
    assert list(source.list("c")) == []


def test_a_stamp_changes_with_the_content(place: Sink) -> None:
    first = place.commit("a.png", b"1234")
    assert place.stat("a.png") == first
    second = place.commit("a.png", b"56789")
    assert second.stamp != first.stamp
    assert place.read("a.png") == b"56789"


@pytest.mark.parametrize("size", [0, 5, 200_000])
def test_files_of_every_kind_are_committed(place: Sink, tmp_path: Path, size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    (tmp_path / "file.bin").write_bytes(data)
    begun = io.BytesIO(b"head" + data)
    begun.seek(4)
    for name, given in {
        "bytes": data,
        "path": tmp_path / "file.bin",
        "file": io.BytesIO(data),
        "rest": begun,
        "pipe": io.BufferedReader(Pipe(data)),
    }.items():
        assert place.commit(name, given).size == size
        assert place.read(name) == data


def test_a_file_is_read_wherever_it_is_sought(place: Sink) -> None:
    data = bytes(index % 253 for index in range(100_000))
    place.commit("a.bin", data)
    with place.open("a.bin") as file:
        assert file.seekable()
        assert file.read(10) == data[:10]
        assert file.seek(-7, io.SEEK_END) == len(data) - 7
        assert file.read() == data[-7:]
        assert file.read(1) == b""
        file.seek(50_000)
        assert file.read(1000) == data[50_000:51_000]
        assert file.tell() == 51_000


def test_what_is_not_there(place: Sink) -> None:
    place.commit("a/b.png", b"x")
    assert place.stat("a/none.png") is None
    assert place.stat("a") is None
    for read in (place.read, place.open):
        with pytest.raises(StorageError, match=r"there is no .*none\.png: check the"):
            read("a/none.png")
    place.delete("a/none.png")


def test_what_is_deleted_is_gone(place: Sink) -> None:
    place.commit("a/b.png", b"x")
    place.delete("a/b.png")
    assert list(place.list()) == []


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "a/../../b", "", "a//b", ".", "a\0"])
def test_nothing_is_written_outside_of_its_place(place: Sink, name: str) -> None:
    with pytest.raises(StorageError, match="is no name of a file below"):
        place.commit(name, b"x")
    with pytest.raises(StorageError, match="is no name of a file below"):
        place.delete(name)


def test_a_journal_goes_on_where_an_earlier_one_ended(place: Sink) -> None:
    assert list(place.read_log("m.jsonl")) == []
    with place.append_log("m.jsonl") as log:
        log.append({"row": 0})
        log.append({"row": 1})
    with place.append_log("m.jsonl") as log:
        log.append({"row": 2})
    with place.append_log("m-002.jsonl") as other:
        other.append({"row": 7})
    assert [record["row"] for record in place.read_log("m.jsonl")] == [0, 1, 2]
    assert [record["row"] for record in open_sink(place.uri).read_log("m-002.jsonl")] == [7]


def test_the_segments_of_a_journal_come_in_order(place: Sink) -> None:
    for row in range(12):
        with place.append_log("m.jsonl") as log:
            log.append({"row": row})
    assert [record["row"] for record in place.read_log("m.jsonl")] == list(range(12))


def test_records_wait_for_others() -> None:
    written: list[bytes] = []
    log = AppendLog(written.append, rows=3, seconds=60)
    for row in range(4):
        log.append({"row": row})
    assert written == [b'{"row": 0}\n{"row": 1}\n{"row": 2}\n']
    log.close()
    log.close()
    assert written[1:] == [b'{"row": 3}\n']


def test_records_that_could_not_be_written_are_kept() -> None:
    written: list[bytes] = []

    def write(lines: bytes) -> None:
        if not written:
            written.append(b"")
            raise StorageError("the disk is full")
        written.append(lines)

    log = AppendLog(write)
    with pytest.raises(StorageError):
        log.append({"row": 0})
    log.append({"row": 1})
    assert written == [b"", b'{"row": 0}\n{"row": 1}\n']


def test_a_cut_off_line_is_left_out(tmp_path: Path) -> None:
    place = open_sink(tmp_path)
    (tmp_path / "m.jsonl").write_bytes(b'{"row": 0}\n{"row"')
    with place.append_log("m.jsonl") as log:
        log.append({"row": 1})
        log.append({"row": 2})
    assert [record["row"] for record in place.read_log("m.jsonl")] == [0, 1, 2]


def test_a_place_can_be_sent_to_another_process(place: Sink) -> None:
    place.commit("a.png", b"x")
    sent = pickle.loads(pickle.dumps(place))
    assert sent.uri == place.uri
    assert sent.read("a.png") == b"x"


def test_temporary_files_are_not_listed(place: Sink) -> None:
    place.commit("a/.0123456789abcdef.12.translatekit.tmp", b"half")
    place.commit("a.png", b"x")
    assert [item.name for item in place.list()] == ["a.png"]


def test_the_first_objects_come_before_the_last_is_known(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.png").touch()
    items = open_source(tmp_path).list()
    assert next(items).name == "a/1.png"
    (tmp_path / "b" / "2.png").touch()
    assert [item.name for item in items] == ["b/1.png", "b/2.png"]


def test_links_that_lead_back_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"x")
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere")
    assert [item.name for item in open_source(tmp_path).list()] == ["a/1.png"]


def test_a_local_folder_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"123")
    status = (tmp_path / "1.png").stat()
    for text in (tmp_path, str(tmp_path), tmp_path.as_uri()):
        source = open_source(text)
        assert source.is_local
        assert source.path == tmp_path
        assert list(source.list()) == [Item("1.png", 3, f"3-{status.st_mtime_ns}")]
    with pytest.raises(StorageError, match=r"there is no .*none: check the path"):
        list(open_source(tmp_path / "none").list())


def test_an_address_of_no_known_kind() -> None:
    with pytest.raises(
        StorageError, match=r"wherever://x is no address that is known: it may begin with s3://"
    ):
        open_source("wherever://x")
