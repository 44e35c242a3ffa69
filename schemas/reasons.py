"""The closed list of reason codes: why a clip was not published, and what to do about it.

Operators filter, count and alert on these codes, so a code keeps its meaning for ever; a new cause
gets a new code. The state says who has to act: a *failed* clip met trouble on our side and is tried
again by the next run, a *quarantined* one needs a person, a *held* one waits for a date or a
decision. The class says what a run does about it at once: only *transient* trouble is waited out
and tried again, and many equal faults in a row that are not the *clip*'s own end the run.
"""

from enum import StrEnum
from typing import Literal, NamedTuple

FaultState = Literal["quarantined", "failed", "held"]
FaultClass = Literal["clip", "system", "transient"]


class Reason(StrEnum):
    """A reason code; its value is its name, as it stands in every table and report."""

    MANIFEST_INVALID = "MANIFEST_INVALID"
    URI_REFUSED = "URI_REFUSED"
    NOT_FOUND = "NOT_FOUND"
    ARCHIVED_TIER = "ARCHIVED_TIER"
    ACCESS_DENIED = "ACCESS_DENIED"
    FIXITY_MISMATCH = "FIXITY_MISMATCH"
    FIXITY_ABSENT = "FIXITY_ABSENT"
    UNSUPPORTED_FORMAT = "UNSUPPORTED_FORMAT"
    NO_VIDEO = "NO_VIDEO"
    DECODE_ERROR = "DECODE_ERROR"
    DECODE_CRC = "DECODE_CRC"
    TRUNCATED = "TRUNCATED"
    FRAME_COUNT = "FRAME_COUNT"
    VFR_REFUSED = "VFR_REFUSED"
    PROFILE_REFUSED = "PROFILE_REFUSED"
    SCAN_DISAGREES = "SCAN_DISAGREES"
    INTERLACE_REFUSED = "INTERLACE_REFUSED"
    FILL_REFUSED = "FILL_REFUSED"
    RANGE_DISAGREES = "RANGE_DISAGREES"
    MEDIA_BOMB = "MEDIA_BOMB"
    DECODER_CRASH = "DECODER_CRASH"
    DECODER_TIMEOUT = "DECODER_TIMEOUT"
    EMBARGOED = "EMBARGOED"
    LICENCE_REFUSED = "LICENCE_REFUSED"
    GPU_OOM = "GPU_OOM"
    GPU_LOST = "GPU_LOST"
    MODEL_NAN = "MODEL_NAN"
    MODEL_TIMEOUT = "MODEL_TIMEOUT"
    FIDELITY_BREACH = "FIDELITY_BREACH"
    SEAM_BREACH = "SEAM_BREACH"
    ENCODE_ERROR = "ENCODE_ERROR"
    VERIFY_MISMATCH = "VERIFY_MISMATCH"
    POLICY_FAIL = "POLICY_FAIL"
    DISK_FULL = "DISK_FULL"
    STORE_THROTTLED = "STORE_THROTTLED"
    STORE_ERROR = "STORE_ERROR"
    BUDGET_STOP = "BUDGET_STOP"
    DEADLINE_STOP = "DEADLINE_STOP"
    CANCELLED = "CANCELLED"
    SYSTEM_STOP = "SYSTEM_STOP"
    INTERNAL = "INTERNAL"


class ReasonInfo(NamedTuple):
    """What a code means, what to do next, the state its clip ends in, and the class of fault."""

    meaning: str
    next_step: str
    state: FaultState
    kind: FaultClass = "clip"


