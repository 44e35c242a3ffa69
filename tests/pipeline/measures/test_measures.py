"""A known distortion moves its measures in the stated direction, and the others stay still."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest

from models.colour import PixelFormat
from pipeline.measures.meter import COLUMNS, FrameMeter
from schemas.judgement import SIGNAL, SIGNAL_OF_CLIPS
from tests.support.media.scenes import sharp_scene

FRAMES, AT = 5, 2
PIXELS = PixelFormat.of("yuv420p", 8, 6, 1, 120)
GREY = np.full((60, 80), 128.0)
Clip = list[tuple[np.ndarray, np.ndarray, np.ndarray]]  # float planes Y, U, V

# How far a measure may move from its value without a change while it counts as still.
STILL = {
    "y_min_after": 7, "y_low_after": 7, "y_high_after": 7, "y_max_after": 7,
    "saturation_after": 1, "temporal_outliers_after": 0.004, "repeated_lines_after": 0.02,
    "out_of_range_after": 0.01, "warping_error_after": 1.6, "colour_difference": 3,
    "colour_difference_p95": 8, "new_edges": 0.03, "seam": 2.5, "shard_seam": 1,
    "unsupported_change": 0.2, "unsupported_worst": 4, "shared_detail_kept": 0.095,
}  # fmt: skip


def source() -> Clip:
    """A view of sharp rectangles that pans."""
    return [(luma.astype(float), GREY, GREY) for luma in sharp_scene(1, FRAMES)]


def luma_of(change: Callable[[np.ndarray, int], np.ndarray]) -> Callable[[Clip], Clip]:
    """A distortion of the luma of every frame, which gets the frame's number."""
    return lambda clip: [(change(y.copy(), n), u, v) for n, (y, u, v) in enumerate(clip)]


def brighter(luma: np.ndarray, frame: int) -> np.ndarray:
    return luma * 1.08


def flickering(luma: np.ndarray, frame: int) -> np.ndarray:
    return luma + (4 if frame % 2 else -4)


def stripes(luma: np.ndarray, frame: int) -> np.ndarray:
    """Dropouts of single lines."""
    for line in range(7, 112, 9):
        at = line * 37 % 120
        luma[line, at : at + 14] += 50 * np.where(luma[line, at : at + 14] < 128, 1, -1)
    return luma


def line_repeater(luma: np.ndarray, frame: int) -> np.ndarray:
    """Four lines at the top, as a time base corrector leaves them."""
    luma[:8] = luma[:1]
    return luma


def whiter(luma: np.ndarray, frame: int) -> np.ndarray:
    return np.where(luma > 192, 245, luma)


def seamed(luma: np.ndarray, frame: int) -> np.ndarray:
    luma[:, 80:] += 6
    return luma


def later_shard(luma: np.ndarray, frame: int) -> np.ndarray:
    return luma + (3.5 if frame >= AT else 0)


def invented(luma: np.ndarray, frame: int) -> np.ndarray:
    """Detail that nothing in the source has."""
    rng = np.random.default_rng(frame)
    luma[40:70, 50:90] = cv2.resize(rng.uniform(60, 190, (5, 7)), (40, 30), interpolation=0)
    return luma


def soft(luma: np.ndarray, frame: int) -> np.ndarray:
    return cv2.GaussianBlur(luma, (0, 0), 0.6)


def tinted(clip: Clip) -> Clip:
    return [(y, u + 7, v) for y, u, v in clip]


OF_CONTENT = {"unsupported_change": 1, "unsupported_worst": 1}


def same(clip: Clip) -> Clip:
    return clip


def metered(before: Clip, after: Clip, every: int = 1, **meter: Any) -> list[dict[str, float]]:
    found = FrameMeter(PIXELS, every=every, **meter)
    for pair in zip(before, after, strict=True):
        planes = [tuple(np.clip(np.rint(p), 0, 255).astype(np.uint8) for p in one) for one in pair]
        found.add((planes[0], planes[1]), tuple(p[0].astype(np.float32) for p in planes))
    return list(found.rows())


@cache
def unchanged() -> dict[str, float]:
    return metered(source(), source(), shard_starts=[AT])[AT]


