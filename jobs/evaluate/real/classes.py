"""The classes of labelled places, and how each is measured."""

from __future__ import annotations

from typing import Literal

Kind = Literal["defect", "real"]

DEFECTS = (
    "dust",
    "hair",
    "blotch",
    "scratch_moving",
    "scratch_standing",
    "splice",
    "dirt_standing",
)
REAL = (
    "debris",
    "limb",
    "stick",
    "cord",
    "rail",  # thin straight structure: rails, pillars, poles
    "glint",
    "spark",
    "bird",
    "spray",
    "lettering",
    "face",
    "edge",  # other structure in motion
)
STANDING_SCRATCH = "scratch_standing"  # measured against what lies to its left and right
# Measured against what lies around them: they are in the neighbouring frames too.
STANDING = frozenset({"dirt_standing", "cord", "rail"})


def kind_of(name: str) -> Kind:
    """Return the kind of a class. Raises KeyError for an unknown one."""
    if name in DEFECTS:
        return "defect"
    if name in REAL:
        return "real"
    raise KeyError(name)
