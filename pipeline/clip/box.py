"""A box of the picture: what a person names to keep or to put back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from pipeline.clip.frames import Planes, Probe
from pipeline.media.planes import chroma_steps

_BOX = re.compile(r"(\d{1,6}),(\d{1,6}),(\d{1,6}),(\d{1,6})", re.ASCII)


@dataclass(frozen=True)
class Box:
    """A box in luma samples of the stored picture, from its top left corner."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The box of `x,y,w,h`. Raises ValueError."""
        match = _BOX.fullmatch(text)
        if match is None:
            raise ValueError(f"{text}: give x,y,w,h in pixels, such as 120,80,64,48")
        return cls(*(int(part) for part in match.groups()))

    @classmethod
    def of_region(cls, text: str) -> tuple[int, Self]:
        """Frame and box of a region's id, `frame:x,y,w,h`. Raises ValueError."""
        frame, _, box = text.partition(":")
        if not re.fullmatch(r"\d{1,9}", frame, re.ASCII):
            raise ValueError(f"{text}: give frame:x,y,w,h, as the view `suspects` does")
        return int(frame), cls.parse(box)

    def grown(self, by: int, probe: Probe, by_fields: bool) -> Box:
        """The box with more pixels on each side, inside the picture; it cuts no chroma sample."""
        x, y = max(self.x - by, 0), max(self.y - by, 0)
        right = min(self.x + self.width + by, probe.width)
        down = min(self.y + self.height + by, probe.height)
        return Box(x, y, right - x, down - y).widened(probe, by_fields)

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"

    @property
    def pixels(self) -> int:
        """Luma samples in the box."""
        return self.width * self.height

    def widened(self, probe: Probe, by_fields: bool) -> Box:
        """The smallest box around this one that cuts no chroma sample, inside the picture.

        If a clip is restored by fields and chroma has fewer lines, the box holds whole pairs of
        chroma lines: one line of each field. Raises ValueError if the box is empty or reaches out
        of the picture.
        """
        right, down = self.x + self.width, self.y + self.height
        size = f"{probe.width}x{probe.height}"
        if not (self.pixels and right <= probe.width and down <= probe.height):
            raise ValueError(f"{self}: no box inside a picture of {size}: x,y,w,h")
        across, along = chroma_steps(probe.pix_fmt)
        along = 2 * along if by_fields and along > 1 else along
        x, y = self.x // across * across, self.y // along * along
        right = min(probe.width, -(-right // across) * across)
        down = min(probe.height, -(-down // along) * along)
        return Box(x, y, right - x, down - y)

    def of_field(self, parity: int) -> Box:
        """The lines of a widened box that are in the field of one parity, as a box of the field."""
        first, last = (-(-(line - parity) // 2) for line in (self.y, self.y + self.height))
        return Box(self.x, first, self.width, last - first)

    def holds(self, box: tuple[int, int, int, int]) -> bool:
        """Whether another box (x, y, width, height) lies inside this one."""
        x, y, width, height = box
        across = self.x <= x and x + width <= self.x + self.width
        return across and self.y <= y and y + height <= self.y + self.height


def put_back(changed: Planes, source: Planes, pix_fmt: str, box: Box | None) -> Planes:
    """The changed planes with the source's samples in the box; without one, the source's.

    The box cuts no chroma sample.
    """
    if box is None:
        return source
    across, along = chroma_steps(pix_fmt)
    planes = []
    for number, (after, before) in enumerate(zip(changed, source, strict=True)):
        right, down = (across, along) if number else (1, 1)
        inside = (
            slice(box.y // down, -(-(box.y + box.height) // down)),
            slice(box.x // right, -(-(box.x + box.width) // right)),
        )
        plane = after.copy()
        plane[inside] = before[inside]
        planes.append(plane)
    return tuple(planes)
