"""Objects in an S3 store: the back end of `pipeline.store.storage` for s3:// addresses.

Credentials and endpoint come from the AWS chain (`AWS_ENDPOINT_URL`, profiles, instance roles),
never from an address. boto3 repeats single requests; `pipeline.store.retry` repeats operations.
"""

import functools
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.store import checksum, local
from pipeline.store.local import ObjectStat
from pipeline.store.timely import Timely, TooSlow
from schemas.errors import ClipFault
from schemas.reasons import Reason

_PART_BYTES = 16 * 2**20
_ATTEMPTS = 6  # tries of boto3 at one request, with growing pauses
MOST_DELETED = 1000  # objects in one request
PARALLEL = 8  # simultaneous requests, per transfer or per batch of reads
READ_SECONDS = 30.0  # without a byte of an answer
_CLIENT_LOCK = threading.Lock()
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
    with _store_faults(uri):
        head = _client().head_object(Bucket=bucket, Key=key)
    return _object_stat(head)


def _object_stat(head: Mapping[str, Any]) -> ObjectStat:
    return ObjectStat(int(head["ContentLength"]), str(head["ETag"]).strip('"'))


@contextmanager
def opened(uri: str) -> Iterator[BinaryIO]:
    """The content as an open file, fetched first."""
    bucket, key = bucket_and_key(uri)
    with tempfile.TemporaryFile() as copy:
        with _store_faults(uri):
            _client().download_fileobj(bucket, key, copy, Config=_transfer())
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
    with _store_faults(uri):
        for attempt in range(3):
            try:
                answer = _client().get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
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
    with _store_faults(uri):
        answer = _client().put_object(Bucket=bucket, Key=key, Body=data, **encryption())
    _check_encrypted(uri, answer)


def create(uri: str, data: bytes, mark: str) -> bool:
    """Write an object only if there is none, by a conditional PUT.

    If the answer to a PUT is lost, it is sent again and then meets its own object. The mark in the
    metadata shows whether the object is our own or another writer's.
    """
    from botocore.exceptions import ClientError

    bucket, key = bucket_and_key(uri)
    client = _client()
    for _ in range(PARALLEL):
        try:
            with _store_faults(uri, passed=("412", "409")):
                answer = client.put_object(
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
            if _status(error) == "409":  # another write is under way: try again
                time.sleep(0.1)
                continue
            with _store_faults(uri):
                head = client.head_object(Bucket=bucket, Key=key)
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
    with _store_faults(uri):
        _client().delete_object(Bucket=bucket, Key=key)


def delete_many(uris: Sequence[str]) -> None:
    """Delete at most MOST_DELETED objects of one bucket by one request."""
    bucket = bucket_and_key(uris[0])[0]
    keys = [{"Key": bucket_and_key(uri)[1]} for uri in uris]
    with _store_faults(uris[0]):
        answer = _client().delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
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
    answer, data = _read(uri, _PART_BYTES)
    if int(answer["ContentLength"]) <= _PART_BYTES:
        path.write_bytes(data)
        return answer
    bucket, key = bucket_and_key(uri)
    with path.open("wb") as stream, _store_faults(uri):
        _client().download_fileobj(bucket, key, stream, Config=_transfer())
    return _stated(uri, ChecksumMode="ENABLED")


def _stated(uri: str, **more: object) -> dict[str, Any]:
    """What the store states about an object, or about a part of it."""
    bucket, key = bucket_and_key(uri)
    with _store_faults(uri):
        return dict(_client().head_object(Bucket=bucket, Key=key, **more))


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
    with local.faults(path), path.open("rb") as stream, _store_faults(uri):
        size = os.fstat(stream.fileno()).st_size
        if size <= _PART_BYTES:  # one request, whose answer says all that a HEAD would
            data = stream.read()
            answer = _client().put_object(Bucket=bucket, Key=key, Body=data, **extra)
            stored = len(data)
        else:
            _client().upload_fileobj(stream, bucket, key, ExtraArgs=extra, Config=_transfer())
            answer = _client().head_object(Bucket=bucket, Key=key)
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


def _client() -> Any:  # noqa: ANN401 - boto3 ships no types
    """The client of this process. A fork, or a change of AWS settings, gets a new client."""
    settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    with _CLIENT_LOCK:
        return _make_client(os.getpid(), settings)


@functools.lru_cache(maxsize=4)
def _make_client(_pid: int, settings: tuple[tuple[str, str], ...]) -> Any:  # noqa: ANN401
    import boto3  # slow to import: only where a store is used
    from botocore.config import Config

    endpoint = {"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"} & dict(settings).keys()
    config = Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=10,
        read_timeout=READ_SECONDS,
        max_pool_connections=4 * PARALLEL,
        tcp_keepalive=True,
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    client = boto3.session.Session().client("s3", config=config)
    client.meta.events.register_last("after-call.s3.GetObject", _make_timely)
    return client


def _make_timely(parsed: dict[str, Any], **_: object) -> None:
    """Give the body of an answer a deadline."""
    if (body := parsed.get("Body")) is not None:
        body._raw_stream = Timely(body._raw_stream, int(parsed.get("ContentLength", 0)))


def _transfer() -> Any:  # noqa: ANN401
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(
        multipart_threshold=_PART_BYTES,
        multipart_chunksize=_PART_BYTES,
        max_concurrency=PARALLEL,
        preferred_transfer_client="classic",
    )


def _pages(uri: str, attempt: Attempt, **request: str) -> Iterator[dict[str, Any]]:
    def page() -> dict[str, Any]:
        with _store_faults(uri):
            return dict(_client().list_objects_v2(**request))

    while True:
        found = attempt(page)
        yield found
        if not found.get("IsTruncated"):
            return
        request["ContinuationToken"] = str(found["NextContinuationToken"])


_STORE_REASONS = {
    "404": Reason.NOT_FOUND,
    "NoSuchKey": Reason.NOT_FOUND,
    "NoSuchBucket": Reason.NOT_FOUND,
    "ExpiredToken": Reason.ACCESS_DENIED,
    "InvalidToken": Reason.ACCESS_DENIED,
    "401": Reason.ACCESS_DENIED,
    "403": Reason.ACCESS_DENIED,
    "InvalidObjectState": Reason.ARCHIVED_TIER,
    "429": Reason.STORE_THROTTLED,
    "SlowDown": Reason.STORE_THROTTLED,
    "503": Reason.STORE_THROTTLED,
    "507": Reason.DISK_FULL,
}


def _status(error: Any) -> str:  # noqa: ANN401
    return str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))


@contextmanager
def _store_faults(uri: str, passed: tuple[str, ...] = ()) -> Iterator[None]:
    """Turn an error of the store into a `ClipFault`. Statuses in `passed` are re-raised."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )
    from s3transfer.exceptions import RetriesExceededError  # type: ignore[import-untyped]

    try:
        yield
    except ClientError as error:
        status, code = _status(error), str(error.response.get("Error", {}).get("Code", ""))
        if status in passed:
            raise
        reason = _STORE_REASONS.get(code) or _STORE_REASONS.get(status) or Reason.STORE_ERROR
        raise ClipFault(reason, f"{uri}: the store answered {status} {code}".strip()) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise ClipFault(Reason.ACCESS_DENIED, f"{uri}: no credentials found") from error
    except (BotoCoreError, Boto3Error, RetriesExceededError, TooSlow) as error:
        raise ClipFault(Reason.STORE_ERROR, f"{uri}: {error}") from error
