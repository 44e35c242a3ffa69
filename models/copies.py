"""Copies to and from a GPU on streams of their own, beside what it computes.

What goes up is waited for by the GPU, not by the CPU: an event of its copy stands before the first
operation that reads it. What comes down begins after the operation that made it, while the GPU
computes on. Memory that a copy still reads or writes is held until its event has passed. The memory
of the CPU is pinned; PyTorch keeps freed pieces of it for the next copies. On a CPU nothing is
copied.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

ALIGNED = 16  # bytes: where a tensor may begin in a copy
IN_FLIGHT = 2  # frames whose results are on their way back from a GPU
AHEAD = 1  # frames whose planes are on their way to a GPU before they are asked for
MOST_UP = 12  # copies on their way to a GPU: of three planes for each of a few frames
ANSWER_SECONDS = 600.0  # for a frame of any size; a sound GPU takes seconds
_SHORTEST, _LONGEST = 0.0002, 0.01  # seconds between two looks at a copy


class GpuSilent(Exception):
    """A GPU has not ended its work on a frame in `ANSWER_SECONDS`."""


class Event(Protocol):
    """A place in the work of a GPU, such as `torch.cuda.Event`."""

    def query(self) -> bool:
        """Whether the work before it has ended."""


class Streams(Protocol):
    """What copies need of a GPU. A stream does its work in order, beside that of the others."""

    def new(self) -> Any:  # noqa: ANN401 - a stream
        """A stream that nothing else uses."""

    def current(self) -> Any:  # noqa: ANN401
        """The stream of this thread's operations."""

    def within(self, stream: Any) -> AbstractContextManager[object]:  # noqa: ANN401
        """Operations inside are the stream's, and new memory is for it."""

    def event(self, stream: Any) -> Event:  # noqa: ANN401
        """The end of the work that the stream was given so far."""

    def wait(self, stream: Any, event: Any) -> None:  # noqa: ANN401
        """The stream goes on after the event. The CPU does not wait."""

    def keep(self, tensor: Tensor, stream: Any) -> None:  # noqa: ANN401
        """Once it is dropped, the tensor's memory stays until the stream's work so far is done."""

    def pinned(self, count: int) -> Tensor:
        """Bytes of the CPU that the GPU can reach, (count,) uint8."""

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Memory of the GPU."""

    def copy(self, to: Tensor, given: Tensor) -> None:
        """Begin a copy in the current stream."""


class CudaStreams:
    """The streams of one GPU by PyTorch."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def new(self) -> torch.cuda.Stream:
        return torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]

    def current(self) -> torch.cuda.Stream:
        return torch.cuda.current_stream(self._device)

    def within(self, stream: torch.cuda.Stream) -> AbstractContextManager[object]:
        return torch.cuda.stream(stream)

    def event(self, stream: torch.cuda.Stream) -> torch.cuda.Event:
        return stream.record_event()

    def wait(self, stream: torch.cuda.Stream, event: torch.cuda.Event) -> None:
        stream.wait_event(event)

    def keep(self, tensor: Tensor, stream: torch.cuda.Stream) -> None:
        tensor.record_stream(stream)

    def pinned(self, count: int) -> Tensor:
        return torch.empty(count, dtype=torch.uint8, pin_memory=True)

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.empty(tuple(shape), dtype=dtype, device=self._device)

    def copy(self, to: Tensor, given: Tensor) -> None:
        to.copy_(given, non_blocking=True)


