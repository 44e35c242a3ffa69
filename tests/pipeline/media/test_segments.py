"""Segments hold every sample and state what the probe states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.media.decoder import probe_file
from pipeline.media.planes import PLANAR, RELAID, Component, Source, extract_planes, plane_layout
from pipeline.media.segments import SegmentWriter
from pipeline.media.segments import legal_slices as slices_for
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits
from tests.support.media.media_factory import draw_planes
from tests.support.media.probes import PROBE
from tests.support.media.trips import crc_of

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
