"""How much of a clip was changed, and the IPTC term for the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.clip.segment import Segments
from pipeline.clip.survey import Survey
from schemas.tables import DIGITAL_SOURCE_TYPES

AVERAGED = ("source_share", "defect_share")
CAPTURED, ENHANCED, GENERATED = DIGITAL_SOURCE_TYPES


@dataclass(frozen=True)
class Changes:
    """How much of a clip changed: `frames` of `of_frames` differ from the source.

    `shares` are means over the frames, from 0 to 1: the weight of the source's pixels, and the
    share of pixels marked as defects.
    """

    frames: int
    of_frames: int
    shares: Mapping[str, float]

    @classmethod
    def between(cls, survey: Survey, segments: Segments) -> Changes:
        """Compare the CRC-32 of every frame in the source and in the segments.

        A frame made from fields counts as changed.
        """
        sent = [crc for segment in segments.values() for crc in segment.crc32]
        changed = sum(a != b for a, b in zip(survey.crc32, sent, strict=False))
        changed = len(sent) if survey.conversion else changed
        frames = sum(segment.frames for segment in segments.values())
        shares = {
            key: sum(getattr(segment, key) * segment.frames for segment in segments.values())
            / frames
            for key in AVERAGED
        }
        return cls(changed, len(survey.crc32), shares)

    def __str__(self) -> str:
        defects = 100 * self.shares["defect_share"]
        return (
            f"{self.frames} of {self.of_frames} frames; {defects:.2f} % of pixels marked as defects"
        )


def digital_source_type(changed_frames: int, filled_frames: int) -> str:
    """The IPTC term of a clip (docs/provenance.md has the rule and its reasons).

    If no frame changed, the clip is the digitised original. Otherwise it is enhanced: the model
    gives a mean estimate without random draws, so it invents nothing. With filled frames it is
    generated: no camera recorded their instant.
    """
    if changed_frames == 0:
        return CAPTURED
    return GENERATED if filled_frames else ENHANCED
