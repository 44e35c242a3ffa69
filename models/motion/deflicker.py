"""Flicker removal before the network: a flow-aligned chain of exposure curves.

A short window of frames cannot separate flicker from changing light. So the exposure of every frame
is measured against its neighbours along the motion and accumulated. It is then corrected towards
the light estimated from +-LIGHT_REACH frames. One curve per frame, ``y = gain * x ** gamma``:
monotone, the same for all three channels, and reportable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.frame_state import Curve, FrameState, Image
from models.motion.engine import LUMA_709
from models.motion.flow import dis_flow, warp

LIGHT_REACH = 12  # frames each side whose exposures estimate the light
RHO = 0.3  # correlation of flicker from frame to frame
DRIFT = 0.03  # variance of the light's change in one frame, relative to the variance of flicker
PRE_REACH = 2  # frames each side in the quantile curve, which only helps the flow
DEFLICKER_CONTEXT = LIGHT_REACH + PRE_REACH  # frames each side that one frame's correction needs
FLICKER_THRESHOLD = 0.025  # median |second difference| of log brightness from which it is flicker
DARKEST = 4.0  # code values: darker regions count as this bright
FLOW_MISS = 0.5  # pixels of the half-size frame by which flow there and back may miss its start
FINEST = 1  # finest scale of the flow, as a power of two below the half-size frame
ENOUGH = 0.05  # share of matched pixels below which all pixels count
PIVOT = float(np.log(100.0))  # log code value the curves turn around: gain and gamma uncorrelated


def log_quantiles(luma: NDArray[Any]) -> NDArray[np.float64]:
    """Natural log of the 20, 50 and 80 % quantiles of 8-bit scaled luma, floored at one code
    value.
    """
    quantiles: NDArray[np.float64] = np.log(np.maximum(np.percentile(luma, (20, 50, 80)), 1.0))
    return quantiles


def region_levels(luma: NDArray[Any]) -> NDArray[np.float64]:
    """Natural log of the mean of each of 4x4 regions of 8-bit scaled luma (H, W), as (16,).

    Means are floored at DARKEST.
    """
    small = cv2.resize(luma, (64, 36), interpolation=cv2.INTER_AREA).astype(np.float64)
    levels: NDArray[np.float64] = np.log(
        np.maximum(small.reshape(4, 9, 4, 16).mean((1, 3)), DARKEST)
    ).ravel()
    return levels


def flickers(levels: NDArray[np.float64]) -> bool:
    """Whether a shot with (T, 16) region levels flickers.

    In flicker, brightness jumps in all regions alike. Motion changes some regions only.
    """
    if len(levels) < 5:
        return False
    bends = np.diff(levels, n=2, axis=0)
    whole = np.median(bends, axis=1)
    apart = np.median(np.abs(bends - whole[:, None]), axis=1)
    return bool(np.median(np.abs(whole)) > max(FLICKER_THRESHOLD, float(np.median(apart))))


def small_luma(image: Image) -> NDArray[np.uint8]:
    """Half-size 8-bit luma, blurred with sigma 1.2 pixels, for exposure and its flow."""
    luma = image @ (LUMA_709 * 255)
    half = cv2.resize(luma, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(half, (0, 0), 1.2)
    return np.clip(np.rint(blurred), 0, 255).astype(np.uint8)


def _matched_exposure(
    luma: NDArray[np.uint8], here: NDArray[np.float64], near: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Luma with its log quantiles ``here`` moved to ``near``, through a table of 256 entries."""
    gamma = float(np.clip(np.ptp(near) / max(np.ptp(here), 1e-3), 0.7, 1.4))
    codes = np.log(np.maximum(np.arange(256), 1.0))
    table = np.exp(near.mean() + gamma * (codes - here.mean()))
    return cv2.LUT(luma, np.clip(np.rint(table), 0, 255).astype(np.uint8))


def fit_step(x: NDArray[np.float32], y: NDArray[np.float32]) -> tuple[float, float]:
    """``(a, log b)`` of ``log y = a + b log x`` about PIVOT, fitted to aligned 8-bit luma samples.

    Robust: four rounds that keep residuals within 1.5 MAD. b is the ratio of standard deviations
    (reduced major axis), so noise on both sides does not bias it towards zero. It is clipped to
    0.7-1.4.
    """
    usable = (x > 20) & (x < 225) & (y > 20) & (y < 225)
    if int(usable.sum()) < 64:
        return 0.0, 0.0
    u, v = np.log(x[usable]) - PIVOT, np.log(y[usable]) - PIVOT
    keep = np.ones(len(u), bool)
    a, b = 0.0, 1.0
    for _ in range(4):
        p, q = u[keep], v[keep]
        spread = float(p.std())
        b = float(np.clip(q.std() / spread, 0.7, 1.4)) if spread > 0.02 else 1.0
        a = float(q.mean() - b * p.mean())
        residual = np.abs(v - a - b * u)
        keep = residual <= max(1.5 * float(np.median(residual)), 1e-4)
    return a, float(np.log(b))


@lru_cache(maxsize=(LIGHT_REACH + 1) ** 2)
def light_weights(before: int, after: int) -> NDArray[np.float64]:
    """Weights (before + 1 + after,) of exposures in the estimate of the light in one frame.

    They are in order of time: ``before`` frames, the frame, ``after`` frames; their sum is 1.
    Ordinary kriging (Cressie, Statistics for Spatial Data, 1993, section 3.2): the light is a
    random walk, and flicker on it is a first-order autoregressive process. No other weights of
    these exposures have a smaller mean square error.
    """
    at = np.arange(-before, after + 1)
    apart = np.abs(at[:, None] - at)
    system = np.ones((len(at) + 1, len(at) + 1))
    system[:-1, :-1] = RHO**apart - DRIFT / 2 * apart
    system[-1, -1] = 0
    wanted = np.append(-DRIFT / 2 * np.abs(at), 1)
    return np.linalg.solve(system, wanted)[:-1]


