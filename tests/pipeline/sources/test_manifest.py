"""Manifests: every fault is found at once, with its row and column."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pipeline.sources.formats import ManifestFault
from pipeline.sources.manifest import (
    ManifestInvalid,
    inspect_manifest,
    read_manifest,
)
from pipeline.store import storage
from pipeline.store.address import join
from schemas.manifest import COLUMNS
from schemas.manifest_model import manifest_json_schema

pytest_plugins = ("tests.support.environment.s3",)
MD5, SHA256 = "d41d8cd98f00b204e9800998ecf8427e", "e3" * 32


def faults_of(rows: Sequence[Mapping[str, object]]) -> list[ManifestFault]:
    """The errors of rows given as values."""
    data = "\n".join(json.dumps(row) for row in rows).encode()
    return [f for f in inspect_manifest("m.jsonl", data)[1] if f.severity == "error"]


def test_every_planted_fault_is_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(
        "clip_id,source_uri,checksum,colour\n"
        "a,a.mkv,,red\n"
        "\n"
        "b/c,../b.mkv,xyz,red\n"
        "A,http://host/c.mkv,,red\n"
        ",d.mkv,,red\n"
        "e,e.mkv\n"
    )
    with pytest.raises(ManifestInvalid) as caught:
        read_manifest(str(path))
    found = [(fault["row"], fault["column"]) for fault in caught.value.faults]
    assert found == [
        (4, "clip_id"),
        (4, "source_uri"),
        (4, "checksum"),
        (4, "checksum"),
        (5, "source_uri"),
        (5, "clip_id"),
        (6, "clip_id"),
        (7, ""),
    ]
    assert caught.value.exit_code == 2
    assert "8 faults" in str(caught.value)
    assert "row 4, clip_id 'b/c': is not made of letters" in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.faults) == (str(caught.value), caught.value.faults)


def test_an_unknown_column_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("clip_id,source_uri,colour\na,a.mkv,red\n")
    rows, faults = inspect_manifest(str(path), path.read_bytes())
    assert [clip.clip_id for clip in rows] == ["a"]
    assert [(f.severity, f.column) for f in faults] == [("warning", "colour")]
    assert len(read_manifest(str(path))) == 1


@pytest.mark.parametrize("missing", ["clip_id", "source_uri"])
def test_a_missing_column_is_named(missing: str) -> None:
    other = {"clip_id": "source_uri", "source_uri": "clip_id"}[missing]
    _, faults = inspect_manifest("m.csv", f"{other}\na\n".encode())
    assert [(f.row, f.column, f.sentence) for f in faults] == [
        (0, missing, "the column is missing")
    ]


HOSTILE = [
    "http://host/a.mkv",
    "https://169.254.169.254/latest/meta-data",
    "ftp://host/a.mkv",
    "gs://bucket/a.mkv",
    "file://host/share/a.mkv",
    "file://a.mkv",
    "data:video/mp4;base64,AAAA",
    "concat:a.mkv|b.mkv",
    "pipe:0",
    "subfile,,start,0,end,9,,:a.mkv",
    "HTTP://host/a.mkv",
    "S3://bucket/a.mkv",
    "javascript:alert(1)",
    "s3://key:secret@bucket/a.mkv",
    "s3://key@bucket/a.mkv",
    "s3://bucket/a.mkv?X-Amz-Signature=abc",
    "s3://bucket/a.mkv?AWSAccessKeyId=abc",
    "s3://bucket",
    "s3://bucket/",
    "s3:///a.mkv",
    "s3://bucket//a.mkv",
    "s3://bucket/a//b.mkv",
    "s3://bucket/folder/",
    "s3://Bucket/a.mkv",
    "s3://b/a.mkv",
    "s3://169.254.169.254/latest",
    "s3://buck..et/a.mkv",
    "s3://[::1]/a.mkv",
    "s3://bucket/../other/a.mkv",
    "s3://bucket/a/%2e%2e/b.mkv",
    "../a.mkv",
    "a/../../b.mkv",
    "..",
    "%2E%2E/a.mkv",
    "a/‥/b.mkv",
    "a/․․/b.mkv",
    "a\\b.mkv",
    "..\\a.mkv",
    "\\\\host\\share\\a.mkv",
    "//host/share/a.mkv",
    "/dev/zero",
    "/proc/self/environ",
    "file:///proc/self/environ",
    "file:///dev/zero",
    "folder/",
    "a\0.mkv",
    "a\n.mkv",
    "a\x1b[31m.mkv",
    "a\u202egpj.mkv",
    "a\u200b.mkv",
    "a\ufeff.mkv",
    "a／b.mkv",
    "a＼b.mkv",
    " a.mkv",
    "a.mkv ",
    "a" * 1025,
    "é" * 600,
    "",
    "   ",
]


@pytest.mark.parametrize("column", ["source_uri", "reference_uri"])
def test_hostile_addresses_are_refused_before_any_io(column: str) -> None:
    uris = [uri for uri in HOSTILE if uri.strip() or column == "source_uri"]
    rows: list[dict[str, object]] = [
        {"clip_id": f"c{number}", "source_uri": "a.mkv"} | {column: uri}
        for number, uri in enumerate(uris)
    ]
    faults = faults_of(rows)
    refused = [uris[fault.row - 1] for fault in faults]
    assert refused == uris
    assert {fault.column for fault in faults} == {column}
    assert not any("secret" in str(fault) for fault in faults)


HONEST = [
    "a.mkv",
    "./reel:1.mkv",
    "reels/été 1.mkv",
    "/mnt/archive/a..b.mkv",
    "file:///mnt/a%20b.mkv",
    "file://localhost/mnt/a.mkv",
    "s3://films/a b/(1).mkv",
    "s3://films.archive-1/a.mkv",
    "100%.mkv",
    "フィルム.mov",
]


def test_honest_addresses_are_accepted() -> None:
    rows = [{"clip_id": f"c{n}", "source_uri": uri} for n, uri in enumerate(HONEST)]
    assert faults_of(rows) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("clip_id", "a/b"),
        ("clip_id", ".hidden"),
        ("clip_id", "a b"),
        ("clip_id", "é"),
        ("clip_id", "a" * 129),
        ("clip_id", "a\n"),
        ("clip_id", None),
        ("clip_id", ["a"]),
        ("checksum_algo", "crc32"),
        ("priority", "high"),
        ("priority", "1.5"),
        ("priority", 2000),
        ("priority", "١"),
        ("embargo_until", "2026-02-30"),
        ("embargo_until", "01/02/2026"),
        ("embargo_until", "20260102"),
        ("access_class", "a/b"),
        ("recipe", "../film"),
        ("field_order", "upper"),
        ("expected_fps", "fast"),
        ("expected_fps", "25/0"),
        ("expected_fps", "0"),
        ("expected_fps", "-25"),
        ("expected_fps", "1e9"),
        ("expected_fps", "NaN"),
        ("expected_fps", True),
        ("notes", "a\0"),
        ("notes", "n" * 5000),
        ("collection", "a\u202eb"),
        ("collection", {"name": "a"}),
    ],
)
def test_a_bad_value_is_a_fault_of_its_cell(column: str, value: object) -> None:
    good: dict[str, object] = {"clip_id": "z", "source_uri": "z.mkv"}
    rows = [good, {"clip_id": "a", "source_uri": "a.mkv"} | {column: value}]
    faults = faults_of(rows)
    places = {(fault.row, fault.column) for fault in faults}
    places.discard((2, "checksum"))  # an algorithm without a checksum is a fault as well
    assert places == {(2, column)}


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        ("24", "24"),
        ("25/1", "25"),
        (25, "25"),
        (25.0, "25"),
        ("23.976", "24000/1001"),
        ("29.970", "30000/1001"),
        ("16.667", "16667/1000"),
    ],
)
def test_frame_rates_become_ratios(value: object, rate: str) -> None:
    data = json.dumps({"clip_id": "a", "source_uri": "a", "expected_fps": value}).encode()
    assert inspect_manifest("m.jsonl", data)[0][0].expected_fps == rate


@pytest.mark.parametrize(
    ("checksum", "algorithm", "found"),
    [
        (MD5, None, "md5"),
        (SHA256, None, "sha256"),
        (SHA256, "SHA256", "sha256"),
        (MD5, "sha256", None),
        (SHA256, "md5", None),
        (MD5[:-1], None, None),
        ("x" * 32, "md5", None),
        (None, "md5", None),
    ],
)
def test_checksums_fit_their_algorithm(
    checksum: str | None, algorithm: str | None, found: str | None
) -> None:
    row = {"clip_id": "a", "source_uri": "a", "checksum": checksum, "checksum_algo": algorithm}
    rows, faults = inspect_manifest("m.jsonl", json.dumps(row).encode())
    assert [clip.checksum_algo for clip in rows] == ([found] if found else [])
    assert {fault.column for fault in faults} == (set() if found else {"checksum"})


def test_duplicates_are_found_without_regard_to_case() -> None:
    rows = [{"clip_id": name, "source_uri": "a"} for name in ("a", "b", "A", "b")]
    assert [(f.row, f.sentence) for f in faults_of(rows)] == [
        (3, "is the clip_id of row 1 already"),
        (4, "is the clip_id of row 2 already"),
    ]


def test_a_manifest_without_rows_is_a_warning() -> None:
    rows, faults = inspect_manifest("m.csv", b"clip_id,source_uri\n")
    assert rows == []
    assert [(f.severity, f.sentence) for f in faults] == [("warning", "has no rows")]


def test_sources_are_relative_to_the_manifest_in_a_store(s3_prefix: str) -> None:
    uri = join(s3_prefix, "night", "m.csv")
    storage.write_bytes(uri, b"clip_id,source_uri\na,./reels/a.mkv\nb,/mnt/b.mkv\n")
    sources = [clip.source_uri for clip in read_manifest(uri)]
    assert sources == [f"{s3_prefix}/night/reels/a.mkv", "/mnt/b.mkv"]


def test_the_examples_of_the_schema_are_a_valid_row() -> None:
    row = {name: column.example for name, column in COLUMNS.items()}
    assert faults_of([row]) == []
    assert set(manifest_json_schema()["properties"]) == set(COLUMNS)  # type: ignore[call-overload]
