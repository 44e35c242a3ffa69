"""The frame of every child process: its walls, its limits, its output, and its errors."""

from __future__ import annotations

import errno
import json
import os
import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.media.walls.raised import raise_walls, wanted
from pipeline.media.wire import FAULT, RECORD
from pipeline.sources.sequence import files_of, is_sequence
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits

OPEN_FILES = 64
MAX_THREADS = 4  # whose CPU time counts against `wall_seconds`


def limit_self(limits: Limits, file_bytes: int = 0) -> None:
    """Limit address space, CPU time, core dumps, open files and the size of written files."""
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
    """Sends records to the parent. Prints of libraries go to standard error instead."""

    def __init__(self) -> None:
        self.missing_walls: dict[str, str] = {}
        self.descriptor = os.dup(1)
        os.dup2(2, 1)

    def send(self, kind: bytes, *parts: bytes | memoryview) -> None:
        """Write one record whole. Raises BrokenPipeError if the parent is gone."""
        chunks = [memoryview(part).cast("B") for part in parts]
        chunks.insert(0, memoryview(RECORD.pack(kind, sum(len(chunk) for chunk in chunks))))
        while chunks:
            written = os.writev(self.descriptor, chunks)
            while chunks and written >= len(chunks[0]):
                written -= len(chunks.pop(0))
            if chunks:
                chunks[0] = chunks[0][written:]

    def send_json(self, kind: bytes, value: Mapping[str, object]) -> None:
        """Write one record with a JSON payload."""
        self.send(kind, json.dumps(value).encode())


def readable(request: Mapping[str, Any]) -> list[str]:
    """The files that a request names to be read, and the folder of an image sequence."""
    path, segments = request["path"], request.get("segments", [])
    if not is_sequence(path):
        return [path, *segments]
    folder = str(Path(path).parent)
    return [folder, *(files_of(path) if Path(folder).is_dir() else []), *segments]


def writable(request: Mapping[str, Any]) -> list[str]:
    """The file that a request names to be written. It is made here: later no file can be made."""
    if "out" not in request:
        return []
    try:
        Path(request["out"]).touch()
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = Reason.DISK_FULL if full else Reason.ENCODE_ERROR
        raise ClipFault(reason, f"the output cannot be made: {error}") from error
    return [request["out"]]


def close_in(request: Mapping[str, Any]) -> dict[str, str]:
    """Leave this process nothing but the files of its request. Returns {missing wall: why}.

    Raises `ClipFault(NOT_ISOLATED)` if a wall is missing that `ARCHIVE_RESTORE_WALLS` asks for.
    """
    missing = raise_walls(readable(request), writable(request))
    lacking = [f"{name} ({missing[name]})" for name in wanted() if name in missing]
    if lacking:
        raise ClipFault(Reason.NOT_ISOLATED, f"walls are missing: {', '.join(lacking)}")
    return missing


def run_child(work: Callable[[Any, Output], None]) -> None:
    """Read the request, raise the walls, and call `work(request, output)`.

    A `ClipFault` becomes a record. The request is standard input, as JSON.
    """
    output = Output()
    try:
        with open(0, "rb", closefd=False) as stream:
            request = json.load(stream)
        output.missing_walls = close_in(request)
        work(request, output)
    except ClipFault as fault:
        output.send_json(FAULT, {"reason": fault.reason.value, "sentence": fault.message})
    except MemoryError:
        sentence = "decoding needs more memory than limits.address_space_mb allows"
        output.send_json(FAULT, {"reason": Reason.MEDIA_BOMB.value, "sentence": sentence})
    except BrokenPipeError:
        os._exit(0)
