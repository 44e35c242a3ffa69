"""What a restored file states about itself: how much changed, its tags, its IPTC term.

The tags are Matroska tags (RFC 9559, 5.1.8). Ours begin with RESTORATION; every other tag is the
source's own. They hold no time and no random name, so equal work gives equal bytes.
"""

from __future__ import annotations

from pipeline.clip.changes import Changes, digital_source_type
from pipeline.clip.scan import WORDS
from pipeline.clip.survey import Survey
from pipeline.runs.settings import Settings


def file_tags(survey: Survey, settings: Settings, changes: Changes) -> dict[str, str]:
    """The tags of the restored file."""
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
    """Tags of some clips only: treatment of fields, missing frames, filled frames."""
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