def moved(distort: Callable[[Clip], Clip]) -> dict[str, int]:
    """The measures of a frame that moved beyond STILL, and where to: 1 is up, -1 down."""
    rest, row = unchanged(), metered(source(), distort(source()), shard_starts=[AT])[AT]
    away = {name: row[name] - np.nan_to_num(rest[name]) for name in STILL}
    return {name: int(np.sign(by)) for name, by in away.items() if abs(by) > STILL[name]}


@pytest.mark.parametrize(
    ("distort", "expected"),
    [
        (same, {}),
        (luma_of(brighter), {"y_high_after": 1, "y_max_after": 1, "colour_difference": 1}),
        (luma_of(flickering), {"warping_error_after": 1}),
        (luma_of(stripes), {"temporal_outliers_after": 1, **OF_CONTENT}),
        (luma_of(line_repeater), {"repeated_lines_after": 1, "seam": 1, **OF_CONTENT}),
        (
            luma_of(whiter),
            {"y_max_after": 1, "out_of_range_after": 1, "colour_difference_p95": 1, "seam": 1,
             **OF_CONTENT},
        ),
        (luma_of(seamed), {"seam": 1, **OF_CONTENT}),
        (luma_of(later_shard), {"shard_seam": 1, "warping_error_after": 1}),
        (
            luma_of(invented),
            {"new_edges": 1, "warping_error_after": 1, "colour_difference_p95": 1, "seam": 1,
             **OF_CONTENT},
        ),
        (luma_of(soft), {"shared_detail_kept": -1}),
        (tinted, {"saturation_after": 1, "colour_difference": 1, "colour_difference_p95": 1}),
    ],
)  # fmt: skip
def test_a_distortion_moves_its_measures_and_no_other(
    distort: Callable[[Clip], Clip], expected: dict[str, int]
) -> None:
    assert moved(distort) == expected


def test_a_repair_that_the_frames_beside_it_show_is_supported() -> None:
    clean = source()
    dirty = [(luma.copy(), u, v) for luma, u, v in clean]
    dirty[AT][0][50:58, 70:84] = 250
    row = metered(dirty, clean)[AT]
    assert row["unsupported_change"] < 0.1
    assert metered(clean, dirty)[AT]["unsupported_change"] > 0.5


def test_detail_that_frames_share_is_told_from_grain() -> None:
    rng, clean = np.random.default_rng(3), source()
    grainy = [(y + rng.normal(0, 8, y.shape), u, v) for y, u, v in clean]
    waxed = luma_of(lambda luma, _: cv2.GaussianBlur(luma, (0, 0), 1.2))(grainy)
    assert metered(grainy, clean)[AT]["shared_detail_kept"] == pytest.approx(1, abs=0.05)
    assert metered(grainy, waxed)[AT]["shared_detail_kept"] < 0.8


def test_costly_measures_are_taken_from_the_first_frame_of_a_shot_and_then_some() -> None:
    clip, meter = source(), FrameMeter(PIXELS, shot_starts=[2], every=2)
    for planes in clip:
        own = tuple(np.rint(plane).astype(np.uint8) for plane in planes)
        meter.add((own, own), (own[0].astype(np.float32),) * 2)
    rows, every = list(meter.rows()), metered(clip, clip, shot_starts=[2])
    due = [0, 2, 4]
    for name in ("colour_difference", "new_edges", "shared_detail_kept", "warping_error_after"):
        expected = [row[name] if n in due else np.nan for n, row in enumerate(every)]
        assert [row[name] for row in rows] == pytest.approx(expected, nan_ok=True), name
    assert not np.isnan([row["y_max_after"] for row in rows]).any()


def test_a_frame_that_lost_detail_is_measured_between_the_others() -> None:
    """Wax in a frame that is not due is found; frames that kept their detail cost nothing."""
    clip = source() * 3
    waxed = [(soft(y, 0) if n == 5 else y, u, v) for n, (y, u, v) in enumerate(clip)]
    rows, every = (metered(clip, waxed, every=count) for count in (8, 1))
    kept = [row["shared_detail_kept"] for row in rows]
    assert [n for n, value in enumerate(kept) if not np.isnan(value)] == [0, 5, 8]
    assert kept[5] == every[5]["shared_detail_kept"] < 0.91 < min(kept[0], kept[8])
    assert np.isnan(rows[5]["unsupported_change"])


