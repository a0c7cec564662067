"""What fails for a moment is tried again and nothing is lost; what fails for good is one sentence with its remedy."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.stores import HOST, Proxy, ask, azure_environment, forget_stores, free_port, moto, s3_environment
from translatekit.errors import StorageError
from translatekit.storage import Sink, objects, open_sink, open_source, ranges, retries
from translatekit.storage.stores import base


@pytest.fixture
def bucket(s3: Proxy) -> Sink:
    """An empty place in S3."""
    return open_sink(f"s3://bucket/{uuid.uuid4().hex}")


@pytest.fixture(params=["s3", "az", "gs"])
def failing(request: pytest.FixtureRequest) -> tuple[Proxy, Sink]:
    """A store whose proxy may be told to fail, and an empty place in it."""
    return request.getfixturevalue(request.param), open_sink(f"{request.param}://bucket/{uuid.uuid4().hex}")


def content(number: int) -> bytes:
    return bytes((number * 31 + index) % 251 for index in range(3000 + number))


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_no_object_is_lost_where_requests_fail(
    failing: tuple[Proxy, Sink], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Busy, throttled, broken, closed and cut off: of all kinds, and of requests of all methods."""
    proxy, place = failing
    if share > 0.1:
        monkeypatch.setattr(retries, "TRIES", 12)
    proxy.share = share
    names = {f"{number % 7}/{number:03d}.png": content(number) for number in range(60)}
    with ThreadPoolExecutor(8) as pool:
        committed = list(pool.map(place.commit, names, names.values()))
        assert list(pool.map(place.read, names)) == list(names.values())
        assert list(pool.map(place.stat, names)) == committed
    assert sorted(place.list(), key=str) == sorted(committed, key=str)
    with place.open("3/003.png") as file:
        assert file.read() == names["3/003.png"]
    for name in names:
        place.delete(name)
    assert list(place.list()) == []
    assert sum(proxy.failed.values()) > (5 if share < 0.1 else 60)
    assert share < 0.1 or set(proxy.failed) == set(proxy.kinds)


def test_without_further_tries_objects_are_lost(
    s3: Proxy, bucket: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "TRIES", 1)
    s3.share = 0.3
    lost = 0
    for number in range(30):
        try:
            bucket.commit(f"{number}.png", content(number))
        except StorageError:
            lost += 1
    assert lost > 3


