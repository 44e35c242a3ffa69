"""System calls that Python has no function for. Linux only."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PR_SET_PDEATHSIG, PR_GET_PDEATHSIG = 1, 2
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4


class MissingWall(Exception):
    """A wall cannot be raised here. The text says why."""


def system_call(number: int, *arguments: Any) -> int:  # noqa: ANN401 (integers and C pointers)
    """The result of a system call. Raises OSError."""
    words = [_word(argument) for argument in arguments]
    result = int(libc().syscall(ctypes.c_long(number), *words))
    if result < 0:
        fail()
    return result


def prctl(option: int, *arguments: int) -> int:
    """The result of prctl(2). Raises OSError."""
    words = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    result = int(libc().prctl(ctypes.c_int(option), *words))
    if result < 0:
        fail()
    return result


@contextmanager
def still_ended_with_parent() -> Iterator[None]:
    """Keep the signal that this process gets when its parent ends. A change of rights clears it."""
    number = ctypes.c_int(0)
    if libc().prctl(PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0) < 0:
        fail()
    yield
    prctl(PR_SET_PDEATHSIG, number.value)


def unshare(flags: int) -> None:
    """unshare(2). Raises OSError."""
    if libc().unshare(ctypes.c_int(flags)) < 0:
        fail()


def hide_memory() -> None:
    """Close this process's memory and environment to other processes of the same user.

    They can no longer be opened through /proc, and the process can neither be traced nor dump
    core. Only root, with all its capabilities, still can.
    """
    if sys.platform == "linux":
        prctl(PR_SET_DUMPABLE, 0)


def libc() -> ctypes.CDLL:
    """The C library. Raises `MissingWall` on other systems than Linux."""
    if sys.platform != "linux":
        raise MissingWall(f"{sys.platform} has no such wall, only Linux has")
    return ctypes.CDLL(None, use_errno=True)


def _word(argument: Any) -> Any:  # noqa: ANN401
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def fail() -> None:
    """Raises OSError for the last error of the C library."""
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))
