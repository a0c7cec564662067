"""``translatekit watch``: its text, its page and its server."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from translatekit_tools.watch import page as pages_of_runs
from translatekit_tools.watch.page import check_runs, read_runs, version
from translatekit_tools.watch.server import WatchServer

from tests import pages
from translatekit.errors import OptionError, TrainingError


def make_run(folder: Path, level: float = 1.0, diversity: float = 0.8) -> Path:
    lines: list[dict[str, Any]] = []
    for step in (50, 100):
        losses = {"G_GAN": 1.0, "G_L1": 30.0 * level}
        lines.append({"kind": "train", "step": step, "epoch": 0, "losses": losses, "lr": 2e-4})
        lines.append({"kind": "samples", "step": step, "epoch": 0, "diversity": {"output": diversity}})
    lines.append(
        {"kind": "validation", "step": 100, "epoch": 0, "metrics": {"l1": 0.25 * level, "ms_ssim": 0.5}}
    )
    config = 'method = "pix2pix"\ndata = "/photos/facades"\n'
    return pages.make_run(folder, lines, samples=(50, 100), config=config, size=(16, 8))


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [make_run(tmp_path / "first"), make_run(tmp_path / "second <b>", 2.0, 0.0)]


@pytest.fixture
def server(runs: list[Path]) -> Iterator[WatchServer]:
    with WatchServer(runs) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def get(server: WatchServer, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    connection.request(
        "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, dict(response.getheaders()), content


def watch(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "translatekit", "watch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_is_logged_while_the_page_is_made_is_looked_for_again(
    runs: list[Path], server: WatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_and_log(folders: list[Path]) -> list[pages_of_runs.Run]:
        found = read_runs(folders)
        with (runs[0] / "metrics.jsonl").open("a") as log:
            log.write('{"kind": "validation", "step": 150, "epoch": 1, "metrics": {"l1": 0.2}}\n')
        return found

    monkeypatch.setattr(pages_of_runs, "read_runs", read_and_log)
    page = get(server, "/")[2].decode()
    assert version(runs).strip('"') not in page


def test_the_page_shows_all_runs_their_curves_samples_and_troubles(server: WatchServer) -> None:
    status, headers, content = get(server, "/")
    page = content.decode()
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    for text in (
        "2 runs",
        "first",
        "second &lt;b&gt;",
        "Dead generator",
        "MS-SSIM",
        "G_L1",
        "Samples of first",
    ):
        assert text in page
    assert "second <b>" not in page
    assert "/runs/1/samples/step-00000100.png" in page
    charts = [
        json.loads(part.split("</script>")[0]) for part in page.split('<script type="application/json">')[1:]
    ]
    by_curve = [chart["series"] for chart in charts if isinstance(chart, dict)]
    assert all([series["name"] for series in chart] == ["first", "second <b>"] for chart in by_curve)
    assert all([series["color"] for series in chart] == [0, 1] for chart in by_curve)


def test_samples_are_served_and_nothing_else(server: WatchServer, runs: list[Path]) -> None:
    status, headers, content = get(server, "/runs/1/samples/step-00000050.png")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert content == (runs[1] / "samples/step-00000050.png").read_bytes()
    for path in (
        "/runs/2/samples/step-00000050.png",
        "/runs/0/samples/step-00000051.png",
        "/runs/0/samples/../config.toml",
        "/runs/0/samples/..%2fconfig.toml",
        "/runs/0/config.toml",
        "//etc/passwd",
        "/etc/passwd",
        "/runs/-1/samples/step-00000050.png",
    ):
        assert get(server, path)[0] == 404, path


def test_the_fragment_changes_when_a_run_goes_on(server: WatchServer, runs: list[Path]) -> None:
    status, headers, content = get(server, "/fragment")
    assert status == 200
    assert get(server, "/fragment", If_None_Match=headers["ETag"])[0] == 304
    with (runs[0] / "metrics.jsonl").open("a") as file:
        file.write(
            json.dumps({"kind": "event", "step": 150, "epoch": 1, "text": "finished: somewhere"}) + "\n"
        )
    status, new, content = get(server, "/fragment", If_None_Match=headers["ETag"])
    assert status == 200
    assert new["ETag"] == version(runs) != headers["ETag"]
    assert b"finished: somewhere" in content


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_other_names_are_refused(server: WatchServer, host: str) -> None:
    assert get(server, "/", Host=host)[0] == 403
    assert get(server, "/fragment", Host=host)[0] == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1"])
def test_the_names_of_this_machine_are_accepted(server: WatchServer, host: str) -> None:
    assert get(server, "/", Host=host)[0] == 200


def test_only_this_machine_is_listened_to(server: WatchServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.address == f"http://127.0.0.1:{server.server_address[1]}/"


def test_a_browser_that_goes_away_in_the_middle_is_not_spoken_of(
    server: WatchServer, runs: list[Path], capfd: pytest.CaptureFixture[str]
) -> None:
    image = runs[0] / "samples/step-00000050.png"
    image.write_bytes(image.read_bytes() + bytes(8_000_000))  # more than the connection holds
    for _ in range(3):
        with socket.create_connection(server.server_address[:2]) as client:
            client.sendall(b"GET /runs/0/samples/step-00000050.png HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            client.recv(100)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert get(server, "/fragment")[0] == 200
    server.shutdown()
    assert capfd.readouterr().err == ""


def test_a_taken_port_is_said(server: WatchServer, runs: list[Path]) -> None:
    port = server.server_address[1]
    with pytest.raises(OptionError, match=f"port {port} cannot be listened on .*--port"):
        WatchServer(runs, port)


def test_once_prints_figures_and_troubles(runs: list[Path]) -> None:
    result = watch("--once", *runs)
    assert result.returncode == 0
    first, second = result.stdout.split("second <b>: ")
    assert "pix2pix on facades, step 100" in first
    assert "no trouble seen" in first
    assert "dead generator: 'output' does not change" in second


def test_once_as_json(runs: list[Path]) -> None:
    content = json.loads(watch("--once", "--json", runs[0].parent).stdout)
    assert [run["step"] for run in content["runs"]] == [100, 100]
    assert content["runs"][0]["latest"]["validation"] == {"l1": 0.25, "ms_ssim": 0.5}
    assert [len(run["troubles"]) for run in content["runs"]] == [0, 1]


def test_a_folder_of_runs_stands_for_them_and_another_is_refused(runs: list[Path], tmp_path: Path) -> None:
    assert check_runs([tmp_path]) == runs
    assert check_runs([runs[0], runs[0]]) == runs[:1]
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "missing", runs[0] / "config.toml"):
        with pytest.raises(TrainingError, match=r"not the folder of a run"):
            check_runs([path])
    result = watch(tmp_path / "missing")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr


def test_info_tells_of_troubles(tmp_path: Path) -> None:
    from tests.tools.test_run import save

    run = make_run(tmp_path / "run", diversity=0.0)
    save(run / "model.safetensors")
    command = [sys.executable, "-m", "translatekit", "info", str(run)]
    assert "dead generator" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    content = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout
    assert len(json.loads(content)["troubles"]) == 1
