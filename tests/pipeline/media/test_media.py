"""Segments, outputs and what they carry: planes, timestamps, sound, texts and tags, exactly."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.clip.frames import AssemblyReport, Frame, Probe, StreamHash, to_ms
from pipeline.media.child.matroska import display_size
from pipeline.media.decoder import Decoder, probe_file
from pipeline.media.muxer import assemble, stream_hashes
from pipeline.media.planes import PLANAR, RELAID, Component, Source, extract_planes, plane_layout
from pipeline.media.rgb import codec_round_trip, read_rgb, write_rgb
from pipeline.media.segments import SegmentWriter
from pipeline.media.segments import legal_slices as slices_for
from pipeline.media.verify import framemd5, plane_md5, verify_output
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits
from tests.support.media_factory import (
    H264,
    Clip,
    Sound,
    draw_planes,
    read_counter,
    to_frame,
    write_clip,
)
from tests.support.mediainfo import differences, streams

LIMITS = Limits()
PROBE = Probe(
    container="none", codec="none", width=50, height=38, pix_fmt="yuv420p",
    source_pix_fmt="yuv420p", bit_depth=8, fps=Fraction(30000, 1001),
    time_base=Fraction(1, 30000), sar=Fraction(128, 117),
    frames_declared=None, start_pts=0, duration_pts=None, duration_seconds=None, field_order="tb",
    color_range=1, color_primaries=5, color_trc=6, colorspace=5, rotation=0, audio=(), subtitles=(),
    attachments=(), data=(), chapters=0, timecode=None,
)  # fmt: skip
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
        return list(
            verify_output(
                with_changes.out,
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


@pytest.fixture(scope="module")
def pal(tmp_path_factory: pytest.TempPathFactory) -> Trip:
    folder = tmp_path_factory.mktemp("pal")
    write_clip(folder / "source.mkv", PAL)
    return make_trip(folder / "source.mkv", folder)


def planar_formats() -> list[str]:
    names = {form.name for form in av.codec.Codec("ffv1", "w").video_formats or ()}
    return sorted(name for name in names | {"gbrp"} if PLANAR.fullmatch(name))


@pytest.mark.parametrize("pix_fmt", planar_formats())
@pytest.mark.parametrize("size", [(50, 38), (51, 37)])
def test_segment_holds_every_sample(pix_fmt: str, size: tuple[int, int], tmp_path: Path) -> None:
    probe = replace(PROBE, pix_fmt=pix_fmt, width=size[0], height=size[1])
    layout = plane_layout(pix_fmt, *size)
    rng = np.random.default_rng(0)
    sent = [
        [rng.integers(0, 1 << layout.bits, shape).astype(layout.dtype) for shape in layout.shapes]
        for _ in range(2)
    ]
    with SegmentWriter(tmp_path / "s.mkv", probe, 16) as writer:
        for planes in sent:
            writer.write(planes)
    got = extract(tmp_path / "s.mkv", pix_fmt)
    assert [crc_of(planes) for planes in got] == writer.crcs == [crc_of(planes) for planes in sent]


def extract(path: Path, pix_fmt: str) -> list[list[np.ndarray]]:
    """Planes of an FFV1 file, re-laid where the codec packs them."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    layout = plane_layout(pix_fmt, frames[0].width, frames[0].height)
    plain = tuple(Component(plane, 0, 1) for plane in range(len(layout.shapes)))
    components = RELAID["bgr0"][1] if frames[0].format.name == "bgr0" else plain
    source = Source(components, False, layout.shapes, layout.dtype)
    return [extract_planes(frame, source) for frame in frames]


def crc_of(planes: Sequence[np.ndarray]) -> int:
    checksum = 0
    for plane in planes:
        checksum = zlib.crc32(np.ascontiguousarray(plane).data, checksum)
    return checksum


@pytest.mark.parametrize("name", sorted(RELAID))
def test_relaying_undoes_or_repeats_what_swscale_does(name: str) -> None:
    planar, components = RELAID[name]
    layout = plane_layout(planar, 34, 18)
    rng = np.random.default_rng(1)
    planes = [rng.integers(0, 1 << layout.bits, s).astype(layout.dtype) for s in layout.shapes]
    packed = to_frame(planes, planar).reformat(format=name)
    got = extract_planes(packed, Source(components, False, layout.shapes, layout.dtype))
    back = packed.reformat(format=planar)
    plain = tuple(Component(plane, 0, 1) for plane in range(3))
    wanted = extract_planes(back, Source(plain, False, layout.shapes, layout.dtype))
    for mine, theirs, sent in zip(got, wanted, planes, strict=True):
        # swscale errs on one side for a few formats (16-bit luma out, 10-bit chroma in)
        assert np.array_equal(mine, theirs) or np.array_equal(mine, sent)


