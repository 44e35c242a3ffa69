"""The parent's side of a child process: start it, read its records, explain its death.

Untrusted media may crash or hang the code that reads it, so that code runs in a child process with
a minimal environment (`pipeline.media.launcher`). The request is its standard input. The child
raises its walls (`pipeline.media.walls`) and sets its own resource limits before it opens anything,
and writes records (see `pipeline.media.wire`) to its standard output. The pipe is a bounded queue
between both sides.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.media import launcher
from pipeline.media.walls.raised import VARIABLE, WALLS, wanted
from pipeline.media.wire import END, FAULT, FRAME, RECORD
from schemas.errors import ArchiveError, ClipFault
from schemas.reasons import REASONS, Reason
from schemas.recipe import Limits

MAX_JSON_BYTES = 4 << 20  # parsed, it takes up to twenty times as much
PIPE_BYTES = 1 << 20
STDERR_BYTES = 4096
# A child that sends nothing for this long hangs: no picture takes longer to decode.
STALL_SECONDS = 300.0
# What a child may report beside the faults of a clip: faults of the machine or of a written file.
# Hostile code could feign others, and a few clips with a fault of the store would end the run.
OF_THE_MACHINE = {Reason.ACCESS_DENIED, Reason.NOT_ISOLATED}
OF_AN_OUTPUT = {Reason.DISK_FULL, Reason.ENCODE_ERROR}


class KilledFromOutside(ClipFault):
    """SIGKILL, or the end of the launcher: not what a file can do. Another try may succeed."""


class Child:
    """One child process.

    Reading raises `ClipFault` if the child reports a fault, dies, is silent for too long, or runs
    out of time. Only the time spent waiting for the child counts: a slow consumer is not its fault.
    """

    def __init__(self, module: str, request: Mapping[str, object], limits: Limits) -> None:
        self.name = Path(str(request["path"])).name
        self.limits = limits
        self.waited_seconds = 0.0
        self._may_report = OF_THE_MACHINE | (OF_AN_OUTPUT if "out" in request else set())
        self._stderr = b""
        self.process = launcher.start(module, json.dumps(request).encode())
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
        """Kill the child if it still runs, and close its pipes."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.stdout.close()
        self.process.stderr.close()
        self.process.wait()

    def record(self, max_bytes: int) -> tuple[bytes, bytearray]:
        """The next (kind, payload). Raises the `ClipFault` that the child reports."""
        kind, size = RECORD.unpack(self._read(RECORD.size))
        allowed = max_bytes if kind == FRAME else MAX_JSON_BYTES
        if size > allowed:
            raise self.nonsense(f"a record of {size} bytes, {allowed} at most")
        payload = self._read(size)
        if kind == FAULT:
            raise self._reported(self.parsed(payload))
        return kind, payload

    def parsed(self, payload: bytearray) -> dict[str, Any]:
        """The JSON object of a record. Raises `ClipFault(DECODER_CRASH)` if it is none."""
        try:
            found = json.loads(payload)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self.nonsense("a record that is no JSON object")
        return found

    def nonsense(self, what: str) -> ClipFault:
        """The fault of a child that sends what no child sends: its code is not ours any more."""
        return ClipFault(Reason.DECODER_CRASH, f"{self.name}: the decoder sent {what}")

    def _reported(self, fault: Mapping[str, Any]) -> ClipFault:
        name, sentence = str(fault.get("reason")), str(fault.get("sentence"))
        reason = Reason.__members__.get(name)
        if reason and (REASONS[reason].kind == "clip" or reason in self._may_report):
            return ClipFault(reason, f"{self.name}: {sentence}")
        return self.nonsense(f"a fault that it cannot have, {name}: {sentence}")

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
        """Wait until standard output is readable or closed. Keep the tail of standard error."""
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
        if code == launcher.LOST:
            return KilledFromOutside(
                Reason.INTERNAL, f"{self.name}: the process that starts decoders was killed"
            )
        if code == launcher.TOO_MANY_THREADS:
            sentence = f"{self.name}: the decoder started over {launcher.MAX_THREADS} threads"
            return ClipFault(Reason.DECODER_CRASH, sentence)
        last = self._stderr.decode(errors="replace").strip().splitlines()[-1:]
        detail = f" ({last[0]})" if last else ""
        if code >= 0:
            return ClipFault(
                Reason.INTERNAL, f"{self.name}: the decoder stopped with code {code}{detail}"
            )
        kind = KilledFromOutside if code == -signal.SIGKILL else ClipFault
        name = signal.Signals(-code).name
        return kind(Reason.DECODER_CRASH, f"{self.name}: the decoder was killed by {name}{detail}")


def ask(module: str, request: Mapping[str, object], limits: Limits) -> dict[str, Any]:
    """Run a child that sends signs of life until it is done. Returns its last record.

    Raises `ClipFault`, of `DECODER_TIMEOUT` too if signs of life never end.
    """
    until = time.monotonic() + limits.wall_seconds
    with Child(module, request, limits) as child:
        while True:
            kind, payload = child.record(0)
            if kind == END:
                return child.parsed(payload)
            if time.monotonic() > until:
                sentence = f"{child.name}: no end after {limits.wall_seconds} s"
                raise ClipFault(Reason.DECODER_TIMEOUT, sentence)


@cache
def missing_walls() -> dict[str, str]:
    """The walls that cannot stand on this machine, and why: an empty table if all stand.

    A child raises them around nothing. Raises `ClipFault(NOT_ISOLATED)` if one is missing that
    `ARCHIVE_RESTORE_WALLS` asks for.
    """
    request = {"path": "/this machine", "limits": {}}
    return dict(ask("pipeline.media.child.rehearse", request, Limits(wall_seconds=60))["missing"])


def require_walls() -> str:
    """One sentence that names the missing walls, or an empty text if all stand.

    Raises ArchiveError if one is missing that `ARCHIVE_RESTORE_WALLS` asks for.
    """
    wanted()
    try:
        missing = missing_walls()
    except ClipFault as fault:
        advice = f"start it where the system allows them, or ask for fewer in {VARIABLE}"
        raise ArchiveError(f"{fault.sentence}; {advice}") from fault
    if not missing:
        return ""
    held = [name for name in WALLS if name not in missing]
    lacks = "; ".join(f"{name} ({why})" for name, why in missing.items())
    stand = f"{', '.join(held)} stand" if held else "none stands"
    return f"the decoder's sandbox lacks walls: {lacks}; {stand}"


def _enlarge_pipe(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # a system that allows less has a smaller queue
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
