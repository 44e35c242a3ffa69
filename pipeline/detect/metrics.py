"""Metrics of one frame, of two frames and of a clip. `METRICS` is their registry.

Every metric works on luma on the 8-bit scale: float32 (H, W), 0 to 255 for every bit depth of the
source. To add a metric, write one function and one entry: its columns follow. `docs/metrics.md`
explains what each number means, where it comes from and where it misleads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Luma

Series = NDArray[np.float64]  # one value per frame, NaN where not measured
Shots = NDArray[np.int64]  # the shot of each frame
Box = tuple[int, int, int, int]  # x, y, width, height in pixels
Mask = NDArray[np.uint8]  # 0 or 1

PSNR_CAP_DB = 100.0  # the PSNR of identical frames, which is infinite
THUMBNAIL = (48, 27)  # width and height on which brightness is compared over time
FLICKER_REACH = 8  # frames on each side whose mean is the slow part of the brightness
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # Wang et al. 2004, K1 and K2
BAND_PIXELS = 32_768
NAN = float("nan")


# One frame.


def mean_luma(luma: Luma) -> float:
    """Mean brightness in code values."""
    return float(cv2.mean(luma)[0])


def noise_sigma(luma: Luma) -> float:
    """Standard deviation of the noise in code values: Immerkaer 1996, in the flattest parts.

    The response to [1 0 -2 0 1]' [1 0 -2 0 1] has 6 times the deviation of the noise, and is 0 on a
    plane. The kernel skips every second pixel, because film grain is coarser than one pixel.
    Texture responds too, so only the flattest quarter counts. It is chosen on a blurred copy
    (sigma 2), which is nearly independent of that response. Near-black, near-white and perfectly
    flat pixels (bars, clipped parts) hold no noise and do not count.
    """
    if min(luma.shape) < 5:
        return NAN
    smooth = cv2.GaussianBlur(luma, (0, 0), 2.0)
    slope = np.abs(smooth[2:-2:2, 4:] - smooth[2:-2:2, :-4])  # every other row is enough
    slope += np.abs(smooth[4::2, 2:-2] - smooth[:-4:2, 2:-2])
    kernel = np.array([1, 0, -2, 0, 1], np.float32)
    response = np.abs(cv2.sepFilter2D(luma, cv2.CV_32F, kernel, kernel)[2:-2:2, 2:-2])
    level = smooth[2:-2:2, 2:-2]
    alive = (slope > 1e-3) & (level > 20.0) & (level < 250.0)
    if np.count_nonzero(alive) < alive.size // 64:
        alive = slope > 1e-3
    slopes = slope[alive]
    if slopes.size == 0:
        return 0.0
    flat = slopes <= _quantile(slopes, 0.25)
    return math.sqrt(math.pi / 2) / 6 * float(response[alive][flat].mean())


def blur(luma: Luma) -> float:
    """Blur from 0 (sharp) to 1, after Crete et al. 2007. NaN on a frame without edges.

    The share of neighbour differences that survives another blur of 9 pixels: little in a sharp
    picture, nearly all in a soft one. The larger value of the two directions counts. Two changes
    from the paper: only the strongest tenth of the edges is read, and differences keep their sign
    along the edge. Noise then averages out instead of looking sharp.
    """
    smooth = cv2.GaussianBlur(luma, (0, 0), 1.5)
    worst = NAN
    for axis, size, half in ((0, (1, 9), np.s_[:, ::2]), (1, (9, 1), np.s_[::2])):
        edge = np.diff(np.ascontiguousarray(smooth[half]), axis=axis)  # every other line is enough
        strength = np.abs(edge)
        strong = np.flatnonzero(strength >= max(_quantile(strength, 0.9), 0.25))
        sign = np.sign(edge.reshape(-1)[strong])
        first = strong if axis == 0 else strong + strong // edge.shape[1]  # of the two pixels
        second = first + (edge.shape[1] if axis == 0 else 1)
        own, again = (
            float(np.dot(sign, pixels[second] - pixels[first]))
            for pixels in (luma[half].reshape(-1), cv2.blur(luma, size)[half].reshape(-1))
        )
        if own > 0:
            worst = float(np.fmax(worst, min(max(again / own, 0.0), 1.0)))
    return worst


def blockiness(luma: Luma) -> float:
    """Mean step across the 8x8 grid over the mean step inside it. 1: no blocks; above 1: blocks.

    Steps are limited to 16 code values, so that a few object edges on the grid do not decide. The
    grid starts at the corner of the frame: blocks of footage that was scaled or cropped after
    compression are not found.
    """
    on_grid = inside = 0.0
    for turned in (luma, luma.T):
        steps = np.minimum(np.abs(np.diff(turned, axis=1)), 16.0).mean(axis=0)
        at_grid = np.arange(1, steps.size + 1) % 8 == 0
        on_grid += float(steps[at_grid].sum()) / max(int(at_grid.sum()), 1)
        inside += float(steps[~at_grid].sum()) / max(int((~at_grid).sum()), 1)
    return on_grid / inside if inside > 0 else 1.0


def median(values: Luma) -> float:
    """As `numpy.median`, in a third of its time."""
    flat = values.reshape(-1)
    middle = flat.size // 2
    if flat.size % 2:
        return float(np.partition(flat, middle)[middle])
    two = np.partition(flat, (middle - 1, middle))[middle - 1 : middle + 1]
    return float(two.mean())


def _quantile(values: Luma, part: float) -> float:
    """Quantile of at most about 20,000 evenly spaced values, which is enough for a threshold."""
    flat = values.reshape(-1)
    flat = flat[:: max(flat.size // 20_000, 1)]
    rank = min(int(part * flat.size), flat.size - 1)
    return float(np.partition(flat, rank)[rank])


# Two frames: a frame and the one before it in its shot, or a frame and its reference.


def mean_square(one: Luma, other: Luma) -> float:
    """Mean squared difference, code values squared."""
    return float(cv2.norm(one, other, cv2.NORM_L2SQR)) / one.size


def temporal_difference(luma: Luma, previous: Luma) -> float:
    """RMS change since the frame before in the shot: motion, noise, dust and flicker together."""
    return math.sqrt(mean_square(luma, previous))


def gain_step(luma: Luma, previous: Luma) -> float:
    """Change of brightness since the frame before in the shot, as a natural logarithm.

    The median, over a 48x27 thumbnail, of the log ratio between each place and the same place in
    the frame before. Optical flow (DIS, Kroeger et al. 2016) finds that place, so things that move
    or come into view hardly count. Places near black or white do not count. 0: too few places.
    """
    return gain_step_of(thumbnail(luma), thumbnail(previous))


def gain_step_of(now: Luma, last: Luma) -> float:
    """`gain_step` of two thumbnails."""
    even = now * (max(mean_luma(last), 1.0) / max(mean_luma(now), 1.0))
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    flow = finder.calc(_eight_bit(last), _eight_bit(even), np.zeros((*last.shape, 2), np.float32))
    rows, columns = np.indices(last.shape, np.float32)
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    now = _float(cv2.remap(now, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    seen = (x >= 0) & (y >= 0) & (x <= last.shape[1] - 1) & (y <= last.shape[0] - 1)
    seen &= (np.minimum(now, last) > 16) & (np.maximum(now, last) < 240)
    if np.count_nonzero(seen) < seen.size // 64:
        return 0.0
    return median(np.log(now[seen] / last[seen]))


def _float(image: NDArray[np.integer | np.floating]) -> Luma:
    return np.asarray(image, np.float32)


def _eight_bit(luma: Luma) -> NDArray[np.uint8]:
    return np.clip(luma, 0, 255).astype(np.uint8)


def thumbnail(luma: Luma) -> Luma:
    """A frame at the size of `THUMBNAIL`."""
    rows = luma[:: 2 if luma.shape[0] >= 4 * THUMBNAIL[1] else 1]  # for speed
    return _float(cv2.resize(rows, THUMBNAIL, interpolation=cv2.INTER_AREA))


def psnr_from_mean_square(value: float) -> float:
    """A mean squared difference as PSNR in dB, peak 255, at most `PSNR_CAP_DB`."""
    if math.isnan(value):
        return NAN
    floor = 255.0**2 / 10 ** (PSNR_CAP_DB / 10)
    return 10 * math.log10(255.0**2 / max(value, floor))


def psnr(luma: Luma, reference: Luma) -> float:
    """Peak signal-to-noise ratio in dB, peak 255. Identical frames have `PSNR_CAP_DB`."""
    return psnr_from_mean_square(mean_square(luma, reference))


def ssim(luma: Luma, reference: Luma) -> float:
    """Structural similarity, Wang et al. 2004: 11x11 Gaussian window of sigma 1.5.

    Only full windows count. NaN if the frame is smaller than the window.
    """
    height, width = luma.shape
    if min(height, width) < 11:
        return NAN
    if luma is reference:
        return 1.0
    step = max(BAND_PIXELS // width, 24)  # in bands that fit the processor cache
    bands = (slice(top, top + step + 10) for top in range(0, height - 10, step))
    total = math.fsum(_sum(_ssim_map(luma[band], reference[band])) for band in bands)
    return float(total / ((height - 10) * (width - 10)))


def psnr_outside(luma: Luma, reference: Luma, outside: Mask) -> float:
    """PSNR in dB as `psnr`, of the pixels where `outside` (H, W) is 1. NaN if there are none."""
    count = np.count_nonzero(outside)
    if not count:
        return NAN
    return psnr_from_mean_square(float(cv2.norm(luma, reference, cv2.NORM_L2SQR, outside)) / count)


def ssim_outside(luma: Luma, reference: Luma, outside: Mask) -> float:
    """SSIM as `ssim`, of the windows that lie where `outside` (H, W) is 1. NaN without any."""
    if min(luma.shape) < 11:
        return NAN
    full = cv2.erode(outside, np.ones((11, 11), np.uint8))[5:-5, 5:-5]
    count = np.count_nonzero(full)
    return _sum(_ssim_map(luma, reference) * full) / count if count else NAN


def outside_of(boxes: Sequence[Box], shape: tuple[int, ...]) -> Mask:
    """1 where no box (x, y, width, height) is, else 0; (H, W)."""
    outside = np.ones(shape, np.uint8)
    for x, y, wide, high in boxes:
        outside[y : y + high, x : x + wide] = 0
    return outside


def _sum(values: Luma) -> float:
    return float(values.sum(dtype=np.float64))


def _ssim_map(a: Luma, b: Luma) -> Luma:
    """Equation 13 at the full windows."""
    mean_a, mean_b = _window(a), _window(b)
    cross = mean_a * mean_b
    squares = mean_a * mean_a + mean_b * mean_b
    covariance = _window(a * b) - cross
    variances = _window(a * a + b * b) - squares
    top = (2 * cross + SSIM_C1) * (2 * covariance + SSIM_C2)
    return _float(top / ((squares + SSIM_C1) * (variances + SSIM_C2)))


def _window(image: Luma) -> Luma:
    """Weighted mean over the window around every pixel that has a full window."""
    return _float(cv2.GaussianBlur(image, (11, 11), 1.5)[5:-5, 5:-5])


# One clip, from one column of frame values.


def mean_of(values: Series, shots: Shots) -> float:
    """Mean over the measured frames."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else NAN


