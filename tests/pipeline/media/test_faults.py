"""Decoder faults: counts and messages decide whether pictures can be trusted."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from pipeline.clip.frames import Probe
from pipeline.media.faults import check_decoding
from schemas.errors import ClipFault
from schemas.reasons import Reason


def facts(**changes: Any) -> dict[str, Any]:
    clean = {"frames": 50, "packets": 50, "discarded": 0, "corrupt": 0, "last_pts": 49}
    return {**clean, "messages": [], **changes}


GATE_PROBE = Probe(
    container="avi", codec="mpeg4", width=8, height=8, pix_fmt="yuv420p", source_pix_fmt="yuv420p",
    bit_depth=8, fps=Fraction(25), time_base=Fraction(1, 25), sar=Fraction(1), frames_declared=50,
    start_pts=0, duration_pts=50, duration_seconds=2.0, field_order="unknown", color_range=0,
    color_primaries=2, color_trc=2, colorspace=2, rotation=0, audio=(), subtitles=(),
    attachments=(), data=(), chapters=0, timecode=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"frames": 40, "packets": 40, "last_pts": 39}, Reason.TRUNCATED),
        ({"frames": 48}, Reason.FRAME_COUNT),
        ({"frames": 48, "packets": 48}, None),  # two frames of the count were empty: a longer step
        ({"frames": 48, "discarded": 2}, None),  # cut away by an edit list
        ({"corrupt": 1}, Reason.DECODE_ERROR),
        ({"frames": 0, "packets": 0}, Reason.NO_VIDEO),
        ({"messages": [("error while decoding MB 3 4", 16)]}, Reason.DECODE_ERROR),
        ({"messages": [("deprecated pixel format used", 24)]}, None),
        ({"messages": [("mmco: unref short failure", 16)]}, None),
        ({"messages": [("slice CRC mismatch 12345678!", 16)]}, Reason.DECODE_CRC),
        ({"messages": [("stream 0, offset 0x30: partial file", 24)]}, Reason.TRUNCATED),
    ],
)
def test_the_gate_judges_by_counts_and_messages(
    changes: dict[str, Any], reason: Reason | None
) -> None:
    messages = [
        {"level": level, "source": "x", "text": text, "frame": 3}
        for text, level in changes.get("messages", [])
    ]
    found = None
    try:
        check_decoding("a.avi", GATE_PROBE, facts(**{**changes, "messages": messages}), whole=True)
    except ClipFault as fault:
        found = fault.reason
    assert found is reason
