"""A whole report: a page for each clip, nothing loaded from elsewhere, pictures if allowed."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from jobs.report import write
from jobs.report.curves.catalogue import ALL
from jobs.report.curves.data import curves_of
from jobs.report.entry import ReportEntry
from jobs.report.stills import stills
from jobs.report.worst import FRAME_MEASURES, worst_frames
from jobs.report.write import kept_streams, link, write_report
from pipeline.runs.tables import write_tables
from schemas.recipe import Limits
from schemas.tables import FRAMES
from schemas.verdict_rules import built_in_rules
from tests.support.access import faults
from tests.support.reports import (
    HOSTILE,
    MEASURES,
    SERIES,
    Page,
    Tables,
    grey_clip,
    published,
    published_row,
    refused,
    stand_in,
)


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Tables:
    return stand_in(monkeypatch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two published clips and a refused one."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as monkeypatch:
        clips = stand_in(monkeypatch)["clips"]
        clips += [published("good", out), published("fine", out), refused("bad", sentence=HOSTILE)]
        assert Path(write_report(str(out))) == out / "report" / "index.html"
    return out / "report"


def test_a_report_has_a_page_for_every_clip(folder: Path) -> None:
    good = Page((folder / "clips" / "good.html").read_text())
    bad = Page((folder / "clips" / "bad.html").read_text())
    assert "75% less noise" in good.text
    assert "TRUNCATED" in bad.text
    assert HOSTILE in bad.text
    assert len(list((folder / "clips" / "good").glob("*.jpg"))) == 3 * 3 + 1


def test_every_address_leads_to_a_file_of_the_report(folder: Path) -> None:
    """Nothing is loaded from elsewhere, and no link is dead."""
    pages = sorted(folder.rglob("*.html"))
    assert len(pages) == 5
    for path in pages:
        addresses = Page(path.read_text()).addresses()
        assert addresses
        for address in addresses:
            name = address.partition("#")[0]
            assert ((path.parent / name) if name else path).resolve().is_file(), address
        assert "://" not in re.sub(r"s3://b/x\.mkv", "", path.read_text())


def test_pages_can_be_read_without_seeing_or_a_mouse(folder: Path) -> None:
    for path in folder.rglob("*.html"):
        found = Page(path.read_text())
        assert all("alt" in image for image in found.all("img"))
        assert faults(path.read_text()) == []
        assert found.all("html")[0]["lang"] == "en"


def test_every_clip_is_a_step_and_the_index_comes_first(tables: Any, tmp_path: Path) -> None:
    tables["clips"] += [refused("a"), refused("b")]
    steps: list[str] = []

    def step(sentence: str) -> None:
        steps.append(sentence)
        if not sentence.startswith("reading"):
            assert "2 clips" in (tmp_path / "report" / "index.html").read_text()

    write_report(str(tmp_path), step)
    assert steps == [
        f"reading the tables of {tmp_path}", "all clips and nights together",
        "measures of clips 1 to 2 of 2", "clip 1 of 2: a", "clip 2 of 2: b",
    ]  # fmt: skip


def test_pictures_are_taken_once(
    tables: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables["clips"] += [published("good", tmp_path)]
    write_report(str(tmp_path))

    def again(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(write, "stills", again)
    write_report(str(tmp_path))
    text = (tmp_path / "report" / "clips" / "good.html").read_text()
    assert len(Page(text).all("img")) == 5 * 3
    tables["clips"][0]["output_sha256"] = "cd" * 32  # restored anew
    with pytest.raises(AssertionError, match="decoded again"):
        write_report(str(tmp_path))


def test_only_pages_that_changed_are_written_again(tables: Any, tmp_path: Path) -> None:
    tables["clips"] += [refused("a"), refused("b"), published("good", tmp_path)]
    write_report(str(tmp_path))
    pages = {path.stem: path for path in (tmp_path / "report" / "clips").glob("*.html")}
    before = {name: path.stat().st_ino for name, path in pages.items()}
    pages["b"].unlink()
    tables["clips"][0]["sentence"] = "9 of 20 frames"
    write_report(str(tmp_path))
    written = {name for name, path in pages.items() if path.stat().st_ino != before[name]}
    assert written == {"a", "b"}
    assert "9 of 20 frames" in pages["a"].read_text()


def test_pictures_of_an_earlier_version_go(tables: Any, tmp_path: Path) -> None:
    tables["clips"].append(published("good", tmp_path))
    write_report(str(tmp_path))
    tables["clips"][0]["output_sha256"] = "cd" * 32
    write_report(str(tmp_path))
    names = [path.name for path in (tmp_path / "report" / "clips" / "good").iterdir()]
    assert len(names) == 12 and all(name.startswith("cdcdcd") for name in names)


def test_a_source_that_is_gone_costs_the_pictures_only(tables: Any, tmp_path: Path) -> None:
    row = published("good", tmp_path)
    Path(row["source_uri"]).unlink()
    tables["clips"].append(row)
    write_report(str(tmp_path))
    text = (tmp_path / "report" / "clips" / "good.html").read_text()
    assert "75% less noise" in Page(text).text
    assert Page(text).all("img") == []


def test_no_picture_of_a_restricted_clip_is_taken(tables: Any, tmp_path: Path) -> None:
    tables["clips"].append(published("closed", tmp_path, access_class="restricted"))
    write_report(str(tmp_path))
    assert list((tmp_path / "report").rglob("*.jpg")) == []
    assert (tmp_path / "report" / "clips" / "closed.html").is_file()


def test_notes_are_those_of_the_last_run(tables: Any, tmp_path: Path) -> None:
    row = published("good", tmp_path, notes="old")
    tables["clips"] += [row, row | {"run": "r3", "state": "up_to_date", "notes": "new"}]
    write_report(str(tmp_path))
    page = Page((tmp_path / "report" / "clips" / "good.html").read_text())
    assert "Notes: new" in page.text


def test_pictures_go_when_a_clip_becomes_restricted(tables: Any, tmp_path: Path) -> None:
    """The last run has nothing to do, but says that the class has changed."""
    row = published("closed", tmp_path)
    tables["clips"].append(row)
    write_report(str(tmp_path))
    folder = tmp_path / "report"
    assert len(list(folder.rglob("*.jpg"))) > 3
    tables["clips"].append(row | {"run": "r3", "state": "up_to_date", "access_class": "restricted"})
    write_report(str(tmp_path))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "index.html",
        "fleet.html",
        "closed.html",
        "pages.json",
    }
    assert not any(b"\xff\xd8\xff" in p.read_bytes() or b"<img" in p.read_bytes() for p in files)
    assert b"75% less noise" in (folder / "clips" / "closed.html").read_bytes()


def test_pictures_go_with_an_embargo(tables: Any, tmp_path: Path) -> None:
    tables["clips"].append(published("closed", tmp_path))
    write_report(str(tmp_path))
    tables["clips"].append(refused("closed", run="r3", state="held", reason="EMBARGOED"))
    write_report(str(tmp_path))
    assert list((tmp_path / "report").rglob("*.jpg")) == []


def test_a_formula_and_markup_arrive_inert_in_the_pages(tables: Any, tmp_path: Path) -> None:
    title = "=cmd|'/c calc'!A0<img src=x onerror=alert(1)>"
    tables["clips"].append(refused("bad", sentence=title))
    write_report(str(tmp_path))
    folder = tmp_path / "report"
    for path in (folder / "index.html", folder / "clips" / "bad.html"):
        found = Page(path.read_text())
        assert title in found.text and found.all("img") == []


def test_the_last_row_that_says_what_was_made_counts(tables: Any, tmp_path: Path) -> None:
    """A later run with nothing to do leaves the clip's measures in the report."""
    made = refused("good", run="r2", state="published", **MEASURES)
    idle = refused("good", run="r3", state="up_to_date", reason=None, sentence=None)
    tables["clips"] += [refused("good", run="r1"), made, idle]
    write_report(str(tmp_path))
    text = (tmp_path / "report" / "clips" / "good.html").read_text()
    assert "noise_sigma_after" in Page(text).text
    assert '"run": "r2"' in Page(text).text


