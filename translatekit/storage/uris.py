"""Addresses of places, such as ``s3://bucket/photos``: what is one, its parts, and how it is shown."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # two letters at least: "C://" is a drive
_ALIASES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "adl": "az", "http": "https"}


def is_uri(text: str | Path) -> bool:
    """Whether this is an address such as ``s3://bucket/photos``, and no path of a file or folder."""
    return isinstance(text, str) and _SCHEME.match(text) is not None


def scheme_of(uri: str) -> str:
    """Which kind of store an address names, one name each: ``s3``, ``gs``, ``az``, ``hf``, ``https``, ``zip``..."""
    match = _SCHEME.match(uri)
    assert match is not None
    scheme = match[1].lower()
    return _ALIASES.get(scheme, scheme)


def shown(uri: str | Path) -> str:
    """An address as people may see it: without a password, and without the signature of a web address."""
    text = str(uri)
    if not is_uri(text):
        return text
    if "::" in text:
        return "::".join(map(shown, text.split("::")))
    parts = urlsplit(text)
    user, at, host = parts.netloc.rpartition("@")
    if scheme_of(text) == "https":
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    if ":" in user:
        return text.replace(f"{user}{at}{host}", f"{user.partition(':')[0]}{at}{host}", 1)
    return text


def without_slash(uri: str) -> str:
    """An address without the slashes at its end, which say that it is a folder."""
    match = _SCHEME.match(uri)
    start = match.end() if match is not None else 1
    return uri[:start] + uri[start:].rstrip("/")


def joined(uri: str, name: str) -> str:
    """The address of what is called `name` below a place."""
    return f"{without_slash(uri)}/{name}" if name else uri
