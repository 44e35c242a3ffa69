"""Read and write files and S3 objects through one set of functions, with or without retries.

`pipeline.store.local` and `pipeline.store.s3` do the work. Writes are atomic: a reader sees the old
content, the new content or nothing. `create` makes work count once: exactly one of several writers
gets True. Errors are `ClipFault`: NOT_FOUND, ACCESS_DENIED, ARCHIVED_TIER, DISK_FULL,
STORE_THROTTLED, STORE_ERROR or URI_REFUSED.

The functions do not retry, for commands that a person waits for. A `Store` does.
"""

import hashlib
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, TypeVar

from pipeline.store import local, s3, s3_client
from pipeline.store.address import is_s3
from pipeline.store.local import ObjectStat
from pipeline.store.retry import NO_RETRIES, RetryPolicy, with_retries
from schemas.errors import ClipFault
from schemas.reasons import Reason

T = TypeVar("T")


@dataclass(frozen=True)
class Store:
    """Files at paths and objects at s3:// addresses, under a retry policy.

    It holds no connection, so it is cheap to make and to pickle.
    """

    retry: RetryPolicy = NO_RETRIES

    def exists(self, uri: str | Path) -> bool:
        """Whether a file or an object exists at exactly this address."""
        return self._try(lambda: bool(_back_end(uri).exists(uri)))

    def stat(self, uri: str | Path) -> ObjectStat:
        """Size and token. Raises `ClipFault(NOT_FOUND)` for a folder as well."""
        return self._try(lambda: _back_end(uri).stat(uri))

    def read_bytes(self, uri: str | Path) -> bytes:
        """The whole content."""
        return self._try(lambda: bytes(_back_end(uri).read_bytes(uri)))

    def find(self, uri: str | Path) -> bytes | None:
        """The whole content; None if nothing exists there. One request."""
        try:
            return self.read_bytes(uri)
        except ClipFault as fault:
            if fault.reason is not Reason.NOT_FOUND:
                raise
            return None

    def read_many(self, uris: Iterable[str]) -> dict[str, bytes]:
        """The content of many small objects by address. Several objects are read at once."""
        uris = list(uris)
        if len(uris) < 2 or not is_s3(uris[0]):
            return {uri: self.read_bytes(uri) for uri in uris}
        with ThreadPoolExecutor(s3_client.PARALLEL) as pool:
            return dict(zip(uris, pool.map(self.read_bytes, uris), strict=True))

    def write_bytes(self, uri: str | Path, data: bytes) -> None:
        """Write or replace the whole content durably, in one step."""
        self._try(lambda: _back_end(uri).write_bytes(uri, data))

    def create(self, uri: str | Path, data: bytes) -> bool:
        """Write only if nothing exists there. True for exactly one of several writers."""
        mark = uuid.uuid4().hex  # the same for all tries: the first may have left its object
        return self._try(lambda: bool(_back_end(uri).create(uri, data, mark)))

    def listing(self, prefix: str | Path) -> Iterator[str]:
        """Yield the address of every object below a folder, in order. A missing one is empty."""
        yield from _back_end(prefix).listing(prefix, self._try)

    def folders(self, prefix: str | Path, most: int | None = None) -> list[str]:
        """The names of the folders directly below a folder, sorted.

        With `most`, a store is not asked for more names once there are more than that.
        """
        return self._try(lambda: list(_back_end(prefix).folders(prefix, most)))

    def delete(self, uri: str | Path) -> None:
        """Delete a file or an object. If it does not exist, that is no error."""
        self._try(lambda: _back_end(uri).delete(uri))

    def delete_many(self, uris: Iterable[str]) -> None:
        """Delete many files or objects. A store takes a thousand of them in one request."""
        left = iter(uris)
        while group := list(islice(left, s3.MOST_DELETED)):
            self._try(lambda group=group: _back_end(group[0]).delete_many(group))  # type: ignore[misc]

    def download(self, uri: str | Path, path: Path) -> ObjectStat:
        """Fetch into a local file, which appears only when it is complete. Returns what it is.

        Raises `ClipFault(STORE_ERROR)` if its size or a checksum of the store differs.
        """
        return self._try(lambda: _back_end(uri).download(uri, path))

    def upload(self, path: Path, uri: str | Path) -> None:
        """Send a local file. The file or object appears only when it is complete."""
        self._try(lambda: _back_end(uri).upload(path, uri))

    def _try(self, work: Callable[[], T]) -> T:
        return with_retries(work, self.retry)


def _back_end(uri: str | Path) -> ModuleType:
    return s3 if is_s3(uri) else local


DIRECT = Store()  # without retries
exists, stat, folders, listing = DIRECT.exists, DIRECT.stat, DIRECT.folders, DIRECT.listing
read_bytes, read_many, write_bytes = DIRECT.read_bytes, DIRECT.read_many, DIRECT.write_bytes
create, delete, delete_many = DIRECT.create, DIRECT.delete, DIRECT.delete_many
download, upload, find = DIRECT.download, DIRECT.upload, DIRECT.find


def opened(uri: str | Path) -> AbstractContextManager[BinaryIO]:
    """The content as an open file. An object is fetched first."""
    return _back_end(uri).opened(uri)


def sha256_file(path: str | Path) -> str:
    """The SHA-256 of a local file, 64 hex digits."""
    with local.faults(Path(path)), Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
