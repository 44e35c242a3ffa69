"""How a frame's tensors get to a device and back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from models.copies import copies_of
from models.frame_state import FrameState

Ready = Callable[[], Tensor]


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on the device; one of the device is there."""
    return tensor if tensor.device.type == device.type else up(tensor.numpy(), device)


def up(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array on the device. On a CPU it is the array itself, if that may be written to."""
    return begun_up(array, device)()


def begun_up(array: NDArray[Any], device: torch.device) -> Ready:
    """Begin to send an array to the device; what comes back gives it to this thread's operations.

    Raises GpuSilent.
    """
    return copies_of(device).begin(array)


def sent_ahead(
    pairs: Iterable[tuple[FrameState, Ready]], device: torch.device
) -> Iterator[tuple[FrameState, Tensor]]:
    """The frames in order, each with its tensor on the device.

    To a GPU the next ones are on their way meanwhile: ``pairs`` begins them.
    """
    waiting: deque[tuple[FrameState, Ready]] = deque()
    for pair in pairs:
        waiting.append(pair)
        if len(waiting) > copies_of(device).ahead:
            frame, ready = waiting.popleft()
            yield frame, ready()
    while waiting:
        frame, ready = waiting.popleft()
        yield frame, ready()


def begun(tensors: Sequence[Tensor]) -> Callable[[], Sequence[Tensor]]:
    """Begin to bring tensors of one device to the CPU; what comes back waits for them, and returns
    them.

    It raises GpuSilent.
    """
    return copies_of(tensors[0].device).back(tensors)


def landed(
    pairs: Iterable[tuple[FrameState, Sequence[Tensor]]],
) -> Iterator[tuple[FrameState, Sequence[Tensor]]]:
    """The frames in order, each with its tensors, of one device, on the CPU.

    From a GPU they come in one copy for each frame, and IN_FLIGHT frames late: the GPU works on the
    later frames while an earlier one lands. Raises GpuSilent.
    """
    waiting: deque[tuple[FrameState, Callable[[], Sequence[Tensor]]]] = deque()
    for frame, tensors in pairs:
        copies = copies_of(tensors[0].device)
        waiting.append((frame, copies.back(tensors)))
        while len(waiting) > copies.in_flight:
            first, wait = waiting.popleft()
            yield first, wait()
    while waiting:
        first, wait = waiting.popleft()
        yield first, wait()
