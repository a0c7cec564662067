"""From a path or an address to a place."""

from __future__ import annotations

from pathlib import Path

from translatekit.storage.local import LocalPlace
from translatekit.storage.places import Sink, Source
from translatekit.storage.uris import is_uri, scheme_of


def open_source(text: str | Path) -> Source:
    """The place that a path or an address names; nothing is asked of a store yet.

    Args:
        text: a local path, or an address such as ``s3://bucket/photos``.

    Raises:
        StorageError: there is no such kind of address.
        PluginError: its library is not installed.
    """
    text = _path_of_file_uri(text)
    if not is_uri(text):
        return LocalPlace(Path(text))
    from translatekit.storage.objects import ObjectPlace

    return ObjectPlace(str(text))


def open_sink(text: str | Path) -> Sink:
    """The place to write to that a path or an address names; nothing is asked of a store yet.

    Args:
        text: of a local folder, which need not be there, or an address such as ``s3://bucket/photos-translated``.

    Raises:
        StorageError: there is no such kind of address, or it cannot be written to.
        PluginError: its library is not installed.
    """
    text = _path_of_file_uri(text)
    if not is_uri(text):
        return LocalPlace(Path(text))
    from translatekit.storage.objects import ObjectPlace

    return ObjectPlace(str(text), writable=True)


def _path_of_file_uri(text: str | Path) -> str | Path:
    if is_uri(text) and scheme_of(str(text)) == "file":
        from urllib.parse import urlsplit
        from urllib.request import url2pathname

        return url2pathname(urlsplit(str(text)).path)
    return text
