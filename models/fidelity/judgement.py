"""What is judged of a restored frame: its noise, its defects and the predicted error."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from models.fidelity.damage_level import Nearest, noise_level
from models.fidelity.defect_map import defect_weight, match_weight, spike_log_odds
from models.fidelity.predicted_error import predicted_error


class Judgement(NamedTuple):
    """Noise, defects and predicted error of one frame."""

    defect_logits: Tensor  # (H, W), the network's and those of the neighbouring frames together
    defects: Tensor  # how far each pixel counts as a defect, (H, W) in [0, 1]
    noise: Tensor  # standard deviation in code values; not a number: no block has a match
    predicted_error: Tensor  # mean error of the source, code values; neither has a dimension


def judge(
    image: Tensor, defect_logits: Tensor, error: Tensor, trust: Tensor, near: Nearest
) -> Judgement:
    """Judge one restored ``image`` (3, H, W) by the network's planes (H, W) and its neighbours.

    ``trust`` is (neighbours, H, W); ``near`` holds the frame before the network.
    """
    noise, predicted = noise_level(near), predicted_error(error)
    spikes = spike_log_odds(near.luma[0], image, torch.where(noise.isnan(), predicted, noise))
    logits = defect_logits + spikes
    defects = defect_weight(logits) * match_weight(trust)
    return Judgement(logits, defects, noise, predicted)
