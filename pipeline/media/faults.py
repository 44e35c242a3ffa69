"""Decoder faults: decide from a decoder's messages and counts whether its pictures can be trusted.

Decoders return pictures and success for damaged files. Only messages and counts show the damage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.clip.frames import Probe
from schemas.errors import ClipFault
from schemas.reasons import Reason

# libav's level of an error. A greater level is less serious.
ERROR_LEVEL = 16
CHECKSUM_MESSAGES = ("crc mismatch", "crc error", "checksum")
CUT_MESSAGES = ("ended prematurely", "partial file", "truncated", "unexpected end of file")
# libav reports these for undamaged video streams: no picture is missing.
HARMLESS_MESSAGES = (
    "mmco: unref short failure",
    "number of reference frames",
    "co located pocs unavailable",
    "increasing reorder buffer",
)


def describe(message: Mapping[str, Any]) -> str:
    """A message on one line, with the number of the frame that follows it."""
    return f"frame {message['frame']}: {message['source']}: {message['text']}"


def check_decoding(name: str, probe: Probe, facts: Mapping[str, Any], whole: bool) -> None:
    """Raises `ClipFault` if the decoder met damage or, in a `whole` pass, frames are missing."""
    messages = [
        message for message in facts["messages"] if not _contains(message, HARMLESS_MESSAGES)
    ]
    for patterns, reason in (
        (CHECKSUM_MESSAGES, Reason.DECODE_CRC),
        (CUT_MESSAGES, Reason.TRUNCATED),
    ):
        found = [message for message in messages if _contains(message, patterns)]
        if found:
            counts = f", {_counts(probe, facts)}" if reason is Reason.TRUNCATED else ""
            raise ClipFault(reason, f"{name}: {_where(found, probe)}{counts}")
    if whole:
        _check_counts(name, probe, facts)
    errors = [message for message in messages if message["level"] <= ERROR_LEVEL]
    if errors:
        raise ClipFault(Reason.DECODE_ERROR, f"{name}: {_where(errors, probe)}")
    if facts["corrupt"]:
        raise ClipFault(
            Reason.DECODE_ERROR, f"{name}: {facts['corrupt']} frames are marked corrupt"
        )


def mismatch(name: str, sentence: str) -> ClipFault:
    """The fault of a written file that differs from what was sent to it."""
    return ClipFault(Reason.VERIFY_MISMATCH, f"{name}: {sentence}")


def declared_frames(probe: Probe) -> int | None:
    """The number of frames that the container declares, by count or else by duration."""
    if probe.frames_declared is not None:
        return probe.frames_declared
    return round(probe.duration_seconds * probe.fps) if probe.duration_seconds else None


def _check_counts(name: str, probe: Probe, facts: Mapping[str, Any]) -> None:
    frames = facts["frames"]
    if frames == 0:
        raise ClipFault(Reason.NO_VIDEO, f"{name}: the video stream holds no picture")
    if probe.frames_declared is None or frames >= probe.frames_declared - facts["discarded"]:
        return
    if _ends_early(probe, facts):
        raise ClipFault(Reason.TRUNCATED, f"{name}: {_counts(probe, facts)}")
    if frames < facts["packets"] - facts["discarded"]:
        packets = facts["packets"]
        raise ClipFault(
            Reason.FRAME_COUNT, f"{name}: {frames} frames decoded from {packets} packets"
        )


def _ends_early(probe: Probe, facts: Mapping[str, Any]) -> bool:
    if probe.duration_pts is None:
        return True
    step = 1 / (probe.fps * probe.time_base)
    end = (probe.start_pts or 0) + probe.duration_pts
    return bool(facts["last_pts"] + step < end - step / 2)


def _contains(message: Mapping[str, Any], patterns: tuple[str, ...]) -> bool:
    text = str(message["text"]).lower()
    return any(pattern in text for pattern in patterns)


def _where(messages: list[Any], probe: Probe) -> str:
    first = messages[0]
    seconds = float(first["frame"] / probe.fps)
    more = f" and {len(messages) - 1} more" if len(messages) > 1 else ""
    return f"{first['text']} at frame {first['frame']} ({seconds:.2f} s){more}"


def _counts(probe: Probe, facts: Mapping[str, Any]) -> str:
    declared = declared_frames(probe)
    return f"{facts['frames']} of {declared or 'unknown'} frames"
