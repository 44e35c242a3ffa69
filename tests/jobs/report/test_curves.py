"""Curves of a clip: every value a number, the limits of its own rules, groups to open."""

import math
from dataclasses import replace
from typing import Any

import pytest

from jobs.report.curves.catalogue import ALL
from jobs.report.curves.data import curves_of
from jobs.report.curves.plots import curves_section, limits
from jobs.report.entry import ReportEntry
from schemas.judgement import SIGNAL
from schemas.tables import FRAMES
from schemas.verdict_rules import MEASURES, VerdictRule, rules_with
from tests.support.access import faults
from tests.support.reports import SERIES, Page, stand_in


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> ReportEntry:
    """Nine frames in two shots. Edges are measured in every second one, no colour at all."""
    rows: list[dict[str, Any]] = []
    for n in range(9):
        row = {"clip_id": "a", "run": "r2", "frame": n, "shot": n // 5}
        row |= {name: n / 10 for name in SERIES if "colour" not in name and "satur" not in name}
        row |= {"chroma_shift": None, "edges_kept": None if n % 2 else 0.9, "seam": math.nan}
        row |= {"warping_error_after": math.nan if n == 3 else math.inf if n == 4 else 2.0}
        rows.append(row | {"shard_seam": 5.0 if n == 5 else None})
    stand_in(monkeypatch)["frames"] += rows
    from jobs.console.query import query  # the stand-in

    table = curves_of(["a", "gone"], lambda sql: query("", sql))
    assert list(table) == ["a"]
    return ReportEntry({"clip_id": "a", "state": "published"}, curves=table["a"])


def test_measures_are_in_groups_and_only_what_was_measured(entry: ReportEntry) -> None:
    html = str(curves_section(entry))
    shown, _, more = html.partition("<details")
    assert "Brightness<small> code values" in shown and "along the motion" not in shown
    assert "Difference from the frame before, along the motion<small> code values" in more
    assert "Colour" not in more and "Straight step" not in html  # nothing but null and NaN
    assert len(Page(html).all("details")) == 4
    whole = f'<html lang="en"><title>x</title><main><h1>a</h1>{html}</main></html>'
    assert faults(whole) == []


def test_no_value_of_a_drawing_is_nan_or_infinite(entry: ReportEntry) -> None:
    html = str(curves_section(entry)).lower()
    drawn = [str(line["points"]) for line in Page(html).all("polyline")]
    drawn += [str(path["d"]) for path in Page(html).all("path")]
    assert not [text for text in drawn if "nan" in text or "inf" in text]
    assert "m625.0 5" in html  # the only seam between parts: a dot
    assert "nan to" not in html and "to inf" not in html


def test_a_limit_is_that_of_the_clips_own_rules(entry: ReportEntry) -> None:
    assert limits(entry, "edges_kept") == [0.85]
    assert limits(entry, "seam") == []
    own = VerdictRule("edges_lost", "edges_kept", "needs_review", "x", below=0.5)
    assert limits(replace(entry, rules=rules_with((own,))), "edges_kept") == [0.5]
    silent = replace(entry, rules=rules_with((replace(own, verdict="pass"),)))
    assert limits(silent, "edges_kept") == []
    finding = {"measure": "edges_kept", "rule_limit": 0.7}
    assert limits(replace(entry, findings=[finding]), "edges_kept") == [0.7]


def test_every_measure_of_a_rule_or_of_motion_and_colour_can_be_seen() -> None:
    """But those that no frame has, and levels of which the page shows others."""
    named = {curve.measure for curve in ALL}
    assert set(MEASURES) - named == {"largest_repair", "luma_shift", "blocks_added"}
    both = {name.removesuffix("_before").removesuffix("_after") for name in SIGNAL}
    assert both - named == {"y_min", "y_max", "ssim_outside"}
    assert set(SERIES) <= set(FRAMES)
