"""RGB clips and codec round trips."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.media.rgb import codec_round_trip, read_rgb, write_rgb
from tests.support.media.media_factory import draw_planes, read_counter


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
