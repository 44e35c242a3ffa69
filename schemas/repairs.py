"""The regions that the model would repair: decisions, the codes of their reasons, their table.

A reason code is a column of tables/regions. People read its sentence.
"""

from schemas.columns import Columns, flag, integer, real, text
from schemas.keys import clip_id, run

DECISIONS: dict[str, str] = {
    "repair": "The region was repaired.",
    "suspect": "The region keeps the source: it may be a real thing.",
}
WHY: dict[str, str] = {
    "clear": "It is clearly a defect: nothing before and after, nor a displacement, explains it.",
    "one_frame": "Nothing like it lies on a path through the frames before and after.",
    "apart": "It stands alone in worn film: next to nothing around it is unlike dust.",
    "upright": "An upright line, in the frames before and after too: a scratch, or a real thing.",
    "rim": "A level line on an edge that the frames before and after have too: it may be its rim.",
    "ridge": "The frames before and after have a like stripe, far stronger: it may be real.",
    "unlike_dust": "Its surroundings or a small displacement explain it: it may be in motion.",
    "lone": "Few clear defects are near, and it is doubtful or large: it may be real.",
    "edge": "It lies along the frame's edge, where the picture may have shifted in the gate.",
    "swarm": "Many regions in these frames are on paths: it may be one more thing in motion.",
    "path": "Regions like it lie on a straight path before and after: it may be a thing in motion.",
    "like_clean": "Few repairs of its shot are clear, as in clean film: all of them were undone.",
    "accepted": "A person accepted its repair.",
    "standing": "A scratch that stands still through the shot, over all that lies behind it.",
    "rule": "A rule of the verdict put the source back here.",
}

# A region is a connected part of the picture that the model takes for a defect: 20 pixels or more.
REGIONS: Columns = {
    "clip_id": clip_id,
    "run": run,
    "shot": integer("Number of its shot, from 0.", required=True),
    "frame": integer("Number of its frame, from 0.", required=True),
    "x": integer("Left edge of its box.", "pixels", required=True),
    "y": integer("Upper edge of its box.", "pixels", required=True),
    "width": integer("Width of its box.", "pixels", required=True, low=1),
    "height": integer("Height of its box.", "pixels", required=True, low=1),
    "area": integer(
        "Pixels in the region. In a clip restored by fields, those of one field.", "pixels",
        required=True, low=1,
    ),
    "bright": flag("True if it is brighter than its repair, false if darker.", required=True),
    "change": real(
        "Mean difference from its repair at full strength.", "code values", required=True, low=0
    ),
    "decision": text(
        "`repair`: it was repaired. `suspect`: it keeps the source, for it may be a real thing.",
        required=True, values=tuple(DECISIONS),
    ),
    "why": text("Why, as a code. See below.", required=True, values=tuple(WHY)),
    "probability": real(
        "Probability that it is a defect, by what the frames before and after show of it. Paths and"
        " edges are weighed after it. Null if nothing was measured.", low=0, high=1,
    ),
    "crowd": integer(
        "Other regions that stand out and are unlike dust, up to a tenth of the frame's width away."
        " Null if they were not counted.", low=0,
    ),
}  # fmt: skip
