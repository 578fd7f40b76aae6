"""Translates what botocore raises to `OSError`, in words that say what to do and hold no secret."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004  # botocore's, which is no OSError
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)

from app.storage.base import StoreAway


class NoObject(FileNotFoundError):
    """There is no object of that key."""


class NoUpload(FileNotFoundError):
    """The upload was completed or aborted."""


class Changed(OSError):
    """An object, or a part of an upload, is not the one that was named by its ETag."""


_FULL = frozenset(
    {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "507"}
)
_REFUSED = frozenset(
    {
        "AccessDenied",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "401",
        "403",
    }
)
_CHANGED = frozenset({"PreconditionFailed", "InvalidPart", "InvalidPartOrder", "412"})
_ELSEWHERE = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"})
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which, once botocore's own tries are used up, later attempts may succeed."""
_WRITES = frozenset({"PutObject", "UploadPart"})
_KEYS = "DEPOT_S3_ACCESS_KEY and DEPOT_S3_SECRET_KEY, or the role that this process has"


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
    except (HTTPClientError, ConnectionError, IncompleteReadError) as error:
        raise StoreAway(
            errno.EHOSTUNREACH, f"the object store at {endpoint} does not answer ({type(error).__name__})"
        ) from error
    except BotoCoreError as error:
        raise OSError(errno.EIO, f"the object store can't be used ({type(error).__name__})") from error


def _answered(error: ClientError, bucket: str) -> OSError:  # noqa: PLR0911  # a table, one line each
    operation = error.operation_name
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    told = f"{operation}: {status} {code}"
    match code:
        case "NoSuchBucket":
            return _no_bucket(bucket)
        case "404" if operation == "HeadBucket":
            return _no_bucket(bucket)
        case "NoSuchUpload":
            return NoUpload(errno.ENOENT, f"the upload is gone ({told})")
        case "NoSuchKey" | "404":
            return NoObject(errno.ENOENT, f"the object is not there ({told})")
        case "KeyTooLongError":
            return OSError(errno.ENAMETOOLONG, "a file's name is too long for the object store: leave it out by 'exclude'")
    if code in _FULL or status == 507:
        return OSError(errno.ENOSPC, f"the bucket {bucket!r} is full ({told})")
    if code in _REFUSED or status in {401, 403}:
        return PermissionError(errno.EACCES, f"the object store refuses this process ({told}): look at {_KEYS}")
    if code in _CHANGED or status == 412:
        return Changed(errno.ESTALE, f"the object changed meanwhile ({told})")
    if code in _ELSEWHERE:
        return OSError(errno.EIO, f"the bucket {bucket!r} is in another region ({told}): correct DEPOT_S3_REGION")
    if status == 500 and operation in _WRITES:
        # What SeaweedFS, for one, answers when its disks are full.
        return OSError(errno.ENOSPC, f"the object store keeps failing to take data, and may be full ({told})")
    if status in _PASSING:
        return StoreAway(errno.EAGAIN, f"the object store does not work at the moment ({told})")
    return OSError(errno.EIO, f"the object store refused a request ({told})")


def _no_bucket(bucket: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, f"there is no bucket {bucket!r}: create it, or correct DEPOT_STORAGE")
