"""The closed list of reason codes: why a clip was not published, and what to do next.

Operators filter, count and alert on these codes. A code never changes its meaning; a new cause gets
a new code.

The state says who acts next. A *failed* clip met a fault on our side, and the next run tries it
again. A *quarantined* clip needs a person. A *held* clip waits for a date or a decision.

The class says what the run does at once. It retries only *transient* faults. Ten clips in a row
that end with the same *system* or *transient* code end the run.

A reserved code is documented, but no code produces it yet.
"""

from enum import StrEnum
from typing import Literal, NamedTuple

FaultState = Literal["quarantined", "failed", "held"]
FaultClass = Literal["clip", "system", "transient"]

# Every clip ends a run in one of these states.
ENDED_WELL = ("published", "up_to_date", "untouched")
MADE = ("published", "untouched")  # those whose file the run has written
STATES = (*ENDED_WELL, "held", "quarantined", "failed")


class Reason(StrEnum):
    """A reason code. Its value is its name, as tables and reports show it."""

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
    NOT_ISOLATED = "NOT_ISOLATED"
    EMBARGOED = "EMBARGOED"
    LICENCE_REFUSED = "LICENCE_REFUSED"
    MEMORY_SHORT = "MEMORY_SHORT"
    GPU_OOM = "GPU_OOM"
    GPU_LOST = "GPU_LOST"
    WORKER_LOST = "WORKER_LOST"
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
    """The meaning of a code, the next step, the state of its clip and the class of the fault."""

    meaning: str
    next_step: str
    state: FaultState
    kind: FaultClass = "clip"
    reserved: bool = False


