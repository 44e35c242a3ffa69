"""A child process that may be killed by what it reads: its limits, its output, what its death
means.

The child runs `python -m MODULE REQUEST` with a minimal environment (a long request comes by
standard input), sets its own resource limits before it opens anything, and writes records to its
standard output: one byte of kind, four bytes of size, the payload. The pipe is the bounded queue
between both sides.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits

RECORD = struct.Struct("<cI")
MAX_JSON_BYTES = 64 << 20
PIPE_BYTES = 1 << 20
STDERR_BYTES = 4096
# The system takes no argument of more than 128 KiB: some 20 000 timestamps.
LONGEST_ARGUMENT = 100_000
# Longest silence of a child: a picture that takes longer than this to decode is a hang.
STALL_SECONDS = 300.0
OPEN_FILES = 64
MAX_THREADS = 4
F_SETPIPE_SZ = 1031
ROOT = Path(__file__).resolve().parents[2]
PASSED_ON = ("LD_LIBRARY_PATH", "TZ", "COVERAGE_PROCESS_START")


def child_environment() -> dict[str, str]:
    """The environment of a child: what Python needs to start and nothing that could be a secret."""
    inherited = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    paths = [str(ROOT), *map(os.path.abspath, inherited)]
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    return {"PYTHONPATH": os.pathsep.join(paths), "LC_ALL": "C.UTF-8", **threads, **kept}


def limit_self(limits: Limits, file_bytes: int = 0) -> None:
    """Child side: caps address space, CPU time, core dumps, open files and the size of files."""
    memory = limits.address_space_mb << 20
    cpu = limits.wall_seconds * MAX_THREADS + 10
    wanted = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_FSIZE: file_bytes,
    }
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))


class Output:
    """Child side: records to the parent, by a pipe that stray prints cannot reach."""

    def __init__(self) -> None:
        self.descriptor = os.dup(1)
        os.dup2(2, 1)

    def send(self, kind: bytes, *parts: bytes | memoryview) -> None:
        """Writes one record whole. Raises BrokenPipeError when the parent is gone."""
        chunks = [memoryview(part).cast("B") for part in parts]
        chunks.insert(0, memoryview(RECORD.pack(kind, sum(len(chunk) for chunk in chunks))))
        while chunks:
            written = os.writev(self.descriptor, chunks)
            while chunks and written >= len(chunks[0]):
                written -= len(chunks.pop(0))
            if chunks:
                chunks[0] = chunks[0][written:]

    def send_json(self, kind: bytes, value: Mapping[str, object]) -> None:
        self.send(kind, json.dumps(value).encode())


def run_child(work: Callable[[dict[str, Any], Output], None]) -> None:
    """Child side: calls `work(request, output)`; an expected fault becomes an `X` record."""
    output = Output()
    try:
        work(json.loads(sys.argv[1] if len(sys.argv) > 1 else sys.stdin.buffer.read()), output)
    except ClipFault as fault:
        output.send_json(b"X", {"reason": fault.reason.value, "sentence": fault.message})
    except MemoryError:
        sentence = "decoding needs more memory than limits.address_space_mb allows"
        output.send_json(b"X", {"reason": Reason.MEDIA_BOMB.value, "sentence": sentence})
    except BrokenPipeError:
        os._exit(0)


class Child:
    """Parent side of one child process.

    Reading raises `ClipFault` for the child's own faults, its death, its silence and overtime. Only
    the time spent waiting for the child counts as its time: a slow consumer is not its fault.
    """

    def __init__(self, module: str, request: Mapping[str, object], limits: Limits) -> None:
        self.name = Path(str(request["path"])).name
        self.limits = limits
        self.waited_seconds = 0.0
        self._stderr = b""
        text = json.dumps(request).encode()
        command = [sys.executable, "-P", "-m", module]
        with tempfile.TemporaryFile() as long_request:
            if len(text) <= LONGEST_ARGUMENT:
                command.append(text.decode())
            else:
                long_request.write(text)
                long_request.seek(0)
            self.process = subprocess.Popen(
                command,
                stdin=long_request,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd="/",
                env=child_environment(),
            )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._out, self._err = self.process.stdout.fileno(), self.process.stderr.fileno()
        _enlarge_pipe(self._out)
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        self._poll.register(self._err, select.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child, if it still runs, and frees its pipes."""
        if self.process.poll() is None:
            self.process.kill()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        self.process.wait()

    def record(self, max_bytes: int) -> tuple[bytes, bytearray]:
        """The next (kind, payload). Raises the child's own fault when that is what it sends."""
        kind, size = RECORD.unpack(self._read(RECORD.size))
        allowed = max_bytes if kind == b"F" else MAX_JSON_BYTES
        if size > allowed:
            raise ClipFault(Reason.DECODER_CRASH, f"{self.name}: a record of {size} bytes")
        payload = self._read(size)
        if kind == b"X":
            fault = json.loads(payload)
            raise ClipFault(Reason(fault["reason"]), f"{self.name}: {fault['sentence']}")
        return kind, payload

    def _read(self, size: int) -> bytearray:
        buffer = bytearray(size)
        view, filled = memoryview(buffer), 0
        while filled < size:
            self._wait()
            got = os.readv(self._out, [view[filled:]])
            if got == 0:
                raise self._death()
            filled += got
        return buffer

    def _wait(self) -> None:
        """Returns when standard output is readable or ended, keeping the tail of standard error."""
        started = time.monotonic()
        while True:
            spent = time.monotonic() - started
            left = min(self.limits.wall_seconds - self.waited_seconds, STALL_SECONDS) - spent
            if left <= 0:
                self.close()
                seconds = self.waited_seconds + spent
                sentence = f"{self.name}: no end after {seconds:.0f} s of decoding"
                raise ClipFault(Reason.DECODER_TIMEOUT, sentence)
            ready = dict(self._poll.poll(left * 1000))
            if self._err in ready:
                self._drain_errors()
            if self._out in ready:
                self.waited_seconds += time.monotonic() - started
                return

    def _drain_errors(self) -> None:
        text = os.read(self._err, 65536)
        if not text:
            self._poll.unregister(self._err)
        self._stderr = (self._stderr + text)[-STDERR_BYTES:]

    def _death(self) -> ClipFault:
        code = self.process.wait()
        while select.select([self._err], [], [], 0)[0]:
            text = os.read(self._err, 65536)
            if not text:
                break
            self._stderr = (self._stderr + text)[-STDERR_BYTES:]
        if code == -signal.SIGXCPU:
            return ClipFault(Reason.DECODER_TIMEOUT, f"{self.name}: out of CPU time")
        last = self._stderr.decode(errors="replace").strip().splitlines()[-1:]
        detail = f" ({last[0]})" if last else ""
        if code >= 0:
            return ClipFault(Reason.INTERNAL, f"{self.name}: the decoder ended by itself{detail}")
        name = signal.Signals(-code).name
        return ClipFault(
            Reason.DECODER_CRASH, f"{self.name}: the decoder was killed by {name}{detail}"
        )


def _enlarge_pipe(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # where the system allows less: a smaller queue
        fcntl.fcntl(descriptor, F_SETPIPE_SZ, PIPE_BYTES)
