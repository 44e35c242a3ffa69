"""The report: true pictures, safe pages, nothing loaded from elsewhere, one page for every clip."""

import base64
import hashlib
import html.parser
import math
import re
import sys
import types
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from jobs.console.html import Html, page, tag
from jobs.report import write
from jobs.report.clip_page import clip_page, what_was_done
from jobs.report.entry import Entry, Pictures, percent, worst_first
from jobs.report.index_page import index_page
from jobs.report.plots import CURVES
from jobs.report.stills import JPEG_BYTES, Still, begin_middle_end, jpeg, stills
from jobs.report.write import kept_streams, link, write_report
from pipeline.media.rgb import write_rgb
from pipeline.runs.tables import write_tables
from schemas.recipe import Limits

FRAMES, SIZE = 20, (48, 64)
HOSTILE = '<script>alert("1")</script>&'
SERIES = [f"{name}_{side}" for name in CURVES for side in ("before", "after")]
MEASURES = {
    "noise_sigma_before": 4.0,
    "noise_sigma_after": 1.0,
    "flicker_before": 2.0,
    "flicker_after": 0.5,
    "psnr_to_source_db": 33.3,
    "ssim_to_source": 0.95,
}


class Page(html.parser.HTMLParser):
    """What a page holds: its elements, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for element, attributes in self.elements if element == name]

    def addresses(self) -> list[str]:
        return [str(v) for _, a in self.elements for k, v in a.items() if k in ("src", "href")]


def grey_clip(path: Path, add: int = 0) -> Path:
    """Every frame another grey: 10, 20, 30 ... plus ``add``."""
    shape = (*SIZE, 3)
    frames = (np.full(shape, 10 * (i + 1) + add, np.uint8) for i in range(FRAMES))
    write_rgb(path, frames, Fraction(25), pix_fmt="gbrp")
    return path


def published_row(clip_id: str, source: str = "/gone.mkv", restored: str = "/gone_rst.mkv") -> Any:
    row = {"clip_id": clip_id, "run": "r2", "state": "published", "reason": None, "sentence": None}
    row |= {"source_uri": source, "output_uri": restored, "output_sha256": "ab" * 32}
    return row | {"frames": FRAMES, "shots": 2, "model": "fast", "access_class": None} | MEASURES


def published(clip_id: str, out: Path, **more: object) -> dict[str, Any]:
    """A row of tables/clips whose files exist; the restored file is 5 code values brighter."""
    source = grey_clip(out / f"{clip_id}.mkv")
    restored = out / "clips" / clip_id / f"{clip_id}_rst.mkv"
    restored.parent.mkdir(parents=True, exist_ok=True)
    grey_clip(restored, add=5)
    return published_row(clip_id, str(source), str(restored)) | more


def refused(clip_id: str, **more: object) -> dict[str, Any]:
    empty = dict.fromkeys(published_columns())
    row = {"clip_id": clip_id, "run": "r2", "state": "quarantined", "reason": "TRUNCATED"}
    return empty | row | {"sentence": "8 of 20 frames", "source_uri": "s3://b/x.mkv"} | more


def published_columns() -> list[str]:
    return [
        *("clip_id", "run", "state", "reason", "sentence", "source_uri", "output_uri"),
        *("output_sha256", "frames", "shots", "model", "access_class", *MEASURES),
    ]


Tables = dict[str, list[dict[str, Any]]]


def stand_in(monkeypatch: pytest.MonkeyPatch) -> Tables:
    """Rows that stand in for the tables of an output folder; DuckDB asks them as it does those."""
    rows: Tables = {
        "clips": [],
        "frames": [
            {"clip_id": "", "run": "r2", "frame": 0, "shot": 0} | dict.fromkeys(SERIES, 1.0)
        ],
    }

    def query(out: str, sql: str) -> pa.Table:
        connection = duckdb.connect()
        for name, content in rows.items():
            if content:
                connection.register(name, pa.Table.from_pylist(content))
        return connection.sql(sql).to_arrow_table()

    fake = types.ModuleType("jobs.console.query")
    fake.query = query  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jobs.console.query", fake)
    return rows


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


# Pictures


def test_stills_are_the_frames_asked_for(tmp_path: Path) -> None:
    source, restored = grey_clip(tmp_path / "a.mkv"), grey_clip(tmp_path / "b.mkv", add=5)
    found = stills(source, restored, [2, 10, 17], Limits())
    assert found.source.sar == 1
    assert [still.index for still in found.frames] == [2, 10, 17]
    for still in found.frames:
        assert np.unique(still.source).tolist() == [10 * (still.index + 1)]
        assert np.unique(still.restored).tolist() == [10 * (still.index + 1) + 5]


def test_the_difference_is_grey_where_nothing_changed() -> None:
    source = np.full((4, 4, 3), 100, np.uint8)
    restored = source.copy()
    restored[0, 0], restored[0, 1], restored[0, 2] = 110, 90, 255
    difference = Still(0, source, restored).difference
    assert difference[0, :3, 0].tolist() == [128 + 40, 128 - 40, 255]
    assert np.unique(difference[1:]).tolist() == [128]


def test_the_thumbnail_is_half_and_half_in_display_shape() -> None:
    half = Still(0, np.zeros((100, 200, 3), np.uint8), np.full((100, 200, 3), 255, np.uint8))
    thumbnail = half.thumbnail(Fraction(2))
    assert thumbnail.shape == (48, 192, 3)
    assert (thumbnail[:, :95].max(), thumbnail[:, 97:].min()) == (0, 255)


@pytest.mark.parametrize(
    ("frames", "indices"), [(0, []), (1, [0]), (2, [0, 1]), (100, [10, 50, 89])]
)
def test_begin_middle_end(frames: int, indices: list[int]) -> None:
    assert begin_middle_end(frames) == indices


def test_a_jpeg_fits_whatever_the_picture() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    assert len(jpeg(noise)) <= JPEG_BYTES
    flat = np.zeros((720, 1280, 3), np.uint8)
    assert len(jpeg(flat)) <= JPEG_BYTES


# A whole report


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
    assert len(pages) == 4
    for path in pages:
        addresses = Page(path.read_text()).addresses()
        assert addresses
        for address in addresses:
            assert (path.parent / address).resolve().is_file(), address
        assert "://" not in re.sub(r"s3://b/x\.mkv", "", path.read_text())


def test_pages_can_be_read_without_seeing_or_a_mouse(folder: Path) -> None:
    for path in folder.rglob("*.html"):
        found = Page(path.read_text())
        assert all("alt" in image for image in found.all("img"))
        sliders = [i for i in found.all("input") if i.get("type") == "range"]
        assert all(slider.get("aria-label") for slider in sliders)
        assert found.all("html")[0]["lang"] == "en"


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
    assert len(Page(text).all("img")) == 9
    tables["clips"][0]["output_sha256"] = "cd" * 32  # restored anew
    with pytest.raises(AssertionError, match="decoded again"):
        write_report(str(tmp_path))


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
    assert {path.suffix for path in files} == {".html"}
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
    for path in (tmp_path / "report").rglob("*.html"):
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
        | dict.fromkeys(SERIES, float(i % 4) if i % 4 == 0 or run == "r1" else None)
        for run in ("r1", "r2")
        for i in range(1800)
    ]
    tables["frames"] += frames
    (series,) = write._curves("out", ["it's"]).values()
    assert [row["frame"] for row in series] == list(range(0, 1800, 3))
    assert sum(a["shot"] != b["shot"] for a, b in pairwise(series)) == 1
    assert {row["noise_sigma_before"] for row in series} == {None, 0.0}


def test_the_tables_of_a_run_make_a_report(tmp_path: Path) -> None:
    """The same through real tables and queries."""
    run, out = "20261122T010203-abcdef", str(tmp_path)
    row = published_row("good") | {"run": run}
    frames = [
        {"clip_id": "good", "frame": i, "shot": i // 5} | dict.fromkeys(SERIES, float(i))
        for i in range(10)
    ]
    bad = {"clip_id": "bad", "state": "failed", "reason": "STORE_ERROR", "source_uri": "s3://b/x"}
    run_row = {"run": run, "started": "2026-11-22T01:02:03+00:00", "clips": 2}
    write_tables(out, run, "2026-11-22", [row, bad], [], frames, run_row)
    write_report(out)
    good = Page((tmp_path / "report" / "clips" / "good.html").read_text())
    assert "75% less noise" in good.text
    assert len(good.all("polyline")) == 4
    assert len(good.all("line")) == 2
    assert "2 clips: 1 ready, 1 failed." in (tmp_path / "report" / "index.html").read_text()


# Pages


def test_an_index_of_a_thousand_clips_stays_small() -> None:
    long = "the decoder reported an error at frame 1234; " * 4
    rows = [refused(f"collection_reel_{i:04}", sentence=long) | MEASURES for i in range(1000)]
    text = index_page([Entry(row, Pictures(thumbnail="x" * 30)) for row in rows], "out", "now")
    assert len(text.encode()) < 2_000_000


def test_worst_first() -> None:
    states = [("good", "published", 40.0), ("far", "published", 20.0), ("same", "untouched", None)]
    states += [("wait", "held", None), ("bad", "quarantined", None), ("broken", "failed", None)]
    entries = [
        Entry({"clip_id": name, "state": state, "psnr_to_source_db": psnr})
        for name, state, psnr in states
    ]
    names = [entry.clip_id for entry in worst_first(entries)]
    assert names == ["broken", "bad", "wait", "far", "good", "same"]


def test_hostile_text_stays_text() -> None:
    entry = Entry(refused(HOSTILE, sentence=HOSTILE, reason=HOSTILE, source_uri=HOSTILE))
    for text in (index_page([entry], HOSTILE, "now"), clip_page(entry, HOSTILE, HOSTILE)):
        found = Page(text)
        assert len(found.all("script")) == 1
        assert HOSTILE in found.text


def test_only_our_own_style_and_script_may_run() -> None:
    text = page("title", "p{}", "let x = 1 < 2;", tag("p", "a < b"))
    policy = next(m["content"] for m in Page(text).all("meta") if "http-equiv" in m)
    assert policy is not None
    for inline in ("p{}", "let x = 1 < 2;"):
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_tags_escape_what_is_not_markup() -> None:
    assert tag("p", "a & b", Html("<b>c</b>"), None) == "<p>a &amp; b<b>c</b></p>"
    assert tag("img", alt='"', src="a.jpg", hidden=True, class_=None) == (
        '<img alt="&quot;" src="a.jpg" hidden>'
    )


def test_what_was_done_says_only_what_is_recorded() -> None:
    assert what_was_done(Entry({"output_uri": "x", "frames": 12000})) == "12\u202f000 frames."
    row = {"output_uri": "x", "frames": 3, "shots": 1, "model": "fast"}
    row |= {"flicker_before": 1.0, "flicker_after": 1.2, "noise_sigma_before": math.nan}
    row |= {"exposure_gain_min": 0.9, "exposure_gain_max": 1.05, "defect_share": 0.0123}
    assert what_was_done(Entry(row)) == (
        "3 frames in 1 shot restored with the model “fast”; 20% more flicker; brightness "
        "corrected by \u221210\u2009% to +5\u2009%; 1.23% of the pixels repaired as defects."
    )
    row |= {"exposure_gain_min": 1.0, "exposure_gain_max": 1.0, "defect_share": 0.0}
    assert "corrected" not in what_was_done(Entry(row))
    assert "repaired" not in what_was_done(Entry(row))
    nothing = what_was_done(Entry({"sentence": "8 of 20 frames."}))
    assert nothing == "Nothing was published; the source is untouched. 8 of 20 frames."


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


@pytest.mark.parametrize(
    ("share", "words"),
    [(-0.104, "\u221210\u2009%"), (-0.004, "0\u2009%"), (0.004, "0\u2009%"), (0.2, "+20\u2009%")],
)
def test_a_share_of_nothing_has_no_sign(share: float, words: str) -> None:
    assert percent(share) == words
