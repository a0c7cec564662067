"""The one place where a request to a store is tried again, and where its errors become sentences."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from translatekit.errors import StorageError, TranslatekitError

TRIES = 5
DELAY = 0.25
"""Seconds before the second try; twice as long before each that follows, and four times where a store is too busy."""

_PASSING_CODES = {"InternalError", "RequestTimeout", "ServerBusy", "SlowDown"}
_BUSY = {429, 503}
_PASSING = {408, 425, 500, 502, 504} | _BUSY

# By name, since a library that is not imported cannot have raised any of its errors.
_CONNECTION = {
    "ClientConnectionError",  # aiohttp
    "ConnectionError",
    "EndpointConnectionError",  # botocore
    "gaierror",
    "HTTPClientError",
    "ServiceRequestError",  # azure
    "TransportError",  # httpx, google.auth
}
_CUT_OFF = {
    "ClientPayloadError",  # aiohttp
    "FSTimeoutError",  # fsspec
    "IncompleteRead",
    "IncompleteReadError",  # azure
    "ResponseParserError",  # botocore: a gateway's page instead of an answer
    "ResponseStreamingError",
    "ServiceResponseError",  # azure
    "ShortReadError",
    "TimeoutError",
}
_NO_CREDENTIALS = {
    "ClientAuthenticationError",  # azure
    "CredentialUnavailableError",
    "DefaultCredentialsError",  # google.auth
    "LocalTokenNotFoundError",  # huggingface_hub
    "NoCredentialsError",  # botocore
    "PartialCredentialsError",
    "ProfileNotFound",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
}
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "RepositoryNotFoundError", "RevisionNotFoundError"}
_WRONG_CREDENTIALS = {
    "AuthenticationFailed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}

_TELLING = _CONNECTION | _CUT_OFF | _NO_CREDENTIALS | _NO_BUCKET

T = TypeVar("T")


class ShortReadError(Exception):
    """Fewer bytes came than were asked for."""


@dataclass(frozen=True, slots=True)
class Remedies:
    """What the user of a kind of store can do.

    Attributes:
        credentials: where they come from.
        bucket: what the store calls the first part of an address.
        endpoint: what to check when it cannot be reached, beside the network.
        hidden: the store answers for what may not be seen as it does for what is not there.
    """

    credentials: str
    bucket: str = "bucket"
    endpoint: str = "the address"
    hidden: bool = False


def attempt(call: Callable[[], T], uri: str, doing: str, remedies: Remedies) -> T:
    """What `call` returns, which is tried again where its error may pass by itself.

    Args:
        call: asks the store; whatever it changes there, it may change twice.
        uri: is shown in the error.
        doing: what was to be done with it: ``read``, ``written``, ``listed``, ``removed``.
        remedies: the store's.

    Raises:
        StorageError: it failed for good.
    """
    for tried in range(1, TRIES + 1):
        try:
            return call()
        except TranslatekitError:
            raise
        except Exception as error:
            if tried == TRIES or not passes(error):
                raise StorageError(sentence(error, uri, doing, remedies)) from error
            time.sleep(_delay(tried, error))
    raise AssertionError


def _delay(tried: int, error: Exception) -> float:
    """Seconds before the next try, drawn around what doubles, so that many workers do not come back at once."""
    return DELAY * 2 ** (tried - 1) * random.uniform(0.75, 1.25) * (4 if _told(error).status in _BUSY else 1)


def passes(error: Exception) -> bool:
    """Whether the same request may succeed a moment later."""
    told = _told(error)
    if told.names & (_CONNECTION | _CUT_OFF):
        return True
    return told.status in _PASSING or told.code in _PASSING_CODES


def sentence(error: Exception, uri: str, doing: str, remedies: Remedies) -> str:
    """What is wrong with a store, and what to do about it."""
    told = _told(error)
    status, code = told.status, told.code
    names = told.names | _names(error)
    reason = code or (f"status {status}" if status else _first_line(error))
    if names & _NO_CREDENTIALS and status is None:
        return f"{uri} needs credentials, and none were found: {remedies.credentials}"
    if code in _NO_BUCKET or names & _NO_BUCKET or "bucket does not exist" in str(error):
        if remedies.hidden:
            return (
                f"there is no {remedies.bucket} for {uri}, or these credentials may not see it: check its name, or "
                f"{remedies.credentials}"
            )
        return f"there is no {remedies.bucket} for {uri}: check its name, and the account or endpoint"
    if code in _WRONG_CREDENTIALS or status == 401:
        return f"{uri} was refused, since the credentials are wrong ({reason}): {remedies.credentials}"
    if status == 403 or "PermissionError" in names or "Forbidden" in str(error):
        return (
            f"{uri} may not be {doing} ({reason}): check the permissions of these credentials, or "
            f"{remedies.credentials}"
        )
    if status == 404 or "FileNotFoundError" in names:
        return f"there is no {uri}: check the address"
    if status in _BUSY or code in {"SlowDown", "ServerBusy"}:
        return (
            f"{uri} was not {doing}, the store is too busy after {TRIES} tries ({reason}): "
            "run again later, with fewer workers"
        )
    if status is None and names & _CONNECTION:
        return f"{uri} cannot be reached ({_first_line(error)}): check the network and {remedies.endpoint}"
    return f"{uri} was not {doing} ({reason}): run again, and check the address if it stays so"


@dataclass(frozen=True, slots=True)
class _Told:
    """What an error says, whichever library raised it: names of its classes, HTTP status, the store's own code."""

    names: frozenset[str]
    status: int | None
    code: str


def _told(error: Exception) -> _Told:
    """What the first that says something says, of an error and those that it came from."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        told = _Told(_names(link), _status(link), _code(link))
        if told.status is not None or told.code or told.names & _TELLING:
            return told
        link = link.__cause__ or link.__context__
    return _Told(_names(error), None, "")


def _names(error: BaseException) -> frozenset[str]:
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, OSError) and error.errno in (errno.ECONNRESET, errno.ECONNREFUSED, errno.EPIPE):
        names.add("ConnectionError")
    return frozenset(names)


def _status(error: BaseException) -> int | None:
    if _names(error) & _CUT_OFF:  # aiohttp's parser gives statuses of its own
        return None
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(response, "status_code", None)
    for value in (found, *(getattr(error, name, None) for name in ("status_code", "status", "code"))):
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if isinstance(value, int) and 300 <= value < 600:
            return value
    return None


def _code(error: BaseException) -> str:
    """What a store calls an error; "" where it does not."""
    response: Any = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    code = code or getattr(error, "error_code", None)
    return str(getattr(code, "value", code)) if code and not str(code).isdecimal() else ""


def _first_line(error: BaseException) -> str:
    reason = getattr(error, "reason", None)  # of urllib
    error = reason if isinstance(reason, Exception) else error
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    lines = text.strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
