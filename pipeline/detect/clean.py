"""Whether a shot is clean: it shows nothing that needs repair. Measured in the survey, on luma.

Every frame is searched for specks: spots that neither neighbour shows, on a place that both
neighbours show. Noise, coding blocks and lack of detail are measured every few frames. A shot is
clean only if every measure says so. `docs/experiments/2026-11-30-clean-shots.md` has the numbers
behind the limits, and the damage that passes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from models.motion.deflicker import flickers
from pipeline.clip.frames import Luma, Luma8
from pipeline.detect.metrics import blockiness, noise_sigma

# Limits. A shot that reaches one is not clean.
SHORTEST = 24  # frames that are needed to tell
SPECKS, SPECKS_AT_ONCE = 0.3, 3  # per frame of the shot; in one frame
NOISE = 2.75  # code values
CODED_NOISE = 0.5  # code values of noise x excess of the steps at block borders
LINE, LINES = 0.78, 1 / 3  # share of a third of the height; share of the samples
SOFT = -0.915  # log2 of the finest detail over detail of twice its size

EVERY = 5  # frames from one sample of noise, blocks and detail to the next
SEARCHED = 480  # columns: a wider frame is searched for specks at this width
STILL = 9  # pixels: a spot of a neighbour within half of this explains a spot
CONTRAST = 20  # code values by which a speck stands out from both neighbours
LEAST, LARGEST = 3, 2000  # pixels of a speck
TRIED = 12  # spots of a frame that are looked at, the largest first
AROUND, REACH = 8, 24  # pixels: the place around a spot, and how far it may have moved
ENOUGH = 40  # pixels of that place
BESIDE, STANDS_OUT = 5, 12.0  # pixels beside a line; code values
ALIKE = 5.0  # code values (root mean square) by which the place may differ in a neighbour

Levels = NDArray[np.float64]


class Sample(NamedTuple):
    """Noise in code values, steps at block borders over other steps, detail as in SOFT, and the
    longest upright line as in LINE.
    """

    noise: float
    blocks: float
    detail: float
    line: float


class CleanMeter:
    """Takes every frame as 8-bit luma (H, W), in order. Memory: three small frames."""

    def __init__(self) -> None:
        self.specks: list[int] = []
        self.samples: dict[int, Sample] = {}
        self._near: deque[Luma8] = deque(maxlen=3)
        self._ranges: deque[tuple[Luma8, Luma8]] = deque(maxlen=3)

    def add(self, luma: Luma8) -> None:
        """Measure the next frame."""
        frame = len(self.specks)
        if frame % EVERY == 0:
            self.samples[frame] = sample(luma.astype(np.float32))
        small, kernel = _small(luma), np.ones((STILL, STILL), np.uint8)
        self._near.append(small)
        self._ranges.append((_eight(cv2.erode(small, kernel)), _eight(cv2.dilate(small, kernel))))
        self.specks.append(0)
        if len(self._near) == 3:
            self.specks[-2] = count_specks(self._near, self._ranges)

    def findings(self, start: int, stop: int, levels: Levels) -> tuple[str, ...]:
        """Why the shot [start, stop) is not clean, as words; empty if it is clean.

        `levels` are its region levels (`models.motion.deflicker`).
        """
        if stop - start < SHORTEST:
            return ("short",)
        seen = np.array([s for at, s in self.samples.items() if start <= at < stop])
        noise, blocks, detail, _ = np.median(seen, axis=0)
        specks = self.specks[start + 1 : stop - 1]  # the ends have a neighbour on one side
        found = {
            "specks": max(specks) >= SPECKS_AT_ONCE or float(np.mean(specks)) >= SPECKS,
            "lines": float(np.mean(seen[:, 3] >= LINE)) >= LINES,
            "flicker": flickers(levels),
            "noise": noise >= NOISE,
            "coding": noise * (blocks - 1) >= CODED_NOISE,
            "soft": detail <= SOFT,
        }
        return tuple(word for word, there in found.items() if there)


def sample(luma: Luma) -> Sample:
    """Noise, coding blocks, detail and lines of one frame (H, W) in 8-bit code values."""
    return Sample(noise_sigma(luma), blockiness(luma), detail(luma), longest_line(luma))


def longest_line(luma: Luma) -> float:
    """The largest share of a third of a column that is a thin upright line, as a scratch is.

    A pixel of a line stands out to the left and to the right, and both sides are alike.
    """
    height, width = luma.shape
    if width <= 2 * BESIDE or height < 24:
        return 0.0
    left, right, middle = luma[:, : -2 * BESIDE], luma[:, 2 * BESIDE :], luma[:, BESIDE:-BESIDE]
    even = cv2.absdiff(left, right) < STANDS_OUT
    longest = 0.0
    for above in (middle - cv2.max(left, right), cv2.min(left, right) - middle):
        marked = ((above > STANDS_OUT) & even).astype(np.float32)
        share = cv2.blur(marked, (1, height // 3), borderType=cv2.BORDER_CONSTANT)
        longest = max(longest, float(share.max()))
    return longest


def detail(luma: Luma) -> float:
    """The finest detail over detail of twice its size, log2: enlarging and coding remove it.

    Both are deviations of a Laplacian in squares of 16 pixels. Of the half of the squares with most
    detail, the 20 % quantile counts.
    """
    height, width = (side // 16 * 16 for side in luma.shape)
    if not height or not width:
        return float("-inf")
    whole = luma[:height, :width]
    half = cv2.resize(whole, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    fine, medium = _deviation(whole, 16), _deviation(np.asarray(half, np.float32), 8)
    rich = medium >= np.median(medium)
    return float(np.quantile((fine - medium)[rich], 0.2))


def _deviation(image: Luma, side: int) -> Luma:
    """log2 of the deviation of the Laplacian in each square, plus a quarter of a code value."""
    curved = cv2.Laplacian(image, cv2.CV_32F) / np.float32(20**0.5)
    height, width = image.shape
    squares = curved.reshape(height // side, side, width // side, side)
    return np.asarray(np.log2(squares.std((1, 3)) + 0.25), np.float32)


def count_specks(near: Sequence[Luma8], ranges: Sequence[tuple[Luma8, Luma8]]) -> int:
    """The specks in the middle one of three frames (H, W).

    `ranges` are the lowest and the highest value around each pixel of each frame.
    """
    before, here, after = near
    (low_before, high_before), _, (low_after, high_after) = ranges
    above = cv2.subtract(here, cv2.max(high_before, high_after))
    below = cv2.subtract(cv2.min(low_before, low_after), here)
    mask = (cv2.max(above, below) > CONTRAST // 2).astype(np.uint8)
    if not mask.any():
        return 0
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = boxes[1:, cv2.CC_STAT_AREA]
    fit = [n for n, area in enumerate(areas, start=1) if LEAST <= area <= LARGEST]
    tried = sorted(fit, key=lambda n: -int(areas[n - 1]))[:TRIED]
    return sum(_is_speck((before, after), here, labels, boxes[n], n) for n in tried)


def _is_speck(
    neighbours: tuple[Luma8, Luma8],
    here: Luma8,
    labels: NDArray[np.int32],
    box: NDArray[np.int32],
    label: int,
) -> bool:
    """Whether both neighbours show the place of a spot, but not the spot."""
    x, y, wide, high = (int(value) for value in box[:4])
    top, left = max(y - AROUND, 0), max(x - AROUND, 0)
    inside = slice(top, y + high + AROUND), slice(left, x + wide + AROUND)
    patch, spot = here[inside], labels[inside] == label
    place = 1 - cv2.dilate(spot.astype(np.uint8), np.ones((5, 5), np.uint8))
    pixels = int(np.count_nonzero(place))
    if pixels < ENOUGH:
        return False
    steps = []
    for other in neighbours:
        field = other[
            max(top - REACH, 0) : top + patch.shape[0] + REACH,
            max(left - REACH, 0) : left + patch.shape[1] + REACH,
        ]
        error = cv2.matchTemplate(
            field.astype(np.float32), patch.astype(np.float32), cv2.TM_SQDIFF,
            mask=place.astype(np.float32),
        )  # fmt: skip
        least, _, (column, row), _ = cv2.minMaxLoc(error)
        if max(least, 0.0) / pixels > ALIKE**2:
            return False
        there = field[row : row + patch.shape[0], column : column + patch.shape[1]]
        steps.append(float(patch[spot].mean()) - float(there[spot].mean()))
    return min(steps) >= CONTRAST or max(steps) <= -CONTRAST


def _small(luma: Luma8) -> Luma8:
    height, width = luma.shape
    if width <= SEARCHED:
        return luma
    size = SEARCHED, max(round(height * SEARCHED / width), 1)
    return _eight(cv2.resize(luma, size, interpolation=cv2.INTER_AREA))


def _eight(image: NDArray[np.integer | np.floating]) -> Luma8:
    return np.asarray(image, np.uint8)
