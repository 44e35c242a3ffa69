"""Pages of the report: safe with hostile text, small, and true to the table's row."""

import math
import re
from dataclasses import replace

import pytest

from jobs.report.clip_page import clip_page, what_was_done
from jobs.report.entry import (
    ClipPictures,
    ReportEntry,
    asset,
    percent,
    state_name,
    worst_first,
)
from jobs.report.index_page import index_page
from jobs.report.words import WORDS
from jobs.report.worst import frames_to_show
from pipeline.undo.decisions import FIELDS
from schemas.judgement import DECISIONS
from schemas.reasons import STATES
from tests.support.reports import HOSTILE, MEASURES, Page, published_row, refused


def test_an_index_of_a_thousand_clips_stays_small() -> None:
    long = "the decoder reported an error at frame 1234; " * 4
    rows = [refused(f"collection_reel_{i:04}", sentence=long) | MEASURES for i in range(1000)]
    text = index_page(
        [ReportEntry(row, ClipPictures(thumbnail="x" * 30)) for row in rows], "out", "now"
    )
    assert len(text.encode()) < 2_000_000


def test_worst_first() -> None:
    states = [("good", "published", 40.0), ("far", "published", 20.0), ("same", "untouched", None)]
    states += [("wait", "held", None), ("bad", "quarantined", None), ("broken", "failed", None)]
    entries = [
        ReportEntry({"clip_id": name, "state": state, "psnr_to_source_db": psnr})
        for name, state, psnr in states
    ]
    names = [entry.clip_id for entry in worst_first(entries)]
    assert names == ["broken", "bad", "wait", "far", "good", "same"]


def test_the_largest_repair_for_its_frame_comes_first() -> None:
    """500 pixels are more in a small frame; the distance from the source decides after that."""
    clips = [("far", 20.0, 0, 720), ("wide", 40.0, 500, 1920), ("small", 45.0, 500, 352)]
    entries = [
        ReportEntry(
            {"clip_id": name, "state": "published", "psnr_to_source_db": psnr}
            | {"largest_repair": area, "width": width, "height": width * 3 // 4}
        )
        for name, psnr, area, width in clips
    ]
    assert [entry.clip_id for entry in worst_first(entries)] == ["small", "wide", "far"]


def test_hostile_text_stays_text() -> None:
    entry = ReportEntry(refused(HOSTILE, sentence=HOSTILE, reason=HOSTILE, source_uri=HOSTILE))
    for text in (index_page([entry], HOSTILE, "now"), clip_page(entry, HOSTILE, HOSTILE)):
        found = Page(text)
        assert len(found.all("script")) == 1
        assert HOSTILE in found.text


def test_what_was_done_says_only_what_is_recorded() -> None:
    assert what_was_done(ReportEntry({"output_uri": "x", "frames": 12000})) == "12\u202f000 frames."
    row = {"output_uri": "x", "frames": 3, "shots": 1, "model": "fast"}
    row |= {"flicker_before": 1.0, "flicker_after": 1.2, "noise_sigma_before": math.nan}
    row |= {"exposure_gain_min": 0.9, "exposure_gain_max": 1.05, "defect_share": 0.0123}
    assert what_was_done(ReportEntry(row)) == (
        "3 frames in 1 shot restored with the model “fast”; 20% more flicker; brightness "
        "corrected by \u221210\u2009% to +5\u2009%; 1.23% of the pixels repaired as defects."
    )
    row |= {"exposure_gain_min": 1.0, "exposure_gain_max": 1.0, "defect_share": 0.0}
    assert "corrected" not in what_was_done(ReportEntry(row))
    assert "repaired" not in what_was_done(ReportEntry(row))
    nothing = what_was_done(ReportEntry({"sentence": "8 of 20 frames."}))
    assert nothing == "Nothing was published; the source is unchanged. 8 of 20 frames."


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (0.019, 0.037, "no visible flicker"),
        (0.02, 1.5, "flicker rises from 0.02 to 1.50 % of brightness"),
        (2.0, 0.02, "99% less flicker"),
        (1.0, 1.2, "20% more flicker"),
    ],
)
def test_small_values_are_not_compared_as_percentages(
    before: float, after: float, words: str
) -> None:
    row = refused("a", output_uri="x", flicker_before=before, flicker_after=after)
    assert f"; {words}." in what_was_done(ReportEntry(row | {"frames": 3}))
    (cell,) = re.findall(r"<td[^>]*>([^<]*)</td></tr>", clip_page(ReportEntry(row), "", ""))
    assert ("%" in cell) == ("%" in words and before > 0.02)
    assert ("not visible" in cell) == (words == "no visible flicker")


