"""Milliseconds to check one row of a table: its Arrow types alone, and with Pandera.

Run: python docs/experiments/scripts/row_checks.py

The row has a valid value in every column. Each check is repeated 10 times. The script prints the
least and the median. The first check, which also builds the model of the table, is not counted.
"""

import argparse
import re
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa

from schemas.columns import FLAG, INTEGER, REAL, TEXT, TIME, Column
from schemas.tables import TABLES, check, schema

REPEATS = 10
VALUES = {INTEGER: 1, REAL: 1.0, FLAG: True, TIME: datetime(2026, 11, 30, tzinfo=UTC)}
TEXTS = ("a", "a" * 64, "20261130T000000-000000", "2026-11-30")


def value_of(column: Column, name: str) -> object:
    """A value that the column allows; a published clip has no reason."""
    if name == "reason":
        return None
    if column.values:
        return column.values[0]
    if column.type == TEXT:
        return next(text for text in TEXTS if re.fullmatch(column.pattern or ".*", text))
    return VALUES[column.type]


def milliseconds(work: Callable[[], object]) -> tuple[float, float]:
    """Least and median time of the work."""
    work()
    found = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - started))
    return min(found), statistics.median(found)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print("| table | columns | Arrow ms: least, median | Pandera ms: least, median |")
    print("|---|--:|--:|--:|")
    for table in ("shots", "flow", "clips"):
        columns = TABLES[table]
        row = {name: value_of(column, name) for name, column in columns.items()}
        made = pa.Table.from_pylist([row], schema(table))
        arrow = milliseconds(partial(pa.RecordBatch.from_pylist, [row], schema(table)))
        pandera = milliseconds(partial(check, table, made))
        cells = [f"{least:.2f}, {median:.2f}" for least, median in (arrow, pandera)]
        print(f"| {table} | {len(columns)} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main()
