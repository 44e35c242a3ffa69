"""The rights of a child: it loses those that it started with, and can gain none.

Root has rights beside those to files: to trace any process, to signal it, to change the network. A
child of root gives all of them up. It becomes another user if that user may read its input.
Otherwise it stays root without capabilities, with those to pass file modes as the only exception:
kept only if it cannot open its files without.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pipeline.media.walls.kernel import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_SET_NO_NEW_PRIVS,
    MissingWall,
    fail,
    libc,
    prctl,
    still_ended_with_parent,
    unshare,
)

NOBODY = 65_534
CAPABILITIES = 0x2008_0522  # the version of capset(2) with 64 of them
DAC_OVERRIDE, DAC_READ_SEARCH = 1 << 1, 1 << 2
NEW_UTS, NEW_IPC, NEW_USER, NEW_NET = 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x4000_0000
APART = NEW_UTS | NEW_IPC | NEW_NET


def leave_network() -> None:
    """Move this process into an empty network, without even loopback. Raises `MissingWall`.

    Without privileges this takes a user namespace, which also closes the memory and the environment
    of every process outside. This must be the only thread of its process.
    """
    try:
        with still_ended_with_parent():
            unshare(APART if _permitted() else APART | NEW_USER)
    except OSError as error:
        raise MissingWall(f"the system allows no namespaces: {error.strerror}") from None


def drop(readable: Sequence[str | Path], writable: Sequence[str | Path]) -> None:
    """Give up every privilege, for this process and all that it starts. Raises `MissingWall`.

    The files stay open to it.
    """
    try:
        with still_ended_with_parent():
            if _permitted() and not (os.geteuid() == 0 and _became_nobody(readable, writable)):
                _drop_capabilities(readable, writable)
            else:
                _capset(0, permitted=0)  # those of its own namespace
        with suppress(OSError):  # a kernel before 4.3 has none
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
    except OSError as error:
        raise MissingWall(f"privileges cannot be given up: {error.strerror}") from None


def _became_nobody(readable: Sequence[str | Path], writable: Sequence[str | Path]) -> bool:
    """Become the user `nobody` for ever, if that user may open all files."""
    groups = os.getgroups()
    try:
        os.setgroups([])
        os.setresgid(NOBODY, 0, 0)
        os.setresuid(NOBODY, 0, 0)  # os.access() asks for the real user
        if all(os.access(path, os.R_OK) for path in readable) and all(
            os.access(path, os.R_OK | os.W_OK) for path in writable
        ):
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            return True
    except OSError:  # a container may know no such user
        pass
    os.setresuid(0, 0, 0)
    os.setresgid(0, 0, 0)
    with suppress(OSError):
        os.setgroups(groups)
    return False


def _drop_capabilities(readable: Sequence[str | Path], writable: Sequence[str | Path]) -> None:
    had = _permitted()
    ladder = (0, had & DAC_READ_SEARCH, had & (DAC_READ_SEARCH | DAC_OVERRIDE))
    kept = next((kept for kept in ladder if _opens(kept, had, readable, writable)), ladder[-1])
    _capset(kept, permitted=kept)


def _opens(
    kept: int, had: int, readable: Sequence[str | Path], writable: Sequence[str | Path]
) -> bool:
    """Whether the files open with these capabilities. The others are only put aside."""
    _capset(kept, permitted=had & (DAC_READ_SEARCH | DAC_OVERRIDE))
    try:
        for path in readable:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        for path in writable:
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    except PermissionError:
        return False
    except OSError:
        pass  # a missing file is missing for everybody
    return True


def _permitted() -> int:
    """The capabilities that this process may use: the first 32 of them."""
    header, rights = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    if libc().capget(header, rights) < 0:
        fail()
    return int(rights[1])


def _capset(effective: int, *, permitted: int) -> None:
    """capset(2). Raises OSError."""
    header = (ctypes.c_uint32 * 2)(CAPABILITIES, 0)
    rights = (ctypes.c_uint32 * 6)(effective, permitted, 0, 0, 0, 0)
    if libc().capset(header, rights) < 0:
        fail()
