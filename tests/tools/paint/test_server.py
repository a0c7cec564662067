"""The server as programs and hostile clients meet it, over real connections."""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image
from translatekit_tools.paint.batching import Batcher
from translatekit_tools.paint.describe import PAGE_FILES
from translatekit_tools.paint.guard import PROTECTED
from translatekit_tools.paint.models import LoadedModel
from translatekit_tools.paint.options import PaintOptions
from translatekit_tools.paint.server import Limits, choose_token, describe_served, listen, make_app

from tests.tools.paint.serving import PALETTE, Flat, Negative, served, until
from tests.tools.test_run import save
from translatekit.errors import DataError, ModelFileError, OptionError
from translatekit.image_spec import GRAY
from translatekit.options import check_options


def picture(size: tuple[int, int] = (64, 64), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def decoded(response: httpx.Response) -> np.ndarray:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(response.content)))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(limits=Limits(pixels=300_000, bytes=1_000_000)) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as each:
        yield each
        assert each.get("/health").json()["status"] == "ok"  # it lives on, whatever came


def test_an_image_comes_back_translated_at_its_own_size(client: httpx.Client) -> None:
    for size in ((64, 64), (50, 33), (1, 1)):
        pixels = picture(size)
        response = client.post("/translate", content=encoded(pixels))
        np.testing.assert_array_equal(decoded(response), 255 - pixels)
        assert {part.partition(";")[0] for part in response.headers["server-timing"].split(", ")} == {
            "decode",
            "wait",
            "model",
            "encode",
        }


def test_a_form_does_as_well(client: httpx.Client) -> None:
    pixels = picture()
    files = {"image": ("a.png", encoded(pixels), "image/png")}
    np.testing.assert_array_equal(
        decoded(client.post("/translate", files=files, data={"x": "y"})), 255 - pixels
    )
    answer = client.post("/translate", data={"image": "no file"}, files={})
    assert (answer.status_code, client.post("/translate", files={"a": ("a.png", b"")}).status_code) == (
        422,
        422,
    )


def test_alpha_is_carried_and_gray_becomes_what_the_model_takes(client: httpx.Client) -> None:
    rgba = np.dstack([picture(), np.full((64, 64), 77, np.uint8)])
    output = decoded(client.post("/translate", content=encoded(rgba)))
    np.testing.assert_array_equal(output[:, :, 3], 77)
    np.testing.assert_array_equal(output[:, :, :3], 255 - rgba[:, :, :3])
    gray = picture()[:, :, 0]
    output = decoded(client.post("/translate", content=encoded(gray)))
    np.testing.assert_array_equal(output, 255 - np.dstack([gray] * 3))
    with served(Negative(input=GRAY, output=GRAY)) as address:
        output = decoded(httpx.post(f"{address}/translate", content=encoded(gray)))
        np.testing.assert_array_equal(output, 255 - gray)


def test_real_images_of_every_kind(url: str, data_dir: Path) -> None:
    with served(limits=Limits(pixels=10_000_000)) as address, httpx.Client(timeout=60) as client:
        for path in sorted((data_dir / "images").iterdir()):
            response = client.post(f"{address}/translate", content=path.read_bytes())
            assert decoded(response).size, path.name


def test_hostile_images_are_refused_and_the_server_lives_on(client: httpx.Client, data_dir: Path) -> None:
    refused = 0
    for path in sorted((data_dir / "hostile_images").iterdir()):
        response = client.post("/translate", content=path.read_bytes())
        assert response.status_code == 200 or 400 <= response.status_code < 500, path.name
        if response.status_code != 200:
            refused += 1
            error = response.json()["error"]
            assert error.count("\n") == 0
            assert "Traceback" not in error
            assert "/" not in error.replace("image/", ""), error  # no path of this machine
    assert refused >= 5
    np.testing.assert_array_equal(
        decoded(client.post("/translate", content=encoded(picture()))), 255 - picture()
    )


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 422, "it is empty"),
        (b"hello", 422, "it is no image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "it is no image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 422, "it is no image"),
        (encoded(np.zeros((600, 600, 3), np.uint8)), 413, "600x600 pixels"),
        (encoded(np.zeros((1, 300_001, 3), np.uint8)), 413, "300001x1 pixels"),
        (b"\0" * 1_000_001, 413, "1,000,000 bytes"),
    ],
)
def test_what_is_too_large_or_no_image_is_refused_in_a_sentence(
    client: httpx.Client, content: bytes, status: int, message: str
) -> None:
    response = client.post("/translate", content=content)
    assert response.status_code == status
    assert message in response.json()["error"]


