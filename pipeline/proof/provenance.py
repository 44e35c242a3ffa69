"""What a restored file says about itself: how much was changed, its tags, its IPTC term.

The tags are Matroska's (RFC 9559, 5.1.8); all of ours begin with RESTORATION, so every other tag is
the source's own. They hold no time and no random name: equal work makes equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.clip.segment import Segments
from pipeline.clip.survey import Survey
from pipeline.detect.interlacing import WORDS
from pipeline.runs.settings import Settings
from schemas.tables import DIGITAL_SOURCE_TYPES

AVERAGED = ("source_share", "defect_share")
CAPTURED, ENHANCED, GENERATED = DIGITAL_SOURCE_TYPES


@dataclass(frozen=True)
class Changes:
    """How much of a clip is not the source's: `frames` of `of_frames` with other code values.

    `shares` are means over the frames: weight of source pixels, pixels taken for defects (0 to 1).
    """

    frames: int
    of_frames: int
    shares: Mapping[str, float]

    @classmethod
    def between(cls, survey: Survey, segments: Segments) -> Changes:
        """Compare every frame's CRC-32 in the source with the one sent to the encoder; a frame that
        was made of fields is no frame of the source.
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
            f"{self.frames} of {self.of_frames} frames; {defects:.2f} % of pixels taken for defects"
        )


def digital_source_type(changed_frames: int, filled_frames: int) -> str:
    """The IPTC term of a clip (docs/provenance.md has the rule and its reasons).

    No frame changed: the digitised original. Else the model's mean estimate, which draws nothing at
    random and so invents nothing. A filled frame shows an instant that nothing recorded.
    """
    if changed_frames == 0:
        return CAPTURED
    return GENERATED if filled_frames else ENHANCED


def file_tags(survey: Survey, settings: Settings, changes: Changes) -> dict[str, str]:
    """What the restored file says about itself."""
    recipe = settings.recipe
    what = "AI-assisted restoration" if changes.frames else "restoration that changed no picture"
    return {
        "RESTORATION": f"{what}; not the original",
        "RESTORATION_TOOL": f"archive-restore {settings.code}",
        "RESTORATION_MODEL": f"{recipe.model} sha256:{settings.weights_sha256}",
        "RESTORATION_RECIPE": f"{recipe.name} sha256:{recipe.digest}",
        "RESTORATION_SOURCE": f"sha256:{survey.source_sha256}",
        "RESTORATION_CHANGED": str(changes),
        "RESTORATION_DIGITAL_SOURCE_TYPE": digital_source_type(changes.frames, len(survey.fill)),
        **_special(survey),
    }


def _special(survey: Survey) -> dict[str, str]:
    """What only some clips have to say: how their fields were treated, and which frames miss."""
    tags = {}
    if survey.interlace != "progressive":
        tags["RESTORATION_INTERLACE"] = _interlace(survey)
    if survey.gaps:
        tags["RESTORATION_GAPS"] = f"no frames {', '.join(survey.gaps)}"
    if survey.fill:
        tags["RESTORATION_FILLED"] = f"frames {survey.filled} made anew"
    return tags


def _interlace(survey: Survey) -> str:
    conversion = survey.conversion
    if conversion is None:
        return "kept; fields restored apart"
    how = "2:3 pulldown removed" if conversion.policy == "ivtc" else "FFmpeg bwdif"
    return (
        f"{survey.interlace}: {how}, {WORDS[conversion.order]}, {survey.source_frames} frames "
        f"became {len(survey.pts)} at {survey.probe.fps} a second"
    )
