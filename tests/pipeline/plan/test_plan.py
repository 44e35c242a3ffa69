"""The plan: what would run and why not, in bounded memory, without a write; figures that hold."""

import cProfile
import hashlib
import json
import os
import pstats
import subprocess
import sys
import threading
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs import cli
from jobs.monitor import forecast
from jobs.monitor.forecast import load_prices
from pipeline.clip.clip import Clip as ManifestClip
from pipeline.plan.estimate import (
    NOTHING,
    ONE_NIGHT,
    Band,
    Cost,
    Night,
    SourceSize,
    Stratum,
    Trial,
    from_nights,
    from_trials,
)
from pipeline.plan.plan import RunPlan
from pipeline.runs.order import embargo, in_order
from pipeline.runs.results import unchanged
from pipeline.sources.manifest import opened_manifest, stream_manifest
from pipeline.store import local, storage, timely
from schemas.errors import ArchiveError
from schemas.reasons import Reason
from schemas.recipe import Recipe
from schemas.recipe_book import RecipeBook
from tests.support.media.media_factory import Clip, write_clip
from tests.support.published import publish, settings_for

HEADER = "clip_id,source_uri,embargo_until\n"
MOST_CALLS = 200


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*")}


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, arguments)


@pytest.fixture
def no_writes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were written or deleted meanwhile."""
    written: list[str] = []
    for module, names in ((storage, ("write_bytes", "create", "upload", "delete")),
                          (local, ("write_bytes", "create", "copy"))):  # fmt: skip
        for name in names:
            monkeypatch.setattr(module, name, lambda *a, name=name, **k: written.append(name))
    return written


def test_every_clip_has_one_action_and_nothing_is_written(
    tmp_path: Path, no_writes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.plan.trial.tried", lambda *a: Cost(2.0, 10.0, 1e6))
    write_clip(tmp_path / "a.mkv", Clip(frames=6, width=64, height=48))
    (tmp_path / "broken.mkv").write_bytes(b"no film")
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        HEADER + "a,a.mkv,\nb,gone.mkv,\nc,gone.mkv,2999-01-01\nd,broken.mkv,2001-01-01\n"
    )
    before = snapshot(tmp_path)
    result = invoke(
        "plan", str(manifest), "--out", str(tmp_path / "out"), "--workers", "4", "--json"
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [(d["clip_id"], d["action"], d.get("reason")) for d in found["decisions"]] == [
        ("a", "run", None),
        ("b", "refused", "NOT_FOUND"),
        ("c", "held", "EMBARGOED"),
        ("d", "run", None),
    ]
    assert sum(found["clips"].values()) == 4 and found["clips"]["run"] == 2
    assert found["frames"]["likely"] == 6
    seconds = 2.0 + 10.0 * 6 * 64 * 48 / 1e6  # the broken one costs nothing
    assert found["wall_seconds"]["likely"] == pytest.approx(seconds / 4, rel=1e-3)
    assert found["wall_seconds"]["low"] < seconds / 4 < found["wall_seconds"]["high"]
    assert any("in the sample" in reason for reason in found["reasons"])
    assert (no_writes, snapshot(tmp_path)) == ([], before)
    lines = [json.loads(line)["sentence"] for line in result.stderr.splitlines()]
    assert lines[0] == f"reading {manifest}"
    assert lines[-2:] == [
        "reading the headers of 2 of 2 clips",
        f"loading the model {Recipe().model} for a trial",
    ]


@pytest.mark.timeout(60)
def test_a_disk_that_hangs_holds_its_clips_and_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung, answers, asked = tmp_path / "hung", threading.Event(), []
    (tmp_path / "sound").mkdir()
    (tmp_path / "sound" / "reel.mkv").write_bytes(b"x")
    sound = os.stat

    def stat(path: Any, **more: Any) -> os.stat_result:
        if hung in (Path(path), *Path(path).parents):
            asked.append(str(path))
            answers.wait()
        return sound(path, **more)

    rows = [ManifestClip(f"{n}", str(hung / f"{n}.mkv")) for n in range(3)]
    rows.append(ManifestClip("sound", str(tmp_path / "sound" / "reel.mkv")))
    work = RunPlan(str(tmp_path / "out"), RecipeBook(Recipe()))
    monkeypatch.setattr(timely, "START_SECONDS", 0.2)
    monkeypatch.setattr(os, "stat", stat)
    try:
        decisions = list(work.add(rows))
    finally:
        answers.set()
    assert [(d.action, d.reason) for d in decisions] == [
        *[("held", Reason.STORE_ERROR)] * 3,
        ("run", None),
    ]
    assert "does not answer" in str(decisions[0].sentence) and asked == [str(hung)]


def test_submit_dry_run_is_the_plan(tmp_path: Path, no_writes: list[str]) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(HEADER + "b,gone.mkv,\n")
    result = invoke("submit", str(manifest), "--out", str(tmp_path / "out"), "--dry-run")
    assert result.exit_code == 0, result.output
    assert "NOT_FOUND" in result.stdout and "1 refused" in result.stdout
    assert no_writes == [] and not (tmp_path / "out").exists()


def test_a_faulty_manifest_is_refused_before_anything_is_said(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("clip_id,source_uri\na,a.mkv\nA,../b.mkv\n")
    result = invoke("plan", str(manifest), "--out", str(tmp_path / "out"), "--json")
    assert result.exit_code == 2
    assert len(json.loads(result.stdout)["faults"]) == 2


def test_what_is_published_is_left_alone(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mkv", Clip(frames=4))
    plan = RunPlan(str(tmp_path / "out"), RecipeBook(Recipe()))
    settings = settings_for(tmp_path)
    publish(tmp_path, tmp_path / "a.mkv", settings)
    row = ManifestClip("a", str(tmp_path / "a.mkv"))
    again = RunPlan(str(tmp_path / "out"), RecipeBook(Recipe()))
    object.__setattr__(again.settings, "weights_sha256", settings.weights_sha256)
    assert [d.action for d in again.add([row])] == ["up_to_date"]
    assert [d.action for d in plan.add([row])] == ["run"]  # before it was published


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
@pytest.mark.parametrize("since", ["the first run", "later"])
def test_a_checksum_does_not_make_a_clip_run_again(
    tmp_path: Path, algorithm: str, since: str
) -> None:
    source = tmp_path / "a.mkv"
    write_clip(source, Clip(frames=4))
    checksum = hashlib.new(algorithm, source.read_bytes()).hexdigest()
    columns = {"checksum": checksum, "checksum_algo": algorithm}
    settings = settings_for(tmp_path)
    publish(tmp_path, source, settings, **(columns if since == "the first run" else {}))
    plan = RunPlan(str(tmp_path / "out"), RecipeBook(Recipe()))
    object.__setattr__(plan.settings, "weights_sha256", settings.weights_sha256)
    row = ManifestClip("a", str(source), **columns)
    other = ManifestClip("a", str(source), **columns | {"checksum": checksum[::-1]})
    assert [d.action for d in plan.add([row])] == ["up_to_date"]
    assert [d.action for d in plan.add([other])] == ["run"]  # the run finds the mismatch


def test_the_row_of_a_clip_has_the_notes_of_its_manifest(tmp_path: Path) -> None:
    source = tmp_path / "a.mkv"
    write_clip(source, Clip(frames=2))
    settings = settings_for(tmp_path)
    assert publish(tmp_path, source, settings, notes="splice")["notes"] == "splice"
    same = unchanged(ManifestClip("a", str(source), notes="new"), settings)
    assert same is not None and same.columns["notes"] == "new"


# Order and holds


def test_priority_then_turns_then_the_order_of_the_manifest() -> None:
    rows = [
        ManifestClip(name, "x.mkv", collection=collection, priority=priority)
        for name, collection, priority in [
            ("n1", "news", 0),
            ("n2", "news", 0),
            ("n3", "news", 0),
            ("f1", "film", 0),
            ("f2", "film", 0),
            ("x", None, 0),
            ("late", "news", 5),
            ("last", "film", -1),
        ]
    ]
    assert [clip.clip_id for clip in in_order(rows)] == [
        "late", "n1", "f1", "x", "n2", "f2", "n3", "last",
    ]  # fmt: skip


def test_an_embargo_ends_with_its_day() -> None:
    day = date(2030, 1, 1)
    row = ManifestClip("a", "a.mkv", embargo_until="2030-01-01")
    assert embargo(row, day - timedelta(days=1)) and embargo(row, day)
    assert embargo(row, day + timedelta(days=1)) is None
    assert embargo(ManifestClip("a", "a.mkv"), day) is None
    held = embargo(row, day)
    assert held and held.reason is Reason.EMBARGOED and held.state == "held"


# Figures


def stratum(sizes: list[tuple[int, float]], clips: int, source_bytes: int) -> Stratum:
    found = [SourceSize(size, frames, frames) for size, frames in sizes]
    return Stratum(Recipe(), clips, source_bytes, found)


def frames(size: SourceSize) -> float:
    return size.frames


def test_a_sample_of_all_is_exact_and_one_of_few_is_not() -> None:
    whole = stratum([(100, 10), (300, 20)], 2, 400).total(frames)
    assert whole == Band(30, 30, 30)
    part = stratum([(100, 10), (300, 30), (200, 20), (500, 40)], 40, 4400).total(frames)
    assert part.low < part.likely < part.high
    assert part.likely == pytest.approx(100 / 1100 * 4400)
    assert stratum([(100, 10)], 5, 500).total(frames) == Band(25, 50, 100)
    assert stratum([], 5, 500).total(frames) == NOTHING
    assert stratum([(1, 5), (1, 0)], 10, 10).readable == 5


def test_nights_before_give_a_cost_per_clip_and_per_frame() -> None:
    # a clip takes 3 s and 2 s a megapixel-frame of every stage, and a quarter more of the run
    nights = [Night(10, mpf, 30 + 2 * mpf, 2.0, 1.25 * (30 + 2 * mpf)) for mpf in (50.0, 80.0)]
    cost = from_nights(nights, 5e5)
    assert cost.seconds_per_clip == pytest.approx(3.75)
    assert cost.seconds_per_megapixel_frame == pytest.approx(2.5)
    assert cost.basis == "2 runs before"
    work = cost.of(20, Band(100, 100, 100))
    assert work.likely == pytest.approx(20 * 3.75 + 250) and work.low < work.likely < work.high
    alike = from_nights([Night(4, 8.0, 16.0, None, 24.0)], 0)  # all clips of one size
    assert (alike.seconds_per_clip, alike.seconds_per_megapixel_frame) == (0, 3)
    assert alike.spread == ONE_NIGHT


def test_trials_tell_what_a_clip_costs_from_what_a_frame_costs() -> None:
    pairs = [(Trial(1, 5 + 2, 1000), Trial(5, 5 + 10, 5000))] * 2
    cost = from_trials(pairs, 1.5)
    assert cost is not None
    assert cost.seconds_per_clip == pytest.approx(5)
    assert cost.seconds_per_megapixel_frame == pytest.approx(2)
    assert (cost.bytes_per_megapixel_frame, cost.start_seconds) == (1000, 1.5)
    assert from_trials([], 1.0) is None


def test_the_history_of_the_tables_is_read(tmp_path: Path) -> None:
    from pipeline.runs.tables import write_tables

    out, run = str(tmp_path), "20260101T000000-abcdef"
    clips = [
        {"clip_id": f"c{n}", "state": "published", "source_uri": "s", "frames": n,
         "width": 1000, "height": 1000, "seconds_total": 2.0 + 3 * n, "output_uri": "none.mkv",
         "model": Recipe().model, "recipe_sha256": Recipe().digest}
        for n in (10, 20, 30)
    ]  # fmt: skip
    row = {"run": run, "started": "2026-01-01T00:00:00+00:00", "sessions": 1, "clips": 3,
           "device": "gpu", "workers": 2, "seconds": 186.0}  # fmt: skip
    write_tables(out, run, "2026-01-01", clips, [], [], row)
    (night,) = forecast._history(out)
    assert (night["device"], night["workers"], night["clips"]) == ("gpu", 2, 3)
    assert night["worker_seconds"] == pytest.approx(372) and night["slope"] == pytest.approx(3)
    plan = RunPlan(out, RecipeBook(Recipe()))
    cost = forecast._cost(plan, [night], Recipe(), "gpu", tmp_path)
    assert cost is not None
    assert cost.seconds_per_clip == pytest.approx(4)
    assert cost.seconds_per_megapixel_frame == pytest.approx(6)


def test_prices_are_checked_and_make_money(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('[prices]\ncurrency = "EUR"\ngpu_hour = 2.5\noutput_gb_month = 0.02\n')
    prices = load_prices(path)
    hour = Band(3600, 7200, 10800)
    money = forecast._figures(NOTHING, hour, Band(1e9, 1e9, 1e9), "gpu", 2, prices)["money"]
    assert money == {"low": 2.52, "likely": 5.02, "high": 7.52, "currency": "EUR"}
    path.write_text('[prices]\ngpu_hour = "2"\nbeer = 3\n')
    with pytest.raises(ArchiveError, match=r"gpu_hour = '2' is not a price; unknown key 'beer'"):
        load_prices(path)


# Memory

MEASURE = """
import resource, sys
from pipeline.sources.manifest import stream_manifest
from pipeline.plan.plan import RunPlan
from pipeline.store.storage import opened
from schemas.recipe_book import load_book
plan = RunPlan(sys.argv[2], load_book("film"))
with opened(sys.argv[1]) as stream:
    count = sum(1 for rows in stream_manifest(stream, sys.argv[1]) for _ in plan.add(rows))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def peak_mb(folder: Path, rows: int) -> float:
    manifest = folder / f"{rows}.csv"
    with manifest.open("w") as stream:
        stream.write("clip_id,source_uri\n")
        stream.writelines(f"reel-{n:07d},reels/reel-{n:07d}.mkv\n" for n in range(rows))
    out = subprocess.run(
        [sys.executable, "-c", MEASURE, manifest, folder / "out"],
        check=True, capture_output=True, text=True, env=dict(os.environ),
    ).stdout.split()  # fmt: skip
    assert int(out[0]) == rows
    return float(out[1])


