"""The regions on a clip's page: the worst ones, with pictures, unless the clip is restricted."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from jobs.report import write
from jobs.report.regions import SHOWN, worst_regions
from jobs.report.stills import BOX_COLOUR, CUT_GAP, Place, Still
from jobs.report.write import write_report
from schemas.repairs import WHY
from tests.support.reports import Page, Tables, published, refused, stand_in


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Tables:
    return stand_in(monkeypatch)


def region(frame: int, area: int, decision: str = "repair", run: str = "r2") -> dict[str, Any]:
    why = "path" if decision == "suspect" else "one_frame"
    place = {"x": 20, "y": 16, "width": 8, "height": 6, "area": area}
    row = {"clip_id": "it's", "run": run, "shot": 0, "frame": frame, "bright": True}
    return row | place | {"change": 40.0, "decision": decision, "why": why}


def shown(tables: Tables, *regions: dict[str, Any]) -> list[tuple[str, int, int]]:
    """The regions that the page shows: decision, frame and area."""
    from jobs.console.query import query  # the stand-in

    tables["regions"] += regions
    clip = {"clip_id": "it's", "run": "r2", "regions_repaired": 1}
    found = worst_regions([clip, clip | {"clip_id": "none"}], lambda sql: query("", sql))
    rows = found.get("it's", [])
    return [(str(r["decision"]), int(str(r["frame"])), int(str(r["area"]))) for r in rows]


def test_suspects_come_first_and_the_largest_of_each_before_the_others(tables: Tables) -> None:
    rows = [region(1, 30), region(1, 70), region(5, 90), region(3, 25, "suspect")]
    found = shown(tables, *rows, region(5, 999, run="r1"))
    assert found == [("suspect", 3, 25), ("repair", 5, 90), ("repair", 1, 70)]


def test_one_thing_in_motion_is_not_all_that_is_shown(tables: Tables) -> None:
    """It is in frames 0 to 18 of 441; other places are smaller."""
    moving = [region(frame, 500 + frame, "suspect") for frame in range(19)]
    found = shown(tables, *moving, *(region(f, f, "suspect") for f in range(40, 480, 40)))
    assert len(found) == SHOWN
    assert found[:2] == [("suspect", 18, 518), ("suspect", 440, 440)]


def with_regions(tables: Tables, out: Path, **more: object) -> None:
    row = published("it's", out, regions_repaired=2, suspects=1, **more)
    tables["clips"].append(row)
    tables["regions"] += [region(4, 40), region(9, 60), region(11, 50, "suspect")]
    tables["regions"][-1]["probability"] = 0.873


def test_the_page_shows_each_region_before_and_after(tables: Tables, tmp_path: Path) -> None:
    with_regions(tables, tmp_path)
    write_report(str(tmp_path))
    page = Page((tmp_path / "report" / "clips" / "it's.html").read_text())
    assert "2 regions repaired in all frames. 1 region left as in the source" in page.text
    assert page.text.index("may be real") < page.text.index("Largest repairs")
    for code in ("path", "one_frame"):
        assert WHY[code] in page.text
    assert "Frame 11: a bright place of 8 x 6 pixels at column 20, line 16." in page.text
    assert page.text.count("it is a defect with a probability of 87%") == 1  # the others lack one
    for decision, frame in (("accept", 11), ("revert", 9)):
        command = f"review {decision} 'it'\"'\"'s' --by NAME --region {frame}:20,16,8,6 --out"
        assert command in page.text
    cuts = [str(i["src"]) for i in page.all("img") if "region" in str(i["src"])]
    assert [name.split("-region-")[1].split("-")[0] for name in cuts] == ["11", "9", "4"]
    folder = tmp_path / "report" / "clips"
    picture = cv2.imread(str(folder / cuts[0].replace("%27", "'")))
    assert picture.shape == (2 * 48, 2 * 2 * 64 + CUT_GAP, 3)
    sides = picture[:20, :20], picture[:20, -20:]
    assert [round(float(side.mean())) for side in sides] == [120, 125]  # 10 x (11 + 1), plus 5


def test_pictures_are_taken_again_for_other_regions(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_regions(tables, tmp_path)
    write_report(str(tmp_path))
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(write, "stills")
        write_report(str(tmp_path))
    tables["regions"].append(region(15, 77))
    write_report(str(tmp_path))
    assert list((tmp_path / "report").rglob("*-region-15-*.jpg"))


def test_a_restricted_clip_has_words_and_no_pictures(tables: Tables, tmp_path: Path) -> None:
    with_regions(tables, tmp_path, access_class="restricted")
    write_report(str(tmp_path))
    page = Page((tmp_path / "report" / "clips" / "it's.html").read_text())
    assert "Frame 11: a bright place" in page.text
    assert page.all("img") == []
    assert list((tmp_path / "report").rglob("*.jpg")) == []


def test_a_clip_under_embargo_shows_no_regions(tables: Tables, tmp_path: Path) -> None:
    with_regions(tables, tmp_path)
    tables["clips"].append(refused("it's", run="r3", state="held", reason="EMBARGOED"))
    write_report(str(tmp_path))
    page = Page((tmp_path / "report" / "clips" / "it's.html").read_text())
    assert "a bright place" not in page.text
    assert list((tmp_path / "report").rglob("*.jpg")) == []


@pytest.mark.parametrize("place", [Place(0, 0, 0, 9, 9), Place(0, 180, 90, 20, 10)])
def test_a_cut_at_an_edge_shows_its_box(place: Place) -> None:
    source = np.zeros((100, 200, 3), np.uint8)
    source[place.y : place.y + place.height, place.x : place.x + place.width] = 200
    cut = Still(0, source, np.zeros_like(source)).cut(place)
    assert cut.shape == (200, 2 * 240 + CUT_GAP, 3)
    left, right = cut[:, :240], cut[:, -240:]
    assert int((left == 200).all(axis=2).sum()) == 4 * place.width * place.height
    assert not (right == 200).any()
    for half in (left, right):
        assert (half == BOX_COLOUR).all(axis=2).sum() > place.width + place.height
