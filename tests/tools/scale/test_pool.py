"""Blocks over the actors of a real cluster: each item is answered once, whatever dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from translatekit_tools.bulk.unfinished import MAX_ATTEMPTS
from translatekit_tools.scale.cluster import Cluster, Demand
from translatekit_tools.scale.nodes import same_versions
from translatekit_tools.scale.options import Workers
from translatekit_tools.scale.pool import Pool, Work

from tests.tools.scale.conftest import STORE
from tests.tools.scale.work import Answer, Sleeping
from translatekit.errors import DataError, OptionError, PluginError, TranslatekitError


def work_of(opening: Any, block: int = 8, **options: Any) -> Work[int, Answer]:
    versions, check = same_versions(["translatekit"])
    return Work(
        opening=opening,
        given_up=lambda item, attempts: (item, -attempts),
        check=check,
        distributions=versions,
        key=hash,
        block=block,
        **options,
    )


def pool_of(
    cluster: Cluster, work: Work[int, Answer], workers: str | None = "2", **options: Any
) -> Pool[int, Answer]:
    bounds = None if workers is None else Workers.parse(workers)
    options = {"demand": Demand(cpus=1, gpus=0), "timeout": 60.0, **options}
    return Pool(cluster, work, bounds, **options)


def test_each_item_is_answered_once_and_no_more_is_listed_than_there_is_room_for(cluster: Cluster) -> None:
    listed = answered = most = 0

    def listing() -> Iterator[int]:
        nonlocal listed, most
        for item in range(2000):
            listed += 1
            most = max(most, listed - answered)
            yield item

    found: Counter[int] = Counter()
    pool = pool_of(cluster, work_of(Sleeping(0.005)))
    for item, _ in pool.run(listing()):
        answered += 1
        found[item] += 1
    assert found == Counter(range(2000))
    assert most <= 8 * (32 + 2 * 2 + 2)  # what waits in the listing, two blocks a worker, and those in hand
    assert (pool.peak, pool.lost, pool.repeated) == (2, 0, 0)


def test_what_kills_its_worker_is_given_up_and_takes_no_other_along(cluster: Cluster) -> None:
    pool = pool_of(cluster, work_of(Sleeping(0.1, deadly=(13,))))
    answers = dict(pool.run(range(40)))
    assert answers.pop(13) == -MAX_ATTEMPTS
    assert sorted(answers) == [item for item in range(40) if item != 13]
    assert min(answers.values()) > 0
    assert MAX_ATTEMPTS <= pool.lost <= MAX_ATTEMPTS + 1  # it may be the other block that is suspected first


def test_of_a_worker_that_is_killed_one_block_is_done_again(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    pool = pool_of(cluster, work_of(Sleeping(0.05, log=str(log))))
    found: Counter[int] = Counter()
    for number, (item, process) in enumerate(pool.run(range(240))):
        found[item] += 1
        if number == 60:
            os.kill(process, signal.SIGKILL)
    assert found == Counter(range(240))
    assert pool.lost == 1
    assert pool.repeated <= 8
    begun = Counter(int(line.split()[1]) for line in log.read_text().splitlines())
    assert sum(begun.values()) - len(begun) <= 8


def test_it_grows_while_blocks_wait_and_lets_go_of_what_is_idle(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("translatekit_tools.scale.pool._IDLE", 1.0)
    pool = pool_of(cluster, work_of(Sleeping(0.2)), "1..3")
    free: list[float] = []

    def listing() -> Iterator[int]:
        yield from range(240)
        deadline = time.monotonic() + 120  # a busy machine starts workers slowly
        while time.monotonic() < deadline and not (free[-1:] == [2] and 0 in free):
            free.append(cluster.ray.available_resources().get("CPU", 0.0))
            time.sleep(0.2)
        yield 240

    assert len({item for item, _ in pool.run(listing())}) == 241
    assert pool.peak == 3
    assert free[-1] == 2, free  # of three workers, two are gone


def test_an_error_of_the_work_ends_it_with_its_sentence(cluster: Cluster) -> None:
    with pytest.raises(DataError, match="the disk is full: free some space"):
        list(pool_of(cluster, work_of(Sleeping(wrong=(20,)))).run(range(40)))


def test_an_error_of_the_listing_ends_it(cluster: Cluster) -> None:
    def listing() -> Iterator[int]:
        yield from range(20)
        raise DataError("the bucket cannot be listed: check its name")

    with pytest.raises(DataError, match="the bucket cannot be listed"):
        list(pool_of(cluster, work_of(Sleeping())).run(listing()))
    assert not [thread for thread in threading.enumerate() if thread.name == "listing"]


@pytest.mark.parametrize(
    ("demand", "said"),
    [
        (
            Demand(cpus=1, gpus=1),
            "1 GPU and 1 processor core.*has is 0 GPUs; lower --cpus-per-actor or --gpus",
        ),
        (
            Demand(cpus=64, gpus=0),
            "64 processor cores.*has is 3 processor cores; lower --cpus-per-actor, or add",
        ),
    ],
)
def test_a_cluster_without_room_is_refused_after_a_while(cluster: Cluster, demand: Demand, said: str) -> None:
    start = time.monotonic()
    with pytest.raises(OptionError, match=f"had no room for a worker with {said}"):
        list(pool_of(cluster, work_of(Sleeping()), None, demand=demand, timeout=1.0).run(range(4)))
    assert 1 <= time.monotonic() - start < 10


def test_workers_that_die_before_they_are_ready_are_not_started_for_ever(cluster: Cluster) -> None:
    def opening(name: str) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(OptionError, match="3 workers in a row have died before they were ready"):
        list(pool_of(cluster, work_of(opening), "1").run(range(4)))


def test_what_a_node_does_not_see_is_named(cluster: Cluster) -> None:
    work = work_of(Sleeping(), paths=["/nowhere/photos"])
    with pytest.raises(DataError, match="does not see /nowhere/photos: put it where every node does"):
        list(pool_of(cluster, work).run(range(4)))


@pytest.mark.parametrize(
    ("there", "said"),
    [("9.9", "has translatekit 9.9, and this machine translatekit"), (None, "has no translatekit")],
)
def test_a_node_with_another_version_is_refused(there: str | None, said: str) -> None:
    _, check = same_versions(["translatekit"])
    with pytest.raises(PluginError, match=f"the node gpu-7 {said}.*pip install translatekit=="):
        check({"node": "gpu-7", "versions": {"translatekit": there}, "missing": []})


@pytest.mark.slow
def test_no_worker_of_a_node_with_another_version_begins(
    nodes: Any, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "translatekit-9.9.dist-info").mkdir()
    (tmp_path / "translatekit-9.9.dist-info" / "METADATA").write_text("Name: translatekit\nVersion: 9.9\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    other = nodes.add_node(num_cpus=1, num_gpus=1)
    try:
        pool = pool_of(cluster, work_of(Sleeping()), "1", demand=Demand(cpus=1, gpus=0.5))
        with pytest.raises(TranslatekitError, match=r"has translatekit 9\.9, and this machine"):
            list(pool.run(range(4)))
    finally:
        nodes.remove_node(other)


@pytest.mark.slow
def test_a_node_that_is_lost_takes_its_blocks_elsewhere(nodes: Any, cluster: Cluster) -> None:
    other = nodes.add_node(num_cpus=2)
    found: Counter[int] = Counter()
    pool = pool_of(cluster, work_of(Sleeping(0.1)), "5")
    for number, (item, _) in enumerate(pool.run(range(400))):
        found[item] += 1
        if number == 100:
            nodes.remove_node(other, allow_graceful=False)
    assert found == Counter(range(400))
    assert 1 <= pool.lost <= 2  # one of them may not have been there yet
    assert pool.repeated <= 2 * 8


def test_what_the_store_has_no_room_for_is_an_error_with_a_remedy(cluster: Cluster) -> None:
    with pytest.raises(
        OptionError, match=r"no room .*\(Local disk is full\): free space on the disk of /tmp/ray"
    ):
        pool_of(cluster, work_of(Sleeping(log="x" * 2 * STORE)))
    assert dict(pool_of(cluster, work_of(Sleeping())).run(range(4))).keys() == {0, 1, 2, 3}


def test_rows_are_no_objects_of_the_store(nodes: Any, cluster: Cluster) -> None:
    from ray._private.internal_api import node_stats

    # Nodes that other tests removed are listed, too, for a while as alive ones, and refuse connections.
    (node,) = (node for node in cluster.ray.nodes() if node["NodeID"] == nodes.head_node.node_id)

    def used() -> int:
        stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"])
        return int(stats.store_stats.object_store_bytes_used)

    before, most = used(), 0
    for number, _ in enumerate(pool_of(cluster, work_of(Sleeping(), block=64)).run(range(4000))):
        if number % 640 == 0:
            most = max(most, used() - before)
    assert most < 1000  # the work itself; 4,000 rows would take more
