"""Access copies that wait for a person: there while a clip is accepted, and never half there."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from jobs.report.clip_page import clip_page
from jobs.report.entry import ReportEntry
from jobs.report.write import with_record
from pipeline.proof.fixity import check_published
from pipeline.proof.record import read_record
from pipeline.runs.audit import verify
from pipeline.store import layout, storage
from pipeline.undo import publishing
from pipeline.undo import review as undo
from pipeline.undo.review import review_clip
from schemas.errors import ArchiveError
from schemas.recipe import Recipe
from tests.support.command_line import invoke
from tests.support.environment.failing import Killed, Mortal
from tests.support.media.media_factory import Clip, write_clip
from tests.support.media.seen import look
from tests.support.premis_schema import breaches, texts
from tests.support.published import publish, settings_for
from tests.support.reports import Page, published_row

WAITING = Recipe(profiles=("preservation", "access"), access_copies="accepted")


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a clip whose access copy waits for a person; not to be touched."""
    work = tmp_path_factory.mktemp("waiting")
    write_clip(work / "reel.mkv", Clip(frames=4))
    publish(work, work / "reel.mkv", settings_for(work, WAITING))
    return work / "out"


@pytest.fixture(scope="module")
def accepted(waiting: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, accepted; not to be touched."""
    out = tmp_path_factory.mktemp("accepted") / "out"
    shutil.copytree(waiting, out)
    told = invoke("review", "accept", "reel", "--by", "A. Curator", "--out", str(out))
    assert told.exit_code == 0 and "the access copy was made" in told.stdout
    return out


def master(out: str | Path) -> str:
    return f"{out}/clips/reel/reel_rst.mkv"


def copy_of(out: str | Path) -> Path:
    return Path(out, "clips", "reel", "reel_rst_sc.mp4")


def page_of(out: Path) -> Page:
    row = published_row("reel", restored=master(out))
    return Page(clip_page(with_record(str(out), ReportEntry(row)), "", "", str(out)))


def test_the_page_says_that_the_copy_waits_and_that_it_was_made(
    waiting: Path, accepted: Path
) -> None:
    before, after = page_of(waiting), page_of(accepted)
    assert "is not made yet: the recipe of this clip asks that a person accepts" in before.text
    assert f"archive-restore review accept reel --by NAME --out {waiting}" in before.text
    assert "not made yet" not in after.text
    assert "of this clip was made when a person accepted the clip." in after.text
    link = "../../clips/reel/reel_rst_sc.mp4"
    assert link in after.addresses() and link not in before.addresses()


def check(out: str | Path, there: bool) -> list[str]:
    """Files and record agree. Returns the types of the events in the PREMIS document."""
    record = read_record(master(out))
    assert check_published(master(out)).faults == []
    assert copy_of(out).exists() == there == (copy_of(out).name in record["files"])
    assert [one["profile"] for one in record["derived"]] == ["access"] * there
    assert ("access" in record["policies"]) == there
    root = ET.fromstring(storage.read_bytes(f"{master(out)}.premis.xml"))
    assert breaches(root) == []
    for kind in ("event", "object"):
        path = f"{kind}Identifier/{kind}IdentifierValue"
        hashes = [one for one in texts(root, path) if kind == "event" or len(one) == 64]
        assert len(hashes) == len(set(hashes))
    assert list(storage.listing(layout.publishing(str(out)))) == []
    return texts(root, "eventType")


def test_the_copy_comes_with_acceptance_and_goes_with_doubt(
    waiting: Path, accepted: Path, tmp_path: Path
) -> None:
    before, after = check(waiting, there=False), check(accepted, there=True)
    assert after[len(before) :] == ["quality review", "creation", "validation"]
    assert len(look(copy_of(accepted)).md5s) == 4
    out = str(shutil.copytree(accepted, tmp_path / "out"))
    made = copy_of(out).read_bytes()
    for decision, change, there in [
        ("accept", "", True), ("question", "deleted", False), ("rerun", "", False),
        ("accept", "made", True),
    ]:  # fmt: skip
        done = review_clip("reel", out, decision, by="A", note="b")
        assert (done.access, done.to_dict().get("access_copy", "")) == (change, change)
        events = check(out, there)
    assert copy_of(out).read_bytes() == made
    assert events.count("deletion") == 1
    assert events.count("creation") == before.count("creation") + 2
    assert verify(out).broken is None


def test_a_new_picture_has_to_be_accepted_again(
    accepted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.runs.tables.check", lambda name, table: table)  # slow
    out = str(shutil.copytree(accepted, tmp_path / "out"))
    former = copy_of(out).read_bytes()
    told = invoke("review", "revert", "reel", "--out", out)
    assert told.exit_code == 0 and told.stdout.count("the access copy was deleted") == 1
    assert check(out, there=False).count("deletion") == 1
    assert review_clip("reel", out, "accept").access == "made"
    check(out, there=True)
    assert copy_of(out).read_bytes() != former


def test_without_the_setting_a_decision_leaves_the_copy(accepted: Path, tmp_path: Path) -> None:
    out = str(shutil.copytree(accepted, tmp_path / "out"))
    record = read_record(master(out))
    record["recipe"]["access_copies"] = "always"
    del record["record_sha256"]
    storage.write_bytes(f"{master(out)}.json", undo.sealed(record))
    assert review_clip("reel", out, "question", note="b").access == ""
    check(out, there=True)


def test_a_master_that_was_altered_gets_no_copy(waiting: Path, tmp_path: Path) -> None:
    out = str(shutil.copytree(waiting, tmp_path / "out"))
    data = bytearray(Path(master(out)).read_bytes())
    data[-1] ^= 1
    Path(master(out)).write_bytes(data)
    with pytest.raises(ArchiveError, match="differs from its record: run `verify`"):
        review_clip("reel", out, "accept")
    assert not copy_of(out).exists() and "reviews" not in read_record(master(out))


@pytest.mark.parametrize("decision", ["accept", "question"])
def test_killed_at_any_point_the_copy_is_whole_or_not_there(
    waiting: Path,
    accepted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    decision: str,
) -> None:
    there = decision == "accept"  # at the end
    out = str(shutil.copytree(waiting if there else accepted, tmp_path / "out"))
    made: list[publishing.Commit] = []

    def killed(out: str, work: publishing.Commit) -> None:
        made.append(work)
        raise Killed

    monkeypatch.setattr(undo, "commit", killed)
    monkeypatch.setattr("pipeline.runs.tables.check", lambda name, table: table)  # slow
    with pytest.raises(Killed):
        review_clip("reel", out, decision, note="b")
    assert check_published(master(out)).faults == [] and copy_of(out).exists() == (not there)
    for lives in range(99):  # the writes and deletions at which the process ends
        folder = str(shutil.copytree(out, tmp_path / f"killed-{lives}"))
        publishing.commit(folder, replace(made[0], uri=master(folder)))
        try:
            publishing.finish(folder, Mortal(lives))
        except Killed:
            publishing.finish(folder)
        else:
            break
        assert check_published(master(folder)).faults == []
        assert copy_of(folder).exists() == there
    assert lives > 4
    publishing.finish(out)
    check(out, not there)
