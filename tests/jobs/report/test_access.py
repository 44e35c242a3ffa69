"""The pages for everybody: by keyboard, by ear, in light and dark, on a phone; nothing from afar.

The tests with a browser run where there is one. With `ARCHIVE_RESTORE_AXE`, the path of an
`axe.js`, they run all rules of axe-core as well.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.report.entry import asset
from jobs.report.write import write_report
from pipeline.undo.decisions import read_decisions
from tests.support import access
from tests.support.environment.browser import CHROMIUM, Browser, browser
from tests.support.reports import SERIES, Page, published, refused, stand_in

FINDING = {"clip_id": "good", "run": "r2", "rule": "region_changed", "verdict": "needs_review"}
FINDING |= {"measure": "largest_change", "number": 0.02, "rule_limit": 0.007, "frames": 1}
FINDING |= {"sentence": "frame 7: 2 % of the frame changed", "frame": 7, "box": "10,10,20,20"}
REGION = {"clip_id": "good", "run": "r2", "shot": 0, "frame": 7, "bright": True, "why": "one_frame"}
REGION |= {"x": 20, "y": 16, "width": 8, "height": 6, "area": 40, "change": 40.0}
REGION |= {"decision": "repair"}
AXE_FILE = os.environ.get("ARCHIVE_RESTORE_AXE", "")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a flagged clip, a restricted one and a refused one."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as monkeypatch:
        tables = stand_in(monkeypatch)
        good = published("good", out, verdict="needs_review", verdict_frame=7, width=64, height=48)
        good |= {"verdict_sentence": FINDING["sentence"], "verdict_rule": "region_changed"}
        good |= {"collection": "news", "regions_repaired": 1, "largest_repair": 40}
        closed = published("closed", out, access_class="restricted")
        tables["clips"] += [good, closed, refused("bad")]
        tables["findings"] = [FINDING]
        suspect = REGION | {"decision": "suspect", "x": 40, "area": 30}
        tables["regions"] += [REGION, suspect]
        tables["canaries"] = [
            {"clip_id": "good", "run": run, "shot": 0, "start": 0, "preset": "film", "seed": 1,
             "model": "base", "recipe_sha256": run[-1] * 64, "psnr_damaged_db": 20.0,
             "psnr_restored_db": 20 + gain, "harmed": 0.0}
            for run, gain in (("20261129T220000-aaaaaa", 3.0), ("20261130T220000-bbbbbb", 2.0))
        ]  # fmt: skip
        recipe = {"profiles": ["preservation", "access"], "access_copies": "accepted"}
        record = {"streams": [], "recipe": recipe, "files": {}}
        Path(f"{good['output_uri']}.json").write_text(json.dumps(record))
        tables["frames"] += [
            {"clip_id": "good", "run": "r2", "frame": n, "shot": 0} | dict.fromkeys(SERIES, n / 20)
            for n in range(20)
        ]
        write_report(str(out))
    return out / "report"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


def test_every_page_keeps_the_rules(report: Path) -> None:
    pages = sorted(report.rglob("*.html"))
    assert len(pages) == 5
    for page in pages:
        assert access.faults(page.read_text()) == [], page.name


def test_every_colour_of_text_can_be_read() -> None:
    found = access.contrasts(asset("report.css"))
    faint = {pair: round(c, 2) for pair, c in found.items() if c < access.LEAST_CONTRAST}
    assert faint == {}


def test_the_rules_find_faults() -> None:
    page = '<html><title>x</title><main><h1>a</h1><h3>b</h3><img src="x"><input><a href="#n"></a>'
    page += '<table><tr><td>1</td></tr></table><p style="color:red">c</p></main></html>'
    found = " ".join(access.faults(page))
    for fault in ("no language", "skips", "alternative", "no label", "no name", "nowhere",
                  "without headings", "forbids"):  # fmt: skip
        assert fault in found
    assert access.contrast("#000000", "#ffffff") == 21


def test_the_pages_ask_for_nothing_from_afar(report: Path) -> None:
    """A page loads what lies beside it; only a person who selects a link may leave it."""
    for path in report.rglob("*.html"):
        text = path.read_text()
        for name, attributes in Page(text).elements:
            loaded = attributes.get("src") if name != "a" else None
            assert not re.match(r"\w+:|//", loaded or ""), loaded
            assert name not in ("link", "iframe", "object", "embed", "form", "base")
        assert "default-src &#x27;none&#x27;" in text
    assert not re.search(r"url\(|@import", asset("report.css"))
    assert not re.search(r"fetch|XMLHttpRequest|WebSocket|import\(|https?:", asset("report.js"))


def test_a_restricted_clip_has_no_film(report: Path) -> None:
    assert [path.parent.name for path in report.rglob("*.webm")] == ["good"]
    assert "<video" not in (report / "clips" / "closed.html").read_text()


@needs_browser
@pytest.mark.parametrize("dark", [False, True] if AXE_FILE else [False])
def test_no_page_has_a_fault_in_a_browser(report: Path, chromium: Browser, dark: bool) -> None:
    script = Path(AXE_FILE).read_text() if AXE_FILE else ""
    sizes = [(375, 1.0), (1280, 1.0), (1280, 2.0)] if AXE_FILE else [(375, 1.0)]
    for page in sorted(report.rglob("*.html")):
        for width, zoom in sizes:
            chromium.window(width, dark=dark, zoom=zoom)
            chromium.open(page)
            chromium.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
            for state in ("at first", "with decisions"):
                where = f"{page.name}, {width} pixels, zoom {zoom}, {state}"
                if state == "with decisions":
                    chromium.run(DECIDE)
                if script:
                    chromium.run(f"{script};0")
                    assert chromium.run(AXE) == [], where
                wide = chromium.run("document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, f"{where}: cut off"
                live = access.faults(chromium.run("document.documentElement.outerHTML"))
                assert [fault for fault in live if "forbids" not in fault] == [], where
            chromium.run("localStorage.clear()")
    assert chromium.problems == []
    assert [a for a in chromium.requests if not a.startswith(("file:", "about:", "data:"))] == []


# All that a reader can decide on a page, and a save that is refused: a question needs a note.
DECIDE = """(() => {
    const choice = document.querySelector('.decide select');
    if (choice) { choice.value = 'question'; choice.dispatchEvent(new Event('change')); }
    for (const box of document.querySelectorAll('input[data-region]')) box.click();
    document.querySelector('.deck [data-do=save]')?.click();
})()"""
AXE = """axe.run().then(found => found.violations
    .map(v => [v.impact, v.id, v.nodes[0].html]).filter(v => v[0] !== "minor"))"""


SEEKED = """new Promise(go =>
    document.querySelector('video').addEventListener('seeked', go, {once: true}))"""


@needs_browser
def test_three_steps_lead_from_the_index_to_what_is_lost(report: Path, chromium: Browser) -> None:
    """By keyboard alone: the index, the clip that is flagged, the frame that proves it."""
    chromium.window(1280)
    chromium.open(report / "index.html")
    chromium.press("Tab")
    assert chromium.run("document.activeElement.className") == "skip"
    chromium.press("Enter")
    while "frame-7" not in str(chromium.run("document.activeElement.getAttribute('href')")):
        chromium.press("Tab")
        assert chromium.run("document.activeElement !== document.body"), "the link is not reached"
    outline = chromium.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    chromium.events.clear()
    chromium.press("Enter")
    chromium.wait_for("Page.loadEventFired")
    assert chromium.run("location.hash") == "#frame-7"
    proof = chromium.run("document.querySelector(':target').textContent")
    assert "2 % of the frame changed" in proof
    assert chromium.run("document.querySelector('#lost').textContent.length") > 40


@needs_browser
def test_the_player_steps_frame_by_frame(report: Path, chromium: Browser) -> None:
    """Frame n of the film has the grey 10 (n + 1); the restored one is 5 brighter."""
    chromium.window(1280)
    chromium.open(report / "clips" / "good.html")
    chromium.run(
        "new Promise(go => { const v = document.querySelector('video');"
        "v.readyState >= 2 ? go() : v.addEventListener('loadeddata', go); })"
    )
    chromium.run("document.querySelector('.stage').focus()")
    for key, frame in ((".", 1), (".", 2), (",", 1)):
        chromium.run(f"window.shown = {SEEKED}; 0")
        chromium.press(key)
        chromium.run("window.shown.then(() => 0)")
        told = chromium.run("document.querySelector('[data-is=told]').textContent")
        assert told == f"Frame {frame}"
        at = 25 * chromium.run("document.querySelector('video').currentTime")
        assert frame <= at < frame + 1
    chromium.press("v")
    assert chromium.run("document.querySelector('.stage').dataset.view") == "both"


@needs_browser
def test_decisions_of_a_page_are_a_file_that_the_command_reads(
    report: Path, chromium: Browser, tmp_path: Path
) -> None:
    """By keyboard: a decision, a note and a suspect; the file has both, and no request is made."""
    chromium.window(1280)
    chromium.open(report / "clips" / "good.html")
    chromium.run("URL.createObjectURL = file => { window.saved = file.text(); return '#'; }; 0")
    chromium.run("document.querySelector('.decide select').focus()")
    chromium.press("a")  # accept
    chromium.press("Tab")
    for letter in "a foot":
        chromium.press(letter)
    chromium.run("document.querySelector('input[data-decision=accept]').focus()")
    chromium.press(" ")
    chromium.run("document.querySelector('[data-do=save]').focus()")
    chromium.press("Enter")
    path = tmp_path / "decisions.jsonl"
    path.write_text(chromium.run("window.saved"))
    chromium.run("localStorage.clear()")
    found = [(one.clip, one.decision, one.region, one.note) for one in read_decisions(path)]
    assert found == [
        ("good", "accept", "7:40,16,8,6", "a foot"), ("good", "accept", "", "a foot")
    ]  # fmt: skip
    assert [a for a in chromium.requests if not a.startswith(("file:", "about:", "data:"))] == []


@needs_browser
def test_a_click_on_a_curve_of_an_opened_group_shows_its_frame(
    report: Path, chromium: Browser
) -> None:
    chromium.window(1280)
    chromium.open(report / "clips" / "good.html")
    groups = chromium.run("document.querySelectorAll('#curves details').length")
    assert groups == 5 and not chromium.run("document.querySelector('#curves details').open")
    chromium.run("document.querySelector('#curves summary').focus()")
    chromium.press("Enter")
    assert chromium.run("document.querySelector('#curves details').open")
    clicked = """(() => {
        const curve = document.querySelector('#curves details svg.curve');
        const box = curve.getBoundingClientRect();
        const at = { clientX: box.left + box.width * 12 / 19, clientY: box.top + 9, bubbles: true };
        curve.dispatchEvent(new MouseEvent('click', at));
        return document.activeElement.className;
    })()"""
    chromium.run(f"window.shown = {SEEKED}; 0")
    assert chromium.run(clicked) == "stage"
    chromium.run("window.shown.then(() => 0)")
    assert chromium.run("document.querySelector('[data-is=told]').textContent") == "Frame 12"
