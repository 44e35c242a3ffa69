"""Copies of sources on a worker's own disk. The processes of the worker share them.

A copy is deleted when its clip ends. Each copy has a lock file beside it (flock(2)). A reader holds
the lock shared. A process that makes or deletes the copy holds it exclusively. So nothing is
deleted under a reader, and two readers share one download. Copies of killed workers, and of clips
that ended on another node, are deleted after one day without use.

The cache is a private folder, and no name in it shows the name of a clip.
"""

import fcntl
import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import fstat
from pathlib import Path
from typing import TextIO

from pipeline.store import local, storage
from pipeline.store.address import is_s3
from pipeline.store.local import local_path
from pipeline.store.private import as_clip_fault, is_private, make_private
from schemas.errors import ClipFault
from schemas.reasons import Reason

UNUSED_SECONDS = 86_400


@contextmanager
def local_copy(
    uri: str | Path, cache: Path, known: str = "", current: bool = False
) -> Iterator[Path]:
    """Yield a local path with the content: the file itself, or a locked copy of an object.

    A changed object is fetched again. `known` is the token of a state that was seen before. If it
    is the `current` one, or a copy of it is here, the store is not asked for the state. Raises
    `ClipFault(STORE_ERROR)` if the object changes during the download.
    """
    if not is_s3(uri):
        storage.stat(uri)
        yield local_path(uri)
        return
    suffix = _suffix(str(uri))
    if not (current or (known and _copy(cache, str(uri), known, suffix).exists())):
        known = storage.stat(uri).token

    def make(path: Path) -> None:
        if storage.download(uri, path).token != known:
            path.unlink()
            raise ClipFault(Reason.STORE_ERROR, f"{uri} changed while it was read")

    with held(cache, str(uri), known, make, suffix) as path:
        yield path


@contextmanager
def held(
    cache: Path, uri: str, token: str, make: Callable[[Path], None], suffix: str = ""
) -> Iterator[Path]:
    """Yield the copy of one state of a source: a file or a folder.

    If there is no copy, `make` writes it completely or not at all. Raises
    `ClipFault(ACCESS_DENIED)` if other users can reach the cache.
    """
    path = _copy(cache, uri, token, suffix)
    lock = path.with_name(path.name + ".lock")
    while True:
        with as_clip_fault():
            make_private(cache)
        with local.faults(lock):
            handle = lock.open("w")
        with handle:
            fcntl.flock(handle, fcntl.LOCK_SH)
            if _is_current(lock, handle) and path.exists():
                yield path
                return
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_current(lock, handle) and not path.exists():
                _free_unused(cache)
                make(path)


def _copy(cache: Path, uri: str, token: str, suffix: str) -> Path:
    return cache / f"{_short_hash(uri)}-{_short_hash(token)}{suffix}"


def discard(uri: str | Path, cache: Path) -> None:
    """Delete the unused copies of a source. A local source is never touched."""
    if is_s3(uri) and is_private(cache):
        for lock in cache.glob(f"{_short_hash(str(uri))}-*.lock"):
            _free(lock)


def _free_unused(cache: Path) -> None:
    for lock in cache.glob("*.lock"):
        try:
            unused = time.time() - lock.stat().st_mtime
        except FileNotFoundError:
            continue
        if unused > UNUSED_SECONDS:
            _free(lock)


def _free(lock: Path) -> None:
    """Delete a copy and its lock file, unless they are in use."""
    try:
        handle = lock.open()
    except FileNotFoundError:
        return
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if not _is_current(lock, handle):
            return
        path = lock.with_suffix("")
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        lock.unlink()


def _is_current(lock: Path, handle: TextIO) -> bool:
    """Whether an open lock file still exists under its name, and was not replaced."""
    try:
        return lock.stat().st_ino == fstat(handle.fileno()).st_ino
    except FileNotFoundError:
        return False


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _suffix(uri: str) -> str:
    """The extension of an object if it is plain. It helps libav to detect the container."""
    suffix = Path(uri).suffix
    return suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", suffix) else ""
