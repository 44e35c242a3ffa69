"""Files: the back end of `pipeline.store.storage` for paths. Writes are durable and atomic."""

import errno
import os
import re
import shutil
import stat as stat_module
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote

from schemas.errors import ClipFault
from schemas.reasons import Reason

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_FILE_URI = re.compile(r"^file://(localhost)?(?=/)")
_TEMP_SUFFIX = ".tmp"
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
# Paths that no retry can open.
_IMPOSSIBLE = {
    errno.ENOTDIR: "does not exist: a part of the path is not a folder",
    errno.ELOOP: "is a loop of links",
    errno.ENAMETOOLONG: "does not exist: the name is too long",
    errno.EISDIR: "is a folder, not a file",
    errno.ENXIO: "is a socket or a device, not a file",
}
_KINDS = {
    stat_module.S_IFDIR: "a folder",
    stat_module.S_IFIFO: "a named pipe",
    stat_module.S_IFSOCK: "a socket",
}


@contextmanager
def faults(path: str | Path) -> Iterator[None]:
    """Turn an error of the operating system into a `ClipFault` of that path."""
    try:
        yield
    except FileNotFoundError as error:
        raise ClipFault(Reason.NOT_FOUND, f"{path} does not exist") from error
    except PermissionError as error:
        raise ClipFault(Reason.ACCESS_DENIED, f"{path}: permission denied") from error
    except OSError as error:
        if why := _IMPOSSIBLE.get(error.errno or 0):
            raise ClipFault(Reason.NOT_FOUND, f"{path} {why}") from error
        reason = Reason.DISK_FULL if is_full(error) else Reason.STORE_ERROR
        raise ClipFault(reason, f"{path}: {error.strerror or error}") from error


def is_full(error: Exception) -> bool:
    """Whether an error of the system or of libav means a full disk or quota."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def sibling(path: Path) -> Iterator[Path]:
    """Yield a hidden temporary path beside `path`. At the end it is removed if it exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{uuid.uuid4().hex}{_TEMP_SUFFIX}")
    try:
        yield temp
    finally:
        temp.unlink(missing_ok=True)


def local_path(uri: str | Path) -> Path:
    """The path of a local address. Raises `ClipFault(URI_REFUSED)` for another scheme."""
    if isinstance(uri, Path):
        return uri
    scheme, path = _SCHEME.match(uri), _FILE_URI.sub("", uri)
    if "\0" in uri or (scheme and path == uri):
        raise ClipFault(Reason.URI_REFUSED, f"{uri!r} is neither a path nor an s3:// address")
    return Path(unquote(path)) if scheme else Path(uri)


class ObjectStat(NamedTuple):
    """Size in bytes, and a token that changes with the content: mtime in ns, or the ETag."""

    size: int
    token: str


def exists(uri: str | Path) -> bool:
    """Whether a file exists at exactly this address."""
    return local_path(uri).is_file()


def stat(uri: str | Path) -> ObjectStat:
    """Size and time of modification. Raises `ClipFault(NOT_FOUND)` for all but a regular file."""
    plain = isinstance(uri, str) and uri.startswith("/") and "\0" not in uri
    path = uri if plain else local_path(uri)  # a Path costs more than the question itself
    try:
        status = os.stat(path)
    except OSError:
        with faults(path):
            raise
    _refuse_irregular(path, status.st_mode)
    return ObjectStat(status.st_size, str(status.st_mtime_ns))


def open_regular(path: Path) -> BinaryIO:
    """A regular file, open for reading. Never blocks, as a pipe without a writer does.

    Raises `ClipFault(NOT_FOUND)` for all but a regular file, and OSError.
    """
    stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    try:
        _refuse_irregular(path, os.fstat(stream.fileno()).st_mode)
    except ClipFault:
        stream.close()
        raise
    return stream


def _refuse_irregular(path: str | Path, mode: int) -> None:
    if not stat_module.S_ISREG(mode):
        kind = _KINDS.get(stat_module.S_IFMT(mode), "a device")
        raise ClipFault(Reason.NOT_FOUND, f"{path} is {kind}, not a file")


@contextmanager
def opened(uri: str | Path) -> Iterator[BinaryIO]:
    """The file, open for reading."""
    path = local_path(uri)
    with faults(path):
        stream = path.open("rb")
    with stream:
        yield stream


def read_bytes(uri: str | Path) -> bytes:
    """The whole content."""
    path = local_path(uri)
    with faults(path):
        return path.read_bytes()


def write_bytes(uri: str | Path, data: bytes) -> None:
    """Write or replace a file durably and in one step."""
    path = local_path(uri)
    with faults(path), sibling(path) as temp:
        _write(temp, data, os.O_CREAT | os.O_EXCL)
        temp.replace(path)
        _sync_folder(path.parent)


def create(uri: str | Path, data: bytes, mark: str = "") -> bool:
    """Write a file only if it does not exist. True for exactly one of several writers.

    After a crash the file is complete or absent. On a file system without hard links, a crash may
    leave an incomplete file. `mark` is not needed here.
    """
    path = local_path(uri)
    with faults(path), sibling(path) as temp:
        _write(temp, data, os.O_CREAT | os.O_EXCL)
        try:
            os.link(temp, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            return _create_in_place(path, data)
        _sync_folder(path.parent)
        return True


def listing(prefix: str | Path, attempt: object = None) -> Iterator[str]:
    """Yield the path of every file below a folder, sorted. A missing folder has none."""
    root, found = local_path(prefix), list[str]()
    with faults(root):
        for folder, _, names in os.walk(root, onerror=_raise_unless_missing):
            found += (str(Path(folder, name)) for name in names if not _is_temp(name))
    yield from sorted(found)


def folders(prefix: str | Path) -> list[str]:
    """The names of the folders directly below a folder, sorted."""
    root = local_path(prefix)
    with faults(root):
        return sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []


def delete(uri: str | Path) -> None:
    """Delete a file, if it exists."""
    path = local_path(uri)
    with faults(path):
        path.unlink(missing_ok=True)


def download(uri: str | Path, path: Path) -> ObjectStat:
    """Copy to a local file. Returns size and time of modification of the source.

    Raises `ClipFault(STORE_ERROR)` if the sizes differ.
    """
    copy(local_path(uri), path)
    found = stat(uri)
    if stat(path).size != found.size:
        raise ClipFault(Reason.STORE_ERROR, f"{uri} changed while it was read")
    return found


def upload(path: Path, uri: str | Path) -> None:
    """Copy from a local file."""
    copy(path, local_path(uri))


def copy(source: Path, target: Path) -> None:
    """Copy a file durably. The target appears, or is replaced, only when it is complete."""
    with faults(target), sibling(target) as temp:
        with faults(source):
            shutil.copyfile(source, temp)
        _sync(temp)
        temp.replace(target)
        _sync_folder(target.parent)


def _is_temp(name: str) -> bool:
    return name.startswith(".") and name.endswith(_TEMP_SUFFIX)


def _write(path: Path, data: bytes, flags: int) -> None:
    with os.fdopen(os.open(path, flags | os.O_WRONLY | os.O_CLOEXEC, 0o666), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _create_in_place(path: Path, data: bytes) -> bool:
    try:
        _write(path, data, os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return False
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    """Make a rename durable. Some file systems cannot sync a folder and do not need to."""
    with suppress(OSError):
        _sync(path)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
