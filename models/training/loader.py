"""Batches that other processes make, a few ahead of the training, in memory shared with it.

A sample depends on the seed, the step and its place in the batch only, so any number of processes
makes the same batches. Each process has its own pipe and no lock is shared, so one that is killed
holds up no other.
"""

from __future__ import annotations

import itertools
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models.training.dataset import Bank, Batch

AHEAD = 3  # batches in memory, with the one in use
STALLED = 300.0  # seconds without any sample after which something is wrong
LEAVING = 5.0  # seconds that a process has to end
SHARED = Path("/dev/shm")  # files here are memory
Columns = list[NDArray[np.float32]]  # the arrays of one batch, in the order of `Batch`
Shapes = list[tuple[int, ...]]  # of one sample, in the same order


class LoaderError(RuntimeError):
    """No batch: a process that makes samples failed, ended or hangs."""


@dataclass
class _Maker:
    """A process that makes samples."""

    process: ForkServerProcess
    pipe: Connection
    ordered: list[tuple[int, int]] = field(default_factory=list)  # (step, place), not made yet
    cpu_seconds: float = 0.0

    def __str__(self) -> str:
        at = "step {}, sample {}".format(*self.ordered[0]) if self.ordered else "no sample"
        return f"loader process {self.process.pid} (at {at})"


