"""Known distortions move the intended measure by the known amount, and leave the others."""

import time
from functools import cache

import cv2
import numpy as np
import pytest

from pipeline.detect.measure import ClipMeasure, planes_to_luma, to_luma
from pipeline.detect.metrics import (
    METRICS,
    PSNR_CAP_DB,
    blockiness,
    blur,
    noise_sigma,
    psnr,
    ssim,
)

SIZE = (288, 352)
COLUMNS = [
    *("flicker_before", "flicker_after", "noise_sigma_before", "noise_sigma_after"),
    *("blur_before", "blur_after", "blockiness_before", "blockiness_after"),
    *("temporal_diff_before", "temporal_diff_after", "psnr_to_source_db", "ssim_to_source"),
    *("psnr_outside_db", "ssim_outside"),
    *("ref_psnr_before_db", "ref_psnr_after_db", "ref_ssim_before", "ref_ssim_after"),
]


@cache
def scene(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Dead leaves: overlapping discs of many sizes and shades, a third of them textured, (H, W)."""
    rng = np.random.default_rng(seed)
    picture = np.full(size, 128, np.float32)
    rows, columns = np.mgrid[: size[0], : size[1]]
    for radius in 70 / rng.uniform(1, 12, 300):
        y, x = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        texture = 10 * np.sin(columns * rng.uniform(0.2, 1.5)) if rng.random() < 0.3 else 0
        picture[disc] = (rng.uniform(40, 215) + texture + 0 * columns)[disc]
    picture = cv2.GaussianBlur(picture, (0, 0), 0.7).astype(np.float32)
    picture.flags.writeable = False
    return picture


def coded(luma: np.ndarray) -> np.ndarray:
    """What eight bits keep."""
    return np.clip(np.rint(luma), 0, 255).astype(np.float32)


def noisy(luma: np.ndarray, sigma: float, seed: int = 1) -> np.ndarray:
    return coded(luma + np.random.default_rng(seed).normal(0, sigma, luma.shape))


def jpeg(luma: np.ndarray, quality: int) -> np.ndarray:
    _, data = cv2.imencode(".jpg", luma.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE).astype(np.float32)


def measured(
    before: list[np.ndarray],
    after: list[np.ndarray],
    starts: tuple[int, ...] = (0,),
    every: int = 1,
) -> dict[str, float]:
    clip = ClipMeasure(starts, every)
    for source, result in zip(before, after, strict=True):
        clip.add(source, result)
    return clip.summary()


@pytest.mark.parametrize("sigma", [3, 5, 10, 20])
@pytest.mark.parametrize("seed", [0, 1])
def test_noise_sigma_is_within_a_tenth_on_a_textured_scene(sigma: float, seed: int) -> None:
    assert noise_sigma(noisy(scene(seed), sigma)) == pytest.approx(sigma, rel=0.1)


def test_film_grain_that_is_coarser_than_a_pixel_reads_nearly_its_deviation() -> None:
    grain = cv2.GaussianBlur(np.random.default_rng(4).normal(0, 1, SIZE), (0, 0), 0.6)
    reading = noise_sigma(coded(scene() + 10 * grain / grain.std()))
    assert reading == pytest.approx(10, rel=0.1)


def test_noise_is_read_in_the_picture_not_in_its_black_bars() -> None:
    picture = noisy(scene(), 8)
    picture[:60] = picture[-60:] = 16
    assert noise_sigma(picture) == pytest.approx(8, rel=0.1)
    assert noise_sigma(np.full(SIZE, 16, np.float32)) == 0


def test_blur_grows_with_blur_and_not_with_noise() -> None:
    picture = scene()
    readings = [blur(coded(cv2.GaussianBlur(picture, (0, 0), s))) for s in (0.1, 1, 2, 4)]
    assert readings == sorted(readings)
    assert readings[2] > readings[0] + 0.2
    assert blur(noisy(picture, 10)) == pytest.approx(readings[0], abs=0.03)
    assert np.isnan(blur(np.full(SIZE, 90, np.float32)))


def test_blockiness_rises_with_jpeg_and_not_with_noise_or_blur() -> None:
    picture = coded(scene())
    readings = [blockiness(jpeg(picture, quality)) for quality in (90, 50, 25, 10)]
    assert readings == sorted(readings)
    assert readings[3] > 1.5
    for other in (picture, noisy(picture, 10), cv2.GaussianBlur(picture, (0, 0), 2)):
        assert blockiness(other) == pytest.approx(1, abs=0.05)


def test_flicker_reads_the_gain_error_in_percent() -> None:
    gains = 1 + 0.04 * np.random.default_rng(3).standard_normal(100)
    still = [scene()] * 100
    result = measured(still, [scene() * gain for gain in gains], every=50)
    assert result["flicker_after"] == pytest.approx(100 * gains.std(), rel=0.1)
    assert result["flicker_before"] < 1e-9


def test_flicker_ignores_a_pan_a_fade_and_cuts_but_a_missed_cut_shows() -> None:
    wide = scene(size=(120, 700))
    pan = [wide[:, 4 * i : 4 * i + 360] for i in range(40)]
    fade = [wide[:, :360] * 0.99**i for i in range(40)]
    result = measured(pan, fade, every=50)
    assert result["flicker_before"] < 0.5
    assert result["flicker_after"] < 0.05
    assert result["temporal_diff_before"] > 10
    cut = [*[wide[:, :360]] * 10, *[wide[:, :360] * 0.5] * 10]
    known = measured(cut, cut, starts=(0, 10))
    assert known["flicker_before"] < 1e-9
    assert known["temporal_diff_before"] == 0
    missed = measured(cut, cut)
    assert missed["flicker_before"] > 5
    assert missed["temporal_diff_before"] > 5


def test_flicker_is_not_what_comes_into_view() -> None:
    """A bright thing rising and sinking quickly over a third of the picture."""
    clip = []
    for index in range(30):
        picture = scene().copy()
        picture[:, : int(60 + 50 * np.sin(index))] = 230
        clip.append(picture)
    means = np.log([picture.mean() for picture in clip])
    assert 100 * means.std() > 5
    assert measured(clip, clip, every=50)["flicker_before"] < 0.5


def test_temporal_difference_is_the_rms_of_the_change() -> None:
    picture = np.full(SIZE, 128, np.float32)
    clip = [picture, picture + 3, picture + 7]
    result = measured(clip, [picture] * 3)
    assert result["temporal_diff_before"] == pytest.approx(np.sqrt((9 + 16) / 2))
    assert result["temporal_diff_after"] == 0


def test_noise_moves_noise_and_leaves_blur_blockiness_and_flicker() -> None:
    picture = coded(scene())
    result = measured([picture] * 5, [noisy(picture, 6, seed) for seed in range(5)])
    assert result["noise_sigma_after"] > result["noise_sigma_before"] + 5
    assert result["temporal_diff_after"] == pytest.approx(6 * np.sqrt(2), rel=0.05)
    assert result["blur_after"] == pytest.approx(result["blur_before"], abs=0.03)
    assert result["blockiness_after"] == pytest.approx(result["blockiness_before"], abs=0.03)
    assert result["flicker_after"] < 0.1


def test_identity_reads_the_cap_and_the_same_on_both_sides() -> None:
    clip = [noisy(scene(), 4, seed) for seed in range(4)]
    result = measured(clip, clip)
    assert result["psnr_to_source_db"] == PSNR_CAP_DB == psnr(clip[0], clip[0])
    assert result["ssim_to_source"] == pytest.approx(1)
    for name in ("noise_sigma", "blur", "blockiness", "flicker", "temporal_diff"):
        assert result[f"{name}_before"] == result[f"{name}_after"]


def test_psnr_of_a_clip_is_pooled_so_untouched_frames_do_not_hide_the_others() -> None:
    picture = np.full(SIZE, 100, np.float32)
    result = measured([picture] * 2, [picture, picture + 5])
    assert result["psnr_to_source_db"] == pytest.approx(10 * np.log10(255**2 / 12.5))
    assert psnr(picture, picture + 5) == pytest.approx(10 * np.log10(255**2 / 25))


def test_what_lies_outside_of_repairs_is_measured_alone() -> None:
    picture = coded(scene())
    repaired = picture.copy()
    repaired[100:140, 60:120] = 240
    clip = ClipMeasure()
    for box in ([(60, 100, 60, 40)], []):
        clip.add(picture, repaired, repaired=box)
    known, unknown = clip.frames()
    assert known["psnr_to_source_db"] == unknown["psnr_outside_db"] < 30
    assert known["psnr_outside_db"] == PSNR_CAP_DB
    assert known["ssim_outside"] == pytest.approx(1)
    assert known["ssim_to_source"] < 0.99
    noise = ClipMeasure()
    noise.add(picture, noisy(repaired, 5), repaired=[(60, 100, 60, 40)])
    (row,) = noise.frames()
    assert row["psnr_outside_db"] == pytest.approx(psnr(picture, noisy(picture, 5)), abs=0.1)
    noise.add(picture, picture, repaired=[(0, 0, *picture.shape[::-1])])
    assert np.isnan(noise.frames()[1]["psnr_outside_db"])


def ssim_by_the_book(one: np.ndarray, other: np.ndarray) -> float:
    """Wang et al. 2004, equation 13, window by window in float64."""
    ramp = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weight = np.outer(ramp, ramp) / ramp.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for row in range(one.shape[0] - 10):
        for column in range(one.shape[1] - 10):
            a = one[row : row + 11, column : column + 11].astype(np.float64)
            b = other[row : row + 11, column : column + 11].astype(np.float64)
            mean_a, mean_b = (weight * a).sum(), (weight * b).sum()
            var_a = (weight * (a - mean_a) ** 2).sum()
            var_b = (weight * (b - mean_b) ** 2).sum()
            covariance = (weight * (a - mean_a) * (b - mean_b)).sum()
            top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
            values.append(top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    return float(np.mean(values))


def test_ssim_equals_the_definition() -> None:
    picture = scene()[:40, :48]
    for other in (noisy(picture, 12), picture * 0.9, cv2.GaussianBlur(picture, (0, 0), 2)):
        assert ssim(other, picture) == pytest.approx(ssim_by_the_book(other, picture), abs=1e-4)
    # flat frames of 100 and 110: no structure, so only the luminance term (C1 = 6.5025) is left
    flat = np.full((32, 32), 100, np.float32)
    expected = (2 * 100 * 110 + 6.5025) / (100**2 + 110**2 + 6.5025)
    assert ssim(flat, flat + 10) == pytest.approx(expected, abs=1e-3)


def test_the_summary_has_the_columns_of_the_clip_table() -> None:
    clip = ClipMeasure([0, 5], every=2)
    truth = coded(scene())
    for index in range(8):
        clip.add(noisy(truth, 10, index), noisy(truth, 2, index), truth)
    result = clip.summary()
    assert sorted(result) == sorted(COLUMNS)
    assert not any(np.isnan(list(result.values())))
    assert result["ref_psnr_after_db"] > result["ref_psnr_before_db"] + 10
    assert result["ref_ssim_after"] > result["ref_ssim_before"]


def test_frame_rows_carry_shot_and_measures_and_nothing_where_not_measured() -> None:
    clip = ClipMeasure([3], every=2)
    for index in range(6):
        clip.add(noisy(scene(), 3, index), scene())
    rows = clip.frames()
    assert [row["frame"] for row in rows] == list(range(6))
    assert [row["shot"] for row in rows] == [0, 0, 0, 1, 1, 1]
    assert [not np.isnan(row["noise_sigma_before"]) for row in rows] == [1, 0, 1, 1, 0, 1]
    assert [np.isnan(row["temporal_diff_after"]) for row in rows] == [1, 0, 0, 1, 0, 0]
    assert rows[1]["mean_luma_after"] == pytest.approx(scene().mean(), rel=1e-4)
    assert {"psnr_to_source_db", "mean_luma_before", "gain_step_after", "blur_after"} < set(rows[0])
    assert np.isnan(rows[0]["ref_psnr_after_db"])


def test_an_empty_or_short_clip_has_a_summary_of_nothing() -> None:
    assert all(np.isnan(list(ClipMeasure().summary().values())))
    result = measured([scene()], [scene()])
    assert np.isnan(result["flicker_after"])
    assert np.isnan(result["temporal_diff_before"])


def test_frames_that_are_no_picture_are_no_part_of_the_summary() -> None:
    clip = ClipMeasure([3], every=1, left=[0])
    for index in range(6):
        black = np.full_like(scene(), 16)
        pair = (black, black) if index < 3 else (noisy(scene(), 9, index), scene())
        clip.add(*pair)
    picture = measured([noisy(scene(), 9, i) for i in (3, 4, 5)], [scene()] * 3)
    assert clip.summary() == pytest.approx(picture, nan_ok=True)
    assert len(clip.frames()) == 6
    nothing = ClipMeasure(left=[0])
    nothing.add(scene(), scene())
    assert all(np.isnan(list(nothing.summary().values())))


def test_frames_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="agree in size"):
        ClipMeasure().add(scene(), scene()[:-1])


def test_luma_is_scaled_from_any_bit_depth_and_weighted_from_rgb() -> None:
    ten_bit = np.full((4, 4), 940, np.uint16)
    assert to_luma(ten_bit, 10).max() == 235
    assert to_luma(np.full((4, 4), 235, np.uint8)).dtype == np.float32
    green, blue, red = (np.full((2, 2), value, np.uint8) for value in (100, 50, 200))
    luma = planes_to_luma([green, blue, red], "gbrp")
    assert luma[0, 0] == pytest.approx(0.7152 * 100 + 0.0722 * 50 + 0.2126 * 200)
    assert planes_to_luma([green, blue, red], "yuv420p")[0, 0] == 100


def test_every_metric_has_a_unit_and_a_docstring() -> None:
    for name, metric in METRICS.items():
        assert metric.unit, name
        assert metric.measure.__doc__, name


def test_a_frame_costs_a_few_milliseconds() -> None:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    clip = ClipMeasure()
    truth, before, after = (noisy(scene(), sigma) for sigma in (0, 10, 2))
    costs = []
    for _ in range(12):  # whole periods of four frames
        start = time.process_time()
        for _ in range(4):
            clip.add(before, after, truth)
        costs.append((time.process_time() - start) / 4)
    cv2.setNumThreads(threads)
    assert min(costs) < 0.020  # 0.006 on a quiet core; neighbours on a busy one take their share
