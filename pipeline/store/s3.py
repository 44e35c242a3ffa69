"""Objects in an S3 store: the back end of `pipeline.store.storage` for s3:// addresses.

`pipeline.store.s3_client` makes the client, and turns its errors into faults.
"""

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.store import checksum, local
from pipeline.store.local import ObjectStat
from pipeline.store.s3_client import (
    PARALLEL,
    PART_BYTES,
    client,
    status_of,
    store_faults,
    transfer,
)
from schemas.errors import ClipFault
from schemas.reasons import Reason

MOST_DELETED = 1000  # objects in one request
log = logging.getLogger(__name__)
KMS_VARIABLE = "ARCHIVE_RESTORE_KMS_KEY"

Attempt = Callable[[Callable[[], dict[str, Any]]], dict[str, Any]]  # makes a request, or repeats it


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Bucket and key. Raises `ClipFault(URI_REFUSED)`."""
    bucket, _, key = str(uri)[len("s3://") :].partition("/")
    if not bucket or "@" in bucket or "\0" in key:
        raise ClipFault(Reason.URI_REFUSED, "the address of an object must be s3://bucket/key")
    return bucket, key


def exists(uri: str) -> bool:
    """Whether an object exists at exactly this address."""
    try:
        stat(uri)
    except ClipFault as fault:
        if fault.reason is Reason.NOT_FOUND:
            return False
        raise
    return True


def stat(uri: str) -> ObjectStat:
    """Size and ETag."""
    bucket, key = bucket_and_key(uri)
    with store_faults(uri):
        head = client().head_object(Bucket=bucket, Key=key)
    return _object_stat(head)


def _object_stat(head: Mapping[str, Any]) -> ObjectStat:
    return ObjectStat(int(head["ContentLength"]), str(head["ETag"]).strip('"'))


@contextmanager
def opened(uri: str) -> Iterator[BinaryIO]:
    """The content as an open file, fetched first."""
    bucket, key = bucket_and_key(uri)
    with tempfile.TemporaryFile() as copy:
        with store_faults(uri):
            client().download_fileobj(bucket, key, copy, Config=transfer())
        copy.seek(0)
        yield copy


def read_bytes(uri: str) -> bytes:
    """The whole content."""
    return _read(uri)[1]


def _read(uri: str, most: int | None = None) -> tuple[dict[str, Any], bytes]:
    """The answer to a GET, and the content; without it if it has more than `most` bytes.

    botocore repeats a failed request, but not a failed read of its answer.
    """
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    bucket, key = bucket_and_key(uri)
    with store_faults(uri):
        for attempt in range(3):
            try:
                answer = client().get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
                if most is not None and int(answer["ContentLength"]) > most:
                    answer["Body"].close()
                    return answer, b""
                return answer, bytes(answer["Body"].read())
            except (HTTPClientError, IncompleteReadError):
                if attempt == 2:
                    raise
    raise AssertionError("unreachable")


def write_bytes(uri: str, data: bytes) -> None:
    """Write or replace an object."""
    bucket, key = bucket_and_key(uri)
    with store_faults(uri):
        answer = client().put_object(Bucket=bucket, Key=key, Body=data, **encryption())
    _check_encrypted(uri, answer)


def create(uri: str, data: bytes, mark: str) -> bool:
    """Write an object only if there is none, by a conditional PUT.

    If the answer to a PUT is lost, it is sent again and then meets its own object. The mark in the
    metadata shows whether the object is our own or another writer's.
    """
    from botocore.exceptions import ClientError

    bucket, key = bucket_and_key(uri)
    for _ in range(PARALLEL):
        try:
            with store_faults(uri, passed=("412", "409")):
                answer = client().put_object(
                    Bucket=bucket,
                    Key=key,
                    Body=data,
                    IfNoneMatch="*",
                    Metadata={"writer": mark},
                    **encryption(),
                )
            _check_encrypted(uri, answer)
            return True
        except ClientError as error:
            if status_of(error) == "409":  # another write is under way: try again
                time.sleep(0.1)
                continue
            with store_faults(uri):
                head = client().head_object(Bucket=bucket, Key=key)
            return bool(head.get("Metadata", {}).get("writer") == mark)
    raise ClipFault(Reason.STORE_ERROR, f"{uri}: conflicting writes in {PARALLEL} tries")


def listing(prefix: str, attempt: Attempt) -> Iterator[str]:
    """Yield the address of every object below a folder, in order; `attempt` makes each request."""
    bucket, key = bucket_and_key(prefix)
    for page in _pages(prefix, attempt, Bucket=bucket, Prefix=_as_folder(key)):
        yield from (f"s3://{bucket}/{item['Key']}" for item in page.get("Contents", ()))


def folders(prefix: str, most: int | None = None) -> list[str]:
    """The names of the folders directly below a folder, sorted. One request per 1000.

    No further request is made once there are more than `most` names.
    """
    bucket, key = bucket_and_key(prefix)
    pages = _pages(
        prefix, lambda work: work(), Bucket=bucket, Prefix=_as_folder(key), Delimiter="/"
    )
    found: list[str] = []
    for page in pages:
        found += [item["Prefix"] for item in page.get("CommonPrefixes", ())]
        if most is not None and len(found) > most:
            break
    return sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in found)


def delete(uri: str) -> None:
    """Delete an object, if it exists."""
    bucket, key = bucket_and_key(uri)
    with store_faults(uri):
        client().delete_object(Bucket=bucket, Key=key)


def delete_many(uris: Sequence[str]) -> None:
    """Delete at most MOST_DELETED objects of one bucket by one request."""
    bucket = bucket_and_key(uris[0])[0]
    keys = [{"Key": bucket_and_key(uri)[1]} for uri in uris]
    with store_faults(uris[0]):
        answer = client().delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
    for error in answer.get("Errors", ()):
        sentence = f"s3://{bucket}/{error.get('Key')} was not deleted: {error.get('Code')}"
        raise ClipFault(Reason.STORE_ERROR, sentence)


def download(uri: str, path: Path) -> ObjectStat:
    """Fetch into a local file, which appears only when it is complete. Returns size and ETag.

    A large object is fetched by parallel ranges. Raises `ClipFault(STORE_ERROR)` if the copy has
    another size or checksum than the object. The log names an object without a checksum that can
    be compared.
    """
    with local.faults(path), local.sibling(path) as temp:
        whole = _fetch(uri, temp)
        _check_copy(uri, temp, whole)
        temp.replace(path)
    return _object_stat(whole)


def _fetch(uri: str, path: Path) -> dict[str, Any]:
    """Write the content to `path`, by one request if it is small. Returns what the store states."""
    answer, data = _read(uri, PART_BYTES)
    if int(answer["ContentLength"]) <= PART_BYTES:
        path.write_bytes(data)
        return answer
    bucket, key = bucket_and_key(uri)
    with path.open("wb") as stream, store_faults(uri):
        client().download_fileobj(bucket, key, stream, Config=transfer())
    return _stated(uri, ChecksumMode="ENABLED")


def _stated(uri: str, **more: object) -> dict[str, Any]:
    """What the store states about an object, or about a part of it."""
    bucket, key = bucket_and_key(uri)
    with store_faults(uri):
        return dict(client().head_object(Bucket=bucket, Key=key, **more))


def _check_copy(uri: str, path: Path, whole: Mapping[str, Any]) -> None:
    """Raises `ClipFault(STORE_ERROR)` if a file is not what the store states."""

    def part(number: int) -> dict[str, Any] | None:
        with suppress(ClipFault):  # not every store knows parts
            return _stated(uri, PartNumber=number)
        return None

    right = checksum.matches(path, whole, part)
    if right is None:
        log.warning("%s: the store gives no checksum to compare; only the size was compared", uri)
    elif not right:
        raise ClipFault(Reason.STORE_ERROR, f"{uri} was not read as the store holds it")


def upload(path: Path, uri: str) -> None:
    """Send a local file, a large one in parts. The object appears only when it is complete.

    The store compares it with its SHA-256.
    """
    bucket, key = bucket_and_key(uri)
    extra = {"ChecksumAlgorithm": "SHA256", **encryption()}
    with local.faults(path), path.open("rb") as stream, store_faults(uri):
        size = os.fstat(stream.fileno()).st_size
        if size <= PART_BYTES:  # one request, whose answer says all that a HEAD would
            data = stream.read()
            answer = client().put_object(Bucket=bucket, Key=key, Body=data, **extra)
            stored = len(data)
        else:
            client().upload_fileobj(stream, bucket, key, ExtraArgs=extra, Config=transfer())
            answer = client().head_object(Bucket=bucket, Key=key)
            stored = int(answer["ContentLength"])
    _check_encrypted(uri, answer)
    if stored != size:
        raise ClipFault(Reason.STORE_ERROR, f"{uri} has {stored} bytes, {size} were sent")


def encryption() -> dict[str, str]:
    """The encryption options of every PUT. Empty without ARCHIVE_RESTORE_KMS_KEY.

    The variable holds the id, ARN or alias of a key, or `default` for the store's own key.
    """
    key = os.environ.get(KMS_VARIABLE)
    if not key:
        return {}
    named = {} if key == "default" else {"SSEKMSKeyId": key}
    return {"ServerSideEncryption": "aws:kms", **named}


def _check_encrypted(uri: str, answer: dict[str, Any]) -> None:
    """Raises `ClipFault(STORE_ERROR)` if the store ignored the requested encryption."""
    if encryption() and answer.get("ServerSideEncryption") != "aws:kms":
        raise ClipFault(Reason.STORE_ERROR, f"{uri}: the store did not encrypt it with a KMS key")


def _as_folder(key: str) -> str:
    return f"{key.rstrip('/')}/" if key.strip("/") else ""


def _pages(uri: str, attempt: Attempt, **request: str) -> Iterator[dict[str, Any]]:
    def page() -> dict[str, Any]:
        with store_faults(uri):
            return dict(client().list_objects_v2(**request))

    while True:
        found = attempt(page)
        yield found
        if not found.get("IsTruncated"):
            return
        request["ContinuationToken"] = str(found["NextContinuationToken"])
