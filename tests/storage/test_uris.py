"""What is an address, and how it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from translatekit.storage import is_uri, shown
from translatekit.storage.uris import joined


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/a", True),
        ("gs://b", True),
        ("zip://a::s3://b/c.zip", True),
        ("C:\\photos", False),
        ("C://photos", False),
        ("photos/a", False),
        ("a:b", False),
        ("-", False),
        (Path("s3://bucket"), False),
    ],
)
def test_what_is_an_address(text: str | Path, expected: bool) -> None:
    assert is_uri(text) is expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/a?b", "s3://bucket/a?b"),
        ("https://user:secret@host/a.png?sig=secret", "https://host/a.png"),
        ("ftp://user:secret@host/a", "ftp://user@host/a"),
        (
            "abfs://container@account.dfs.core.windows.net/a",
            "abfs://container@account.dfs.core.windows.net/a",
        ),
        ("zip://a.png::https://host/a.zip?sig=secret", "zip://a.png::https://host/a.zip"),
        ("photos/a", "photos/a"),
    ],
)
def test_no_password_is_shown(uri: str, expected: str) -> None:
    assert shown(uri) == expected


def test_names_below_an_address() -> None:
    assert joined("s3://bucket/", "a/b.png") == "s3://bucket/a/b.png"
    assert joined("s3://bucket/photos//", "a.png") == "s3://bucket/photos/a.png"
