"""Verdicts: what an adversary does to a clip is caught by a rule, with the frame that proves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from pipeline.clip.regions import LargestRepair, largest_repairs
from pipeline.clip.result import FindingRow
from pipeline.detect.frame_changes import ChangeMeter, chroma_of
from pipeline.detect.measure import ClipMeasure
from pipeline.detect.verdict import Evidence, judged, verdict_columns
from schemas.tables import schema
from schemas.verdict_rules import built_in_rules
from tests.support.media.scenes import sharp_scene

FRAMES = 12
Clip = np.ndarray
Adversary = Callable[[Clip], Clip]


@pytest.fixture(scope="module")
def source() -> Clip:
    """A panning scene with grain, (T, H, W) float32."""
    grain = 3 * np.random.default_rng(2).standard_normal((FRAMES, 120, 160))
    return (np.stack(sharp_scene(1, FRAMES)) + grain).astype(np.float32)


def benign(clip: Clip) -> Clip:
    """Less grain, and another exposure in every frame."""
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 0.5) for frame in clip])
    gains = 1.05 + 0.1 * np.sin(np.arange(len(clip)))
    return (soft * gains[:, None, None]).astype(np.float32)


def found(
    before: Clip,
    after: Clip,
    chroma: Any = (),
    depth: int = 8,
    repairs: dict[int, LargestRepair] | None = None,
    **meter: Any,
) -> dict[str, FindingRow]:
    """The findings of the built-in rules, by rule."""
    measure, changes = ClipMeasure(), ChangeMeter(**meter)
    for one, other in zip(before, after, strict=True):
        measure.add(one, other)
        changes.add(one, other, chroma, depth)
    rows = [a | b for a, b in zip(measure.frames(), changes.rows(), strict=True)]
    evidence = Evidence(rows, changes.box, repairs or {}, meter.get("skipped", ()))
    findings = judged("reel", evidence, built_in_rules())
    assert list(findings) == sorted(findings, key=lambda f: f.verdict != "fail")
    return {finding.rule: finding for finding in findings}


def erased(clip: Clip) -> Clip:
    clip[7, 40:64, 80:120] = clip[7].mean()
    return clip


def painted_noise(clip: Clip) -> Clip:
    clip[4] += 12 * np.random.default_rng(3).standard_normal(clip[4].shape)
    return clip


def noise_in_a_corner(clip: Clip) -> Clip:
    clip[5, :30, :40] += 9 * np.random.default_rng(3).standard_normal((30, 40))
    return clip


def frame_dropped(clip: Clip) -> Clip:
    return np.concatenate([clip[:4], clip[5:], clip[-1:]])


def frame_repeated(clip: Clip) -> Clip:
    clip[6] = clip[5]
    return clip


def last_frame_repeated(clip: Clip) -> Clip:
    clip[-1] = clip[-2]
    return clip


def blurred(clip: Clip) -> Clip:
    clip[3] = cv2.GaussianBlur(clip[3], (0, 0), 2.5)
    return clip


@pytest.mark.parametrize(
    ("adversary", "rule", "frames"),
    [
        (erased, "region_changed", {7}),
        (painted_noise, "noise_added", {4}),
        (noise_in_a_corner, "texture_added", {5}),
        (frame_dropped, "out_of_step", set(range(4, 11))),
        (frame_repeated, "out_of_step", {6}),
        (last_frame_repeated, "out_of_step", {11}),
        (blurred, "edges_lost", {3}),
    ],
)
def test_an_adversary_is_caught_by_the_frame_that_proves_it(
    source: Clip, adversary: Adversary, rule: str, frames: set[int]
) -> None:
    caught = found(source, adversary(benign(source)))
    assert caught[rule].frame in frames
    assert caught[rule].sentence.startswith(f"Frame {caught[rule].frame}: ")
    assert {one.frame for one in caught.values()} <= frames


def test_a_part_that_lost_its_fine_detail_is_caught() -> None:
    """Ripples of 9 code values go in one part: no pixel changes strongly."""
    ripples = 128 + 9 * np.sin(np.arange(160) / 1.1)[None, :] * np.ones((120, 1))
    before = np.repeat(ripples[None], 4, axis=0).astype(np.float32)
    after = before.copy()
    after[2, 30:70, 50:110] = 128.0
    caught = found(before, after)
    assert set(caught) == {"detail_erased"}
    assert caught["detail_erased"].frame == 2
    x, y, wide, high = map(int, str(caught["detail_erased"].box).split(","))
    assert x >= 45 and y >= 27 and x + wide <= 115 and y + high <= 73


def test_the_box_shows_where(source: Clip) -> None:
    region = found(source, erased(benign(source)))["region_changed"]
    x, y, wide, high = map(int, str(region.box).split(","))
    assert abs(x - 80) <= 6 and abs(y - 40) <= 6 and abs(wide - 40) <= 8 and abs(high - 24) <= 8
    corner = found(source, noise_in_a_corner(benign(source)))["texture_added"]
    x, y, wide, high = map(int, str(corner.box).split(","))
    assert x + wide <= 40 and y + high <= 30


def test_a_benign_restoration_passes(source: Clip) -> None:
    assert found(source, benign(source)) == {}
    assert verdict_columns((), untouched=False)["verdict"] == "pass"
    assert verdict_columns((), untouched=True)["verdict"] == "untouched"


def test_dirt_that_goes_is_no_frame_out_of_step(source: Clip) -> None:
    """The frame without its dirt looks like its neighbours, but nothing moves there."""
    still = np.repeat(source[:1], FRAMES, axis=0)
    dirty = still.copy()
    dirty[4, 20:110, 10:150] = 250.0
    caught = found(dirty, still)
    assert caught["region_changed"].frame == 4 and caught["region_changed"].number > 0.5
    assert "out_of_step" not in caught


def test_frames_that_the_source_lacks_are_not_judged(source: Clip) -> None:
    gap = source.copy()
    gap[5:7] = 0.0
    assert "pixels_changed" in found(gap, source)
    assert found(gap, source, skipped={5, 6}) == {}


def test_a_cut_is_no_motion(source: Clip) -> None:
    two = np.concatenate([source[:3], source[-3:, ::-1]])
    assert found(two, benign(two), shot_starts=[0, 3]) == {}


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "gbrp"])
def test_a_shift_of_colour_is_caught_in_every_depth(source: Clip, depth: int, pix_fmt: str) -> None:
    unit = 1 << (depth - 8)
    before = [np.full((60, 80), 128 * unit, np.uint16) for _ in range(3)]
    after = [plane.copy() for plane in before]
    after[1][:30] += 7 * unit
    pair = (chroma_of(tuple(planes), pix_fmt) for planes in (before, after))
    chroma = list(zip(*pair, strict=True))
    caught = found(source, source, chroma, depth)["colour_shifted"]
    assert caught.number == pytest.approx(7.0, abs=0.1)
    assert caught.box == "0,0,20,15"
    assert found(source, source, [(before[1], before[1])], depth) == {}


def interlaced(frames: Clip) -> Clip:
    """Every two frames as the fields of one."""
    woven = frames[::2].copy()
    woven[:, 1::2] = frames[1::2, 1::2]
    return woven


def test_combing_of_fields_is_no_finding(source: Clip) -> None:
    """Restored by fields, the lines comb as in the source. Restored as frames, they would not."""
    before, after = interlaced(source), interlaced(benign(source))
    assert found(before, after) == {}
    assert "out_of_step" in found(before, np.concatenate([after[:2], after[1:-1]]))


def test_the_gravest_finding_stands_for_the_clip(source: Clip) -> None:
    caught = found(source, frame_repeated(noise_in_a_corner(benign(source))))
    columns = verdict_columns(list(caught.values()), untouched=False)
    assert (columns["verdict"], columns["verdict_rule"]) == ("fail", "out_of_step")
    assert columns["verdict_frame"] == 6
    assert len(caught) > 1


def test_a_large_repair_is_found_in_the_regions(source: Clip) -> None:
    row = {
        "clip_id": "reel", "run": "20261130T000000-abcdef", "shot": 0, "x": 8, "y": 4, "width": 40,
        "height": 30, "bright": True, "change": 50.0, "why": "one_frame", "decision": "repair",
    }  # fmt: skip
    rows = [
        {**row, "frame": 2, "area": 900},
        {**row, "frame": 2, "area": 90, "x": 0},
        {**row, "frame": 3, "area": 5000, "decision": "suspect"},
    ]
    repairs = largest_repairs([pa.Table.from_pylist(rows, schema("regions"))], 120 * 160)
    assert repairs == {2: (900 / 19200, (8, 4, 40, 30))}
    caught = found(source, source, repairs=dict(repairs))["region_repaired"]
    assert (caught.frame, caught.box, caught.frames) == (2, "8,4,40,30", 1)
    assert "4.69 % of the frame" in caught.sentence
