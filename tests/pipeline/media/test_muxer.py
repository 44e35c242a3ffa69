"""Outputs carry timestamps, sound, texts and tags of the source exactly."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from pipeline.clip.frames import to_ms
from pipeline.media.decoder import probe_file
from pipeline.media.muxer import assemble
from pipeline.media.segments import SegmentWriter
from schemas.errors import ClipFault
from schemas.reasons import Reason
from tests.support.media.media_factory import H264, Clip, Sound, draw_planes, write_clip
from tests.support.media.mediainfo import differences, streams
from tests.support.media.trips import LIMITS, Trip, crc_of, make_trip


def test_output_holds_the_picture_and_everything_beside_it(pal: Trip) -> None:
    frames = pal.verify()
    assert [crc_of(frame.planes) for frame in frames] == pal.crcs
    assert [(s.kind, s.action) for s in pal.report.streams] == [
        ("audio", "kept"),
        ("audio", "kept"),
        ("subtitle", "kept"),
        ("attachment", "kept"),
    ]
    with av.open(str(pal.out)) as out:
        assert [chapter["metadata"]["title"] for chapter in out.chapters()] == ["Eins", "Zwei"]
        assert [chapter["start"] for chapter in out.chapters()] == [0, 200_000_000]
        tags = {name.lower(): value for name, value in out.metadata.items()}
        assert tags["title"] == "Film"
        assert (tags["archive"], tags["tool"]) == ("No. 7", "tests")
        assert [stream.language for stream in out.streams][:2] == ["ger", "ger"]
        sound = out.streams.audio[0]
        assert sound.metadata["title"] == "Ton"
        texts = [bytes(packet) for packet in out.demux(out.streams.subtitles[0]) if packet.size]
        assert texts == [b"Erste Zeile", b"Zweite"]
        note = out.streams.attachments[0]
        assert (note.data, note.mimetype, note.name) == (b"from the can", "text/plain", "notes.txt")


def test_another_reader_finds_nothing_changed(pal: Trip) -> None:
    source = pal.out.parent / "source.mkv"
    assert {kind: len(found) for kind, found in streams(source).items()} == {
        "Video": 1, "Audio": 2, "Text": 1, "Menu": 1,
    }  # fmt: skip
    assert differences(source, pal.out) == set()


def test_output_declares_what_the_source_declares(pal: Trip) -> None:
    got = probe_file(pal.out, LIMITS)
    assert (got.sar, got.field_order, got.timecode) == (Fraction(16, 15), "tt", "10:00:00:00")
    assert (got.color_range, got.color_primaries, got.color_trc, got.colorspace) == (1, 5, 6, 5)
    assert (got.pix_fmt, got.fps, got.chapters) == ("yuv422p10le", Fraction(25), 2)


def test_assembling_again_makes_the_same_bytes(pal: Trip) -> None:
    again = pal.out.with_name("again.mkv")
    segments = sorted(pal.out.parent.glob("segment-*.mkv"))
    source = pal.out.parent / "source.mkv"
    assemble(segments, source, pal.probe, pal.pts, again, {"TOOL": "tests"}, LIMITS)
    assert again.read_bytes() == pal.out.read_bytes()


def test_assembly_counts_frames_and_leaves_nothing_behind(pal: Trip) -> None:
    segments = sorted(pal.out.parent.glob("segment-*.mkv"))[:1]
    out = pal.out.with_name("short.mkv")
    source = pal.out.parent / "source.mkv"
    with pytest.raises(ClipFault) as fault:
        assemble(segments, source, pal.probe, pal.pts, out, {}, LIMITS)
    assert fault.value.reason is Reason.FRAME_COUNT
    assert not out.exists()


def test_segments_of_another_encoder_are_refused(pal: Trip, tmp_path: Path) -> None:
    first, second = sorted(pal.out.parent.glob("segment-*.mkv"))
    with SegmentWriter(tmp_path / "other.mkv", pal.probe, 9) as writer:
        writer.write(draw_planes(0, "yuv422p10le", 720, 576))
    segments = [first, tmp_path / "other.mkv", second]
    source = pal.out.parent / "source.mkv"
    with pytest.raises(ClipFault, match="2 codec headers") as fault:
        assemble(segments, source, pal.probe, pal.pts, tmp_path / "out.mkv", {}, LIMITS)
    assert fault.value.reason is Reason.ENCODE_ERROR


def test_priming_of_mp4_sound_stays_in_sync_and_titled(tmp_path: Path) -> None:
    sound = Sound("aac", tags={"title": "Ton"})
    write_clip(
        tmp_path / "source.mp4", Clip(**H264, frames=30, sar=Fraction(12, 11), sounds=(sound,))
    )
    trip = make_trip(tmp_path / "source.mp4", tmp_path)
    assert trip.hashes[0].start_seconds == pytest.approx(-1024 / 48000)
    frames = trip.verify()
    assert trip.report.shift_ms == 0
    assert trip.probe.sar == probe_file(trip.out, LIMITS).sar == Fraction(12, 11)
    assert [frame.pts for frame in frames] == [40 * index for index in range(30)]
    with av.open(str(trip.out)) as out:
        packet = next(out.demux(out.streams.audio[0]))
        assert packet.pts == -21
        assert out.streams.audio[0].metadata.get("title") in (None, "Ton")


def test_captions_of_mp4_become_subrip_with_their_text(tmp_path: Path) -> None:
    captions = [(80, 200, "Erste Zeile\nzweite"), (400, 100, "Ende")]
    clip = Clip(**H264, captions=captions, caption_codec="mov_text", chapters=[(0, 480, "Alles")])
    write_clip(tmp_path / "source.mp4", clip)
    trip = make_trip(tmp_path / "source.mp4", tmp_path)
    trip.verify()
    converted = [stream for stream in trip.report.streams if stream.action == "converted"]
    assert [stream.codec for stream in converted] == ["mov_text"]
    with av.open(str(trip.out)) as out:
        stream = out.streams.subtitles[0]
        got = [(p.pts, p.duration, bytes(p).decode()) for p in out.demux(stream) if p.size]
    assert got == captions


@pytest.mark.parametrize(
    ("name", "clip", "codec"),
    [
        (
            "ntsc.mov",
            Clip(
                codec="prores_ks", pix_fmt="yuv422p10le", options={}, fps=Fraction(30000, 1001),
                colour=(1, 6, 1, 6), sounds=(Sound("pcm_s24be"),),
                video_tags={"timecode": "01:00:00;02"},
            ),
            "pcm_s24be",
        ),
        (
            "vfr.mkv",
            Clip(
                pts=[0, 40, 80, 125, 160, 333, 400, 440, 480, 520, 600, 640],
                time_base=Fraction(1, 1000), sounds=(Sound("libopus"),),
            ),
            "opus",
        ),
        (
            "broadcast.ts",
            Clip(codec="mpeg2video", options={"bf": "2"}, sounds=(Sound("aac"),)),
            "aac",
        ),
        ("film.avi", Clip(fps=Fraction(16), sounds=(Sound("pcm_s16le"),)), "pcm_s16le"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_timestamps_and_sound_survive(name: str, clip: Clip, codec: str, tmp_path: Path) -> None:
    write_clip(tmp_path / name, clip)
    trip = make_trip(tmp_path / name, tmp_path)
    frames = trip.verify()
    assert [frame.pts for frame in frames] == [
        to_ms(pts, trip.probe.time_base) + trip.report.shift_ms for pts in trip.pts
    ]
    assert [(s.codec, s.action) for s in trip.report.streams if s.kind == "audio"] == [
        (codec, "kept")
    ]
    assert probe_file(trip.out, LIMITS).fps == trip.probe.fps
    if clip.pts:
        assert trip.pts == list(clip.pts)
