"""Reviews: each decision is on record, does what it says, and is whole whatever interrupts it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow.parquet as pq
import pytest

from pipeline.clip.clip import Clip as ManifestClip
from pipeline.clip.result import ClipResult
from pipeline.proof.fixity import check_published
from pipeline.proof.record import read_record
from pipeline.runs import audit
from pipeline.runs.ledger import Ledger
from pipeline.runs.results import unchanged
from pipeline.runs.settings import Settings
from pipeline.store import layout, storage
from pipeline.undo import publishing
from pipeline.undo import review as undo
from pipeline.undo.review import review_clip
from schemas.errors import ArchiveError
from tests.support.command_line import invoke
from tests.support.environment.failing import Killed, Mortal
from tests.support.premis_schema import breaches, texts
from tests.support.published import settings_for

CHANGED = 5  # frames of the reel
LATER = "20991231T000000-000000"  # a later run


def master(out: str) -> str:
    return f"{out}/clips/reel/reel_rst.mkv"


def table(out: str) -> list[dict[str, Any]]:
    folder = Path(out, "tables", "reviews")
    found = pq.read_table(folder).to_pylist() if folder.exists() else []
    return sorted(found, key=lambda row: str(row["run"]))


def log(out: str) -> list[dict[str, Any]]:
    """The entries about reviews and reverts."""
    lines = [
        line
        for path in sorted(Path(out, "audit").rglob("*.json"))
        for line in path.read_text().splitlines()
    ]
    kinds = ("clip_reviewed", "clip_reverted")
    return [entry for entry in map(json.loads, lines) if entry["action"] in kinds]


def test_a_decision_is_on_record(out: str) -> None:
    asked = ("--by", "A. Curator", "--note", "a foot", "--out", out)
    told = invoke("review", "question", "reel", *asked)
    assert told.exit_code == 0, told.output
    assert told.stdout == "reel, question by A. Curator: somebody else has to look\n"
    (row,), record = table(out), read_record(master(out))
    assert (row["decision"], row["by"], row["note"]) == ("question", "A. Curator", "a foot")
    assert (row["verdict"], row["restored_by"]) == ("pass", record["row"]["run"])
    assert row["output_sha256"] == record["row"]["output_sha256"]
    assert [one["run"] for one in record["reviews"]] == [row["run"]]
    checked = check_published(master(out), decode=True)
    assert (checked.faults, checked.files) == ([], 5)
    root = ET.fromstring(storage.read_bytes(f"{master(out)}.premis.xml"))
    assert breaches(root) == []
    assert "quality review" in texts(root, "eventType")
    notes = texts(root, "eventOutcomeInformation/eventOutcomeDetail/eventOutcomeDetailNote")
    assert "question: somebody else has to look; note: a foot" in notes
    assert texts(root, "agentName").count("A. Curator") == 1
    (entry,) = log(out)
    assert (entry["asked_by"], entry["decision"]) == ("A. Curator", "question")
    assert audit.verify(out).broken is None
    assert list(storage.listing(layout.publishing(out))) == []


def test_rerun_makes_new_work_and_accept_takes_it_back(
    reel: tuple[Path, Settings], out: str
) -> None:
    clip, here = ManifestClip("reel", str(reel[0] / "reel.mkv")), settings_for(reel[0], out=out)
    for decision, work in [
        ("question", False), ("rerun", True), ("rerun", True), ("accept", False), ("accept", False),
        ("rerun", True), ("question", True),
    ]:  # fmt: skip
        review_clip("reel", out, decision, by="A", note="b")
        assert (unchanged(clip, here) is None) == work, decision
    assert [row["decision"] for row in table(out)].count("rerun") == 3
    assert len(read_record(master(out))["reviews"]) == 7
    assert check_published(master(out)).faults == []


def test_rerun_reaches_a_run_that_will_be_resumed(reel: tuple[Path, Settings], out: str) -> None:
    """The clip is done in an unfinished run. Its next session has to restore it again."""
    here = settings_for(reel[0], out=out).ledger
    assert here.summary() is None
    columns = {"clip_id": "reel", "run": here.run, "state": "published"}
    here.commit_clip(ClipResult(columns))
    review_clip("reel", out, "accept")
    assert Ledger(out, here.run).is_done("reel")
    review_clip("reel", out, "rerun")
    assert not Ledger(out, here.run).is_done("reel")
    ended = Ledger(out, here.run)
    ended.commit_clip(ClipResult(columns))
    ended.finish({})
    review_clip("reel", out, "rerun")
    assert Ledger(out, here.run).is_done("reel")  # a finished run is never resumed


def test_revert_puts_the_source_back(out: str) -> None:
    before = read_record(master(out))["row"]
    done = review_clip("reel", out, "revert", by="A. Curator", note="a foot")
    assert done.put_back is not None and done.put_back.frames == CHANGED
    record = read_record(master(out))
    assert (record["row"]["verdict"], record["row"]["frames_changed"]) == ("untouched", 0)
    (row,) = table(out)
    assert (row["restored_by"], row["verdict"]) == (before["run"], "pass")
    assert row["run"] == done.run == record["reviews"][0]["run"]
    assert [entry["action"] for entry in log(out)] == ["clip_reverted"]
    again = review_clip("reel", out, "revert")
    assert again.put_back is not None and again.put_back.frames == 0
    assert [row["decision"] for row in table(out)] == ["revert", "revert"]
    assert check_published(master(out)).faults == []


@pytest.mark.parametrize("decision", ["accept", "rerun"])
def test_killed_at_any_point_the_review_is_whole_or_not_there(
    reel: tuple[Path, Settings],
    out: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    decision: str,
) -> None:
    clip = ManifestClip("reel", str(reel[0] / "reel.mkv"))
    made: list[publishing.Commit] = []

    def killed(out: str, work: publishing.Commit) -> None:
        made.append(work)
        raise Killed

    monkeypatch.setattr(undo, "commit", killed)
    monkeypatch.setattr("pipeline.runs.tables.check", lambda name, table: table)  # slow
    with pytest.raises(Killed):
        review_clip("reel", out, decision)
    assert check_published(master(out)).faults == [] and table(out) == []
    here = replace(settings_for(reel[0], out=out), ledger=Ledger(out, LATER))
    assert unchanged(clip, here) is not None
    for lives in range(99):  # the writes at which the process ends
        folder = str(shutil.copytree(out, tmp_path / f"killed-{lives}"))
        publishing.commit(folder, replace(made[0], uri=master(folder)))
        try:
            publishing.finish(folder, Mortal(lives))
        except Killed:
            publishing.finish(folder)
        else:
            break
        assert check_published(master(folder)).faults == []
        assert [row["decision"] for row in table(folder)] == [decision]
        assert [entry["action"] for entry in log(folder)] == ["clip_reviewed"]
        same = unchanged(clip, replace(here, ledger=Ledger(folder, LATER)))
        assert (same is None) == (decision == "rerun")
        assert list(storage.listing(layout.publishing(folder))) == []
    assert lives > 5
    assert publishing.finish(out) == []
    assert check_published(master(out)).faults == []


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (("maybe", "reel"), "maybe: give one of accept, revert, rerun, question"),
        (("question", "reel"), "a question needs --note"),
        (("accept", "other"), "other is not published"),
        (("accept", "../reel"), "is no clip id"),
    ],
)
def test_what_cannot_be_reviewed_is_refused(
    reel: tuple[Path, Settings], asked: tuple[str, str], sentence: str
) -> None:
    with pytest.raises(ArchiveError, match=sentence):
        review_clip(asked[1], reel[1].out, asked[0])