def test_identical_frames_are_named_so() -> None:
    row = refused("a", output_uri="x", state="published", frames=3, reason=None)
    row |= {"psnr_to_source_db": 100.0, "ssim_to_source": 1.0, "flicker_before": 1.0}
    row |= {"flicker_after": 1.0, "ref_psnr_before_db": 100.0, "ref_psnr_after_db": 100.0}
    same = ReportEntry(row)
    other = ReportEntry(row | {"ref_psnr_after_db": 40.0})
    assert what_was_done(same).endswith("Result and source are identical.")
    for text in (clip_page(same, "", ""), index_page([same], "out", "now")):
        shown = Page(text.partition("The clip&#x27;s row in the tables")[0]).text
        assert "identical" in shown and "100.0" not in shown
    for text in (clip_page(other, "", ""), index_page([other], "out", "now")):
        shown = Page(text.partition("The clip&#x27;s row in the tables")[0]).text
        assert "identical" in shown and "60.00" not in shown  # 40 dB less than infinity


def test_colours_have_names() -> None:
    row = refused("a", color_range="1", color_primaries="5", color_trc="6", colorspace="1")
    text = clip_page(ReportEntry(row), "", "")
    for name, value in (
        ("Signal range", "limited"),
        ("Colour primaries", "BT.601 625 lines (5)"),
        ("Transfer characteristic", "BT.601 (6)"),
        ("Colour matrix", "BT.709 (1)"),
    ):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in text


def test_the_page_has_the_notes_of_the_manifest() -> None:
    page = Page(clip_page(ReportEntry(refused("a", notes="splice at 00:03")), "", ""))
    assert "Notes: splice at 00:03" in page.text
    assert "Notes:" not in Page(clip_page(ReportEntry(refused("a")), "", "")).text


def test_the_row_on_a_page_is_json() -> None:
    page = Page(clip_page(ReportEntry(refused("a", blur_before=math.nan)), "", ""))
    assert '"blur_before": null' in page.text and ": NaN" not in page.text


@pytest.mark.parametrize(
    ("share", "words"),
    [(-0.104, "\u221210\u2009%"), (-0.004, "0\u2009%"), (0.004, "0\u2009%"), (0.2, "+20\u2009%")],
)
def test_a_share_of_nothing_has_no_sign(share: float, words: str) -> None:
    assert percent(share) == words


def test_every_column_of_the_index_has_a_name_on_a_narrow_window() -> None:
    """There the rows are cards, and each number is named by its column."""
    row = refused("a", state="published", reason=None, ref_psnr_before_db=1.0)
    text = index_page([ReportEntry(row | {"ref_psnr_after_db": 2.0})], "out", "now")
    heads = re.findall(r'<th scope="col" class="num"><button type="button">([^<]+)<', text)
    assert len(heads) == 5
    assert [cell["data-head"] for cell in Page(text).all("td") if "data-head" in cell] == heads
    assert "content: attr(data-head)" in text


FINDING = {"rule": "region_changed", "verdict": "needs_review", "frame": 7, "box": "1,2,30,40"}
FINDING |= {"sentence": "frame 7: 2.7 % of the frame changed strongly"}


def flagged(clip_id: str, verdict: str, **more: object) -> ReportEntry:
    row = refused(clip_id, state="published", reason=None, output_uri="x", **more)
    row |= {"verdict": verdict, "verdict_frame": 7, "verdict_sentence": FINDING["sentence"]}
    return ReportEntry(row | {"width": 64, "height": 48}, findings=[FINDING])


def test_the_index_says_why_a_clip_is_flagged_and_leads_to_the_proof() -> None:
    entries = [ReportEntry(refused("gone")), flagged("b", "needs_review"), flagged("a", "fail")]
    text = index_page(entries, "out", "now")
    page = Page(text)
    assert [row["data-verdict"] for row in page.all("tr")[1:]] == ["fail", "needs_review", "-"]
    assert "3 clips: 2 ready (1 fail, 1 needs review), 1 quarantined." in page.text
    assert "2.7 % of the frame changed strongly" in page.text
    assert "clips/a.html#frame-7" in page.addresses()


def test_the_index_filters_by_each_property_in_which_clips_differ() -> None:
    rows = [refused("a", collection="news"), refused("b", collection="home")]
    page = Page(index_page([ReportEntry(row) for row in rows], "out", "now"))
    assert [box["data-filter"] for box in page.all("select")] == ["state", "collection"]
    assert [row["data-collection"] for row in page.all("tr")[1:]] == ["news", "home"]


