"""What to put back: frames of a clip, and a region of the picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.clip.frames import Planes, Probe
from pipeline.clip.result import ShotRow
from pipeline.media.planes import chroma_steps
from schemas.errors import ArchiveError

_FRAMES = re.compile(r"(\d{1,9})(?::(\d{1,9}))?", re.ASCII)
_REGION = re.compile(r"(\d{1,6}),(\d{1,6}),(\d{1,6}),(\d{1,6})", re.ASCII)


@dataclass(frozen=True)
class Region:
    """A box in luma samples of the stored picture, from its top left corner."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"

    @property
    def pixels(self) -> int:
        """Luma samples in the box."""
        return self.width * self.height

    def widened(self, probe: Probe, by_fields: bool) -> Region:
        """The smallest box around this one that cuts no chroma sample, inside the picture.

        If a clip is restored by fields and chroma has fewer lines, the box holds whole pairs of
        chroma lines: one line of each field. Raises ArchiveError if the box is empty or reaches
        out of the picture.
        """
        right, down = self.x + self.width, self.y + self.height
        size = f"{probe.width}x{probe.height}"
        if not (self.pixels and right <= probe.width and down <= probe.height):
            raise ArchiveError(f"--region {self}: no box inside a picture of {size}: x,y,w,h")
        across, along = chroma_steps(probe.pix_fmt)
        along = 2 * along if by_fields and along > 1 else along
        x, y = self.x // across * across, self.y // along * along
        right = min(probe.width, -(-right // across) * across)
        down = min(probe.height, -(-down // along) * along)
        return Region(x, y, right - x, down - y)


@dataclass(frozen=True)
class Selection:
    """Frames of a clip, and a region of them that cuts no chroma sample. None: whole pictures."""

    frames: range
    region: Region | None
    shot: int | None = None
    asked: Region | None = None  # the region before it was widened

    @property
    def widened(self) -> bool:
        """Whether the region is larger than the one that was asked for."""
        return self.region != self.asked

    def share(self, probe: Probe, count: int) -> float:
        """The selection as a share of all pixels of a clip of `count` frames, 0 to 1."""
        whole = probe.width * probe.height
        return len(self.frames) / count * (self.region.pixels if self.region else whole) / whole

    def __str__(self) -> str:
        first, last = self.frames[0], self.frames[-1]
        frames = f"frame {first}" if first == last else f"frames {first} to {last}"
        return f"{frames}, region {self.region}" if self.region else frames


@dataclass(frozen=True)
class Request:
    """What a person asks to put back. Nothing given: the whole clip."""

    shot: int | None = None
    frames: range | None = None
    region: Region | None = None

    @classmethod
    def parse(cls, shot: int | None, frames: str | None, region: str | None) -> Request:
        """The request in the words of the command. Raises ArchiveError."""
        if shot is not None and frames is not None:
            raise ArchiveError("give --shot or --frames, not both")
        return cls(
            shot,
            None if frames is None else parse_range(frames),
            None if region is None else parse_region(region),
        )

    def of(self, probe: Probe, by_fields: bool, count: int, shots: Sequence[ShotRow]) -> Selection:
        """The selection in a clip of `count` frames. Raises ArchiveError if it has no such part."""
        frames = self.frames or range(count)
        if self.shot is not None:
            found = [shot for shot in shots if shot.shot == self.shot]
            if not found:
                raise ArchiveError(f"--shot {self.shot}: the shots are 0 to {len(shots) - 1}")
            frames = range(found[0].start, found[0].stop)
        if frames.stop > count:
            last = frames.stop - 1
            raise ArchiveError(f"frame {last} is not in the clip: its last frame is {count - 1}")
        region = self.region and self.region.widened(probe, by_fields)
        return Selection(frames, region, self.shot, self.region)


def put_back(published: Planes, source: Planes, pix_fmt: str, region: Region | None) -> Planes:
    """The published planes with the source's samples in the region; without one, the source's.

    The region cuts no chroma sample.
    """
    if region is None:
        return source
    across, along = chroma_steps(pix_fmt)
    planes = []
    for number, (after, before) in enumerate(zip(published, source, strict=True)):
        right, down = (across, along) if number else (1, 1)
        inside = (
            slice(region.y // down, -(-(region.y + region.height) // down)),
            slice(region.x // right, -(-(region.x + region.width) // right)),
        )
        plane = after.copy()
        plane[inside] = before[inside]
        planes.append(plane)
    return tuple(planes)


def parse_range(text: str) -> range:
    """Frames A to B of `A:B`, both included. Raises ArchiveError."""
    match = _FRAMES.fullmatch(text)
    first = int(match[1]) if match else 0
    last = int(match[2] or first) if match else -1
    if last < first:
        raise ArchiveError(f"--frames {text}: give A:B, the first and the last frame, such as 0:24")
    return range(first, last + 1)


def parse_region(text: str) -> Region:
    """The box of `x,y,w,h`. Raises ArchiveError."""
    match = _REGION.fullmatch(text)
    if match is None:
        raise ArchiveError(f"--region {text}: give x,y,w,h in pixels, such as 120,80,64,48")
    return Region(*(int(part) for part in match.groups()))
