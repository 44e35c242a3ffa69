"""How a frame's tensors get from the CPU to a GPU and back: copies beside the work.

A copy reads or writes memory that the GPU reaches by itself (pinned), while both go on working. On
a CPU nothing is copied.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.frame_state import FrameState

ALIGNED = 16  # bytes: where a tensor may begin in a copy
IN_FLIGHT = 2  # frames whose results are on their way back from a GPU
ANSWER_SECONDS = 600.0  # for a frame of any size; a sound GPU takes seconds
_SHORTEST, _LONGEST = 0.0002, 0.01  # seconds between two looks at a copy


class GpuSilent(Exception):
    """A GPU has not ended its work on a frame in `ANSWER_SECONDS`."""


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on the device."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def up(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array on the device. On a CPU it is the array itself, if that may be written to."""
    if device.type != "cuda":
        return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(device)
    form = torch.from_numpy(np.empty(0, array.dtype)).dtype
    host = torch.empty(array.shape, dtype=form, pin_memory=True)
    host.numpy()[...] = array
    return host.to(device, non_blocking=True)


def begun(tensors: Sequence[Tensor]) -> Callable[[], Sequence[Tensor]]:
    """Begin to bring tensors to the CPU; what comes back waits for them, and returns them.

    It raises GpuSilent.
    """
    return _begun(tensors) if any(one.is_cuda for one in tensors) else lambda: tensors


def landed(
    pairs: Iterable[tuple[FrameState, Sequence[Tensor]]],
) -> Iterator[tuple[FrameState, Sequence[Tensor]]]:
    """The frames in order, each with its tensors on the CPU.

    From a GPU they come in one copy for each frame, and IN_FLIGHT frames late: the GPU works on the
    later frames while an earlier one lands. Raises GpuSilent.
    """
    waiting: deque[tuple[FrameState, Callable[[], Sequence[Tensor]]]] = deque()
    for frame, tensors in pairs:
        if not any(tensor.is_cuda for tensor in tensors):
            yield frame, tensors
            continue
        waiting.append((frame, _begun(tensors)))
        if len(waiting) > IN_FLIGHT:
            first, wait = waiting.popleft()
            yield first, wait()
    while waiting:
        first, wait = waiting.popleft()
        yield first, wait()


def _begun(tensors: Sequence[Tensor]) -> Callable[[], Sequence[Tensor]]:
    """Begin one copy of tensors of a GPU; what comes back waits for it and returns them."""
    together = packed(tensors)
    host = torch.empty(together.shape, dtype=torch.uint8, pin_memory=True)
    host.copy_(together, non_blocking=True)
    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
    torch.cuda.current_stream(together.device).record_event(copied)
    forms = [(tensor.dtype, tensor.shape) for tensor in tensors]

    def wait() -> Sequence[Tensor]:
        wait_for(copied)
        return unpacked(host, forms)

    return wait


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


class Event(Protocol):
    """A place in the work of a GPU, such as `torch.cuda.Event`."""

    def query(self) -> bool:
        """Whether the work before it has ended."""


def wait_for(event: Event) -> None:
    """Wait until a GPU has passed an event. Raises GpuSilent: `synchronize` would wait for ever."""
    until, pause = time.monotonic() + ANSWER_SECONDS, _SHORTEST
    while not event.query():
        if time.monotonic() > until:
            raise GpuSilent(f"the GPU has not answered for {ANSWER_SECONDS:.0f} s")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST)
