"""Source pixels are put back exactly, on record, and whole whatever interrupts it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.clip.clip import Clip as ManifestClip
from pipeline.clip.frames import Frame
from pipeline.media.decoder import Decoder
from pipeline.proof.fixity import check_published
from pipeline.proof.record import read_record, unsealed
from pipeline.runs import audit, lease
from pipeline.runs.results import unchanged
from pipeline.runs.settings import Settings
from pipeline.store import layout, storage
from pipeline.undo import publishing
from pipeline.undo import revert as undo
from pipeline.undo.revert import revert_clip
from pipeline.undo.review import release_clip
from pipeline.undo.selection import Request
from schemas.errors import ArchiveError, ClipFault
from schemas.reasons import Reason
from schemas.recipe import Limits, Recipe
from tests.support.command_line import invoke
from tests.support.environment.failing import Killed, Mortal
from tests.support.media.media_factory import Clip, write_clip
from tests.support.premis_schema import breaches, texts
from tests.support.published import settings_for

FRAMES, CHANGED = 6, 5  # of the reel


def frames(path: str | Path) -> list[Frame]:
    with Decoder(path, Limits()) as decoder:
        return list(decoder)


def master(out: str) -> str:
    return f"{out}/clips/reel/reel_rst.mkv"


def rows(out: str, table: str) -> list[dict[str, Any]]:
    return [
        row for path in sorted(Path(out).glob(f"tables/{table}/**/*.parquet"))
        for row in pq.read_table(path, partitioning=None).to_pylist()
    ]  # fmt: skip


def test_a_box_of_some_frames_is_put_back_and_nothing_else(
    reel: tuple[Path, Settings], out: str
) -> None:
    source, before = frames(reel[0] / "reel.mkv"), frames(master(out))
    former = storage.read_bytes(f"{master(out)}.json")
    asked = ("--frames", "1:2", "--region", "9,11,21,17", "--by", "A. Curator", "--note", "a foot")
    told = invoke("revert", "reel", "--out", out, *asked)
    assert told.exit_code == 0, told.output
    assert "widened from 9,11,21,17 to 8,10,22,18" in told.stdout
    for number, frame in enumerate(frames(master(out))):
        if number not in (1, 2):
            assert frame.crc32 == before[number].crc32
            continue
        box = np.zeros(frame.planes[0].shape, bool)
        box[10:28, 8:30] = True
        expected = np.where(box, source[number].planes[0], before[number].planes[0])
        assert np.array_equal(frame.planes[0], expected)
        assert not np.array_equal(expected, before[number].planes[0])
    checked = check_published(master(out), decode=True)
    assert (checked.faults, checked.files) == ([], 5)
    _check_papers(out, former)
    assert Path(out, "publishing").exists() is False or not list(
        Path(out, "publishing").rglob("*.*")
    )


def _check_papers(out: str, former: bytes) -> None:
    """Record, PREMIS, audit log, tables and tags tell who put back what, and what stood before."""
    record, old = read_record(master(out)), unsealed(former)
    (entry,) = record["reverts"]
    assert (entry["by"], entry["note"], entry["region"]) == ("A. Curator", "a foot", "8,10,22,18")
    assert (entry["first_frame"], entry["last_frame"]) == (1, 2)
    assert entry["former"]["output_sha256"] == old["row"]["output_sha256"]
    assert storage.read_bytes(f"{out}/{entry['former']['record']}") == former
    row, was = record["row"], old["row"]
    assert row["output_sha256"] == storage.sha256_file(master(out)) != was["output_sha256"]
    assert (row["frames_reverted"], row["frames_changed"]) == (2, CHANGED)
    assert was["source_share"] < row["source_share"] < 1
    assert was["verdict"] == row["verdict"] == "pass"
    assert record["tags"]["RESTORATION_REVERTED"] == "1 to 2"
    root = ET.fromstring(storage.read_bytes(f"{master(out)}.premis.xml"))
    assert breaches(root) == []
    for kind in ("Object", "Event", "Agent"):
        there = texts(root, f"{kind.lower()}Identifier/{kind.lower()}IdentifierValue")
        linked = texts(root, f"linking{kind}Identifier/linking{kind}IdentifierValue")
        linked += texts(root, f"related{kind}Identifier/related{kind}IdentifierValue")
        assert set(linked) <= set(there)
    events = texts(root, "eventIdentifier/eventIdentifierValue")
    assert len(events) == len(set(events)) == 7
    assert "A. Curator" in texts(root, "agentName")
    log = [json.loads(path.read_bytes()) for path in sorted(Path(out, "audit").rglob("*.json"))]
    assert [e["asked_by"] for e in log if e["action"] == "clip_reverted"] == ["A. Curator"]
    assert audit.verify(out).broken is None
    (clip,), (run,) = rows(out, "clips"), rows(out, "runs")
    assert (clip["output_sha256"], clip["run"]) == (row["output_sha256"], run["run"])
    assert (run["kind"], run["published"]) == ("revert", 1)
    assert len(rows(out, "frames")) == FRAMES


def test_a_whole_clip_is_the_source_again_and_stays_so(
    reel: tuple[Path, Settings], out: str
) -> None:
    work, _ = reel
    source = frames(work / "reel.mkv")
    clip = ManifestClip("reel", str(work / "reel.mkv"))
    here = settings_for(work, out=out)
    revert_clip("reel", out, Request(shot=0))
    assert [f.crc32 for f in frames(master(out))] == [f.crc32 for f in source]
    row = read_record(master(out))["row"]
    assert (row["frames_changed"], row["source_share"], row["defect_share"]) == (0, 1, 0)
    assert row["verdict"] == "untouched"
    assert row["digital_source_type"].endswith("digitalCapture")
    again = revert_clip("reel", out, Request())
    assert (again.frames, again.sha256) == (0, row["output_sha256"])
    other = Settings(here.ledger, Recipe(strength=0.5), here.weights_sha256, here.code, here.cache)
    for now in (here, other):
        kept = unchanged(clip, now)
        assert kept is not None
        assert (kept.state, kept.columns["frames_changed"]) == ("up_to_date", 0)
    assert kept.columns["recipe_sha256"] == Recipe().digest
    release_clip("reel", out, by="A. Curator")
    assert unchanged(clip, here) is None and unchanged(clip, other) is None
    assert check_published(master(out)).faults == []


def test_killed_at_any_point_the_old_or_the_new_version_stands(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = read_record(master(out))["row"]["output_sha256"]
    made: list[publishing.Commit] = []

    def killed(out: str, work: publishing.Commit) -> None:
        made.append(work)
        raise Killed

    monkeypatch.setattr(undo, "commit", killed)
    monkeypatch.setattr("pipeline.runs.tables.check", lambda name, table: table)  # slow; see above
    with pytest.raises(Killed):
        revert_clip("reel", out, Request(frames=range(2)))
    assert check_published(master(out), decode=True).faults == []
    assert read_record(master(out))["row"]["output_sha256"] == old
    for lives in (*range(6), *range(7, 99, 3)):  # the writes at which the process ends
        folder = str(shutil.copytree(out, tmp_path / f"killed-{lives}"))
        publishing.commit(folder, replace(made[0], uri=master(folder)))
        try:
            publishing.finish(folder, Mortal(lives))
        except Killed:
            assert published_or_promised(folder, old)
            publishing.finish(folder)
        else:
            break
        assert check_published(master(folder)).faults == []
        row = read_record(master(folder))["row"]
        assert (row["frames_reverted"], row["output_sha256"] != old) == (2, True)
        log = [json.loads(path.read_bytes()) for path in Path(folder, "audit").rglob("*.json")]
        assert [entry["action"] for entry in log].count("clip_reverted") == 1
        assert len(rows(folder, "clips")) == len(rows(folder, "runs")) == 1
        assert staged(folder) == []
    assert lives > 15
    assert publishing.finish(out) == []
    assert staged(out) == []


def staged(out: str) -> list[str]:
    return list(storage.listing(layout.publishing(out)))


def published_or_promised(out: str, old: str) -> bool:
    """Whether one version is whole: in its place, or beside it with the mark that it counts."""
    mark = layout.publishing_commit(layout.publishing_folder(out, "reel"))
    return storage.exists(mark) or (
        check_published(master(out)).faults == []
        and read_record(master(out))["row"]["output_sha256"] != old
    )


def changed_survey(out: str, **facts: object) -> None:
    (path,) = Path(out).glob("runs/*/survey/reel.json")
    path.write_text(json.dumps(json.loads(path.read_bytes()) | facts))


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"conversion": {"policy": "deinterlace", "order": "tff", "phase": 0}},
         "its fields were converted to frames"),
        ({"fill": [3]}, "frames 3 were made anew"),
    ],
)  # fmt: skip
def test_clips_whose_frames_are_not_the_sources_are_refused(
    out: str, facts: dict[str, object], sentence: str
) -> None:
    changed_survey(out, **facts)
    with pytest.raises(ArchiveError, match=f"reel cannot be put back: {sentence}"):
        revert_clip("reel", out, Request())


def test_what_is_not_there_or_not_free_is_refused(
    reel: tuple[Path, Settings], out: str, tmp_path: Path
) -> None:
    with pytest.raises(ArchiveError, match="tape is not published"):
        revert_clip("tape", out, Request())
    with lease.held(out, "submit"), pytest.raises(lease.Locked):
        revert_clip("reel", out, Request())
    source = tmp_path / "reel.mkv"
    changed_survey(out, source_uri=str(source))
    with pytest.raises(ClipFault) as fault:
        revert_clip("reel", out, Request())
    assert fault.value.reason is Reason.NOT_FOUND
    write_clip(source, Clip(frames=FRAMES))
    with pytest.raises(ClipFault) as fault:
        revert_clip("reel", out, Request())
    assert fault.value.reason is Reason.FIXITY_MISMATCH
    shutil.rmtree(Path(out, "runs"))
    with pytest.raises(ArchiveError, match="has no survey of it"):
        revert_clip("reel", out, Request())
