"""Repositories of models on a hub, which are written by whole commits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from translatekit.errors import StorageError
from translatekit.storage.uris import is_uri, scheme_of, shown

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_NOT_MODELS = ("datasets", "spaces", "buckets")


def repository_of(uri: str) -> str:
    """The repository that an address names, ``user/name`` or ``user/name@branch``; nothing is asked of the hub yet.

    Raises:
        StorageError: it names none.
    """
    path = uri.partition("://")[2].strip("/")
    is_hub = is_uri(uri) and scheme_of(uri) == "hf"
    if not is_hub or _REPOSITORY.fullmatch(path) is None or path.partition("/")[0] in _NOT_MODELS:
        raise StorageError(f"{shown(uri)!r} is no repository of models: write hf://user/name")
    return path


def push(
    uri: str, files: Mapping[str, Path], message: str, *, private: bool = False, force: bool = False
) -> str:
    """Write files into a repository of models by one commit: all of them, or none.

    Args:
        uri: ``hf://user/name``, or ``hf://user/name@branch``; made where there is none.
        files: by their names there.
        message: of the commit.
        private: a repository that is made is seen by its owner alone; one that is there stays as it is.
        force: replace files that are there. The hub keeps the old ones in its history.

    Returns:
        The repository's address on the web.

    Raises:
        StorageError: it names no repository, may not be written, or holds one of these files.
        PluginError: the hub's library is not installed.
    """
    from translatekit.storage.stores.hub import HubStore

    return HubStore("hf").push(repository_of(uri), files, message, private=private, force=force)
