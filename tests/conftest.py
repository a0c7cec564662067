"""What every test may use."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import programs
from tests.firefox import firefox as firefox
from tests.hub import hub as hub
from tests.hub import hub_server as hub_server
from tests.stores import az as az
from tests.stores import az_proxy as az_proxy
from tests.stores import gs as gs
from tests.stores import gs_proxy as gs_proxy
from tests.stores import s3 as s3
from tests.stores import s3_proxy as s3_proxy
from tests.stores import s3_server as s3_server

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a script: the programs that tests start and interrupt would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that start browsers and programs, which `make test-fast` leaves out.

    Of the combinations that are marked as ``matrix``, none is run unless TRANSLATEKIT_TEST_MATRIX is set.
    """
    if not os.environ.get("TRANSLATEKIT_TEST_MATRIX"):
        left_out = [item for item in items if item.get_closest_marker("matrix")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("matrix")]
    for item in items:
        if {"browser", "firefox"} & {*getattr(item, "fixturenames", ())}:
            item.add_marker("browser")
        started = {"subprocess", "run_program", "run_python"} & vars(
            getattr(item, "module", None) or item
        ).keys()
        stores = {"s3", "az", "gs", "hub"} & {*getattr(item, "fixturenames", ()), *_parameters_of(item)}
        if started or stores:
            item.add_marker("subprocess")


def _parameters_of(item: pytest.Item) -> list[str]:
    call = getattr(item, "callspec", None)
    return [] if call is None else [value for value in call.params.values() if isinstance(value, str)]


@pytest.fixture(scope="session", autouse=True)
def users_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache folder for the time of the tests, of this process and those that it starts."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSLATEKIT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def forked_programs(users_cache: Path) -> Iterator[None]:
    """Where tests share processes, as in ``make test``, programs are forked; a single file of tests starts them."""
    wanted = os.environ.get("TRANSLATEKIT_TEST_FORK", str(int("PYTEST_XDIST_WORKER" in os.environ)))
    with programs.forked() if wanted == "1" and sys.platform == "linux" else contextlib.nullcontext():
        yield


@pytest.fixture(scope="session", autouse=True)
def loggers_stay_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever is logged while testing goes to files of this session; no service is spoken to."""
    folder = tmp_path_factory.mktemp("logged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(folder / "artifacts"))  # which is ./mlruns otherwise
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        patch.setenv("TRACKIO_DIR", str(folder / "trackio"))
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, or a skip where there is none; its asyncio loop ends with the module's tests."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("there is no Chromium to look at pages with")
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    # Chromium's own software renderer as a GPU; pages use it only where they are asked to.
    flags += ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=path, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real test data, or a skip where it is not there."""
    folder = os.environ.get("TRANSLATEKIT_TEST_DATA")
    if not folder:
        pytest.skip("TRANSLATEKIT_TEST_DATA is not set")
    return Path(folder).resolve()
