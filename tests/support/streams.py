"""Streams of a GPU as a CPU can have them: late, and with memory that is lost when it is dropped.

Operations are done when they are asked for, as those of the CPU are. Copies are done as late as
their events allow, so one that is not waited for has not happened yet.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

POISON = 0xAB  # in memory that was not written to, or was dropped


def _nothing() -> None:
    """What is left of a copy."""


class Stream:
    """Copies that wait to be done, in order."""

    def __init__(self) -> None:
        self.work: list[Callable[[], object]] = []
        self.done = 0
        self.after_work = False  # whether it waited for the operations, since its last copy

    def run(self, until: int) -> None:
        """Do the copies before this one."""
        while self.done < until:
            self.work[self.done]()
            self.work[self.done] = _nothing  # what it read and wrote may go
            self.done += 1

    @property
    def late(self) -> int:
        """The copies that have not happened."""
        return len(self.work) - self.done


class Event:
    """It has passed at the look of a number, or when another stream waits for it."""

    def __init__(self, stream: Stream, looks: int) -> None:
        self.stream, self.at, self.looks = stream, len(stream.work), looks

    def query(self) -> bool:
        self.looks -= 1
        if self.looks <= 0:
            self.stream.run(self.at)
        return self.stream.done >= self.at


class LateStreams:
    """See `models.copies.Streams`."""

    def __init__(self, looks: int = 3) -> None:
        self._looks, self._numbers = looks, count()
        self._operations = Stream()
        self._inside = self._operations
        self._memory: dict[int, NDArray[np.uint8]] = {}  # pinned, by address
        self.streams: list[Stream] = []
        self.pins = self.sent = self.kept = 0
        self.most_pinned = self.most_late = 0

    def new(self) -> Stream:
        self.streams.append(Stream())
        return self.streams[-1]

    def current(self) -> Stream:
        return self._inside

    @contextmanager
    def within(self, stream: Stream) -> Iterator[None]:
        before, self._inside = self._inside, stream
        yield
        self._inside = before

    def event(self, stream: Stream) -> Event:
        return Event(stream, self._looks)

    def wait(self, stream: Stream, event: Event) -> None:
        event.stream.run(event.at)
        stream.after_work |= event.stream is self._operations

    def keep(self, tensor: Tensor, stream: Stream) -> None:
        assert stream is self._operations
        self.kept += 1

    def pinned(self, count: int) -> Tensor:
        memory = np.full(max(count, 1), POISON, np.uint8)
        lent = memory[:count]
        address = lent.ctypes.data
        self._memory[address] = memory
        weakref.finalize(lent, self._dropped, address).atexit = False
        self.pins += 1
        self.most_pinned = max(self.most_pinned, len(self._memory))
        return torch.from_numpy(lent)

    def _dropped(self, address: int) -> None:
        self._memory.pop(address).fill(POISON)

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        assert self._inside in self.streams  # it would be memory of the operations
        size = torch.Size(shape).numel() * dtype.itemsize
        return torch.full((size,), POISON, dtype=torch.uint8).view(dtype).view(*shape)

    def copy(self, to: Tensor, given: Tensor) -> None:
        stream = self._inside
        assert stream in self.streams
        if given.data_ptr() in self._memory:
            self.sent += 1
            memory = torch.from_numpy(self._memory[given.data_ptr()])  # does not keep it from loss
            size = given.numel() * given.itemsize
            seen = memory[:size].view(given.dtype).view(given.shape)
            stream.work.append(partial(to.copy_, seen))
        else:
            assert stream.after_work, "the copy may begin before what it reads is made"
            stream.after_work = False
            held = weakref.ref(given)

            def back() -> None:
                read = held()
                to.copy_(read if read is not None else torch.full_like(to, POISON))

            stream.work.append(back)
        self.most_late = max(self.most_late, stream.late)