REASONS: dict[Reason, ReasonInfo] = {
    Reason.MANIFEST_INVALID: ReasonInfo(
        "A value of this clip's manifest row is wrong or missing.",
        "Correct the row and column that the sentence names. Check it with `archive-restore "
        "validate`.",
        "failed",
    ),
    Reason.URI_REFUSED: ReasonInfo(
        "The address is unsafe, has an unknown scheme, or lies outside the allowed places.",
        "Use a path or s3://bucket/key without credentials, `..` or control characters. Check "
        "that ARCHIVE_RESTORE_ALLOW covers it.",
        "quarantined",
    ),
    Reason.NOT_FOUND: ReasonInfo(
        "The source does not exist at its address, or is not a regular file.",
        "Correct source_uri or put the file back, then retry the clip.",
        "quarantined",
    ),
    Reason.ARCHIVED_TIER: ReasonInfo(
        "The object is in a cold storage class and cannot be read now.",
        "Ask the store to retrieve the object. The next run tries the clip again.",
        "held",
    ),
    Reason.ACCESS_DENIED: ReasonInfo(
        "The store or the file system refused access with the credentials in use.",
        "Check the credentials and the bucket policy, then retry the clip.",
        "quarantined",
        "system",
    ),
    Reason.FIXITY_MISMATCH: ReasonInfo(
        "The checksum of the source differs from the one in the manifest.",
        "Replace the file by a good copy, or correct the checksum in the manifest if it is "
        "out of date.",
        "quarantined",
    ),
    Reason.FIXITY_ABSENT: ReasonInfo(
        "The manifest has no checksum for the source, and the run requires one.",
        "Add checksum and checksum_algo to the manifest.",
        "held",
        reserved=True,
    ),
    Reason.UNSUPPORTED_FORMAT: ReasonInfo(
        "The container, codec or pixel format cannot be restored without loss.",
        "Make a copy in a supported format (see docs/formats.md), or remove the clip from the "
        "manifest.",
        "quarantined",
    ),
    Reason.NO_VIDEO: ReasonInfo(
        "The file has no video stream, or the video stream has no frames.",
        "Check that source_uri names the picture file, not a sound or data file.",
        "quarantined",
    ),
    Reason.DECODE_ERROR: ReasonInfo(
        "The decoder reported an error. Some pictures would be missing or invented.",
        "Read the decoder's message in the sentence. Compare the file with another copy.",
        "quarantined",
    ),
    Reason.DECODE_CRC: ReasonInfo(
        "A checksum inside the stream does not match. The picture data is damaged.",
        "Replace the file by a good copy.",
        "quarantined",
    ),
    Reason.TRUNCATED: ReasonInfo(
        "The file ends before its last declared frame.",
        "Transfer the file again, or replace it by a good copy.",
        "quarantined",
    ),
    Reason.FRAME_COUNT: ReasonInfo(
        "The number of decoded frames differs from the number declared or restored, or an image "
        "sequence has missing numbers.",
        "Check the index of the file, and rewrap the source if it is wrong. For an image sequence, "
        "add the missing files or set `gaps` to `allowed`.",
        "quarantined",
    ),
    Reason.VFR_REFUSED: ReasonInfo(
        "The frame rate varies, and a profile of the recipe needs one frame rate.",
        "Remove that profile from the recipe of this clip, or remove the clip from the manifest.",
        "quarantined",
    ),
    Reason.PROFILE_REFUSED: ReasonInfo(
        "A profile of the recipe cannot hold the clip's scan type, size, frame rate or colour.",
        "Remove that profile from the recipe of this clip (see docs/formats.md).",
        "quarantined",
    ),
    Reason.SCAN_DISAGREES: ReasonInfo(
        "The declared scan type or field order differs from the measured one.",
        "Look at the clip and set field_order in the manifest.",
        "held",
    ),
    Reason.INTERLACE_REFUSED: ReasonInfo(
        "The interlace policy of the recipe or the manifest does not fit this clip.",
        "Look at the clip and set `interlace` or field_order for it in the manifest.",
        "held",
    ),
    Reason.FILL_REFUSED: ReasonInfo(
        "Frames in `fill` cannot be made from the frames around them.",
        "Look at the clip and correct `fill` in the manifest.",
        "held",
    ),
    Reason.RANGE_DISAGREES: ReasonInfo(
        "The declared signal range (full or limited) differs from the measured one.",
        "Look at the levels of the clip and correct the declaration in the source.",
        "held",
    ),
    Reason.MEDIA_BOMB: ReasonInfo(
        "The media exceeds a limit of the recipe: picture size, number of frames or memory.",
        "If the clip is genuine, raise that limit in the recipe.",
        "quarantined",
    ),
    Reason.DECODER_CRASH: ReasonInfo(
        "The decoding process crashed on this file.",
        "Treat the file as suspect. Compare it with another copy.",
        "quarantined",
    ),
    Reason.DECODER_TIMEOUT: ReasonInfo(
        "The decoder took longer than the recipe allows.",
        "If the clip is genuine and the machine is slow, raise limits.wall_seconds in the recipe.",
        "quarantined",
    ),
    Reason.NOT_ISOLATED: ReasonInfo(
        "A wall of the decoder's sandbox is missing that ARCHIVE_RESTORE_WALLS asks for. The file "
        "was not opened.",
        "Run `doctor` on that machine. Start the run where the system allows the wall, or ask for "
        "fewer walls.",
        "failed",
        "system",
    ),
    Reason.EMBARGOED: ReasonInfo(
        "The manifest holds the clip until embargo_until.",
        "Nothing to do. A run after that date restores the clip.",
        "held",
    ),
    Reason.LICENCE_REFUSED: ReasonInfo(
        "The access class or the licence of the clip or the model does not allow this use.",
        "Clear the rights, or choose a recipe that is allowed.",
        "held",
        reserved=True,
    ),
    Reason.MEMORY_SHORT: ReasonInfo(
        "Restoring frames of this size would need more memory than a worker may take, even in "
        "the smallest tiles. Nothing was decoded.",
        "Use a machine with more memory, fewer workers, or a smaller model. The next run tries "
        "the clip again.",
        "held",
    ),
    Reason.GPU_OOM: ReasonInfo(
        "The memory is too small for this picture size, even with the smallest tiles and on "
        "the CPU.",
        "Use a smaller model or a machine with more memory, then retry the clip.",
        "quarantined",
        "system",
    ),
    Reason.GPU_LOST: ReasonInfo(
        "The worker that restored this clip died or lost its GPU several times.",
        "Read the worker's log, then retry this clip alone with `archive-restore quarantine "
        "retry`.",
        "quarantined",
        "system",
    ),
    Reason.WORKER_LOST: ReasonInfo(
        "The worker that surveyed or assembled this clip died several times.",
        "Read the worker's log, then retry this clip alone with `archive-restore quarantine "
        "retry`.",
        "quarantined",
        "system",
    ),
    Reason.MODEL_NAN: ReasonInfo(
        "The model returned values that are not numbers.",
        "Report the clip and the recipe. The source is unchanged.",
        "quarantined",
        "system",
    ),
    Reason.MODEL_TIMEOUT: ReasonInfo(
        "The model took longer than allowed.",
        "Check that the GPU of that worker still answers. Use a smaller model or a faster machine, "
        "then run again.",
        "failed",
        "system",
    ),
    Reason.FIDELITY_BREACH: ReasonInfo(
        "The restored picture differs from its source by more than the limit.",
        "Compare both. Lower `strength` in the recipe, or remove the clip from the manifest.",
        "quarantined",
        reserved=True,
    ),
    Reason.SEAM_BREACH: ReasonInfo(
        "A seam is visible where two parts of the clip were joined.",
        "Compare at the frames named. Raise `shard_frames` in the recipe.",
        "quarantined",
        reserved=True,
    ),
    Reason.ENCODE_ERROR: ReasonInfo(
        "The output could not be encoded or wrapped.",
        "Read the encoder's message in the sentence. The next run tries the clip again.",
        "failed",
        "system",
    ),
    Reason.VERIFY_MISMATCH: ReasonInfo(
        "The decoded output differs from what was encoded. It was not published.",
        "Check the memory and the disk of the machine. The next run tries the clip again.",
        "failed",
        "system",
    ),
    Reason.POLICY_FAIL: ReasonInfo(
        "The output breaks a rule of its profile. It was not published.",
        "Read the name of the rule in the sentence. Correct the recipe or the policy.",
        "quarantined",
    ),
    Reason.DISK_FULL: ReasonInfo(
        "The disk or the quota is full.",
        "Free some space and run again. Finished work is kept.",
        "failed",
        "transient",
    ),
    Reason.STORE_THROTTLED: ReasonInfo(
        "The object store limited the request rate, and the retries are exhausted.",
        "Run again later or with fewer workers.",
        "failed",
        "transient",
    ),
    Reason.STORE_ERROR: ReasonInfo(
        "The object store or the file system failed, and the retries are exhausted.",
        "Check the store and run again. Finished work is kept.",
        "failed",
        "transient",
    ),
    Reason.BUDGET_STOP: ReasonInfo(
        "The run reached its budget before this clip was done.",
        "Run again. Finished work is kept.",
        "held",
    ),
    Reason.DEADLINE_STOP: ReasonInfo(
        "The run reached its deadline before this clip was done.",
        "Run again. Finished work is kept.",
        "held",
    ),
    Reason.CANCELLED: ReasonInfo(
        "The run was cancelled before this clip was done.",
        "Run again. Finished work is kept.",
        "held",
    ),
    Reason.SYSTEM_STOP: ReasonInfo(
        "The run stopped before this clip was done, because too many clips in a row failed "
        "for the same reason.",
        "Correct the fault that the run's summary names, then run again. Finished work is kept.",
        "held",
    ),
    Reason.INTERNAL: ReasonInfo(
        "A defect of the program that no other code covers.",
        "Report it with the sentence and the log. The next run tries the clip again.",
        "failed",
        "system",
    ),
}

