"""The server behind ``translatekit watch``: it shows the runs it was given to this machine, and nothing else."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from translatekit.errors import OptionError
from translatekit_tools.watch.page import fragment, read_runs, version, whole_page

_HOST = "127.0.0.1"
_NAMES = frozenset({"localhost", "127.0.0.1"})
_SAMPLE = re.compile(r"/runs/(\d{1,4})/samples/(step-\d{1,12}\.png)")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class WatchServer(ThreadingHTTPServer):
    """Serves the page of some runs on this machine's loopback address.

    Args:
        folders: of the runs.
        port: to listen on; 0 for any that is free.

    Raises:
        OptionError: the port is taken or not allowed.
    """

    daemon_threads = True

    def __init__(self, folders: Sequence[Path], port: int = 0) -> None:
        self.folders = list(folders)
        try:
            super().__init__((_HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise OptionError(
                f"port {port} cannot be listened on ({getattr(error, 'strerror', error)}): pass another --port"
            ) from None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that went away in the middle of an answer; anything else is a bug to be seen."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{_HOST}:{self.server_address[1]}/"


def serve(folders: Sequence[Path], port: int, say: Callable[[str], None]) -> None:
    """Serve until interrupted; `say` is told the address."""
    with WatchServer(folders, port) as server:
        say(server.address)
        server.serve_forever()


class _Handler(BaseHTTPRequestHandler):
    server: WatchServer
    server_version = "translatekit"
    sys_version = ""
    timeout = 30  # seconds: a client that says nothing holds no thread for ever

    def do_GET(self) -> None:
        """Answer with the page, the part of it that changes, or a sample."""
        # A page elsewhere may have its own name resolve to this machine: it then asks for that name.
        if self._host() not in _NAMES:
            self._answer(HTTPStatus.FORBIDDEN, b"open the address that translatekit watch printed\n")
            return
        folders = self.server.folders
        if self.path == "/":
            self._answer(HTTPStatus.OK, whole_page(folders).encode(), "text/html; charset=utf-8")
        elif self.path == "/fragment":
            tag = version(folders)
            if self.headers.get("If-None-Match") == tag:
                self._answer(HTTPStatus.NOT_MODIFIED)
            else:
                text = fragment(read_runs(folders))
                self._answer(HTTPStatus.OK, text.encode(), "text/html; charset=utf-8", ETag=tag)
        elif self.path == "/favicon.ico":  # browsers ask for it by themselves
            self._answer(HTTPStatus.NO_CONTENT)
        else:
            self._sample()

    def _sample(self) -> None:
        match = _SAMPLE.fullmatch(self.path)
        if match and int(match[1]) < len(self.server.folders):
            path = self.server.folders[int(match[1])] / "samples" / match[2]
            try:
                content = path.read_bytes()
            except OSError:
                content = b""
            if content:
                self._answer(HTTPStatus.OK, content, "image/png")
                return
        self._answer(HTTPStatus.NOT_FOUND, b"there is nothing here\n")

    def _host(self) -> str | None:
        hosts = self.headers.get_all("Host") or []
        return hosts[0].rpartition(":")[0] or hosts[0] if len(hosts) == 1 else None

    def _answer(
        self,
        status: HTTPStatus,
        content: bytes = b"",
        kind: str = "text/plain; charset=utf-8",
        **headers: str,
    ) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, **headers}.items():
            self.send_header(name, value)
        if status not in (HTTPStatus.NOT_MODIFIED, HTTPStatus.NO_CONTENT):
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the user's."""
