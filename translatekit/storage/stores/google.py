"""Google Cloud Storage."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from translatekit.requirements import of_extra
from translatekit.storage.places import Item
from translatekit.storage.retries import Remedies
from translatekit.storage.stores.base import Store, part_size, parts_of

if TYPE_CHECKING:
    from gcsfs import GCSFileSystem

MAX_PARTS = 100_000
PAGE = 1000


class GoogleStore(Store):
    """A listing asks for a thousand names a request; writing asks once more, for the stamp."""

    requirements = of_extra("gs", "fsspec", "gcsfs")
    remedies = Remedies(
        credentials="set GOOGLE_APPLICATION_CREDENTIALS to a key's file, or run gcloud auth application-default login",
        endpoint="STORAGE_EMULATOR_HOST, if it is set",
    )

    def connect(self) -> GCSFileSystem:
        """A file system whose library neither tries again nor prints what failed: `attempt` does."""
        from gcsfs import GCSFileSystem

        class System(GCSFileSystem):
            """Without the tries of its library, which begin after a second."""

            _request = GCSFileSystem._request.__wrapped__

        logging.getLogger("gcsfs").setLevel(logging.CRITICAL + 1)
        return System(use_listings_cache=False, **self._options)

    def items(self, prefix: str) -> Iterator[Item]:
        """All objects, by pages, which are sorted."""
        bucket, _, start = prefix.partition("/")
        more: dict[str, Any] = {}
        while True:
            page = self.attempt(
                lambda more=more: self.system.call(  # type: ignore[misc]
                    "GET", "b/{}/o", bucket, json_out=True, prefix=start, maxResults=PAGE, **more
                ),
                prefix.rpartition("/")[0],
                "listed",
            )
            for found in page.get("items", ()):
                yield _item(f"{bucket}/{found['name']}", found)
            if not page.get("nextPageToken"):
                return
            more = {"pageToken": page["nextPageToken"]}

    def _stat(self, path: str) -> Item | None:
        bucket, _, key = path.partition("/")
        try:
            return _item(path, self.system.call("GET", "b/{}/o/{}", bucket, key, json_out=True))
        except FileNotFoundError:
            return None

    def upload(self, path: str, file: BinaryIO, size: int) -> str | None:
        """Write an object by a resumable upload; one that is not completed is removed by the store in a week."""
        from fsspec.asyn import sync
        from gcsfs.core import initiate_upload, upload_chunk

        system = self.system
        bucket, _, key = path.partition("/")
        kind = "application/octet-stream"
        before = self.stat(path)
        place = self.attempt(
            lambda: sync(system.loop, initiate_upload, system, bucket, key, kind), path, "written"
        )

        def send(part: bytes, at: int) -> None:
            try:
                sync(system.loop, upload_chunk, system, place, part, at, size, kind)
            except FileNotFoundError:  # no such upload: an earlier try completed it, but its answer was lost
                found = self._stat(path)
                if at + len(part) < size or found is None or found == before or found.size != size:
                    raise

        at = 0
        for part in parts_of(file, part_size(size, MAX_PARTS)):
            self.attempt(partial(send, part, at), path, "written")
            at += len(part)
        return None


def _item(path: str, found: dict[str, Any]) -> Item:
    return Item(path, int(found["size"]), str(found.get("generation") or found.get("etag", "")))
