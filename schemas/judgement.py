"""The columns and tables of what is judged: measures of a change, verdicts, findings, reviews."""

from dataclasses import replace

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

_SIDES = (("before", "of the source"), ("after", "of the restored frame"))


def _both(name: str, meaning: str, unit: str, high: float) -> Columns:
    """Two columns: a measure of the source and of the restored frame."""
    return {
        f"{name}_{side}": real(f"{meaning} {of_what}.", unit, low=0, high=high)
        for side, of_what in _SIDES
    }


# Means over the frames in tables/clips.
_OF_BOTH: Columns = {
    **_both("saturation", "Mean distance of the colour from grey (SATAVG),", "code values", 182),
    **_both("temporal_outliers", "Share of pixels that stand out of those above and below (TOUT),",
            "0 to 1", 1),
    **_both("repeated_lines", "Share of lines like the one 4 lines above (VREP),", "0 to 1", 1),
    **_both("out_of_range", "Share of pixels outside of 16 to 235, or 16 to 240 (BRNG),",
            "0 to 1", 1),
    **_both("warping_error", "RMS difference from the previous frame along the motion (Lai 2018),",
            "code values", 255),
    "psnr_outside_db": real(
        "PSNR against the source, outside of the boxes of repaired regions.", "dB"
    ),
    "ssim_outside": real(
        "SSIM against the source, outside of the boxes of repaired regions.", "-1 to 1"
    ),
    "colour_difference": real(
        "Mean CIE76 difference from the source, at 80 columns.", "delta E", low=0
    ),
}  # fmt: skip
# Of the worst frame in tables/clips.
_OF_THE_WORST: Columns = {
    "new_edges": real("Share of the edges that the source has not.", "0 to 1", low=0, high=1),
    "seam": real(
        "Largest straight step of the change, through a quarter of a line.", "code values", low=0
    ),
    "shard_seam": real(
        "How much more the change moves at the start of a shard than beside it. Null elsewhere.",
        "code values", low=0,
    ),
    "unsupported_change": real(
        "Share of the change's energy that neither the frames beside it, nor exposure, nor a blur "
        "of 3 x 3 explains, at 320 columns. Null if little changed.", "0 to 1", low=0, high=1,
    ),
    "unsupported_worst": real(
        "RMS of what is not explained, in the worst window of an eighth of width and height.",
        "code values", low=0,
    ),
}  # fmt: skip
_SHARED_DETAIL: Columns = {
    "shared_detail_kept": real(
        "Part that is left of the detail that the source shares with the frames beside it, along "
        "the motion, at 320 columns. Grain is not shared. Null without such detail.", "1 is all",
    ),
}  # fmt: skip
# Of a frame, source and restored: levels of the signal, motion, colour, edges, seams.
SIGNAL: Columns = {
    **_both("y_min", "Least brightness (YMIN)", "code values", 256),
    **_both("y_low", "Brightness below which a tenth of the pixels lies (YLOW),", "code values",
            256),
    **_both("y_high", "Brightness below which nine tenths of the pixels lie (YHIGH),",
            "code values", 256),
    **_both("y_max", "Largest brightness (YMAX)", "code values", 256),
    **_OF_BOTH,
    "colour_difference_p95": real("95 % quantile of this difference.", "delta E", low=0),
    **_OF_THE_WORST,
    **_SHARED_DETAIL,
}  # fmt: skip
SIGNAL_OF_CLIPS: Columns = {
    **_OF_BOTH,
    **{
        name: replace(column, description=f"Of the worst frame: {column.description}")
        for name, column in _OF_THE_WORST.items()
    },
}

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

CANARIES: Columns = {
    "clip_id": clip_id,
    "run": run,
    "shot": integer("Number of the clean shot, from 0.", required=True),
    "start": integer("First frame of the canary.", required=True),
    "frames": integer("Frames of the canary.", "frames"),
    "width": integer("Width of its window, in the middle of the picture.", "pixels"),
    "height": integer("Height of the window.", "pixels"),
    "preset": text("Preset of the damage simulator.", required=True),
    "seed": integer("Random seed of the damage.", required=True),
    "model": text("Model that restored it.", required=True),
    "weights_sha256": text("SHA-256 of its weights."),
    "recipe_sha256": text("Digest of the recipe.", required=True, pattern=SHA256),
    "psnr_damaged_db": real("PSNR of the damaged frames against the clean ones.", "dB"),
    "psnr_restored_db": real("PSNR of the restored frames against the clean ones.", "dB"),
    "repaired": real(
        "Share of the visible planted defects of which less than half is left, of pixels. Null if "
        "none was planted.", "0 to 1", low=0, high=1,
    ),
    "harmed": real(
        "Share of the pixels beside the defects that got further from the truth by more than 8 "
        "code values.", "0 to 1", low=0, high=1,
    ),
    "seconds": real("Time that it took.", "seconds", low=0),
    "fault": text("Why it has no score. Null if it has one."),
}  # fmt: skip

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