RESERVED = "Reserved: not produced yet."

_STATES: dict[FaultState, str] = {
    "quarantined": "The clip needs a person. Runs skip it until someone retries it. They also try "
    "it again when its source, its manifest row, the recipe, the weights or the program changes.",
    "failed": "A fault on our side. The next run tries the clip again.",
    "held": "The clip waits for a date or a decision. The next run looks at it again.",
}

_CLASSES: dict[FaultClass, str] = {
    "clip": "A fault of the clip, or a decision about it. The same run does not try it again.",
    "system": "A fault of the system. The same run does not try the clip again. Ten clips in a row "
    "with the same code end the run.",
    "transient": "A fault that can pass by itself. The run retries with growing pauses. When the "
    "retries are exhausted, the clip ends. Ten clips in a row with the same code end the run.",
}


def reasons_markdown() -> str:
    """Return the text of `docs/reason-codes.md`."""
    lines = [
        "# Reason codes",
        "",
        "Generated from `schemas/reasons.py`; do not edit by hand.",
        "",
        "A clip that is not published has one code of this closed list and a sentence. These "
        "commands show",
        "the code, the sentence and the next step of each clip, and retry one clip:",
        "",
        "```sh",
        "archive-restore quarantine list --out URI",
        "archive-restore quarantine retry CLIP --out URI",
        "```",
        "",
        "A code never changes its meaning.",
        "",
        "| code | state | class | meaning | next step |",
        "|---|---|---|---|---|",
        *(_reason_row(reason, info) for reason, info in REASONS.items()),
        "",
        "## States",
        "",
        "| state | meaning |",
        "|---|---|",
        *(f"| {state} | {text} |" for state, text in _STATES.items()),
        "",
        "## Classes",
        "",
        "| class | meaning |",
        "|---|---|",
        *(f"| {kind} | {text} |" for kind, text in _CLASSES.items()),
    ]
    return "\n".join(lines) + "\n"


def _reason_row(reason: Reason, info: ReasonInfo) -> str:
    meaning = f"{info.meaning} {RESERVED}" if info.reserved else info.meaning
    return f"| `{reason}` | {info.state} | {info.kind} | {meaning} | {info.next_step} |"
