"""Downloads against a real server on this machine, and what becomes of archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from translatekit_tools.cli.data import data
from translatekit_tools.data.download import DownloadError, download
from translatekit_tools.data.get import get_data
from translatekit_tools.data.recipes import RECIPES
from translatekit_tools.data.unpack import unpack

from translatekit.datasets.aligned import Aligned
from translatekit.errors import DataError, OptionError
from translatekit.images import encode_image, image_of
from translatekit.interfaces import DataOptions

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()


class Files:
    """A web server with ranges, whose connections can break off.

    Attributes:
        files: by path.
        breaks: after how many bytes each next answer breaks off.
        ranges: whether it answers range requests.
        asked: the Range headers of the requests so far.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks: list[int] = []
        self.ranges = True
        self.asked: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.headers["Range"])
                content = outer.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                etag = f'"{hashlib.md5(content).hexdigest()}"'
                start = 0
                wanted = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
                if outer.ranges and wanted and self.headers["If-Range"] == etag:
                    start = int(wanted[1])
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                else:
                    self.send_response(200)
                body = content[start:]
                self.send_header("ETag", etag)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: outer.breaks.pop(0)] if outer.breaks else body)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def web() -> Iterator[Files]:
    files = Files()
    thread = threading.Thread(target=files.server.serve_forever, daemon=True)
    thread.start()
    yield files
    files.server.shutdown()
    files.server.server_close()
    thread.join()


