"""Whether the repairs of a shot are like those of clean film, so that it is better left alone.

Water, leaves and limbs stand out of their neighbouring frames by the thousand, and a few of them
look like dust. Damaged film has clear defects, and few other things that stand out.
`docs/experiments/2026-11-30-shots-like-clean.md` has the numbers behind the limits, and
`docs/experiments/2026-11-30-network-in-places.md` those since suspects are of places only.
"""

from __future__ import annotations

from collections.abc import Iterable

LEAST_CLEAR = 2  # clear defects of a shot; with fewer, all of its repairs are doubtful,
SURE = 30.0  # unless the one differs from its repair by so much: code values
PER_SUSPECT = 0.17  # clear defects to each suspect,
BUT = 12  # without this many: one thing in motion is that many
CLEAR = ("clear", "upright")  # reasons of a repair that is no doubtful one

# Decision and reason of a region, as codes of schemas/repairs.py, and its change in code values.
Decided = tuple[str, str, float]


def is_like_clean(regions: Iterable[Decided]) -> bool:
    """Whether the regions of a shot are like those of clean film. Without a repair, they are."""
    clear, suspects = list[float](), 0
    for decision, why, change in regions:
        suspects += decision == "suspect"
        if decision == "repair" and why in CLEAR:
            clear.append(change)
    least = 1 if max(clear, default=0) >= SURE else LEAST_CLEAR
    return len(clear) < max(least, PER_SUSPECT * (suspects - BUT))
