"""How many windows the network takes at once, and which frames share a batch.

The number is of the GPU and of the frame's size, not of what is free, and a frame's place in its
batch is of its number. So every shard computes a frame in the same way
(docs/decisions/0022-a-frame-has-its-place-in-a-batch.md).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from models.frame_state import FrameState

MOST = 8  # windows at once
PIXELS = 1 << 22  # of the frames of a batch: two of 1920x1080; more do not make a GPU faster
# Bytes of a GPU for each pixel: of a frame and those around it (some thirty pictures, their flows
# and warped neighbours, the graphs of flow and network), and of a further window in a batch (the
# window three times over, the network's planes). Estimates.
BYTES_A_PIXEL, BYTES_A_FURTHER = 3000, 900
BESIDE_TENSORS = 1 << 30  # bytes of a GPU that a process takes for CUDA itself; an estimate

Slot = TypeVar("Slot")


def batch_of(height: int, width: int, room: int) -> int:
    """Windows of frames of this size for a GPU with ``room`` bytes: a power of two."""
    count, pixels = MOST, height * width
    while count > 1 and (count * pixels > PIXELS or needed(height, width, count) > room):
        count //= 2
    return count


def needed(height: int, width: int, count: int = 1) -> int:
    """Bytes of a GPU for frames of this size in batches of ``count``."""
    return height * width * (BYTES_A_PIXEL + (count - 1) * BYTES_A_FURTHER)


def room_of(device: torch.device) -> int:
    """Bytes of a GPU that this process may take for tensors, whatever is free now."""
    index = torch.cuda.current_device() if device.index is None else device.index
    share = torch.cuda.get_per_process_memory_fraction(index)
    return int(share * torch.cuda.get_device_properties(index).total_memory) - BESIDE_TENSORS


def grouped(
    frames: Iterable[FrameState], size: Callable[[FrameState], int]
) -> Iterator[deque[FrameState]]:
    """The frames in order, in groups that may share a batch.

    ``size`` is asked with the first frame of a group. A group ends with the last number of its
    batch, so it waits for no frame that does not belong to it.
    """
    group, most = deque[FrameState](), 1
    for frame in frames:
        if group and frame.index // most != group[0].index // most:
            yield group
            group = deque()
        if not group:
            most = size(frame)
        group.append(frame)
        if (frame.index + 1) % most == 0:
            yield group
            group = deque()
    if group:
        yield group


def places_in_batch(indices: Sequence[int], size: int) -> list[int]:
    """The places of frames with these numbers, as far as they share a batch with the first."""
    return [index % size for index in indices if index // size == indices[0] // size]


def slots(entries: Sequence[Slot], places: Sequence[int], size: int) -> list[Slot]:
    """The first entries at these places in a batch of ``size``. A place without one has the
    first.
    """
    placed = [entries[0]] * size
    for place, entry in zip(places, entries, strict=False):
        placed[place] = entry
    return placed
