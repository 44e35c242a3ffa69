"""Clips that went through decoding, segments, assembly and verification."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.clip.frames import AssemblyReport, Frame, Probe, StreamHash
from pipeline.media.decoder import Decoder
from pipeline.media.muxer import assemble, stream_hashes
from pipeline.media.segments import SegmentWriter
from pipeline.media.verify import verify_output
from schemas.recipe import Limits
from tests.support.media.media_factory import Clip, Sound

LIMITS = Limits()
PAL = Clip(
    pix_fmt="yuv422p10le",
    width=720,
    height=576,
    sar=Fraction(16, 15),
    colour=(1, 5, 6, 5),
    field_order=2,
    sounds=(Sound("pcm_s24le", tags={"language": "ger", "title": "Ton"}), Sound("flac", seed=1)),
    captions=[(80, 200, "Erste Zeile"), (300, 100, "Zweite")],
    chapters=[(0, 200, "Eins"), (200, 480, "Zwei")],
    attachments=[("notes.txt", "text/plain", b"from the can")],
    tags={"title": "Film", "ARCHIVE": "No. 7"},
    video_tags={"timecode": "10:00:00:00", "language": "ger"},
)


@dataclass
class Trip:
    """A clip that went through decoding, segments, assembly and verification."""

    probe: Probe
    pts: list[int]
    crcs: list[int]
    out: Path
    report: AssemblyReport
    hashes: list[StreamHash]

    def verify(self, **changes: Any) -> list[Frame]:
        with_changes = replace(self, **changes)
        with Decoder(with_changes.out, LIMITS) as decoder:
            return list(
                verify_output(
                    decoder,
                    with_changes.probe,
                    with_changes.pts,
                    with_changes.crcs,
                    with_changes.hashes,
                    with_changes.report,
                    LIMITS,
                )
            )


def make_trip(source: Path, folder: Path, parts: int = 2) -> Trip:
    with Decoder(source, LIMITS) as decoder:
        frames = list(decoder)
    step = -(-len(frames) // parts)
    segments, crcs = [], []
    for start in range(0, len(frames), step):
        segments.append(folder / f"segment-{start}.mkv")
        with SegmentWriter(segments[-1], decoder.probe, 4) as writer:
            for frame in frames[start : start + step]:
                writer.write(frame.planes)
        crcs += writer.crcs
    pts = [frame.pts for frame in frames]
    out = folder / "out.mkv"
    report = assemble(segments, source, decoder.probe, pts, out, {"TOOL": "tests"}, LIMITS)
    return Trip(decoder.probe, pts, crcs, out, report, stream_hashes(source, LIMITS))


def crc_of(planes: Sequence[np.ndarray]) -> int:
    checksum = 0
    for plane in planes:
        checksum = zlib.crc32(np.ascontiguousarray(plane).data, checksum)
    return checksum