def test_what_is_written_in_parts_is_whole(
    failing: tuple[Proxy, Sink], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, place = failing
    monkeypatch.setattr(retries, "TRIES", 12)
    monkeypatch.setattr(objects, "SINGLE", 10_000)
    monkeypatch.setattr(base, "PART", 10_000)
    proxy.share = 0.2
    data = bytes(index % 241 for index in range(305_123))
    item = place.commit("video.mp4", io.BytesIO(data))
    assert place.read("video.mp4") == data
    assert place.stat("video.mp4") == item
    assert proxy.requests["PUT"] + proxy.requests["POST"] >= 31
    assert sum(proxy.failed.values()) > 0


def test_a_completed_upload_whose_answer_was_lost_is_no_error(
    s3: Proxy, bucket: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "SINGLE", 100)
    s3.cut_next = lambda method, path: method == "POST" and "uploadId=" in path
    item = bucket.commit("video.mp4", io.BytesIO(bytes(5000)))
    assert s3.failed == {"cut off": 1}
    assert bucket.stat("video.mp4") == item


def uploads(address: str) -> bytes:
    return ask(f"{address}/bucket?uploads")


def test_an_upload_that_cannot_be_completed_is_aborted(
    s3: Proxy, s3_server: str, bucket: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "SINGLE", 100)
    monkeypatch.setattr(base, "PART", 1000)

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 2000:
                assert b"<UploadId>" in uploads(s3_server)
                raise KeyboardInterrupt
            return super().read(size)

    with pytest.raises(KeyboardInterrupt):
        bucket.commit("video.mp4", Broken(bytes(5000)))
    assert b"<UploadId>" not in uploads(s3_server)
    assert bucket.stat("video.mp4") is None


def test_a_killed_writer_leaves_the_old_object(s3: Proxy, s3_server: str, bucket: Sink) -> None:
    """With SIGKILL in the middle of an upload in parts, and of one by a single request."""
    bucket.commit("large.bin", b"old")
    bucket.commit("small.bin", b"old")
    code = (
        "import io, os, sys\n"
        "from translatekit.storage import open_sink, objects\n"
        "from translatekit.storage.stores import base\n"
        "objects.SINGLE, base.PART = 10_000, 10_000\n"
        "class Endless(io.BytesIO):\n"
        "    def read(self, size=-1):\n"
        "        if self.tell() > 40_000:\n"
        "            print('half', flush=True)\n"
        "            import time; time.sleep(60)\n"
        "        return super().read(size)\n"
        f"open_sink({bucket.uri!r}).commit('large.bin', Endless(bytes(100_000)))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert bucket.read("large.bin") == b"old"
    assert {item.name: item.size for item in bucket.list()} == {"large.bin": 3, "small.bin": 3}


def test_a_killed_writer_leaves_no_half_file_locally(tmp_path: Path) -> None:
    place = open_sink(tmp_path)
    place.commit("a.bin", b"old")
    code = (
        "import io, time\n"
        "from translatekit.storage import open_sink\n"
        "class Slow(io.BytesIO):\n"
        "    def read(self, size=-1):\n"
        "        if self.tell():\n"
        "            print('half', flush=True)\n"
        "            time.sleep(60)\n"
        "        return super().read(1000)\n"
        f"open_sink({str(tmp_path)!r}).commit('a.bin', Slow(bytes(2000)))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert [(item.name, item.size) for item in place.list()] == [("a.bin", 3)]
    assert place.read("a.bin") == b"old"


# Sentences


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """For stores other than the shared one: they are forgotten before and after."""
    monkeypatch.setattr(retries, "DELAY", 0.002)
    forget_stores(monkeypatch)
    yield monkeypatch
    forget_stores(monkeypatch)


def set_environment(patch: pytest.MonkeyPatch, address: str, **others: str) -> None:
    for name, value in {**s3_environment(address), **others}.items():
        patch.setenv(name, value)


def test_a_server_that_is_not_there(elsewhere: pytest.MonkeyPatch) -> None:
    set_environment(elsewhere, f"http://{HOST}:{free_port()}")
    place = open_sink("s3://bucket/photos")
    for action in (
        lambda: list(place.list()),
        lambda: place.read("a.png"),
        lambda: place.stat("a.png"),
        lambda: place.open("a.png"),
        lambda: place.commit("a.png", b"x"),
        lambda: place.delete("a.png"),
        lambda: place.append_log("m.jsonl"),
    ):
        with pytest.raises(
            StorageError,
            match=r"^s3://bucket/photos\S* cannot be reached \(.*\): check the network and AWS_ENDPOINT",
        ):
            action()


def test_a_name_that_nobody_knows(elsewhere: pytest.MonkeyPatch) -> None:
    set_environment(elsewhere, "http://no-such-host.invalid")
    with pytest.raises(
        StorageError, match=r"cannot be reached \(.*\): check the network and AWS_ENDPOINT_URL"
    ):
        open_source("s3://bucket/photos").read("a.png")


def test_no_such_bucket(s3: Proxy) -> None:
    sentence = (
        r"^there is no bucket for s3://nosuch/photos(/a\.png)?: check its name, and the account or endpoint$"
    )
    place = open_sink("s3://nosuch/photos")
    with pytest.raises(StorageError, match=sentence):
        list(place.list())
    with pytest.raises(StorageError, match=sentence):
        place.read("a.png")
    with pytest.raises(StorageError, match=sentence):
        place.commit("a.png", b"x")


def test_no_credentials(elsewhere: pytest.MonkeyPatch, s3_server: str, tmp_path: Path) -> None:
    set_environment(
        elsewhere, s3_server, AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE=str(tmp_path / "none")
    )
    elsewhere.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        elsewhere.delenv(name)
    with pytest.raises(
        StorageError,
        match=r"^s3://bucket/a\.png needs credentials, and none were found: set AWS_ACCESS_KEY_ID and",
    ):
        open_source("s3://bucket/").read("a.png")


@pytest.fixture(scope="module")
def guarded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An S3 server that checks who asks; there is a bucket called ``bucket``."""
    with moto(tmp_path_factory.mktemp("guarded") / "log", INITIAL_NO_AUTH_ACTION_COUNT="1") as address:
        ask(f"{address}/bucket", "PUT")
        yield address


def test_wrong_credentials(elsewhere: pytest.MonkeyPatch, guarded_server: str) -> None:
    set_environment(elsewhere, guarded_server)
    place = open_sink("s3://bucket/photos")
    sentence = (
        r"^s3://bucket/photos\S* was refused, since the credentials are wrong \(InvalidAccessKeyId\): set A"
    )
    for action in (
        lambda: list(place.list()),
        lambda: place.read("a.png"),
        lambda: place.commit("a.png", b"x"),
        lambda: place.stat("a.png"),  # a HEAD, whose answer has no body
    ):
        with pytest.raises(StorageError, match=sentence):
            action()


class Refusing(Proxy):
    """Refuses every request that would change something, as it does those whose user may only read."""

    def refuses(self, method: str, path: str) -> bool:
        return method in ("PUT", "POST", "DELETE")


def test_a_place_that_may_only_be_read(elsewhere: pytest.MonkeyPatch, s3_server: str) -> None:
    ask(f"{s3_server}/bucket/readonly/a.png", "PUT", b"pixels")
    proxy = Refusing(s3_server)
    set_environment(elsewhere, proxy.address)
    place = open_sink("s3://bucket/readonly")
    assert place.read("a.png") == b"pixels"
    with pytest.raises(
        StorageError,
        match=r"^s3://bucket/readonly/b\.png may not be written \(AccessDenied\): check the permissions",
    ):
        place.commit("b.png", b"x")
    with pytest.raises(StorageError, match=r"a\.png may not be removed \(AccessDenied\)"):
        place.delete("a.png")
    proxy.close()


def test_a_store_that_stays_busy(s3: Proxy, bucket: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", waited.append)
    s3.share, s3.kinds = 1.0, ["busy"]
    with pytest.raises(
        StorageError, match=r"the store is too busy after 5 tries \(SlowDown\): run again later"
    ):
        bucket.read("a.png")
    assert s3.requests == {"GET": 5}
    assert len(waited) == 4
    assert all(later > 1.1 * earlier for earlier, later in pairwise(waited))


def test_what_cannot_pass_is_not_tried_again(s3: Proxy, bucket: Sink) -> None:
    with pytest.raises(StorageError, match="there is no"):
        bucket.read("none.png")
    assert s3.requests == {"GET": 1}


def test_an_object_costs_one_request(s3: Proxy, bucket: Sink) -> None:
    bucket.commit("a.png", b"x")
    assert s3.requests == {"PUT": 1}
    bucket.read("a.png")
    assert s3.requests == {"PUT": 1, "GET": 1}
    bucket.stat("a.png")
    bucket.stat("none.png")
    assert s3.requests == {"PUT": 1, "GET": 1, "HEAD": 2}


def test_a_listing_is_pages_and_starts_with_the_first(
    s3: Proxy, bucket: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("translatekit.storage.stores.s3.PAGE", 10)
    names = [f"{number:05d}.png" for number in range(25)]
    for name in names:
        bucket.commit(name, b"x")
    s3.requests.clear()
    items = bucket.list()
    assert next(items).name == names[0]
    assert s3.requests == {"GET": 1}
    assert [item.name for item in items] == names[1:]
    assert s3.requests == {"GET": 3}


def test_a_file_is_read_by_range(s3: Proxy, bucket: Sink) -> None:
    """A look at the head and the end of a file reads two blocks of it; read through, it is read once."""
    data = bytes(range(256)) * 2**16  # 16 MiB, four blocks
    bucket.commit("video.mp4", data)
    s3.requests.clear()
    with bucket.open("video.mp4") as file:
        file.read(100)
        file.seek(-100, io.SEEK_END)
        assert file.read() == data[-100:]
    assert s3.requests["HEAD"] == 1
    assert s3.requests["GET"] <= 3
    s3.requests.clear()
    with bucket.open("video.mp4") as file:
        assert file.read() == data
    assert s3.requests == {"HEAD": 1, "GET": 4}


def test_a_stop_does_not_wait_for_further_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "DELAY", 60)

    def interrupted() -> None:
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        retries.attempt(interrupted, "s3://b/a", "read", retries.Remedies("set them"))
    assert time.monotonic() - start < 5


def test_processes_forked_from_one_that_is_connected_have_connections_of_their_own(
    s3: Proxy, bucket: Sink
) -> None:
    """As a data loader's are."""
    bucket.commit("a.png", b"pixels")
    code = (
        "import multiprocessing, sys\n"
        "from translatekit.storage import open_source\n"
        f"source = open_source({bucket.uri!r})\n"
        "assert source.read('a.png') == b'pixels'\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    print(pool.map(source.read, ['a.png'] * 4))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == str([b"pixels"] * 4), result.stderr


def test_threads_share_a_place(bucket: Sink) -> None:
    barrier = threading.Barrier(8)

    def write(number: int) -> None:
        barrier.wait()
        bucket.commit(f"{number}.png", content(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert len(list(bucket.list())) == 8


def test_what_is_wrong_with_azure(
    az: Proxy, elsewhere: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for action in (
        lambda: list(open_source("az://nosuch/photos").list()),
        lambda: open_source("az://nosuch/").read("a"),
    ):
        with pytest.raises(
            StorageError, match=r"^there is no container for az://nosuch/(photos|a): check its name"
        ):
            action()
    text = azure_environment(az.address)["AZURE_STORAGE_CONNECTION_STRING"]
    for value, sentence in (
        (
            text.replace("AccountKey=E", "AccountKey=A"),
            r"^az://bucket/a\.png may not be read \(Auth.*\): .*set AZ",
        ),
        (
            "rubbish",
            r"^az:// needs an account, and the environment names none \(.*malformed\): set AZURE_STORAGE_CONN",
        ),
    ):
        forget_stores(monkeypatch)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", value)
        with pytest.raises(StorageError, match=sentence):
            open_source("az://bucket/").read("a.png")


def test_a_video_is_decoded_from_its_ranges(s3: Proxy, bucket: Sink, tmp_path: Path) -> None:
    """Also where its index lies at its end, so that it is read in several places."""
    av = pytest.importorskip("av")
    path = tmp_path / "video.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", 10)
        stream.width, stream.height, stream.bit_rate = 640, 480, 30_000_000
        for number in range(60):
            pixels = np.random.default_rng(number).integers(0, 256, (480, 640, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())
    size = path.stat().st_size
    assert size > 2 * ranges.BLOCK
    bucket.commit("video.mp4", path)
    s3.requests.clear()
    with bucket.open("video.mp4") as file, av.open(file) as container:
        assert sum(1 for _ in container.decode(video=0)) == 60
    assert s3.requests["GET"] <= 2 + size // ranges.BLOCK
    s3.requests.clear()
    with bucket.open("video.mp4") as file, av.open(file) as container:
        assert container.duration > 5_000_000  # microseconds
    assert s3.requests["GET"] <= 3
