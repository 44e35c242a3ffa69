"""seccomp: the process keeps the system calls that decoding needs, and loses all others.

The filter is a list of what is allowed, so a call that a later kernel adds is denied. Among those
denied: sockets, other programs and processes, signals to others, memory of others, mounts, names
and modes of files. Threads of codecs still start. See seccomp(2) for the format of the program.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator

from pipeline.media.walls.kernel import MissingWall, system_call
from pipeline.media.walls.numbers import ARCHITECTURES, NUMBERS

SET_MODE_FILTER, ALL_THREADS = 1, 1
KILL, ALLOW, ERRNO = 0x8000_0000, 0x7FFF_0000, 0x0005_0000
# Classic BPF: load a word of the call, compare it with a constant, return a verdict.
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets of the words
X32 = 0x4000_0000  # a second set of numbers on x86-64
NEWEST = 480  # a number beyond it is unknown here: libraries then try an older call
CLONE_THREAD = 0x10000
FCNTL = (0, 1, 2, 3, 4, 1030, 1031, 1032)  # copy a descriptor, its flags, the size of a pipe
IOCTL = (0x5401, 0x5450, 0x5451, 0x541B)  # is it a terminal, close on exec, bytes to read
PRCTL = (15, 16, 0x53564D41)  # the name of a thread, the name of a mapping

Line = tuple[int, int, int, int]  # operation, lines to jump if true, if false, constant


def program(machine: str, pid: int) -> bytes:
    """The filter for this kind of processor and this process. Raises `MissingWall`."""
    if machine not in ARCHITECTURES:
        raise MissingWall(f"the system calls of {machine} are not known here")
    column, audit = ARCHITECTURES[machine]
    numbers = {name: row[column] for name, row in NUMBERS.items()}
    lines: list[Line] = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, audit),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
    ]
    if column == 0:
        lines += [(AT_LEAST, 0, 1, X32), (RETURN, 0, 0, KILL)]
    lines += [(AT_LEAST, 0, 1, NEWEST), (RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    lines += _when(numbers["clone3"], [(RETURN, 0, 0, ERRNO | errno.ENOSYS)])
    lines += _when(
        numbers["clone"],
        [
            (LOAD, 0, 0, ARGUMENTS),
            (ANY_BIT, 0, 1, CLONE_THREAD),
            (RETURN, 0, 0, ALLOW),
            (RETURN, 0, 0, ERRNO | errno.EPERM),
        ],
    )
    for name, index, values in (
        ("kill", 0, (pid,)),
        ("tgkill", 0, (pid,)),
        ("prlimit64", 0, (0,)),
        ("prctl", 0, PRCTL),
        ("fcntl", 1, FCNTL),
        ("ioctl", 1, IOCTL),
    ):
        lines += _when(numbers[name], list(_one_of(index, values)))
    for name, number in numbers.items():
        if number is not None and name not in ("clone", "clone3"):
            lines += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
    lines.append((RETURN, 0, 0, ERRNO | errno.EPERM))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _when(number: int | None, block: list[Line]) -> list[Line]:
    return [] if number is None else [(EQUAL, 0, len(block), number), *block]


def _one_of(index: int, values: tuple[int, ...]) -> Iterator[Line]:
    """Allow the call if an argument has one of these values, and deny it otherwise."""
    yield LOAD, 0, 0, ARGUMENTS + 8 * index
    for value in values:
        yield EQUAL, 0, 1, value
        yield RETURN, 0, 0, ALLOW
    yield RETURN, 0, 0, ERRNO | errno.EPERM


class _Program(ctypes.Structure):
    _fields_ = (("lines", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def enforce() -> None:
    """Filter the calls of all threads of this process. Needs no_new_privs.

    Raises `MissingWall` if the kernel or the processor has no filter.
    """
    code = program(platform.machine(), os.getpid())
    number = NUMBERS["seccomp"][ARCHITECTURES[platform.machine()][0]]
    wanted = _Program(len(code) // 8, code)
    try:
        system_call(number or 0, SET_MODE_FILTER, ALL_THREADS, ctypes.byref(wanted))
    except OSError as error:
        raise MissingWall(f"the kernel refuses a filter: {error.strerror}") from None