class Loader:
    """Batches of ``size`` samples of a bank, made by ``workers`` processes; by this one for 0."""

    def __init__(
        self,
        bank: Bank,
        size: int,
        workers: int,
        *,
        pinned: bool = False,
        ahead: int = AHEAD,
        stalled: float = STALLED,
    ) -> None:
        """Start the processes. ``pinned``: a GPU can copy the batches without the CPU."""
        self._bank, self._size, self._ahead, self._stalled = bank, size, ahead, stalled
        self._makers: list[_Maker] = []
        self._done: dict[int, int] = {}  # samples that are made, by step
        self.waited = 0.0  # seconds in which the training had no batch
        self._taken = 0.0
        self._pinned: int | None = None
        if workers:
            self._start(workers)
            if pinned and self._memory == SHARED:
                self._pin()

    def taken(self) -> float:
        """CPU seconds of the processes since the last call, without their start."""
        before, self._taken = self._taken, sum(maker.cpu_seconds for maker in self._makers)
        return self._taken - before

    @property
    def processes(self) -> list[int]:
        """The process ids of the makers."""
        return [maker.process.pid or 0 for maker in self._makers]

    def _start(self, workers: int) -> None:
        shapes = [part.shape for part in self._bank.sample(0, 0)]
        values = self._ahead * self._size * sum(int(np.prod(shape)) for shape in shapes)
        context = get_context("forkserver")  # forked from a process that has run no OpenMP
        context.set_forkserver_preload([__name__])
        self._memory = _memory(4 * values)
        with tempfile.NamedTemporaryFile(dir=self._memory, prefix="batches-") as file:
            file.truncate(4 * values)
            path = Path(file.name)
            self._values = np.memmap(path, np.float32, "r+")
            self._slots = _slots(self._values, shapes, self._ahead, self._size)
            try:
                for _ in range(workers):
                    ours, theirs = context.Pipe()
                    given = theirs, self._bank, path, shapes, self._ahead, self._size
                    process = context.Process(target=_make, args=given, daemon=True)
                    process.start()
                    theirs.close()
                    self._makers.append(_Maker(process, ours))
                for maker in self._makers:  # each has opened the file, so its name can go
                    self._receive([maker])
            except BaseException:
                self.close()
                raise

    def _pin(self) -> None:
        """Lock the shared memory, for copies beside the CPU. Where it cannot be, copies wait."""
        address = self._values.ctypes.data
        cudart: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        if int(cudart.cudaHostRegister(address, self._values.nbytes, 0)) == 0:
            self._pinned = address

    def batches(self, first: int, until: int | None = None) -> Iterator[Batch]:
        """Batches from number ``first`` to before ``until``; by default without an end.

        A batch is overwritten after the next one is asked for. Raises LoaderError.
        """
        steps = itertools.count(first) if until is None else iter(range(first, until))
        ordered = first
        for step in steps:
            started = time.perf_counter()
            if not self._makers:
                batch = self._bank.batch(step, self._size)
            else:
                end = step + self._ahead if until is None else min(step + self._ahead, until)
                for ahead in range(ordered, end):
                    self._order(ahead)
                ordered = end
                while self._done[step] < self._size:
                    self._receive(self._makers)
                del self._done[step]
                batch = Batch.of(self._slots[step % self._ahead])
            self.waited += time.perf_counter() - started
            yield batch

    def _order(self, step: int) -> None:
        """Have a batch made; the processes with least to do get its samples."""
        self._done[step] = 0
        for place in range(self._size):
            maker = min(self._makers, key=lambda one: len(one.ordered))
            try:
                maker.pipe.send((step, place))
            except OSError as error:
                raise self._ended(maker) from error
            maker.ordered.append((step, place))

    def _receive(self, makers: list[_Maker]) -> None:
        """Take what the processes have made, at least one sample."""
        ready = wait([maker.pipe for maker in makers], self._stalled)
        if not ready:
            raise LoaderError(
                f"no sample for {self._stalled:.0f} s from {', '.join(map(str, makers))}: "
                "see whether this machine swaps; start again with fewer --workers"
            )
        for maker in (one for one in makers if one.pipe in ready):
            try:
                maker.cpu_seconds, failed = maker.pipe.recv()
            except (EOFError, OSError) as error:
                raise self._ended(maker) from error
            if failed:
                raise LoaderError(
                    f"{maker} failed: {failed}\nThe bank may be damaged: delete its folder, then "
                    "start again"
                )
            if maker.ordered:  # else it says that it is ready
                self._done[maker.ordered.pop(0)[0]] += 1

    def _ended(self, maker: _Maker) -> LoaderError:
        maker.process.join(LEAVING)
        code = maker.process.exitcode
        return LoaderError(
            f"{maker} ended with exit code {code}. -9 and -7 mean that memory ran out: start again "
            "with fewer --workers. The training goes on from here"
        )

    def close(self) -> None:
        """End the processes, at the latest after a few seconds."""
        if self._pinned is not None:
            cudart: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
            cudart.cudaHostUnregister(self._pinned)
            self._pinned = None
        for maker in self._makers:
            maker.pipe.close()  # for a process that waits for orders, this is the end
            maker.process.terminate()
        for maker in self._makers:
            maker.process.join(LEAVING)
            if maker.process.exitcode is None:
                maker.process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _memory(size_bytes: int) -> Path | None:
    """A folder whose files are memory, if it has room; None: the folder for temporary files."""
    roomy = SHARED.is_dir() and shutil.disk_usage(SHARED).free > 1.1 * size_bytes
    return SHARED if roomy else None


def _slots(values: NDArray[np.float32], shapes: Shapes, ahead: int, size: int) -> list[Columns]:
    """Room for ``ahead`` batches in memory."""
    slots: list[Columns] = []
    at = 0
    for _ in range(ahead):
        slots.append([])
        for shape in shapes:
            count = size * int(np.prod(shape))
            slots[-1].append(values[at : at + count].reshape(size, *shape))
            at += count
    return slots


def _make(pipe: Connection, bank: Bank, path: Path, shapes: Shapes, ahead: int, size: int) -> None:
    """The work of a process: make the samples that it is asked for, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    slots = _slots(np.memmap(path, np.float32, "r+"), shapes, ahead, size)
    pipe.send((0.0, None))  # ready
    started = time.process_time()
    while True:
        try:
            step, place = pipe.recv()
        except (EOFError, OSError):
            return
        failed = None
        try:
            for column, part in zip(slots[step % ahead], bank.sample(step, place), strict=True):
                column[place] = part
        except Exception:
            failed = traceback.format_exc()
        pipe.send((time.process_time() - started, failed))
