"""What comes after the network is the same on the CPU by OpenCV and on a device by tensors."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.fidelity.change_bound import bound_changes
from models.fidelity.compared import DISPLACED, Compared, blurred, luma_of, strip_exposure
from models.fidelity.evidence import apply_decisions
from models.fidelity.grain import find_grain, keep_grain
from models.fidelity.on_device import Beside, landed_planes, to_land
from models.frame_state import FrameState, Image, OnDevice
from models.motion.tensors import Tensors

TENSORS = Tensors(torch.device("cpu"))
SIZES = ((96, 128), (78, 91), (9, 7))


def picture(rng: np.random.Generator, height: int, width: int) -> Image:
    noise = rng.random((height, width, 3)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 2) + 0.05 * noise


def planes(image: Image) -> torch.Tensor:
    return TENSORS.picture(np.ascontiguousarray(image))


@pytest.mark.parametrize("size", SIZES)
def test_frames_are_compared_alike(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    source, image = picture(rng, *size), picture(rng, *size)
    source[2:6, 3:6] += 0.5
    raw = (255 * rng.normal(0, 0.05, (2, *size)) + [[[20.0]], [[4.0]]]).astype(np.float32)
    raw[:, 2:6, 3:6] += 90
    one = Compared(luma_of(source), raw)
    beside = Beside.of(planes(source), planes(image), torch.from_numpy(raw))
    other = landed_planes(*to_land(beside))
    pairs = [
        (one.differences, other.differences),
        (one.stand_out, other.stand_out),
        (one.lighter, beside.lighter.numpy()),
        (one.apart, other.apart),
        (blurred(luma_of(source) - luma_of(image)), other.removed),
        (strip_exposure(source, image), other.change),
    ]
    for ours, theirs in pairs:
        assert ours is not None and np.abs(ours).max() > 3
        assert np.abs(ours - theirs).max() < 0.1
    clear = np.abs(one.stand_out) > 0.1  # elsewhere its sign may differ
    for side in DISPLACED:
        assert np.abs(one.beyond(side) - other.beyond(side))[clear].max() < 0.1
    assert np.abs(one.slope - other.slope).max() < 0.1
    assert np.abs(one.luma.clip(0, 255) - other.luma).max() <= 0.51
    assert np.abs(one.neighbours.clip(0, 255) - other.neighbours).max() <= 0.51


def damaged(seed: int, nothing: bool = False) -> FrameState:
    """A frame of two tones with grain, spots that were repaired, suspects and a filled place."""
    rng, (height, width) = np.random.default_rng(seed), (80, 112)
    image = np.full((height, width, 3), 0.3, np.float32)
    image[:, width // 2 :] = 0.6
    source = image + rng.normal(0, 4 / 255, image.shape).astype(np.float32)
    defects, fill = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    suspects = np.zeros((height, width), bool)
    if not nothing:
        for y, x in rng.integers(8, (height - 16, width - 16), (6, 2)):
            source[y : y + 7, x : x + 5] = 1
            defects[y : y + 7, x : x + 5] = 1
        suspects[60:70, 20:40], fill[20:26, 90:99] = True, 1
    return FrameState(
        0, source, image, defects=torch.from_numpy(cv2.GaussianBlur(defects, (0, 0), 1.0)),
        suspects=None if nothing else suspects, fill=None if nothing else fill,
        neighbours=picture(rng, height, width), noise=1.0, predicted_error=2.0,
        places=None if seed % 2 else ((0, 0, 96, 80), (80, 0, 32, 48)), source_share=0.2,
    )  # fmt: skip


def finished(state: FrameState, share: float) -> FrameState:
    frames = find_grain([state]) if share else iter([state])
    frames = apply_decisions(bound_changes(frames))
    return next(keep_grain(frames, share) if share else frames)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_frame_is_finished_alike(seed: int, share: float) -> None:
    state = damaged(seed)
    assert state.neighbours is not None
    there = OnDevice(*(planes(one) for one in (state.source, state.image, state.neighbours)))
    nowhere: NDArray[np.float32] = np.full_like(state.source, np.nan)
    up = replace(state, source=nowhere, image=nowhere, neighbours=None, on_device=there)
    one, other = finished(state, share), finished(up, share)
    (down,) = TENSORS.lowered([other])
    assert np.abs(one.image - state.image).max() > 0.1
    assert np.abs(one.image - down.image).max() < 1e-5
    assert down.source_share == pytest.approx(one.source_share, abs=1e-6)
    assert down.on_device is None


def test_a_frame_without_repairs_keeps_its_grain_there() -> None:
    state = damaged(1, nothing=True)
    up = replace(state, on_device=OnDevice(planes(state.source), planes(state.image)))
    (down,) = TENSORS.lowered([finished(up, 1.0)])
    assert np.abs(down.image - state.source).max() < 1e-6