def root_mean_square_of(values: Series, shots: Shots) -> float:
    """Root mean square over the measured frames."""
    return math.sqrt(mean_of(values**2, shots))


def pooled_psnr_of(values: Series, shots: Shots) -> float:
    """PSNR of the clip's mean squared difference. Unchanged frames do not hide the others."""
    squares = 255.0**2 * 10 ** (-values / 10)
    squares[values >= PSNR_CAP_DB] = 0.0
    return psnr_from_mean_square(mean_of(squares, shots))


def flicker_of(values: Series, shots: Shots) -> float:
    """Flicker in percent: deviation over time of the fast part of log brightness, shot by shot.

    The log brightness is the sum of the gain steps. Its fast part is the difference to a centred
    mean over 8 frames on each side. At the ends of a shot the mean has fewer frames, but equally
    many on both sides, so a steady fade has no fast part. The scale is such that independent gain
    errors of s percent give s. Shots of one or two frames do not count.
    """
    parts: list[float] = []
    for shot in np.unique(shots):
        level = np.cumsum(np.nan_to_num(values[shots == shot]))
        for index in range(1, level.size - 1):
            reach = min(index, level.size - 1 - index, FLICKER_REACH)
            near = level[index - reach : index + reach + 1]
            parts.append(float(level[index] - near.mean()) / math.sqrt(1 - 1 / near.size))
    return 100 * math.sqrt(float(np.mean(np.square(parts)))) if parts else NAN


