"""Repositories of the Hugging Face Hub: ``hf://user/model`` and ``hf://datasets/user/name``, with ``@revision``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from translatekit.errors import StorageError
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
        hidden=True,
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
        """All files of a folder, page by page; a page is tried again by the library, and then from the first on."""
        from huggingface_hub.errors import EntryNotFoundError

        folder = prefix.rpartition("/")[0]
        place, repository = self.attempt(lambda: self._place(folder), folder, "listed")
        given = 0

        def listed() -> Iterator[Any]:
            tree = self._api.list_repo_tree(
                path_in_repo=place.path_in_repo or None, recursive=True, **repository
            )
            return islice(tree, given, None)

        entries = listed()
        top = folder[: -len(place.path_in_repo)].rstrip("/") if place.path_in_repo else folder

        def following() -> Any:
            nonlocal entries
            try:
                return next(entries, None)
            except EntryNotFoundError:
                return None
            except Exception:
                entries = listed()  # what has raised is over
                raise

        while (entry := self.attempt(following, folder, "listed")) is not None:
            given += 1
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

    def push(self, path: str, files: Mapping[str, Path], message: str, *, private: bool, force: bool) -> str:
        """Write files by one commit into a repository of models, which is made where there is none.

        Args:
            path: ``user/name``, or ``user/name@branch``.
            files: by their names there.
            message: of the commit.
            private: a repository that is made is seen by its owner alone; one that is there stays as it is.
            force: replace files that are there.

        Returns:
            The repository's address on the web.

        Raises:
            StorageError: it may not be written, or holds one of these files.
        """
        from huggingface_hub import CommitOperationAdd
        from huggingface_hub.errors import RepositoryNotFoundError
        from huggingface_hub.utils import (
            are_progress_bars_disabled,
            disable_progress_bars,
            enable_progress_bars,
        )

        name, _, branch = path.partition("@")
        revision = branch or None

        def held() -> set[str] | None:
            try:
                return set(self._api.list_repo_files(name, revision=revision))
            except RepositoryNotFoundError:
                return None

        def create() -> None:  # a try whose answer was lost has made it
            self._api.create_repo(name, private=private or None, exist_ok=True)

        def commit() -> None:
            made = [CommitOperationAdd(each, file) for each, file in files.items()]
            try:
                self._api.create_commit(name, made, commit_message=message, revision=revision)
            except ValueError as error:  # what the library says of a card that the hub refuses
                if "README.md" not in str(error):
                    raise
                lines = [line.strip("- ") for line in str(error).splitlines()]
                reason = "; ".join(line for line in lines[1:] if line)
                raise StorageError(
                    f"hf://{path} was not written, since the hub refuses the metadata of README.md ({reason}): mend it"
                ) from None

        there = self.attempt(held, path, "read")
        taken = sorted(files.keys() & (there or ()))
        if taken and not force:
            raise StorageError(
                f"hf://{path} holds {taken[0]} already, and it is not overwritten: pass --force, or name another "
                "repository"
            )
        shown = not are_progress_bars_disabled()
        disable_progress_bars()
        try:
            if there is None:
                self.attempt(create, path, "written")
            self.attempt(commit, path, "written")
        finally:
            if shown:
                enable_progress_bars()
        return f"{self._api.endpoint}/{name}"

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
