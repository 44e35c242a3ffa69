"""What to put back: frames, shots and boxes that cut no chroma sample."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.clip.box import Box, put_back
from pipeline.clip.result import ShotRow
from pipeline.media.planes import chroma_steps, plane_layout
from pipeline.undo.selection import Request
from schemas.errors import ArchiveError
from tests.support.media.probes import PROBE

WIDTH, HEIGHT = 45, 37
SHOTS = [ShotRow("a", 0, 0, 4, 4, 0, False, None), ShotRow("a", 1, 4, 9, 5, 4, False, None)]


def probe(pix_fmt: str) -> object:
    return replace(PROBE, pix_fmt=pix_fmt, width=WIDTH, height=HEIGHT)


def chosen(pix_fmt: str = "yuv420p", by_fields: bool = False, **asked: object) -> object:
    request = Request.parse(asked.get("shot"), asked.get("frames"), asked.get("region"))
    return request.of(probe(pix_fmt), by_fields, 9, SHOTS)


@pytest.mark.parametrize(
    ("pix_fmt", "by_fields", "box"),
    [
        ("yuv444p", False, "5,7,3,2"), ("gbrp", False, "5,7,3,2"), ("gray", False, "5,7,3,2"),
        ("yuv422p10le", False, "4,7,4,2"), ("yuv420p", False, "4,6,4,4"),
        ("yuv420p", True, "4,4,4,8"), ("yuv422p", True, "4,7,4,2"), ("yuv411p", False, "4,7,4,2"),
    ],
)  # fmt: skip
def test_a_box_is_widened_to_whole_chroma_samples(pix_fmt: str, by_fields: bool, box: str) -> None:
    found = chosen(pix_fmt, by_fields, region="5,7,3,2")
    assert str(found.region) == box
    assert found.widened == (box != "5,7,3,2")


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv411p", "gray", "gbrp"])
@pytest.mark.parametrize("asked", ["5,7,3,2", "44,36,1,1", "0,0,45,37"])
def test_the_box_and_nothing_else_is_put_back(pix_fmt: str, asked: str) -> None:
    layout = plane_layout(pix_fmt, WIDTH, HEIGHT)
    source = tuple(np.full(shape, 1, layout.dtype) for shape in layout.shapes)
    after = tuple(np.full(shape, 9, layout.dtype) for shape in layout.shapes)
    region = chosen(pix_fmt, region=asked).region
    found = put_back(after, source, pix_fmt, region)
    across, along = chroma_steps(pix_fmt)
    for number, plane in enumerate(found):
        right, down = (across, along) if number else (1, 1)
        y, x = np.mgrid[0 : plane.shape[0], 0 : plane.shape[1]]
        inside = (region.x <= x * right) & (x * right < region.x + region.width)
        inside &= (region.y <= y * down) & (y * down < region.y + region.height)
        assert np.array_equal(plane == 1, inside)
    assert all((plane == 9).all() for plane in after)


def test_frames_and_shots_are_named_as_in_the_tables() -> None:
    assert chosen().frames == range(9)
    assert chosen(frames="3:5").frames == range(3, 6)
    assert chosen(frames="8").frames == range(8, 9)
    assert chosen(shot=1).frames == range(4, 9)
    assert str(chosen(frames="3:5", region="0,0,2,2")) == "frames 3 to 5, region 0,0,2,2"
    half = chosen(frames="0:2", region="0,0,44,36")
    assert half.share(probe("yuv420p"), 9) == pytest.approx(3 / 9 * 44 * 36 / (45 * 37))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"frames": "5:3"}, "give A:B"), ({"frames": "-1:3"}, "give A:B"),
        ({"frames": "0:9"}, "its last frame is 8"), ({"shot": 2}, "the shots are 0 to 1"),
        ({"shot": 1, "frames": "0:1"}, "not both"), ({"region": "1,2,3"}, "give x,y,w,h"),
        ({"region": "0,0,0,4"}, "no box inside a picture of 45x37"),
        ({"region": "40,0,6,4"}, "no box inside a picture of 45x37"),
    ],
)  # fmt: skip
def test_what_a_clip_does_not_have_is_refused(asked: dict[str, object], sentence: str) -> None:
    with pytest.raises(ArchiveError, match=sentence):
        chosen(**asked)


def test_a_region_is_text() -> None:
    assert str(Box(1, 2, 3, 4)) == "1,2,3,4"
