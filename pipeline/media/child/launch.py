"""Fork a process for each job. This process has the imports of a job, and reads no media itself.

Entry point. Run as `python -m pipeline.media.child.launch`; started by `pipeline.media.launcher`.
Standard input is a socket. Each packet names a module and brings four descriptors: a control
socket, and standard input, output and error of the job. A byte on the control socket, or its end,
kills the job. Its exit code is sent there. A job with too many threads is killed: hostile code
could take all process ids of the machine.
"""

from __future__ import annotations

import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from pipeline.media.child import decode  # noqa: F401 - with all that most jobs need
from pipeline.media.child.runtime import run_child
from pipeline.media.launcher import MAX_THREADS, STATUS, TOO_MANY_THREADS
from pipeline.media.walls.kernel import PR_SET_PDEATHSIG, hide_memory, prctl
from pipeline.media.walls.raised import libraries

PACKET_BYTES = 4096
DESCRIPTORS = 4
LOOK_SECONDS = 0.2  # between two looks at the threads of the jobs


class Launch:
    """The jobs of one parent."""

    def __init__(self, parent: socket.socket) -> None:
        self.parent = parent
        self.jobs: dict[int, socket.socket] = {}  # control socket by process id
        self.crowded: set[int] = set()  # jobs that were killed for their threads
        self.looked = 0.0
        self.selector = selectors.DefaultSelector()
        self.selector.register(parent, selectors.EVENT_READ, self.take)
        self.woken, self.waker = socket.socketpair()
        for end in (self.woken, self.waker):
            end.setblocking(False)
        self.selector.register(self.woken, selectors.EVENT_READ, self.reap)
        signal.set_wakeup_fd(self.waker.fileno())
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def run(self) -> None:
        """Serve until the parent's end of the socket is closed. Then end every job."""
        try:
            while True:
                for key, _ in self.selector.select(LOOK_SECONDS if self.jobs else None):
                    key.data()
                if time.monotonic() > self.looked + LOOK_SECONDS:
                    self.look()
        finally:
            for pid in self.jobs:
                os.kill(pid, signal.SIGKILL)

    def take(self) -> None:
        """Start a job. Raises SystemExit if the parent has ended."""
        name, descriptors, _, _ = socket.recv_fds(self.parent, PACKET_BYTES, DESCRIPTORS)
        if not name:
            raise SystemExit(0)
        module = importlib.import_module(name.decode())  # here: later jobs need not import it
        libraries()  # as above: every job would look them up
        control, *streams = descriptors
        gc.freeze()  # objects from before the fork are not touched after it
        pid = os.fork()
        if pid == 0:
            _job(module, streams)
        for stream in streams:
            os.close(stream)
        job = socket.socket(fileno=control)
        self.jobs[pid] = job
        self.selector.register(job, selectors.EVENT_READ, lambda: self.kill(pid, job))

    def look(self) -> None:
        """Kill the jobs that have started too many threads."""
        self.looked = time.monotonic()
        for pid in self.jobs:
            if threads_of(pid) > MAX_THREADS:
                self.crowded.add(pid)
                os.kill(pid, signal.SIGKILL)

    def kill(self, pid: int, job: socket.socket) -> None:
        """End a job. It is reaped like any other."""
        if self.jobs.get(pid) is job:  # not reaped yet, so its id is not another's
            self.selector.unregister(job)
            os.kill(pid, signal.SIGKILL)

    def reap(self) -> None:
        """Send the exit codes of the jobs that have ended."""
        with suppress(BlockingIOError):
            self.woken.recv(PACKET_BYTES)
        while self.jobs:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            seconds, code = used.ru_utime + used.ru_stime, os.waitstatus_to_exitcode(status)
            if pid in self.crowded:
                self.crowded.remove(pid)
                code = TOO_MANY_THREADS
            with self.jobs.pop(pid) as job, suppress(OSError):
                with suppress(KeyError):
                    self.selector.unregister(job)
                job.send(STATUS.pack(code, seconds, used.ru_maxrss))


def threads_of(pid: int) -> int:
    """The number of threads of a process; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[17])
    except OSError:
        return 0


def _job(module: ModuleType, streams: list[int]) -> None:
    """Be the job: take its standard streams, close all else, and run the module. Never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        sys.argv = [module.__name__]
        run_child(module.WORK)
        code = 0
    except BaseException:  # as the interpreter would end
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    hide_memory()
    connection = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    Launch(connection).run()
