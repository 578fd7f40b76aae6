"""Translates what botocore raises to `OSError`, in words that say what to do and hold no secret."""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004  # botocore's, which is no OSError
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)

from app.storage.base import StoreAway


class NoObject(FileNotFoundError):
    """There is no object of that key."""


class NoUpload(FileNotFoundError):
    """The upload was completed or aborted."""


class Changed(OSError):
    """An object, or a part of an upload, is not the one that was named by its ETag."""


_KEYS = "DEPOT_S3_ACCESS_KEY and DEPOT_S3_SECRET_KEY, or the role that this process has"


class _Kind(NamedTuple):
    """How an answer is told. `text` may name the bucket."""

    error: type[OSError]
    number: int
    text: str


_NO_BUCKET = _Kind(
    FileNotFoundError, errno.ENOENT, "there is no bucket {bucket!r}: create it, or correct DEPOT_STORAGE"
)
_NO_OBJECT = _Kind(NoObject, errno.ENOENT, "the object is not there")
_NO_UPLOAD = _Kind(NoUpload, errno.ENOENT, "the upload is gone")
_CHANGED = _Kind(Changed, errno.ESTALE, "the object changed meanwhile")
_FULL = _Kind(OSError, errno.ENOSPC, "the bucket {bucket!r} is full")
_FAILING = _Kind(OSError, errno.ENOSPC, "the object store keeps failing to take data, and may be full")
_REFUSED = _Kind(PermissionError, errno.EACCES, f"the object store refuses this process: look at {_KEYS}")
_ELSEWHERE = _Kind(OSError, errno.EIO, "the bucket {bucket!r} is in another region: correct DEPOT_S3_REGION")
_TOO_LONG = _Kind(
    OSError, errno.ENAMETOOLONG, "a file's name is too long for the object store: leave it out with 'exclude'"
)
_BUSY = _Kind(StoreAway, errno.EAGAIN, "the object store does not work at the moment")
_OTHER = _Kind(OSError, errno.EIO, "the object store refused a request")

_CODES: Mapping[str, _Kind] = {
    "NoSuchBucket": _NO_BUCKET,
    "NoSuchKey": _NO_OBJECT,
    "404": _NO_OBJECT,  # of a HEAD, whose answer has no body
    "NoSuchUpload": _NO_UPLOAD,
    "KeyTooLongError": _TOO_LONG,
    **dict.fromkeys(["PreconditionFailed", "InvalidPart", "InvalidPartOrder"], _CHANGED),
    **dict.fromkeys(["QuotaExceeded", "InsufficientStorage"], _FULL),
    **dict.fromkeys(["XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"], _FULL),
    **dict.fromkeys(["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"], _REFUSED),
    **dict.fromkeys(["ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"], _REFUSED),
    "XAdminUserNotFound": _REFUSED,  # versitygw's for an unknown key
    **dict.fromkeys(["AuthorizationHeaderMalformed", "PermanentRedirect"], _ELSEWHERE),
}
_STATUSES: Mapping[int, _Kind] = {
    **dict.fromkeys([401, 403], _REFUSED),
    412: _CHANGED,
    507: _FULL,
    # After botocore's own tries; a later attempt may succeed.
    **dict.fromkeys([408, 429, 500, 502, 503, 504], _BUSY),
}
_WRITES = frozenset({"PutObject", "UploadPart"})


@contextmanager
def translated(endpoint: str, bucket: str) -> Iterator[None]:
    """Raise `OSError` for what botocore raises in the block."""
    try:
        yield
    except ClientError as error:
        raise _answered(error, bucket) from error
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError) as error:
        message = f"there are no credentials for the object store ({type(error).__name__}): set {_KEYS}"
        raise PermissionError(errno.EACCES, message) from error
    except SSLError as error:
        message = f"no TLS to the object store at {endpoint}: look at DEPOT_S3_ENDPOINT, and at AWS_CA_BUNDLE"
        raise StoreAway(errno.EHOSTUNREACH, message) from error
    except (HTTPClientError, ConnectionError, IncompleteReadError) as error:
        raise StoreAway(
            errno.EHOSTUNREACH, f"the object store at {endpoint} does not answer ({type(error).__name__})"
        ) from error
    except BotoCoreError as error:
        raise OSError(errno.EIO, f"the object store can't be used ({type(error).__name__})") from error


def _answered(error: ClientError, bucket: str) -> OSError:
    operation = error.operation_name
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    kind = _CODES.get(code) or _STATUSES.get(status, _OTHER)
    if kind is _BUSY and status == 500 and operation in _WRITES:
        kind = _FAILING  # what SeaweedFS, for one, answers when its disks are full
    return kind.error(kind.number, f"{kind.text.format(bucket=bucket)} ({operation}: {status} {code})")
