"""A published change map agrees with the files, before and after a revert."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.clip.fields import woven
from pipeline.clip.shards import plan_shards
from pipeline.detect.change_film import beside, maps
from pipeline.detect.change_map import REPAIRED, halved, reasons
from pipeline.media.decoder import Decoder
from pipeline.proof.fixity import check_published
from pipeline.proof.record import read_record
from pipeline.undo.revert import revert_clip
from pipeline.undo.selection import Request
from schemas.recipe import Limits, Recipe
from tests.support.media.interlaced import write_planes
from tests.support.media.probes import PROBE
from tests.support.media.scenes import scene
from tests.support.studio import Studio

RECIPE = Recipe(model="fast", deflicker=False, shard_frames=4, change_map=True)
WIDTH, HEIGHT = 96, 64
DUST = np.s_[20:30, 12:22]


def pictures(count: int) -> list[NDArray[np.uint8]]:
    """Luma of a view that pans, with dust in frame 3."""
    views = scene(3, count, 0.5)
    lumas = [(view[:HEIGHT, :WIDTH] * 0.5 + 30).astype(np.uint8) for view in views]
    lumas[3][DUST] = 245
    return lumas


def written(path: Path, lumas: list[NDArray[np.uint8]], order: str = "progressive") -> Path:
    grey = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    probe = replace(PROBE, width=WIDTH, height=HEIGHT, field_order=order, color_range=0)
    return write_planes(path, probe, [(luma, grey, grey) for luma in lumas])


def differing(one: Path, other: Path) -> list[NDArray[np.bool_]]:
    """Where each frame of two files differs, for squares of 2 x 2 pixels."""
    with Decoder(one, Limits()) as a, Decoder(other, Limits()) as b:
        lumas = [(x.planes[0], y.planes[0]) for x, y in zip(a, b, strict=True)]
    return [halved((x != y).astype(np.uint8)) > 0 for x, y in lumas]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("maps"), RECIPE)


def test_the_map_agrees_with_the_files(studio: Studio, tmp_path: Path) -> None:
    source = written(tmp_path / "clip.mkv", pictures(8))
    made = studio.publish(source, leave="7")
    path = Path(f"{made.path}.changes.mkv")
    found = list(maps(path, Limits()))
    expected = differing(source, made.path)
    assert all(np.array_equal(a > 0, b) for a, b in zip(found, expected, strict=True))
    assert found[3].any() and not found[7].any()
    dust = np.s_[DUST[0].start // 2 + 1 : DUST[0].stop // 2 - 1, 7:10]
    assert (reasons(found[3])[dust] == REPAIRED).all()
    assert made.row["share_changed"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert 0 < made.row["share_repaired"] < made.row["share_changed"]
    assert path.name in read_record(str(made.path))["files"]
    assert check_published(str(made.path)).faults == []
    assert not list(studio.folder.rglob("segments/**/*.mkv"))
    revert_clip("clip", str(studio.folder), Request.parse(None, "3", "10,18,15,13"))
    after = list(maps(path, Limits()))
    expected[3][9:15, 5:12] = False  # the whole squares of the box, which was widened to even
    expected[3][15:16, 5:13] = expected[3][9:16, 12:13] = False
    assert [np.array_equal(a > 0, b) for a, b in zip(after, expected, strict=True)] == [True] * 8
    assert [np.array_equal(a > 0, b) for a, b in zip(
        after, differing(source, made.path), strict=True
    )] == [True] * 8  # fmt: skip
    row = read_record(str(made.path))["row"]
    assert row["share_changed"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert check_published(str(made.path)).faults == []


def test_fields_share_a_map(studio: Studio, tmp_path: Path) -> None:
    views = [luma[:32] for luma in pictures(10)]
    frames = [
        woven((top,), (bottom,))[0] for top, bottom in zip(views[::2], views[1::2], strict=True)
    ]
    source = written(tmp_path / "reel.mkv", frames, "tt")
    survey = studio.survey(source, field_order="tff")
    assert survey.by_fields
    shard, segment = plan_shards(survey.shots, 9)[0], tmp_path / "segment.mkv"
    studio.restorer.restore(source, survey, shard, segment)
    found = list(maps(beside(segment), Limits()))
    expected = differing(source, segment)
    assert all(np.array_equal(a > 0, b) for a, b in zip(found, expected, strict=True))
    assert any(a.any() for a in found)
