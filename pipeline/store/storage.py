"""Paths and s3:// addresses behind one set of functions; nothing else knows where bytes live.

A path (or file:// address) is a file; s3://bucket/key is an object. Writes are atomic: a reader
sees the old bytes, the new bytes or nothing. `create` is the primitive that makes work count once:
of many writers exactly one gets True. Credentials and endpoint come from the AWS chain
(`AWS_ENDPOINT_URL`, profiles, instance roles), never from an address.

Trouble is a `ClipFault`: NOT_FOUND, ACCESS_DENIED, ARCHIVED_TIER, DISK_FULL, STORE_THROTTLED,
STORE_ERROR or URI_REFUSED. Nothing here is retried but single requests: `pipeline/store/store.py`
adds retries.
"""

import functools
import hashlib
import os
import re
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar
from urllib.parse import unquote

from pipeline.store import local
from schemas.errors import ClipFault
from schemas.reasons import Reason

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_FILE_URI = re.compile(r"^file://(localhost)?(?=/)")
_PART_BYTES = 16 * 2**20
_ATTEMPTS = 6  # of a request that was throttled or met trouble, with growing pauses
_PARALLEL = 8  # requests at once, per transfer or per batch of reads
_CLIENT_LOCK = threading.Lock()
KMS_VARIABLE = "ARCHIVE_RESTORE_KMS_KEY"
T = TypeVar("T")


class Attempt(Protocol):
    """Makes a request, perhaps several times, and returns its answer."""

    def __call__(self, work: Callable[[], T]) -> T: ...


class ObjectStat(NamedTuple):
    """Size in bytes, and a token that changes with the content: mtime in ns, or the ETag."""

    size: int
    token: str


def is_s3(uri: str | Path) -> bool:
    """Return whether the address names an object in a store, not a file."""
    return isinstance(uri, str) and uri.startswith("s3://")


def join(uri: str | Path, *parts: str) -> str:
    """Return the address of something below `uri`."""
    base = str(uri)
    tail = "/".join(part.strip("/") for part in parts if part.strip("/"))
    return f"{base.rstrip('/')}/{tail}" if tail else base


def _once(work: Callable[[], T]) -> T:
    return work()


def exists(uri: str | Path) -> bool:
    """Return whether there is a file or an object at exactly this address."""
    if not is_s3(uri):
        return local_path(uri).is_file()
    try:
        stat(uri)
    except ClipFault as fault:
        if fault.reason is Reason.NOT_FOUND:
            return False
        raise
    return True


def stat(uri: str | Path) -> ObjectStat:
    """Return size and token; NOT_FOUND also for a folder."""
    if is_s3(uri):
        bucket, key = _split(uri)
        with _store_faults(uri):
            head = _client().head_object(Bucket=bucket, Key=key)
        return ObjectStat(int(head["ContentLength"]), str(head["ETag"]).strip('"'))
    path = local_path(uri)
    with local.faults(path):
        status = path.stat()
    if path.is_dir():
        raise ClipFault(Reason.NOT_FOUND, f"{path} is a folder, not a file")
    return ObjectStat(status.st_size, str(status.st_mtime_ns))


def read_bytes(uri: str | Path) -> bytes:
    """Return the whole content."""
    if is_s3(uri):
        return _read_object(uri)
    path = local_path(uri)
    with local.faults(path):
        return path.read_bytes()


@contextmanager
def opened(uri: str | Path) -> Iterator[BinaryIO]:
    """The content as a file that is open for reading; an object is fetched into one."""
    if not is_s3(uri):
        path = local_path(uri)
        with local.faults(path):
            stream = path.open("rb")
        with stream:
            yield stream
        return
    bucket, key = _split(uri)
    with tempfile.TemporaryFile() as copy:
        with _store_faults(uri):
            _client().download_fileobj(bucket, key, copy, Config=_transfer())
        copy.seek(0)
        yield copy


def read_many(uris: Iterable[str], read: Callable[[str], bytes] = read_bytes) -> dict[str, bytes]:
    """Return the content of many small objects, several read at once by `read`."""
    uris = list(uris)
    if len(uris) < 2 or not is_s3(uris[0]):
        return {uri: read(uri) for uri in uris}
    with ThreadPoolExecutor(_PARALLEL) as pool:
        return dict(zip(uris, pool.map(read, uris), strict=True))


