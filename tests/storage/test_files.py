"""Files written whole or not at all, their hashes, and the one place where things are kept between runs."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from translatekit.errors import OptionError, StorageError
from translatekit.storage import (
    cache_folder,
    hash_bytes,
    hash_file,
    temporary_path,
    writable_cache,
    write_atomically,
)


def test_the_variable_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path))
    assert cache_folder("speeds", "a.json") == tmp_path / "speeds" / "a.json"
    monkeypatch.setenv("TRANSLATEKIT_CACHE", "~/kept")
    assert cache_folder() == Path.home() / "kept"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other folders")
def test_without_it_the_system_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TRANSLATEKIT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "translatekit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "translatekit"


def test_a_folder_that_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSLATEKIT_CACHE", "~nobody-of-this-name/kept")
    with pytest.raises(OptionError, match=r"no home folder .*: set TRANSLATEKIT_CACHE"):
        cache_folder()
    assert writable_cache() is None


def test_a_folder_is_made_where_it_can_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "new"))
    folder = writable_cache("openvino")
    assert folder == tmp_path / "new" / "openvino"
    assert folder.is_dir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRANSLATEKIT_CACHE", str(tmp_path / "file"))
    assert writable_cache("openvino") is None


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in ("missing", "file"):
        with pytest.raises(StorageError, match=r"was not written \(.*\): choose another name or folder"):
            write_atomically(tmp_path / folder / "page.html", b"x")


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    """With a limit on file sizes, which fails in the middle of a write as a full disk does."""
    path = tmp_path / "page.html"
    path.write_bytes(b"old")
    code = (
        "import resource, signal; from pathlib import Path; from translatekit.storage import write_atomically\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        f"write_atomically(Path({str(path)!r}), bytes(1000))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "StorageError" in result.stderr
    assert "was not written, the disk is full (File too large)" in result.stderr
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_of_the_longest_kind_is_written(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 251}.png"
    write_atomically(path, b"pixels")
    assert path.read_bytes() == b"pixels"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    temporary_path(path).write_bytes(b"half")
    write_atomically(path, b"whole")
    assert list(tmp_path.iterdir()) == [path]


def test_an_entry_is_made_when_the_file_is_complete_and_before_it_has_its_name(tmp_path: Path) -> None:
    path, seen = tmp_path / "page.html", []
    write_atomically(
        path, b"page", before_rename=lambda: seen.append((path.exists(), temporary_path(path).read_bytes()))
    )
    assert seen == [(False, b"page")]


def test_processes_that_write_one_file_do_not_share_its_temporary_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "timings"
    name = temporary_path(path, shared=True).name
    assert str(os.getpid()) in name
    with monkeypatch.context() as elsewhere:  # where a process may have the same number
        elsewhere.setattr(socket, "gethostname", lambda: "another")
        assert temporary_path(path, shared=True).name != name
    write_atomically(path, b"t", shared=True)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_and_its_bytes_have_one_hash(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(b"page")
    assert hash_file(path) == hash_bytes(b"page")
    assert hash_file(path, "sha256") == hashlib.sha256(b"page").hexdigest()
