"""A function of tensors that a GPU runs as one CUDA graph: its launches cost the CPU once.

A GPU gets through the small operations of flow and network faster than a CPU can ask for them. A
graph asks for all of them at once. It reads and writes the same memory every time, so it is of one
set of sizes. Where one cannot be made, the function runs as it is.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

MOST = 4  # sets of sizes whose graphs are kept
AS_THEY_ARE = 2  # first runs that are no graph: what is made once is made then

Function = Callable[..., Tensor]
Record = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]
log = logging.getLogger(__name__)


def record_on_gpu(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """A function that replays what ``run`` does on the current GPU.

    Raises RuntimeError, and torch.OutOfMemoryError.
    """
    stream, here = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(here)
    with torch.cuda.stream(stream):  # as for a capture, in another stream than the default one
        run()
    here.wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # the threads of decoder and encoder may use the device meanwhile
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        made = run()

    def replay() -> Tensor:
        graph.replay()
        return made

    return replay


class Graphed:
    """A function of tensors, replayed once it has run AS_THEY_ARE times with the same sizes.

    Threads may share it: the two fields of a frame do.
    """

    def __init__(self, function: Function, record: Record = record_on_gpu) -> None:
        self._function, self._record = function, record
        self._runs: OrderedDict[tuple[object, ...], int] = OrderedDict()
        self._made: dict[tuple[object, ...], tuple[list[Tensor], Callable[[], Tensor]]] = {}
        self._given_up = False
        self._lock = threading.RLock()  # its memory is written to, replayed and read in one go

    def __call__(self, *given: Tensor) -> Tensor:
        """What the function makes of the tensors, in memory of its own."""
        with self._lock:
            return self._run(given)

    def _run(self, given: tuple[Tensor, ...]) -> Tensor:
        if self._given_up:
            return self._function(*given)
        key = tuple((one.shape, one.dtype, one.device, one.stride()) for one in given)
        self._runs[key] = self._runs.pop(key, 0) + 1
        if self._runs[key] <= AS_THEY_ARE:
            self._drop_oldest()
            return self._function(*given)
        if key not in self._made and not self._make(key, given):
            return self._function(*given)
        held, replay = self._made[key]
        for mine, theirs in zip(held, given, strict=True):
            mine.copy_(theirs)
        return replay().clone()

    def forget(self) -> None:
        """Give back the memory of the graphs."""
        with self._lock:
            self._made.clear()
            self._runs.clear()

    def _make(self, key: tuple[object, ...], given: tuple[Tensor, ...]) -> bool:
        held = [one.clone() for one in given]
        try:
            self._made[key] = held, self._record(lambda: self._function(*held))
        except torch.OutOfMemoryError:
            self._give_up("it has no memory for one")
        except RuntimeError as error:
            self._give_up(str(error).splitlines()[0])
        return not self._given_up

    def _give_up(self, why: str) -> None:
        log.warning("no CUDA graph of %s: %s", _name(self._function), why)
        self._given_up = True
        self.forget()

    def _drop_oldest(self) -> None:
        while len(self._runs) > MOST:
            key, _ = self._runs.popitem(last=False)
            self._made.pop(key, None)


def _name(function: Function) -> str:
    return getattr(getattr(function, "func", function), "__name__", "a function")


def give_back(function: Function | None) -> None:
    """Give back the memory of a function's graphs, if it has any."""
    if isinstance(function, Graphed):
        function.forget()


def graphed(function: Function, device: torch.device) -> Function:
    """The function, as a graph where the device makes them."""
    return Graphed(function) if device.type == "cuda" else function
