"""Segments hold every sample and state what the probe states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline import restore
from pipeline.clip.frames import Probe
from pipeline.clip.shards import plan_shards
from pipeline.media.child.decode import LARGE_THREADS, _Decoding
from pipeline.media.child.runtime import MAX_THREADS
from pipeline.media.decoder import Decoder, probe_file
from pipeline.media.planes import PLANAR, RELAID, Component, Source, extract_planes, plane_layout
from pipeline.media.segments import SegmentWriter
from pipeline.media.segments import legal_slices as slices_for
from pipeline.restore import CODEC_THREADS, ShardRestorer
from pipeline.survey import survey_clip
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits, Recipe
from tests.support.media.media_factory import Clip, draw_planes, write_clip
from tests.support.media.probes import PROBE
from tests.support.media.trips import crc_of
from tests.support.studio import clip_of

LIMITS = Limits()


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


def test_the_codecs_get_threads_beside_a_gpu_and_write_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []

    class Watched(SegmentWriter):
        def __init__(self, *args: object) -> None:
            super().__init__(*args)  # type: ignore[arg-type]
            given.append(self._stream.codec_context.thread_count)

    class WatchedDecoder(Decoder):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[arg-type]
            given.append(self.threads)

    monkeypatch.setattr(restore, "SegmentWriter", Watched)
    monkeypatch.setattr(restore, "Decoder", WatchedDecoder)
    path, recipe = tmp_path / "c.mkv", Recipe(model="fast", strength=0.0)
    write_clip(path, Clip(frames=4, width=320, height=240))
    survey = survey_clip(clip_of(path), recipe, tmp_path)
    restorer, (shard,) = ShardRestorer(recipe, 1), plan_shards(survey.shots, 120)

    def made(name: str) -> bytes:
        restorer.restore(path, survey, shard, tmp_path / name)
        return (tmp_path / name).read_bytes()

    alone = made("alone.mkv")
    monkeypatch.setattr(ShardRestorer, "on_gpu", True)
    assert made("beside.mkv") == alone
    assert sorted(given) == [1, 1, CODEC_THREADS, CODEC_THREADS]


def test_a_child_decodes_with_no_more_threads_than_its_limits_count_on() -> None:
    def threads(asked: int, probe: Probe) -> int:
        return _Decoding([], LIMITS, probe, asked).threads

    large = replace(PROBE, width=3840, height=2160)
    assert [threads(asked, PROBE) for asked in (1, 3, 500)] == [1, 3, MAX_THREADS]
    assert threads(1, large) == LARGE_THREADS
    assert CODEC_THREADS <= MAX_THREADS
