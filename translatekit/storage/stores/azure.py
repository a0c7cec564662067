"""Azure Blob Storage."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from translatekit.errors import StorageError
from translatekit.requirements import of_extra
from translatekit.storage.places import Item
from translatekit.storage.retries import Remedies
from translatekit.storage.stores.base import Store, part_size, parts_of, upload_parts

if TYPE_CHECKING:
    from adlfs import AzureBlobFileSystem

MAX_PARTS = 50_000


class AzureStore(Store):
    """Containers of one storage account; a path begins with a container's name."""

    requirements = of_extra("az", "fsspec", "adlfs")
    remedies = Remedies(
        credentials="set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, "
        "or run az login",
        bucket="container",
        endpoint="the account's name",
    )

    def connect(self) -> AzureBlobFileSystem:
        """A file system whose library does not try again: `attempt` does."""
        from adlfs import AzureBlobFileSystem
        from azure.storage.blob.aio import BlobServiceClient

        class System(AzureBlobFileSystem):
            """Without the tries of its library, the first of which comes after fifteen seconds."""

            def do_connect(self) -> None:
                super().do_connect()
                made: Any = vars(self)["service_client"]
                self.service_client = BlobServiceClient(made.url, credential=made.credential, retry_total=0)

        try:
            return System(use_listings_cache=False, **self._options)
        except ValueError as error:
            reason = str(error.__cause__ or error).rstrip("!.")
            raise StorageError(
                f"az:// needs an account, and the environment names none ({reason}): {self.remedies.credentials}"
            ) from None

    def _run(self, ask: Callable[..., Coroutine[Any, Any, Any]], path: str, *arguments: Any) -> Any:
        """What a coroutine function returns for the client of a blob."""
        from fsspec.asyn import sync

        system = self.system
        container, _, name = path.partition("/")

        async def call() -> Any:
            async with system.service_client.get_blob_client(container, name) as client:
                return await ask(client, *arguments)

        return sync(system.loop, call)

    def items(self, prefix: str) -> Iterator[Item]:
        """All objects, by pages of List Blobs, which is sorted."""
        from fsspec.asyn import sync

        container, _, start = prefix.partition("/")

        async def page(more: str | None) -> tuple[list[Any], str | None]:
            async with self.system.service_client.get_container_client(container) as client:
                pages = client.list_blobs(name_starts_with=start, include=["metadata"]).by_page(more)
                async for found in pages:
                    return [blob async for blob in found], pages.continuation_token
            return [], None

        more: str | None = None
        while True:
            blobs, more = self.attempt(
                lambda more=more: sync(self.system.loop, page, more),  # type: ignore[misc]
                prefix.rpartition("/")[0],
                "listed",
            )
            for blob in blobs:
                if not _is_folder(blob):
                    yield _item(f"{container}/{blob.name}", blob)
            if not more:
                return

    def _stat(self, path: str) -> Item | None:
        from azure.core.exceptions import ResourceNotFoundError

        async def ask(client: Any) -> Any:
            return await client.get_blob_properties()

        try:
            found = self._run(ask, path)
        except ResourceNotFoundError:
            return None
        return None if _is_folder(found) else _item(path, found)

    def put(self, path: str, data: bytes) -> str:
        """Write an object by one request."""

        async def ask(client: Any) -> Any:
            return await client.upload_blob(data, overwrite=True, content_settings=_kind(path))

        return _stamp(self.attempt(lambda: self._run(ask, path), path, "written"))

    def upload(self, path: str, file: BinaryIO, size: int) -> str:
        """Write an object in blocks; those of an upload that is not completed are removed by the store in a week."""

        async def stage(client: Any, name: str, data: bytes) -> str:
            await client.stage_block(name, data)
            return name

        def upload(number: int, data: bytes) -> str:
            name = f"{run}{number:08d}"
            return str(self.attempt(lambda: self._run(stage, path, name, data), path, "written"))

        async def commit(client: Any, names: list[str]) -> Any:
            from azure.storage.blob import BlobBlock

            return await client.commit_block_list(
                [BlobBlock(name) for name in names], content_settings=_kind(path)
            )

        run = uuid.uuid4().hex  # two writers of one name do not mix their blocks
        names = upload_parts(upload, parts_of(file, part_size(size, MAX_PARTS)))
        return _stamp(self.attempt(lambda: self._run(commit, path, names), path, "written"))

    def delete(self, path: str) -> None:
        """Remove an object, or nothing."""
        from azure.core.exceptions import ResourceNotFoundError

        async def ask(client: Any) -> None:
            await client.delete_blob()

        def call() -> None:
            try:
                self._run(ask, path)
            except ResourceNotFoundError:
                return

        self.attempt(call, path, "removed")


def _is_folder(blob: Any) -> bool:
    """Whether it stands for a folder, as accounts with a hierarchical namespace have them."""
    metadata = {name.lower(): value for name, value in (blob.metadata or {}).items()}
    return metadata.get("hdi_isfolder") == "true" or metadata.get("is_directory") == "true"


def _item(path: str, blob: Any) -> Item:
    return Item(path, blob.size, _stamp(blob))


def _stamp(found: Any) -> str:
    return str(found["etag"]).strip('"')


def _kind(path: str) -> Any:
    """What a browser is told that an object is."""
    import mimetypes

    from azure.storage.blob import ContentSettings

    return ContentSettings(content_type=mimetypes.guess_type(path)[0] or "application/octet-stream")
