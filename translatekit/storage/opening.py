"""From a path or an address to a place."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from translatekit.errors import StorageError
from translatekit.storage.local import LocalPlace
from translatekit.storage.places import Sink, Source
from translatekit.storage.uris import is_uri, scheme_of, shown


def open_source(text: str | Path) -> Source:
    """The place that a path or an address names; nothing is asked of a store yet.

    Args:
        text: a local path, or an address such as ``s3://bucket/photos``: a folder, a file, or a ``.zip`` or ``.tar``
            archive; ``zip://inside::s3://bucket/photos.zip`` is a folder or file in an archive.

    Raises:
        StorageError: there is no such kind of address.
        PluginError: its library is not installed.
    """
    text = _path_of_file_uri(text)
    if not is_uri(text):
        path = Path(text).expanduser()
        return (
            _archive(path, path.suffix) if _is_archive(path.suffix) and path.is_file() else LocalPlace(path)
        )
    uri = str(text)
    scheme = scheme_of(uri)
    if scheme in ("zip", "tar"):
        inside, mark, outer = uri.partition("://")[2].partition("::")
        if not mark:
            raise StorageError(
                f"{shown(uri)} says no archive: write {scheme}://{inside or 'folder'}::s3://bucket/photos.{scheme}"
            )
        return _archive(outer, f".{scheme}", inside, shown(uri))
    suffix = PurePosixPath(shown(uri)).suffix
    if _is_archive(suffix) and not uri.endswith("/"):
        return _archive(uri, suffix)
    if scheme == "https":
        from translatekit.storage.web import WebFile

        return WebFile(uri)
    from translatekit.storage.objects import ObjectPlace

    return ObjectPlace(uri)


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
    uri = str(text)
    if scheme_of(uri) in ("zip", "tar", "https"):
        raise StorageError(
            f"{shown(uri)} cannot be written to: name a local folder, or a place in a bucket such as s3://bucket/out"
        )
    from translatekit.storage.objects import ObjectPlace

    return ObjectPlace(uri, writable=True)


def place_of(text: str | Path) -> tuple[Source, str]:
    """The place that holds the file that a path or an address names, and the file's name there."""
    if not is_uri(text):
        path = Path(text).expanduser()
        return LocalPlace(path.parent), path.name
    uri = str(text)
    name = PurePosixPath(shown(uri)).name
    if scheme_of(uri) == "https":
        from translatekit.storage.web import WebFile

        place = WebFile(uri)
        return place, place.name
    if "::" in uri:
        return open_source(uri), name
    return open_source(uri[: -len(name)]), name


def _is_archive(suffix: str) -> bool:
    return suffix.lower() in (".zip", ".tar")


def _archive(text: str | Path, suffix: str, inside: str = "", uri: str | None = None) -> Source:
    from translatekit.storage.archives import KINDS

    place, name = place_of(text)
    return KINDS[suffix.lower()](place, name, inside, uri or shown(text))


def _path_of_file_uri(text: str | Path) -> str | Path:
    if is_uri(text) and scheme_of(str(text)) == "file":
        from urllib.parse import urlsplit
        from urllib.request import url2pathname

        return url2pathname(urlsplit(str(text)).path)
    return text