REASONS: dict[Reason, ReasonInfo] = {
    Reason.MANIFEST_INVALID: ReasonInfo(
        "A row of the manifest breaks the manifest's schema.",
        "Correct the row and column named and run `archive-restore validate`.",
        "failed",
    ),
    Reason.URI_REFUSED: ReasonInfo(
        "The address is unsafe, of an unknown scheme, or outside the allowed roots.",
        "Use a path or s3://bucket/key without credentials, `..` or control characters.",
        "quarantined",
    ),
    Reason.NOT_FOUND: ReasonInfo(
        "The source does not exist at its address.",
        "Correct source_uri or restore the file, then retry the clip.",
        "quarantined",
    ),
    Reason.ARCHIVED_TIER: ReasonInfo(
        "The object lies in a cold storage class and cannot be read now.",
        "Request its retrieval from the store; the next run takes it up by itself.",
        "held",
    ),
    Reason.ACCESS_DENIED: ReasonInfo(
        "The store or file system refused access with the credentials in use.",
        "Check the credentials and the bucket policy, then retry the clip.",
        "quarantined",
        "system",
    ),
    Reason.FIXITY_MISMATCH: ReasonInfo(
        "The source's checksum is not the one in the manifest: the file has changed.",
        "Restore the file from another copy, or correct the checksum if it is the stale one.",
        "quarantined",
    ),
    Reason.FIXITY_ABSENT: ReasonInfo(
        "No checksum is known for the source: a flag, and a hold where the run requires one.",
        "Add checksum and checksum_algo to the manifest.",
        "held",
    ),
    Reason.UNSUPPORTED_FORMAT: ReasonInfo(
        "The container, codec or pixel format is not one that is restored without loss.",
        "Make a supported copy (see the list of formats), or leave the clip out.",
        "quarantined",
    ),
    Reason.NO_VIDEO: ReasonInfo(
        "The file holds no video stream, or one without frames.",
        "Check that source_uri names the picture and not a sound or data file.",
        "quarantined",
    ),
    Reason.DECODE_ERROR: ReasonInfo(
        "The decoder reported an error; some pictures would be missing or invented.",
        "Compare with another copy; look at the decoder's messages in the clip's record.",
        "quarantined",
    ),
    Reason.DECODE_CRC: ReasonInfo(
        "A checksum inside the stream does not match: the picture data is damaged.",
        "Restore the file from another copy.",
        "quarantined",
    ),
    Reason.TRUNCATED: ReasonInfo(
        "The file ends before its last declared frame.",
        "Repeat the transfer or restore the file from another copy.",
        "quarantined",
    ),
    Reason.FRAME_COUNT: ReasonInfo(
        "The number of frames decoded is not the number declared or restored.",
        "Check the file's index; rewrap the source if it is wrong.",
        "quarantined",
    ),
    Reason.VFR_REFUSED: ReasonInfo(
        "The frame rate varies and the output profile cannot carry that.",
        "Choose a profile that keeps timestamps, or leave the clip out.",
        "quarantined",
    ),
    Reason.PROFILE_REFUSED: ReasonInfo(
        "A profile of the recipe cannot hold the clip: its scan, size, rate or colour.",
        "Leave that profile out of the clip's recipe (see the list of formats).",
        "quarantined",
    ),
    Reason.SCAN_DISAGREES: ReasonInfo(
        "Declared and measured scan type (progressive, field order) disagree.",
        "Look at the clip and set field_order in the manifest.",
        "held",
    ),
    Reason.INTERLACE_REFUSED: ReasonInfo(
        "The clip does not allow the interlace policy that was asked for.",
        "Look at the clip and set `interlace` (or field_order) for it in the manifest.",
        "held",
    ),
    Reason.FILL_REFUSED: ReasonInfo(
        "Frames that the manifest wants filled have nothing around them to be made from.",
        "Look at the clip and correct `fill` in the manifest.",
        "held",
    ),
    Reason.RANGE_DISAGREES: ReasonInfo(
        "Declared and measured signal range (full, limited) disagree.",
        "Look at the clip's levels and correct the declaration in the source.",
        "held",
    ),
    Reason.MEDIA_BOMB: ReasonInfo(
        "The media goes beyond a limit of the recipe: picture size, frames or memory.",
        "Raise that limit in the recipe if the clip is genuine.",
        "quarantined",
    ),
    Reason.DECODER_CRASH: ReasonInfo(
        "The decoding process died on this file.",
        "Treat the file as suspect; compare with another copy.",
        "quarantined",
    ),
    Reason.DECODER_TIMEOUT: ReasonInfo(
        "The decoder went on longer than the recipe allows.",
        "Raise limits.wall_seconds if the clip is genuine and the machine slow.",
        "quarantined",
    ),
    Reason.EMBARGOED: ReasonInfo(
        "The manifest holds the clip back until embargo_until.",
        "Nothing: a run after that date takes it up.",
        "held",
    ),
    Reason.LICENCE_REFUSED: ReasonInfo(
        "The access class or licence of the clip or the model does not allow this use.",
        "Clear the rights, or choose a recipe that is allowed.",
        "held",
    ),
    Reason.GPU_OOM: ReasonInfo(
        "Memory is too small for this picture size, even in the smallest tiles and on the CPU.",
        "Use a smaller model or a machine with more memory, then retry the clip.",
        "quarantined",
        "system",
    ),
    Reason.GPU_LOST: ReasonInfo(
        "The worker restoring this clip died or lost its accelerator, again and again.",
        "Read the worker's log; retry the clip alone with `archive-restore quarantine retry`.",
        "quarantined",
        "system",
    ),
    Reason.MODEL_NAN: ReasonInfo(
        "The model returned values that are not numbers.",
        "Report the clip and the recipe; its source is untouched.",
        "quarantined",
        "system",
    ),
    Reason.MODEL_TIMEOUT: ReasonInfo(
        "The model went on longer than the recipe allows.",
        "Raise limits.wall_seconds in the recipe, then run again.",
        "failed",
        "system",
    ),
    Reason.FIDELITY_BREACH: ReasonInfo(
        "The restored picture departs from its source beyond the limit.",
        "Compare both; lower strength in the recipe, or leave the clip as it is.",
        "quarantined",
    ),
    Reason.SEAM_BREACH: ReasonInfo(
        "A seam shows where two parts of the clip were joined.",
        "Compare at the frames named; use longer shards.",
        "quarantined",
    ),
    Reason.ENCODE_ERROR: ReasonInfo(
        "The output could not be encoded or wrapped.",
        "Read the encoder's message in the clip's record; the next run tries again.",
        "failed",
        "system",
    ),
    Reason.VERIFY_MISMATCH: ReasonInfo(
        "The output, decoded again, is not what was encoded; it was not published.",
        "Check the machine's memory and disk; the next run tries again.",
        "failed",
        "system",
    ),
    Reason.POLICY_FAIL: ReasonInfo(
        "The output breaks a rule of its profile; it was not published.",
        "Read which rule in the sentence; correct the recipe or the policy.",
        "quarantined",
    ),
    Reason.DISK_FULL: ReasonInfo(
        "The disk or the quota is full.",
        "Free some space and run again; finished work is kept.",
        "failed",
        "transient",
    ),
    Reason.STORE_THROTTLED: ReasonInfo(
        "The object store asked to slow down, beyond all retries.",
        "Run again with fewer workers or later.",
        "failed",
        "transient",
    ),
    Reason.STORE_ERROR: ReasonInfo(
        "The object store or file system failed, beyond all retries.",
        "Check the store and run again; finished work is kept.",
        "failed",
        "transient",
    ),
    Reason.BUDGET_STOP: ReasonInfo(
        "The run reached its budget before this clip.",
        "Run again; finished work is kept.",
        "held",
    ),
    Reason.DEADLINE_STOP: ReasonInfo(
        "The run reached its deadline before this clip.",
        "Run again; finished work is kept.",
        "held",
    ),
    Reason.CANCELLED: ReasonInfo(
        "The run was cancelled before this clip was done.",
        "Run again; finished work is kept.",
        "held",
    ),
    Reason.SYSTEM_STOP: ReasonInfo(
        "The run stopped before this clip was done: too many in a row had failed alike.",
        "Mend what the run's summary names, then run again; finished work is kept.",
        "held",
    ),
    Reason.INTERNAL: ReasonInfo(
        "An error of our own that no other code covers.",
        "Report it with the sentence and the log; the next run tries again.",
        "failed",
        "system",
    ),
}

