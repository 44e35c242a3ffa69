"""Damage levels: how far a frame is damaged, measured over the whole frame.

A part of the picture is not enough. Moving fine texture looks like grain there; the difference
between two frames at believed matches, over the whole frame, separates the two. Loss by a codec is
not certain at any one place either; over a frame, its grid of blocks shows, and the lack of fine
detail beside coarser detail. FFDNet (Zhang, Zuo and Zhang, TIP 2018) has a level of noise as input;
here all levels are measured, and are the network's input through FiLM.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from models.motion.alignment import OFFSETS

NOISE_FEATURES, CODING_FEATURES = 5, 12
FEATURES = NOISE_FEATURES + CODING_FEATURES
NOISE_BLOCK = 8  # pixels: side of the blocks in which noise is measured
GRID = 8  # pixels: period of the blocks of MPEG-2, MPEG-4 and H.264's transform
DETAIL_BLOCK = 16  # pixels: side of the squares in which detail of three scales is compared
EDGE = 4.0  # code values: larger steps between two pixels count as this large
FLAT = 0.15  # code values of fine detail below which a square has none
LEAST_DETAIL = 0.25  # code values added to detail, so that its logarithm has a floor
BELIEVED = 0.5  # mean trust of a block above which its match counts
EXPOSED = 16, 239  # code values between which noise is not clipped
NEAREST = tuple(k for k, offset in enumerate(OFFSETS) if abs(offset) == 1)
NEAREST_PART = slice(NEAREST[0], NEAREST[-1] + 1)  # they adjoin: a list would wait for the device


class Nearest(NamedTuple):
    """Centre frames and their two nearest neighbours, centre first, with their differences."""

    luma: Tensor  # (B, 3, H, W) in [0, 1]
    apart: Tensor  # standard deviation of each neighbour's difference per block, (B, 2, H/8, W/8)
    colour_apart: Tensor  # the same for red minus blue
    believed: Tensor  # blocks whose match counts, (B, 2, H/8, W/8)

    @classmethod
    @torch.no_grad()
    def of(cls, window: Tensor, trust: Tensor) -> Self:
        """From windows (B, 1 + neighbours, 3, H, W) with trust (B, neighbours, H, W)."""
        frames = [window[:, k].float() for k in (0, *(1 + k for k in NEAREST))]
        luma = torch.stack([_luma(frame) for frame in frames], 1)
        colour = torch.stack([frame[:, 0] - frame[:, 2] for frame in frames], 1)
        believed = F.avg_pool2d(trust[:, NEAREST_PART].float(), NOISE_BLOCK) > BELIEVED
        return cls(luma, _between(luma), _between(colour), believed)

    def one(self, k: int) -> Self:
        """Frame number ``k`` alone."""
        return type(self)(*(part[k : k + 1] for part in self))


@torch.no_grad()
def damage_level(near: Nearest) -> Tensor:
    """Damage levels of frames, (B, FEATURES): noise, then coding."""
    return torch.cat([noise_features(near), coding_features(255 * near.luma[:, :1])], 1)


@torch.no_grad()
def coding_features(luma: Tensor) -> Tensor:
    """Marks of coding and enlarging in frames (B, 1, H, W) in code values, (B, CODING_FEATURES).

    Detail is log2 of the standard deviation, in squares of 16 pixels, of Laplacians at full, half
    and quarter size. The features: ratios and levels of detail in the half of the squares with most
    detail, and quantiles; the share of squares without diagonal detail; the strength of the grid of
    blocks, across and down, at any phase.
    """
    height, width = luma.shape[-2:]
    short = max(DETAIL_BLOCK - height, 0), max(DETAIL_BLOCK - width, 0)
    luma = F.pad(luma, (0, short[1], 0, short[0]), mode="replicate")
    height, width = (side // DETAIL_BLOCK * DETAIL_BLOCK for side in luma.shape[-2:])
    whole = luma[..., :height, :width]
    fine, medium, coarse = (
        _detail(_laplacian(plane), DETAIL_BLOCK // scale)
        for scale, plane in ((1, whole), (2, F.avg_pool2d(whole, 2)), (4, F.avg_pool2d(whole, 4)))
    )
    cross = whole[..., :-1, :-1] - whole[..., 1:, :-1] - whole[..., :-1, 1:] + whole[..., 1:, 1:]
    diagonal = _detail(F.pad(cross / 2, (0, 1, 0, 1)), DETAIL_BLOCK)
    rich = medium >= medium.median(1, keepdim=True).values
    near, far, skew = fine - medium, medium - coarse, diagonal - fine
    ratios = [_mean_of(part, rich) for part in (near, skew, far)]
    ratios += [_quantile_of(near, rich, share) for share in (0.2, 0.8)]
    everywhere = torch.ones_like(rich)
    levels = [_mean_of(part, rich) for part in (fine, medium)]
    levels += [_quantile_of(part, everywhere, 0.2) for part in (fine, diagonal)]
    flat = (diagonal < math.log2(FLAT + LEAST_DETAIL)).float().mean(1)
    rows = torch.stack([*(2 * r for r in ratios), *(v / 2 for v in levels), 4 * flat], 1)
    grids = [_grid(luma), _grid(luma.transpose(-1, -2))]
    return torch.cat([rows, torch.log2(1 + 16 * torch.stack(grids, 1))], 1)


def _mean_of(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen values of each row (B, N), at least one, (B,)."""
    return torch.where(chosen, values, 0).sum(1) / chosen.sum(1)


