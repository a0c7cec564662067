"""Which module knows which kind of address."""

from __future__ import annotations

import importlib
import threading

from translatekit.errors import StorageError
from translatekit.storage.stores.base import Store
from translatekit.storage.uris import scheme_of, shown

_STORES = {
    "s3": "s3:S3Store",
    "gs": "google:GoogleStore",
    "az": "azure:AzureStore",
    "hf": "hub:HubStore",
    "memory": "base:Store",
}
_made: dict[str, Store] = {}
_lock = threading.Lock()


def store_of(uri: str) -> tuple[Store, str]:
    """The store of an address, and the path in it.

    Raises:
        StorageError: there is no such kind of address.
        PluginError: its library is not installed.
    """
    scheme = scheme_of(uri)
    if scheme not in _STORES:
        raise StorageError(
            f"{shown(uri)} is no address that is known: it may begin with "
            f"{', '.join(f'{name}://' for name in (*_STORES, 'https', 'zip', 'tar', 'file'))}"
        )
    with _lock:
        if scheme not in _made:
            module, _, name = _STORES[scheme].partition(":")
            kind: type[Store] = getattr(
                importlib.import_module(f"translatekit.storage.stores.{module}"), name
            )
            _made[scheme] = kind(scheme)
        store = _made[scheme]
    return store, uri.partition("://")[2].strip("/")
