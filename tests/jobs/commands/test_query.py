"""The command query: a SELECT or a view, as a table or JSON."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.console.describe import described
from jobs.console.query import QueryLimits
from jobs.console.views import VIEWS
from pipeline.runs.tables import write_tables
from tests.support.command_line import invoke


def test_query_prints_a_table_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, int | None]] = []

    def ask(out: str, sql: str, limits: QueryLimits, rows: int | None) -> pa.Table:
        assert limits == QueryLimits()
        asked.append((out, sql, rows))
        return pa.table({"state": ["published"], "n": [2]})

    monkeypatch.setattr("jobs.console.query.query", ask)
    assert invoke("query", "SELECT 1", "--out", "o").stdout.splitlines() == [
        "state      n",
        "---------  -",
        "published  2",
    ]
    answer = invoke("query", "--view", "worst_clips", "--out", "o", "--json").stdout
    assert json.loads(answer) == [{"state": "published", "n": 2}]
    out = str(Path("o").resolve())
    assert asked == [(out, "SELECT 1", 101), (out, "SELECT * FROM worst_clips", None)]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tables of a run with 150 clips."""
    tmp_path = tmp_path_factory.mktemp("lake")
    run = "20261121T010203-abcdef"
    clips = [{"clip_id": f"c{n:03}", "state": "untouched", "source_uri": "x"} for n in range(150)]
    row = {"run": run, "started": "2026-11-21T01:02:03+00:00", "clips": 150}
    write_tables(str(tmp_path), run, "2026-11-21", clips, [], [], row)
    return str(tmp_path)


def test_a_person_gets_a_hundred_rows_and_a_program_all(lake: str) -> None:
    def asked(*options: str) -> tuple[int, str]:
        result = invoke("query", "SELECT clip_id FROM clips", "--out", lake, *options)
        return len(result.stdout.splitlines()), result.stderr

    cut = "only the first {} rows are printed; --limit 0 prints all\n"
    assert asked() == (102, cut.format(100))
    assert asked("--output", "vertical") == (299, cut.format(100))
    assert asked("--limit", "0") == (152, "")
    assert asked("--limit", "150") == (152, "")
    assert asked("--csv") == asked("--output", "csv") == (151, "")
    assert asked("--output", "csv", "--limit", "7") == (8, cut.format(7))
    rows = json.loads(invoke("query", "FROM clips", "--out", lake, "--json").stdout)
    assert len(rows) == 150


def test_a_wide_row_is_printed_downwards(lake: str) -> None:
    arguments = ("query", "--view", "latest_clips", "--out", lake, "--output", "vertical")
    lines = invoke(*arguments, "--limit", "1").stdout.splitlines()
    assert lines[0] == "row 1" and lines[1].split() == ["clip_id", "c000"]
    assert len(lines) == 1 + len(described("latest_clips"))


def test_a_result_as_parquet(lake: str) -> None:
    arguments = ("query", "SELECT clip_id FROM clips", "--out", lake, "--output", "parquet")
    found = pq.read_table(pa.BufferReader(invoke(*arguments).stdout_bytes))
    assert found["clip_id"].to_pylist()[149] == "c149"


def test_help_and_a_list_name_every_view() -> None:
    page = " ".join(invoke("query", "--help").stdout.split())
    names = page.partition("The views:")[2].partition(".")[0]
    assert sorted(name.strip() for name in names.split(",")) == sorted(VIEWS)
    listed = json.loads(invoke("query", "--views", "--json").stdout)
    assert {row["view"]: row["meaning"] for row in listed} == {
        name: view.meaning for name, view in VIEWS.items()
    }


def test_describe_gives_unit_and_meaning() -> None:
    rows = json.loads(invoke("query", "--describe", "clips", "--json").stdout)
    (noise,) = [row for row in rows if row["column"] == "noise_sigma_after"]
    assert noise["unit"] == "code values"
    assert noise["meaning"] == "Standard deviation of the noise of the restored clip."
    result = invoke("query", "--describe", "nonesuch")
    assert result.exit_code == 2 and "give one of runs, clips" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["SELECT 1", "--view", "worst_clips"]])
def test_query_wants_either_sql_or_a_view(arguments: list[str]) -> None:
    result = invoke("query", *arguments, "--out", "o")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "worst_clips" in result.stderr


def test_an_unknown_view_names_those_that_are() -> None:
    result = invoke("query", "--view", "nonesuch", "--out", "o")
    assert result.exit_code == 2
    assert "no view 'nonesuch'; the views are: " in result.stderr
