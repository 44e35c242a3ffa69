"""Scratches, dust and blotches."""

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
