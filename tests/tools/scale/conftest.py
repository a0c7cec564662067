"""One Ray cluster for all tests that want a real one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from translatekit_tools.scale.cluster import Cluster, connected

ROOT = Path(__file__).parents[3]
CORES = 3
STORE = 100 * 2**20
"""Bytes of its object store; Ray wants 75 MiB."""


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A cluster of one node, which others may be added to; ``RAY_ADDRESS`` names it. Its workers can import tests.

    Its object store is small, and its disk counts as full: nothing is moved there. What is done here must not need it.
    """
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")  # a token would be one of the user who runs the tests
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))))
        from ray.cluster_utils import Cluster as Nodes

        head = {
            **{"num_cpus": CORES, "include_dashboard": False, "ray_client_server_port": free_port()},
            "object_store_memory": STORE,
            "_system_config": {"local_fs_capacity_threshold": 0.001},  # the disk counts as full
        }
        started = Nodes(initialize_head=True, head_node_args=head)
        patch.setenv("RAY_ADDRESS", started.address)
        patch.setenv("CLIENT", f"ray://127.0.0.1:{head['ray_client_server_port']}")
        yield started
        import ray

        ray.shutdown()
        started.shutdown()


@pytest.fixture
def cluster(nodes: Any) -> Iterator[Cluster]:
    """A connection to it."""
    with connected("ray") as found:
        yield found


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
