"""A file of decisions: each line is checked before any is applied, and none is applied twice."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from models.frame_state import Repair
from pipeline.proof.fixity import check_published
from pipeline.proof.record import read_record
from pipeline.undo import decisions as undo
from pipeline.undo import review
from pipeline.undo.decisions import apply_decisions, read_decisions
from schemas.errors import ArchiveError
from schemas.exit_codes import ExitCode
from tests.support.command_line import invoke
from tests.support.environment.failing import Killed
from tests.support.media.media_factory import Clip, write_clip
from tests.support.published import publish, settings_for

SUSPECT, REPAIR = "1:4,4,8,6", "2:16,8,10,6"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decisions")
    write_clip(folder / "reel.mkv", Clip(frames=4))
    publish(folder, folder / "reel.mkv", settings_for(folder), changed=3, regions=[
        (1, Repair((4, 4, 8, 6), 40, True, 30.0, "suspect", "lone")),
        (2, Repair((16, 8, 10, 6), 50, True, 30.0, "repair", "clear")),
    ])  # fmt: skip
    return folder


@pytest.fixture
def out(work: Path, tmp_path: Path) -> str:
    return str(shutil.copytree(work / "out", tmp_path / "out"))


def master(out: str) -> str:
    return f"{out}/clips/reel/reel_rst.mkv"


def reviews(out: str) -> Counter[tuple[str, str | None]]:
    folder = Path(out, "tables", "reviews")
    rows = pq.read_table(folder).to_pylist() if folder.exists() else []
    noted = [
        (one["decision"], one["region"]) for one in read_record(master(out)).get("reviews", ())
    ]
    assert Counter(noted) == Counter((row["decision"], row["region"]) for row in rows)
    return Counter(noted)


def write(folder: Path, *lines: dict[str, Any] | str) -> Path:
    path = folder / "decisions.jsonl"
    path.write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in lines))
    return path


def two(out: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A repair put back and then the clip accepted, as a page saves them: of what was seen."""
    seen = read_record(master(out))["row"]["output_sha256"]
    one = {"clip": "reel", "seen": seen, "at": "2026-11-30T12:00:00+00:00"}
    return (
        {**one, "decision": "revert", "region": REPAIR},
        {**one, "decision": "accept", "note": "a foot, put back"},
    )


def test_a_file_is_applied_once_however_often_it_is_given(out: str, tmp_path: Path) -> None:
    path = write(tmp_path, *two(out), "")
    asked = ("review", "--decisions", str(path), "--by", "A. Curator", "--out", out)
    told = invoke(*asked)
    assert told.exit_code == 0, told.output
    assert "2 decisions applied, 0 were applied before" in told.stdout
    both = Counter({("revert", REPAIR): 1, ("accept", None): 1})
    record = read_record(master(out))
    assert reviews(out) == both and {one["by"] for one in record["reviews"]} == {"A. Curator"}
    assert record["reviews"][1]["note"] == "a foot, put back"
    again = json.loads(invoke(*asked, "--json").stdout)
    assert again == {"applied": [], "applied_before": 2}
    assert reviews(out) == both
    # after another run the record knows of no review, but the tables do
    del record["reviews"], record["record_sha256"]
    Path(f"{master(out)}.json").write_bytes(review.sealed(record))
    assert [one.review for one in apply_decisions(path, out)] == [None, None]
    assert check_published(master(out)).faults == []


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("accept reel", "it is not JSON"),
        ([1], "it is no object such as"),
        ({"clip": "reel"}, "decision is missing"),
        ({"clip": "reel", "decision": "maybe"}, "maybe: give one of accept, revert"),
        (
            {"clip": "reel", "decision": "accept", "why": "x"},
            "unknown name 'why': allowed are clip",
        ),
        ({"clip": "reel", "decision": "accept", "note": 3}, "note is not a text"),
        ({"clip": "reel", "decision": "question"}, "a question needs --note"),
        ({"clip": "reel", "decision": "rerun", "region": SUSPECT}, "rerun is for a clip"),
        ({"clip": "reel", "decision": "accept", "seen": "12"}, "seen is no SHA-256"),
        ({"clip": "reel", "decision": "rerun"}, "reel is decided in line 1 already"),
        ({"clip": "reel", "decision": "accept", "region": SUSPECT}, "line 1\\): keep one of them"),
        ({"clip": "other", "decision": "accept"}, "other is not published"),
        ({"clip": "reel", "decision": "revert", "region": SUSPECT}, "reel has no repair"),
        ({"clip": "../x", "decision": "accept"}, "is no clip id"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_applied(
    work: Path, tmp_path: Path, line: Any, sentence: str
) -> None:
    out = str(work / "out")
    path = write(tmp_path, {"clip": "reel", "decision": "revert"}, "", json.dumps(line)
                 if not isinstance(line, str) else line)  # fmt: skip
    with pytest.raises(ArchiveError, match=f"nothing was applied: line 3: .*{sentence}"):
        apply_decisions(path, out)
    assert reviews(out) == Counter()


def test_another_version_than_the_one_seen_is_not_decided_on(out: str, tmp_path: Path) -> None:
    path = write(tmp_path, *(one | {"seen": "ab" * 32} for one in two(out)))
    told = invoke("review", "--decisions", str(path), "--out", out)
    assert told.exit_code == ExitCode.USAGE
    assert "line 1: reel is another version" in told.stderr and "line 2: " in told.stderr
    assert reviews(out) == Counter()


def test_files_that_cannot_be_read_are_refused(out: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="cannot be read"):
        read_decisions(tmp_path / "none.jsonl")
    with pytest.raises(ArchiveError, match="it has no decision"):
        read_decisions(write(tmp_path, " "))
    for asked in (["accept", "reel", "--decisions", "x"], ["accept"], []):
        assert invoke("review", *asked, "--out", out).exit_code == ExitCode.USAGE


@pytest.mark.parametrize("inside", [False, True])
def test_a_broken_file_goes_on_where_it_stopped(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    """Killed between two lines, and in the middle of a line."""
    monkeypatch.setattr("pipeline.runs.tables.check", lambda name, table: table)  # slow
    path = write(
        tmp_path,
        {"clip": "reel", "decision": "accept", "region": SUSPECT},
        {"clip": "reel", "decision": "question", "note": "a foot?"},
    )
    real, calls = review.finish if inside else review.review_held, [0]

    def killed(*args: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            raise Killed
        return real(*args, **named)  # type: ignore[operator]

    with monkeypatch.context() as patched:
        if inside:  # the second line counts, but its files are not in their places
            patched.setattr(review, "finish", killed)
        else:
            patched.setattr(undo, "review_held", killed)
        with pytest.raises(Killed):
            apply_decisions(path, out)
    done = apply_decisions(path, out)
    assert [one.review is None for one in done] == [True, inside]
    assert reviews(out) == Counter({("accept", SUSPECT): 1, ("question", None): 1})
    assert check_published(master(out)).faults == []


def test_a_line_that_fails_stops_no_other(out: str, work: Path, tmp_path: Path) -> None:
    path = write(tmp_path, *two(out))
    (survey,) = Path(out).glob("runs/*/survey/reel.json")
    survey.write_text(survey.read_text().replace(str(work / "reel.mkv"), str(work / "gone.mkv")))
    told = invoke("review", "--decisions", str(path), "--out", out)
    assert told.exit_code == ExitCode.FAULTS
    assert "1 of 2 decisions were not applied" in told.stderr and "line 1: " in told.stderr
    assert reviews(out) == Counter({("accept", None): 1})
