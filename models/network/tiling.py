"""The network over a frame in tiles with a margin: the same picture in less memory.

The network is a chain of convolutions without a statistic over the frame, so a pixel depends on its
surroundings only. With TILE_MARGIN pixels of them a tile differs from the whole frame by rounding:
in float32 below 1e-6 of the range for one step, and below 1e-3 for more
(tests/models/network/test_tiling.py). The flow between restored frames
(models/motion/temporal_filter.py) can turn this into a code value here and there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from models.fidelity.regions import mask_of
from models.frame_state import Box
from models.graphs import Function
from models.network.bridge import Noise
from models.network.cover import FrameTile, Part, covering, decoded, margin_of, tiles, within
from models.network.precision import half
from models.network.unet import MULTIPLE, NetworkOutput, RestorationNet

KAPPA = 0.2  # bridge noise with more than one step, in units of [0, 1] images
NOT_LOOKED = -20.0  # log odds of a defect where the network has not looked


class NetworkPlanes(NamedTuple):
    """The network's planes of one frame, in float32, on the window's device."""

    image: Tensor  # (3, H, W)
    alpha: Tensor  # share of the source, (H, W) in [0, 1]
    defect_logits: Tensor  # (H, W)
    error: Tensor  # predicted error (H, W) on the scale of `error_scale`

    @classmethod
    def of(cls, planes: Tensor) -> Self:
        """From planes (6, H, W)."""
        return cls(planes[:3], planes[3], planes[4], planes[5])


def restore_in_tiles(
    net: RestorationNet,
    window: Tensor,
    trust: Tensor,
    levels: Tensor,
    *,
    steps: int,
    seed: int,
    side: int = 0,
    places: Sequence[Box] | None = None,
    whole: Function | None = None,
) -> NetworkPlanes:
    """Planes of the centre frame of a window (1 + neighbours, 3, H, W), trust (neighbours, H, W).

    ``levels`` are the damage levels of the whole frame. The frame is computed in tiles of ``side``
    pixels, or at once with 0. Only one tile at a time is on the network's device. With ``places``,
    outside of them the picture is the source's, the log odds are NOT_LOOKED, and alpha and error
    are not numbers. ``whole`` is `whole_frames` of the network, or a graph of it, for a whole frame
    in one step. Raises torch.OutOfMemoryError if even one tile is too much.
    """
    device = next(net.parameters()).device
    levels = levels.to(device)
    height, width = window.shape[-2:]
    if whole is not None and (side, steps, places) == (0, 1, None):
        return restore_whole(whole, window[None], trust[None], levels)[0]
    size = height + -height % MULTIPLE, width + -width % MULTIPLE
    planes, mask, chosen = window.new_empty(6, *size), None, None
    if places is not None:
        mask = torch.from_numpy(mask_of(places, *size)).to(planes.device)
        chosen = covering(places, *size, side, margin_of(net.size, steps))
        planes[:3] = padded(window[:1])[0]
        planes[4] = NOT_LOOKED
        planes[[3, 5]] = math.nan
    kappa = KAPPA if steps > 1 else 0.0
    for tile in tiles(*size, side) if chosen is None else chosen:
        noise = Noise(seed, (size[0] // 4, size[1] // 4), _corner(tile))
        with half(device), torch.inference_mode():
            seen, believed = (_part(x, tile.computed)[None].to(device) for x in (window, trust))
            known = net.denoised(seen, believed, steps, kappa, noise, levels)
        for piece in decoded(places, tile):
            with half(device), torch.inference_mode():
                out = net.decode(known.part(*within(piece.computed, tile.computed)))
            found = _planes(out)[0]
            inside = found[(..., *piece.inside)].to(planes.device)
            kept = planes[(..., *piece.kept)]
            kept.copy_(inside if mask is None else torch.where(mask[piece.kept], inside, kept))
    return NetworkPlanes.of(planes[..., :height, :width])


def restore_whole(
    whole: Function, windows: Tensor, trust: Tensor, levels: Tensor
) -> list[NetworkPlanes]:
    """Planes of whole frames of windows (B, 1 + neighbours, 3, H, W), trust (B, neighbours, H, W).

    ``whole`` is `whole_frames` of the network or a graph of it, and ``levels`` (B, FEATURES) are on
    its device. The planes are on the windows' device.
    """
    height, width = windows.shape[-2:]
    wide = padded(windows.flatten(0, 1))
    wide = wide.view(*windows.shape[:2], *wide.shape[1:])
    found = whole(*(one.to(levels.device) for one in (wide, padded(trust))), levels)
    return [NetworkPlanes.of(one) for one in found[..., :height, :width].to(windows.device)]


def whole_frames(net: RestorationNet, windows: Tensor, trust: Tensor, levels: Tensor) -> Tensor:
    """The planes (B, 6, H, W) of padded frames, in one step."""
    with half(windows.device):
        found = net.restore(windows, trust, 1, 0.0, 0, levels)
    return _planes(found)


def _planes(found: NetworkOutput) -> Tensor:
    parts = found.image, found.alpha, found.defect_logits, found.error
    return torch.cat(parts, 1).float()


def _corner(tile: FrameTile) -> tuple[int, int]:
    """Where the tile's latent begins in the frame's latent."""
    y, x = tile.computed
    return y.start // 4, x.start // 4


def _part(x: Tensor, part: Part) -> Tensor:
    """A part of the padded planes (N, ..., H, W), without padding the rest."""
    rows, columns = part
    own = x[..., rows, columns]
    right, below = (
        columns.stop - columns.start - own.shape[-1],
        rows.stop - rows.start - own.shape[-2],
    )
    return F.pad(own, (0, right, 0, below), mode="replicate") if right or below else own


def padded(x: Tensor) -> Tensor:
    """(N, ..., H, W) with its last row and column repeated up to a multiple of MULTIPLE."""
    height, width = x.shape[-2:]
    pad = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
    return F.pad(x, pad, mode="replicate") if any(pad) else x
