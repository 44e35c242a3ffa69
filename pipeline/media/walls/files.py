"""Landlock: the process opens only the files that it is given, for ever.

See landlock(7). The rules are made while the files can still be reached, and enforced later. The
kernel grows rights from version to version (the ABI); a right that it does not know is not asked
for. Everything that is not named is denied: /proc, /etc, other clips.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pipeline.media.walls.kernel import MissingWall, system_call

# The numbers are the same on every architecture.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
GET_VERSION, PATH_BENEATH = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, SCOPES_ABI = 1 << 14, 6
# The number of rights to files that each ABI knows, and whether it knows TCP ports.
RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
PORTS = 0b11  # bind and connect, from ABI 4
SCOPES = 0b11  # abstract sockets and signals of processes outside, from ABI 6


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("ports", ctypes.c_uint64),
        ("scopes", ctypes.c_uint64),
    )


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


def abi() -> int:
    """The version of Landlock. Raises `MissingWall` if the kernel has none."""
    try:
        return system_call(CREATE_RULESET, None, 0, GET_VERSION)
    except OSError as error:
        raise MissingWall(f"the kernel has no Landlock: {error.strerror}") from None


class Rules:
    """Rules that are not enforced yet. Raises `MissingWall`."""

    def __init__(self) -> None:
        self.abi = abi()
        self._rights = (1 << RIGHTS[min(self.abi, max(RIGHTS))]) - 1
        wanted = _Attributes(
            self._rights, PORTS if self.abi >= 4 else 0, SCOPES if self.abi >= SCOPES_ABI else 0
        )
        size = 24 if self.abi >= SCOPES_ABI else 16 if self.abi >= 4 else 8
        try:
            self._ruleset = system_call(CREATE_RULESET, ctypes.byref(wanted), size, 0)
        except OSError as error:
            raise MissingWall(f"Landlock refuses its rules: {error.strerror}") from None

    def read(self, paths: Iterable[str | Path]) -> None:
        """Allow to read these files, and folders with all that is in them. No path is missed."""
        for path in paths:
            self._allow(path, READ_FILE | READ_DIR)

    def list(self, folder: str | Path) -> None:
        """Allow to list the names in a folder. Its files stay closed."""
        self._allow(folder, READ_DIR)

    def write(self, path: str | Path) -> None:
        """Allow to read, write and cut a file that exists. It can be neither moved nor removed."""
        self._allow(path, READ_FILE | WRITE_FILE | TRUNCATE)

    def enforce(self) -> None:
        """Deny everything else to this process. Needs no_new_privs. Raises `MissingWall`."""
        try:
            system_call(RESTRICT_SELF, self._ruleset, 0)
        except OSError as error:
            raise MissingWall(f"Landlock cannot be enforced: {error.strerror}") from None
        finally:
            os.close(self._ruleset)

    def _allow(self, path: str | Path, rights: int) -> None:
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                if not Path(path).is_dir():
                    rights &= ~READ_DIR
                rule = _Beneath(rights & self._rights, descriptor)
                system_call(ADD_RULE, self._ruleset, PATH_BENEATH, ctypes.byref(rule), 0)
            finally:
                os.close(descriptor)
