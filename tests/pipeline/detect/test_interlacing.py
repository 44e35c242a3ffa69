"""Scan type compared with what is declared, and interlaced clips restored by fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.clip.fields import field_of, woven
from pipeline.clip.shards import plan_shards
from pipeline.detect.interlacing import ScanCounts, settle
from pipeline.media.decoder import Decoder
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits, Recipe
from tests.support.media.interlaced import (
    FRAMES,
    HEIGHT,
    WIDTH,
    Planes,
    drawn,
    measured,
    write_planes,
)
from tests.support.media.media_factory import Clip, draw_planes, write_clip
from tests.support.media.probes import PROBE
from tests.support.media.seen import look
from tests.support.studio import Studio

PAL = replace(PROBE, width=WIDTH, height=HEIGHT, field_order="tt")


def grainy(plane: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return np.clip(plane + rng.normal(0, sigma, plane.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("scan", ["progressive", "tff", "bff"])
@pytest.mark.parametrize("noise", [0, 6])
def test_moving_lines_show_their_scan(scan: str, noise: float) -> None:
    rng = np.random.default_rng(0)
    found = measured([grainy(planes[0], noise, rng) for planes in drawn(scan)])
    assert found.verdict == scan
    assert getattr(found, scan) == FRAMES - 2


def test_stills_noise_and_flicker_are_not_interlaced() -> None:
    rng = np.random.default_rng(1)
    still = draw_planes(3, "gray", 160, 120)[0]
    assert measured([still] * 20) == ScanCounts()
    noisy = [grainy(still, 9, rng) for _ in range(20)]
    assert measured(noisy).verdict not in ("tff", "bff")
    unsteady = [(still * (0.7 + 0.3 * rng.random())).astype(np.uint8) for _ in range(20)]
    assert measured(unsteady).verdict == "progressive"


def test_a_picture_of_few_lines_contradicts_no_declaration() -> None:
    found = measured([planes[0] for planes in drawn("tff")])
    low = replace(PAL, height=63, field_order="progressive")
    assert settle(low, found, None) == (low, False)
    with pytest.raises(ClipFault, match="declared progressive"):
        settle(replace(low, height=64), found, None)
    assert settle(replace(low, field_order="unknown"), found, None)[1]


def test_a_few_frames_of_one_order_among_both_prove_nothing() -> None:
    assert ScanCounts(progressive=2, tff=5, bff=5).verdict == "unknown"
    assert ScanCounts(progressive=60, tff=16, bff=1).verdict == "tff"
    assert ScanCounts(progressive=90, tff=6, bff=5).verdict == "progressive"
    assert ScanCounts(tff=3).verdict == "unknown"
    assert ScanCounts(progressive=3, bff=1).verdict == "progressive"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("studio"), Recipe(strength=0.0))


@pytest.mark.parametrize(
    ("declared", "scan", "outcome"),
    [
        ("progressive", "progressive", "frames"),
        ("progressive", "tff", "hold"),
        ("progressive", "bff", "hold"),
        ("tt", "tff", "fields"),
        ("tb", "tff", "fields"),
        ("tt", "bff", "hold"),
        ("bb", "bff", "fields"),
        ("bt", "tff", "hold"),
        ("bb", "progressive", "fields"),
        ("unknown", "progressive", "frames"),
        ("unknown", "bff", "fields"),
    ],
)
def test_a_disagreement_on_scan_holds_the_clip(
    declared: str, scan: str, outcome: str, studio: Studio, tmp_path: Path
) -> None:
    source = write_planes(tmp_path / "clip.mkv", replace(PAL, field_order=declared), drawn(scan))
    if outcome == "hold":
        with pytest.raises(ClipFault, match=f"but its lines are interlaced.* 6 {scan}") as fault:
            studio.survey(source)
        assert fault.value.reason is Reason.SCAN_DISAGREES
        assert fault.value.state == "held"
    else:
        survey = studio.survey(source)
        assert survey.by_fields == (outcome == "fields")
        assert (survey.scan_measured, survey.field_order) == (scan, declared)
        found = "bb" if (declared, scan) == ("unknown", "bff") else declared
        assert survey.probe.field_order == found


@pytest.mark.parametrize(
    ("said", "order", "by_fields"), [("tff", 2, True), ("bff", 3, True), ("progressive", 1, False)]
)
def test_the_manifest_settles_a_disagreement_and_the_output_says_so(
    said: str, order: int, by_fields: bool, studio: Studio, tmp_path: Path
) -> None:
    declared = "tt" if said == "progressive" else "progressive"
    frames = drawn("bff" if said == "bff" else "tff")
    source = write_planes(tmp_path / f"{said}.mkv", replace(PAL, field_order=declared), frames)
    restored = studio.publish(source, field_order=said)
    assert restored.survey.by_fields == by_fields
    after = look(restored.path)
    assert after.order == order
    assert after.flagged == [by_fields] * FRAMES
    assert after.md5s == look(source).md5s


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "gray", "yuv411p"])
@pytest.mark.parametrize("height", [64, 37])
def test_fields_are_woven_as_they_were(pix_fmt: str, height: int) -> None:
    planes = tuple(draw_planes(1, pix_fmt, 51, height))
    top, bottom = field_of(planes, 0), field_of(planes, 1)
    assert all(np.array_equal(a, b) for a, b in zip(woven(top, bottom), planes, strict=True))
    assert top[0].shape[0] == -(-height // 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("model"), Recipe(deflicker=False, grain=0.0))


def restore(model: Studio, frames: Sequence[Planes], folder: Path, by_fields: bool) -> list[Any]:
    """The frames as the model restores them, as fields or as frames."""
    source = write_planes(folder / "source.mkv", PAL, frames)
    survey = replace(model.survey(source), by_fields=by_fields)
    (shard,) = plan_shards(survey.shots, 120)
    assert len(shard.spans) == 1
    segment = folder / "segment.mkv"
    model.restorer.restore(source, survey, shard, segment)
    with Decoder(segment, Limits()) as decoder:
        return [frame.planes for frame in decoder]


def test_a_field_depends_on_fields_of_its_own_parity_only(model: Studio, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    noisy = [tuple(grainy(plane, 12, rng) for plane in planes) for planes in drawn("tff")]
    others = [tuple(plane[::-1].copy() for plane in planes) for planes in noisy]
    mixed = [
        woven(field_of(mine, 0), field_of(other, 1))
        for mine, other in zip(noisy, others, strict=True)
    ]
    tops = []
    for number, (frames, by_fields) in enumerate(
        [(noisy, True), (mixed, True), (noisy, False), (mixed, False)]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        restored = restore(model, frames, folder, by_fields)
        tops.append(np.stack([field_of(planes, 0)[0] for planes in restored]))
    source = np.stack([field_of(planes, 0)[0] for planes in noisy])
    assert np.array_equal(tops[0], tops[1])
    assert not np.array_equal(tops[0], source)  # the model was at work
    assert not np.array_equal(tops[2], tops[3])  # as frames, the other field shows through


def comb(frames: Sequence[Planes]) -> float:
    """How far lines differ from those above and below them."""
    lumas = [planes[0].astype(np.float64) for planes in frames]
    return float(np.mean([np.abs(2 * y[1:-1] - y[:-2] - y[2:]).mean() for y in lumas]))


def test_interlaced_motion_combs_no_more_than_in_the_source(model: Studio, tmp_path: Path) -> None:
    frames = drawn("tff")
    restored = restore(model, frames, tmp_path, by_fields=True)
    assert comb(restored) <= 1.02 * comb(frames)
    for before, after in zip(frames, restored, strict=True):
        for parity in (0, 1):  # no field has become a mixture of both
            mine, other = (field_of(tuple(before), p)[0].astype(int) for p in (parity, 1 - parity))
            got = field_of(after, parity)[0].astype(int)
            assert np.abs(got - mine).mean() < 0.25 * np.abs(got - other).mean()


def test_interlaced_clips_are_published_with_their_field_order(tmp_path: Path) -> None:
    studio = Studio(tmp_path / "out", Recipe(grain=0.0))
    clip = Clip(
        codec="ffv1", pix_fmt="yuv422p10le", scan="bff", field_order=3, width=WIDTH, height=HEIGHT
    )
    write_clip(tmp_path / "bff.mkv", clip)
    restored = studio.publish(tmp_path / "bff.mkv")
    after = look(restored.path)
    assert restored.survey.by_fields
    assert after.order == 3 and all(after.flagged)
    assert after.md5s != look(tmp_path / "bff.mkv").md5s
