"""What the model repaired, and what it left because it may be real, arrives as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from pipeline.clip.blanking import Blanking
from pipeline.clip.fields import woven
from pipeline.clip.result import ClipResult
from pipeline.local import LocalExecutor
from pipeline.media.decoder import Decoder
from pipeline.runs.ledger import Ledger
from pipeline.runs.run import Run
from pipeline.store import layout, storage
from schemas.recipe import Limits, Recipe
from tests.support.media.interlaced import write_planes
from tests.support.media.probes import PROBE
from tests.support.media.scenes import scene
from tests.support.results import quiet
from tests.support.studio import Studio, clip_of

RECIPE = Recipe(model="fast", deflicker=False, shard_frames=5)
WIDTH, HEIGHT, FRAMES = 112, 72, 10
DUST = 4, 20, 12, 10, 9  # frame, x, y, width, height
BALL = 48, 9  # y, side; it moves right by STEP in each frame from 1 to 8
FIRST, LAST, STEP = 1, 8, 11


def ball(frame: int) -> tuple[int, int]:
    """Where the ball is: x, y."""
    return 6 + STEP * (frame - FIRST), BALL[0]


def pictures() -> list[np.ndarray]:
    """Luma of a view that pans, with dust in one frame and a ball that flies through."""
    lumas = []
    for index, view in enumerate(scene(3, FRAMES, 0.5)):
        luma = (view[:HEIGHT, :WIDTH] * 0.5 + 30).astype(np.uint8)
        if index == DUST[0]:
            _, x, y, width, height = DUST
            luma[y : y + height, x : x + width] = 245
        if FIRST <= index <= LAST:
            x, y = ball(index)
            luma[y : y + BALL[1], x : x + BALL[1]] = 250
        lumas.append(luma)
    return lumas


def written(path: Path, lumas: Sequence[np.ndarray], order: str = "progressive") -> Path:
    """The lumas as a grey 4:2:0 file."""
    height, width = lumas[0].shape
    grey = np.full((height // 2, width // 2), 128, np.uint8)
    probe = replace(PROBE, width=width, height=height, field_order=order, color_range=0)
    return write_planes(path, probe, [(luma, grey, grey) for luma in lumas])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("source") / "clip.mkv", pictures())


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("studio"), RECIPE)


@pytest.fixture(scope="module")
def published(studio: Studio, source: Path) -> Any:
    return studio.publish(source)


def regions(out: str | Path) -> list[dict[str, Any]]:
    """The rows of tables/regions."""
    files = f"{out}/tables/regions/**/*.parquet"
    table = duckdb.sql(f"SELECT * EXCLUDE (run, run_date) FROM '{files}'").to_arrow_table()
    return list(table.to_pylist())


def frame_of(path: Path, index: int) -> np.ndarray:
    with Decoder(path, Limits()) as decoder:
        (luma,) = (frame.planes[0] for frame in decoder if frame.index == index)
    return luma


def near(row: dict[str, Any], x: int, y: int, width: int, height: int) -> bool:
    """Whether the box of a row is this one, give or take four pixels at each side."""
    found = row["x"], row["y"], row["x"] + row["width"], row["y"] + row["height"]
    expected = x, y, x + width, y + height
    return all(abs(a - b) <= 4 for a, b in zip(found, expected, strict=True))


def lies_in_ball(row: dict[str, Any]) -> bool:
    """Whether the box of a row lies in that of the ball, give or take five pixels."""
    x, y = ball(row["frame"])
    right, bottom = row["x"] + row["width"], row["y"] + row["height"]
    inside = x - 5 <= row["x"] and y - 5 <= row["y"]
    return inside and right <= x + BALL[1] + 5 and bottom <= y + BALL[1] + 5


def test_dust_and_a_flying_ball_are_rows(studio: Studio, published: Any) -> None:
    rows = regions(studio.folder)
    (dust,) = [row for row in rows if row["frame"] == DUST[0] and near(row, *DUST[1:])]
    assert (dust["clip_id"], dust["shot"], dust["bright"]) == ("clip", 0, True)
    assert (dust["decision"], dust["why"]) == ("repair", "clear")
    assert 80 <= dust["area"] <= 150 and dust["change"] > 100
    flying = [row for row in rows if row["decision"] == "suspect"]
    assert len(flying) >= 4
    assert all(lies_in_ball(row) for row in flying)
    whys = [row["why"] for row in flying]
    assert set(whys) == {"path", "unlike_dust"} and whys.count("path") >= 3
    assert [row["frame"] for row in rows] == sorted(row["frame"] for row in rows)
    sums = {name: published.row[name] for name in ("regions_repaired", "suspects")}
    assert sums == {"suspects": len(flying), "regions_repaired": len(rows) - len(flying)}
    repaired = [row for row in rows if row["decision"] == "repair"]
    largest = max(repaired, key=lambda row: row["area"])
    found = published.row["largest_repair"], published.row["largest_repair_frame"]
    assert found == (largest["area"], largest["frame"])


def test_the_files_of_the_shards_are_freed(studio: Studio, published: Any) -> None:
    ledger = studio.settings.ledger.uri
    kept = [uri for uri in storage.listing(ledger) if uri.endswith(".parquet")]
    assert kept == [layout.regions(ledger, "clip")]


def broken_off(out: Path, recipe: Recipe, source: Path) -> ClipResult:
    """The clip of a run whose worker dies as it records the second shard, and which is resumed.

    The files of that shard lie in the store by then. The tables are written twice.
    """
    real = Ledger.commit_segment

    def dies(self: Ledger, clip: str, segment: Any) -> bool:
        if segment.shard == 1:
            raise KeyboardInterrupt
        return real(self, clip, segment)

    def opened() -> Run:
        return Run.open("m.csv", [clip_of(source)], str(out), recipe, quiet)

    executor = LocalExecutor()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Ledger, "commit_segment", dies)
        with pytest.raises(KeyboardInterrupt):
            list(executor.items(opened()))
    work = opened()
    result = executor.result(work, clip_of(source))
    work.close()
    work.close()
    return result


@pytest.fixture(scope="module")
def repaired(tmp_path_factory: pytest.TempPathFactory, source: Path) -> tuple[Path, ClipResult]:
    """A run that repairs suspects, and is broken off."""
    out = tmp_path_factory.mktemp("repaired")
    return out, broken_off(out, replace(RECIPE, suspects="repair"), source)


def test_a_broken_off_run_has_each_region_once(
    repaired: tuple[Path, ClipResult], studio: Studio, published: Any
) -> None:
    """With suspects repaired, the rows are the same but for the decision.

    Then the whole frame is restored, not only places: a change has another last digit.
    """
    out, result = repaired
    expected = [
        row | {"decision": "repair", "change": pytest.approx(row["change"], abs=0.1)}
        for row in regions(studio.folder)
    ]
    assert regions(out) == expected != []
    assert result.columns["regions_repaired"] == len(expected)
    assert result.columns["suspects"] == 0


def test_a_recipe_may_repair_suspects(repaired: tuple[Path, ClipResult], published: Any) -> None:
    row = next(row for row in regions(repaired[0]) if row["why"] == "path")
    inside = np.s_[row["y"] + 3 : row["y"] + 7, row["x"] + 3 : row["x"] + 7]
    paths = published.path, Path(str(repaired[1].columns["output_uri"]))
    left, taken = (frame_of(path, row["frame"])[inside] for path in paths)
    assert left.min() > 230 and taken.mean() < 200


def test_fields_have_their_boxes_in_the_frame(tmp_path: Path) -> None:
    """Dust on the upper field of one frame only: every second line of its box."""
    frames = []
    for index in range(8):
        top, bottom = ((v[:HEIGHT, :WIDTH] * 0.5 + 30).astype(np.uint8)
                       for v in scene(3, 17, 4)[2 * index : 2 * index + 2])  # fmt: skip
        if index == 4:
            top[30:40, 50:60] = 245
        frames.append(woven((top,), (bottom,))[0])
    studio = Studio(tmp_path / "out", replace(RECIPE, shard_frames=8))
    made = studio.publish(written(tmp_path / "reel.mkv", frames, "tt"), field_order="tff")
    assert made.survey.by_fields
    rows = regions(studio.folder)
    (dust,) = [row for row in rows if row["frame"] == 4 and near(row, 50, 60, 10, 19)]
    assert 80 <= dust["area"] <= 300
    assert dust["y"] % 2 == 0 and dust["height"] % 2 == 1  # the lines of the upper field


def test_a_box_in_the_blanking_is_hidden() -> None:
    edges = Blanking(8, 10, 6, 0)
    assert edges.hides((0, 40, 6, 9), 112, 72)
    assert edges.hides((50, 62, 9, 10), 112, 72)
    assert not edges.hides((0, 40, 7, 9), 112, 72)
    assert not edges.hides((103, 53, 9, 9), 112, 72)
