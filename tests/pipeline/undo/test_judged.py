"""From the finding of a clip back to its source: the frame and the box that a rule names."""

from pathlib import Path

import pyarrow.parquet as pq

from pipeline.proof.record import read_record
from pipeline.undo.revert import revert_clip
from pipeline.undo.selection import Request
from schemas.recipe import parse_recipe
from tests.support.media.media_factory import Clip, write_clip
from tests.support.published import publish, settings_for


def test_what_a_finding_names_is_put_back(tmp_path: Path) -> None:
    source = tmp_path / "reel.mkv"
    write_clip(source, Clip(frames=4))
    settings = settings_for(tmp_path)
    row = publish(tmp_path, source, settings, changed=4, erased=2)
    (finding,) = (one for one in row["finding_rows"] if one["rule"] == "region_changed")
    assert (row["verdict"], row["verdict_frame"], finding["frame"]) == ("needs_review", 2, 2)
    assert row["verdict_sentence"].startswith("Frame 2: ")
    x, y, wide, high = map(int, finding["box"].split(","))
    assert 12 <= x <= 20 and 4 <= y <= 12 and 44 <= x + wide <= 52 and 28 <= y + high <= 36
    revert_clip("reel", settings.out, Request.parse(None, "2:2", finding["box"]))
    after = read_record(f"{settings.out}/clips/reel/reel_rst.mkv")["row"]
    assert after["verdict"] == "pass" and after["finding_rows"] == []
    table = pq.read_table(f"{settings.out}/tables/clips").to_pylist()
    assert [clip["verdict"] for clip in table] == ["pass"]


def test_the_rules_are_those_of_the_recipe(tmp_path: Path) -> None:
    source = tmp_path / "reel.mkv"
    write_clip(source, Clip(frames=3))
    strict = parse_recipe('[[rules]]\nname = "region_changed"\nverdict = "fail"\n')
    settings = settings_for(tmp_path, strict)
    row = publish(tmp_path, source, settings, changed=3, erased=1)
    assert (row["verdict"], row["verdict_rule"]) == ("fail", "region_changed")
