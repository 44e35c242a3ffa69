"""Scratches, dust, blotches, stains and crumbs."""

import cv2
import numpy as np
import pytest

from models.damage.simulator import (
    DEGRADATIONS,
    changed,
    random_stream,
)
from tests.support.media.pictures import grey


def test_faint_dust_is_fainter_and_as_frequent() -> None:
    depth, count = {}, {}
    for least in (0.2, 1.0):
        clip = DEGRADATIONS["dust"](
            grey(0),
            random_stream(4, "dust"),
            rate=40,
            white_share=1,
            soft_share=0,
            least_opacity=least,
        )
        depth[least] = clip[clip > 0].mean()
        count[least] = (clip > 0).mean()
    assert 0.5 < depth[0.2] / depth[1.0] < 0.7  # 0.2 to 1: 0.6 of the whole on average
    assert count[0.2] == pytest.approx(count[1.0], rel=0.05)


def test_dust_counts_are_poisson_with_the_given_rate() -> None:
    clip = grey(frames=150, size=256)
    specks = DEGRADATIONS["dust"](clip, random_stream(0, "dust"), 4, (2, 3), 0, 0.5, 0)
    marked = changed(np.full_like(clip, 128), specks)
    counts = [cv2.connectedComponents(frame.astype(np.uint8))[0] - 1 for frame in marked]
    assert np.mean(counts) == pytest.approx(4, rel=0.12)
    assert np.var(counts) == pytest.approx(4, rel=0.4)


def test_dust_is_new_in_every_frame_and_scratches_stay() -> None:
    def overlap(name: str, **params: float) -> float:
        marked = changed(grey(), DEGRADATIONS[name](grey(), random_stream(3, name), **params))
        near = cv2.dilate(marked[3].astype(np.uint8), np.ones((5, 5))) > 0
        return (near & marked[4]).sum() / max(marked[4].sum(), 1)

    assert overlap("dust", rate=8) < 0.2
    assert overlap("scratches", lines=4, drift_px=0.5, jitter_px=0.3) > 0.8


def test_scratches_are_tall_and_narrow() -> None:
    lines = DEGRADATIONS["scratches"](grey(), random_stream(0, "s"), lines=1, width_px=(2, 2))
    marked = changed(grey(), lines)
    frame = marked[marked.any((1, 2))][0]
    assert frame.any(1).mean() >= 0.55
    assert 1 <= frame.sum(1).max() <= 4


def test_the_picture_shows_through_a_stain_and_not_through_a_blotch() -> None:
    stripes = np.zeros((6, 96, 96, 3), np.float32)
    stripes[:, :, ::2] = 200
    shown = {}
    for name, params in (("stains", {"depth": (0.3, 0.6)}), ("blotches", {"radius_px": (8, 20)})):
        marked = DEGRADATIONS[name](
            stripes.copy(), random_stream(1, name), rate=6, white_share=0, **params
        )
        contrast = np.abs(np.diff(marked[..., 0], axis=2))  # 200 where nothing covers the stripes
        shown[name] = float(contrast.min())
    assert shown["stains"] > 30  # two stains may lie on each other
    assert shown["blotches"] < 20


def test_crumbs_lie_in_heaps() -> None:
    clip = DEGRADATIONS["crumbs"](
        grey(frames=20, size=256), random_stream(2, "crumbs"), rate=1, count=(10, 10)
    )
    marked = changed(grey(frames=20, size=256), clip).astype(np.uint8)
    near = [cv2.dilate(frame, np.ones((25, 25))) for frame in marked]
    specks = sum(cv2.connectedComponents(frame)[0] - 1 for frame in marked)
    heaps = sum(cv2.connectedComponents(frame)[0] - 1 for frame in near)
    assert specks > 2.5 * heaps > 0
