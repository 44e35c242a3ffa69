"""The memory that restoring takes, predicted from the size of a frame. Read without PyTorch.

Measured as the peak of a process with one thread, after enough frames to fill every queue:
docs/experiments/2026-11-30-memory-of-a-worker.md.
"""

from __future__ import annotations

from typing import NamedTuple

SIDES = (1024, 512, 256)  # sides in pixels of the tiles to try, without their margin
TILE_MARGIN = 128  # pixels around a tile that are computed and discarded; a multiple of MULTIPLE


class Need(NamedTuple):
    """The memory of a worker with a model of one size."""

    fixed: int  # bytes: the libraries and the weights
    frame: int  # bytes for each pixel of the frame: queues, motion, decisions
    network: int  # bytes for each pixel that the network computes at once


NEEDS = {
    "fast": Need(340 << 20, 776, 830),
    "base": Need(367 << 20, 800, 850),
    "large": Need(403 << 20, 800, 900),
}


def predicted(model: str, width: int, height: int, side: int = 0) -> int:
    """The memory in bytes of a worker that restores frames of this size on the CPU.

    `side` is that of the tiles in pixels; 0 is the whole frame.
    """
    need = NEEDS[model]
    across, down = (
        min(length, side + 2 * TILE_MARGIN) if side else length for length in (width, height)
    )
    return need.fixed + need.frame * width * height + need.network * across * down


def largest_side(model: str, width: int, height: int, room: int) -> int | None:
    """The side of the largest tiles with which a worker needs at most `room` bytes.

    0 is the whole frame. None: the smallest tiles need more as well.
    """
    sides = (0, *(side for side in SIDES if side < max(width, height)))
    fitting = (side for side in sides if predicted(model, width, height, side) <= room)
    return next(fitting, None)
