"""The tables: every column with its unit and its bounds.

`PUBLISHED` are Parquet tables. `flow` and `segments` are the rows and records that pass between the
stages of a run. An unknown fact is null: a failed clip has its state and its reason, but no
measures.
"""

from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa

from schemas.columns import SHA256, Columns, arrow_schema, flag, integer, pandera_model, real, text
from schemas.columns import time as instant
from schemas.judgement import CANARIES, CHANGES, FINDINGS, REVIEWS, SIGNAL, SIGNAL_OF_CLIPS, VERDICT
from schemas.keys import clip_id as _clip_id
from schemas.keys import run as _run
from schemas.manifest import COLUMNS as MANIFEST
from schemas.manifest import SCAN_TYPES
from schemas.reasons import ENDED_WELL, STATES, Reason
from schemas.repairs import REGIONS

if TYPE_CHECKING:
    import pandera.pyarrow as pap

_IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
# For an unchanged clip, a restored clip and a clip with interpolated frames.
DIGITAL_SOURCE_TYPES = (
    f"{_IPTC}digitalCapture",
    f"{_IPTC}algorithmicallyEnhanced",
    f"{_IPTC}compositeWithTrainedAlgorithmicMedia",
)
_BEFORE_AFTER = (("before", "of the source"), ("after", "of the restored clip"))


def _before_after(name: str, meaning: str, unit: str, low: float | None = 0) -> Columns:
    """Return two columns: the measure of the source and of the restored clip."""
    return {
        f"{name}_{side}": real(f"{meaning} {of_what}.", unit, low=low)
        for side, of_what in _BEFORE_AFTER
    }


_LEVELS: Columns = {
    **_before_after("mean_luma", "Mean brightness", "code values"),
    **_before_after("noise_sigma", "Standard deviation of the noise", "code values"),
    **_before_after("blur", "Blur from 0 (sharp) to 1 (blurred)", "0 to 1"),
    **_before_after("blockiness", "Steps at block borders divided by steps elsewhere,", "ratio"),
    **_before_after("temporal_diff", "Root mean square change between two frames", "code values"),
}
_PAIRS: Columns = {  # a PSNR is at most 100 dB: that of identical pictures
    "psnr_to_source_db": real(
        "PSNR of the restored clip against its source. Identical pictures have 100.", "dB"
    ),
    "ssim_to_source": real("SSIM of the restored clip against its source.", "-1 to 1"),
    "ref_psnr_before_db": real(
        "PSNR of the source against the reference. Identical pictures have 100.", "dB"
    ),
    "ref_psnr_after_db": real(
        "PSNR of the restored clip against the reference. Identical pictures have 100.", "dB"
    ),
    "ref_ssim_before": real("SSIM of the source against the reference.", "-1 to 1"),
    "ref_ssim_after": real("SSIM of the restored clip against the reference.", "-1 to 1"),
}

