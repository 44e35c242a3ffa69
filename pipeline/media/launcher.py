"""Start modules of `pipeline.media.child`: a new process for each job, forked from a clean one.

Starting Python and importing PyAV takes 0.3 CPU-seconds, more than decoding a small clip. So this
process keeps one launcher, `child.launch`. It has imported what a job needs and never reads input.
For each job it forks a process, which closes itself in and reads one untrusted file.

The launcher ends with this process, and its jobs end with it.
"""

from __future__ import annotations

import functools
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pipeline.media.walls.kernel import hide_memory
from pipeline.media.walls.raised import VARIABLE
from schemas.errors import ClipFault
from schemas.reasons import Reason

ROOT = Path(__file__).resolve().parents[2]
PASSED_ON = ("LD_LIBRARY_PATH", "TZ", VARIABLE)
# The end of a job: exit code, negative for a signal; CPU-seconds; peak memory in KiB.
STATUS = struct.Struct("<idq")
LOST = 70  # exit code of a job whose launcher died
TOO_MANY_THREADS = 71  # exit code of a job that was killed for that
MAX_THREADS = 512  # of one job; our own start 4, and no limit of the system counts one job alone
WAIT_SECONDS = 30.0  # for the launcher's answers; a sound one takes milliseconds
END_SECONDS = 30.0  # from the last that a job sends to its end


def child_environment() -> dict[str, str]:
    """The environment of a child: only what Python needs to start, and nothing secret."""
    inherited = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    paths = [str(ROOT), *map(os.path.abspath, inherited)]
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    return {"PYTHONPATH": os.pathsep.join(paths), "LC_ALL": "C.UTF-8", **threads, **kept}


class Ended:
    """What the ended jobs of this process have used. The system counts it for the launcher."""

    def __init__(self) -> None:
        self.cpu_seconds, self.peak_kib = 0.0, 0  # of all jobs; of the largest
        self._counting = threading.Lock()

    def add(self, cpu_seconds: float, peak_kib: int) -> None:
        """Count a job."""
        with self._counting:
            self.cpu_seconds += cpu_seconds
            self.peak_kib = max(self.peak_kib, peak_kib)


ENDED = Ended()
_STARTING = threading.Lock()


class Job:
    """One process. Its standard output and standard error are pipes to this process."""

    def __init__(self, launcher: Launcher, control: socket.socket, out: int, err: int) -> None:
        self._launcher = launcher  # it must live as long as its jobs
        self._control = control
        self.stdout: BinaryIO = os.fdopen(out, "rb", 0)
        self.stderr: BinaryIO = os.fdopen(err, "rb", 0)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._status(0.0)

    def wait(self) -> int:
        """Wait for the end, and kill a job that does not end.

        Returns the exit code, LOST if the launcher died or does not answer.
        """
        code = self._status(END_SECONDS)
        if code is None:
            self.kill()
            code = self._status(WAIT_SECONDS)
        return self._ended(LOST) if code is None else code

    def kill(self) -> None:
        """Send SIGKILL."""
        with suppress(OSError):
            self._control.send(b"k")

    def _status(self, seconds: float) -> int | None:
        if self.returncode is not None:
            return self.returncode
        self._control.settimeout(seconds)
        try:
            answer = self._control.recv(STATUS.size)
        except (BlockingIOError, TimeoutError):
            return None
        except OSError:
            answer = b""
        if len(answer) < STATUS.size:
            return self._ended(LOST)
        code, seconds, peak_kib = STATUS.unpack(answer)
        ENDED.add(seconds, peak_kib)
        return self._ended(code)

    def _ended(self, code: int) -> int:
        self._control.close()
        self.returncode = code
        return code


class Launcher:
    """A running launcher. Not safe for several threads at once: `start` takes turns."""

    def __init__(self) -> None:
        hide_memory()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(WAIT_SECONDS)
        with theirs:
            # a session of its own: a signal to the group of this process is not for its jobs
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.media.child.launch"],
                stdin=theirs.fileno(), stdout=subprocess.DEVNULL, cwd="/", env=child_environment(),
                start_new_session=True,
            )  # fmt: skip
        self.pid = process.pid
        self._socket = ours
        weakref.finalize(self, _end, ours, process)

    def start(self, module: str, request: bytes) -> Job:
        """Start a job. Its standard input is the request. Raises OSError if the launcher died."""
        ours, theirs = socket.socketpair()
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        text = os.memfd_create("request")
        try:
            with theirs, os.fdopen(text, "wb", closefd=False) as stream:
                stream.write(request)
                stream.flush()
                stream.seek(0)
                ends = [theirs.fileno(), text, out_end, err_end]
                socket.send_fds(self._socket, [module.encode()], ends)
        except BaseException:
            ours.close()
            for end in (out, err):
                os.close(end)
            raise
        finally:
            for end in (text, out_end, err_end):
                os.close(end)
        return Job(self, ours, out, err)


def start(module: str, request: bytes) -> Job:
    """Start a module of `pipeline.media.child`. Its standard input is the request.

    A launcher that died is replaced. Raises ClipFault(INTERNAL) if that fails as well.
    """
    for _ in range(2):
        try:
            with _STARTING:
                return _current().start(module, request)
        except OSError as error:
            _launcher.cache_clear()
            last = error
    raise ClipFault(Reason.INTERNAL, f"no process can be started to read files: {last}")


def _current() -> Launcher:
    """The launcher of this process. A fork, or another environment, gets a new one."""
    return _launcher(os.getpid(), tuple(sorted(child_environment().items())))


@functools.lru_cache(maxsize=1)
def _launcher(_pid: int, _environment: tuple[tuple[str, str], ...]) -> Launcher:
    return Launcher()


def _end(ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """Close the launcher's socket. It then ends, and its jobs with it."""
    ours.close()
    try:
        process.wait(WAIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
