"""A store with retries: the operations of `pipeline.store.storage`, each under a retry policy."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pipeline.store import storage
from pipeline.store.retry import NO_RETRIES, RetryPolicy, with_retries

T = TypeVar("T")


@dataclass(frozen=True)
class Store:
    """Files at paths and objects at s3:// addresses. Every method raises ClipFault.

    It holds no connection, so it is cheap to make and to pickle.
    """

    retry: RetryPolicy = NO_RETRIES

    def exists(self, uri: str) -> bool:
        """Whether there is a file or an object at exactly this address."""
        return self._try(lambda: storage.exists(uri))

    def read_bytes(self, uri: str) -> bytes:
        """The whole content."""
        return self._try(lambda: storage.read_bytes(uri))

    def read_many(self, uris: Iterable[str]) -> dict[str, bytes]:
        """The content of many small objects, several read at once."""
        return storage.read_many(uris, self.read_bytes)

    def write_bytes(self, uri: str, data: bytes) -> None:
        """Write or replace the whole content, durably, in one step."""
        self._try(lambda: storage.write_bytes(uri, data))

    def create(self, uri: str, data: bytes) -> bool:
        """Write only if nothing is there: True for exactly one of many writers, else False."""
        mark = uuid.uuid4().hex  # the same for all tries: the first may have left its object
        return self._try(lambda: storage.create(uri, data, mark))

    def listing(self, prefix: str) -> Iterator[str]:
        """The address of every object below a folder, in order."""
        return storage.listing(prefix, self._try)

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders directly below a folder, sorted."""
        return self._try(lambda: storage.folders(prefix))

    def delete(self, uri: str) -> None:
        """Delete a file or an object, if it is there."""
        self._try(lambda: storage.delete(uri))

    def download(self, uri: str, path: Path) -> None:
        """Fetch into a local file, which appears only when it is whole."""
        self._try(lambda: storage.download(uri, path))

    def upload(self, path: Path, uri: str) -> None:
        """Send a local file; the object appears only when it is whole."""
        self._try(lambda: storage.upload(path, uri))

    def _try(self, work: Callable[[], T]) -> T:
        return with_retries(work, self.retry)


DIRECT = Store()  # no retries: for commands that a person waits for
