"""The frame of every child process: its limits, its output, and what becomes of its errors."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.media.wire import FAULT, RECORD
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


def run_child(work: Callable[[Any, Output], None]) -> None:
    """Read the request and call `work(request, output)`. A `ClipFault` becomes a record.

    The request is standard input, as JSON.
    """
    output = Output()
    try:
        with open(0, "rb", closefd=False) as stream:
            request = json.load(stream)
        work(request, output)
    except ClipFault as fault:
        output.send_json(FAULT, {"reason": fault.reason.value, "sentence": fault.message})
    except MemoryError:
        sentence = "decoding needs more memory than limits.address_space_mb allows"
        output.send_json(FAULT, {"reason": Reason.MEDIA_BOMB.value, "sentence": sentence})
    except BrokenPipeError:
        os._exit(0)
