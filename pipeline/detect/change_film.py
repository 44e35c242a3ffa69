"""The change map of a clip as a film: FFV1 in Matroska, gray of 8 bits, one picture a frame.

`pipeline.detect.change_map` says what a byte means. Parts of a clip are joined as packets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from pipeline.clip.frames import Probe
from pipeline.detect.change_map import SIDE, Map
from pipeline.media.decoder import Decoder
from pipeline.media.muxer import assemble
from pipeline.media.segments import SegmentWriter
from schemas.recipe import Limits

SUFFIX = ".changes.mkv"  # after the name of the master
SLICES = 4
TAGS = {"RESTORATION": "change map of a restored file; see RESTORATION_CHANGED of that file"}


def beside(segment: Path) -> Path:
    """The part of a change map that belongs to a segment, beside its media file."""
    return segment.with_suffix(SUFFIX)


def map_probe(probe: Probe) -> Probe:
    """What the change map of a clip declares."""
    return replace(
        probe,
        width=-(-probe.width // SIDE), height=-(-probe.height // SIDE),
        pix_fmt="gray", source_pix_fmt="gray", bit_depth=8, sar=Fraction(1), rotation=0,
        field_order="progressive", color_range=2, color_primaries=2, color_trc=2, colorspace=2,
        audio=(), subtitles=(), attachments=(), data=(), chapters=0, timecode=None, channels=(),
    )  # fmt: skip


class ChangeWriter:
    """Writes the maps of consecutive frames."""

    def __init__(self, path: Path, probe: Probe) -> None:
        """`probe` is that of the clip. Raises `ClipFault` (`ENCODE_ERROR`, `DISK_FULL`)."""
        self._writer = SegmentWriter(path, map_probe(probe), SLICES)

    def write(self, found: Map) -> None:
        """Add the halved map of the next frame."""
        self._writer.write((found,))

    @contextmanager
    def closed(self) -> Iterator[ChangeWriter]:
        """Close the file after the block."""
        with self._writer:
            yield self


def join(
    parts: Sequence[Path], probe: Probe, pts: Sequence[int], out: Path, limits: Limits
) -> None:
    """Join the parts of a clip's change map into `out`. Raises `ClipFault`."""
    assemble(parts, parts[0], map_probe(probe), pts, out, TAGS, limits)


def maps(path: Path, limits: Limits) -> Iterator[Map]:
    """Yield the map of every frame. Raises `ClipFault`."""
    with Decoder(path, limits) as decoder:
        for frame in decoder:
            yield frame.planes[0]