def write_bytes(uri: str | Path, data: bytes) -> None:
    """Write or replace the whole content, durably, in one step."""
    if is_s3(uri):
        bucket, key = _split(uri)
        with _store_faults(uri):
            answer = _client().put_object(Bucket=bucket, Key=key, Body=data, **encryption())
        _check_encrypted(uri, answer)
        return
    local.replace(local_path(uri), data)


def create(uri: str | Path, data: bytes, mark: str | None = None) -> bool:
    """Write only if nothing is there: True for exactly one of many writers, False for others.

    A caller that repeats a failed call passes the same `mark`, so that it recognises its own write.
    """
    if is_s3(uri):
        return _create_object(str(uri), data, mark or uuid.uuid4().hex)
    return local.create(local_path(uri), data)


def listing(prefix: str | Path, attempt: Attempt = _once) -> Iterator[str]:
    """Yield the address of every object below a folder, in order; nothing for a missing folder.

    `attempt` makes each request, so that a listing can go on after a failed page.
    """
    if is_s3(prefix):
        base, (bucket, key) = _bucket_uri(prefix), _split(prefix)
        for page in _pages(prefix, attempt, Bucket=bucket, Prefix=_as_folder(key)):
            yield from (f"{base}/{item['Key']}" for item in page.get("Contents", ()))
        return
    yield from local.walk(local_path(prefix))


def folders(prefix: str | Path) -> list[str]:
    """Return the names of the folders directly below a folder, sorted; one request per 1000."""
    if is_s3(prefix):
        bucket, key = _split(prefix)
        pages = _pages(prefix, _once, Bucket=bucket, Prefix=_as_folder(key), Delimiter="/")
        found = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", ())]
        return sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in found)
    return local.subfolders(local_path(prefix))


def delete(uri: str | Path) -> None:
    """Delete a file or an object; one that is not there is no error."""
    if is_s3(uri):
        bucket, key = _split(uri)
        with _store_faults(uri):
            _client().delete_object(Bucket=bucket, Key=key)
        return
    path = local_path(uri)
    with local.faults(path):
        path.unlink(missing_ok=True)


def download(uri: str | Path, path: str | Path) -> None:
    """Fetch into a local file, by parallel ranges; the file appears only when it is whole."""
    target = Path(path)
    if not is_s3(uri):
        local.copy(local_path(uri), target)
        return
    with local.faults(target), local.sibling(target) as temp:
        bucket, key = _split(uri)
        with temp.open("wb") as stream, _store_faults(uri):
            _client().download_fileobj(bucket, key, stream, Config=_transfer())
        temp.replace(target)


