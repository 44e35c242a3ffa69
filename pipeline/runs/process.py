"""Who and where this process is, as the lease and the audit log name it."""

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
    """A process, so that others can tell whether it is still there."""

    host: str
    machine: str  # the boot and the namespace in which `pid` has its meaning
    pid: int
    started: str  # the kernel's mark of its start: an id is used again; empty where not known
    user: str

    @classmethod
    def here(cls) -> Self:
        """This process."""
        pid = os.getpid()
        return cls(socket.gethostname(), _machine(), pid, _mark(pid) or "", _user())

    def alive(self) -> bool | None:
        """Whether it is still there; None where that cannot be known: elsewhere, or hidden."""
        if self.machine != _machine():
            return None
        mark = _mark(self.pid)
        if mark is None:
            return False
        return mark == self.started if mark and self.started else None

    @property
    def actor(self) -> str:
        """Who it is, for people: user@host."""
        return f"{self.user}@{self.host}"


def _machine() -> str:
    """The running system: machines and containers may share a name, and ids start anew at boot."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode():x}"


def _mark(pid: int) -> str | None:
    """The start of the living process of this id, empty where it is hidden; None without one."""
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
    state, *fields = stat.rpartition(")")[2].split()  # proc_pid_stat(5): from the third field on
    return None if state in "ZX" else fields[18]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())
