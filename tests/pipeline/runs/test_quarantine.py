"""Clips that did not end well: which runs try them again, and the commands for them.

The sources do not exist, so clips end in the survey. No model and no Ray is needed.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from jobs import cli
from jobs.console.query import query
from pipeline.local import ThisProcess
from pipeline.runs import audit, lease
from pipeline.runs.ledger import SURVEY, WorkerId
from pipeline.runs.quarantine import cases, find, retry
from pipeline.runs.results import failed
from pipeline.runs.run import Run
from pipeline.sources.manifest import read_manifest
from pipeline.stages import SurveyStage
from pipeline.store import layout, storage
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Recipe
from tests.support.results import a_segment, end, published

pytest_plugins = ("tests.support.environment.s3",)


class Nights:
    """Runs of one manifest into one output. The sources of its clips a and b do not exist."""

    def __init__(self, folder: Path, out: str) -> None:
        self.folder, self.out = folder, out
        self.manifest = folder / "manifest.csv"
        self.manifest.write_text("clip_id,source_uri\na,a.mkv\nb,b.mkv\n")

    def open(self, recipe: Recipe | None = None) -> Run:
        clips = read_manifest(str(self.manifest))
        return Run.open(str(self.manifest), clips, self.out, recipe or Recipe(), lambda event: None)

    def survey(self, work: Run) -> dict[str, Any]:
        """Survey every clip that the run tries. Each ends there."""
        stage = SurveyStage(work.settings, ThisProcess())
        for clip in work.todo:
            for item in stage(clip):
                work.take(item)
        return work.close()

    def fail(self, work: Run, clip: str, reason: Reason) -> None:
        fault = ClipFault(reason, "as planted")
        end(work, failed(work._clips[clip], fault, work.settings))

    def publish(self, work: Run, clip: str) -> None:
        end(work, published(work._clips[clip], work.settings))

    def actions(self) -> list[tuple[str, str | None]]:
        uris = storage.listing(layout.audit(self.out))
        stored = storage.read_many(uris).values()
        entries = [json.loads(line) for data in stored for line in data.splitlines()]
        return [(entry["action"], entry.get("clip_id")) for entry in entries]


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path, str(tmp_path / "out"))


def tried(work: Run) -> list[str]:
    return [clip.clip_id for clip in work.todo]


# Runs


def test_a_quarantined_clip_is_skipped_and_still_counted(tmp_path: Path, store_root: str) -> None:
    nights = Nights(tmp_path, f"{store_root}/out")
    first = nights.survey(nights.open())
    assert first["clips"]["quarantined"] == 2
    work = nights.open()
    assert tried(work) == []
    second = work.close()
    assert second["run"] != first["run"]
    assert second["clips"]["quarantined"] == 2 and second["exit_code"] == 3
    rows = query(nights.out, f"SELECT * FROM clips WHERE run = '{second['run']}'").to_pylist()
    assert [row["reason"] for row in rows] == ["NOT_FOUND", "NOT_FOUND"]
    case = find(nights.out, "a")
    assert (case.run, case.since_run, case.runs) == (first["run"], first["run"], 1)


def test_a_clip_is_tried_again_after_a_change_of_its_source(nights: Nights) -> None:
    nights.survey(nights.open())
    (nights.folder / "b.mkv").write_bytes(b"a source")
    assert tried(nights.open()) == ["b"]


def test_a_clip_is_tried_again_after_a_change_of_its_row(nights: Nights) -> None:
    nights.survey(nights.open())
    nights.manifest.write_text("clip_id,source_uri\na,a2.mkv\nb,b.mkv\n")
    assert tried(nights.open()) == ["a"]


def test_clips_are_tried_again_after_a_change_of_the_recipe(nights: Nights) -> None:
    nights.survey(nights.open())
    assert tried(nights.open(Recipe(strength=0.5))) == ["a", "b"]


@pytest.mark.parametrize("reason", [Reason.DISK_FULL, Reason.SCAN_DISAGREES])
def test_failed_and_held_clips_are_tried_by_every_run(nights: Nights, reason: Reason) -> None:
    ids = []
    for _ in range(3):
        work = nights.open()
        assert tried(work) == ["a", "b"]
        nights.fail(work, "a", reason)
        nights.publish(work, "b")
        ids.append(work.close()["run"])
    (case,) = cases(nights.out)
    assert (case.run, case.since_run, case.runs) == (ids[2], ids[0], 3)


def test_another_reason_counts_from_its_own_first_run(nights: Nights) -> None:
    for reason in (Reason.DISK_FULL, Reason.STORE_ERROR):
        work = nights.open()
        nights.fail(work, "a", reason)
        nights.publish(work, "b")
        last = work.close()["run"]
    (case,) = cases(nights.out)
    assert (case.since_run, case.runs) == (last, 1)


def test_a_case_is_closed_when_its_clip_ends_well(nights: Nights) -> None:
    work = nights.open()
    nights.fail(work, "a", Reason.DISK_FULL)
    nights.publish(work, "b")
    work.close()
    work = nights.open()
    nights.publish(work, "a")
    assert cases(nights.out) == []


def test_every_end_is_logged_once(nights: Nights) -> None:
    work = nights.open()
    nights.fail(work, "a", Reason.TRUNCATED)
    again = nights.open()  # the driver was killed before the entry was written
    nights.fail(again, "a", Reason.TRUNCATED)
    nights.publish(again, "b")
    again.close()
    assert find(nights.out, "a").runs == 1
    skipping = nights.open()
    nights.publish(skipping, "b")
    skipping.close()
    assert nights.actions() == [
        ("run_started", None),
        ("run_resumed", None),
        ("clip_quarantined", "a"),
        ("clip_published", "b"),
        ("run_ended", None),
        ("run_started", None),
        ("clip_published", "b"),
        ("run_ended", None),
    ]
    assert audit.verify(nights.out).broken is None


def test_the_next_driver_logs_an_end_that_a_killed_driver_did_not_log(nights: Nights) -> None:
    work = nights.open()
    row = failed(work._clips["a"], ClipFault(Reason.TRUNCATED, "cut"), work.settings)
    work.settings.ledger.commit_clip(row)  # then the driver is killed
    nights.open()
    assert nights.actions()[1:] == [("run_resumed", None), ("clip_quarantined", "a")]
    assert find(nights.out, "a").row["sentence"] == "cut"


# Commands


def test_retry_makes_the_next_run_try_the_clip(tmp_path: Path, store_root: str) -> None:
    nights = Nights(tmp_path, f"{store_root}/out")
    nights.survey(nights.open())
    assert retry(nights.out, ["b"]) == ["b"]
    assert [case.clip for case in cases(nights.out)] == ["a"]
    assert tried(nights.open()) == ["b"]
    assert ("clip_retried", "b") in nights.actions()


def test_retry_reopens_a_run_that_is_not_finished(nights: Nights) -> None:
    work = nights.open()
    ledger = work.settings.ledger
    ledger.commit_segment("a", a_segment())
    storage.write_bytes(f"{ledger.uri}/segments/a/0.mkv", b"media")
    nights.fail(work, "a", Reason.TRUNCATED)
    nights.publish(work, "b")
    assert tried(nights.open()) == []
    retry(nights.out, ["a"])
    again = nights.open()
    assert again.settings.ledger.run == ledger.run
    assert tried(again) == ["a"]
    assert list(storage.listing(f"{ledger.uri}/segments/a")) == []
    ledger.reopen("b")
    assert "b" in again.settings.ledger.done()  # a clip that ended well is never reopened


def test_retry_is_refused_during_a_run(nights: Nights) -> None:
    nights.survey(nights.open())
    with lease.held(nights.out, "submit"), pytest.raises(lease.Locked):
        retry(nights.out, ["a"])
    assert len(cases(nights.out)) == 2


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["quarantine", *arguments])


def test_list_shows_reason_first_run_and_next_step(nights: Nights) -> None:
    run = nights.survey(nights.open())["run"]
    rows = json.loads(invoke("list", "--out", nights.out, "--json").stdout)
    assert [row["clip_id"] for row in rows] == ["a", "b"]
    row = rows[0]
    assert (row["state"], row["reason"], row["since_run"]) == ("quarantined", "NOT_FOUND", run)
    assert "a.mkv does not exist" in row["sentence"] and "retry" in row["next_step"]
    text = invoke("list", "--out", nights.out).stdout
    assert "NOT_FOUND" in text and row["next_step"] in text and run in text
    assert (
        json.loads(invoke("list", "--out", nights.out, "--reason", "TRUNCATED", "--json").stdout)
        == []
    )


def test_show_prints_all_facts_of_one_clip(nights: Nights) -> None:
    work = nights.open()
    ledger = work.settings.ledger
    ledger.end_attempt("a", 0, ledger.claim_attempt("a", 0, WorkerId("s", "node-7", 42)))
    nights.survey(work)
    facts = json.loads(invoke("show", "a", "--out", nights.out, "--json").stdout)
    assert facts["source_uri"] == str(nights.folder / "a.mkv")
    assert facts["recipe_sha256"] == Recipe().digest
    survey, attempt = facts["attempts"]
    assert (survey["shard"], survey["ended"]) == (SURVEY, True)
    assert (attempt["shard"], attempt["node"], attempt["ended"]) == (0, "node-7", True)
    assert "node-7" in invoke("show", "a", "--out", nights.out).stdout
    assert "survey" in invoke("show", "b", "--out", nights.out).stdout


def test_retry_of_clips_of_a_reason_or_of_all(nights: Nights) -> None:
    nights.survey(nights.open())
    for selection, names in ((["--reason", "TRUNCATED"], []), (["a"], ["a"]), (["--all"], ["b"])):
        result = invoke("retry", *selection, "--out", nights.out, "--json")
        assert (result.exit_code, json.loads(result.stdout)["retried"]) == (0, names)
    assert cases(nights.out) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "c"], "c is not in the quarantine"),
        (["retry", "c"], "c is not in the quarantine"),
        (["retry"], "name clips, or give --all or --reason"),
        (["retry", "a", "--all"], "name clips, or give --all or --reason"),
        (["list", "--reason", "NONESUCH"], "no reason code 'NONESUCH'"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    nights: Nights, arguments: list[str], message: str
) -> None:
    result = invoke(*arguments, "--out", nights.out)
    assert result.exit_code == 2
    assert message in result.stderr and result.stderr.count("\n") == 1
