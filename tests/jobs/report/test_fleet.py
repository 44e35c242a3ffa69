"""The page of all clips and nights: counts, limits, drift, and links to the clips of a reason."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from jobs.report.entry import ReportEntry
from jobs.report.fleet.data import Fleet, fleet
from jobs.report.fleet.page import MEASURE_NAMES, fleet_page
from jobs.report.index_page import index_page
from schemas.verdict_rules import built_in_rules
from tests.support.access import faults
from tests.support.reports import Page, Tables, refused, stand_in

FIRST, SECOND = "20261129T220000-aaaaaa", "20261130T220000-bbbbbb"
FINDING = {"rule": "region_changed", "verdict": "needs_review", "measure": "largest_change"}


@pytest.fixture(scope="module")
def found() -> Iterator[Fleet]:
    """Two nights: four clips, one of them flagged in the second, and one that was refused."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        tables = stand_in(monkeypatch)
        fill(tables)
        from jobs.console.query import query  # the stand-in

        yield fleet(lambda sql: query("", sql))


def fill(tables: Tables) -> None:
    for night, run in ((date(2026, 11, 29), FIRST), (date(2026, 11, 30), SECOND)):
        for n in range(4):
            flagged = n == 0 and run == SECOND
            row: dict[str, Any] = {"clip_id": f"c{n}", "run": run, "run_date": night, "frames": 10}
            row |= {"collection": "home" if n == 3 else "news", "state": "published"}
            row |= {"verdict": "needs_review" if flagged else "pass", "psnr_to_source_db": 30.0 + n}
            row |= {"recipe_sha256": run[-1] * 64, "seconds_cpu": 360.0, "duration_seconds": 10.0}
            tables["clips"].append(row)
            if flagged:
                finding = {"clip_id": "c0", "run": run, "number": 0.02, "rule_limit": 0.007}
                finding |= {"frame": 1, "frames": 1, "sentence": "x"}
                tables.setdefault("findings", []).append(FINDING | finding)
            for frame in range(3):
                change = 0.02 if flagged and frame == 1 else 0.001 * n
                tables["frames"].append(
                    {"clip_id": f"c{n}", "run": run, "frame": frame, "largest_change": change}
                )
        bad = refused("bad", run=run, collection="news")
        tables["clips"].append(bad | {"run_date": night})
        for n in range(20):
            score = {"clip_id": f"c{n % 3}", "run": run, "shot": n, "start": 0, "preset": "film"}
            score |= {"seed": n, "model": "base", "recipe_sha256": run[-1] * 64, "repaired": 0.9}
            gain = 3 + n % 5 / 10 - (run == SECOND)
            score |= {"psnr_damaged_db": 20.0, "psnr_restored_db": 20 + gain, "harmed": 0.01}
            tables.setdefault("canaries", []).append(score)
        run_row = {"run": run, "code": "1", "recipe": "film", "seconds": 20.0}
        tables.setdefault("runs", []).append(run_row)


def test_verdicts_are_counted_by_night_and_collection(found: Fleet) -> None:
    rows = [
        (str(r["run_date"]), r["collection"], r["needs_review"], r["pass"], r["not_restored"])
        for r in found.nights
    ]
    assert rows == [
        ("2026-11-30", "news", 1, 2, 1), ("2026-11-30", "home", 0, 1, 0),
        ("2026-11-29", "news", 0, 3, 1), ("2026-11-29", "home", 0, 1, 0),
    ]  # fmt: skip


def test_reasons_are_the_rules_and_the_codes(found: Fleet) -> None:
    assert {(r["reason"], r["clips"]) for r in found.reasons} == {
        ("region_changed", 1), ("TRUNCATED", 1)
    }  # fmt: skip


def test_a_measure_is_spread_over_the_worst_frames_of_the_clips(found: Fleet) -> None:
    (spread,) = (s for s in found.spreads if s.rule.measure == "largest_change")
    assert (spread.clips, spread.beyond) == (4, 1)
    assert (spread.values[0], spread.values[-1]) == (pytest.approx(0.001), pytest.approx(0.02))


def test_drift_marks_what_changed_between_two_runs(found: Fleet) -> None:
    page = fleet_page(found, "out", "now")
    text = Page(page).text
    assert "before the run of 2026-11-30 22:00: recipe" in text
    assert 'class="mark"' in page
    assert "1 clip waits for a review, the oldest since 2026-11-30 22:00." in text
    assert "1 clip of 4 above the limit of 0.7 % of the frame." in text
    assert "20 s2.00" in text  # 40 frames in 20 seconds
    assert faults(page) == []


def test_a_fall_of_the_canaries_is_named_and_drawn(found: Fleet) -> None:
    """The second night's gain is 1 dB less; what was repaired and harmed is the same."""
    falls = [(row["measure"], row["collection"], row["run"]) for row in found.falls]
    assert falls == [("canary_gain_db", "news", SECOND)]
    page = fleet_page(found, "out", "now")
    section = page[page.index('id="canaries"') :].partition("</section>")[0]
    text = Page(section).text
    assert "Run of 2026-11-30 22:00: the gain in PSNR, in dB, went from 3.2 to 2.2" in text
    assert "Changed in between: recipe." in text
    assert section.count("<polyline") == 3 and 'class="mark"' in section
    assert "2026-11-30 22:00recipe200" in text  # the row of the table: 20 canaries, no fault
    none = Page(fleet_page(Fleet(), "out", "now")).text
    assert "No run has canaries." in none


def test_a_reason_leads_to_its_clips_in_the_index(found: Fleet) -> None:
    addresses = Page(fleet_page(found, "out", "now")).addresses()
    assert "index.html#reason=region_changed" in addresses
    assert "index.html#collection=news" in addresses
    row = refused("a", state="published", reason=None, verdict="needs_review")
    entry = ReportEntry(row | {"verdict_rule": "edges_lost"}, findings=[FINDING])
    page = Page(index_page([entry, ReportEntry(refused("bad"))], "out", "now"))
    assert [r["data-reason"] for r in page.all("tr")[1:]] == ["region_changed", "TRUNCATED"]
    values = {option["value"] for option in page.all("option")}
    assert {"region_changed", "TRUNCATED"} <= values


def test_every_measure_of_a_built_in_rule_has_a_name() -> None:
    measures = {rule.measure for rule in built_in_rules()} - {"largest_repair"}
    assert measures <= MEASURE_NAMES.keys()


def test_an_empty_archive_has_a_page() -> None:
    page = fleet_page(Fleet(), "out", "now")
    assert "No clip waits for a review." in Page(page).text
    assert faults(page) == []
