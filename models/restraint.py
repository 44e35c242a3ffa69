"""Do no harm: where a transfer has no noise, the network may not change what is no defect.

Fine texture that moves is taken for grain now and then. Grain can be measured, so the change
outside the defects that were found is held to what the frame's own noise amounts to.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

QUIET = 2.0  # code values: noise up to which every change outside defects is held to the noise
LOUD = 3.0  # from which nothing is held; between the two the bound opens
LEAST = 0.5  # code values that may always be changed: half a step of 8 bits
AROUND = 7  # pixels: a defect's surroundings belong to it


def restrained(image: Tensor, source: Tensor, defect_logits: Tensor, noise: float | None) -> Tensor:
    """The restored image (3, H, W) with its change of the source bounded by ``noise`` (deviation
    in code values, models/severity.py) outside the defects (H, W); as it is where the noise is
    above LOUD or not known.

    The bound is smooth, ``b tanh(d / b)``: small changes pass, and no edge appears where it begins.
    """
    if noise is None or noise >= LOUD:
        return image
    room = min((LOUD - noise) / (LOUD - QUIET), 1.0)
    bound = max(noise, LEAST) / room / 255
    change = image - source
    held = bound * torch.tanh(change / bound)
    return source + held + found(defect_logits) * (change - held)


def found(defect_logits: Tensor) -> Tensor:
    """How far each pixel counts as a defect, (H, W) in [0, 1]: twice the highest probability
    around it.
    """
    probability = torch.sigmoid(defect_logits)[None]
    around = F.max_pool2d(probability, AROUND, stride=1, padding=AROUND // 2)[0]
    return (2 * around).clamp_max(1)
