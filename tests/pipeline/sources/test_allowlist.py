"""Allowed places: sources lie outside of the output, and below the configured places."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.clip.clip import Clip
from pipeline.sources.allowlist import VARIABLE, allowed, overlaps, reached
from pipeline.sources.fetch import source_token
from pipeline.sources.manifest import (
    ManifestInvalid,
    inspect_manifest,
    read_manifest,
)
from schemas.errors import ArchiveError, ClipFault
from schemas.reasons import Reason


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("/films/a.mkv", "/films"),  # its own folder
        ("file:///films/a.mkv", "/films/"),
        ("/films/reels/1/a.mkv", "/films"),  # a folder above it
        ("/films/restored/clips/a/a_rst.mkv", "/films/restored"),  # a result as a source
        ("s3://films/reels/a.mkv", "s3://films/reels"),
        ("s3://films/reels/a.mkv", "s3://films"),
        ("s3://films/reel", "s3://films/reel/restored"),  # below the source itself
    ],
)
def test_output_among_the_originals_is_a_fault(source: str, out: str) -> None:
    row = Clip("a", source)
    assert [(f.row, f.column, f.value) for f in overlaps([(7, row)], out)] == [
        (7, "source_uri", source)
    ]
    row = Clip("a", "/elsewhere/a.mkv", reference_uri=source)
    assert [f.column for f in overlaps([(7, row)], out)] == ["reference_uri"]


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("/films/a.mkv", "/films/restored"),  # beside it
        ("/films/a.mkv", "/films-restored"),
        ("/films/in/a.mkv", "/films/out"),
        ("s3://films/reels/a.mkv", "s3://films/restored"),
        ("s3://films/reels/a.mkv", "s3://films/reels/restored"),
        ("s3://films/reel.mkv", "s3://films/reel"),
        ("s3://films/a.mkv", "/films"),
    ],
)
def test_output_beside_the_originals_is_none(source: str, out: str) -> None:
    assert list(overlaps([(2, Clip("a", source))], out)) == []


def test_a_link_does_not_hide_that_they_are_one_place(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "films")
    row = Clip("a", f"{tmp_path}/films/a.mkv")
    assert len(list(overlaps([(2, row)], f"{tmp_path}/link"))) == 1


def test_every_original_in_the_output_is_named_with_its_row(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("clip_id,source_uri\na,out/a.mkv\nb,b.mkv\nc,out/deep/c.mkv\n")
    assert len(read_manifest(str(manifest), str(tmp_path / "restored"))) == 3
    with pytest.raises(ManifestInvalid) as caught:
        read_manifest(str(manifest), str(tmp_path / "out"))
    assert [(f["row"], f["value"]) for f in caught.value.faults] == [
        (2, f"{tmp_path}/out/a.mkv"),
        (4, f"{tmp_path}/out/deep/c.mkv"),
    ]


def test_sources_lie_below_the_places_that_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "s3://films/ s3://news/reels '/mnt/my archive'")
    uris = {
        "s3://films/a.mkv": True,
        "s3://films/deep/a.mkv": True,
        "s3://films-2/a.mkv": False,
        "s3://news/reels/a.mkv": True,
        "s3://news/reels-2/a.mkv": False,
        "s3://news/a.mkv": False,
        "/mnt/my archive/a.mkv": True,
        "file:///mnt/my%20archive/a.mkv": True,
        "/mnt/./my archive//a.mkv": True,
        "/mnt/my archive-2/a.mkv": False,
        "/etc/shadow": False,
    }
    for number, (uri, fine) in enumerate(uris.items()):
        row = {"clip_id": f"c{number}", "source_uri": "s3://films/x", "reference_uri": uri}
        _, faults = inspect_manifest("/mnt/m.jsonl", json.dumps(row).encode())
        assert [fault.column for fault in faults] == ([] if fine else ["reference_uri"]), uri
    monkeypatch.delenv(VARIABLE)
    assert all(uri in allowed() for uri in uris)


@pytest.mark.parametrize("places", ["http://host/", "films", "s3://films/../x", "/mnt/..", "s3:"])
def test_a_place_that_is_none_is_an_error(places: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"/mnt {places}")
    with pytest.raises(ArchiveError, match=VARIABLE):
        allowed()


def test_a_link_leads_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("films", "secret"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mkv").write_bytes(b"a")
    (tmp_path / "films" / "b.mkv").symlink_to(tmp_path / "secret" / "a.mkv")
    (tmp_path / "link").symlink_to(tmp_path / "films")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "link"))
    assert reached(str(tmp_path / "films" / "a.mkv")) and reached(str(tmp_path / "link" / "a.mkv"))
    with pytest.raises(ClipFault) as caught:
        source_token(str(tmp_path / "films" / "b.mkv"))
    assert caught.value.reason is Reason.URI_REFUSED