@dataclass
class Seen:
    """What a meter keeps of a frame until its steps are measured."""

    luma: Any  # of the meter, at half the size
    quantiles: Any  # natural log of the 20, 50 and 80 % quantiles


Step = Callable[[], tuple[float, float]]  # (a, log b) of a frame to the next, once it is known


class Exposure:
    """Measures and corrects the exposure of pictures, by OpenCV on the CPU."""

    late = 0  # frames after which a step is asked for

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._flow.setFinestScale(FINEST)

    def seen(self, frame: FrameState) -> Seen:
        """What is kept of a frame."""
        luma = small_luma(frame.source)
        return Seen(luma, log_quantiles(luma))

    def step(self, here: Seen, there: Seen, near_here: Sequence[Any], near: Sequence[Any]) -> Step:
        """Step of exposure from a frame to the next; ``near`` are the quantiles around each.

        Fitted where flow there and back agree: pixels without a match would measure the scene.
        """
        level_here, level_there = (
            _matched_exposure(one.luma, one.quantiles, np.mean(around, axis=0))
            for one, around in ((here, near_here), (there, near))
        )
        flow = dis_flow(self._flow, level_here, level_there)
        missed = flow + warp(dis_flow(self._flow, level_there, level_here), flow)
        matched = (np.square(missed).sum(-1) < FLOW_MISS**2)[::2, ::2]
        if matched.mean() < ENOUGH:
            matched[:] = True
        moved = warp(there.luma, flow)[::2, ::2]
        fitted = fit_step(
            here.luma[::2, ::2][matched].astype(np.float32), moved[matched].astype(np.float32)
        )
        return lambda: fitted

    def corrected(self, frame: FrameState, curve: Curve) -> FrameState:
        """The frame with its exposure corrected."""
        picture = curve(frame.source)
        return replace(frame, source=picture, image=picture, curve=curve)


class Deflicker:
    """The stage that removes flicker from one shot; frames come DEFLICKER_CONTEXT frames late.

    A frame's correction depends only on the DEFLICKER_CONTEXT frames each side of it. So shards
    that read this much context give the same picture as the whole shot.
    """

    def __init__(self, exposure: Exposure | None = None) -> None:
        """``exposure`` does what is done to pixels; without one it is OpenCV's."""
        self._exposure = exposure or Exposure()
        self._frames: dict[int, FrameState] = {}
        self._seen: dict[int, Seen] = {}
        self._count = 0
        self._steps: list[Step] = []  # of frame k -> k + 1
        self._emitted = 0

    def run(self, frames: Iterable[FrameState]) -> Iterator[FrameState]:
        """The frames with exposure corrected, and their curves, in order.

        At most DEFLICKER_CONTEXT + 1 frames are held, and those by which a device is late.
        """
        for frame in frames:
            self._frames[self._count], self._seen[self._count] = frame, self._exposure.seen(frame)
            self._count += 1
            yield from self._ready(last=False)
        yield from self._ready(last=True)

    def _ready(self, last: bool) -> Iterator[FrameState]:
        while len(self._steps) + 1 < self._count and (
            last or len(self._steps) + 1 + PRE_REACH < self._count
        ):
            self._steps.append(self._step(len(self._steps)))
        late = LIGHT_REACH + self._exposure.late
        while self._emitted < self._count and (last or self._emitted + late <= len(self._steps)):
            frame, curve = self._frames.pop(self._emitted), self._curve(self._emitted)
            yield self._exposure.corrected(frame, curve)
            self._emitted += 1

    def _near(self, index: int) -> list[Any]:
        around = range(max(index - PRE_REACH, 0), min(index + PRE_REACH + 1, self._count))
        return [self._seen[at].quantiles for at in around]

    def _step(self, index: int) -> Step:
        """Step of exposure from a frame to the next."""
        self._seen.pop(index - PRE_REACH - 1, None)
        here, there = self._seen[index], self._seen[index + 1]
        step = self._exposure.step(here, there, self._near(index), self._near(index + 1))
        here.luma = None
        return step

    def _known(self, start: int, stop: int) -> list[tuple[float, float]]:
        return [step() for step in self._steps[start:stop]]

    def _curve(self, index: int) -> Curve:
        # exposures (a, log b) relative to this frame's, in the form of fit_step
        before, after = [(0.0, 0.0)], [(0.0, 0.0)]
        for step_a, step_log_b in self._known(index, index + LIGHT_REACH):
            a, log_b = after[-1]
            after.append((step_a + np.exp(step_log_b) * a, log_b + step_log_b))
        for step_a, step_log_b in self._known(max(index - LIGHT_REACH, 0), index)[::-1]:
            a, log_b = before[-1]
            before.append(((a - step_a) * np.exp(-step_log_b), log_b - step_log_b))
        weights = light_weights(len(before) - 1, len(after) - 1)
        shift, log_gamma = weights @ np.array([*before[:0:-1], *after])
        gamma = float(np.exp(log_gamma))
        # u' = shift + gamma * u about PIVOT, u = log(255 x) - PIVOT
        gain = float(np.exp(shift + (1 - gamma) * (PIVOT - np.log(255.0))))
        return Curve(gain, gamma)
