"""How a frame is damaged, measured over the whole frame: what a place alone cannot tell.

Fine texture that moves looks like grain to a network that sees a part of the picture. How much two
frames differ where their match is believed tells the two apart, and holds for the frame. What a
codec took away shows at no place for sure; over a frame its grid of blocks and the lack of fine
detail beside coarser detail do. FFDNet (Zhang, Zuo and Zhang, TIP 2018) is told a level of noise;
here all of it is measured and goes into FiLM.
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
BLOCK = 8  # pixels
GRID = 8  # pixels: period of the blocks of MPEG-2, MPEG-4 and H.264's transform
DETAIL_BLOCK = 16  # pixels: squares in which detail of three scales is compared
EDGE = 4.0  # code values: a larger step between two pixels is an edge, and counts as one of these
FLAT = 0.15  # code values of fine detail below which a square has none
LEAST = 0.25  # code values below which detail is not told apart
BELIEVED = 0.5  # mean trust of a block from which on its match counts
EXPOSED = 16, 239  # code values between which noise is not clipped
NEAREST = tuple(k for k, offset in enumerate(OFFSETS) if abs(offset) == 1)


class Nearest(NamedTuple):
    """Centre frames and their two nearest neighbours, centre first, and what sets them apart."""

    luma: Tensor  # (B, 3, H, W) in [0, 1]
    apart: Tensor  # deviation of each neighbour's difference in each block, (B, 2, H/8, W/8)
    colour_apart: Tensor  # the same of red less blue
    believed: Tensor  # blocks whose match counts, (B, 2, H/8, W/8)

    @classmethod
    @torch.no_grad()
    def of(cls, window: Tensor, trust: Tensor) -> Self:
        """Of windows (B, 1 + neighbours, 3, H, W) with trust (B, neighbours, H, W)."""
        frames = [window[:, k].float() for k in (0, *(1 + k for k in NEAREST))]
        luma = torch.stack([_luma(frame) for frame in frames], 1)
        colour = torch.stack([frame[:, 0] - frame[:, 2] for frame in frames], 1)
        believed = F.avg_pool2d(trust[:, list(NEAREST)].float(), BLOCK) > BELIEVED
        return cls(luma, _between(luma), _between(colour), believed)


@torch.no_grad()
def severity(near: Nearest) -> Tensor:
    """What is measured of frames, (B, FEATURES): noise, then coding."""
    return torch.cat([noise(near), coding(255 * near.luma[:, :1])], 1)


@torch.no_grad()
def coding(luma: Tensor) -> Tensor:
    """What coding and enlarging left of frames (B, 1, H, W) in code values, (B, CODING_FEATURES).

    Over squares of 16 pixels, log2 of the deviation of Laplacians at full, half and quarter size:
    their ratios and levels in the half of the squares with most detail, and quantiles; the share
    of squares without diagonal detail; and the grid, across and down, at whatever phase it lies.
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
    rows = []
    for i in range(len(luma)):
        near, far, skew = (
            (fine - medium)[i][rich[i]],
            (medium - coarse)[i][rich[i]],
            (diagonal - fine)[i][rich[i]],
        )
        ratios = [near.mean(), skew.mean(), far.mean(), near.quantile(0.2), near.quantile(0.8)]
        levels = [
            fine[i][rich[i]].mean(), medium[i][rich[i]].mean(),
            fine[i].quantile(0.2), diagonal[i].quantile(0.2),
        ]  # fmt: skip
        bare = (diagonal[i] < math.log2(FLAT + LEAST)).float().mean()
        rows.append(torch.stack([*(2 * r for r in ratios), *(v / 2 for v in levels), 4 * bare]))
    grids = [_grid(luma), _grid(luma.transpose(-1, -2))]
    return torch.cat([torch.stack(rows), torch.log2(1 + 16 * torch.stack(grids, 1))], 1)


def _detail(planes: Tensor, block: int) -> Tensor:
    """log2 of LEAST more than the deviation in each block, (B, blocks)."""
    return torch.log2(_deviation(planes, block) + LEAST).flatten(1)


def _laplacian(planes: Tensor) -> Tensor:
    """Laplacian over the root of 20, which leaves the deviation of white noise as it is."""
    inner = 4 * planes[..., 1:-1, 1:-1] - (
        planes[..., :-2, 1:-1] + planes[..., 2:, 1:-1]
        + planes[..., 1:-1, :-2] + planes[..., 1:-1, 2:]
    )  # fmt: skip
    return F.pad(inner / 20**0.5, (1, 1, 1, 1))


def _grid(luma: Tensor) -> Tensor:
    """How much steps between columns stand out every GRID columns, over the mean step, (B,)."""
    step = luma.diff(dim=-1).abs().clamp_max(EDGE)
    above = step[..., 1:-1] - (step[..., :-2] + step[..., 2:]) / 2
    columns = above.mean((1, 2))
    whole = columns[:, : columns.shape[1] // GRID * GRID]
    phases = whole.reshape(len(luma), -1, GRID).mean(1)
    excess = phases - phases.median(1, keepdim=True).values
    return excess.amax(1) / (step.mean((1, 2, 3)) + 0.5)


@torch.no_grad()
def noise(near: Nearest) -> Tensor:
    """Noise levels (B, NOISE_FEATURES).

    Deviation between the centre and its nearest neighbours: luma, 20 and 50 % quantiles of the
    blocks, and colour, 20 %; deviation within the centre, 20 %; each log2(1 + code values) / 4.
    The last is the share of blocks whose match is believed; without any the first three are 0.
    """
    within = _deviation(_laplacian(near.luma[:, :1])[..., 1:-1, 1:-1]).flatten(1)
    rows = []
    for i, known in enumerate(near.believed):
        luma, colour = near.apart[i][known], near.colour_apart[i][known]
        values = [
            luma.quantile(0.2), luma.quantile(0.5), colour.quantile(0.2),
        ] if known.any() else [luma.new_zeros(())] * 3  # fmt: skip
        levels = torch.stack([*values, within[i].quantile(0.2)])
        rows.append(torch.cat([torch.log2(1 + 255 * levels) / 4, known.float().mean()[None]]))
    return torch.stack(rows)


@torch.no_grad()
def noise_level(near: Nearest) -> float | None:
    """Deviation of luma noise of one frame in code values: the 20 % quantile over blocks whose
    match is believed and that are neither black nor white; None without such a block.
    """
    level = F.avg_pool2d(near.luma[:, :1], BLOCK)
    told = (level > EXPOSED[0] / 255) & (level < EXPOSED[1] / 255) & near.believed
    apart = near.apart[told] / 2**0.5  # of two frames, with noise in both
    return float(255 * apart.quantile(0.2)) if told.any() else None


def _luma(frames: Tensor) -> Tensor:
    """Mean of the channels of frames (B, 3, H, W), added in one order on every machine."""
    red, green, blue = frames.unbind(1)
    return (red + green + blue) / 3


def _between(planes: Tensor) -> Tensor:
    """Deviation of each neighbour's difference from the centre, within each block."""
    return _deviation(planes[:, 1:] - planes[:, :1])


def _deviation(planes: Tensor, block: int = BLOCK) -> Tensor:
    """Standard deviation of planes (B, N, H, W) within each block."""
    mean, square = F.avg_pool2d(planes, block), F.avg_pool2d(planes.square(), block)
    return (square - mean.square()).clamp_min(0).sqrt()
