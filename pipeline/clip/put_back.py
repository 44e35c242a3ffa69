"""What the program puts back to the source before it publishes a clip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.clip.box import Box
from pipeline.clip.survey import Survey


@dataclass(frozen=True)
class PutBack:
    """Frames that get the source's pixels, in a region that cuts no chroma sample, or whole."""

    frames: range
    region: Box | None
    why: str  # a code of schemas/repairs.py: for the regions that stay as suspects
    rule: str | None = None  # of the verdict, that asked for it
    shot: int | None = None  # the number of the shot, if it is put back whole

    def __str__(self) -> str:
        first, last = self.frames[0], self.frames[-1]
        frames = f"frame {first}" if first == last else f"frames {first} to {last}"
        return f"{frames}, region {self.region}" if self.region else frames

    def to_dict(self) -> dict[str, object]:
        """The entry in the record of the clip."""
        return {
            "first_frame": self.frames[0], "last_frame": self.frames[-1], "shot": self.shot,
            "region": None if self.region is None else str(self.region),
            "why": self.why, "rule": self.rule,
        }  # fmt: skip


Plan = tuple[PutBack, ...]


def frames_of(plan: Iterable[PutBack], survey: Survey) -> set[int]:
    """The frames that get pixels of the source. Filled frames have no source."""
    return {frame for one in plan for frame in one.frames} - set(survey.fill)
