"""Manifests in three formats have one meaning."""

from __future__ import annotations

import io
import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.clip.clip import Clip
from pipeline.sources.formats import parse
from pipeline.sources.manifest import (
    inspect_manifest,
    read_manifest,
)
from schemas.errors import ArchiveError
from schemas.manifest import COLUMNS

MD5, SHA256 = "d41d8cd98f00b204e9800998ecf8427e", "e3" * 32
ROWS: list[dict[str, object]] = [
    {
        "clip_id": "reel-1",
        "source_uri": "reels/1.mkv",
        "checksum": MD5.upper(),
        "priority": 5,
        "embargo_until": date(2030, 1, 1),
        "expected_fps": 29.97,
    },
    {"clip_id": "reel-2", "source_uri": "s3://films/2.mkv", "notes": 'says "hello", twice'},
]
NAMES = list(dict.fromkeys(name for row in ROWS for name in row))


def as_csv(delimiter: str = ",") -> bytes:
    lines = [delimiter.join(NAMES)]
    for row in ROWS:
        cells = ('"{}"'.format(str(row.get(name) or "").replace('"', '""')) for name in NAMES)
        lines.append(delimiter.join(cells))
    return "\r\n".join(lines).encode("utf-8-sig")


def as_json() -> bytes:
    return "\n\n".join(json.dumps(row, default=str) for row in ROWS).encode()


def parquet_of(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


def as_parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({name: [row.get(name) for row in ROWS] for name in NAMES}), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("m.csv", as_csv()),
        ("m.jsonl", as_json()),
        ("m.parquet", as_parquet()),
        ("m.json", json.dumps(ROWS, default=str).encode()),
        ("m.tsv", as_csv("\t")),
        ("excel.csv", as_csv(";")),
    ],
)
def test_every_format_gives_the_same_rows(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    first, second = read_manifest(str(tmp_path / name))
    assert set(first.to_dict()) == set(COLUMNS)
    assert first == Clip(
        "reel-1",
        str(tmp_path / "reels" / "1.mkv"),
        checksum=MD5,
        checksum_algo="md5",
        priority=5,
        embargo_until="2030-01-01",
        expected_fps="30000/1001",
    )
    assert second.source_uri == "s3://films/2.mkv"
    assert second.notes == 'says "hello", twice'
    assert (second.priority, second.checksum, second.embargo_until) == (0, None, None)


def test_rows_are_numbered_as_a_person_sees_them() -> None:
    csv = b'clip_id,source_uri,notes\na,a.mkv,"two\nlines"\n\n/,b.mkv,\n'
    jsonl = b'{"clip_id":"a","source_uri":"a"}\n\n{"clip_id":"/","source_uri":"b"}\n'
    assert [f.row for f in inspect_manifest("m.csv", csv)[1]] == [4]
    assert [f.row for f in inspect_manifest("m.jsonl", jsonl)[1]] == [3]
    table = pa.table({"clip_id": ["a", "/"], "source_uri": ["a", "b"]})
    assert [f.row for f in inspect_manifest("m.parquet", parquet_of(table))[1]] == [2]


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("m.csv", b"", "is empty"),
        ("m.jsonl", b"\n\n", "is empty"),
        ("m.csv", b"clip_id,source_uri\na,\xff.mkv\n", "line 2 is not UTF-8"),
        ("m.csv", b'clip_id,source_uri\na,"a.mkv\n', "is not CSV"),
        ("m.csv", b"clip_id,source_uri,clip_id\na,a.mkv,b\n", "more than once"),
        ("m.csv", b"clip_id,source_uri\na,a.mkv,extra\n", "3 cells, the header has 2"),
        ("m.jsonl", b'{"clip_id":"a","source_uri":"a"}\n{"clip_id"\n', "is not JSON"),
        ("m.jsonl", b'{"clip_id":"a","source_uri":"a"}\n[1]\n', "is not a JSON object"),
        ("m.jsonl", b'{"clip_id":"a","clip_id":"b","source_uri":"a"}\n', "key appears more"),
        ("m.jsonl", b"[" * 100_000, "is not JSON"),
        ("m.json", b'[{"clip_id": "a"', "is not JSON"),
        ("m.parquet", b"PAR1 not really", "is not Parquet"),
    ],
)
def test_a_malformed_manifest_is_a_fault_and_no_traceback(
    name: str, data: bytes, sentence: str
) -> None:
    rows, faults = inspect_manifest(name, data)
    assert rows == []
    assert any(sentence in fault.sentence for fault in faults), faults


def test_cells_are_read_as_text() -> None:
    table, faults = parse("m.csv", b"clip_id,source_uri,priority\n007,a,01\n")
    assert faults == []
    assert table.drop_columns("#row").to_pylist() == [
        {"clip_id": "007", "source_uri": "a", "priority": "01"}
    ]
    assert table["#row"].to_pylist() == [2]


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ArchiveError, match=r"\.csv"):
        read_manifest("manifest.xlsx")


def test_tables_from_other_readers_are_checked_alike() -> None:
    table = pa.table({"clip_id": [1, 2], "source_uri": ["a", "../b"], "notes": [["x"], None]})
    faults = inspect_manifest("m.parquet", parquet_of(table))[1]
    assert [(f.row, f.column) for f in faults] == [
        (1, "notes"),
        (2, "source_uri"),
    ]
