"""Positions of values in a drawn picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobs.console.html import Html, Part, tag

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Box:
    """A rectangle of the picture that shows the ranges ``x`` and ``y``; y grows upwards."""

    x: tuple[float, float]
    y: tuple[float, float]
    left: float
    right: float
    top: float
    bottom: float

    def across(self, x: float) -> str:
        low, high = self.x
        return f"{self.left + (self.right - self.left) * (x - low) / ((high - low) or 1):.1f}"

    def up(self, y: float) -> str:
        low, high = self.y
        return f"{self.bottom - (self.bottom - self.top) * (y - low) / ((high - low) or 1):.1f}"

    def curve(self, points: Iterable[tuple[float, float]], **attributes: Part) -> Html:
        places = " ".join(f"{self.across(x)},{self.up(y)}" for x, y in points)
        return tag("polyline", points=places, **attributes)