def test_a_body_without_a_length_is_counted_too(client: httpx.Client) -> None:
    chunks = (bytes(100_000) for _ in range(50))
    with contextlib.suppress(httpx.WriteError, httpx.ReadError):  # it need not read on once it has refused
        assert client.post("/translate", content=chunks).status_code == 413
    lying = client.build_request("POST", "/translate", content=b"", headers={"content-length": "many"})
    with pytest.raises(httpx.HTTPError):
        client.send(lying).raise_for_status()


def test_an_upload_that_never_ends_is_given_up() -> None:
    with served(limits=Limits(seconds=2, waiting=1)) as address:
        where = urlsplit(address)
        with socket.create_connection((where.hostname, where.port)) as connection:
            connection.sendall(b"POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nab")
            assert b" 408 " in connection.recv(4096)
        np.testing.assert_array_equal(
            decoded(httpx.post(f"{address}/translate", content=encoded(picture()))), 255 - picture()
        )


def test_a_full_queue_says_when_to_come_again() -> None:
    model = Negative()
    model.gate.clear()
    with served(model, limits=Limits(waiting=2), max_batch=1) as address:
        body = encoded(picture())
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            taken = [pool.submit(httpx.post, f"{address}/translate", content=body, timeout=60) for _ in "ab"]
            until(lambda: httpx.get(f"{address}/health").json()["waiting"] == 2, "two requests wait")
            refused = httpx.post(f"{address}/translate", content=body)
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
            assert "try again" in refused.json()["error"]
            model.gate.set()
            assert [answer.result().status_code for answer in taken] == [200, 200]
        assert httpx.post(f"{address}/translate", content=body).status_code == 200


def test_a_client_that_leaves_is_not_translated_for() -> None:
    model = Negative()
    model.gate.clear()
    with served(model, max_batch=1) as address:
        body = encoded(picture())

        def waiting(number: int) -> bool:
            return bool(httpx.get(f"{address}/health").json()["waiting"] == number)

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            first = pool.submit(httpx.post, f"{address}/translate", content=body, timeout=60)
            until(lambda: len(model.batches) == 1, "the first is being translated")
            where = urlsplit(address)
            leaving = [socket.create_connection((where.hostname, where.port)) for _ in range(3)]
            for connection in leaving:
                head = f"POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body)
            until(lambda: waiting(4), "three more wait")
            for connection in leaving:
                connection.close()
            until(lambda: waiting(1), "the three are gone")
            model.gate.set()
            assert first.result().status_code == 200
        assert httpx.post(f"{address}/translate", content=body).status_code == 200
        assert len(model.batches) == 2
        assert httpx.get(f"{address}/health").json() == {"status": "ok", "waiting": 0, "translated": 2}


class Broken(Negative):
    def __call__(self, batch: np.ndarray) -> np.ndarray:
        if batch.max() == 0:
            raise DataError("the image is black: take another")
        if batch.min() == 255:
            raise ZeroDivisionError
        return super().__call__(batch)


def test_a_model_that_fails_at_an_image_serves_the_next() -> None:
    with served(Broken()) as address:
        answer = httpx.post(f"{address}/translate", content=encoded(np.zeros((64, 64, 3), np.uint8)))
        assert (answer.status_code, answer.json()["error"]) == (422, "the image is black: take another")
        answer = httpx.post(f"{address}/translate", content=encoded(np.full((64, 64, 3), 255, np.uint8)))
        assert (answer.status_code, "error" in answer.json()) == (500, True)
        assert httpx.post(f"{address}/translate", content=encoded(picture())).status_code == 200


def test_model_tells_what_the_page_needs_and_no_path(client: httpx.Client) -> None:
    model = client.get("/model").json()
    assert (model["name"], model["size"], model["mode"]) == ("test-model", 64, "paint")
    assert model["palette"] == PALETTE
    assert model["limits"] == {"bytes": 1_000_000, "pixels": 300_000}
    assert "/" not in client.get("/model").text
    with served(Negative(data={}), palette=None) as address:
        model = httpx.get(f"{address}/model").json()
        assert (model["mode"], model["palette_known"]) == ("photo", False)
        assert len(model["palette"]) > 5


def test_examples_are_counted_through_and_surprises_made_of_them() -> None:
    with served(examples=Flat((1, 2, 3), (4, 5, 6))) as address:
        for number, color in ((0, (1, 2, 3)), (1, (4, 5, 6)), (2, (1, 2, 3)), (-1, (4, 5, 6))):
            assert (decoded(httpx.get(f"{address}/example?number={number}")) == color).all()
        surprise = decoded(httpx.get(f"{address}/example?surprise=7"))
        assert (surprise[:, :32] == (1, 2, 3)).all()
        assert (surprise[:, 32:] == (4, 5, 6)).all()
        answer = httpx.get(f"{address}/example?number=one")
        assert (answer.status_code, "whole number" in answer.json()["error"]) == (422, True)


