"""A scratch that stands still is taken out of a frame, and nothing else is."""

from __future__ import annotations

import cv2
import numpy as np

from models.fidelity.scratches import erase, erase_scratches
from models.frame_state import FrameState, Image, Scratch, number_frames

HEIGHT, WIDTH, AT, DEPTH = 160, 120, 60, 14.0
SCRATCH = Scratch(0, 10, float(AT), 0, HEIGHT, 9, bright=False, depth=DEPTH)
LINE = np.array([0.4, 1, 0.4], np.float32) * DEPTH / 255


def scene() -> Image:
    """Fields of grain, one above the other."""
    rng = np.random.default_rng(2)
    fields = np.repeat(np.array([0.7, 0.4, 0.6, 0.25], np.float32), HEIGHT // 4)
    picture = np.repeat(fields[:, None, None], WIDTH, 1) + rng.normal(
        0, 3 / 255, (HEIGHT, WIDTH, 1)
    )
    return np.repeat(picture, 3, 2).astype(np.float32)


def with_scratch(picture: Image, rows: slice = slice(None)) -> Image:
    made = picture.copy()
    made[rows, AT - 1 : AT + 2] -= LINE[:, None]
    return made


def erased(picture: Image, scratch: Scratch = SCRATCH) -> tuple[Image, np.ndarray]:
    made, taken = picture.copy(), np.zeros(picture.shape[:2], np.float32)
    erase(made, taken, scratch)
    return made, taken


def test_the_scratch_goes_and_the_grain_stays() -> None:
    clean = scene()
    made, taken = erased(with_scratch(clean))
    at = np.s_[8:-8, AT - 1 : AT + 2]
    assert abs(float((made - clean)[at].mean())) < 0.1 * LINE.mean()
    grain, left = (cv2.blur(p, (1, 9))[at] - p[at] for p in (clean, made))
    assert np.corrcoef(grain.ravel(), left.ravel())[0, 1] > 0.95
    assert taken[at].min() > 0.9


def test_nothing_beside_it_changes() -> None:
    source = with_scratch(scene())
    made, taken = erased(source)
    beside = np.ones((HEIGHT, WIDTH), bool)
    beside[:, AT - 4 : AT + 5] = False
    assert np.array_equal(made[beside], source[beside])
    assert not taken[beside].any()


def test_where_it_is_not_there_nothing_changes() -> None:
    """Somebody stands in front of a part of it."""
    source = with_scratch(scene(), slice(0, 80))
    made, taken = erased(source)
    assert np.array_equal(made[110:], source[110:])
    assert not taken[110:].any()
    assert taken[:60, AT].min() > 0.9


def test_a_much_deeper_line_is_a_thing() -> None:
    source = scene()
    source[:, AT - 1 : AT + 2] -= 3 * LINE[:, None]
    made, taken = erased(source)
    assert np.array_equal(made, source)
    assert not taken.any()


def test_an_edge_of_the_scene_stays() -> None:
    source = scene()
    source[:, AT:] += 0.2
    made, _ = erased(source)
    assert np.array_equal(made, source)


def test_only_its_frames_are_repaired_and_recorded() -> None:
    source = with_scratch(scene())
    frames = list(erase_scratches(number_frames([source] * 3, first=8), [SCRATCH]))
    assert [len(frame.scratches) for frame in frames] == [1, 1, 0]
    assert np.array_equal(frames[2].source, source)
    repair = frames[0].scratches[0]
    assert (repair.decision, repair.why, repair.bright) == ("repair", "standing", False)
    x, _, wide, high = repair.box
    assert (x, wide) == (AT - 4, 9)
    assert high > 0.9 * HEIGHT
    assert frames[0].image is frames[0].source


def test_a_field_has_half_of_its_rows() -> None:
    scratch = SCRATCH._replace(top=11, bottom=100)
    assert [scratch.of_field(parity)[3:5] for parity in (0, 1)] == [(6, 50), (5, 50)]


def test_a_frame_without_scratches_is_the_same_object() -> None:
    frame = FrameState.read(3, scene())
    assert list(erase_scratches([frame], [SCRATCH._replace(start=4)])) == [frame]
