"""Scratches that stand still are told from poles, fences and borders by what lies beside them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.frame_state import Scratch
from pipeline.detect.standing_scratches import BLOCK, StandingScratchMeter

HEIGHT, WIDTH = 240, 320
GROUNDS = (210, 150, 90, 170, 60, 130, 190, 100)  # a street, house by house, from top to bottom
AT = 200
Clip = np.ndarray  # (T, H, W) float32 code values


def street(count: int = BLOCK, *, still: bool = False) -> Clip:
    """Grounds one above the other, and a crowd that walks past in the lower half."""
    rng = np.random.default_rng(1)
    scene = np.repeat(np.array(GROUNDS, np.float32), HEIGHT // len(GROUNDS))[:, None]
    scene = np.repeat(scene, WIDTH, axis=1)
    frames = []
    for t in range(count):
        frame = scene.copy()
        for walker in range(0 if still else 6):
            x = (walker * 60 + 7 * t) % (WIDTH + 40) - 40
            cv2.rectangle(frame, (x, 130 + 5 * walker), (x + 24, HEIGHT), 40.0 + 30 * walker, -1)
        frames.append(cv2.GaussianBlur(frame, (0, 0), 0.8) + rng.normal(0, 1.5, frame.shape))
    return np.stack(frames).astype(np.float32)


def scratched(clip: Clip, depth: float = -14, rows: slice = slice(None), at: int = AT) -> Clip:
    """A line that adds the same to all that lies under it."""
    made = clip.copy()
    made[:, rows, at - 1 : at + 2] += np.float32(depth) * np.array([0.5, 1, 0.5], np.float32)
    return made


def found(clip: Clip, start: int = 0, stop: int | None = None) -> list[Scratch]:
    meter = StandingScratchMeter()
    for frame in np.clip(np.rint(clip), 0, 255).astype(np.uint8):
        meter.add(frame)
    return list(meter.scratches(start, len(clip) if stop is None else stop))


@pytest.mark.parametrize("depth", [-14, 10, 30])
def test_a_scratch_over_all_grounds_is_found(depth: float) -> None:
    (scratch,) = found(scratched(street(), depth))
    assert abs(scratch.x - AT) <= 1
    assert scratch.bright == (depth > 0)
    assert scratch.top < 30 and scratch.bottom > HEIGHT - 30
    assert abs(scratch.depth - abs(depth)) < 0.4 * abs(depth)


def test_the_street_alone_has_none() -> None:
    assert found(street()) == []


@pytest.mark.parametrize("shade", [25.0, 235.0])
def test_a_pole_that_hides_the_crowd_is_none(shade: float) -> None:
    clip = street()
    clip[:, 100:, AT - 1 : AT + 2] = shade
    assert found(clip) == []


def test_a_line_on_one_ground_is_none() -> None:
    """A joint of a wall: nothing tells it from a scratch."""
    wall = np.full((BLOCK, HEIGHT, WIDTH), 140, np.float32)
    assert found(scratched(wall)) == []


def test_a_fence_is_none() -> None:
    clip = street()
    for at in range(40, 300, 30):
        clip = scratched(clip, -14, at=at)
    assert found(clip) == []


def test_a_line_beside_a_black_border_is_none() -> None:
    clip = scratched(street(), at=26)
    clip[:, :, :20] = 16
    assert found(clip) == []


def test_a_scratch_is_of_the_shots_that_show_it() -> None:
    clip = np.concatenate([street(BLOCK), scratched(street(2 * BLOCK))])
    first, second = 0, BLOCK
    assert found(clip, first, second) == []
    assert [(s.start, s.stop) for s in found(clip, second)] == [
        (BLOCK, 2 * BLOCK),
        (2 * BLOCK, 3 * BLOCK),
    ]
    assert found(clip, 5, BLOCK + 20) == []  # no block lies in this shot as a whole


def test_a_faint_part_counts_beside_a_block_that_proves_it() -> None:
    short = scratched(street(), rows=slice(0, 45))
    assert found(short) == []
    both = found(np.concatenate([short, scratched(street())]))
    assert [(s.start, s.stop) for s in both] == [(0, BLOCK), (BLOCK, 2 * BLOCK)]
    assert both[0].bottom < 80


def test_a_wide_frame_gives_places_in_its_own_pixels() -> None:
    small = scratched(street(), -20)
    wide = np.stack([cv2.resize(f, (1440, 1080), interpolation=cv2.INTER_CUBIC) for f in small])
    (scratch,) = found(wide)
    assert abs(scratch.x - AT * 1440 / WIDTH) < 6
    assert scratch.width > 9
