"""The memory that a worker may take, and whether frames of a size fit into it."""

from __future__ import annotations

import os
from pathlib import Path

from models.network.need import SIDES, largest_side, predicted
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Recipe

WORKERS_SHARE = 0.8  # of the machine's memory; surveys, assemblies and the driver have the rest
GIB = 1 << 30
_CGROUPS = Path("/sys/fs/cgroup")


def tiles_within(room: int, recipe: Recipe, width: int, height: int) -> int:
    """The side of the largest tiles with which `room` bytes are enough; 0 is the whole frame.

    Raises ClipFault(MEMORY_SHORT) if they are not enough for the smallest tiles. A recipe of
    strength 0 runs no model, so it always fits.
    """
    if not recipe.strength:
        return 0
    side = largest_side(recipe.model, width, height, room)
    if side is None:
        least = predicted(recipe.model, width, height, SIDES[-1])
        raise ClipFault(
            Reason.MEMORY_SHORT,
            f"frames of {width}x{height} need {least / GIB:.1f} GiB with the model {recipe.model}; "
            f"a worker may take {room / GIB:.1f} GiB",
        )
    return side


def machine_bytes() -> int:
    """The memory of this machine, or the limit of its container (cgroup version 1 or 2)."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([whole, *_limits(Path("/proc/self/cgroup"), _CGROUPS)])


def _limits(own: Path, root: Path) -> list[int]:
    """The memory limits of the groups of this process and of the groups above them, in bytes."""
    found = []
    for line in own.read_text().splitlines() if own.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (
            (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        )
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top) and (limit := folder / name).is_file():
                text = limit.read_text().strip()
                found += [int(text)] if text.isdecimal() else []  # else: max
    return found
