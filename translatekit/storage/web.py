"""One file at a web address, which is only read."""

from __future__ import annotations

import http.client
import io
import urllib.request
from collections.abc import Iterator
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from translatekit.errors import StorageError
from translatekit.storage.places import Item, Source
from translatekit.storage.ranges import RangeFile
from translatekit.storage.retries import Remedies, ShortReadError, attempt
from translatekit.storage.uris import shown
from translatekit.version import __version__

_TIMEOUT = 30.0  # seconds without a byte
_REMEDIES = Remedies(credentials="take an address that is signed, or download the file", bucket="server")


class WebFile(Source):
    """One file, called by the last part of its address.

    Args:
        uri: begins with ``https://`` or ``http://``; what follows a ``?`` is asked with and never shown.

    Attributes:
        name: the last part of its address.
    """

    def __init__(self, uri: str) -> None:
        self.uri = shown(uri)
        self._uri = uri
        self.name = unquote(urlsplit(uri).path.rpartition("/")[2])

    def uri_of(self, item: Item | str) -> str:
        """The file's address."""
        return self.uri

    def list(self, prefix: str = "") -> Iterator[Item]:
        """The file.

        Raises:
            StorageError: it is not there, or the address is a folder's, which nothing lists.
        """
        if not self.name:
            raise StorageError(
                f"{self.uri} names no file, and what is below it cannot be listed: name one file"
            )
        item = self.stat(self.name)
        if item is None:
            raise StorageError(f"there is no {self.uri}: check the address")
        if item.name.startswith(prefix):
            yield item

    def read(self, name: str) -> bytes:
        """All bytes, by one request."""
        self._check(name)
        return self.get(name)

    def open(self, name: str) -> BinaryIO:
        """The file, read by range where the server does that, and else whole."""
        self._check(name)
        size, ranges = attempt(self._look, self.uri, "read", _REMEDIES)[1:]
        if size is None or not ranges:
            return io.BytesIO(self.read(name))
        return cast("BinaryIO", io.BufferedReader(RangeFile(self, name, size), 2**16))

    def stat(self, name: str) -> Item | None:
        """Size and entity tag, by one request."""
        if name != self.name:
            return None
        try:
            stamp, size, _ = attempt(self._look, self.uri, "read", _REMEDIES)
        except StorageError as error:
            if getattr(error.__cause__, "code", None) in (404, 410):
                return None
            raise
        return Item(name, size, stamp)

    def get(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes, or those from `start` to before `end`."""

        def call() -> bytes:
            headers = {} if start is None or end is None else {"Range": f"bytes={start}-{end - 1}"}
            with self._ask("GET", headers) as response:
                data: bytes = response.read()
                expected = (
                    response.headers.get("Content-Length") if not headers else (end or 0) - (start or 0)
                )
            if expected is not None and len(data) != int(expected):
                raise ShortReadError(f"{len(data)} bytes came instead of {expected}")
            return data

        return attempt(call, self.uri, "read", _REMEDIES)

    def _look(self) -> tuple[str, int | None, bool]:
        """Stamp, size, and whether ranges can be read."""
        with self._ask("HEAD", {}) as response:
            headers = response.headers
            length = headers.get("Content-Length")
            stamp = (headers.get("ETag") or headers.get("Last-Modified") or "").strip('"')
            return stamp, int(length) if length else None, headers.get("Accept-Ranges") == "bytes"

    def _ask(self, method: str, headers: dict[str, str]) -> Any:
        parts = urlsplit(self._uri)
        headers = {"User-Agent": f"translatekit/{__version__}", "Accept-Encoding": "identity", **headers}
        url = self._uri
        if "@" in parts.netloc:
            import base64

            user = unquote(parts.netloc.rpartition("@")[0])
            headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
            url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        try:
            return urllib.request.urlopen(
                urllib.request.Request(url, headers=headers, method=method), timeout=_TIMEOUT
            )
        except (http.client.InvalidURL, ValueError) as error:
            raise StorageError(f"{self.uri} is no web address ({error}): check it") from None

    def _check(self, name: str) -> None:
        if name != self.name:
            raise StorageError(f"there is no {name} at {self.uri}, which is one file: check the address")
