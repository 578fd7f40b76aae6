"""The objects of one bucket: requests to the object store, by botocore. Every method raises `OSError`."""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from io import RawIOBase
from itertools import islice
from typing import Any, NamedTuple

from botocore.credentials import RefreshableCredentials
from botocore.session import Session

from app.storage.base import StoreAway
from app.storage.incoming import Bytes
from app.storage.locations import Observe, S3Options
from app.storage.s3.client import PATIENT, READ, connect
from app.storage.s3.errors import NoObject, NoUpload, translated

_BATCH = 1000
"""Most keys of a request that deletes: the protocol's limit."""
_SHA256 = "sha256"
"""The name of the metadata that holds a verified object's SHA-256."""
_LIFETIMES = (3600, 1800, 900, 600)
"""Seconds for which an address is signed. The last: temporary credentials are renewed when they have as much left."""
_CHUNK = 1 << 18
"""Bytes of a body that are handed to the socket at a time."""
_WINDOW, _SLOWEST = 30.0, 16 << 10
"""Seconds, and bytes per second below which a send over so many seconds is sent again: its connection is stalled."""


class Object(NamedTuple):
    """A stored object. `etag` as the server spells it; `modified` in seconds since 1970, by its clock."""

    key: str
    size: int
    etag: str
    modified: float


class Begun(NamedTuple):
    """An upload that is neither completed nor aborted. `since`: in seconds since 1970, by the server's clock."""

    key: str
    upload: str
    since: float


class Head(NamedTuple):
    """An object's size in bytes, its ETag, and the SHA-256 that was verified when it was stored, if there is one."""

    size: int
    etag: str
    sha256: str | None


