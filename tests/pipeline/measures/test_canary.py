"""Canaries: planted damage is scored against the truth, and never touches a clip."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from models.damage.simulator import Aged
from pipeline.clip.shards import CLEAN, plan_shards
from pipeline.measures import canary
from pipeline.measures.canary import chosen, scored
from pipeline.media.rgb import write_rgb
from pipeline.runs.closing import Closing
from pipeline.runs.tables import to_table
from pipeline.store import layout, storage
from schemas.recipe import Recipe
from tests.support.media.scenes import sharp_scene
from tests.support.studio import PublishedClip, Studio, clip_of

FRAMES = 6
RECIPE = Recipe(model="fast", canaries=1.0)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clean") / "clean.mkv"
    frames = [np.stack([luma, luma, np.roll(luma, 3, 0)], -1) for luma in sharp_scene(1, 26)]
    write_rgb(path, frames, Fraction(25), "yuv420p")
    return path


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("studio"), RECIPE)


@pytest.fixture(scope="module")
def made(studio: Studio, clean: Path) -> PublishedClip:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canary, "FRAMES", FRAMES)
        return studio.publish(clean)


def rows(studio: Studio) -> list[dict[str, object]]:
    uris = storage.listing(layout.canaries(studio.settings.ledger.uri))
    return [json.loads(storage.read_bytes(uri)) for uri in uris]


def test_a_clean_clip_is_untouched_and_its_canary_scored(
    studio: Studio, made: PublishedClip
) -> None:
    assert made.result.state == "untouched"
    assert made.row["frames_changed"] == 0
    (row,) = rows(studio)
    assert (row["frames"], row["width"], row["height"]) == (FRAMES, 160, 120)
    assert float(str(row["psnr_restored_db"])) > float(str(row["psnr_damaged_db"]))
    assert float(str(row["harmed"])) < 0.02
    closing = Closing(studio.settings, {}, {}, 1.0, None)
    run = studio.settings.ledger.run
    table = to_table("canaries", list(closing.canaries()), run)
    assert table["clip_id"].to_pylist() == ["clean"]
    without = replace(studio.settings, recipe=Recipe())
    assert not list(Closing(without, {}, {}, 1.0, None).canaries())


def test_canaries_change_neither_files_nor_work_key(
    made: PublishedClip, clean: Path, tmp_path: Path
) -> None:
    plain = Studio(tmp_path, replace(RECIPE, canaries=0.0)).publish(clean)
    assert plain.framemd5 == made.framemd5
    assert plain.row["work_key"] == made.row["work_key"]
    assert {p.name for p in plain.path.parent.iterdir()} == {
        p.name for p in made.path.parent.iterdir()
    }


def test_a_fault_of_a_canary_is_a_row(
    studio: Studio, made: PublishedClip, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object) -> Aged:
        raise MemoryError("no room")

    monkeypatch.setattr(canary, "age", broken)
    (shard,) = plan_shards(made.survey.shots, 120)
    model = studio.restorer.restorer
    (row,) = canary.canaries(clean, made.survey, shard, RECIPE, model)
    assert row["fault"] == "MemoryError: no room"
    to_table("canaries", [row], studio.settings.ledger.run)
    # nor does one that cannot be begun raise anything
    gone = clip_of(clean.with_name("gone.mkv"))
    canary.write_canaries(gone, made.survey, shard, studio.settings, model)


def test_the_same_shots_are_chosen_in_every_run(made: PublishedClip) -> None:
    survey = made.survey
    (shard,) = plan_shards(survey.shots, 120)
    assert survey.shots[0].left == CLEAN
    every = [replace(survey, clip_id=f"clip-{n}") for n in range(400)]

    def names(share: float) -> set[str]:
        recipe = Recipe(canaries=share)
        return {one.clip_id for one in every if list(chosen(shard, one, recipe))}

    few, some = names(0.1), names(0.3)
    assert 20 < len(few) < 60 and 90 < len(some) < 150
    assert few < some and few == names(0.1)
    assert names(0) == set() and len(names(1)) == 400
    seeds = [seed for one in every for _, _, seed in chosen(shard, one, RECIPE)]
    assert len(set(seeds)) == 400
    dirty = replace(survey, shots=[replace(shot, left="") for shot in survey.shots])
    assert not list(chosen(plan_shards(dirty.shots, 120)[0], dirty, RECIPE))


def test_repairs_and_harm_are_told_apart() -> None:
    truth = np.full((2, 60, 80, 3), 100, np.uint8)
    mask = np.zeros(truth.shape[:3], bool)
    mask[:, 10:20, 10:20] = True
    damaged = np.where(mask[..., None], 200, truth).astype(np.uint8)
    aged = Aged(damaged, {"dust": mask}, {}, truth)
    assert scored(aged, truth)[2:] == (1.0, 0.0)
    assert scored(aged, damaged)[2:] == (0.0, 0.0)
    half = damaged.copy()
    half[0] = truth[0]
    assert scored(aged, half).repaired == 0.5
    harmed = truth.copy()
    harmed[:, 40:50, 40:60] += 20
    found = scored(aged, harmed)
    rest = 60 * 80 - 18 * 18
    assert found.repaired == 1.0 and found.harmed == pytest.approx(200 / rest)
    nothing = scored(Aged(truth, {"dust": mask & False}, {}, truth), truth)
    assert np.isnan(nothing.repaired) and nothing.psnr_damaged_db == 100
