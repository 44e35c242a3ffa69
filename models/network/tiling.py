"""The network over a frame in tiles with a margin: the same picture in less memory.

The network is a chain of convolutions without a statistic over the frame, so a pixel depends on its
surroundings only: with MARGIN pixels of them a tile differs from the whole frame by rounding, in
float32 below 1e-6 of the range for one step, and below 1e-3 for more
(tests/models/network/test_tiling.py). What is found on restored frames
(models/motion/temporal_filter.py) can make a code value of it here and there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from models.fidelity.change_bound import checked, defects_in, standing_out
from models.fidelity.damage_level import Nearest, noise_level
from models.network.bridge import Noise
from models.network.precision import half
from models.network.unet import MULTIPLE, RestorationNet, told_error

MARGIN = 128  # pixels around a tile that are computed and thrown away; a multiple of MULTIPLE
KAPPA = 0.2  # bridge noise of more than one step, pixel units of [0, 1]


class Pictures(NamedTuple):
    """A frame as the network restores it, on the CPU in float32, and what its restraint asks for:
    image (3, H, W), alpha, defect logits and how far each pixel counts as a defect (H, W); noise,
    and the error told, in code values.
    """

    image: Tensor
    alpha: Tensor
    defect_logits: Tensor
    defects: Tensor
    noise: float | None
    error: float


@dataclass(frozen=True)
class Tile:
    """A part of a padded frame: what is kept, and what is computed for it, as slices."""

    kept: tuple[slice, slice]
    computed: tuple[slice, slice]

    @property
    def inside(self) -> tuple[slice, slice]:
        """What is kept, within what is computed."""
        return tuple(  # type: ignore[return-value]
            slice(k.start - c.start, k.stop - c.start)
            for k, c in zip(self.kept, self.computed, strict=True)
        )


def tiles(height: int, width: int, side: int) -> Iterator[Tile]:
    """Tiles of ``side`` pixels, a multiple of MULTIPLE, that cover a padded frame; 0 is one tile
    of all.
    """
    for y in _parts(height, side or height):
        for x in _parts(width, side or width):
            yield Tile((y, x), (_around(y, height), _around(x, width)))


def _parts(length: int, side: int) -> list[slice]:
    return [slice(start, min(start + side, length)) for start in range(0, length, side)]


def _around(part: slice, length: int) -> slice:
    return slice(max(part.start - MARGIN, 0), min(part.stop + MARGIN, length))


def restored(
    net: RestorationNet, window: Tensor, trust: Tensor, *, steps: int, seed: int, side: int = 0
) -> Pictures:
    """Restored centre frame of an aligned window (1 + neighbours, 3, H, W) with trust
    (neighbours, H, W).

    In tiles of ``side`` pixels, or at once; on the network's device, of which only one tile is
    asked. Raises torch.OutOfMemoryError where even that is too much.
    """
    device = next(net.parameters()).device
    height, width = window.shape[-2:]
    near = Nearest.of(window[None], trust[None])
    noise_here, levels = noise_level(near), net.levels(near).to(device)
    believed = checked(trust)
    window, trust = padded(window)[None], padded(trust)[None]
    size = window.shape[-2:]
    found = torch.empty(6, *size)
    kappa = KAPPA if steps > 1 else 0.0
    for tile in tiles(size[0], size[1], side):
        part = (..., *tile.computed)
        noise = Noise(seed, (size[0] // 4, size[1] // 4), _corner(tile))
        with half(device):
            here = window[part].to(device), trust[part].to(device)
            out = net.restore(*here, steps, kappa, noise, levels)
        planes = torch.cat([out.image, out.alpha, out.defect_logits, out.error], 1)[0].float()
        found[(..., *tile.kept)] = planes[(..., *tile.inside)].cpu()
    found = found[..., :height, :width]
    error = told_error(found[5])
    found[4] += standing_out(near.luma[0], found[:3], error if noise_here is None else noise_here)
    defects = defects_in(found[4]) * believed
    return Pictures(found[:3], found[3], found[4], defects, noise_here, error)


def _corner(tile: Tile) -> tuple[int, int]:
    """Where the tile's latent begins in the frame's."""
    y, x = tile.computed
    return y.start // 4, x.start // 4


def padded(x: Tensor) -> Tensor:
    """(N, ..., H, W) with its last row and column repeated up to a multiple of MULTIPLE."""
    height, width = x.shape[-2:]
    pad = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
    return F.pad(x, pad, mode="replicate") if any(pad) else x
