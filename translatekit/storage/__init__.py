"""Where data comes from and goes to: files written whole or not at all, the cache folder, and places of objects.

A `Source` lists and reads what a folder, an object store, an archive or one file holds; a `Sink` also writes there.
Local folders need nothing but the standard library. Every other store's library is imported when an address of it is
used.
"""

from translatekit.storage.copies import companions, local_copy, local_file
from translatekit.storage.files import (
    TEMPORARY,
    VARIABLE,
    atomic_file,
    atomic_path,
    cache_folder,
    check_writable,
    commit_file,
    empty_folder,
    folder_beside,
    folder_for_results,
    hash_bytes,
    hash_file,
    held,
    temporary_path,
    writable_cache,
    write_atomically,
    write_error,
)
from translatekit.storage.logs import AppendLog
from translatekit.storage.mirrors import local_folder, local_place, write_file, written_folder
from translatekit.storage.opening import open_sink, open_source
from translatekit.storage.places import Item, Sink, Source
from translatekit.storage.repositories import push, repository_of
from translatekit.storage.uris import is_uri, shown

__all__ = [
    "TEMPORARY",
    "VARIABLE",
    "AppendLog",
    "Item",
    "Sink",
    "Source",
    "atomic_file",
    "atomic_path",
    "cache_folder",
    "check_writable",
    "commit_file",
    "companions",
    "empty_folder",
    "folder_beside",
    "folder_for_results",
    "hash_bytes",
    "hash_file",
    "held",
    "is_uri",
    "local_copy",
    "local_file",
    "local_folder",
    "local_place",
    "open_sink",
    "open_source",
    "push",
    "repository_of",
    "shown",
    "temporary_path",
    "writable_cache",
    "write_atomically",
    "write_error",
    "write_file",
    "written_folder",
]
