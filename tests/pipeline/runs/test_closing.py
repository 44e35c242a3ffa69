"""The end of a run: clips to review, the exit code, the findings in the tables."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.clip.result import ClipResult, FindingRow
from pipeline.runs.closing import Closing
from pipeline.runs.results import common_columns
from pipeline.runs.run import Run
from schemas.reasons import Reason
from tests.support.published import settings_for
from tests.support.results import a_result, end, run_of


@pytest.mark.parametrize(
    ("allowed", "code", "failed"), [(None, 0, 0), (2, 0, 0), (1, 4, 0), (0, 4, 0), (0, 3, 1)]
)
def test_too_many_clips_to_review_end_with_4(
    tmp_path: Path, allowed: int | None, code: int, failed: int
) -> None:
    results = [
        a_result("c0", verdict="needs_review"), a_result("c1", verdict="fail"),
        a_result("c2", verdict="pass"), a_result("c3", "untouched", verdict="untouched"),
        a_result("c4", "up_to_date", verdict="fail"),  # judged by an earlier run
        a_result("c5", "failed", reason=str(Reason.TRUNCATED)) if failed else a_result("c5"),
    ]  # fmt: skip
    by_clip = {result.clip_id: result for result in results}
    closing = Closing(settings_for(tmp_path), by_clip, {}, 1.0, None, max_review=allowed)
    summary = closing.summary()
    assert (summary["review"], summary["exit_code"]) == (2, code)


def test_findings_are_a_table(tmp_path: Path) -> None:
    work = run_of(tmp_path, 2)
    finding = FindingRow(
        "c1", "region_changed", "fail", "largest_change", 0.1, 0.01, 3, "1,2,3,4", 1, "Why."
    )
    for clip, findings in (("c1", (finding,)), ("c0", ())):
        end(work, ClipResult(columns_of(work, clip), findings=findings))
    assert work.close(max_review=0)["exit_code"] == 4
    (row,) = pq.read_table(tmp_path / "out" / "tables" / "findings").to_pylist()
    assert (row["clip_id"], row["run"]) == ("c1", work.settings.ledger.run)
    assert row["rule"] == "region_changed"
    assert (row["verdict"], row["box"], row["sentence"]) == ("fail", "1,2,3,4", "Why.")


def columns_of(work: Run, clip: str) -> dict[str, object]:
    """The columns of a published clip that fails."""
    known = next(one for one in work.todo if one.clip_id == clip)
    return common_columns(known, work.settings, "published") | {"verdict": "fail"}