@dataclass(frozen=True)
class PictureMetric:
    """One metric: how to measure a frame, how to pool a clip, and the unit of the number."""

    measure: Callable[..., float]
    # frame: (luma); change: (luma, previous frame of the shot); pair: (luma, reference);
    # outside: (luma, source, mask of what was not repaired)
    kind: Literal["frame", "change", "pair", "outside"]
    pool: Callable[[Series, Shots], float] | None  # None: only in tables/frames
    unit: str
    frame_name: str = ""  # the column in tables/frames, if it has another name
    suffix: str = ""  # unit, at the end of the column names
    costly: bool = False  # measured on every n-th frame of a shot only
    of: Callable[[Luma], Luma] | None = None  # change: what is measured of each frame; None: all


METRICS: dict[str, PictureMetric] = {
    "mean_luma": PictureMetric(mean_luma, "frame", None, "code values"),
    "noise_sigma": PictureMetric(noise_sigma, "frame", mean_of, "code values", costly=True),
    "blur": PictureMetric(blur, "frame", mean_of, "0 to 1", costly=True),
    "blockiness": PictureMetric(blockiness, "frame", mean_of, "ratio", costly=True),
    "flicker": PictureMetric(
        gain_step_of, "change", flicker_of, "percent", frame_name="gain_step", of=thumbnail
    ),
    "temporal_diff": PictureMetric(
        temporal_difference, "change", root_mean_square_of, "code values"
    ),
    "psnr": PictureMetric(psnr, "pair", pooled_psnr_of, "dB", suffix="_db"),
    "ssim": PictureMetric(ssim, "pair", mean_of, "-1 to 1", costly=True),
    "psnr_outside": PictureMetric(psnr_outside, "outside", pooled_psnr_of, "dB", suffix="_db"),
    "ssim_outside": PictureMetric(ssim_outside, "outside", mean_of, "-1 to 1", costly=True),
}
