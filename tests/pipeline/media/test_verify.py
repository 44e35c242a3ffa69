"""Verification names the first difference between an output and what was sent to it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from pipeline.media.decoder import Decoder
from pipeline.media.verify import framemd5, plane_md5
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits
from tests.support.media.media_factory import Clip, write_clip
from tests.support.media.trips import Trip

LIMITS = Limits()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: {"crcs": [*t.crcs[:5], t.crcs[5] ^ 1, *t.crcs[6:]]}, "frame 5 decodes"),
        (lambda t: {"pts": [*t.pts[:7], t.pts[7] + 2, *t.pts[8:]]}, "frame 7 is at"),
        (
            lambda t: {"probe": replace(t.probe, colorspace=1)},
            r"colorspace is BT.601 625 lines \(5\), not BT.709 \(1\)",
        ),
        (lambda t: {"probe": replace(t.probe, sar=Fraction(12, 11))}, "sar is 16/15"),
        (
            lambda t: {"hashes": [replace(t.hashes[0], sha256="0"), *t.hashes[1:]]},
            "audio stream 1 .* not those of the source",
        ),
        (
            lambda t: {"hashes": [replace(t.hashes[0], start_seconds=0.1), *t.hashes[1:]]},
            "audio stream 1 is -100",
        ),
    ],
)
def test_verification_names_the_first_difference(pal: Trip, change: Any, sentence: str) -> None:
    with pytest.raises(ClipFault, match=sentence) as fault:
        pal.verify(**change(pal))
    assert fault.value.reason is Reason.VERIFY_MISMATCH


def test_verification_counts_frames(pal: Trip) -> None:
    with pytest.raises(ClipFault) as fault:
        pal.verify(pts=[*pal.pts, 480], crcs=[*pal.crcs, 0])
    assert fault.value.reason is Reason.FRAME_COUNT


def test_framemd5_is_that_of_the_raw_frames(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", Clip(frames=3))
    with Decoder(tmp_path / "a.mkv", LIMITS) as decoder:
        frames = list(decoder)
    raw = tmp_path / "raw.nut"
    with av.open(str(tmp_path / "a.mkv")) as source, av.open(str(raw), "w") as out:
        stream = out.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        packets = [p for frame in source.decode(video=0) for p in stream.encode(frame)]
    md5s = [plane_md5(frame.planes) for frame in frames]
    assert md5s == [hashlib.md5(bytes(packet)).hexdigest() for packet in packets]
    lines = framemd5(decoder.probe, [frame.pts for frame in frames], md5s).splitlines()
    assert "#tb 0: 1/25" in lines
    assert lines[-1] == f"0,          2,          2,        1,     4608, {md5s[2]}"
