"""Exposure measured and corrected by tensors, where the pictures are; see `Exposure`.

Nothing here waits for the device: what was measured of a frame is on its way to the CPU while the
frames after it are measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from models.copies import IN_FLIGHT
from models.frame_state import Curve, FrameState, OnDevice
from models.motion.deflicker import ENOUGH, FLOW_MISS, PIVOT, Exposure, Seen, Step
from models.motion.tensors import SIGMAS, Tensors, blurred, luma_of, pictures_of, warp
from models.transfer import begun

PRESET = "coarse"  # of the flow: as fine as that of `Exposure`
SHARES = 0.2, 0.5, 0.8  # quantiles of luma
BLUR = 1.2  # sigma in pixels of half the size
WITHIN = 20, 225  # code values between which a sample counts
LEAST_SAMPLES = 64
STEEPEST = 0.7, 1.4  # between these lies the slope of a step


class TensorExposure(Exposure):
    """The exposure of pictures on a device."""

    late = IN_FLIGHT

    def __init__(self, engine: Tensors) -> None:
        self._search = engine.search(PRESET)

    def seen(self, frame: FrameState) -> Seen:
        luma = small_luma(pictures_of(frame).source)
        return Seen(luma, _log_quantiles(luma))

    def step(
        self, here: Seen, there: Seen, near_here: Sequence[Tensor], near: Sequence[Tensor]
    ) -> Step:
        one, other = (
            _matched_exposure(seen.luma, seen.quantiles, torch.stack([*around]).mean(0))
            for seen, around in ((here, near_here), (there, near))
        )
        flow, back = self._search(one, other), self._search(other, one)
        missed = (flow + warp(back, flow)).square().sum(0)
        matched = (missed < FLOW_MISS**2)[::2, ::2]
        matched = matched | (matched.float().mean() < ENOUGH)
        moved = warp(there.luma, flow)[::2, ::2].round().clamp(0, 255)
        return _landing(begun([fit_step(here.luma[::2, ::2], moved, matched)]))

    def corrected(self, frame: FrameState, curve: Curve) -> FrameState:
        picture = pictures_of(frame).source
        if curve.gain != 1.0 or curve.gamma != 1.0:
            picture = picture.clamp_min(0).pow(curve.gamma) * curve.gain
        return replace(frame, on_device=OnDevice(picture, picture), curve=curve)


def _landing(wait: Callable[[], Sequence[Tensor]]) -> Step:
    """A step that is waited for once, when it is asked for."""
    found: list[tuple[float, float]] = []

    def known() -> tuple[float, float]:
        if not found:
            a, log_b = wait()[0].tolist()
            found.append((a, log_b))
        return found[0]

    return known


def small_luma(picture: Tensor) -> Tensor:
    """Half-size luma (h, w) of a picture (3, H, W) in whole code values, blurred."""
    luma = 255 * luma_of(picture)
    rows, columns = (max(round(side / 2), 1) for side in luma.shape)
    even = F.pad(luma[None, None], (0, luma.shape[1] % 2, 0, luma.shape[0] % 2), mode="replicate")
    half = F.avg_pool2d(even, 2)[0, :, :rows, :columns]
    return blurred(half, BLUR, SIGMAS)[0].round().clamp(0, 255)


def _log_quantiles(luma: Tensor) -> Tensor:
    ordered = luma.flatten().sort().values.double()
    last = len(ordered) - 1
    found = []
    for share in SHARES:
        below = int(share * last)
        found.append(
            torch.lerp(ordered[below], ordered[min(below + 1, last)], share * last - below)
        )
    return torch.stack(found).clamp_min(1).log()


def _matched_exposure(luma: Tensor, here: Tensor, near: Tensor) -> Tensor:
    """Luma with its log quantiles ``here`` moved to ``near``, through a table of 256 entries."""
    spread = (here.amax() - here.amin()).clamp_min(1e-3)
    gamma = ((near.amax() - near.amin()) / spread).clamp(*STEEPEST)
    codes = torch.arange(256, device=luma.device, dtype=torch.float64).clamp_min(1).log()
    table = (near.mean() + gamma * (codes - here.mean())).exp().round().clamp(0, 255).float()
    return table.index_select(0, luma.flatten().long()).view_as(luma)


def fit_step(x: Tensor, y: Tensor, matched: Tensor) -> Tensor:
    """`models.motion.deflicker.fit_step` of the ``matched`` samples, (2,): a and log b."""
    low, high = WITHIN
    usable = matched & (x > low) & (x < high) & (y > low) & (y < high)
    u, v = (plane.double().clamp_min(1).log() - PIVOT for plane in (x, y))
    count = usable.sum()
    keep = usable
    for _ in range(4):
        spread, other = _deviation(u, keep), _deviation(v, keep)
        slope = (other / spread.clamp_min(1e-9)).clamp(*STEEPEST)
        b = torch.where(spread > 0.02, slope, torch.ones_like(slope))
        a = _mean(v, keep) - b * _mean(u, keep)
        residual = (v - a - b * u).abs()
        keep = usable & (residual <= (1.5 * _median(residual, usable, count)).clamp_min(1e-4))
    found = torch.stack([a, b.log()])
    return torch.where(count < LEAST_SAMPLES, torch.zeros_like(found), found)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return torch.where(chosen, values, 0).sum() / chosen.sum().clamp_min(1)


def _deviation(values: Tensor, chosen: Tensor) -> Tensor:
    apart = values - _mean(values, chosen)
    return _mean(apart.square(), chosen).sqrt()


def _median(values: Tensor, chosen: Tensor, count: Tensor) -> Tensor:
    ordered = torch.where(chosen, values, torch.inf).flatten().sort().values
    middle = torch.stack([(count - 1).clamp_min(0) // 2, count // 2])
    return ordered.index_select(0, middle.clamp_max(len(ordered) - 1)).mean()
