"""Do no harm: without noise in the transfer, the network may change defects only.

The network sometimes takes moving fine texture for grain. Grain can be measured, so the change
outside the found defects is bounded by the frame's own noise. In a frame that the network predicts
to be badly coded, the bound is the predicted error: limited where noise is left, without limit
where coding removed it all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from models.frame_state import FrameState
from models.transfer import sent

NOISE_OF_FULL_BOUND = 2.0  # code values of noise up to which the bound is the noise itself
NOISE_WITHOUT_BOUND = 3.0  # code values of noise from which there is no bound; it widens in between
LEAST_BOUND = 0.5  # code values that may always be changed: half a step of 8 bits
MOST_ERROR_BOUND = 1.5  # code values that a predicted error allows at most: it can be wrong
# Predicted error in code values up to which MOST_ERROR_BOUND holds: the network predicts as much
# for clean clips that were coded before.
CLEAN_CLIP_ERROR = 5.0
CHANGE_PER_ERROR = 2.0  # code values allowed for each code value of error above CLEAN_CLIP_ERROR
# Noise in code values. Up to the first, hard coding has removed the noise and CLEAN_CLIP_ERROR
# counts as 0. From the second it counts in full.
NOISE_LEFT_BY_CODING = 0.4, 0.7
# The outermost two lines of each side, of pictures (3, H, W): the network sees one side of them
# only, and many transfers have a dark line there, which it would sharpen.
EDGES = np.s_[:, :2], np.s_[:, -2:], np.s_[:, :, :2], np.s_[:, :, -2:]


def bound_changes(frames: Iterable[FrameState]) -> Iterator[FrameState]:
    """The frames with the change from ``source`` to ``image`` bounded, in order, where the pictures
    of each are.
    """
    for frame in frames:
        if frame.on_device is not None:
            held = _held(frame, frame.on_device.image, frame.on_device.source)
            yield replace(frame, on_device=frame.on_device._replace(image=held))
            continue
        pictures = (torch.from_numpy(one).permute(2, 0, 1) for one in (frame.image, frame.source))
        held = _held(frame, *pictures).permute(1, 2, 0)
        yield replace(frame, image=np.ascontiguousarray(held.numpy()))


def _held(frame: FrameState, image: Tensor, source: Tensor) -> Tensor:
    """The picture (3, H, W) of a frame with its change bounded."""
    assert frame.defects is not None  # the network stage found them
    defects = sent(frame.defects, image.device)
    return bound_change(image, source, defects, frame.noise, frame.predicted_error)


def bound_change(
    image: Tensor, source: Tensor, defects: Tensor, noise: float | None, predicted_error: float
) -> Tensor:
    """The restored image (3, H, W) with its change from ``source`` bounded outside ``defects``.

    ``defects`` is (H, W) in [0, 1]. The bound is the larger of ``noise`` (standard deviation in
    code values, `models.fidelity.damage_level`) and what the predicted error (mean, code values)
    allows; at EDGES that is MOST_ERROR_BOUND at most. Above NOISE_WITHOUT_BOUND there is no bound.
    Unknown noise counts as the predicted error.

    The predicted error allows up to MOST_ERROR_BOUND, plus CHANGE_PER_ERROR times its excess over
    CLEAN_CLIP_ERROR. That threshold falls to 0 where the noise falls through NOISE_LEFT_BY_CODING.

    The bound is smooth, ``b tanh(d / b)``: small changes pass, and it makes no edge.
    """
    noise = predicted_error if noise is None else noise
    room = 1 - noise_weight(noise)
    if room == 0:
        return image
    threshold = CLEAN_CLIP_ERROR * _rise(noise, *NOISE_LEFT_BY_CODING)
    excess = max(predicted_error - threshold, 0.0)
    at_edges = max(noise, LEAST_BOUND, min(predicted_error, MOST_ERROR_BOUND)) / room / 255
    allowed = min(predicted_error, MOST_ERROR_BOUND) + CHANGE_PER_ERROR * excess
    inside = max(noise, LEAST_BOUND, allowed) / room / 255
    change = image - source
    held = inside * torch.tanh(change / inside)
    if at_edges < inside:
        for part in EDGES:
            held[part] = at_edges * torch.tanh(change[part] / at_edges)
    return source + held + defects * (change - held)


def noise_weight(noise: float | None) -> float:
    """How far a frame is noisy: 0 up to NOISE_OF_FULL_BOUND code values or if its noise is unknown,
    1 from NOISE_WITHOUT_BOUND.
    """
    return 0.0 if noise is None else _rise(noise, NOISE_OF_FULL_BOUND, NOISE_WITHOUT_BOUND)


def filter_share(noise: float | None, predicted_error: float) -> float:
    """How far a whole frame may be filtered over time, in [0, 1].

    The larger of its noise weight and its predicted error as a share of MOST_ERROR_BOUND.
    """
    return max(noise_weight(noise), min(predicted_error / MOST_ERROR_BOUND, 1.0))


def _rise(value: float, low: float, high: float) -> float:
    """From 0 at ``low`` to 1 at ``high``."""
    return min(max((value - low) / (high - low), 0.0), 1.0)