def _quantile_of(values: Tensor, chosen: Tensor, share: float) -> Tensor:
    """Quantile of the chosen values of each row (B, N), (B,), as Tensor.quantile finds it; 0
    without any.

    Neither it nor `_mean_of` waits for the device, as an index by ``chosen`` would.
    """
    ordered = torch.where(chosen, values, math.inf).sort(1).values
    count = chosen.sum(1, keepdim=True)
    rank = (count - 1).clamp_min(0) * torch.full_like(ordered[:, :1], share)
    below, above = ordered.gather(1, rank.long()), ordered.gather(1, rank.ceil().long())
    found = torch.lerp(below, above, rank - rank.floor())
    return torch.where(count > 0, found, 0)[:, 0]


def _detail(planes: Tensor, block: int) -> Tensor:
    """log2 of the standard deviation in each block plus LEAST_DETAIL, (B, blocks)."""
    return torch.log2(_deviation(planes, block) + LEAST_DETAIL).flatten(1)


def _laplacian(planes: Tensor) -> Tensor:
    """Laplacian over the root of 20: the standard deviation of white noise stays the same."""
    above, below = planes[..., :-2, 1:-1], planes[..., 2:, 1:-1]
    left, right = planes[..., 1:-1, :-2], planes[..., 1:-1, 2:]
    inner = 4 * planes[..., 1:-1, 1:-1] - (above + below + left + right)
    return F.pad(inner / 20**0.5, (1, 1, 1, 1))


def _grid(luma: Tensor) -> Tensor:
    """Excess of the steps between columns at every GRID-th column, over the mean step, (B,)."""
    step = luma.diff(dim=-1).abs().clamp_max(EDGE)
    above = step[..., 1:-1] - (step[..., :-2] + step[..., 2:]) / 2
    columns = above.mean((1, 2))
    whole = columns[:, : columns.shape[1] // GRID * GRID]
    phases = whole.reshape(len(luma), -1, GRID).mean(1)
    excess = phases - phases.median(1, keepdim=True).values
    return excess.amax(1) / (step.mean((1, 2, 3)) + 0.5)


@torch.no_grad()
def noise_features(near: Nearest) -> Tensor:
    """Noise levels (B, NOISE_FEATURES).

    Standard deviation between the centre and its nearest neighbours: luma, 20 and 50 % quantiles
    over the blocks, and colour, 20 %. Then standard deviation within the centre, 20 %. Each is
    log2(1 + code values) / 4. The last feature is the share of blocks whose match is believed;
    without any such block the first three are 0.
    """
    within = _deviation(_laplacian(near.luma[:, :1])[..., 1:-1, 1:-1]).flatten(1)
    known = near.believed.flatten(1)
    luma, colour = near.apart.flatten(1), near.colour_apart.flatten(1)
    levels = [_quantile_of(luma, known, share) for share in (0.2, 0.5)]
    levels += [
        _quantile_of(colour, known, 0.2),
        _quantile_of(within, torch.ones_like(within, dtype=torch.bool), 0.2),
    ]
    measured = torch.log2(1 + 255 * torch.stack(levels, 1)) / 4
    return torch.cat([measured, known.float().mean(1, keepdim=True)], 1)


@torch.no_grad()
def noise_level(near: Nearest) -> Tensor:
    """Standard deviation of luma noise of one frame in code values, of no dimension.

    The 20 % quantile over blocks with a believed match that are neither black nor white. Not a
    number without such a block.
    """
    level = F.avg_pool2d(near.luma[:, :1], NOISE_BLOCK)
    usable = (level > EXPOSED[0] / 255) & (level < EXPOSED[1] / 255) & near.believed
    apart = near.apart / 2**0.5  # a difference has the noise of two frames
    level = 255 * _quantile_of(apart.flatten(1), usable.flatten(1), 0.2)
    return torch.where(usable.any(), level[0], math.nan).double()


def _luma(frames: Tensor) -> Tensor:
    """Mean of the channels of frames (B, 3, H, W), added in the same order on every machine."""
    red, green, blue = frames.unbind(1)
    return (red + green + blue) / 3


def _between(planes: Tensor) -> Tensor:
    """Standard deviation of each neighbour's difference from the centre, within each block."""
    return _deviation(planes[:, 1:] - planes[:, :1])


def _deviation(planes: Tensor, block: int = NOISE_BLOCK) -> Tensor:
    """Standard deviation of planes (B, N, H, W) within each block."""
    mean, square = F.avg_pool2d(planes, block), F.avg_pool2d(planes.square(), block)
    return (square - mean.square()).clamp_min(0).sqrt()
