"""What was left on purpose, and what was put back: told, and not counted as a finding."""

from pathlib import Path
from typing import Any

import pytest

from jobs.report.entry import ReportEntry
from jobs.report.kept import LEFT, PUT_BACK, kept_section
from jobs.report.worst import MOST_SHOTS, frames_to_show
from jobs.report.write import _with_tables
from schemas.tables import SHOTS
from schemas.verdict_rules import SCOPES
from tests.support.reports import Page, published_row, stand_in

FINDING = {"clip_id": "good", "run": "r2", "rule": "out_of_step", "verdict": "fail", "frames": 1}
FINDING |= {"measure": "out_of_step", "number": 0.6, "rule_limit": 0.5, "frame": 7}
FINDING |= {"sentence": "Frame 7: it looks like another frame."}


def test_every_reason_and_scope_has_words() -> None:
    assert set(LEFT) == set(SHOTS["left"].values or ())
    assert set(PUT_BACK) == set(SCOPES)


def test_the_page_tells_what_was_left_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = stand_in(monkeypatch)
    tables["clips"].append(published_row("good"))
    tables["findings"] = [FINDING | {"put_back": "shot"}, FINDING | {"rule": "edges_lost"}]
    shots: list[dict[str, Any]] = [
        {"clip_id": "good", "run": "r2", "shot": n, "start": 10 * n, "stop": 10 * n + 10}
        for n in range(3)
    ]
    tables["shots"] = [shots[0], shots[1] | {"left": "clean"}, shots[2] | {"left": "clean"}]
    row = published_row("good") | {"frames_put_back": 10, "frames_reverted": 1}
    (entry,) = _with_tables("", [ReportEntry(row)])
    assert [f["rule"] for f in entry.findings] == ["edges_lost"]
    text = Page(str(kept_section(entry))).text
    assert "2 shots left as in the source: it was found clean (frames 10 to 19, 20 to 29)." in text
    assert "Frame 7: it looks like another frame. The shot was put back." in text
    assert "back in 10 frames." in text and "A person put source pixels back in 1 frame." in text
    assert kept_section(ReportEntry(published_row("good"))) is None


def test_a_decision_about_a_region_is_not_one_about_the_clip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = stand_in(monkeypatch)
    row = published_row("good")
    tables["clips"].append(row)
    review = {"clip_id": "good", "run": "r3", "decision": "accept", "by": "A. Curator"}
    review |= {"output_sha256": row["output_sha256"]}
    tables["reviews"] = [review | {"region": "7:1,2,3,4"}]
    assert _with_tables("", [ReportEntry(row)])[0].review is None
    tables["reviews"].append(review | {"region": None, "run": "r2"})
    assert _with_tables("", [ReportEntry(row)])[0].decision == "accept"


def test_a_frame_of_each_shot_is_shown(tmp_path: Path) -> None:
    shots = [{"shot": n, "start": 100 * n, "stop": 100 * n + 100, "left": None} for n in range(30)]
    row = published_row("good") | {"frames": 3000}
    shown = {s.frame: s.why for s in frames_to_show(ReportEntry(row, shots=shots))}
    assert sum(why[0].startswith("shot") for why in shown.values()) == MOST_SHOTS
    assert shown[50] == ("shot 0",)
    one = frames_to_show(ReportEntry(row, shots=shots[:1]))
    assert [s.why for s in one] == [("beginning",), ("middle",), ("end",)]
