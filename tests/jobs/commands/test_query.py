"""The command query: a SELECT or a view, as a table or JSON."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.console.query import QueryLimits
from tests.support.command_line import invoke


def test_query_prints_a_table_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def ask(out: str, sql: str, limits: QueryLimits) -> pa.Table:
        assert limits == QueryLimits()
        asked.append((out, sql))
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
    assert asked == [(out, "SELECT 1"), (out, "SELECT * FROM worst_clips")]


@pytest.mark.parametrize("arguments", [[], ["SELECT 1", "--view", "worst_clips"]])
def test_query_wants_either_sql_or_a_view(arguments: list[str]) -> None:
    result = invoke("query", *arguments, "--out", "o")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "worst_clips" in result.stderr


def test_an_unknown_view_names_those_that_are() -> None:
    result = invoke("query", "--view", "nonesuch", "--out", "o")
    assert result.exit_code == 2
    assert "no view 'nonesuch'; the views are: " in result.stderr
