"""The columns and tables of what is judged: measures of a change, verdicts, findings, reviews."""

from schemas.columns import SHA256, Columns, integer, real, text
from schemas.columns import time as instant
from schemas.keys import RUN_ID, clip_id, run
from schemas.verdict_rules import MEASURES, SCOPES, TO_REVIEW, VERDICTS

# Of a frame against its source. Null for frames that the source lacks.
CHANGES: Columns = {
    "pixels_changed": real(
        "Share of pixels that changed strongly, by more than 16 code values after the exposure is "
        "matched, at 320 columns.", "0 to 1", low=0, high=1,
    ),
    "largest_change": real(
        "Share of the frame of the largest region of such pixels.", "0 to 1", low=0, high=1
    ),
    "chroma_shift": real(
        "Largest change of the mean colour of one of 8 x 8 tiles. Null without colour.",
        "code values", low=0,
    ),
    "texture_added": real(
        "Largest gain of fine detail or noise in one of 8 x 8 tiles, as a standard deviation.",
        "code values",
    ),
    "edges_kept": real(
        "Strength of the source's edges that is left. Null without edges.", "1 is all"
    ),
    "detail_kept": real(
        "Least part of the source's detail that is left in a window of an eighth of the width and "
        "height. Null without detail.", "1 is all",
    ),
    "out_of_step": real(
        "Share of what moves that looks like another frame of the source. Null if little moves.",
        "0 to 1", low=0, high=1,
    ),
}  # fmt: skip

# Of a clip.
VERDICT: Columns = {
    "verdict": text(
        "What the rules say of a published clip: `untouched` if no frame differs from the source.",
        values=VERDICTS,
    ),
    "verdict_rule": text("The rule that decided. Null for `pass` and `untouched`."),
    "verdict_sentence": text("Its finding as a sentence. All are in `findings`."),
    "verdict_frame": integer("The frame that proves it, from 0."),
}

FINDINGS: Columns = {
    "clip_id": clip_id,
    "run": run,
    "rule": text("Name of the rule that the clip breaks.", required=True),
    "verdict": text("What the rule says of the clip.", required=True, values=TO_REVIEW),
    "measure": text("Measure that the rule looks at.", required=True, values=tuple(MEASURES)),
    "number": real("Number of the worst frame or region.", "that of the measure", required=True),
    "rule_limit": real("Limit of the rule.", "that of the measure", required=True),
    "frame": integer("The frame that proves it, from 0.", required=True),
    "box": text("Where in the frame: x,y,width,height in pixels. Null for the whole frame."),
    "frames": integer("Frames beyond the limit.", "frames", required=True, low=1),
    "put_back": text(
        "What was put back to the source for it before the clip was published: the regions that "
        "break the rule, their shots, or the clip. Such a finding does not count for the verdict. "
        "Null: the change stands.",
        values=SCOPES,
    ),
    "sentence": text("The finding as a sentence.", required=True),
}

DECISIONS = {
    "accept": "the restored clip is right",
    "revert": "the source was put back",
    "rerun": "the next run restores the clip again",
    "question": "somebody else has to look",
}
REVIEWS: Columns = {
    "clip_id": clip_id,
    "run": text(
        "Id of the review: its time in UTC and a random part.", required=True, pattern=RUN_ID
    ),
    "restored_by": text(
        "Run whose version of the clip was reviewed.", required=True, pattern=RUN_ID
    ),
    "decision": text("What was decided.", required=True, values=tuple(DECISIONS)),
    "region": text(
        "The region that was decided on, as frame:x,y,width,height: `accept` repairs this suspect "
        "in the next run, `revert` puts it back. Null: the clip."
    ),
    "by": text("Who decided.", required=True),
    "note": text("Why, in the person's words."),
    "at": instant("When."),
    "verdict": text("Verdict of the version that was reviewed.", values=VERDICTS),
    "verdict_rule": text("The rule that decided this verdict."),
    "output_sha256": text("SHA-256 of the restored file that was reviewed.", pattern=SHA256),
}
