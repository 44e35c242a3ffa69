"""The film of a clip's page: which frames it has, and that both sides are the same frame."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from jobs.report.entry import ReportEntry
from jobs.report.film import Film, joined, rate_of, spans_to_show
from jobs.report.player import player_section
from jobs.report.stills import stills
from pipeline.detect.change_map import REPAIRED
from pipeline.media.rgb import read_rgb, write_rgb
from schemas.errors import ClipFault
from schemas.recipe import Limits
from tests.support.reports import FRAMES, SIZE, grey_clip

FINDING = {"rule": "region_changed", "frame": 700}


def entry(frames: int, *findings: dict[str, object], **more: object) -> ReportEntry:
    row = {"clip_id": "a", "frames": frames, "fps_num": 25, "fps_den": 1} | more
    return ReportEntry(row, findings=findings)


def test_a_short_clip_is_shown_whole_and_its_finding_is_a_part_of_it() -> None:
    assert [tuple(s) for s in spans_to_show(entry(16))] == [("the whole clip", 0, 16)]
    found = spans_to_show(entry(250, FINDING | {"frame": 240}))
    assert [tuple(s) for s in found] == [
        ("around frame 240: region changed", 200, 250), ("the whole clip", 0, 250),
    ]  # fmt: skip
    assert joined(found) == [(0, 250)]


def test_of_a_long_clip_only_parts_are_shown() -> None:
    spans = spans_to_show(entry(100_000, FINDING, FINDING | {"frame": 0}))
    assert [(s.start, s.stop) for s in spans] == [
        (675, 725), (0, 50), (0, 75), (49962, 50037), (99925, 100_000),
    ]  # fmt: skip
    ranges = joined(spans)
    assert ranges == [(0, 75), (675, 725), (49962, 50037), (99925, 100_000)]
    assert all(a[1] < b[0] for a, b in pairwise(ranges))


def test_a_clip_without_a_change_needs_no_film() -> None:
    assert spans_to_show(entry(16, frames_changed=0)) == []
    assert spans_to_show(entry(0)) == []
    assert player_section(entry(16)) is None


@pytest.mark.parametrize("fps", [Fraction(0), Fraction(1, 100), Fraction(1000)])
def test_a_rate_that_no_screen_shows_becomes_a_usual_one(fps: Fraction) -> None:
    assert rate_of(fps) == 25
    assert rate_of(Fraction(30000, 1001)) == Fraction(30000, 1001)


def test_every_picture_holds_the_same_frame_of_both(tmp_path: Path) -> None:
    source, restored = grey_clip(tmp_path / "a.mkv"), grey_clip(tmp_path / "b.mkv", add=5)
    film = Film(tmp_path / "film.webm", [(3, 8), (15, 20)])
    taken = stills(source, restored, [2], Limits(), film=film)
    assert [still.index for still in taken.frames] == [2]
    height = SIZE[0]
    pictures = list(read_rgb(film.path))
    assert film.facts("difference")["height"] == height and len(pictures) == 10
    for picture, frame in zip(pictures, [*range(3, 8), *range(15, 20)], strict=True):
        assert picture.shape == (2 * height + height // 2, SIZE[1], 3)
        grey = 10 * (frame + 1)
        assert abs(float(picture[:height].mean()) - grey) < 3
        assert abs(float(picture[height : 2 * height].mean()) - grey - 5) < 3
        change = picture[2 * height :, : SIZE[1] // 2]
        assert abs(float(change.mean()) - 128 - 4 * 5) < 3


def test_a_large_clip_becomes_small_and_its_map_is_the_third_picture(tmp_path: Path) -> None:
    for name in ("a.mkv", "b.mkv"):
        write_rgb(tmp_path / name, [np.full((540, 960, 3), 90, np.uint8)], Fraction(25))
    changes = np.zeros((270, 480), np.uint8)
    changes[100, 150] = REPAIRED << 6 | 8  # one byte must still be seen
    write_rgb(tmp_path / "map.mkv", [cv_grey(changes)], Fraction(25))
    film = Film(tmp_path / "film.webm", [(0, 1)])
    stills(
        tmp_path / "a.mkv", tmp_path / "b.mkv", [0], Limits(), None, (), tmp_path / "map.mkv", film
    )
    facts = film.facts("map")
    width, height = int(str(facts["width"])), int(str(facts["height"]))
    assert (width, height) == (512, 288)
    (picture,) = read_rgb(film.path)
    change = picture[2 * height :, : width // 2].astype(int)
    orange = (change[..., 0] - change[..., 2]) > 60
    y, x = np.argwhere(orange).mean(axis=0)
    assert orange.sum() < 60 and abs(x - 150 * 256 / 480) < 4 and abs(y - 100 * 144 / 270) < 4


def cv_grey(plane: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.repeat(plane[..., None], 3, axis=2)


def test_a_file_with_fewer_frames_is_a_fault(tmp_path: Path) -> None:
    source = grey_clip(tmp_path / "a.mkv")
    with pytest.raises(ClipFault, match=f"{FRAMES} frames can be read, not 31"):
        stills(source, source, [30], Limits())
