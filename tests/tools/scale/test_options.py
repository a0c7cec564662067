"""What a cluster can be told, without one."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from translatekit_tools.cli.run import run
from translatekit_tools.scale.cluster import Demand
from translatekit_tools.scale.options import ScaleOptions, Workers

from tests.tools.scale.conftest import free_port
from translatekit.errors import OptionError, PluginError


@pytest.mark.parametrize(
    ("text", "bounds"), [("4", (4, 4)), ("2..64", (2, 64)), (" 1 .. 1 ", (1, 1)), (3, (3, 3))]
)
def test_numbers_of_workers(text: object, bounds: tuple[int, int]) -> None:
    workers = Workers.parse(text)
    assert (workers.minimum, workers.maximum) == bounds
    assert Workers.parse(str(workers)) == workers


@pytest.mark.parametrize("text", ["0", "4..2", "2...4", "-1", "four", "2..", "99999"])
def test_what_is_no_number_of_workers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number of workers such as 4, or two such"):
        Workers.parse(text)


@pytest.mark.parametrize("address", ["spark", "ray://", "ray://host", "ray://host:port", "http://host:1"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(OptionError, match="--on takes ray or ray://HOST:PORT"):
        ScaleOptions(on=address)


def test_what_is_about_workers_wants_a_cluster() -> None:
    with pytest.raises(
        OptionError, match="--gpus-per-actor is about the workers of a cluster: pass --on ray"
    ):
        ScaleOptions(gpus_per_actor=0.5)


@pytest.mark.parametrize(
    ("gpus", "node", "room"),
    [
        (0.0, {"CPU": 8}, 8),
        (1.0, {"CPU": 8}, 0),
        (1.0, {"CPU": 8, "GPU": 2}, 2),
        (0.5, {"CPU": 8, "GPU": 2}, 4),
        (0.4, {"CPU": 8, "GPU": 2}, 4),  # two fifths and two fifths; the fifth that is left over is of no use
        (0.5, {"CPU": 3, "GPU": 4}, 3),
        (2.0, {"CPU": 8, "GPU": 5}, 2),
    ],
)
def test_how_many_workers_a_node_has_room_for(gpus: float, node: dict[str, float], room: int) -> None:
    assert Demand(cpus=1, gpus=gpus).workers_on(node) == room


def test_an_address_where_nothing_listens_is_refused_at_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    from translatekit_tools.scale.cluster import connected

    address = f"ray://127.0.0.1:{free_port()}"
    with pytest.raises(OptionError, match=f"nothing answers at {address}"), connected(address):
        pass


def test_without_ray_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from translatekit_tools.scale import cluster

    monkeypatch.setattr(cluster, "RAY_PACKAGES", ("no_such_ray=translatekit[ray]",))
    with (
        pytest.raises(
            PluginError,
            match=r"--on ray needs what is not installed: .*translatekit\[ray\]",
        ),
        cluster.connected("ray"),
    ):
        pass


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-", "-m", "x.onnx", "-o", "out", "--on", "ray"], "a cluster reads and writes no pipe"),
        (["a", "-m", "x.onnx", "-o", "out", "--workers", "3"], "--workers is about the workers of a cluster"),
    ],
)
def test_run_refuses_what_a_cluster_cannot(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(run, arguments)
    assert isinstance(result.exception, OptionError)
    assert said in str(result.exception)
