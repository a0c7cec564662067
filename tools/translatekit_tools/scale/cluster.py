"""Reaching a Ray cluster: the one that is named, configured or running here, or one of this machine alone."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from translatekit.errors import OptionError
from translatekit.requirements import of_extra, require
from translatekit_tools.scale.options import RAY

RAY_PACKAGES = of_extra("ray", "ray")

_SECONDS_TO_ANSWER = 10.0
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a worker takes of its node.

    Attributes:
        cpus: processor cores.
        gpus: GPUs; a fraction lets several share one.
    """

    cpus: float
    gpus: float

    def workers_on(self, resources: dict[str, float]) -> int:
        """How many workers there is room for on what a node has."""
        by_cpu = int(resources.get("CPU", 0.0) / self.cpus + 1e-6)
        if not self.gpus:
            return by_cpu
        gpus = resources.get("GPU", 0.0)
        # A worker with less than a whole GPU gets its share of one; one with more gets whole ones.
        by_gpu = int(gpus) * int(1 / self.gpus + 1e-6) if self.gpus <= 1 else int(gpus / self.gpus + 1e-6)
        return min(by_cpu, by_gpu)

    def __str__(self) -> str:
        """As people say it."""
        cores = f"{self.cpus:g} processor core{'' if self.cpus == 1 else 's'}"
        return f"{self.gpus:g} GPU{'' if self.gpus == 1 else 's'} and {cores}" if self.gpus else cores


class Cluster:
    """A connection to a Ray cluster.

    Attributes:
        ray: the package, which is loaded by now.
        is_local: whether the cluster is this machine alone, started for this work: it does not grow.
        name: as people call it.
    """

    def __init__(self, ray: Any, *, is_local: bool, name: str) -> None:
        self.ray, self.is_local, self.name = ray, is_local, name

    def nodes(self) -> list[dict[str, float]]:
        """What each node that is alive has in all, by resource."""
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def room(self, demand: Demand) -> int:
        """How many such workers the nodes hold in all."""
        return sum(map(demand.workers_on, self.nodes()))

    def has_gpus(self) -> bool:
        """Whether any node has one."""
        return any(node.get("GPU", 0) > 0 for node in self.nodes())

    def describe(self, demand: Demand) -> str:
        """What the largest node has of what a worker wants, for an error's sentence."""
        nodes = self.nodes()
        if demand.gpus:
            largest = max((node.get("GPU", 0.0) for node in nodes), default=0.0)
            if largest < demand.gpus:
                return f"the most that one of its {len(nodes)} nodes has is {largest:g} GPUs"
        largest = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
        return f"the most that one of its {len(nodes)} nodes has is {largest:g} processor cores"


@contextlib.contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """A cluster, as `ScaleOptions.on` names it; a connection that is there already is used and left open.

    Raises:
        PluginError: Ray is not installed.
        OptionError: nothing answers at the address, or what does is another version of Ray or Python.
    """
    require(f"--on {RAY}", RAY_PACKAGES)
    os.environ.setdefault(
        "RAY_USAGE_STATS_ENABLED", "0"
    )  # a tool reports nobody's use without being asked to
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address != RAY:
        _see_that_it_answers(address)
        _use_token()
    import ray

    if ray.is_initialized():
        yield Cluster(ray, is_local=False, name="the cluster")
        return
    with _same_signal_handlers():
        cluster = _connect(ray, address)
    _silence(ray)
    try:
        yield cluster
    finally:
        with _same_signal_handlers():
            ray.shutdown()


def _connect(ray: Any, address: str) -> Cluster:
    quiet = {"log_to_driver": False, "logging_level": "CRITICAL"}
    if address != RAY:
        return _named(ray, address, address, quiet)
    configured = os.environ.get("RAY_ADDRESS")
    if configured and configured != "local":
        if configured.startswith("ray://"):
            _see_that_it_answers(configured)
        return _named(ray, configured, f"{configured}, which RAY_ADDRESS names,", quiet)
    if not configured:
        with contextlib.suppress(ConnectionError):
            ray.init(address="auto", **quiet)
            return Cluster(ray, is_local=False, name="the cluster that runs on this machine")
    try:
        ray.init(address="local", include_dashboard=False, **quiet)
    except Exception as error:
        raise OptionError(
            f"Ray could not be started on this machine ({_first_line(error)}): see its logs in /tmp/ray"
        ) from None
    return Cluster(ray, is_local=True, name="this machine")


def _named(ray: Any, address: str, name: str, quiet: dict[str, Any]) -> Cluster:
    try:
        ray.init(address=address, **quiet)
    except Exception as error:  # Ray raises ConnectionError, RuntimeError and more
        raise OptionError(
            f"the Ray cluster at {name} cannot be used ({_first_line(error)}): check the address, that Ray and Python "
            "are of the same versions there, and that RAY_AUTH_TOKEN or ~/.ray/auth_token holds its token, where it "
            "has one"
        ) from None
    return Cluster(ray, is_local=False, name=address)


def _use_token() -> None:
    """Send the token that there is: Ray's client does so only when it is told to, and a cluster may want it."""
    given = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    with contextlib.suppress(OSError, RuntimeError):
        given = given or (Path.home() / ".ray" / "auth_token").is_file()
    if given:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _see_that_it_answers(address: str) -> None:
    """Refuse an address where nothing listens at once: Ray itself tries for half a minute.

    Raises:
        OptionError: nothing does.
    """
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), _SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise OptionError(
            f"nothing answers at {address} ({error.strerror or error}): check the address, and that the head node was "
            "started with ray start --head --ray-client-server-port"
        ) from None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return " ".join((lines[0] if lines else type(error).__name__).split()).rstrip(".:")[:300]


@contextlib.contextmanager
def _same_signal_handlers() -> Iterator[None]:
    """Ray replaces the handler of SIGTERM, with which a command ends well."""
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # not the main thread
            for number, handler in before.items():
                if handler is not None:
                    signal.signal(number, handler)


def _silence(ray: Any) -> None:
    """Keep Ray from writing the state of a process that ended into the terminal.

    There is no setting for it. What matters comes as an error of what that process was given to do.
    """
    with contextlib.suppress(AttributeError):
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