def test_motion_is_no_warping_error_and_a_cut_is_not_followed() -> None:
    clip = source()
    errors = [row["warping_error_before"] for row in metered(clip, clip)]
    assert np.isnan(errors[0])
    assert max(errors[1:]) < 0.5 * np.std(clip[1][0] - clip[0][0])
    cut = metered(clip, clip, shot_starts=[AT])
    assert np.isnan(cut[AT]["warping_error_before"])
    assert not np.isnan(cut[AT + 1]["warping_error_before"])


def test_frames_that_the_source_lacks_have_the_signal_alone() -> None:
    clip = source()
    row = metered(clip, luma_of(invented)(clip), skipped=[AT])[AT]
    assert row["y_max_after"] > 0
    assert np.isnan([row["new_edges"], row["colour_difference"], row["unsupported_change"]]).all()


@pytest.mark.parametrize(("pix_fmt", "missing"), [
    ("gray", {"saturation"}), ("gbrp", {"saturation", "out_of_range"}), ("yuv420p10le", set()),
])  # fmt: skip
def test_measures_are_those_of_eight_bits_in_every_format(pix_fmt: str, missing: set[str]) -> None:
    luma = sharp_scene(1, 1)[0]
    grey = np.full((60, 80), 128, np.uint8)
    planes = {
        "gray": (luma,), "gbrp": (luma,) * 3,
        "yuv420p10le": tuple(p.astype(np.uint16) << 2 for p in (luma, grey, grey)),
    }[pix_fmt]  # fmt: skip
    meter = FrameMeter(PixelFormat.of(pix_fmt, 10 if "10" in pix_fmt else 8, 6, 1, 120))
    meter.add((planes, planes), (luma.astype(np.float32),) * 2)
    (row,), (eight,) = meter.rows(), metered(*[[(luma, grey, grey)]] * 2)
    for name in COLUMNS:
        expected = np.nan if name.rpartition("_")[0] in missing else eight[name]
        assert row[name] == pytest.approx(expected, nan_ok=True), name


def test_the_signal_is_that_of_ffmpeg() -> None:
    """Of a frame with noise, a dropout, repeated lines and illegal colours."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    rng = np.random.default_rng(0)
    luma = sharp_scene(1, 1)[0] + rng.integers(-9, 9, (120, 160))
    luma[40:56], luma[60, 20:60], luma[80:84, :40] = luma[40], 250, 3
    planes = [luma, *(rng.integers(2, 254, (60, 80)) for _ in range(2))]
    planes = [plane.astype(np.uint8) for plane in planes]
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p",
        "-s", "160x120", "-i", "-", "-vf", "signalstats=stat=tout+vrep+brng,metadata=print:file=-",
        "-f", "null", "-",
    ]  # fmt: skip
    raw = b"".join(plane.tobytes() for plane in planes)
    told = subprocess.run(command, input=raw, capture_output=True, check=True).stdout.decode()
    theirs = dict(re.findall(r"signalstats\.(\w+)=(\S+)", told))
    (ours,) = metered(*[[tuple(planes)]] * 2)
    names = {
        "YMIN": "y_min", "YLOW": "y_low", "YHIGH": "y_high", "YMAX": "y_max", "TOUT":
        "temporal_outliers", "VREP": "repeated_lines", "BRNG": "out_of_range",
        "SATAVG": "saturation",
    }  # fmt: skip
    for name, column in names.items():
        assert ours[f"{column}_before"] == pytest.approx(float(theirs[name]), abs=1e-4), name
        assert ours[f"{column}_before"] > 0


def test_every_measure_has_its_column_and_its_unit() -> None:
    outside = {"psnr_outside_db", "ssim_outside"}
    assert set(COLUMNS) | outside == set(SIGNAL)
    assert all(column.unit for column in SIGNAL.values())
    assert set(FrameMeter(PIXELS).summary()) | outside == set(SIGNAL_OF_CLIPS)