CLIPS: Columns = {
    "clip_id": _clip_id,
    "run": _run,
    "state": text("State in which the clip ended.", required=True, values=STATES),
    "reason": text("Reason code of a clip that is not published.", values=tuple(Reason)),
    "sentence": text("What happened to this clip, as one sentence."),
    "next_step": text("What to do next."),
    "collection": text("Collection, as in the manifest."),
    "access_class": text("Access class, as in the manifest."),
    "notes": text("Notes, as in the manifest."),
    "source_uri": text("Address of the source.", required=True),
    "source_sha256": text("SHA-256 of the source.", pattern=SHA256),
    "output_uri": text("Address of the restored file."),
    "output_sha256": text("SHA-256 of the restored file.", pattern=SHA256),
    "work_key": text("Hash of source, recipe, weights and code. Equal keys give equal results."),
    "container": text("Container of the source."),
    "codec": text("Video codec of the source."),
    "frames": integer("Frames of the restored file.", "frames"),
    "source_frames": integer(
        "Frames of the source. Differs from `frames` after a conversion.", "frames"
    ),
    "frames_left": integer(
        "Frames left unchanged: leader, bars, slates, clean shots, and the frames in `leave` of "
        "the manifest.",
        "frames",
    ),
    "frames_clean": integer("Frames of shots found clean. They are left unchanged.", "frames"),
    "frames_filled": integer(
        "Frames interpolated because `fill` of the manifest names them.", "frames"
    ),
    "gaps": text("Missing numbers of an image sequence, if gaps are allowed."),
    "width": integer("Width of a frame.", "pixels"),
    "height": integer("Height of a frame.", "pixels"),
    "fps_num": integer("Numerator of the frame rate in frames per second."),
    "fps_den": integer("Denominator of the frame rate."),
    "pix_fmt": text("Pixel format, as FFmpeg names it."),
    "bit_depth": integer("Bits of one sample.", "bits", high=16),
    "sar_num": integer("Numerator of the sample aspect ratio."),
    "sar_den": integer("Denominator of the sample aspect ratio."),
    "field_order": text("Scan type and field order that the source declares."),
    "interlace": text(
        "How the picture was handled: as frames, as fields, or with fields converted to frames.",
        values=("progressive", "fields", "deinterlaced", "deinterlaced-single", "ivtc"),
    ),
    "conversion": text(
        "Details of the conversion: method, field order, first frame of a pulldown cycle."
    ),
    "blanking": text(
        "Lines at the top and bottom and columns at the left and right that are left unchanged."
    ),
    "scan_measured": text(
        "Measured scan type and field order.",
        values=(*SCAN_TYPES, "unknown"),
    ),
    "range_measured": text("Measured signal range.", values=("full", "limited", "unknown")),
    "color_range": text("Signal range that the source declares: 0 unspecified, 1 limited, 2 full."),
    "color_primaries": text(
        "Colour primaries that the source declares: code point of ITU-T H.273, table 2."
    ),
    "color_trc": text(
        "Transfer characteristic that the source declares: code point of ITU-T H.273, table 3."
    ),
    "colorspace": text(
        "Matrix coefficients that the source declares: code point of ITU-T H.273, table 4."
    ),
    "duration_seconds": real("Duration of the picture.", "seconds", low=0),
    "shots": integer("Number of shots found.", "shots"),
    "shards": integer("Number of shards: units of GPU work.", "shards"),
    "tile": integer(
        "Side of the smallest tile used. Null if the memory held whole frames.", "pixels"
    ),
    "device": text("Where the model ran: `cuda`, `cpu`, or both."),
    "model": text("Model that restored the clip."),
    "weights_sha256": text("SHA-256 of the model's weights."),
    "recipe_sha256": text("Digest of the recipe.", pattern=SHA256),
    "digital_source_type": text("IPTC term of the restored file.", values=DIGITAL_SOURCE_TYPES),
    "frames_changed": integer("Frames whose code values differ from the source.", "frames"),
    "share_changed": real(
        "Share of changed squares of 2 x 2 pixels, from the change map. Null without one.",
        "0 to 1",
        low=0,
        high=1,
    ),
    "share_repaired": real(
        "Share of such squares that were changed as defects. Null without a change map.",
        "0 to 1",
        low=0,
        high=1,
    ),
    "frames_put_back": integer(
        "Frames in which the program put source pixels back before it published the clip: by a "
        "rule with a `fallback`, or because their shot has only repairs as in clean film.",
        "frames",
    ),
    "frames_reverted": integer(
        "Frames in which a person put source pixels back. Null if nobody did.", "frames"
    ),
    "seconds_decode": real("Decoding time, sum of all shards.", "seconds", low=0),
    "seconds_model": real("Model time, sum of all shards.", "seconds", low=0),
    "seconds_encode": real("Encoding time, sum of all shards.", "seconds", low=0),
    "seconds_total": real("Time of all stages of the clip, summed.", "seconds", low=0),
    "seconds_cpu": real("Processor time of all stages after the survey.", "seconds", low=0),
    "seconds_gpu": real("Time for which the clip's shards held a GPU.", "seconds", low=0),
    "retries": integer("Attempts at the shards of the clip after the first attempt at each."),
    "source_bytes": integer("Size of the source.", "bytes"),
    "output_bytes": integer("Size of the restored file.", "bytes"),
    "source_share": real("Mean weight of the source in the restored pixels.", "0 to 1", low=0),
    "defect_share": real(
        "Share of pixels classified as defects, where the model looked.", "0 to 1", low=0
    ),
    "regions_repaired": integer("Regions that were repaired, in all frames.", "regions"),
    "suspects": integer(
        "Regions that keep the source because they may be real things, in all frames.", "regions"
    ),
    "largest_repair": integer("Area of the largest repaired region.", "pixels"),
    "largest_repair_frame": integer("Frame with the largest repaired region."),
    "exposure_gain_min": real("Lowest exposure correction.", "factor", low=0),
    "exposure_gain_max": real("Highest exposure correction.", "factor", low=0),
    **_before_after("flicker", "Fast variation of brightness", "percent"),
    **_LEVELS,
    **_PAIRS,
    **SIGNAL_OF_CLIPS,
    **VERDICT,
}