_STATES: dict[FaultState, str] = {
    "quarantined": "The clip needs a person: runs skip it until someone retries it, or its source, "
    "its row of the manifest, the recipe, the weights or the program change.",
    "failed": "Trouble on our side: the next run tries the clip again.",
    "held": "The clip waits for a date or a decision: the next run looks at it again.",
}

_CLASSES: dict[FaultClass, str] = {
    "clip": "The clip's own, or a decision about it: never tried again in the same run.",
    "system": "Speaks of the system: not tried again in the same run; ten in a row end it.",
    "transient": "Passes by itself: waited out and tried again with growing pauses; ten in a row "
    "that did not pass end the run.",
}


def reasons_markdown() -> str:
    """Return the text of `docs/reason-codes.md`, made from this module alone."""
    lines = [
        "# Reason codes",
        "",
        "Generated from `schemas/reasons.py`; do not edit by hand.",
        "",
        "A clip that is not published carries one code of this closed list and a sentence.",
        "",
        "| state | meaning |",
        "|---|---|",
        *(f"| {state} | {text} |" for state, text in _STATES.items()),
        "",
        "| class | meaning |",
        "|---|---|",
        *(f"| {kind} | {text} |" for kind, text in _CLASSES.items()),
        "",
        "| code | state | class | meaning | next step |",
        "|---|---|---|---|---|",
    ]
    for reason, info in REASONS.items():
        words = (f"`{reason}`", info.state, info.kind, info.meaning, info.next_step)
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines) + "\n"
