"""S3, and what speaks its protocol."""

from __future__ import annotations

import contextlib
import mimetypes
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from translatekit.errors import StorageError
from translatekit.requirements import of_extra
from translatekit.storage.places import Item
from translatekit.storage.retries import Remedies
from translatekit.storage.stores.base import Store, part_size, parts_of, upload_parts

if TYPE_CHECKING:
    from s3fs import S3FileSystem

MAX_PARTS = 10_000
PAGE = 1000
"""Names that a request for a listing asks for, the most that S3 gives."""


class S3Store(Store):
    """A listing asks for a thousand names a request; everything else is one request, an upload in parts apart."""

    requirements = of_extra("s3", "fsspec", "s3fs")
    remedies = Remedies(
        credentials="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        endpoint="AWS_ENDPOINT_URL, if it is set",
    )

    def connect(self) -> S3FileSystem:
        """A file system that neither it nor its library tries again: `attempt` does."""
        import fsspec

        system = fsspec.filesystem(
            "s3",
            use_listings_cache=False,
            max_concurrency=1,  # otherwise each read asks for the size first
            config_kwargs={"retries": {"total_max_attempts": 1}, "max_pool_connections": 64},
            **self._options,
        )
        system.retries = 1
        return system

    def items(self, prefix: str) -> Iterator[Item]:
        """All objects, by pages of ListObjectsV2, which is sorted by UTF-8."""
        bucket, _, key = prefix.partition("/")
        more: dict[str, Any] = {}
        while True:
            page = self.attempt(
                lambda more=more: self.system.call_s3(  # type: ignore[misc]
                    "list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=PAGE, **more
                ),
                prefix.rpartition("/")[0],
                "listed",
            )
            for found in page.get("Contents", ()):
                yield Item(f"{bucket}/{found['Key']}", found["Size"], _stamp(found))
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _stat(self, path: str) -> Item | None:
        try:
            found = self.system.call_s3("head_object", **_place(path))
        except FileNotFoundError:
            return None
        except (
            PermissionError
        ):  # the answer to a HEAD has no body; that to a GET says which of key and rights is wrong
            self.system.call_s3("get_object", **_place(path), Range="bytes=0-0")
            raise
        return Item(path, found["ContentLength"], _stamp(found))

    def put(self, path: str, data: bytes) -> str:
        """Write an object by one request."""
        return _stamp(
            self.attempt(
                lambda: self.system.call_s3("put_object", Body=data, **_place(path), **_kind(path)),
                path,
                "written",
            )
        )

    def upload(self, path: str, file: BinaryIO, size: int) -> str:
        """Write an object in parts. An upload that cannot be completed is aborted, so that its parts cost nothing."""
        place = _place(path)

        def ask(method: str, **arguments: Any) -> Any:
            return self.attempt(lambda: self.system.call_s3(method, **place, **arguments), path, "written")

        started = ask("create_multipart_upload", **_kind(path))["UploadId"]
        try:
            parts = upload_parts(
                lambda number, data: ask("upload_part", UploadId=started, PartNumber=number, Body=data)[
                    "ETag"
                ],
                parts_of(file, part_size(size, MAX_PARTS)),
            )
            listed = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(parts, start=1)]

            def complete() -> str:
                try:
                    return _stamp(
                        self.system.call_s3(
                            "complete_multipart_upload",
                            UploadId=started,
                            MultipartUpload={"Parts": listed},
                            **place,
                        )
                    )
                except (
                    FileNotFoundError
                ):  # no such upload: an earlier try was completed, but its answer was lost
                    found = self._stat(path)
                    if found is None or found.size != size or not found.stamp.endswith(f"-{len(listed)}"):
                        raise
                    return found.stamp

            return self.attempt(complete, path, "written")
        except BaseException:
            with contextlib.suppress(StorageError):  # what is wrong is said already
                ask("abort_multipart_upload", UploadId=started)
            raise


def _place(path: str) -> dict[str, str]:
    bucket, _, key = path.partition("/")
    return {"Bucket": bucket, "Key": key}


def _kind(path: str) -> dict[str, str]:
    """What a browser is told that an object is."""
    kind = mimetypes.guess_type(path)[0]
    return {} if kind is None else {"ContentType": kind}


def _stamp(found: dict[str, Any]) -> str:
    return str(found.get("ETag", "")).strip('"')