SHOTS: Columns = {
    "clip_id": _clip_id,
    "run": _run,
    "shot": integer("Number of the shot, from 0.", required=True),
    "start": integer("First frame.", "frames", required=True),
    "stop": integer("Frame after the last.", "frames", required=True),
    "frames": integer("Length.", "frames"),
    "start_pts": integer("Presentation time of the first frame.", "source time base", low=None),
    "left": text(
        "Why the shot is left unchanged. Null if it is restored. `like_clean`: its repairs are as "
        "in clean film, so they were undone. `rule`: a rule of the verdict put it back.",
        values=("flat", "bars", "slate", "asked", "clean", "like_clean", "rule"),
    ),
    "found": text(
        "Why the shot is not called clean: specks, lines, flicker, noise, coding, soft; or why "
        "that is not known: short, monochrome, interlaced, missing. Null if it is clean or was "
        "not judged."
    ),
    "flickers": flag("True if the exposure flickers. It is then corrected."),
}

FRAMES: Columns = {
    "clip_id": _clip_id,
    "run": _run,
    "frame": integer("Number of the frame, from 0.", required=True),
    "shot": integer("Number of its shot, from 0."),
    **_before_after(
        "gain_step", "Change of log brightness since the previous frame", "log", low=None
    ),
    **_LEVELS,
    **_PAIRS,
    **CHANGES,
    **SIGNAL,
}

RUNS: Columns = {
    "run": _run,
    "kind": text(
        "What was done: clips were restored, or source pixels were put back in one clip.",
        values=("restoration", "revert"),
    ),
    "started": instant("Start of the run.", "UTC", required=True),
    "sessions": integer("Sessions of the run: one, plus one for each time it was resumed."),
    "manifest_uri": text("Address of the manifest."),
    "manifest_sha256": text("SHA-256 of the manifest's rows."),
    "recipe": text("Name of the recipe."),
    "recipe_sha256": text("Digest of the recipe.", pattern=SHA256),
    "model": text("Model of the recipe."),
    "weights_sha256": text("SHA-256 of the model's weights."),
    "code": text("Version of the program."),
    "clips": integer(
        "Clips of the manifest. Equals the sum of all states.", "clips", required=True
    ),
    **{state: integer(f"Clips that ended {state}.", "clips") for state in STATES},
    "device": text("Type of the devices.", values=("cpu", "gpu")),
    "workers": integer("Devices of the last session.", "devices"),
    "frames": integer("Frames published by this run.", "frames"),
    "seconds": real("Wall clock time of the last session.", "seconds", low=0),
    "fps": real("Frames published divided by `seconds`.", "frames per second", low=0),
    "exit_code": integer("Exit code of the run. See the list in docs/cli.md."),
}

