"""Repositories of the Hugging Face Hub: ``hf://user/model`` and ``hf://datasets/user/name``, with ``@revision``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from translatekit.requirements import of_extra
from translatekit.storage.places import Item
from translatekit.storage.retries import Remedies, ShortReadError
from translatekit.storage.stores.base import Store

if TYPE_CHECKING:
    from huggingface_hub import HfApi, HfFileSystem


class HubStore(Store):
    """A file is committed by a commit of its own, so that this is for models and not for millions of images."""

    requirements = of_extra("hf", "fsspec", "huggingface_hub")
    remedies = Remedies(
        credentials="set HF_TOKEN, or run hf auth login",
        bucket="repository",
        endpoint="HF_ENDPOINT, if it is set",
    )

    def connect(self) -> HfFileSystem:
        """The file system, which tells repository, revision and path in an address apart."""
        from huggingface_hub import HfFileSystem

        return HfFileSystem(skip_instance_cache=True, **self._options)

    @property
    def _api(self) -> HfApi:
        from huggingface_hub import HfApi

        return HfApi()

    def _place(self, path: str) -> tuple[Any, dict[str, Any]]:
        """An address in its parts, and those of its repository as the library takes them."""
        place = self.system.resolve_path(path)
        return place, {"repo_id": place.repo_id, "repo_type": place.repo_type, "revision": place.revision}

    def items(self, prefix: str) -> Iterator[Item]:
        """All files of a folder, page by page; a page is tried again by the library."""
        from huggingface_hub.errors import EntryNotFoundError

        folder = prefix.rpartition("/")[0]
        place, repository = self.attempt(lambda: self._place(folder), folder, "listed")
        entries = self._api.list_repo_tree(
            path_in_repo=place.path_in_repo or None, recursive=True, **repository
        )
        top = folder[: -len(place.path_in_repo)].rstrip("/") if place.path_in_repo else folder

        def following() -> Any:
            try:
                return next(entries, None)
            except EntryNotFoundError:
                return None

        while (entry := self.attempt(following, folder, "listed")) is not None:
            item = _item(f"{top}/{entry.path}", entry)
            if item is not None and item.name.startswith(prefix):
                yield item

    def _stat(self, path: str) -> Item | None:
        place, repository = self._place(path)
        found = (
            self._api.get_paths_info(paths=[place.path_in_repo], **repository) if place.path_in_repo else []
        )
        return _item(path, found[0]) if found else None

    def get(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """The bytes of a file, or of a range, by one request, which may be sent on to another server."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.errors import EntryNotFoundError
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        def call() -> bytes:
            place, repository = self._place(path)
            url = hf_hub_url(filename=place.path_in_repo, endpoint=self._api.endpoint, **repository)
            headers = build_hf_headers()
            if start is not None and end is not None:
                headers["range"] = f"bytes={start}-{end - 1}"
            response = get_session().get(url, headers=headers, follow_redirects=True)
            try:
                hf_raise_for_status(response)
            except EntryNotFoundError:
                raise FileNotFoundError(path) from None
            data: bytes = response.content
            if start is not None and end is not None and len(data) != end - start:
                raise ShortReadError(f"{len(data)} bytes came instead of {end - start}")
            return data

        return self.attempt(call, path, "read")

    def put(self, path: str, data: bytes | BinaryIO) -> None:
        """Write a file by a commit."""

        def call() -> None:
            place, repository = self._place(path)
            self._api.upload_file(path_or_fileobj=data, path_in_repo=place.path_in_repo, **repository)

        self.attempt(call, path, "written")

    def upload(self, path: str, file: BinaryIO, size: int) -> None:
        """Write a large file by a commit."""
        self.put(path, file)

    def delete(self, path: str) -> None:
        """Remove a file by a commit, or nothing."""
        from huggingface_hub.errors import EntryNotFoundError

        def call() -> None:
            place, repository = self._place(path)
            try:
                self._api.delete_file(place.path_in_repo, **repository)
            except EntryNotFoundError:
                return

        self.attempt(call, path, "removed")


def _item(path: str, found: Any) -> Item | None:
    blob = getattr(found, "blob_id", None)
    return None if blob is None else Item(path, found.size, str(blob))
