"""Where in a frame a repair is possible, found before the network has run.

With all of the grain, every pixel outside of repairs is the source's. A repair needs a region that
stands out of both neighbouring frames and can have evidence of a defect. The network's picture is
of use there only, so it need not be computed elsewhere
(docs/decisions/0018-the-network-where-a-repair-is-possible.md).
"""

from __future__ import annotations

import numpy as np

from models.fidelity.decision import SHIPPED, Limits
from models.fidelity.evidence import Accepted, log_odds
from models.fidelity.regions import Seen
from models.frame_state import Box

# Share of how far a region stands out by which the network is taken to move it at most. What it
# moves further is no clear defect (docs/experiments/2026-11-30-network-in-places.md).
MOST_MOVED = 1.35
AROUND = 8, 40  # pixels each side of a region that belong to its place: at least, at most
GRID = 16  # pixels: a place begins and ends on this grid; the squares of the predicted error


def places_of(
    seen: Seen, index: int, accepted: Accepted, limits: Limits = SHIPPED
) -> tuple[Box, ...]:
    """The boxes of a frame in which a repair is possible, on GRID; a frame's edge cuts them off.

    ``seen`` needs no measure of the network. Boxes that a person ``accepted`` are places as well.
    """
    height, width = seen.labels.shape
    possible = log_odds(
        seen.measures._replace(
            moved=np.full(len(seen.regions), MOST_MOVED), again=np.zeros(len(seen.regions))
        )
    )
    boxes = [
        region.box
        for region, odds in zip(seen.regions, possible, strict=True)
        if odds >= (limits.stain_from if limits.may_be_stain(region) else limits.defect_from)
    ]
    return tuple(_grown(box, height, width) for box in [*boxes, *accepted.get(index, ())])


def _grown(box: Box, height: int, width: int) -> Box:
    """A box with its surroundings: grain for a repair comes from beside it."""
    x, y, wide, high = box
    least, most = AROUND
    across, down = (min(max(side + 4, least), most) for side in (wide, high))
    left, top = (max(at - by, 0) // GRID * GRID for at, by in ((x, across), (y, down)))
    right, bottom = (
        min(-(-(at + by) // GRID) * GRID, last)
        for at, by, last in ((x + wide, across, width), (y + high, down, height))
    )
    return left, top, right - left, bottom - top
