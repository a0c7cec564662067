"""The folder that is published, and what was in it before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from translatekit_tools.publish.output import RECORD, new_folder

from translatekit.errors import OptionError
from translatekit.storage import hash_file


def put(out: Path, files: dict[str, str], kind: str = "page", force: bool = False) -> None:
    with new_folder(out, kind, "index.html", force) as made:
        for name, text in files.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_text(text)


def content(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_a_folder_is_published_again_and_again(tmp_path: Path) -> None:
    put(tmp_path / "site", {"index.html": "1", "old/model.bin": "1"})
    put(tmp_path / "site", {"index.html": "2", "new/model.bin": "2"})
    assert content(tmp_path / "site") == {"index.html": "2", "new/model.bin": "2"}
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    assert not (tmp_path / "site/old").exists()


def test_what_lies_beside_the_files_stays(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_text("ref")
    put(tmp_path, {"index.html": "1", "model.bin": "1"})
    (tmp_path / "CNAME").write_text("example.org")
    put(tmp_path, {"index.html": "2"})
    assert content(tmp_path) == {"index.html": "2", "CNAME": "example.org", ".git/HEAD": "ref"}


def test_a_folder_of_someone_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("mine")
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(OptionError, match=r"not published, such as index\.html.*--force"):
        put(tmp_path, {"index.html": "1"})
    assert content(tmp_path) == {"photo.jpg": "mine", "index.html": "mine"}
    put(tmp_path, {"index.html": "1"}, force=True)
    assert content(tmp_path) == {"photo.jpg": "mine", "index.html": "1"}


@pytest.mark.parametrize("changed", ["index.html", "robots.txt"])
def test_what_a_person_has_changed_or_added_is_not_overwritten(tmp_path: Path, changed: str) -> None:
    put(tmp_path, {"index.html": "1", "model.bin": "1"})
    (tmp_path / changed).write_text("mine")
    with pytest.raises(OptionError, match=rf"{changed} is not as it was published.*--force"):
        put(tmp_path, {"index.html": "2", "robots.txt": "2", "model.bin": "2"})
    assert content(tmp_path)["model.bin"] == "1"
    assert content(tmp_path)[changed] == "mine"


def test_a_kind_does_not_take_the_place_of_another(tmp_path: Path) -> None:
    put(tmp_path, {"index.html": "1"})
    with pytest.raises(OptionError, match="published --as page, not --as hub"):
        put(tmp_path, {"README.md": "1"}, kind="hub")
    with pytest.raises(OptionError, match=r"index\.html is a file"):
        put(tmp_path / "index.html", {"README.md": "1"})


def test_what_fails_half_way_has_changed_nothing(tmp_path: Path) -> None:
    put(tmp_path / "site", {"index.html": "1"})

    def fail() -> None:
        with new_folder(tmp_path / "site", "page", "index.html") as made:
            (made / "index.html").write_text("2")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert content(tmp_path / "site") == {"index.html": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_record_that_names_files_of_other_folders_removes_none(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    put(tmp_path / "site", {"index.html": "1"})
    digest = hash_file(tmp_path / "precious")
    record = {"kind": "page", "files": {"../precious": digest, str(tmp_path / "precious"): digest}}
    (tmp_path / "site" / RECORD).write_text(json.dumps(record))
    (tmp_path / "site/index.html").unlink()
    put(tmp_path / "site", {"index.html": "2"})
    assert (tmp_path / "precious").read_text() == "mine"
