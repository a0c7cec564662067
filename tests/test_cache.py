"""The one place where things are kept between runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from translatekit.cache import cache_folder, writable_cache
from translatekit.errors import OptionError


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
