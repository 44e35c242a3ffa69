"""The drawn tables have the layout and the schema of real ones, and every view answers."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.console.query import query
from jobs.console.views import VIEWS, selected
from jobs.evaluate.query_scale import OF_FRAMES, Size, write_lake
from schemas.tables import PUBLISHED, check, schema

SMALL = Size(clips=500, frames=2000, nights=5)  # a clip comes again in the fifth night


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = str(tmp_path_factory.mktemp("drawn"))
    write_lake(out, SMALL)
    return out


@pytest.mark.parametrize("table", PUBLISHED)
def test_drawn_rows_pass_the_check_of_their_table(lake: str, table: str) -> None:
    files = sorted(Path(lake, "tables", table).glob("run_date=*/*/part-0.parquet"))
    assert len(files) == SMALL.nights
    found = pq.ParquetFile(files[-1]).read()
    assert found.schema.equals(schema(table))
    assert len(check(table, found)) == SMALL.of(table)


def test_every_view_answers(lake: str) -> None:
    empty = {"never_restored", "drift"}  # too few rows to have any
    assert {view for view in VIEWS if not len(query(lake, selected(view)))} <= empty


def test_views_of_frames_are_views() -> None:
    assert set(OF_FRAMES) <= VIEWS.keys()