def test_the_page_of_a_flagged_clip_shows_the_finding_and_its_box() -> None:
    names = {kind: f"7-{kind}.jpg" for kind in ("source", "restored", "difference", "map")}
    entry = flagged("a", "needs_review", frames=1)
    text = clip_page(replace(entry, pictures=ClipPictures(1.5, {"7": names})), "", "", "out dir")
    page = Page(text.partition("The clip&#x27;s row in the tables")[0])
    assert page.text.count(FINDING["sentence"]) == 2  # why to look, and above the pictures
    assert "#frame-7" in page.addresses() and 'id="frame-7"' in text
    assert len(page.all("rect")) == 4  # one on each picture
    assert page.all("rect")[0] == {"x": "-2", "y": "-1", "width": "36", "height": "46"}
    assert [link["href"] for link in page.all("a") if "boxed" == link.get("class")] == [
        f"a/{name}" for name in names.values()
    ]
    for decision in ("accept", "rerun", "revert"):
        command = f"archive-restore review {decision} a --by NAME --out 'out dir'"
        assert command in page.text


def test_an_accepted_clip_is_no_longer_among_the_first() -> None:
    accept = {
        "decision": "accept",
        "by": "A. Curator",
        "note": "as in the print",
        "at": "2026-11-30",
    }
    entry = flagged("a", "fail", output_sha256="1")
    done = replace(entry, review=accept | {"output_sha256": "1"})
    older = replace(entry, review=accept | {"output_sha256": "0"})
    other = flagged("b", "needs_review")
    assert [e.clip_id for e in worst_first([other, done])] == ["b", "a"]
    assert [e.clip_id for e in worst_first([other, older])] == ["a", "b"]
    words = "Reviewed by A. Curator on 2026-11-30: accept: as in the print."
    assert words in Page(clip_page(done, "", "")).text
    assert "It was about an earlier version" in Page(clip_page(older, "", "")).text
    shown = Page(index_page([done], "out", "now")).text
    assert "failaccepted" in shown  # the verdict and the decision, without the state


def test_the_worst_frame_of_each_measure_is_shown_once() -> None:
    worst = [(4, "furthest from the source (PSNR 30.0 dB)"), (4, "most noise added"), (9, "x")]
    repair = {"decision": "repair", "frame": 9, "x": 1, "y": 2, "width": 3, "height": 4}
    row = refused("a", frames=20)
    shown = frames_to_show(ReportEntry(row, worst=worst, regions=[repair]))
    assert [(s.frame, s.boxes) for s in shown] == [
        (9, ((1, 2, 3, 4),)), (4, ()), (2, ()), (10, ()), (17, ()),
    ]  # fmt: skip
    assert shown[0].why == ("largest repair", "x")
    assert shown[1].why == ("furthest from the source (PSNR 30.0 dB)", "most noise added")
    assert [s.why for s in shown[2:]] == [("beginning",), ("middle",), ("end",)]


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_explained(state: str) -> None:
    assert state_name(state) in WORDS


def test_the_page_names_what_is_not_restored() -> None:
    entry = ReportEntry(refused("a", output_uri="x"), unrestored=["Stream 1 is not restored."])
    assert "Stream 1 is not restored." in Page(clip_page(entry, "", "")).text
    closed = ReportEntry(refused("a", output_uri="x", access_class="restricted"))
    assert "the report shows no picture of it" in Page(clip_page(closed, "", "")).text


def test_the_page_collects_decisions_in_the_form_that_the_command_reads() -> None:
    row = published_row("reel") | {"regions_repaired": 1}
    box = {"frame": 4, "x": 20, "y": 16, "width": 8, "height": 6, "bright": True, "why": "lone"}
    entry = ReportEntry(row, regions=[box | {"decision": "suspect"}, box | {"decision": "repair"}])
    page = Page(clip_page(entry, "", "", "a b"))
    (form,) = [one for one in page.all("div") if "data-clip" in one]
    assert (form["data-clip"], form["data-seen"]) == ("reel", row["output_sha256"])
    choices = {str(one["value"]) for one in page.all("option")} & {"", *DECISIONS}
    assert choices == {"", *DECISIONS}
    boxes = [one for one in page.all("input") if "data-region" in one]
    ticks = [(one["data-region"], one["data-decision"]) for one in boxes]
    assert ticks == [("4:20,16,8,6", "accept"), ("4:20,16,8,6", "revert")]
    for text in (clip_page(entry, "", "", "a b"), index_page([entry], "a b", "now")):
        assert "review --decisions FILE --by NAME --out 'a b'" in Page(text).text
    written = re.search(r"const line = \(\{ (.*) \}\)", asset("decisions.js"))
    assert written is not None and tuple(written[1].split(", ")) == FIELDS
    hidden = {name for name, one in page.elements if one.get("class") in ("deck", "tools decide")
              and "hidden" in one}  # fmt: skip
    assert hidden == {"section", "div"}  # without scripts the commands are all there is
