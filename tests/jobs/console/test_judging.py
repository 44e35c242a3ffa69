"""Other rules over the tables: the same verdicts as a run gives, and nothing is written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.commands.query import query as query_command
from jobs.console.judging import judged_by
from jobs.console.query import query
from pipeline.clip.regions import LargestRepair
from pipeline.detect.verdict import DIFFERENCES, Evidence, judged, verdict_columns
from pipeline.runs.tables import write_tables
from schemas.errors import ArchiveError
from schemas.verdict_rules import (
    MEASURES,
    VerdictRule,
    built_in_rules,
    parse_rules,
    rules_toml,
    rules_with,
)

RUN, DAY = "20261121T010203-abcdef", "2026-11-21"
PIXELS, FRAMES = 100 * 50, 4
OWN = [
    {"name": "edges_lost", "below": 0.5},
    {"name": "region_repaired", "verdict": "fail"},
    {"name": "detail_erased", "verdict": "pass"},
    {"name": "a 'quoted' name", "measure": "luma_shift", "above": 4, "verdict": "needs_review",
     "says": "it is lighter"},
]  # fmt: skip


def frame_row(clip: str, frame: int, rng: np.random.Generator) -> dict[str, Any]:
    """Numbers on both sides of every limit; some were not measured."""
    row: dict[str, Any] = {"clip_id": clip, "frame": frame, "shot": 0}
    scale = {rule.measure: rule.limit for rule in built_in_rules()}
    for measure in MEASURES.keys() - {"largest_repair", "luma_shift"} - DIFFERENCES.keys():
        row[measure] = scale.get(measure, 1.0) * rng.choice([0.4, 0.9, 0.99, 1.01, 1.2])
    for column in ("mean_luma", *DIFFERENCES.values()):
        row[f"{column}_before"] = 0.5
        row[f"{column}_after"] = 0.5 + rng.choice([0.0, 0.1, 6.0])
    if rng.random() < 0.3:
        row |= dict.fromkeys(rng.choice(sorted(row.keys() - {"clip_id", "frame", "shot"}), 4))
    return row


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Evidence]]:
    """An output folder with clips of random measures, and the evidence that a run would have."""
    rng, out = np.random.default_rng(5), str(tmp_path_factory.mktemp("out"))
    clips: list[dict[str, Any]] = []
    frames: list[dict[str, Any]] = []
    evidence = {}
    for name in (f"c{n}" for n in range(40)):
        rows = [frame_row(name, n, rng) for n in range(FRAMES)]
        area, at = int(rng.choice([10, 60, 400])), int(rng.integers(FRAMES))
        repairs = {at: LargestRepair(area / PIXELS, (0, 0, 1, 1))}
        evidence[name] = Evidence(rows, lambda frame, measure: None, repairs)
        found = judged(name, evidence[name], built_in_rules())
        row = {"clip_id": name, "state": "published", "source_uri": "/x", "width": 100}
        row |= {"height": 50, "largest_repair": area, "largest_repair_frame": at}
        clips.append({**row, **verdict_columns(found, untouched=False)})
        frames += rows
    run = {"run": RUN, "started": f"{DAY}T01:02:03+00:00", "clips": len(clips)}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("pipeline.runs.tables.check", lambda name, table: table)  # slow
        write_tables(out, RUN, DAY, clips, [], frames, run)
    return out, evidence


@pytest.mark.parametrize("own", [[], OWN], ids=["built-in", "own"])
def test_rules_judge_the_tables_as_a_run_judges_the_film(
    made: tuple[str, dict[str, Evidence]], own: list[dict[str, Any]]
) -> None:
    parsed, faults = parse_rules(own)
    assert not faults
    rules = rules_with(parsed)
    out, evidence = made
    found = {row["clip_id"]: row for row in query(out, judged_by(rules)).to_pylist()}
    assert found.keys() == evidence.keys()
    for name, row in found.items():
        expected = next(iter(judged(name, evidence[name], rules)), None)
        if expected is None:
            assert (row["verdict_by_rules"], row["rule"]) == ("pass", None)
            continue
        facts = (row["verdict_by_rules"], row["rule"], row["limit"], row["frames"])
        assert facts == (expected.verdict, expected.rule, expected.rule_limit, expected.frames)
        assert row["number"] == pytest.approx(expected.number, abs=1e-5)
    changed = [row["verdict_by_rules"] != row["verdict"] for row in found.values()]
    assert changed == sorted(changed, reverse=True)
    assert any(changed) == bool(own)


def test_the_command_reads_a_file_of_rules(
    made: tuple[str, dict[str, Evidence]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "rules.toml"
    low = VerdictRule("psnr_low", "psnr_to_source_db", "fail", "it is far away", below=1000)
    rules.write_text(rules_toml((low,)))
    query_command(out=made[0], rules=str(rules), limit=3)
    printed = capsys.readouterr().out
    assert "verdict_by_rules" in printed
    assert printed.count("psnr_low") == 3
    with pytest.raises(ArchiveError, match="give one SELECT, --view or --rules"):
        query_command("SELECT 1", out=made[0], rules=str(rules))
    rules.write_text("[[rules]]\nname = 3\n")
    with pytest.raises(ArchiveError, match="rule 1"):
        query_command(out=made[0], rules=str(rules))
