"""Which pixels count as a defect: the network's map, checked against the neighbouring frames."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.fidelity.damage_level import NEAREST_PART

DEFECT_PROBABILITY = 0.85, 0.985  # a pixel begins to count as a defect, and counts in full
SPIKE_LEAST = 8.0  # code values by which a spike must differ from the neighbouring frames
SPIKE_PER_NOISE = 2.0  # ... plus this much for each code value of noise
SPIKE_PER_DIFFERENCE = 1.5  # ... and for each code value between those frames
SPIKE_LOG_ODDS = 0.4  # log odds of a defect for each code value above that
DEFECT_SURROUNDINGS = 7  # pixels: side of the square around a defect that belongs to it
UNMATCHED_TRUST = 0.3  # trust below which a pixel has no match
UNMATCHED_SHARE = 0.10, 0.13  # share of such pixels: no fast motion, fast motion
DEFECT_TRUST = 0.15, 0.45  # trust around a defect: in fast motion it does not count, counts in full


def spike_log_odds(luma: Tensor, image: Tensor, noise: Tensor | float) -> Tensor:
    """Log odds >= 0 (H, W) of a defect, from the neighbouring frames, to add to the network's.

    ``luma`` (3, H, W) is the frame's and its nearest neighbours' (`models.fidelity.damage_level`),
    ``image`` (3, H, W) the restored frame, ``noise`` a standard deviation in code values.

    A pixel that is brighter, or darker, than both nearest neighbours is a spike (SDIp; Kokaram,
    Motion Picture Restoration, 1998). It counts as far as the network moves it back towards them.
    It counts less where the neighbours differ: their match is unsure there.
    """
    here, *around = 255 * luma
    high, low = torch.maximum(*around), torch.minimum(*around)
    moved = 255 * image.mean(0) - here
    above, below = torch.minimum(here - high, -moved), torch.minimum(low - here, moved)
    spike = torch.maximum(above, below) - SPIKE_PER_DIFFERENCE * (high - low)
    return SPIKE_LOG_ODDS * (spike - SPIKE_LEAST - SPIKE_PER_NOISE * noise).clamp_min(0)


def defect_weight(defect_logits: Tensor) -> Tensor:
    """How far each pixel counts as a defect, (H, W) in [0, 1].

    It depends on the highest probability around the pixel.
    """
    begins, wholly = DEFECT_PROBABILITY
    around = _highest(torch.sigmoid(defect_logits))
    return ((around - begins) / (wholly - begins)).clamp(0, 1)


def match_weight(trust: Tensor) -> Tensor:
    """How far a defect at each pixel is believed, (H, W) in [0, 1].

    ``trust`` (neighbours, H, W) is the confidence in each neighbour's match.
    A defect is what differs from the neighbouring frames, and in fast motion everything differs.
    If more than UNMATCHED_SHARE of a frame has no match, a defect counts only with a match around
    it.
    """
    nearest = trust[NEAREST_PART].amax(0)
    unmatched = (nearest < UNMATCHED_TRUST).float().mean()
    slow, fast = UNMATCHED_SHARE
    motion = ((unmatched - slow) / (fast - slow)).clamp(0, 1)
    around = _highest(nearest)
    matched = ((around - DEFECT_TRUST[0]) / (DEFECT_TRUST[1] - DEFECT_TRUST[0])).clamp(0, 1)
    return 1 - motion * (1 - matched)


def _highest(plane: Tensor) -> Tensor:
    """Highest value around each pixel of a plane (H, W).

    By dilation on the CPU, where max pooling takes a hundred times longer.
    """
    if plane.is_cuda:
        return pooled(plane)
    size = DEFECT_SURROUNDINGS, DEFECT_SURROUNDINGS
    return torch.from_numpy(cv2.dilate(plane.numpy(), np.ones(size, np.uint8)))


def pooled(plane: Tensor) -> Tensor:
    """Highest value around each pixel of a plane (H, W), on any device."""
    side, reach = DEFECT_SURROUNDINGS, DEFECT_SURROUNDINGS // 2
    rows = F.max_pool2d(plane[None], (side, 1), 1, (reach, 0))
    return F.max_pool2d(rows, (1, side), 1, (0, reach))[0]
