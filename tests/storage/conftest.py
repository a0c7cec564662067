"""Servers of the stores, started once, and places in them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.servers import Proxy, ask, moto
from translatekit.storage import Sink, open_sink, retries


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server with a bucket called ``bucket``, which takes any credentials."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    with moto(tmp_path_factory.mktemp("moto") / "log") as address:
        ask(f"{address}/bucket", "PUT")
        yield address


@pytest.fixture(scope="session")
def s3_proxy(s3_server: str) -> Iterator[Proxy]:
    """A proxy before the S3 server: one address, so that connections are made once."""
    proxy = Proxy(s3_server)
    yield proxy
    proxy.close()


@pytest.fixture
def s3(s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy through which ``s3://`` goes; it fails nothing until it is told to."""
    for name, value in s3_environment(s3_proxy.address).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(retries, "DELAY", 0.002)
    s3_proxy.failed.clear()
    s3_proxy.requests.clear()
    yield s3_proxy
    s3_proxy.share = 0.0


def s3_environment(address: str) -> dict[str, str]:
    """The variables that let ``s3://`` be a server's."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture(params=["local", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Sink:
    """An empty place of each kind."""
    if request.param == "local":
        return open_sink(tmp_path / "place")
    if request.param == "memory":
        pytest.importorskip("fsspec")
    else:
        request.getfixturevalue(request.param)
    return open_sink(f"{request.param}://bucket/{uuid.uuid4().hex}")
