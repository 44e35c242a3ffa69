"""What to put back: frames of a clip, and a region of the picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.clip.box import Box
from pipeline.clip.frames import Probe
from pipeline.clip.result import ShotRow
from schemas.errors import ArchiveError

_FRAMES = re.compile(r"(\d{1,9})(?::(\d{1,9}))?", re.ASCII)


@dataclass(frozen=True)
class Selection:
    """Frames of a clip, and a region of them that cuts no chroma sample. None: whole pictures."""

    frames: range
    region: Box | None
    shot: int | None = None
    asked: Box | None = None  # the region before it was widened

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
    region: Box | None = None

    @classmethod
    def parse(cls, shot: int | None, frames: str | None, region: str | None) -> Request:
        """The request in the words of the command. Raises ArchiveError."""
        if shot is not None and frames is not None:
            raise ArchiveError("give --shot or --frames, not both")
        return cls(
            shot,
            None if frames is None else parse_range(frames),
            None if region is None else _box(region),
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
        region = self.region and _widened(self.region, probe, by_fields)
        return Selection(frames, region, self.shot, self.region)


def parse_range(text: str) -> range:
    """Frames A to B of `A:B`, both included. Raises ArchiveError."""
    match = _FRAMES.fullmatch(text)
    first = int(match[1]) if match else 0
    last = int(match[2] or first) if match else -1
    if last < first:
        raise ArchiveError(f"--frames {text}: give A:B, the first and the last frame, such as 0:24")
    return range(first, last + 1)


def _box(text: str) -> Box:
    try:
        return Box.parse(text)
    except ValueError as error:
        raise ArchiveError(f"--region {error}") from error


def _widened(box: Box, probe: Probe, by_fields: bool) -> Box:
    try:
        return box.widened(probe, by_fields)
    except ValueError as error:
        raise ArchiveError(f"--region {error}") from error
