"""The engine of `models.motion.engine` by tensors: on a GPU, and on a CPU for tests.

Nothing here waits for the device, or brings a value to the host: a frame's pictures and flows stay
where the network is. tests/models/motion/test_tensors.py watches over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import torch
from torch import Tensor
from torch.nn import functional as F

from models import colour_tensors
from models.frame_state import FrameState, Image, OnDevice
from models.graphs import graphed
from models.motion import engine, tensor_flow
from models.motion.engine import EDGE, EDGE_RUN, LUMA_709, confidence
from models.transfer import begun_up, landed, sent_ahead, up

# Finest scale of the search, as a power of two below the whole size; OpenCV's refinements have no
# counterpart (docs/experiments/2026-11-30-tensor-engine.md).
FINEST = {"ultrafast": 2, "fast": 2, "coarse": 1, "medium": 1, "fine": 1}
SIGMAS = 4  # sigmas each side that a Gaussian kernel reaches


class Tensors:
    """Pictures (3, H, W) float32, lumas (H, W) float32, flows (2, H, W); see `Engine`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._flows = {
            finest: graphed(partial(tensor_flow.flow, finest=finest), device)
            for finest in {*FINEST.values()}
        }

    def raised(self, frames: Iterable[FrameState]) -> Iterator[FrameState]:
        """The frames in order, with their pictures on the device."""
        going = ((frame, self._going(frame)) for frame in frames)
        for frame, source in sent_ahead(going, self.device):
            yield replace(frame, on_device=OnDevice(source, source))

    def _going(self, frame: FrameState) -> Callable[[], Tensor]:
        """The picture of a frame, on its way to the device."""
        if frame.decoded is not None and not frame.has_picture:
            return colour_tensors.picture(frame.decoded, self.device)
        ready = begun_up(frame.source, self.device)
        return lambda: ready().permute(2, 0, 1).contiguous()

    def lowered(self, frames: Iterable[FrameState]) -> Iterator[FrameState]:
        """The frames in order, with their last picture or their planes on the CPU again; `source`
        stays older.
        """
        for frame, found in landed((frame, self._ends(frame)) for frame in frames):
            done = replace(frame, on_device=None)
            if frame.decoded is None:
                yield replace(done, image=found[0].numpy())
            else:
                yield colour_tensors.with_planes(done, frame.decoded, found)

    def _ends(self, frame: FrameState) -> Sequence[Tensor]:
        """What of a frame comes to the CPU at the end."""
        image = pictures_of(frame).image
        if frame.decoded is None:
            return [image.permute(1, 2, 0).contiguous()]
        return colour_tensors.to_land(frame.decoded, image)

    def source(self, frame: FrameState) -> Tensor:
        return pictures_of(frame).source

    def image(self, frame: FrameState) -> Tensor:
        return pictures_of(frame).image

    def with_image(self, frame: FrameState, image: Tensor) -> FrameState:
        return replace(frame, on_device=pictures_of(frame)._replace(image=image))

    def picture(self, image: Image) -> Tensor:
        return up(image, self.device).permute(2, 0, 1).contiguous()

    def luma(self, picture: Tensor, sigma: float) -> Tensor:
        luma = blurred(luma_of(picture)[None], sigma, SIGMAS)[0]
        return (255 * luma).round().clamp(0, 255)

    def search(self, preset: str) -> engine.Search:
        flow = self._flows[FINEST[preset]]

        def search(one: Tensor, other: Tensor) -> Tensor:
            return flow(one[None], other[None])[0]

        return search

    def warp(self, array: Tensor, flow: Tensor, cubic: bool = False) -> Tensor:
        return warp(array, flow, cubic)

    def matched(self, centre: Tensor, other: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        error = residual(centre, other, flow)
        trusted = (error < engine.MISMATCH).float()
        share = trusted.mean()
        least, most = engine.MATCHED_SHARE
        flow = torch.where((least < share) & (share < most), spread(flow, trusted), flow)
        return flow, confidence(residual(centre, other, flow))

    def keep_edges(self, centre: Tensor, warped: Tensor, still: Tensor) -> Tensor:
        for across in (1, 2):  # lines along rows, then along columns
            for start in (0, max(centre.shape[across] - EDGE, 0)):
                length = min(EDGE, centre.shape[across])
                here, moved, kept = (
                    picture.narrow(across, start, length) for picture in (centre, warped, still)
                )
                apart = torch.stack([(here - one).abs().mean(0) for one in (moved, kept)])
                errors = _mean(apart, *((1, EDGE_RUN) if across == 1 else (EDGE_RUN, 1)))
                moved.copy_(torch.where(errors[1] < errors[0], kept, moved))
        return warped

    def weighted_mean(
        self, image: Tensor, others: Iterable[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        total, weight = image, torch.ones_like(image[0])
        for other, other_weight in others:
            total, weight = torch.addcmul(total, other, other_weight[None]), weight + other_weight
        return total / weight, weight

    def agreement(self, here: Tensor, there: Tensor) -> Tensor:
        apart = 255 * (here - there).abs().mean(0)
        side = engine.AVERAGED
        weight: Tensor = confidence(_mean(apart[None], side, side)[0], engine.HALF_WEIGHT)
        return weight

    def sharpened(self, mean: Tensor, weight: Tensor, noise_weight: float) -> Tensor:
        detail = mean - blurred(mean, engine.DETAIL, SIGMAS)
        least, most = engine.SHARPEN
        added = least + (most - least) * noise_weight * softness(mean)
        return torch.addcmul(mean, detail, added * (1 - 1 / weight))

    def blended(self, image: Tensor, other: Tensor, share: float) -> Tensor:
        return torch.lerp(image, other, share)

    def zeros(self, luma: Tensor) -> Tensor:
        return torch.zeros_like(luma)

    def stacked(self, planes: list[Tensor]) -> Tensor:
        return torch.stack(planes)

    def window(self, pictures: list[Tensor], trust: Tensor) -> tuple[Tensor, Tensor]:
        return torch.stack(pictures), trust


def warp(array: Tensor, flow: Tensor, cubic: bool = False) -> Tensor:
    """``array`` (C, H, W) or (H, W) sampled at ``x + flow(x)``; flow is (2, H, W) in pixels.

    Bilinear, or ``cubic`` with OpenCV's kernel (a = -0.75). Edges are replicated.
    """
    height, width = flow.shape[-2:]
    moved_by = torch.stack([flow[0] * (2 / width), flow[1] * (2 / height)], -1)
    grid = _grid(height, width, flow.device) + moved_by
    planes = array[None] if array.ndim == 3 else array[None, None]
    moved = F.grid_sample(
        planes,
        grid[None],
        mode="bicubic" if cubic else "bilinear",
        padding_mode="border",
        align_corners=False,
    )[0]
    return moved if array.ndim == 3 else moved[0]


@lru_cache(maxsize=16)
def _grid(height: int, width: int, device: torch.device) -> Tensor:
    """Where the pixels are, (H, W, 2), as grid_sample counts with align_corners=False."""
    y = (2 * torch.arange(height, device=device, dtype=torch.float32) + 1) / height - 1
    x = (2 * torch.arange(width, device=device, dtype=torch.float32) + 1) / width - 1
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)


def residual(centre: Tensor, other: Tensor, flow: Tensor) -> Tensor:
    """Mean |difference| (H, W) in code values over 7x7 pixels between a luma and its warped
    match.
    """
    apart = (warp(other, flow) - centre).abs()
    return _mean(apart[None], engine.RESIDUAL_SIDE, engine.RESIDUAL_SIDE)[0]


def spread(flow: Tensor, trusted: Tensor) -> Tensor:
    """Flow in which the Gaussian average of trusted flow replaces untrusted flow.

    ``trusted`` is 1 or 0, (H, W).
    """
    height, width = trusted.shape
    core = -F.max_pool2d(-trusted[None], 5, 1, 2)[0]
    quarter = max(height // 4, 1), max(width // 4, 1)
    # The average is smooth: at a quarter of the size it costs a sixteenth.
    small = F.interpolate(torch.cat([core[None], flow])[None], quarter, mode="area")[0]
    weight = (small[:1] + 1e-3).floor()  # 1 in blocks without a bad match
    weighted = torch.cat([weight, small[1:] * weight])
    summed = blurred(weighted, engine.FILL_SIGMA / 4, SIGMAS)
    mean = summed[1:] / summed[:1].clamp_min(1e-4)
    around = F.interpolate(mean[None], (height, width), mode="bilinear", align_corners=False)[0]
    return torch.where(core > 0, flow, around)


def softness(image: Tensor) -> Tensor:
    """How far a frame without noise lacks its finest detail, in [0, 1], of no dimension."""
    luma = luma_of(image)[None]
    once = blurred(luma, engine.DETAIL, SIGMAS)
    twice = blurred(once, 3**0.5 * engine.DETAIL, SIGMAS)  # together a sigma of 2 * DETAIL
    finest, coarser = (luma - once).norm(), (once - twice).norm()
    begins, wholly = engine.SOFT
    found = ((finest / coarser).log2() - begins) / (wholly - begins)
    known = torch.minimum(finest, coarser) > 0
    return torch.where(known, found, torch.zeros_like(found)).clamp(0, 1)


def blurred(planes: Tensor, sigma: float, reach: float) -> Tensor:
    """Planes (N, H, W) blurred by a Gaussian of ``sigma`` pixels, ``reach`` sigmas each side."""
    kernel = _kernel(sigma, reach, planes.device)
    half = kernel.numel() // 2
    wide = _continued(planes, half, half)[:, None]
    return F.conv2d(F.conv2d(wide, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))[:, 0]


@lru_cache(maxsize=32)
def _kernel(sigma: float, reach: float, device: torch.device) -> Tensor:
    half = round(sigma * reach * 2 + 1) // 2  # as OpenCV takes it
    at = torch.arange(-half, half + 1, dtype=torch.float64, device=device)
    weights = torch.exp(-(at**2) / (2 * sigma**2))
    return (weights / weights.sum()).float()


def _mean(planes: Tensor, rows: int, columns: int) -> Tensor:
    """Planes (N, H, W), each pixel the mean of the rectangle around it; sides are odd."""
    wide = _continued(planes, rows // 2, columns // 2)
    return F.avg_pool2d(wide[None], (rows, columns), 1)[0]


def _continued(planes: Tensor, rows: int, columns: int) -> Tensor:
    """Planes (N, H, W) reflected beyond their edges, about the outermost pixel."""
    height, width = planes.shape[-2:]
    mode = "reflect" if height > rows and width > columns else "replicate"
    return F.pad(planes[None], (columns, columns, rows, rows), mode=mode)[0]


def luma_of(picture: Tensor) -> Tensor:
    """Luma (H, W) of a picture (3, H, W), in [0, 1]."""
    red, green, blue = picture.unbind(0)
    r, g, b = (float(part) for part in LUMA_709)
    return r * red + g * green + b * blue


def pictures_of(frame: FrameState) -> OnDevice:
    """The pictures of a frame that was raised."""
    assert frame.on_device is not None  # `raised` put it there
    return frame.on_device
