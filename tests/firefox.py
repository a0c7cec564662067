"""Firefox, driven by WebDriver BiDi: the protocol that it speaks itself, without a driver between.

Playwright's Firefox is a build of its own, which no package registry has; this one is the users'.
https://w3c.github.io/webdriver-bidi/
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 90.0
"""Seconds, of which a busy machine needs many to start a browser."""

PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.aboutwelcome.enabled": False,
    "browser.download.folderList": 2,
    "browser.download.useDownloadDir": True,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}

KEYS = {"Control": "\ue009", "Shift": "\ue008", "Escape": "\ue00c", "Enter": "\ue007"}


class Page:
    """One tab: what it is told to do, and what it says, asks for and saves meanwhile.

    Attributes:
        errors: what the console was told as an error, and exceptions that nobody caught.
        asked: addresses that were requested, in order.
        downloads: the folder that files are saved to.
    """

    def __init__(self, socket: Any, downloads: Path) -> None:
        """Take over the tab that is open.

        Args:
            socket: a connection to the browser.
            downloads: the folder that files are saved to.
        """
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.downloads = downloads
        self._socket, self._numbers = socket, itertools.count(1)
        # A dialog that asks for a file is closed at once: `choose` gives the file itself.
        self.send(
            "session.new", {"capabilities": {"alwaysMatch": {"unhandledPromptBehavior": {"file": "dismiss"}}}}
        )
        self._context = self.send("browsingContext.getTree", {})["contexts"][0]["context"]
        self.send("session.subscribe", {"events": ["log.entryAdded", "network.beforeRequestSent"]})

    def send(self, method: str, params: dict[str, Any]) -> Any:
        """Give a command and wait for its answer; events that come meanwhile are kept."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv(timeout=PATIENCE))
            if answer.get("type") == "event":
                self._keep(answer["method"], answer["params"])
            elif answer.get("id") == number:
                assert answer["type"] == "success", f"{method}: {answer.get('message')}"
                return answer["result"]

    def _keep(self, method: str, event: dict[str, Any]) -> None:
        if method == "log.entryAdded" and event["level"] == "error":
            self.errors.append(str(event["text"]))
        elif method == "network.beforeRequestSent" and event["context"] in (self._context, None):
            self.asked.append(event["request"]["url"])

    def goto(self, address: str) -> None:
        """Open an address, whose page may load another at once."""
        self.send("browsingContext.navigate", {"context": self._context, "url": address, "wait": "none"})

    def evaluate(self, expression: str) -> Any:
        """What an expression comes to, as JSON has it."""
        given = {
            "expression": f"Promise.resolve({expression}).then((value) => JSON.stringify(value ?? null))",
            "target": {"context": self._context},
            "awaitPromise": True,
        }
        answer = self.send("script.evaluate", given)
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return json.loads(answer["result"]["value"])

    def wait_for(self, expression: str) -> None:
        """Ask until an expression holds; a page that is being loaded holds nothing."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(AssertionError):
                if self.evaluate(expression):
                    return
            time.sleep(0.1)
        raise AssertionError(f"{expression} did not come to hold; errors: {self.errors}")

    def press(self, *keys: str) -> None:
        """Press keys together, such as Control and s."""
        values = [KEYS.get(key, key) for key in keys]
        downs = [{"type": "keyDown", "value": value} for value in values]
        ups = [{"type": "keyUp", "value": value} for value in reversed(values)]
        self._act({"type": "key", "id": "keys", "actions": [*downs, *ups]})

    def drag(self, selector: str, *points: tuple[float, float]) -> None:
        """Move a mouse over an element with its button held.

        Args:
            selector: of the element.
            points: shares of its width and height.
        """
        box = self.evaluate(f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()")
        moves = [
            {
                "type": "pointerMove",
                "x": round(box["x"] + across * box["width"]),
                "y": round(box["y"] + down * box["height"]),
            }
            for across, down in points
        ]
        held = [
            moves[0],
            {"type": "pointerDown", "button": 0},
            *moves[1:],
            {"type": "pointerUp", "button": 0},
        ]
        self._act({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": held})

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        self.drag(selector, (0.5, 0.5))

    def choose(self, button: str, file: Path) -> None:
        """Click a button that asks for a file, and choose one."""
        self.click(button)
        given = {"context": self._context, "locator": {"type": "css", "value": "input[type=file]"}}
        (node,) = self.send("browsingContext.locateNodes", given)["nodes"]
        element = {"sharedId": node["sharedId"]}
        self.send("input.setFiles", {"context": self._context, "element": element, "files": [str(file)]})

    def saved(self, name: str) -> bytes:
        """A file that the page saves, when it is whole."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            path, part = self.downloads / name, self.downloads / f"{name}.part"
            if path.is_file() and path.stat().st_size and not part.exists():
                return path.read_bytes()
            time.sleep(0.1)
        raise AssertionError(
            f"{name} was not saved; there is {[each.name for each in self.downloads.iterdir()]}"
        )

    def _act(self, source: dict[str, Any]) -> None:
        self.send("input.performActions", {"context": self._context, "actions": [source]})


@contextlib.contextmanager
def started() -> Iterator[Page]:
    """Firefox without a screen and with a profile of its own, or a skip where there is none."""
    client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed")
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("there is no Firefox to look at pages with")
    with tempfile.TemporaryDirectory(prefix="translatekit-", ignore_cleanup_errors=True) as name:
        profile, downloads = Path(name) / "profile", Path(name) / "downloads"
        profile.mkdir()
        downloads.mkdir()
        settings = {**PREFERENCES, "browser.download.dir": str(downloads)}
        lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});" for key, value in settings.items()]
        (profile / "user.js").write_text("\n".join(lines))
        process = subprocess.Popen(
            [program, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with client.connect(
                f"{_address(profile)}/session", max_size=None, open_timeout=PATIENCE
            ) as socket:
                yield Page(socket, downloads)
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(profile: Path) -> str:
    """Where the browser listens, which it writes into its profile."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError, KeyError):
            told = json.loads((profile / "WebDriverBiDiServer.json").read_text())
            return f"ws://{told['ws_host']}:{told['ws_port']}"
        time.sleep(0.1)
    raise AssertionError("Firefox did not start")


@pytest.fixture(scope="module")
def firefox() -> Iterator[Page]:
    """A tab of a headless Firefox, or a skip where there is none."""
    with started() as page:
        yield page