def test_an_interrupted_download_goes_on_where_it_stopped(web: Files, tmp_path: Path) -> None:
    web.files["/a.bin"], web.breaks = CONTENT, [100_000, 50_000]
    path = download(f"{web.url}/a.bin", tmp_path / "a.bin", pause=0)
    assert path.read_bytes() == CONTENT
    assert web.asked == [None, "bytes=100000-", "bytes=150000-"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.bin", "a.bin.checksum.json"]


def test_the_next_run_goes_on_too(web: Files, tmp_path: Path) -> None:
    web.files["/a.bin"], web.breaks = CONTENT, [100_000, *[0] * 20]
    with pytest.raises(DownloadError, match="run the same command later to go on"):
        download(f"{web.url}/a.bin", tmp_path / "a.bin", pause=0)
    assert not (tmp_path / "a.bin").exists()
    web.breaks, web.asked = [], []
    assert download(f"{web.url}/a.bin", tmp_path / "a.bin", pause=0).read_bytes() == CONTENT
    assert web.asked == ["bytes=100000-"]


def test_a_file_that_changed_on_the_server_is_fetched_anew(web: Files, tmp_path: Path) -> None:
    web.files["/a.bin"], web.breaks = CONTENT, [100_000, *[0] * 20]
    with pytest.raises(DownloadError):
        download(f"{web.url}/a.bin", tmp_path / "a.bin", pause=0)
    web.files["/a.bin"], web.breaks = CONTENT[::-1], []
    assert download(f"{web.url}/a.bin", tmp_path / "a.bin", pause=0).read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges_sends_all_again(web: Files, tmp_path: Path) -> None:
    web.files["/a.bin"], web.breaks, web.ranges = CONTENT, [100_000], False
    assert download(f"{web.url}/a.bin", tmp_path / "a.bin", pause=0).read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(web: Files, tmp_path: Path) -> None:
    web.files["/a.bin"] = CONTENT
    with pytest.raises(DownloadError, match=f"should have {'0' * 32}"):
        download(f"{web.url}/a.bin", tmp_path / "a.bin", md5="0" * 32)
    assert list(tmp_path.iterdir()) == []
    assert download(f"{web.url}/a.bin", tmp_path / "a.bin", md5=hashlib.md5(CONTENT).hexdigest()).is_file()


def test_later_downloads_equal_the_first_unless_the_user_trusts_them(web: Files, tmp_path: Path) -> None:
    path, url = tmp_path / "a.bin", f"{web.url}/a.bin"
    web.files["/a.bin"] = CONTENT
    download(url, path)
    path.unlink()
    web.files["/a.bin"] = CONTENT[::-1]
    with pytest.raises(DownloadError, match="not what was downloaded first"):
        download(url, path)
    assert not path.exists()
    assert download(url, path, trust=True).read_bytes() == CONTENT[::-1]


def test_a_kept_file_that_is_another_is_to_be_removed(web: Files, tmp_path: Path) -> None:
    path, url = tmp_path / "a.bin", f"{web.url}/a.bin"
    web.files["/a.bin"] = CONTENT
    download(url, path)
    path.write_bytes(CONTENT[::-1])
    for md5, says in ((None, "is not what was downloaded first .*"), ("0" * 32, ".* should have 0+: .*")):
        with pytest.raises(DownloadError, match=f"^{re.escape(str(path))} {says}remove it and try again"):
            download(url, path, md5=md5)
        assert path.read_bytes() == CONTENT[::-1]
    path.unlink()
    assert download(url, path).read_bytes() == CONTENT


def test_what_is_missing_or_out_of_reach_is_said(web: Files, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"404.*pass --url"):
        download(f"{web.url}/none.bin", tmp_path / "a.bin")
    web.server.server_close()
    with pytest.raises(DownloadError, match=r"cannot be reached .*check the connection"):
        download(f"{web.url}/a.bin", tmp_path / "a.bin")
    with pytest.raises(OptionError, match="there is no data set 'nonsense': choose one of facades"):
        get_data("nonsense")


def picture(width: int = 64) -> bytes:
    return encode_image(image_of(np.full((32, width, 3), 90, np.uint8)), ".png")


def tar_of(files: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return memory.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return memory.getvalue()


@pytest.mark.parametrize("name", ["facades", "maps", "edges2shoes"])
def test_pairs_are_laid_out_for_training(name: str, web: Files, tmp_path: Path) -> None:
    web.files[f"/{name}.tar.gz"] = tar_of(
        {f"{name}/{split}/{i}.png": picture() for split in ("train", "val") for i in range(2)}
    )
    arguments = ["get", name, "--url", f"{web.url}/{name}.tar.gz", "--cache", str(tmp_path / "cache")]
    done = CliRunner().invoke(data, [*arguments, "-o", str(tmp_path / name)])
    assert done.exit_code == 0, done.output
    assert f"train pix2pix {tmp_path / name} --direction" in done.stderr
    assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["train", "val"]
    assert len(Aligned(tmp_path / name, DataOptions(load_size=32, crop_size=32))) == 2
    with pytest.raises(DataError, match="exists already: move it away"):
        get_data(name, tmp_path / name, cache=tmp_path / "cache")


def test_a_zip_of_two_folders_and_files_as_they_are(web: Files, tmp_path: Path) -> None:
    web.files["/horse2zebra.zip"] = zip_of({f"horse2zebra/train{s}/1.png": picture() for s in "AB"})
    folder = get_data(
        "horse2zebra", tmp_path / "h", cache=tmp_path / "cache", url=f"{web.url}/horse2zebra.zip"
    )
    assert sorted(path.name for path in folder.iterdir()) == ["trainA", "trainB"]
    for remote in RECIPES["mnist"].files:
        web.files[f"/{remote.name}"] = gzip.compress(b"not the digits")
    with pytest.raises(DownloadError, match="should have"):  # its checksums are published
        get_data("mnist", tmp_path / "mnist", cache=tmp_path / "cache", url=web.url)
    assert not (tmp_path / "mnist").exists()


def test_real_digits_have_the_published_checksums(data_dir: Path) -> None:
    for remote in RECIPES["mnist"].files:
        if remote.name.startswith("t10k"):
            content = (data_dir / "mnist" / remote.name).read_bytes()
            assert remote.md5 == hashlib.md5(content).hexdigest()


def test_cityscapes_is_joined_from_the_archives_of_its_owner(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(DataError, match="only after a registration: get leftImg8bit"):
        get_data("cityscapes", tmp_path / "out", cache=cache)
    names = [f"{split}/ulm/ulm_{i}" for split in ("train", "val") for i in range(2)]
    cache.mkdir()
    (cache / "leftImg8bit_trainvaltest.zip").write_bytes(
        zip_of({f"leftImg8bit/{name}_leftImg8bit.png": picture() for name in names})
    )
    (cache / "gtFine_trainvaltest.zip").write_bytes(
        zip_of({f"gtFine/{name}_gtFine_color.png": picture() for name in names})
    )
    folder = get_data("cityscapes", tmp_path / "out", cache=cache)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png")) == [
        f"{split}/ulm_{i}.png" for split in ("train", "val") for i in range(2)
    ]
    assert list(folder.glob(".*")) == []


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../outside.png", "/tmp/outside.png", "a/../../outside.png"])
def test_no_archive_writes_outside_of_its_folder(kind: str, name: str, tmp_path: Path) -> None:
    archive = tmp_path / f"a.{'zip' if kind == 'zip' else 'tar.gz'}"
    archive.write_bytes((zip_of if kind == "zip" else tar_of)({name: b"x"}))
    with pytest.raises(DataError):
        unpack(archive, tmp_path / "inside" / "folder")
    assert list(tmp_path.rglob("outside.png")) == []


def test_links_bombs_and_damaged_archives_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "link.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("link")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    (tmp_path / "bomb.zip").write_bytes(zip_of({"zeros": bytes(2_000_000)}))
    (tmp_path / "many.zip").write_bytes(zip_of({str(i): b"" for i in range(20)}))
    (tmp_path / "cut.tar.gz").write_bytes(tar_of({"a": CONTENT})[:1000])
    (tmp_path / "page.zip").write_bytes(b"<html>moved</html>")
    for file in ("link.tar.gz", "bomb.zip", "many.zip", "cut.tar.gz", "page.zip"):
        with pytest.raises(DataError, match=re.escape(file)):
            unpack(tmp_path / file, tmp_path / "out", max_bytes=1_000_000, max_files=10)


def test_the_list_names_every_data_set_and_how_to_train_on_it() -> None:
    said = CliRunner().invoke(data, ["list"]).output
    for name, recipe in RECIPES.items():
        assert f"{name}: " in said
        assert recipe.train.replace("DATA", name) in said
