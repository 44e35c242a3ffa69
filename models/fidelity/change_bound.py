"""Do no harm: where a transfer has no noise, the network may not change what is no defect.

Fine texture that moves is taken for grain now and then. Grain can be measured, so the change
outside the defects that were found is held to what the frame's own noise amounts to; or, in a
frame that the network takes for badly coded, to the error that it tells: within limits where noise
is left, freely where coding took it all.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from models.fidelity.damage_level import NEAREST

QUIET = 2.0  # code values: noise up to which every change outside defects is held to the noise
LOUD = 3.0  # from which nothing is held; between the two the bound opens
LEAST = 0.5  # code values that may always be changed: half a step of 8 bits
CODED = 1.5  # code values that may be changed at most for a told error: it can be wrong
BAD = 5.0  # told error up to which that holds: clean clips that were coded before are told as much
BARE = 0.4, 0.7  # noise: up to the first, hard coding left none, and no told error is held to CODED
OPENS = 2.0  # code values of change that each one of error beyond allows
SURE = 0.85, 0.985  # probability of a defect from which on it counts a little, and wholly
STANDS_OUT = 8.0, 2.0  # code values, and times the noise, that a pixel may differ from the frames
APART = 1.5  # ... and times what those frames differ by
ODDS = 0.4  # log odds of a defect for each code value beyond
AROUND = 7  # pixels: a defect's surroundings belong to it
UNMATCHED = 0.3  # trust below which a pixel has no match
FAST = 0.10, 0.13  # share of such pixels: up to the first every defect counts in the frame
CHECKED = 0.15, 0.45  # trust at a defect: from the second on it counts in every frame


def restrained(
    image: Tensor, source: Tensor, defects: Tensor, noise: float | None, error: float
) -> Tensor:
    """The restored image (3, H, W) with its change of the source bounded outside the ``defects``
    ((H, W) in [0, 1]) by ``noise`` (deviation in code values, see
    models/fidelity/damage_level.py) or ``error`` (the mean error of the
    source that the network tells, code values; up to CODED of it, and
    OPENS times what is beyond BAD, which falls to 0 where the noise falls through BARE), whichever
    is more; as it is where the noise is above LOUD. Noise that is not known is taken for the error
    told.

    The bound is smooth, ``b tanh(d / b)``: small changes pass, and no edge appears where it begins.
    """
    noise = error if noise is None else noise
    room = 1 - loudness(noise)
    if room == 0:
        return image
    told = min(error, CODED) + OPENS * max(error - BAD * _rise(noise, *BARE), 0.0)
    bound = max(noise, LEAST, told) / room / 255
    change = image - source
    held = bound * torch.tanh(change / bound)
    return source + held + defects * (change - held)


def loudness(noise: float | None) -> float:
    """From 0, where a frame's noise (deviation in code values) is QUIET or not known, to 1, where
    it is LOUD.
    """
    return 0.0 if noise is None else _rise(noise, QUIET, LOUD)


def impaired(noise: float | None, error: float) -> float:
    """How far a whole frame may be filtered, in [0, 1]: as far as it has noise or is told an error
    of up to CODED code values.
    """
    return max(loudness(noise), min(error / CODED, 1.0))


def standing_out(luma: Tensor, image: Tensor, noise: float) -> Tensor:
    """What the frames around say of a defect, (H, W) log odds >= 0 to add to the network's own, of
    a frame with ``noise`` (deviation in code values) that was restored to ``image`` (3, H, W);
    ``luma`` (3, H, W) is the frame's and its nearest neighbours' (models/fidelity/damage_level.py).

    A pixel that is brighter, or darker, than both nearest neighbours is a spike (SDIp; Kokaram,
    Motion Picture Restoration, 1998). It counts as far as the network moves it back towards them;
    less where those differ, as no match is sure there.
    """
    here, *around = 255 * luma
    high, low = torch.maximum(*around), torch.minimum(*around)
    moved = 255 * image.mean(0) - here
    above, below = torch.minimum(here - high, -moved), torch.minimum(low - here, moved)
    spike = torch.maximum(above, below) - APART * (high - low)
    return ODDS * (spike - STANDS_OUT[0] - STANDS_OUT[1] * noise).clamp_min(0)


def defects_in(defect_logits: Tensor) -> Tensor:
    """How far each pixel counts as a defect, (H, W) in [0, 1], by the highest probability
    around it.
    """
    little, wholly = SURE
    around = _highest(torch.sigmoid(defect_logits))
    return ((around - little) / (wholly - little)).clamp(0, 1)


def checked(trust: Tensor) -> Tensor:
    """How far a defect found at each pixel may be believed, (H, W) in [0, 1]; ``trust`` is that of
    the neighbours, (neighbours, H, W).

    A defect is what differs from the frames around, and in fast motion everything does: in a
    frame of which more than FAST has no match, only what has one around it counts.
    """
    nearest = trust[list(NEAREST)].amax(0)
    lost = (nearest < UNMATCHED).float().mean()
    fast = ((lost - FAST[0]) / (FAST[1] - FAST[0])).clamp(0, 1)
    around = _highest(nearest)
    matched = ((around - CHECKED[0]) / (CHECKED[1] - CHECKED[0])).clamp(0, 1)
    return 1 - fast * (1 - matched)


def _rise(value: float, low: float, high: float) -> float:
    """From 0 at ``low`` to 1 at ``high``."""
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _highest(plane: Tensor) -> Tensor:
    """The highest value around each pixel of a plane (H, W); pooling takes a hundred times as
    long.
    """
    return torch.from_numpy(cv2.dilate(plane.numpy(), np.ones((AROUND, AROUND), np.uint8)))