SEGMENTS: Columns = {
    "shard": integer("Number of the shard in its clip, from 0.", required=True),
    "start": integer("First frame.", "frames", required=True),
    "stop": integer("Frame after the last.", "frames", required=True),
    "uri": text("Address of the restored segment.", required=True),
    "sha256": text("SHA-256 of the segment.", required=True, pattern=SHA256),
    "seconds_decode": real("Time spent decoding.", "seconds", required=True, low=0),
    "seconds_model": real("Time spent in the model.", "seconds", required=True, low=0),
    "seconds_encode": real("Time spent encoding.", "seconds", required=True, low=0),
    "seconds_cpu": real("Processor time.", "seconds", required=True, low=0),
    "seconds_gpu": real("Time for which a GPU was held.", "seconds", required=True, low=0),
    "retries": integer("Attempts that failed before.", required=True),
    "source_share": real("Mean weight of source pixels.", "0 to 1", required=True, low=0),
    "defect_share": real(
        "Share of pixels found to be defects, where the model looked.",
        "0 to 1",
        required=True,
        low=0,
    ),
    "regions_uri": text("Address of the shard's regions; empty without any.", required=True),
    "share_changed": real("Share of changed pixels.", "0 to 1", low=0),
    "share_repaired": real("Share of pixels changed as defects.", "0 to 1", low=0),
    "changes_uri": text("Address of its part of the change map; empty without.", required=True),
    "regions_repaired": integer("Regions repaired.", "regions", required=True),
    "suspects": integer("Regions left because they may be real.", "regions", required=True),
    "largest_repair": integer("Area of the largest repair.", "pixels", required=True),
    "largest_repair_frame": integer("Frame with the largest repair."),
    "exposure_gain_min": real("Lowest exposure correction.", "factor", required=True, low=0),
    "exposure_gain_max": real("Highest exposure correction.", "factor", required=True, low=0),
    "tile": integer("Side of the smallest tiles that memory forced on the model.", "pixels"),
    "device": text("Where the model ran: cuda or cpu."),
}

# A row between two stages: a clip of the manifest, a shard of it, or how either ended.
FLOW: Columns = {
    "kind": text(
        "What the row is.", required=True, values=("clip", "task", "done", "ended", "left")
    ),
    "clip_id": _clip_id,
    **{
        name: integer(column.description, low=None)
        if name == "priority"
        else text(column.description)
        for name, column in MANIFEST.items()
        if name != "clip_id"
    },
    "shard": integer("Number of the shard in its clip, from 0."),
    "frames": integer("Frames of the shard.", "frames"),
    "shards": integer("Shards of the clip.", "shards"),
    "clip_frames": integer("Frames of the clip.", "frames"),
    "survey": text("Survey of a short clip, as JSON."),
    "outcome": text("Outcome of the shard.", values=("restored", "resumed", "dropped")),
    "record": text("Segment record of a clip of one shard, or result of a clip, as JSON."),
    "seconds_decode": real("Time spent decoding.", "seconds", low=0),
    "seconds_model": real("Time spent in the model.", "seconds", low=0),
    "seconds_encode": real("Time spent encoding.", "seconds", low=0),
    "seconds_cpu": real("Processor time.", "seconds", low=0),
    "seconds_gpu": real("Time for which a GPU was held.", "seconds", low=0),
    "retries": integer("Attempts that failed before."),
    "reason": text("Why this session leaves the clip.", values=tuple(Reason)),
    "sentence": text("Fault of the store, if the result could not be written."),
}

PUBLISHED: dict[str, Columns] = {
    "runs": RUNS, "clips": CLIPS, "shots": SHOTS, "frames": FRAMES, "regions": REGIONS,
    "findings": FINDINGS, "reviews": REVIEWS, "canaries": CANARIES,
}  # fmt: skip
TABLES: dict[str, Columns] = {**PUBLISHED, "segments": SEGMENTS, "flow": FLOW}


@cache
def schema(table: str) -> pa.Schema:
    """Return the Arrow schema of a table."""
    return arrow_schema(TABLES[table])


@cache
def _model(table: str) -> "pap.DataFrameSchema":
    return pandera_model(table, TABLES[table])


def check(name: str, table: pa.Table) -> pa.Table:
    """Return the table if it fits its schema. Raises ValueError with every breach."""
    from pandera.errors import SchemaErrors

    try:
        _model(name).validate(table, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases
        plain = cases.to_pylist() if isinstance(cases, pa.Table) else cases.to_dicts()
        breaches = {f"{c['column']}: {c['check']}: {c['failure_case']!r}": None for c in plain}
        raise ValueError(f"tables/{name}: " + "; ".join(list(breaches)[:20])) from errors
    if name == "clips":
        _check_reasons(table)
    return table


def _check_reasons(table: pa.Table) -> None:
    """Raise ValueError unless exactly the clips that did not end well have a reason."""
    for clip, state, reason in zip(
        *(table[column].to_pylist() for column in ("clip_id", "state", "reason")), strict=True
    ):
        ended_well = state in ENDED_WELL
        if ended_well != (reason is None):
            raise ValueError(f"tables/clips: {clip} is {state} with the reason {reason}")
