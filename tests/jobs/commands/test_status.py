"""The command status: a run at work, a finished run, and no run."""

import json
from pathlib import Path

import pytest

from jobs.monitor.status import describe_status, read_status
from pipeline.runs.ledger import Ledger
from pipeline.store import layout, storage
from schemas.errors import ArchiveError
from schemas.recipe import Recipe
from tests.support.command_line import SUMMARY, invoke
from tests.support.results import a_result


@pytest.fixture
def unfinished(tmp_path: Path) -> Ledger:
    """A run of three clips: one published, two not begun."""
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("clip_id,source_uri\na,x.mp4\nb,y.mp4\nc,z.mp4\n")
    ledger = Ledger.open_or_resume(str(tmp_path), {"manifest_uri": str(manifest)})
    recipe = Recipe().to_toml().encode()
    storage.write_bytes(layout.run_recipe(ledger.uri), recipe)
    ledger.commit_clip(a_result("a", frames=40))
    return ledger


def test_status_of_a_run_under_way(unfinished: Ledger) -> None:
    facts = read_status(unfinished.out)
    assert (facts["run"], facts["state"]) == (unfinished.run, "unfinished")
    assert facts["clips"] == {"published": 1, "at_work": 0, "waiting": 2}
    assert facts["frames"] == 40
    assert "1 published, 2 waiting; 40 frames restored" in describe_status(facts)


def test_status_of_a_finished_run_comes_from_its_summary(unfinished: Ledger) -> None:
    unfinished.finish(SUMMARY)
    result = invoke("status", unfinished.run, "--out", unfinished.out, "--json")
    facts = json.loads(result.stdout)
    assert (facts["state"], facts["exit_code"]) == ("finished", 3)
    assert facts["clips"] == {"published": 2, "quarantined": 1}


def test_status_where_there_is_no_run(tmp_path: Path, unfinished: Ledger) -> None:
    with pytest.raises(ArchiveError, match="there is no run"):
        read_status(str(tmp_path / "elsewhere"))
    with pytest.raises(ArchiveError, match=f"the newest is {unfinished.run}"):
        read_status(unfinished.out, "20200101T000000-000000")