def test_where_there_are_no_examples_the_answer_is_empty(client: httpx.Client) -> None:
    answer = client.get("/example")
    assert (answer.status_code, answer.content) == (204, b"")


def test_each_direction_has_its_model_which_is_opened_when_it_is_asked_for() -> None:
    opened = []

    def back() -> LoadedModel:
        opened.append("BtoA")
        batcher = Batcher(lambda: Negative(size=32, direction="BtoA"))
        return LoadedModel(
            batcher=batcher, description=describe_served(batcher, "back", PALETTE, "auto", Limits())
        )

    with served(openers={"BtoA": back}) as address:
        assert httpx.get(f"{address}/model").json()["directions"] == ["AtoB", "BtoA"]
        assert opened == []
        for _ in range(2):
            assert httpx.get(f"{address}/model?direction=BtoA").json()["name"] == "back"
        image = encoded(picture())
        answer = httpx.post(f"{address}/translate?direction=BtoA", content=image)
        np.testing.assert_array_equal(decoded(answer), 255 - picture())
        assert opened == ["BtoA"]
        for path in ("model", "example"):
            refused = httpx.get(f"{address}/{path}?direction=up")
            assert (refused.status_code, "AtoB, BtoA" in refused.json()["error"]) == (404, True)


def test_a_direction_that_cannot_be_opened_is_said_and_the_other_goes_on() -> None:
    def broken() -> LoadedModel:
        raise ModelFileError("the model file is damaged: train it again")

    with served(openers={"BtoA": broken}) as address:
        refused = httpx.get(f"{address}/model?direction=BtoA")
        assert (refused.status_code, refused.json()["error"]) == (
            422,
            "the model file is damaged: train it again",
        )
        assert httpx.post(f"{address}/translate", content=encoded(picture())).status_code == 200


# --- what can be read through it --------------------------------------------------------------------------------


def test_the_page_is_served_whole_and_asks_for_nothing_from_elsewhere(client: httpx.Client) -> None:
    for name, kind in PAGE_FILES.items():
        response = client.get("/" if name == "index.html" else f"/{name}")
        assert response.headers["content-type"] == kind
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in response.headers["content-security-policy"]
        text = response.text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text
        assert "//cdn" not in text


@pytest.mark.parametrize(
    "path",
    [
        "/server.py",
        "/../server.py",
        "/..%2fserver.py",
        "/%2e%2e/%2e%2e/plugin.py",
        "//etc/passwd",
        "/page/app.js",
        "/app.js/",
        "/app.js%00.png",
        "/etc/passwd",
        "/file:///etc/passwd",
        "/..\\server.py",
        "/index.html",
        "/.git/config",
    ],
)
def test_no_other_file_can_be_read(url: str, client: httpx.Client, path: str) -> None:
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port)) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    status = int(answer.split(b" ", 2)[1])
    assert status == 307 or 400 <= status < 500
    assert b"import" not in answer
    assert b"root:" not in answer


def test_other_methods_are_refused(client: httpx.Client) -> None:
    assert client.get("/translate").status_code == 405
    assert client.request("OPTIONS", "/translate").status_code == 405
    assert client.put("/model").status_code == 405
    assert "access-control-allow-origin" not in client.get("/model").headers


# --- who may drive it -------------------------------------------------------------------------------------------


def ask(client: httpx.Client, path: str = "/model", **headers: str) -> int:
    method = "POST" if path == "/translate" else "GET"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = encoded(picture()) if method == "POST" else None
    return client.request(method, path, headers=named, content=body).status_code


@pytest.mark.parametrize("path", ["/model", "/translate", "/health", "/"])
def test_another_origin_is_refused(client: httpx.Client, path: str) -> None:
    own = str(client.base_url).rstrip("/")
    assert ask(client, path, origin=own, sec_fetch_site="same-origin") == 200
    assert ask(client, path) == 200  # no browser
    assert ask(client, path, origin="https://evil.example") == 403
    assert ask(client, path, origin="null") == 403
    assert ask(client, path, origin="http://localhost:1") == 403
    assert ask(client, path, sec_fetch_site="cross-site") == 403
    assert ask(client, path, sec_fetch_site="same-site") == 403


