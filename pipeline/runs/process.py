"""This process, its machine and its user, as the lease and the audit log name them."""

from __future__ import annotations

import getpass
import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Process:
    """A process, described so that another process can check whether it still runs."""

    host: str
    machine: str  # the boot and the process namespace in which `pid` is valid
    pid: int
    started: str  # the kernel's start time, because ids are reused; empty if unknown
    user: str

    @classmethod
    def here(cls) -> Self:
        """This process."""
        pid = os.getpid()
        return cls(socket.gethostname(), _machine(), pid, _mark(pid) or "", _user())

    def alive(self) -> bool | None:
        """Whether it still runs; None if unknown (another machine, or a hidden process)."""
        if self.machine != _machine():
            return None
        mark = _mark(self.pid)
        if mark is None:
            return False
        return mark == self.started if mark and self.started else None

    @property
    def actor(self) -> str:
        """user@host, for people."""
        return f"{self.user}@{self.host}"


def _machine() -> str:
    """The running system. Host names may be shared, and process ids start again at each boot."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode():x}"


def _mark(pid: int) -> str | None:
    """The start time of the process with this id; empty if hidden, None if there is none."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()  # proc_pid_stat(5), from the third field
    return None if state in "ZX" else fields[18]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user of a container may have no name
        return str(os.getuid())
