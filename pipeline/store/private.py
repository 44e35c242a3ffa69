"""Folders of this user alone, for temporary files: nobody else may list, read or replace them.

They lie in the system's temporary folder, as `ar-<uid>-<name>`. Everybody can guess the name, and
another user may have made the folder first. So it is checked before each use.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from schemas.errors import ArchiveError, ClipFault
from schemas.reasons import Reason

MODE = 0o700


def private_folder(name: str, temp: Path | None = None) -> Path:
    """The private folder of that name, made if it is missing. Raises ArchiveError.

    It lies in `temp`, by default the system's temporary folder (`TMPDIR`).
    """
    return make_private(Path(temp or tempfile.gettempdir()) / f"ar-{os.geteuid()}-{name}")


def make_private(folder: Path) -> Path:
    """Make the folder with mode 0700 if it is missing, and return it.

    Raises ArchiveError if it is a link or a file, belongs to another user, or is open to others.
    Nothing is repaired: what lies in an open folder may come from anybody.
    """
    try:
        with suppress(FileExistsError):
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(MODE)
        why = _fault(folder.lstat())
    except OSError as error:
        raise ArchiveError(
            f"the private folder {folder} cannot be made: {error.strerror}; "
            "set TMPDIR to a folder that you may write to"
        ) from error
    if why:
        raise ArchiveError(
            f"the private folder {folder} {why}: other users could read or replace its files; "
            "remove it, or set TMPDIR to a folder of your own"
        )
    return folder


def temporary(prefix: str) -> tempfile.TemporaryDirectory[str]:
    """A new private folder for the work on one clip. Raises `ClipFault(ACCESS_DENIED)`."""
    with as_clip_fault():
        work = private_folder("work")
    return tempfile.TemporaryDirectory(prefix=prefix, dir=work)


@contextmanager
def as_clip_fault() -> Iterator[None]:
    """Turn a refused folder into `ClipFault(ACCESS_DENIED)`: ten in a row end the run."""
    try:
        yield
    except ArchiveError as error:
        raise ClipFault(Reason.ACCESS_DENIED, str(error)) from error


def is_private(folder: Path) -> bool:
    """Whether the folder exists and belongs to this user alone."""
    try:
        return not _fault(folder.lstat())
    except OSError:
        return False


def _fault(found: os.stat_result) -> str:
    """Why a folder is not private. An empty text if it is."""
    if stat.S_ISLNK(found.st_mode):
        return "is a link"
    if not stat.S_ISDIR(found.st_mode):
        return "is not a folder"
    if found.st_uid != os.geteuid():
        return f"belongs to the user {found.st_uid}, not to the user {os.geteuid()}"
    mode = stat.S_IMODE(found.st_mode)
    return f"has the mode {mode:04o} instead of {MODE:04o}" if mode & 0o077 else ""
