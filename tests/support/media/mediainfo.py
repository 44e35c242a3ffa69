"""Differences between two files as MediaInfo sees them. It shares no code with FFmpeg."""

from __future__ import annotations

from pathlib import Path

from pymediainfo import MediaInfo, Track

VIDEO = (
    "width", "height", "pixel_aspect_ratio", "frame_rate", "frame_count", "bit_depth",
    "chroma_subsampling", "scan_type", "scan_order", "color_range", "color_primaries",
    "transfer_characteristics", "matrix_coefficients", "language",
)  # fmt: skip
AUDIO = ("format", "channel_s", "sampling_rate", "language", "title")
KEPT = {"Video": VIDEO, "Audio": AUDIO, "Text": ("language", "title"), "Menu": ()}
SAME = {"MBAFF": "Interlaced", "BT.601": "BT.470 System B/G"}  # one thing under two names


def differences(source: Path, output: Path) -> set[str]:
    """The properties that MediaInfo states of the source and not, or otherwise, of the output; also
    kinds of streams of which the output has another number.
    """
    before, after = streams(source), streams(output)
    found = set()
    for kind, properties in KEPT.items():
        if len(before[kind]) != len(after[kind]):
            found.add(f"{kind} streams")
        for a, b in zip(before[kind], after[kind], strict=False):
            found |= {name for name in properties if differ(getattr(a, name), getattr(b, name))}
    return found


def streams(path: Path) -> dict[str, list[Track]]:
    """The streams of a file, by kind."""
    tracks = MediaInfo.parse(path).tracks
    return {kind: [track for track in tracks if track.track_type == kind] for kind in KEPT}


def differ(a: object, b: object) -> bool:
    """Whether a property of the source has another value in the output."""
    if a is None:
        return False
    if isinstance(a, str) and a.replace(".", "").isdigit() and b is not None:
        return abs(float(a) - float(str(b))) > 0.002
    return SAME.get(str(a), a) != SAME.get(str(b), b)