def test_curves_are_the_last_runs_and_few_enough_to_draw(tables: Any) -> None:
    frames = [
        {"clip_id": "it's", "run": run, "frame": i, "shot": i // 900}
        | dict.fromkeys(SERIES, float(i % 12) if i % 12 == 0 or run == "r1" else None)
        for run in ("r1", "r2")
        for i in range(1800)
    ]
    tables["frames"] += frames
    from jobs.console.query import query  # the stand-in

    (table,) = curves_of(["it's"], lambda sql: query("", sql)).values()
    series = table.to_pylist()
    assert [row["frame"] for row in series] == list(range(0, 1800, 5))
    assert sum(a["shot"] != b["shot"] for a, b in pairwise(series)) == 1
    assert {row["noise_sigma_before"] for row in series} == {None, 0.0}


def test_the_tables_of_a_run_make_a_report(tmp_path: Path) -> None:
    """The same through real tables and queries."""
    run, out = "20261122T010203-abcdef", str(tmp_path)
    row = published_row("good") | {"run": run}
    frames = [
        {"clip_id": "good", "frame": i, "shot": i // 5} | dict.fromkeys(SERIES, i / 10)
        for i in range(10)
    ]
    bad = {"clip_id": "bad", "state": "failed", "reason": "STORE_ERROR", "source_uri": "s3://b/x"}
    run_row = {"run": run, "started": "2026-11-22T01:02:03+00:00", "clips": 2}
    write_tables(out, run, "2026-11-22", [row, bad], [], frames, run_row)
    write_report(out)
    good = Page((tmp_path / "report" / "clips" / "good.html").read_text())
    assert "75% less noise" in good.text
    drawn = [len(curve.columns) for curve in ALL if not curve.dots]
    assert len(good.all("polyline")) == sum(drawn)
    assert len(good.all("use")) == len(ALL)  # the cuts, in every plot
    assert good.all("path")[0]["d"] == "M555.6 0V100"
    ruled = {rule.measure for rule in built_in_rules()} & {curve.measure for curve in ALL}
    assert len(good.all("line")) == len(ruled) == 11
    assert "2 clips: 1 ready, 1 failed." in (tmp_path / "report" / "index.html").read_text()


WORSE = {  # a value that is the worst, of each measure of a frame
    "psnr_to_source_db": 10.0, "ssim_to_source": 0.1, "mean_luma_after": 90.0,
    "gain_step_after": -1.5, "noise_sigma_after": 9.0, "blur_after": 1.9, "blockiness_after": 3.0,
    "temporal_diff_after": 9.0, "ref_psnr_after_db": 0.5, "largest_change": 0.5,
    "pixels_changed": 0.5, "chroma_shift": 9.0, "texture_added": 9.0, "edges_kept": 0.1,
    "out_of_step": 0.9, "detail_kept": 0.1, "shared_detail_kept": 0.1, "unsupported_worst": 9.0,
}  # fmt: skip


def test_the_worst_frame_of_every_measure_is_found(tables: Any) -> None:
    """Each measure is bad in one frame. In the other clip nothing got worse."""
    even = dict.fromkeys((name for name, c in FRAMES.items() if c.unit), 1.0)
    even |= {"psnr_to_source_db": 100.0, "ssim_to_source": 1.0}
    even |= dict.fromkeys(("largest_change", "pixels_changed", "chroma_shift"), 0.0)
    even |= dict.fromkeys(("texture_added", "out_of_step"), 0.0)
    row = {"run": "r2", "shot": 0} | even
    bad = {3 * n: name for n, name in enumerate(WORSE)}
    for frame in range(3 * len(WORSE)):
        worse = {bad[frame]: WORSE[bad[frame]]} if frame in bad else {}
        tables["frames"] += [
            {"clip_id": "a", "frame": frame} | row | worse,
            {"clip_id": "b", "frame": frame} | row,
        ]
    from jobs.console.query import query  # the stand-in

    clips = [{"clip_id": name, "run": "r2"} for name in ("a", "b")]
    found = worst_frames(clips, lambda sql: query("", sql))
    assert set(WORSE) == set(FRAME_MEASURES)
    words = {FRAME_MEASURES[name].words: frame for frame, name in bad.items()}
    assert {text.partition(" (")[0]: frame for frame, text in found["a"]} == {
        text.partition(" (")[0]: frame for text, frame in words.items()
    }
    assert "b" not in found


def test_a_second_picture_is_told(tmp_path: Path) -> None:
    """The record of a file names its streams; without a record nothing is said."""
    entry = ReportEntry(published_row("a", restored=str(tmp_path / "a_rst.mkv")))
    assert list(write.with_record("", entry).unrestored) == []
    sound = {"index": 1, "kind": "audio", "codec": "flac", "action": "kept", "note": ""}
    streams = [sound, sound | {"index": 2, "kind": "video", "codec": "h264"}]
    streams.append(sound | {"index": 3, "kind": "data", "action": "dropped", "note": "no room"})
    (tmp_path / "a_rst.mkv.json").write_text(json.dumps({"streams": streams}))
    first, second = write.with_record("", entry).unrestored
    assert first.startswith("Stream 2 (h264 video) is a second picture. It is not restored")
    assert second == "Stream 3 (flac data) was dropped: no room."


def test_streams_that_were_not_kept_are_told(tmp_path: Path) -> None:
    clip = grey_clip(tmp_path / "a.mkv")
    probe = stills(clip, clip, [0], Limits()).source
    source = replace(probe, audio=("aac", "aac"), chapters=2)
    assert kept_streams(probe, probe) == {}
    assert kept_streams(source, source) == {"Sound": "aac, aac", "Chapters": "2"}
    told = kept_streams(source, replace(probe, audio=("aac",), timecode="01:00:00:00"))
    assert told == {
        "Sound": "aac (source: aac, aac)",
        "Chapters": "none (source: 2)",
        "Timecode": "01:00:00:00 (source: none)",
    }


@pytest.mark.parametrize(
    ("out", "uri", "expected"),
    [
        ("/a/out", "/a/out/clips/c/c_rst.mkv", "../../clips/c/c_rst.mkv"),
        ("/a/out/", "/a/out/clips/c d/c.mkv", "../../clips/c%20d/c.mkv"),
        ("s3://b/out", "s3://b/out/clips/c/c_rst.mkv", "../../clips/c/c_rst.mkv"),
        ("/a/out", "/a/other/c.mkv", ""),
    ],
)
def test_links_to_restored_files_move_with_the_folder(out: str, uri: str, expected: str) -> None:
    assert link(out, uri) == expected