class Objects:
    """The bucket `name`. For any number of threads."""

    def __init__(self, name: str, options: S3Options, observe: Observe | None = None) -> None:
        self.name = name
        self.batches = True
        """Whether the server deletes several objects at once, as far as is known."""
        session = Session()
        self._client = connect(session, options, READ, observe)
        self._patient = connect(session, options, PATIENT, observe)
        self._session = None if options.access_key else session
        self.endpoint = str(self._client.meta.endpoint_url)

    def check(self) -> None:
        """Raise `FileNotFoundError` if the bucket is not there, `PermissionError` if it may not be read."""
        # Not a HEAD, whose answer has no body to say what is wrong.
        with self.translated():
            self._client.list_objects_v2(Bucket=self.name, MaxKeys=1)

    def translated(self) -> AbstractContextManager[None]:
        """Translate what is raised in a block."""
        return translated(self.endpoint, self.name)

    # Whole objects

    def put(self, key: str, data: Bytes, *, verified: bool = False, fresh: bool = False) -> str:
        """Store an object; return its ETag. `verified`: with its SHA-256. `fresh`: raise `Changed` if it is there."""
        more: dict[str, Any] = {"Metadata": _metadata(hashlib.sha256(data).hexdigest())} if verified else {}
        if fresh:
            more["IfNoneMatch"] = "*"
        with self.translated():
            answer = self._client.put_object(Bucket=self.name, Key=key, Body=_Body(data), **more)
        return str(answer["ETag"])

    def get(self, key: str) -> bytes:
        """Return a small object. Raises `NoObject`."""
        with self.translated():
            return bytes(self._client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def stream(self, key: str, etag: str, start: int, end: int | None = None) -> Any:
        """Return a file-like object of the bytes from `start` to `end`. Raises `Changed` if the ETag is another one.

        What it raises is to be `translated`.
        """
        asked = f"bytes={start}-{'' if end is None else end - 1}"
        with self.translated():
            return self._client.get_object(Bucket=self.name, Key=key, IfMatch=etag, Range=asked)["Body"]

    def read(self, key: str, etag: str, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`, which are few. Raises `Changed` if the ETag is another one."""
        if start >= end:
            return b""
        with self.translated():
            return bytes(self.stream(key, etag, start, end).read())

    def head(self, key: str) -> Head:
        """Return what is known of an object. Raises `NoObject`."""
        with self.translated():
            answer = self._client.head_object(Bucket=self.name, Key=key)
        return Head(int(answer["ContentLength"]), str(answer.get("ETag", "")), answer.get("Metadata", {}).get(_SHA256))

    def copy(self, source: str, key: str, etag: str) -> str:
        """Copy an object with its metadata; return the copy's ETag. Raises `Changed` if the source's is another one."""
        origin = {"Bucket": self.name, "Key": source}
        with self.translated():
            answer = self._patient.copy_object(Bucket=self.name, Key=key, CopySource=origin, CopySourceIfMatch=etag)
        return str(answer["CopyObjectResult"]["ETag"])

    def delete(self, key: str) -> None:
        """Idempotent."""
        with self.translated():
            self._client.delete_object(Bucket=self.name, Key=key)

    def delete_all(self, keys: Iterator[str] | Sequence[str]) -> None:
        """Delete objects, many in a request where the server can."""
        rest = iter(keys)
        while batch := list(islice(rest, _BATCH)):
            if not self.batches or not self._delete_batch(batch):
                for key in batch:
                    self.delete(key)

    def _delete_batch(self, keys: Sequence[str]) -> bool:
        """Return False if the server refused the request, or some of it."""
        try:
            with self.translated():
                listed = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
                return not self._client.delete_objects(Bucket=self.name, Delete=listed).get("Errors")
        except (PermissionError, StoreAway):
            raise
        except OSError:
            self.batches = False
            return False

    def inside(self, folder: str) -> Mapping[str, Object]:
        """Return all objects of a folder, by their paths in it."""
        return {one.key.removeprefix(folder): one for one in self.below(folder)}

    def below(self, prefix: str) -> Iterator[Object]:
        """Yield the objects whose keys begin with `prefix`."""
        for page in self._pages("list_objects_v2", Prefix=prefix):
            for found in page.get("Contents", ()):
                modified: datetime = found["LastModified"]
                yield Object(found["Key"], int(found["Size"]), str(found["ETag"]), modified.timestamp())

    def level(self, prefix: str) -> Iterator[Object]:
        """Yield the objects whose keys have no slash after `prefix`."""
        for page in self._pages("list_objects_v2", Prefix=prefix, Delimiter="/"):
            for found in page.get("Contents", ()):
                yield Object(found["Key"], int(found["Size"]), str(found["ETag"]), found["LastModified"].timestamp())

    def lifetime(self) -> int:
        """Return for how many seconds an address that is signed now is good: no longer than the credentials."""
        with self.translated():
            credentials = self._session.get_credentials() if self._session else None
            if not isinstance(credentials, RefreshableCredentials):
                return _LIFETIMES[0]
            credentials.get_frozen_credentials()  # renews them, if they are about to end
            return next((one for one in _LIFETIMES if not credentials.refresh_needed(one)), _LIFETIMES[-1])

    def presign(self, key: str, seconds: int) -> str:
        """Return an address from which an object can be read, without further credentials, for so many seconds."""
        with self.translated():
            asked = {"Bucket": self.name, "Key": key}
            return str(self._client.generate_presigned_url("get_object", Params=asked, ExpiresIn=seconds))

    # Objects in parts

    def begin(self, key: str, sha256: str | None) -> str:
        """Begin an upload; return its id. `sha256`: that of the whole, which is verified before it is completed."""
        more = {"Metadata": _metadata(sha256)} if sha256 else {}
        with self.translated():
            return str(self._client.create_multipart_upload(Bucket=self.name, Key=key, **more)["UploadId"])

    def send(self, key: str, upload: str, number: int, data: Bytes) -> str:
        """Store a part; return its ETag. Raises `NoUpload`."""
        with self.translated():
            answer = self._client.upload_part(
                Bucket=self.name, Key=key, UploadId=upload, PartNumber=number, Body=_Body(data)
            )
        return str(answer["ETag"])

    def copy_part(self, key: str, upload: str, number: int, source: str, etag: str, start: int, end: int) -> str:
        """Store bytes of another object as a part; return its ETag. Raises `Changed` if the source's is another one."""
        with self.translated():
            answer = self._patient.upload_part_copy(
                Bucket=self.name,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                CopySource={"Bucket": self.name, "Key": source},
                CopySourceIfMatch=etag,
                CopySourceRange=f"bytes={start}-{end - 1}",
            )
        return str(answer["CopyPartResult"]["ETag"])

    def parts(self, key: str, upload: str) -> Mapping[int, str]:
        """Return the ETags of the parts that are there, by their numbers. Raises `NoUpload`."""
        pages = self._pages("list_parts", Key=key, UploadId=upload)
        return {int(part["PartNumber"]): str(part["ETag"]) for page in pages for part in page.get("Parts", ())}

    def complete(self, key: str, upload: str, etags: Sequence[str]) -> str:
        """Make the object of its parts, from the first on; return its ETag. Raises `NoUpload`, or `Changed`."""
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        with self.translated():
            answer = self._patient.complete_multipart_upload(
                Bucket=self.name, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
            )
        return str(answer["ETag"])

    def abort(self, key: str, upload: str) -> None:
        """Remove an upload with its parts. Idempotent."""
        try:
            with self.translated():
                self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload)
        except (NoUpload, NoObject):
            pass

    def uploads(self, prefix: str) -> Iterator[Begun]:
        """Yield the uploads below `prefix`, as far as the server tells: many do not."""
        for page in self._pages("list_multipart_uploads", Prefix=prefix):
            for found in page.get("Uploads", ()):
                yield Begun(found["Key"], found["UploadId"], found["Initiated"].timestamp())

    def _pages(self, operation: str, **asked: Any) -> Iterator[Any]:
        with self.translated():
            yield from self._client.get_paginator(operation).paginate(Bucket=self.name, **asked)


class _Body(RawIOBase):
    """Bytes to send. botocore takes no memoryview, and copies a bytearray."""

    def __init__(self, data: Bytes) -> None:
        self._data, self._offset = memoryview(data), 0
        self._looked = time.monotonic(), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._offset

    def seek(self, offset: int, whence: int = 0) -> int:
        self._offset = offset + (0, self._offset, len(self._data))[whence]
        self._looked = time.monotonic(), self._offset
        return self._offset

    def read(self, size: int = -1) -> bytes:
        # http.client asks for 8 KiB at a time, and each would be a call to the system.
        self._check_rate()
        end = len(self._data) if size < 0 else self._offset + max(size, _CHUNK)
        data = bytes(self._data[self._offset : end])
        self._offset += len(data)
        return data

    def __len__(self) -> int:
        return len(self._data)

    def _check_rate(self) -> None:
        """Raise `TimeoutError`, after which botocore tries again, if the data goes too slowly."""
        since, before = self._looked
        passed = time.monotonic() - since
        if passed >= _WINDOW:
            if self._offset - before < _SLOWEST * passed:
                raise TimeoutError
            self._looked = since + passed, self._offset


def _metadata(sha256: str) -> Mapping[str, str]:
    return {_SHA256: sha256}
