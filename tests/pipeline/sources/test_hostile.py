"""Hostile values in a manifest are refused by their text, before anything is opened."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.sources.manifest import inspect_manifest
from schemas.manifest import COLUMNS

GOOD = {"clip_id": "a", "source_uri": "a.mkv"}
URIS = [
    # out of the folder
    "../a.mkv", "a/../../b.mkv", "..", "./../a.mkv", "/mnt/../etc/shadow", "%2e%2e/a.mkv",
    "file:///mnt/%2e%2e/etc/shadow", "file:///mnt%2f..%2fetc", "s3://bucket/../other/a.mkv",
    "s3://bucket/a/..%2f..%2fb.mkv", "\u2025/a.mkv", "\uff0e\uff0e/a.mkv",
    # other hosts
    "http://host/a.mkv", "https://host/a.mkv", "HTTP://host/a.mkv", "ftp://host/a.mkv",
    "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/latest",
    "http://metadata.google.internal/computeMetadata/v1/", "http://2852039166/", "http://0x7f.1/",
    "s3://169.254.169.254/latest", "s3://0xa9fea9fe/latest", "s3://2852039166/latest",
    "s3://metadata.google.internal/v1", "s3://instance-data/latest", "s3://localhost/a",
    "s3://printer.local/a", "s3://127.0.0.1:9000/a", "s3://[::1]/a.mkv", "//host/share/a.mkv",
    "\\\\host\\share\\a.mkv", "file://host/share/a.mkv", "smb://host/a.mkv", "rtsp://host/a",
    # what a decoder could be talked into
    "concat:a.mkv|b.mkv", "subfile,,start,0,end,9,,:a.mkv", "pipe:0", "data:video/mp4;base64,AA",
    "crypto:a.mkv", "javascript:alert(1)",
    # credentials
    "s3://key:secret@bucket/a.mkv", "s3://key@bucket/a.mkv", "https://u:secret@host/a.mkv",
    "s3://bucket/a.mkv?X-Amz-Signature=secret", "s3://bucket/a.mkv?awsaccesskeyid=secret",
    # devices and folders
    "/dev/zero", "/dev/./sda", "/./dev/zero", "/.//proc/self/environ", "/proc/1/root/etc/shadow",
    "file:///sys/kernel", "file:///%2fdev/zero", "folder/", "folder/.", "s3://bucket/folder/",
    # characters
    "a\0.mkv", "file:///a%00.mkv", "a%0a.mkv", "a\n.mkv", "a\t.mkv", "a\x1b[31m.mkv", "a\x7f.mkv",
    "a\u202egpj.mkv", "a\u2066b.mkv", "file:///a%E2%80%AEb.mkv", "a\u200b.mkv", "a\u200d.mkv",
    "a\ufeff.mkv", "a\u00ad.mkv", "a\u3164.mkv", "a\u034f.mkv", "a\u2028.mkv", "a\ud800.mkv",
    "a\u2044b.mkv", "a\u2215b.mkv", "a\u29f8b.mkv", "a\uff0fb.mkv", "a\u2216b.mkv",
    "a\uff3cb.mkv", "s3\uff1a//bucket/a", "s3\ua789//bucket/a", "a\\b.mkv", "a%5cb.mkv",
    # formulas, sizes, forms
    "=cmd|'/c calc'!A0", "+1+1", "-2+3", "@SUM(A1)", '=HYPERLINK("a")', "a" * 1025, "\u00e9" * 600,
    "s3://bucket", "s3://bucket/", "s3:///a.mkv", "s3://bucket//a.mkv", "s3://Bucket/a.mkv",
    "s3://b/a.mkv", " a.mkv", "a.mkv ", "s3://" + "b" * 64 + "/a.mkv", "s3://-b1/a.mkv",
    "s3://b_1/a.mkv", "s3://b..c/a.mkv", "s3://192.168.0.1/a.mkv", "S3://bucket/a.mkv",
    # other ways to the same places
    "%2E%2E%2Fa.mkv", "a/%2e./b.mkv", "s3://bucket/%2e%2e/a.mkv", "file://localhost/../a.mkv",
    "file:a.mkv", "file:/etc/shadow", "FILE:///etc/shadow", "gs://bucket/a.mkv", "az://c/a.mkv",
    "hdfs://n/a.mkv", "ssh://host/a", "git+ssh://host/a", "ldap://host/a", "jar:file:/a!/b",
    "tcp://host:1/a", "udp://@239.0.0.1:1", "rtmp://host/a", "srt://host:1", "unix:/run/a.sock",
    "ffconcat:a", "async:a.mkv", "cache:http://host/a", "tee:a|b", "md5:a", "lavfi:testsrc", "fd:3",
    "/proc/self/fd/0", "/dev/stdin", "/dev/shm/../zero", "file:///dev/fd/0", "/sys/../dev/zero",
    "a\u0085b.mkv", "a\u061cb.mkv", "a\u180eb.mkv", "a\u2800b.mkv", "a\uffa0b.mkv", "%0d%0aa.mkv",
    "\U000e0041.mkv", "a%E2%80%8Bb.mkv", "a\u2236b.mkv", "a\uff05b.mkv",
]  # fmt: skip
CELLS = [
    ("clip_id", value)
    for value in (
        "../a", "/etc/a", "a/b", "a\\b", ".a", "..", "a b", "=cmd()", "a\0", "a\u202eb", "\u0430",
        "a" * 129, "CON:", "a;rm", "$(id)", "a\n", "<b>", "a%2fb", "*", "~",
    )
] + [
    ("collection", "=cmd()"), ("collection", "@SUM(A1)"), ("collection", "a\u202eb"),
    ("collection", "a\0b"), ("collection", "x" * 4097), ("notes", "n" * 4097), ("notes", "\x1b[2J"),
    ("recipe", "../../etc/passwd"), ("recipe", "/etc/passwd"), ("recipe", "http://host/r.toml"),
    ("access_class", "public\u200b"), ("access_class", "a/b"), ("checksum", "=1"),
    ("checksum", "0" * 4096), ("priority", "1e9"), ("priority", "99999"),
    ("embargo_until", "2030-01-01T00:00"), ("expected_fps", "9" * 400), ("expected_fps", "1/0"),
    ("field_order", "tff; x"), ("reference_uri", "../a.mkv"), ("reference_uri", "http://host/a"),
    ("reference_uri", "s3://k:secret@bucket/a.mkv"), ("reference_uri", "/dev/zero"),
    ("interlace", "keep\n"), ("interlace", "$(id)"), ("gaps", "allowed;"), ("gaps", "../a"),
    ("fill", "5-1"), ("fill", "1-99999999999"), ("fill", "1 " * 300), ("fill", "\u0661"),
    ("leave", "-1"), ("leave", "1,2"), ("leave", "0-1 1-2"), ("leave", "1e9"),
    ("protect", "0,0,1"), ("protect", "-1,0,1,1"), ("protect", "0,0,1e9,1"),
    ("protect", "1,1,1,1 " * 65), ("priority", "\u0661"), ("priority", "nan"),
    ("embargo_until", "9999-99-99"), ("embargo_until", "\u0662030-01-01"), ("expected_fps", "inf"),
    ("expected_fps", "-25"), ("expected_fps", "25/0"), ("checksum_algo", "crc32"),
    ("checksum_algo", "sha256\0"), ("checksum", "../a"), ("recipe", "film\0"), ("recipe", "x" * 65),
]  # fmt: skip
HOSTILE = [("source_uri", uri) for uri in URIS] + CELLS
_WATCHED = ("open", "socket.", "os.listdir", "os.scandir", "subprocess.", "os.exec", "urllib.",
            "shutil.", "os.remove", "os.mkdir", "os.rename")  # fmt: skip
_heard: list[tuple[str, Any]] | None = None


def _hear(event: str, arguments: Any) -> None:
    if _heard is not None and event.startswith(_WATCHED):
        _heard.append((event, arguments))


sys.addaudithook(_hear)  # for good: a hook cannot be taken off


@contextmanager
def heard() -> Iterator[list[tuple[str, Any]]]:
    """What was opened, listed, connected to or started meanwhile."""
    global _heard  # noqa: PLW0603
    _heard = found = []
    try:
        yield found
    finally:
        _heard = None


def test_the_ear_hears(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with heard() as found:
        (tmp_path / "a").open("rb").close()
        os.listdir(tmp_path)
    assert {event for event, _ in found} == {"open", "os.listdir"}


def test_every_hostile_value_is_refused_before_any_io(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(set(HOSTILE)) >= 200
    rows = [GOOD | {"clip_id": f"c{n}", name: value} for n, (name, value) in enumerate(HOSTILE)]
    lines = [json.dumps(row).encode() for row in rows]
    inspect_manifest("m.jsonl", lines[0])  # what is imported on first use
    with heard() as found, monkeypatch.context() as patched:
        for name in ("stat", "lstat", "readlink"):
            patched.setattr(os, name, lambda *a, **k: found.append(("stat", a)))
        kept, faults = inspect_manifest("m.jsonl", b"\n".join(lines), "/out")
    assert kept == []
    refused = {(fault.row, fault.column) for fault in faults if fault.severity == "error"}
    missed = [h for n, h in enumerate(HOSTILE, start=1) if (n, h[0]) not in refused]
    assert (missed, found) == ([], [])
    assert not any("secret" in str(fault) for fault in faults)


@pytest.mark.parametrize(
    "uri", ["s3://films/reel_%06d.dpx", "/mnt/films/reel_%04d.TIFF", "reel %08d.png"]
)
def test_the_pattern_of_a_sequence_is_no_percent_encoding(uri: str) -> None:
    row = {"clip_id": "reel", "source_uri": uri, "expected_fps": "24"}
    assert inspect_manifest("/mnt/m.jsonl", json.dumps(row).encode())[1] == []
    row["source_uri"] = f"{uri}%0a"
    assert inspect_manifest("/mnt/m.jsonl", json.dumps(row).encode())[1] != []


PARTS = (
    "s3://", "b-1", "Films", "a b", ".", "..", "/", "//", "dev", "proc", "localhost", "%2e", ":",
    "%06d", "\\", "=", "-", "_", " ", "\n", "\u00e9", "@", "x" * 500, "file:",
)  # fmt: skip


def test_a_plain_address_keeps_every_rule() -> None:
    """The short way through the rules of an address accepts nothing that the rules refuse."""
    rows = random.Random(0)
    found = ["".join(rows.choices(PARTS, k=rows.randint(1, 6))) for _ in range(20_000)]
    column = COLUMNS["source_uri"]
    assert column.plain is not None
    plain = [uri for uri in (*found, *URIS) if column.plain.fullmatch(uri)]
    assert len(plain) > 500
    assert [uri for uri in plain if not all(rule.accepts(uri) for rule in column.rules)] == []
