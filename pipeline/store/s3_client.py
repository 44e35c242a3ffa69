"""The client of an S3 store, and what its errors mean.

Credentials and endpoint come from the AWS chain (`AWS_ENDPOINT_URL`, profiles, instance roles),
never from an address. boto3 repeats single requests; `pipeline.store.retry` repeats operations.
"""

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.store.timely import Timely, TooSlow
from schemas.errors import ClipFault
from schemas.reasons import Reason

PART_BYTES = 16 * 2**20
ATTEMPTS = 6  # tries of boto3 at one request, with growing pauses
PARALLEL = 8  # simultaneous requests, per transfer or per batch of reads
READ_SECONDS = 30.0  # without a byte of an answer
_LOCK = threading.Lock()


def client() -> Any:  # noqa: ANN401 - boto3 ships no types
    """The client of this process. A fork, or a change of AWS settings, gets a new client."""
    settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    with _LOCK:
        return make_client(os.getpid(), settings)


@functools.lru_cache(maxsize=4)
def make_client(_pid: int, settings: tuple[tuple[str, str], ...]) -> Any:  # noqa: ANN401
    import boto3  # slow to import: only where a store is used
    from botocore.config import Config

    endpoint = {"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"} & dict(settings).keys()
    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
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


def transfer() -> Any:  # noqa: ANN401
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(
        multipart_threshold=PART_BYTES,
        multipart_chunksize=PART_BYTES,
        max_concurrency=PARALLEL,
        preferred_transfer_client="classic",
    )


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


def status_of(error: Any) -> str:  # noqa: ANN401
    return str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))


@contextmanager
def store_faults(uri: str, passed: tuple[str, ...] = ()) -> Iterator[None]:
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
        status, code = status_of(error), str(error.response.get("Error", {}).get("Code", ""))
        if status in passed:
            raise
        reason = _STORE_REASONS.get(code) or _STORE_REASONS.get(status) or Reason.STORE_ERROR
        raise ClipFault(reason, f"{uri}: the store answered {status} {code}".strip()) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise ClipFault(Reason.ACCESS_DENIED, f"{uri}: no credentials found") from error
    except (BotoCoreError, Boto3Error, RetriesExceededError, TooSlow) as error:
        raise ClipFault(Reason.STORE_ERROR, f"{uri}: {error}") from error