def calls(folder: Path, rows: int) -> int:
    """The calls of functions for a plan of so many rows."""
    manifest = folder / f"{rows}.csv"
    manifest.write_text(
        "clip_id,source_uri,collection,priority,notes\n"
        + "".join(f"reel-{n},/films/reel {n}.mkv,newsreels,0,\n" for n in range(rows))
    )
    work = RunPlan(str(folder / "out"), RecipeBook(Recipe()))
    with cProfile.Profile() as profile, opened_manifest(str(manifest)) as stream:
        for part in stream_manifest(stream, str(manifest), str(folder / "out")):
            assert {decision.action for decision in work.add(part)} == {"refused"}
    return pstats.Stats(profile).total_calls  # type: ignore[attr-defined, no-any-return]


def test_a_row_of_a_plan_costs_few_calls(tmp_path: Path) -> None:
    """A manifest may have a million rows: 420 calls each took two minutes."""
    calls(tmp_path, 10)  # what happens once
    more = calls(tmp_path, 1100) - calls(tmp_path, 100)
    assert 10 < more / 1000 < MOST_CALLS


@pytest.mark.slow
def test_memory_does_not_grow_with_the_manifest(tmp_path: Path) -> None:
    """A row read whole takes some 2.5 kB, so the difference would be 100 MB; here it is its id."""
    assert peak_mb(tmp_path, 50_000) - peak_mb(tmp_path, 10_000) < 40