def test_segment_states_what_the_probe_says(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path / "s.mkv", PROBE, 16) as writer:
        writer.write(draw_planes(0, "yuv420p", 50, 38))
    got = probe_file(tmp_path / "s.mkv", LIMITS)
    for name in ("fps", "field_order", "color_range", "color_primaries", "color_trc", "colorspace"):
        assert getattr(got, name) == getattr(PROBE, name), name


def test_segment_refuses_planes_of_another_format(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path / "s.mkv", PROBE, 4) as writer:
        with pytest.raises(ValueError, match="yuv420p"):
            writer.write(draw_planes(0, "yuv422p", 50, 38))
        writer.write(draw_planes(0, "yuv420p", 50, 38))


def test_segment_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ClipFault) as fault:
        SegmentWriter(tmp_path / "missing" / "s.mkv", PROBE, 4).write(
            draw_planes(0, "yuv420p", 50, 38)
        )
    assert fault.value.reason is Reason.ENCODE_ERROR


def test_tiny_pictures_take_fewer_slices() -> None:
    assert slices_for(replace(PROBE, width=720, height=576), 24) == 24
    assert slices_for(replace(PROBE, width=3, height=3), 24) < 24


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


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: {"crcs": [*t.crcs[:5], t.crcs[5] ^ 1, *t.crcs[6:]]}, "frame 5 decodes"),
        (lambda t: {"pts": [*t.pts[:7], t.pts[7] + 2, *t.pts[8:]]}, "frame 7 is at"),
        (lambda t: {"probe": replace(t.probe, colorspace=1)}, "colorspace is 5, not 1"),
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


def test_display_size_is_exact() -> None:
    def ratio(width: int, height: int, sar: Fraction) -> tuple[Fraction, int]:
        content, unit = display_size(width, height, sar)
        shown = int.from_bytes(content[3:5], "big"), int.from_bytes(content[8:10], "big")
        return Fraction(*shown), unit

    assert ratio(720, 576, Fraction(16, 15)) == (Fraction(4, 3), 0)
    assert ratio(176, 144, Fraction(128, 117)) == (Fraction(176 * 128, 144 * 117), 3)
    got, _ = ratio(1919, 1079, Fraction(127, 113))
    assert abs(got / Fraction(1919 * 127, 1079 * 113) - 1) < 1e-8


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_rgb_clips_come_back_exactly(suffix: str, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 37, 51, 3), dtype=np.uint8)
    path = tmp_path / f"clip.{suffix}"
    assert write_rgb(path, frames, Fraction(30000, 1001)) == 5
    np.testing.assert_array_equal(np.stack(list(read_rgb(path))), frames)
    np.testing.assert_array_equal(np.stack(list(read_rgb(path, 1, 3))), frames[1:3])


@pytest.mark.parametrize(
    ("codec", "best", "worst"), [("h264", 10, 35), ("mpeg2video", 2, 25), ("mpeg4", 2, 25)]
)
def test_codec_round_trip_loses_more_at_lower_quality(codec: Any, best: int, worst: int) -> None:
    luma = [draw_planes(i, "gray", 83, 45)[0] for i in range(9)]
    clip = np.stack([np.stack([plane] * 3, -1) for plane in luma])
    fine = codec_round_trip(clip, codec, best)
    coarse = codec_round_trip(clip, codec, worst, fps=16)
    assert fine.shape == coarse.shape == clip.shape
    assert [read_counter(frame[..., 0]) for frame in coarse] == list(range(9))
    error = [np.square(out.astype(float) - clip).mean() for out in (fine, coarse)]
    assert 0 < error[0] < error[1] < 400
    np.testing.assert_array_equal(codec_round_trip(clip, codec, best), fine)


def test_chroma_and_luma_keep_their_meaning_in_rgb(tmp_path: Path) -> None:
    clip = np.zeros((3, 32, 32, 3), np.uint8)
    clip[:] = (200, 60, 30)
    write_rgb(tmp_path / "red.mkv", clip, Fraction(24), pix_fmt="yuv444p")
    got = next(iter(read_rgb(tmp_path / "red.mkv")))
    assert np.abs(got.astype(int) - clip[0]).max() <= 3
