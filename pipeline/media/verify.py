"""Verify an output before it is published: decode it again and compare it with what was sent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import cast

import numpy as np

from pipeline.clip.frames import AssemblyReport, Frame, Plane, Probe, StreamHash, to_ms
from pipeline.media.decoder import Decoder
from pipeline.media.faults import mismatch
from pipeline.media.muxer import stream_hashes
from pipeline.media.planes import plane_layout
from pipeline.media.tolerances import MASTER_RATIO_TOLERANCE, MASTER_SYNC_SECONDS
from schemas.colour_names import ColourKind, colour_name
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits

# Declared values that an output must share with its source, and their names in docs/formats.md.
SAME = {
    "width": "width", "height": "height", "pix_fmt": "subsampling and bit depth",
    "fps": "frame rate", "sar": "sample aspect ratio", "display": "rotation and mirroring",
    "field_order": "scan and field order", "timecode": "timecode", "chapters": "number of chapters",
    "color_range": "range", "color_primaries": "primaries", "color_trc": "transfer",
    "colorspace": "matrix",
}  # fmt: skip


def verify_output(
    decoder: Decoder,
    probe: Probe,
    pts: Sequence[int],
    crcs: Sequence[int],
    source_hashes: Sequence[StreamHash],
    report: AssemblyReport,
    limits: Limits,
) -> Iterator[Frame]:
    """Yield every frame of the output in `decoder`, after comparing its checksum and timestamp.

    After the last frame, the number of frames, the payloads of the other streams and their sync are
    compared with the source. Raises `ClipFault` (`VERIFY_MISMATCH`, `FRAME_COUNT`, or a fault of
    the decoder) with the first difference. Only an exhausted iterator proves the output.
    """
    count, out = 0, decoder.path
    _check_declared(out.name, probe, decoder.probe)
    for frame in decoder:
        if frame.index < len(crcs):
            expected = to_ms(pts[frame.index], probe.time_base) + report.shift_ms
            at = to_ms(frame.pts, decoder.probe.time_base)
            if at != expected:
                raise mismatch(out.name, f"frame {frame.index} is at {at} ms, not at {expected} ms")
            if frame.crc32 != crcs[frame.index]:
                raise mismatch(out.name, f"frame {frame.index} decodes to another picture")
        count += 1
        yield frame
    if not count == len(crcs) == len(pts):
        raise ClipFault(
            Reason.FRAME_COUNT,
            f"{out.name}: {count} frames, {len(crcs)} sent, {len(pts)} in the source",
        )
    found = stream_hashes(out, limits)
    _check_streams(out.name, report, source_hashes, found)
    _check_sync(out.name, report, source_hashes, found)


def framemd5(probe: Probe, pts: Sequence[int], md5s: Sequence[str]) -> str:
    """The text of a `.framemd5` file (FFmpeg's framemd5 version 2), from the MD5 of each frame.

    The clock is the frame rate if the timestamps are regular, otherwise milliseconds.
    """
    steps = [later - earlier for earlier, later in pairwise(pts)]
    step = 1 / (probe.fps * probe.time_base)
    regular = all(abs(value - pts[0] - index * step) <= 1 for index, value in enumerate(pts))
    clock = 1 / probe.fps if regular else Fraction(1, 1000)
    size = plane_layout(probe.pix_fmt, probe.width, probe.height).size_bytes
    lines = [
        "#format: frame checksums",
        "#version: 2",
        "#hash: MD5",
        f"#tb 0: {clock.numerator}/{clock.denominator}",
        "#media_type 0: video",
        "#codec_id 0: rawvideo",
        f"#dimensions 0: {probe.width}x{probe.height}",
        f"#sar 0: {probe.sar.numerator}/{probe.sar.denominator}",
        "#stream#, dts,        pts, duration,     size, hash",
    ]
    for index, md5 in enumerate(md5s):
        at = index if regular else to_ms(pts[index], probe.time_base)
        step_pts = steps[min(index, len(steps) - 1)] if steps else 0
        lasts = 1 if regular else to_ms(step_pts, probe.time_base)
        lines.append(f"0, {at:10}, {at:10}, {lasts:8}, {size:8}, {md5}")
    return "\n".join(lines) + "\n"


def plane_md5(planes: Sequence[Plane]) -> str:
    """MD5 of a frame's planes in order, little-endian.

    FFmpeg's framemd5 gives the same value in the same pixel format.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for plane in planes:
        digest.update(np.ascontiguousarray(plane).data)
    return digest.hexdigest()


def _check_declared(name: str, source: Probe, output: Probe) -> None:
    for key in SAME:
        wanted, got = getattr(source, key), getattr(output, key)
        if isinstance(wanted, Fraction) and abs(got / wanted - 1) < MASTER_RATIO_TOLERANCE:
            continue
        if wanted != got:
            if key.startswith("color"):
                kind = cast(ColourKind, SAME[key])
                wanted, got = colour_name(kind, wanted), colour_name(kind, got)
            raise mismatch(name, f"{key} is {got}, not {wanted} as in the source")


def _check_streams(
    name: str, report: AssemblyReport, sources: Sequence[StreamHash], found: Sequence[StreamHash]
) -> None:
    written = [stream for stream in report.streams if stream.action != "dropped"]
    if len(written) != len(found):
        raise mismatch(name, f"{len(found)} streams beside the picture, not {len(written)}")
    original = {stream.index: stream.sha256 for stream in sources}
    for stream, got in zip(written, found, strict=True):
        what = f"{stream.kind} stream {stream.index} ({stream.codec})"
        if got.sha256 != stream.sha256:
            raise mismatch(name, f"the packets of {what} are not those written")
        if stream.action == "kept" and original.get(stream.index) != stream.sha256:
            raise mismatch(name, f"the packets of {what} are not those of the source")


def _check_sync(
    name: str, report: AssemblyReport, sources: Sequence[StreamHash], found: Sequence[StreamHash]
) -> None:
    starts = {stream.index: stream.start_seconds for stream in sources}
    written = [stream for stream in report.streams if stream.action != "dropped"]
    for stream, got in zip(written, found, strict=True):
        wanted = starts.get(stream.index)
        if stream.kind != "audio" or wanted is None or got.start_seconds is None:
            continue
        off = got.start_seconds - wanted - report.shift_ms / 1000
        if abs(off) > MASTER_SYNC_SECONDS:
            raise mismatch(name, f"audio stream {stream.index} is {1000 * off:.1f} ms late")
