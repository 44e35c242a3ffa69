"""A small clip costs few operations of the store: a million of them are made of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.clip.clip import Clip
from pipeline.clip.details import details_of, frames_in
from pipeline.clip.regions import SCHEMA, join_regions, read_regions
from pipeline.clip.survey import Survey
from pipeline.local import LocalExecutor
from pipeline.proof.fixity import check_published
from pipeline.restore import ShardRestorer
from pipeline.runs.run import Run
from pipeline.store import storage
from pipeline.store.storage import Store
from pipeline.survey import survey_clip
from pipeline.undo.published import published
from schemas.recipe import Recipe
from tests.support.environment.failing import Killed, Mortal
from tests.support.media import media_factory
from tests.support.results import a_segment

RECIPE = Recipe(strength=0)
OF_A_RUN = {"done", "recipe.toml", "run.json", "summary.json"}
WRITES = 7  # two attempts, four published files, the result
MORE = 3  # on a GPU: segment, claim, and the segment is deleted


@pytest.fixture(scope="module")
def executor() -> LocalExecutor:
    """One executor: it loads the model once."""
    return LocalExecutor()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "a.mkv"
    media_factory.write_clip(path, media_factory.Clip(frames=3, width=64, height=48))
    return path


def opened(out: Path, *clips: Clip) -> Run:
    return Run.open("m.csv", clips, str(out), RECIPE, lambda event: None)


def objects(out: Path) -> list[str]:
    """What lies below the output, but the audit log, whose entries share objects."""
    found = (uri.removeprefix(f"{out}/") for uri in storage.listing(out))
    return sorted(name for name in found if not name.startswith("audit/"))


@pytest.fixture(params=["cpu", "gpu"])
def writes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The writes of a clip. A GPU, which this machine may lack, hands the segment over."""
    monkeypatch.setattr(ShardRestorer, "on_gpu", request.param == "gpu")
    return WRITES + (MORE if request.param == "gpu" else 0)


def test_a_small_clip_asks_the_store_little(
    tmp_path: Path,
    source: Path,
    executor: LocalExecutor,
    writes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = opened(tmp_path / "out", Clip("a", str(source)), Clip("b", str(source)))
    asked: list[int] = []
    real = Store._try

    def counted(store: Store, operation: Callable[[], Any]) -> Any:
        asked[-1] += 1
        return real(store, operation)

    monkeypatch.setattr(Store, "_try", counted)
    asked.append(0)
    for item in executor.items(work):
        work.take(item)
        asked.append(0)
    assert len(work.settings.ledger.done()) == 2
    assert writes < asked[1] <= asked[0] <= writes + 6, asked  # source, stop
    monkeypatch.setattr(Store, "_try", real)
    work.close()
    assert [name for name in objects(tmp_path / "out") if "/b" in name] == [
        *(f"clips/b/b_rst.mkv{kind}" for kind in ("", ".framemd5", ".json", ".premis.xml")),
        f"runs/{work.settings.ledger.run}/done/b.json",
    ]


def survives(lives: int, work: Run, executor: LocalExecutor) -> bool:
    """Whether a worker ends the clips before it dies at a write. It leaves no end of attempts."""
    store, work.settings.ledger.store = work.settings.ledger.store, Mortal(lives)
    try:
        return len(list(executor.items(work))) > 0
    except Killed:
        return False
    finally:
        work.settings.ledger.store = store


def test_killed_at_any_write_a_small_clip_is_whole_in_the_end(
    tmp_path: Path,
    source: Path,
    executor: LocalExecutor,
    writes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next session ends it once: as new, with every file, frame and measurement."""
    monkeypatch.setattr("pipeline.runs.tables.check", lambda name, table: table)  # slow
    clip, pictures = Clip("a", str(source)), set()
    on_gpu = writes > WRITES
    # The writes at which the worker dies. Those of both devices are not tried twice.
    for lives in (2, 3, 8, 9, writes) if on_gpu else range(writes + 1):
        out = tmp_path / f"killed-{lives}"
        alive = survives(lives, opened(out, clip), executor)
        work = opened(out, clip)  # of the next session
        for item in executor.items(work):
            work.take(item)
        summary = work.close()
        assert (summary["clips"]["untouched"], summary["exit_code"]) == (1, 0)
        assert check_published(f"{out}/clips/a/a_rst.mkv").faults == []
        pictures.add(storage.read_bytes(f"{out}/clips/a/a_rst.mkv.framemd5"))
        frames = pq.read_table(out / "tables" / "frames").to_pylist()
        assert [(row["clip_id"], row["frame"]) for row in frames] == [("a", n) for n in range(3)]
        log = [json.loads(line) for uri in storage.listing(f"{out}/audit")
               for line in storage.read_bytes(uri).splitlines()]  # fmt: skip
        assert [entry["action"] for entry in log].count("clip_untouched") == 1
        kinds = {name.split("/")[2] for name in objects(out) if name.startswith("runs/")}
        tidied = not (on_gpu and lives == writes - 1)  # killed as it deletes the segment
        assert kinds - ({"segments"} if not tidied else set()) == OF_A_RUN
        assert len(list(storage.folders(f"{out}/runs"))) == 1
        assert alive == (lives == writes)
    assert len(pictures) == 1


@pytest.fixture(scope="module")
def surveyed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return survey_clip(Clip("a", str(source)), RECIPE, tmp_path_factory.mktemp("cache"))


def test_a_revert_finds_the_survey_of_a_small_clip(
    tmp_path: Path, source: Path, executor: LocalExecutor, surveyed: Survey
) -> None:
    clip = Clip("a", str(source))
    work = opened(tmp_path / "out", clip)
    executor.result(work, clip)
    found = published("a", str(tmp_path / "out")).survey
    assert (found.crc32, found.shots, found.probe) == (
        surveyed.crc32,
        surveyed.shots,
        surveyed.probe,
    )


def test_details_give_back_frames_and_regions(tmp_path: Path, surveyed: Survey) -> None:
    row = 0, 1, 16, 8, 12, 9, 80, True, 31.25, "repair", "path", 0.875, 3
    columns = [pa.array([v, v], f.type) for v, f in zip(row, SCHEMA, strict=True)]
    path = tmp_path / "regions.parquet"
    pq.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), path)
    frames = [{"frame": n, "noise_before": n / 7} for n in range(3)]
    result = {"clip_id": "a", "details": details_of(surveyed, a_segment(), frames, path)}
    stored = json.dumps(result).encode()
    assert frames_in(json.loads(stored)) == [{"clip_id": "a", **frame} for frame in frames]
    parts = (read_regions(data, "a", "r", 10) for data in (stored, path.read_bytes()))
    of_details, of_file = (pa.concat_tables(part) for part in parts)
    assert of_details == of_file and len(of_file) == 2


def test_regions_of_an_older_code_lack_what_it_did_not_measure(tmp_path: Path) -> None:
    row = 0, 1, 16, 8, 12, 9, 80, True, 31.25, "repair", "path"
    older = pa.schema([field for field in SCHEMA if field.name not in ("probability", "crowd")])
    columns = [pa.array([v], f.type) for v, f in zip(row, older, strict=True)]
    path = tmp_path / "regions.parquet"
    pq.write_table(pa.Table.from_arrays(columns, schema=older), path)
    join_regions([path], tmp_path / "joined.parquet")
    for file in (path, tmp_path / "joined.parquet"):
        (part,) = read_regions(file.read_bytes(), "a", "r", 10)
        assert part["probability"].to_pylist() == part["crowd"].to_pylist() == [None]
        assert part["area"].to_pylist() == [80]
