"""Who may use the server: this machine's own page and programs, and whoever has the token."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
PROTECTED = frozenset({"/translate", "/model", "/example", "/open", "/shown", "/file"})
"""Paths that need the token, where there is one. The page itself holds nothing of the user's."""

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware that refuses what another web page makes a browser ask for.

    A browser tells where a request comes from (``Origin``, ``Sec-Fetch-Site``) and which name it believes to talk to
    (``Host``): a page of another origin fails by the first two, and one that had its own name resolve to this
    machine (DNS rebinding) by the last. Programs that are no browsers send no origin and are let in.

    Args:
        app: the application.
        hosts: the names this server goes by; None where a token protects it under any name.
        token: what ``Authorization: Bearer`` must hold for `PROTECTED` paths; None for no such need.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, token: str | None = None) -> None:
        self._app = app
        self._hosts = hosts
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse to."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        problem = self._problem(scope, Headers(scope=scope))
        if problem is None:
            await self._app(scope, receive, send_with_headers)
            return
        status, reason = problem
        extra = {"www-authenticate": "Bearer"} if status == 401 else None
        await JSONResponse({"error": reason}, status, extra)(scope, receive, send_with_headers)

    def _problem(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """The status and the sentence to refuse a request with, or None."""
        hosts = headers.getlist("host")
        name = _hostname(hosts[0]) if len(hosts) == 1 else None
        if name is None or (self._hosts is not None and name not in self._hosts):
            return (
                403,
                "this server does not go by that name: open the address that translatekit paint printed",
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != hosts[0].lower():
            return 403, "another web page may not use this server: open its own page"
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            # Following a link to the page is fine; anything else that another page started is not.
            followed = (
                headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
            )
            if not (followed and scope["method"] == "GET" and scope["path"] == "/"):
                return 403, "another web page may not use this server: open its own page"
        if self._token is not None and scope["path"] in PROTECTED:
            given = headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
                return (
                    401,
                    "the token is missing or wrong: open the whole address that translatekit paint printed",
                )
        return None


def _hostname(host: str) -> str | None:
    """``name:port`` without the port; None where that is no host."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
