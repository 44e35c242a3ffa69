"""How strong a frame's noise is, measured over the whole frame: what a place alone cannot tell.

Fine texture that moves looks like grain to a network that sees a part of the picture. How much two
frames differ where their match is believed tells the two apart, and holds for the frame. FFDNet
(Zhang, Zuo and Zhang, TIP 2018) is told such a level; here it is measured and goes into FiLM.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from models.alignment import OFFSETS

FEATURES = 5
BLOCK = 8  # pixels
BELIEVED = 0.5  # mean trust of a block from which on its match counts
EXPOSED = 16, 239  # code values between which noise is not clipped
NEAREST = tuple(k for k, offset in enumerate(OFFSETS) if abs(offset) == 1)


@torch.no_grad()
def severity(window: Tensor, trust: Tensor) -> Tensor:
    """Noise levels (B, FEATURES) of windows (B, 1 + neighbours, 3, H, W), centre first, with trust
    (B, neighbours, H, W).

    Deviation between the centre and its nearest neighbours: luma, 20 and 50 % quantiles of the
    blocks, and colour, 20 %; deviation within the centre, 20 %; each log2(1 + code values) / 4.
    The last is the share of blocks whose match is believed; without any the first three are 0.
    """
    frames = _nearest(window)
    luma, colour = _luma(frames), frames[:, :, 0] - frames[:, :, 2]
    between = [_between(plane).flatten(1) for plane in (luma, colour)]
    believed = _believed(trust).flatten(1)
    centre = luma[:, :1]
    fine = 4 * centre[..., 1:-1, 1:-1] - (
        centre[..., :-2, 1:-1] + centre[..., 2:, 1:-1]
        + centre[..., 1:-1, :-2] + centre[..., 1:-1, 2:]
    )  # fmt: skip
    within = _deviation(fine / 20**0.5).flatten(1)  # a Laplacian: 20 times the variance of noise
    rows = []
    for i in range(len(window)):
        known = believed[i]
        values = [
            between[0][i][known].quantile(0.2), between[0][i][known].quantile(0.5),
            between[1][i][known].quantile(0.2),
        ] if known.any() else [window.new_zeros(())] * 3  # fmt: skip
        levels = torch.stack([*values, within[i].quantile(0.2)])
        rows.append(torch.cat([torch.log2(1 + 255 * levels) / 4, known.float().mean()[None]]))
    return torch.stack(rows)


@torch.no_grad()
def noise_level(window: Tensor, trust: Tensor) -> float | None:
    """Deviation of luma noise in code values, of a window (1 + neighbours, 3, H, W) with trust
    (neighbours, H, W): the 20 % quantile over blocks whose match is believed and that are neither
    black nor white; None without such a block.
    """
    luma = _luma(_nearest(window[None]))
    between = _between(luma) / 2**0.5  # of two frames, with noise in both
    level = F.avg_pool2d(luma[:, :1], BLOCK)
    told = (level > EXPOSED[0] / 255) & (level < EXPOSED[1] / 255) & _believed(trust[None])
    return float(255 * between[told].quantile(0.2)) if told.any() else None


def _nearest(window: Tensor) -> Tensor:
    """The centre frames and their nearest neighbours."""
    return window[:, [0, *(1 + k for k in NEAREST)]].float()


def _luma(frames: Tensor) -> Tensor:
    """Mean of the channels, added in one order on every machine."""
    red, green, blue = frames.unbind(2)
    return (red + green + blue) / 3


def _between(planes: Tensor) -> Tensor:
    """Deviation of each neighbour's difference from the centre, within each block."""
    return _deviation(planes[:, 1:] - planes[:, :1])


def _believed(trust: Tensor) -> Tensor:
    """Blocks of the nearest neighbours whose match counts."""
    return F.avg_pool2d(trust[:, list(NEAREST)].float(), BLOCK) > BELIEVED


def _deviation(planes: Tensor) -> Tensor:
    """Standard deviation of planes (B, N, H, W) within each block."""
    mean, square = F.avg_pool2d(planes, BLOCK), F.avg_pool2d(planes.square(), BLOCK)
    return (square - mean.square()).clamp_min(0).sqrt()
