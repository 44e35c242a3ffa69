"""The end of a run: clips to review, the exit code, the findings in the tables."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.clip.result import ClipResult, FindingRow
from pipeline.runs.results import common_columns
from pipeline.runs.run import Run
from schemas.reasons import Reason
from tests.support.results import end, run_of


def ended(work: Run, clip: str, verdict: str | None, state: str = "published") -> None:
    """End a clip with a verdict and, if it is to be reviewed, a finding."""
    known = next(one for one in work.todo if one.clip_id == clip)
    columns = common_columns(known, work.settings, state) | {"verdict": verdict}
    finding = FindingRow(
        clip, "region_changed", str(verdict), "largest_change", 0.1, 0.01, 3, "1,2,3,4", 1, "Why."
    )
    findings = (finding,) if verdict in ("needs_review", "fail") else ()
    end(work, ClipResult(columns, series_uri=None, findings=findings))


@pytest.mark.parametrize(
    ("allowed", "code", "failed"), [(None, 0, 0), (2, 0, 0), (1, 4, 0), (0, 4, 0), (0, 3, 1)]
)
def test_too_many_clips_to_review_end_with_4(
    tmp_path: Path, allowed: int | None, code: int, failed: int
) -> None:
    work = run_of(tmp_path, 6)
    for clip, verdict in {"c0": "needs_review", "c1": "fail", "c2": "pass"}.items():
        ended(work, clip, verdict)
    ended(work, "c3", "untouched", state="untouched")
    ended(work, "c4", "fail", state="up_to_date")  # judged by an earlier run
    if failed:
        known = common_columns(work.todo[5], work.settings, "failed")
        end(work, ClipResult(known | {"reason": str(Reason.TRUNCATED)}))
    else:
        ended(work, "c5", None)
    summary = work.close(allowed)
    assert (summary["review"], summary["exit_code"]) == (2, code)


def test_findings_are_a_table(tmp_path: Path) -> None:
    work = run_of(tmp_path, 2)
    ended(work, "c1", "fail")
    ended(work, "c0", "pass")
    work.close()
    (row,) = pq.read_table(tmp_path / "out" / "tables" / "findings").to_pylist()
    assert (row["clip_id"], row["run"], row["rule"]) == (
        "c1",
        work.settings.ledger.run,
        "region_changed",
    )
    assert (row["verdict"], row["box"], row["sentence"]) == ("fail", "1,2,3,4", "Why.")