def upload(path: str | Path, uri: str | Path) -> None:
    """Send a local file, in parts that the store checks by SHA-256; it appears only when whole."""
    source = Path(path)
    if not is_s3(uri):
        local.copy(source, local_path(uri))
        return
    bucket, key = _split(uri)
    extra = {"ChecksumAlgorithm": "SHA256", **encryption()}
    with local.faults(source), source.open("rb") as stream, _store_faults(uri):
        size = os.fstat(stream.fileno()).st_size
        _client().upload_fileobj(stream, bucket, key, ExtraArgs=extra, Config=_transfer())
        head = _client().head_object(Bucket=bucket, Key=key)
    _check_encrypted(uri, head)
    if (stored := int(head["ContentLength"])) != size:
        raise ClipFault(Reason.STORE_ERROR, f"{uri} has {stored} bytes, {size} were sent")


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a local file, 64 hex digits."""
    with local.faults(Path(path)), Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def local_path(uri: str | Path) -> Path:
    """Return the path of a local address; URI_REFUSED for any other scheme."""
    if isinstance(uri, Path):
        return uri
    scheme, path = _SCHEME.match(uri), _FILE_URI.sub("", uri)
    if "\0" in uri or (scheme and path == uri):
        raise ClipFault(Reason.URI_REFUSED, f"{uri!r} is neither a path nor an s3:// address")
    return Path(unquote(path)) if scheme else Path(uri)


def encryption() -> dict[str, str]:
    """What every PUT asks for: with ARCHIVE_RESTORE_KMS_KEY (an id, ARN or alias; `default` for the
    store's own key) encryption by that key.
    """
    key = os.environ.get(KMS_VARIABLE)
    if not key:
        return {}
    named = {} if key == "default" else {"SSEKMSKeyId": key}
    return {"ServerSideEncryption": "aws:kms", **named}


def _check_encrypted(uri: str | Path, answer: dict[str, Any]) -> None:
    """STORE_ERROR where a store has ignored that encryption was asked for."""
    if encryption() and answer.get("ServerSideEncryption") != "aws:kms":
        raise ClipFault(Reason.STORE_ERROR, f"{uri}: the store did not encrypt it by a KMS key")


def _split(uri: str | Path) -> tuple[str, str]:
    """Return bucket and key."""
    bucket, _, key = str(uri)[len("s3://") :].partition("/")
    if not bucket or "@" in bucket or "\0" in key:
        raise ClipFault(Reason.URI_REFUSED, "an object's address is s3://bucket/key")
    return bucket, key


def _bucket_uri(uri: str | Path) -> str:
    return f"s3://{_split(uri)[0]}"


def _as_folder(key: str) -> str:
    return f"{key.rstrip('/')}/" if key.strip("/") else ""


def _client() -> Any:  # noqa: ANN401 - boto3 ships no types
    """Return this process's client; a fork or a change of the AWS settings gets a new one."""
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
        read_timeout=60,
        max_pool_connections=4 * _PARALLEL,
        tcp_keepalive=True,
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    return boto3.session.Session().client("s3", config=config)


def _transfer() -> Any:  # noqa: ANN401
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(
        multipart_threshold=_PART_BYTES,
        multipart_chunksize=_PART_BYTES,
        max_concurrency=_PARALLEL,
        preferred_transfer_client="classic",
    )


def _pages(uri: str | Path, attempt: Attempt, **request: str) -> Iterator[dict[str, Any]]:
    def page() -> dict[str, Any]:
        with _store_faults(uri):
            return dict(_client().list_objects_v2(**request))

    while True:
        found = attempt(page)
        yield found
        if not found.get("IsTruncated"):
            return
        request["ContinuationToken"] = str(found["NextContinuationToken"])


def _read_object(uri: str | Path) -> bytes:
    """Read an object; botocore repeats a request but not the reading of its answer, so we do."""
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    bucket, key = _split(uri)
    with _store_faults(uri):
        for attempt in range(3):
            try:
                return bytes(_client().get_object(Bucket=bucket, Key=key)["Body"].read())
            except (HTTPClientError, IncompleteReadError):
                if attempt == 2:
                    raise
    raise AssertionError("unreachable")


def _create_object(uri: str, data: bytes, mark: str) -> bool:
    """`create` by a conditional PUT.

    A PUT whose answer got lost is sent again and then meets its own object; the writer's mark in
    the metadata tells that case from a rival's object.
    """
    from botocore.exceptions import ClientError

    bucket, key = _split(uri)
    client = _client()
    for _ in range(_PARALLEL):
        try:
            with _store_faults(uri, passed=("412", "409")):
                answer = client.put_object(
                    Bucket=bucket, Key=key, Body=data, IfNoneMatch="*",
                    Metadata={"writer": mark}, **encryption(),
                )  # fmt: skip
            _check_encrypted(uri, answer)
            return True
        except ClientError as error:
            if _status(error) == "409":  # a rival's write is under way: ask again
                time.sleep(0.1)
                continue
            with _store_faults(uri):
                head = client.head_object(Bucket=bucket, Key=key)
            return bool(head.get("Metadata", {}).get("writer") == mark)
    raise ClipFault(Reason.STORE_ERROR, f"{uri}: conflicting writes, again and again")


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
def _store_faults(uri: str | Path, passed: tuple[str, ...] = ()) -> Iterator[None]:
    """Turn an error of the store into that address's fault, but for the statuses in `passed`."""
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
    except (BotoCoreError, Boto3Error, RetriesExceededError) as error:
        raise ClipFault(Reason.STORE_ERROR, f"{uri}: {error}") from error
