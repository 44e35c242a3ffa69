"""The filter of system calls, followed line by line, for both architectures."""

from __future__ import annotations

import errno
import struct

import pytest

from pipeline.media.walls.calls import program
from pipeline.media.walls.kernel import MissingWall

PID = 4711
KILLED, ALLOWED = "killed", "allowed"
MARKS = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
# name: numbers on x86-64 and on 64-bit ARM, from asm/unistd.h
DENIED = {
    "socket": (41, 198), "connect": (42, 203), "execve": (59, 221), "execveat": (322, 281),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "mount": (165, 40), "unshare": (272, 97),
    "setns": (308, 268), "bpf": (321, 280), "keyctl": (250, 219), "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282), "perf_event_open": (298, 241), "unlinkat": (263, 35),
    "renameat2": (316, 276), "fchmodat": (268, 53), "utimensat": (280, 88), "setuid": (105, 146),
    "open_by_handle_at": (304, 265), "memfd_create": (319, 279), "init_module": (175, 105),
}  # fmt: skip
NUMBERS = {
    "read": (0, 63), "openat": (257, 56), "mmap": (9, 222), "futex": (202, 98),
    "clone": (56, 220), "clone3": (435, 435), "kill": (62, 129), "tgkill": (234, 131),
    "prlimit64": (302, 261), "fcntl": (72, 25), "ioctl": (16, 29), "prctl": (157, 167),
}  # fmt: skip


def verdict(machine: str, name: str, *arguments: int, mark: int | None = None) -> str:
    """What the filter answers to a call: allowed, killed, or the name of an error."""
    column = list(MARKS).index(machine)
    number = (DENIED | NUMBERS)[name][column] if not name.isdigit() else int(name)
    data = struct.pack("=iIQ6Q", number, mark or MARKS[machine], 0, *(*arguments, *[0] * 6)[:6])
    code = program(machine, PID)
    lines = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    at = word = 0
    while True:
        operation, if_true, if_false, constant = lines[at]
        at += 1
        if operation == 0x20:
            word = struct.unpack_from("=I", data, constant)[0]
        elif operation == 0x06:
            if constant == 0x7FFF_0000:
                return ALLOWED
            return KILLED if constant == 0x8000_0000 else errno.errorcode[constant & 0xFFFF]
        else:
            true = {0x15: word == constant, 0x35: word >= constant, 0x45: word & constant != 0}
            at += if_true if true[operation] else if_false


@pytest.mark.parametrize("machine", MARKS)
def test_what_reaches_beyond_the_process_is_denied(machine: str) -> None:
    assert {name: verdict(machine, name) for name in DENIED} == dict.fromkeys(DENIED, "EPERM")


@pytest.mark.parametrize("machine", MARKS)
def test_what_a_decoder_needs_is_allowed(machine: str) -> None:
    for name in ("read", "openat", "mmap", "futex"):
        assert verdict(machine, name) == ALLOWED


@pytest.mark.parametrize("machine", MARKS)
def test_threads_start_and_processes_do_not(machine: str) -> None:
    assert verdict(machine, "clone", 0x3D0F00) == ALLOWED  # the flags of pthread_create
    assert verdict(machine, "clone", 0x1200011) == "EPERM"  # those of fork
    assert verdict(machine, "clone3") == "ENOSYS"  # glibc then uses clone, whose flags are seen


@pytest.mark.parametrize("machine", MARKS)
def test_a_signal_and_a_limit_reach_the_process_itself_alone(machine: str) -> None:
    for name in ("kill", "tgkill"):
        assert verdict(machine, name, PID, 6) == ALLOWED
        assert verdict(machine, name, PID + 1, 6) == "EPERM"
        assert verdict(machine, name, (1 << 64) - 1, 9) == "EPERM"  # everybody
    assert verdict(machine, "prlimit64", 0, 9) == ALLOWED
    assert verdict(machine, "prlimit64", PID + 1, 9) == "EPERM"
    assert verdict(machine, "fcntl", 3, 8, PID + 1) == "EPERM"  # F_SETOWN
    assert verdict(machine, "ioctl", 0, 0x5412) == "EPERM"  # TIOCSTI
    assert verdict(machine, "prctl", 4) == "EPERM"  # PR_SET_DUMPABLE


def test_other_sets_of_numbers_end_the_process() -> None:
    assert verdict("x86_64", "read", mark=0x4000_0003) == KILLED  # 32-bit calls
    assert verdict("x86_64", str(0x4000_0000)) == KILLED  # x32
    assert verdict("aarch64", "read", mark=MARKS["x86_64"]) == KILLED


def test_a_call_of_a_later_kernel_is_unknown() -> None:
    assert verdict("x86_64", "900") == "ENOSYS"


def test_a_processor_without_a_table_is_named() -> None:
    with pytest.raises(MissingWall, match="riscv64"):
        program("riscv64", PID)
