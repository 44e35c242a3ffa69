"""Decoding: exact frames from good files, and one clear fault from any other file."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.clip.frames import Probe
from pipeline.media.child.probe import main_video, open_source
from pipeline.media.decoder import Decoder, probe_file
from schemas.errors import ClipFault
from schemas.reasons import Reason
from tests.support.media.decoding import LIMITS, decode, fault_of
from tests.support.media.media_factory import H264, Clip, Sound, read_counter, write_clip

FOOTAGE = os.environ.get("ARCHIVE_RESTORE_DATA", "")


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "gray16le", "gbrp", "yuv411p"])
def test_planes_are_those_that_were_encoded(pix_fmt: str, tmp_path: Path) -> None:
    codec = {"gbrp": "libx264rgb"}.get(pix_fmt, "ffv1")
    form = "rgb24" if pix_fmt == "gbrp" else pix_fmt
    path = tmp_path / ("clip.mp4" if pix_fmt == "gbrp" else "clip.mkv")
    if pix_fmt == "gbrp":
        sent = write_rgb_clip(path, codec, form)
    else:
        sent = write_clip(path, Clip(pix_fmt=pix_fmt, width=51, height=37, frames=5))
    frames = decode(path)
    assert [frame.index for frame in frames] == list(range(5))
    for frame, planes in zip(frames, sent, strict=True):
        for got, wanted in zip(frame.planes, planes, strict=True):
            np.testing.assert_array_equal(got, wanted)


def write_rgb_clip(path: Path, codec: str, form: str) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (5, 38, 50, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 50, 38, form
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return [[p[..., 1], p[..., 2], p[..., 0]] for p in pictures]


@pytest.mark.parametrize(
    "clip",
    [
        Clip(fps=Fraction(16)),
        Clip(**H264, fps=Fraction(30000, 1001), frames=40),
        Clip(
            codec="libx264",
            options={"bf": "0"},
            pts=[0, 1, 2, 5, 6, 9, 14, 15, 16, 17, 20, 30],
            time_base=Fraction(1, 30),
        ),
    ],
    ids=["16 fps", "NTSC with B frames", "variable"],
)
def test_timestamps_are_those_that_were_encoded(clip: Clip, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, replace(clip, codec="libx264", options={"bf": "2"}))
    with Decoder(path, LIMITS) as decoder:
        frames = list(decoder)
    clock = clip.time_base or 1 / clip.fps
    wanted = clip.pts or range(clip.frames)
    assert [f.pts * decoder.probe.time_base for f in frames] == [value * clock for value in wanted]
    assert [read_counter(frame.planes[0]) for frame in frames] == list(range(clip.frames))
    if not clip.pts:
        assert decoder.probe.fps == clip.fps


@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts"])
def test_a_seek_yields_the_frames_of_the_whole_pass(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write_clip(path, Clip(**H264, frames=45))
    whole = decode(path)
    for start in (1, 23):
        part = decode(path, start_pts=whole[start].pts, start_index=start)
        assert [(f.index, f.pts, f.crc32) for f in part] == [
            (f.index, f.pts, f.crc32) for f in whole[start:]
        ]
    part = decode(path, start_pts=whole[12].pts, start_index=12, count=3)
    assert [f.crc32 for f in part] == [f.crc32 for f in whole[12:15]]


def test_a_seek_to_no_frame_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    write_clip(path, Clip())
    with pytest.raises(ClipFault, match="no frame has the timestamp 41"):
        decode(path, start_pts=41)


def test_the_probe_says_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "pal.mkv"
    clip = Clip(
        pix_fmt="yuv422p10le", width=720, height=576, frames=2, sar=Fraction(16, 15),
        colour=(1, 5, 6, 5), field_order=2, sounds=(Sound("pcm_s24le"),), captions=[(0, 40, "x")],
        chapters=[(0, 80, "Eins")], attachments=[("a.txt", "text/plain", b"a")],
        video_tags={"timecode": "10:00:00:00"},
    )  # fmt: skip
    write_clip(path, clip)
    probe = probe_file(path, LIMITS)
    assert probe == Probe(
        container="matroska,webm", codec="ffv1", width=720, height=576, pix_fmt="yuv422p10le",
        source_pix_fmt="yuv422p10le", bit_depth=10, fps=Fraction(25), time_base=Fraction(1, 1000),
        sar=Fraction(16, 15), frames_declared=None, start_pts=0, duration_pts=None,
        duration_seconds=probe.duration_seconds, field_order="tt", color_range=1, color_primaries=5,
        color_trc=6, colorspace=5, rotation=0, audio=("pcm_s24le",), subtitles=("srt",),
        attachments=("unknown",), data=(), chapters=1, timecode="10:00:00:00", channels=(2,),
    )  # fmt: skip
    assert Probe.from_dict(json.loads(json.dumps(probe.to_dict()))) == probe


def test_flipped_bytes_are_found_with_their_frame(sound_file: Path, tmp_path: Path) -> None:
    data = bytearray(sound_file.read_bytes())
    with av.open(str(sound_file)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        at = data.find(bytes(packets[17])) + packets[17].size // 2
    data[at : at + 8] = bytes(value ^ 0xFF for value in data[at : at + 8])
    path = tmp_path / "flipped.mkv"
    path.write_bytes(data)
    fault = fault_of(path)
    assert fault.reason is Reason.DECODE_CRC
    assert "at frame 17 (0.68 s)" in fault.sentence


def test_a_file_cut_short_is_found_with_its_counts(sound_file: Path, tmp_path: Path) -> None:
    data = sound_file.read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(data[: len(data) * 2 // 5])
    fault = fault_of(path)
    assert fault.reason is Reason.TRUNCATED
    assert "of 50 frames" in fault.sentence


@pytest.mark.parametrize("name", ["cut.mp4", "cut.avi", "cut.mxf"])
def test_other_wrappers_cut_short_are_found(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    codec = {"cut.mp4": "libx264", "cut.avi": "ffv1", "cut.mxf": "mpeg2video"}[name]
    write_clip(path, Clip(codec=codec, options={}, frames=50))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert fault_of(path).reason in (Reason.TRUNCATED, Reason.DECODE_ERROR)


@pytest.mark.parametrize("codec", ["ffv1", "libx264"])
def test_a_picture_above_the_limit_is_refused_before_decoding(codec: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height = 6000, 5000
        stream.pix_fmt = "gray" if codec == "ffv1" else "yuv420p"
        frame = av.VideoFrame(6000, 5000, stream.pix_fmt)
        for plane in frame.planes:
            np.frombuffer(plane, np.uint8)[:] = 128
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert path.stat().st_size < 100_000
    fault = fault_of(path, replace(LIMITS, max_pixels=20_000_000))
    assert fault.reason is Reason.MEDIA_BOMB
    assert "6000x5000 = 30000000" in fault.sentence
    assert "20000000" in fault.sentence


def test_too_many_frames_are_refused(sound_file: Path) -> None:
    fault = fault_of(sound_file, replace(LIMITS, max_frames=49))
    assert (fault.reason, "49" in fault.sentence) == (Reason.MEDIA_BOMB, True)
    assert len(decode(sound_file, replace(LIMITS, max_frames=50))) == 50


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("list.mkv", b"ffconcat version 1.0\nfile /etc/hostname\n", Reason.UNSUPPORTED_FORMAT),
        ("list.mov", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n", Reason.UNSUPPORTED_FORMAT),
        ("empty.mkv", b"", Reason.UNSUPPORTED_FORMAT),
        ("text.avi", b"no film at all" * 100, Reason.UNSUPPORTED_FORMAT),
    ],
)
def test_what_is_no_film_is_refused(
    name: str, content: bytes, reason: Reason, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ClipFault) as fault:
        open_source(str(tmp_path / name), LIMITS)
    assert fault.value.reason is reason


def test_a_file_without_picture_or_without_file_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(ClipFault) as fault:
        main_video(open_source(str(tmp_path / "a.mkv"), LIMITS))
    assert fault.value.reason is Reason.NO_VIDEO
    with pytest.raises(ClipFault) as fault:
        decode(tmp_path / "nothing.mkv")
    assert fault.value.reason is Reason.NOT_FOUND


@pytest.mark.skipif(not FOOTAGE, reason="ARCHIVE_RESTORE_DATA is not set")
@pytest.mark.parametrize(
    ("name", "frames"),
    [("archive/mdn_friday_1940.mp4", 185), ("valid/derf_carphone_qcif.mp4", 120)],
)
def test_real_footage_passes_the_gate(name: str, frames: int) -> None:
    with Decoder(Path(FOOTAGE) / name, LIMITS) as decoder:
        got = list(decoder)
    assert len(got) == frames
    assert decoder.messages == []
    assert all(later.pts > earlier.pts for earlier, later in pairwise(got))


def test_a_container_that_cannot_be_read_on_is_a_fault_of_the_clip(tmp_path: Path) -> None:
    path = tmp_path / "raw.y4m"
    write_clip(path, Clip(codec="wrapped_avframe", frames=4, options={}))
    data = path.read_bytes()
    at = data.index(b"FRAME", len(data) // 2)
    path.write_bytes(data[:at] + b"x" * 200 + data[at:])
    fault = fault_of(path)
    assert fault.reason is Reason.DECODE_ERROR and "after packet" in fault.sentence