class Copies:
    """Copies to a GPU and back, each way in a stream of its own. Threads may share it."""

    ahead, in_flight = AHEAD, IN_FLIGHT

    def __init__(self, streams: Streams, most: int = MOST_UP) -> None:
        self._streams, self._most = streams, most
        self._up, self._down = streams.new(), streams.new()
        self._going: deque[tuple[Event, Tensor]] = deque()  # up, with the memory they read
        self._lock = threading.Lock()

    def begin(self, array: NDArray[Any]) -> Callable[[], Tensor]:
        """Begin to send an array; what comes back gives it to the current stream, as a tensor.

        If ``most`` copies are on their way, the oldest is waited for. Raises GpuSilent.
        """
        streams = self._streams
        host = streams.pinned(array.nbytes).view(_form(array)).view(array.shape)
        host.numpy()[...] = array
        with self._lock:
            self._let_go()
            with streams.within(self._up):
                there = streams.empty(array.shape, host.dtype)
                streams.copy(there, host)
            sent = streams.event(self._up)
            self._going.append((sent, host))

        def ready() -> Tensor:
            here = streams.current()
            streams.wait(here, sent)
            streams.keep(there, here)  # it is memory of the other stream
            return there

        return ready

    def _let_go(self) -> None:
        """Drop the memory of copies that have ended, and make room for one more."""
        while self._going and self._going[0][0].query():
            self._going.popleft()
        if len(self._going) >= self._most:
            wait_for(self._going[0][0])
            self._going.popleft()

    def back(self, tensors: Sequence[Tensor]) -> Callable[[], Sequence[Tensor]]:
        """Begin one copy of tensors to the CPU; what comes back waits for it and returns them.

        It raises GpuSilent.
        """
        streams, held = self._streams, [packed(tensors)]
        host = streams.pinned(held[0].numel())
        streams.wait(self._down, streams.event(streams.current()))
        with streams.within(self._down):
            streams.copy(host, held[0])
        copied = streams.event(self._down)
        forms = [(tensor.dtype, tensor.shape) for tensor in tensors]

        def wait() -> Sequence[Tensor]:
            wait_for(copied)
            held.clear()  # until now the other stream read it
            return unpacked(host, forms)

        return wait


class Uncopied:
    """The same on a CPU, where nothing is copied and nothing is late."""

    ahead = in_flight = 0

    def begin(self, array: NDArray[Any]) -> Callable[[], Tensor]:
        """The array itself, if it may be written to."""
        tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
        return lambda: tensor

    def back(self, tensors: Sequence[Tensor]) -> Callable[[], Sequence[Tensor]]:
        """The tensors themselves."""
        return lambda: tensors


_ON_CPU = Uncopied()


def copies_of(device: torch.device) -> Copies | Uncopied:
    """The copies of a device."""
    if device.type != "cuda":
        return _ON_CPU
    return _of_gpu(torch.cuda.current_device() if device.index is None else device.index)


@lru_cache(maxsize=64)
def _of_gpu(index: int) -> Copies:
    return Copies(CudaStreams(torch.device("cuda", index)))


def _form(array: NDArray[Any]) -> torch.dtype:
    return torch.from_numpy(np.empty(0, array.dtype)).dtype


def packed(tensors: Sequence[Tensor]) -> Tensor:
    """The bytes of tensors, one after the other, each from a multiple of ALIGNED on."""
    parts = [tensor.contiguous().flatten().view(torch.uint8) for tensor in tensors]
    return torch.cat([F.pad(part, (0, -part.numel() % ALIGNED)) for part in parts])


def unpacked(together: Tensor, forms: Sequence[tuple[torch.dtype, torch.Size]]) -> list[Tensor]:
    """The tensors of these types and shapes from their bytes, without a copy."""
    found, at = list[Tensor](), 0
    for dtype, shape in forms:
        size = shape.numel() * dtype.itemsize
        found.append(together[at : at + size].view(dtype).view(shape))
        at += size + -size % ALIGNED
    return found


def wait_for(event: Event) -> None:
    """Wait until a GPU has passed an event. Raises GpuSilent: `synchronize` would wait for ever."""
    until, pause = time.monotonic() + ANSWER_SECONDS, _SHORTEST
    while not event.query():
        if time.monotonic() > until:
            raise GpuSilent(f"the GPU has not answered for {ANSWER_SECONDS:.0f} s")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST)
