"""Derived files are made from the verified master, and a wrong one is found."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from pipeline.clip.frames import to_ms
from pipeline.media import deriver
from pipeline.media.decoder import Decoder, probe_file
from pipeline.media.deriver import Derived, derive
from pipeline.media.profiles import (
    is_regular,
)
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits
from tests.support.media.derived import LIMITS, PAL, master
from tests.support.media.media_factory import Clip, write_clip
from tests.support.media.seen import Seen, look

PLAIN = Clip(frames=4, width=128, height=96)


def test_dnxhr_in_mxf_keeps_picture_aspect_and_length(tmp_path: Path) -> None:
    clip = replace(
        PAL, scan="progressive", field_order=1, width=256, height=128, frames=5, captions=[],
        attachments=[], chapters=[(0, 120, "Eins")], tags={"RESTORATION": "yes"},
    )  # fmt: skip
    path, _, times = master(tmp_path, replace(clip, sounds=clip.sounds[:1]))
    made = derive(
        "mezzanine-mxf", path, probe_file(path, LIMITS), "progressive", times, tmp_path, LIMITS
    )
    seen: Seen = look(made.path)
    assert (seen.sar, seen.order, seen.planar) == (Fraction(16, 15), 1, "yuv422p10le")
    assert seen.seconds == [Fraction(i, 25) for i in range(5)]
    with av.open(str(made.path)) as container:
        assert container.metadata["comment_RESTORATION"] == "yes"
        assert container.metadata["timecode"] == "10:00:00:12"
        assert container.streams.video[0].codec_context.profile == "DNXHR HQX"
        samples = sum(f.samples for f in container.decode(container.streams.audio[0]))
    assert samples == 48000 * 5 // 25
    told = {stream.kind: stream.action for stream in made.streams}
    assert told == {"audio": "converted", "chapters": "dropped"}


def test_varying_timestamps_are_real_ones(tmp_path: Path) -> None:
    at = [0, 40, 80, 140, 180, 300]
    clip = Clip(frames=6, pts=at, time_base=Fraction(1, 1000), width=128, height=96)
    path, probe, times = master(tmp_path, clip)
    assert not is_regular(times, probe.fps)
    made = derive("access", path, probe_file(path, LIMITS), "progressive", times, tmp_path, LIMITS)
    assert look(made.path).seconds == [Fraction(ms, 1000) for ms in at]


@pytest.mark.parametrize("harm", ["time", "count", "picture", "tag"])
def test_a_wrong_derived_file_is_found_and_removed(
    harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child makes a file of another clip than the parent then compares with."""
    path, _, times = master(tmp_path, PLAIN)
    real = deriver.ask
    wrong = {"time": {"pts": [0, 1, 2, 4]}, "count": {"frames": 3}, "picture": {"grain": 120},
             "tag": {"colour": (1, 1, 1, 1)}}[harm]  # fmt: skip

    def other(module: str, request: dict[str, Any], limits: Limits) -> Any:
        if module == "pipeline.media.child.derive":
            write_clip(tmp_path / "other.mkv", replace(PLAIN, **wrong))
            with Decoder(tmp_path / "other.mkv", LIMITS) as decoder:
                at = [to_ms(f.pts, decoder.probe.time_base) for f in decoder]
            same = {"probe": decoder.probe.to_dict(), "times_ms": at, "regular": False}
            request = {**request, "path": str(tmp_path / "other.mkv"), **same}
        return real(module, request, limits)

    monkeypatch.setattr(deriver, "ask", other)
    with pytest.raises(ClipFault) as caught:
        derive("access", path, probe_file(path, LIMITS), "progressive", times, tmp_path, LIMITS)
    reason = Reason.FRAME_COUNT if harm == "count" else Reason.VERIFY_MISMATCH
    said = {"time": "is at", "count": "3 frames, not 4", "picture": "dB", "tag": "primaries"}[harm]
    assert caught.value.reason is reason and said in str(caught.value)
    assert not (tmp_path / "clip_rst_sc.mp4").exists()


def test_derived_values_are_plain(tmp_path: Path) -> None:
    one = Derived("access", tmp_path / "x_rst_sc.mp4", 2, 40.0, 41.0, ())
    assert json.loads(json.dumps(one.to_dict()))["file"] == "x_rst_sc.mp4"