def test_a_link_to_the_page_may_be_followed_and_nothing_else(client: httpx.Client) -> None:
    headers = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert ask(client, "/", sec_fetch_dest="document", **headers) == 200
    assert ask(client, "/", sec_fetch_dest="iframe", **headers) == 403
    assert ask(client, "/model", sec_fetch_dest="document", **headers) == 403
    assert ask(client, "/translate", sec_fetch_dest="document", **headers) == 403


@pytest.mark.parametrize("path", ["/model", "/translate", "/health", "/"])
def test_a_name_that_was_made_to_lead_here_is_refused(client: httpx.Client, path: str) -> None:
    port = client.base_url.port
    for name in ("localhost", "LOCALHOST", "127.0.0.1", "[::1]"):
        assert ask(client, path, host=f"{name}:{port}") == 200
    for name in (
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "[",
        "",
    ):
        assert ask(client, path, host=f"{name}:{port}") == 403
    evil = f"http://evil.example:{port}"
    assert ask(client, path, host=f"evil.example:{port}", origin=evil, sec_fetch_site="same-origin") == 403


def test_with_a_token_only_its_holder_gets_at_the_model() -> None:
    with served(hosts=None, token="secret") as address, httpx.Client(base_url=address) as client:
        page = {"/health", "/", *(f"/{name}" for name in PAGE_FILES)}
        held = {route.path for route in make_app(None).routes} - page  # type: ignore[arg-type, attr-defined]
        assert held == PROTECTED
        for path in held:
            assert ask(client, path) == 401
            assert ask(client, path, authorization="Bearer wrong") == 401
            assert ask(client, path, authorization="secret") == 401
            assert ask(client, f"{path}?token=secret") in (401, 405)
            for host in ({}, {"host": "any.example"}):
                assert ask(client, path, authorization="Bearer secret", **host) not in (401, 403)
            assert ask(client, path, authorization="Bearer secret", origin="https://evil.example") == 403
        assert ask(client, "/") == 200
        assert ask(client, "/app.js") == 200


def test_the_terminal_is_spared_what_clients_send(tmp_path: Path) -> None:
    """The whole program: it says its address and that it stopped, whatever nonsense came in between."""
    model = save(tmp_path / "model.safetensors", size=64)
    process = subprocess.Popen(
        [sys.executable, "-m", "translatekit", "paint", str(model), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    where = urlsplit(process.stdout.readline().strip())
    bomb = encoded(np.zeros((9000, 12000), np.uint8))  # Pillow warns of so many pixels
    upload = b"POST /translate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n"
    for sent in (
        b"\x16\x03\x01\x02\x00no HTTP\r\n\r\n",
        b"GET /model HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        upload % len(bomb) + bomb,
    ):
        with socket.create_connection((where.hostname, where.port), timeout=60) as client:
            client.sendall(sent)
            assert client.recv(1000).startswith(b"HTTP/1.1 ")
    with socket.create_connection((where.hostname, where.port)) as client:
        client.sendall(upload % 1000 + b"cut off")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(
        r"model: unet, 64 pixels, on \S+ Open this address in a browser; .*\nStopped.\n", stderr
    )


# --- addresses --------------------------------------------------------------------------------------------------


def test_a_taken_port_or_no_address_of_this_machine_is_said_in_a_sentence() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OptionError, match=rf"port {port} of 127.0.0.1 .*already in use.*--port 0"):
            listen("127.0.0.1", port)
    for host in ("192.0.2.77", "no such host", "a..b"):
        with pytest.raises(OptionError, match=r"--port|--host"):
            listen(host, 0)


# --- many at once -----------------------------------------------------------------------------------------------


def test_fifty_clients_lose_no_request() -> None:
    bodies = {seed: encoded(picture(((32, 32), (48, 32))[seed % 2], seed)) for seed in range(50)}

    def ask_three_times(seed: int) -> list[bool]:
        with httpx.Client(base_url=address, timeout=60) as client:
            pixels = picture(((32, 32), (48, 32))[seed % 2], seed)
            answers = [client.post("/translate", content=bodies[seed]) for _ in range(3)]
            return [np.array_equal(decoded(answer), 255 - pixels) for answer in answers]

    model = Negative(delay=0.005)
    with served(model, limits=Limits(waiting=64)) as address:
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            results = list(pool.map(ask_three_times, range(50)))
        assert httpx.get(f"{address}/health").json()["translated"] == 150
    assert all(all(result) for result in results)
    assert len(model.batches) < 150  # they were batched


@pytest.mark.parametrize("text", ["off", "OFF"])
def test_a_token_that_is_off_is_none(text: str) -> None:
    options = check_options(PaintOptions, {"token": text}, "paint")
    assert choose_token(PaintOptions(**options), is_local=False) is None
