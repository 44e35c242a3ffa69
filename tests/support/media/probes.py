"""Probes for tests that need no real file."""

from __future__ import annotations

from fractions import Fraction

from pipeline.clip.frames import Probe

PROBE = Probe(
    container="none", codec="none", width=50, height=38, pix_fmt="yuv420p",
    source_pix_fmt="yuv420p", bit_depth=8, fps=Fraction(30000, 1001),
    time_base=Fraction(1, 30000), sar=Fraction(128, 117),
    frames_declared=None, start_pts=0, duration_pts=None, duration_seconds=None, field_order="tb",
    color_range=1, color_primaries=5, color_trc=6, colorspace=5, rotation=0, audio=(), subtitles=(),
    attachments=(), data=(), chapters=0, timecode=None,
)  # fmt: skip
