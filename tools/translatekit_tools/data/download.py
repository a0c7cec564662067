"""Downloads that go on where they stopped, are checked, and appear under their name only when they are whole."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from translatekit import __version__
from translatekit.errors import DataError, OptionError
from translatekit.storage import hash_file

Progress = Callable[[int, int | None], None]
"""Is told how many bytes are there, of how many, where the server says so."""

_CHUNK = 1 << 18
_TIMEOUT = 30.0  # seconds without a byte
_TRIES = 5  # in a row that bring nothing new
_RECORD = ".checksum.json"  # added to the file's name


class DownloadError(DataError):
    """A file cannot be downloaded, or is not what it should be."""


def download(
    url: str,
    path: Path,
    *,
    md5: str | None = None,
    sha512: str | None = None,
    trust: bool = False,
    progress: Progress | None = None,
    pause: float = 1.0,
    elsewhere: str = "--url",
) -> Path:
    """Download a file, unless it is there already.

    What an interrupted download has left is completed by an HTTP range request, if the server's file is still the
    same (by its ETag or date). The checksum is the one given; else the SHA-256 of the first download, which is
    recorded in ``PATH.checksum.json``, and from which later ones must not differ.

    Args:
        url: http or https.
        path: where it goes.
        md5, sha512: its published checksum, in hexadecimal.
        trust: accept and record another checksum than the recorded one.
        progress: is told how far it is.
        pause: seconds before the first new try after an interruption; twice as many before each further one.
        elsewhere: what to pass to have it from another place, as errors say it.

    Returns:
        `path`.

    Raises:
        OptionError: another kind of URL.
        DownloadError: the server cannot be reached or refuses, or the checksum is wrong; what has come is kept for
            the next run, except where the checksum is wrong.
    """
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise OptionError(f"{url!r} is no address of a file: give one that starts with http:// or https://")
    if path.is_file():
        _verify(path, path, url, {"md5": md5, "sha512": sha512}, trust, elsewhere)
        return path
    partial = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _fetch(url, partial, progress, pause)
        except _RefusedError as error:
            raise DownloadError(f"{error}: it may have moved, so look for it and pass {elsewhere}") from None
        _verify(partial, path, url, {"md5": md5, "sha512": sha512}, trust, elsewhere)
        partial.replace(path)
        _state_file(partial).unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(
            f"{path} could not be written ({error.strerror}): free some space, or choose another folder with --cache"
        ) from None
    return path


# Fetching


class _InterruptedError(Exception):
    """The connection broke off, and another try may go on."""


class _RefusedError(Exception):
    """The server does not give it."""


def _fetch(url: str, partial: Path, progress: Progress | None, pause: float) -> None:
    """Complete the partial file, going on after interruptions as long as each try brings something."""
    failures = 0
    while True:
        before = _size(partial)
        try:
            return _fetch_once(url, partial, progress)
        except _InterruptedError as error:
            failures = 0 if _size(partial) > before else failures + 1
            if failures >= _TRIES:
                raise DownloadError(
                    f"the download of {url} was interrupted again and again ({error}): "
                    "run the same command later to go on from here"
                ) from None
            time.sleep(pause * 2**failures)


def _fetch_once(url: str, partial: Path, progress: Progress | None) -> None:
    start = _size(partial)
    validator = _read_state(partial).get(url) if start else None
    if start and validator is None:  # nothing says that the rest would fit
        start = 0
    headers = {"User-Agent": f"translatekit/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": str(validator)}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        _refused(url, partial, error, start)
        return
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise _unreachable(url, partial, error) from None
    with response:
        start = start if response.status == 206 and _range_start(response) == start else 0
        if response.status == 206 and not start:
            raise DownloadError(
                f"{urlsplit(url).netloc} answered with another part of {url} than was asked for"
            )
        if not start:
            _write_state(partial, url, response)
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None and length.isdigit() else None
        with partial.open("r+b" if start else "wb") as file:
            file.seek(start)
            _copy(response, file, start, total, progress)


def _copy(
    response: IO[bytes], file: IO[bytes], done: int, total: int | None, progress: Progress | None
) -> None:
    while True:
        try:
            chunk = response.read(_CHUNK)
        except http.client.IncompleteRead as error:
            file.write(error.partial)
            raise _InterruptedError("the connection was closed") from None
        except (OSError, http.client.HTTPException) as error:
            raise _InterruptedError(str(error) or type(error).__name__) from None
        if not chunk:
            break
        file.write(chunk)
        done += len(chunk)
        if progress is not None:
            progress(done, total)
    if total is not None and done < total:
        raise _InterruptedError("the connection was closed")


def _refused(url: str, partial: Path, error: urllib.error.HTTPError, start: int) -> None:
    if error.code == 416 and start:
        length = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
        if length is not None and int(length[1]) == start:
            return  # it was complete already
        partial.unlink(missing_ok=True)
        raise _InterruptedError("the file has changed on the server")
    if error.code in (408, 429) or error.code >= 500:
        raise _InterruptedError(f"the server answers {error.code} {error.reason}")
    raise _RefusedError(f"{urlsplit(url).netloc} refuses {url} ({error.code} {error.reason})")


def _unreachable(url: str, partial: Path, error: Exception) -> Exception:
    reason = getattr(error, "reason", None) or error
    reason = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
    if _size(partial):
        return _InterruptedError(reason)
    target = partial.with_name(partial.name.removesuffix(".part"))
    return DownloadError(
        f"{urlsplit(url).netloc} cannot be reached ({reason}): check the connection, or download {url} on another "
        f"machine and put it to {target}"
    )


def _range_start(response: Any) -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


# What is remembered beside the file


def _state_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _read_state(partial: Path) -> dict[str, str]:
    try:
        content = json.loads(_state_file(partial).read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}


def _write_state(partial: Path, url: str, response: Any) -> None:
    etag = response.headers.get("ETag")
    strong = (
        etag if etag and not etag.startswith("W/") else None
    )  # RFC 9110: a weak one is no base for a range
    validator = strong or response.headers.get("Last-Modified")
    if validator is None:
        _state_file(partial).unlink(missing_ok=True)
    else:
        _state_file(partial).write_text(json.dumps({url: validator}), encoding="utf-8")


def _verify(
    file: Path, path: Path, url: str, published: dict[str, str | None], trust: bool, elsewhere: str
) -> None:
    """Compare a file with the published checksum, or else with the recorded one, or record it."""
    is_there = file == path  # and is not fetched again while it is
    what = str(path) if is_there else f"{path.name} from {url}"
    again = "remove it and try again" if is_there else "try again"
    for algorithm, digest in published.items():
        if digest is None:
            continue
        found = hash_file(file, algorithm)
        if found != digest:
            _discard(file, path)
            raise DownloadError(
                f"{what} has the {algorithm.upper()} checksum {found} and should have {digest}: it is damaged or not "
                f"the same file; {again}{'' if is_there else f', or pass {elsewhere}'}"
            )
        return
    record = path.with_name(f"{path.name}{_RECORD}")
    found = hash_file(file, "sha256")
    try:
        known = str(json.loads(record.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        known = None
    if known is not None and known != found and not trust:
        _discard(file, path)
        raise DownloadError(
            f"{what} is not what was downloaded first (SHA-256 {found} and not {known}, from {record.name}): {again}, "
            "or pass --trust if the file was renewed"
        )
    if known != found:
        content = {"sha256": found, "url": url, "recorded": time.strftime("%Y-%m-%d")}
        record.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _discard(file: Path, path: Path) -> None:
    """Remove a partial file that is wrong. A complete one may be the user's, and stays."""
    if file != path:
        file.unlink(missing_ok=True)
        _state_file(file).unlink(missing_ok=True)
