"""A region that a person decided on: a suspect is repaired in the next run, a repair put back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from models.frame_state import Repair
from pipeline.clip.box import Box
from pipeline.clip.clip import Clip as ManifestClip
from pipeline.clip.fields import in_field, in_frame
from pipeline.clip.tasks import ShardTask
from pipeline.local import ThisProcess
from pipeline.media.decoder import Decoder
from pipeline.proof.fixity import check_published
from pipeline.proof.record import read_record
from pipeline.runs.results import unchanged
from pipeline.runs.settings import Settings
from pipeline.stages import SurveyStage, survey_of
from pipeline.store import storage
from schemas.recipe import Limits
from tests.support.command_line import invoke
from tests.support.media.media_factory import Clip, write_clip
from tests.support.published import publish, settings_for

SUSPECT, REPAIR = "1:4,4,8,6", "2:16,8,10,6"
SHOT = 12  # frames


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Settings]:
    folder = tmp_path_factory.mktemp("suspects")
    write_clip(folder / "reel.mkv", Clip(frames=4))
    settings = settings_for(folder)
    publish(folder, folder / "reel.mkv", settings, changed=3, regions=[
        (1, Repair((4, 4, 8, 6), 40, True, 30.0, "suspect", "lone")),
        (2, Repair((16, 8, 10, 6), 50, True, 30.0, "repair", "clear")),
    ])  # fmt: skip
    return folder, settings


def master(folder: Path) -> str:
    return f"{folder}/out/clips/reel/reel_rst.mkv"


def decide(folder: Path, decision: str, region: str) -> Any:
    out = ("--by", "A. Curator", "--out", f"{folder}/out")
    return invoke("review", decision, "reel", "--region", region, *out)


@pytest.mark.parametrize(
    ("decision", "region", "why"),
    [
        ("accept", "1:4,4,8", "give x,y,w,h"),
        ("accept", "4,4,8,6", "give frame:x,y,w,h"),
        ("accept", "1:4,4,8,7", "has no suspect 1:4,4,8,7"),
        ("accept", REPAIR, "has no suspect"),
        ("revert", SUSPECT, "has no repair"),
        ("rerun", SUSPECT, "rerun is for a clip"),
    ],
)
def test_what_is_no_such_region_is_an_error(
    work: tuple[Path, Settings], decision: str, region: str, why: str
) -> None:
    told = decide(work[0], decision, region)
    assert told.exit_code != 0 and why in told.stderr


def test_an_accepted_suspect_is_repaired_in_the_next_run(work: tuple[Path, Settings]) -> None:
    folder, settings = work
    clip = ManifestClip("reel", str(folder / "reel.mkv"))
    later = replace(settings, published=None)
    assert unchanged(clip, later) is not None
    told = decide(folder, "accept", SUSPECT)
    assert told.exit_code == 0 and "the next submit repairs it" in told.stdout, told.output
    record = read_record(master(folder))
    assert (record["to_repair"], record["reviews"][0]["region"]) == ([SUSPECT], SUSPECT)
    (row,) = pq.read_table(f"{folder}/out/tables/reviews").to_pylist()
    assert (row["decision"], row["region"], row["by"]) == ("accept", SUSPECT, "A. Curator")
    assert f"region {SUSPECT}" in storage.read_bytes(f"{master(folder)}.premis.xml").decode()
    assert check_published(master(folder)).faults == []
    assert unchanged(clip, later) is None  # new work
    as_it_is = invoke("review", "accept", "reel", "--out", f"{folder}/out")
    assert as_it_is.exit_code == 0, as_it_is.output
    assert unchanged(clip, later) is None  # the suspect is still to be repaired
    (task,) = SurveyStage(later, ThisProcess())(clip)
    assert isinstance(task, ShardTask) and survey_of(task, later).accepted == [SUSPECT]
    publish(folder, folder / "reel.mkv", settings, changed=3, accepted=[SUSPECT])
    assert unchanged(clip, later) is not None  # done, and it stays accepted
    assert read_record(master(folder))["accepted"] == [SUSPECT]


def test_a_repaired_region_is_put_back(work: tuple[Path, Settings], tmp_path: Path) -> None:
    publish(tmp_path, work[0] / "reel.mkv", settings_for(tmp_path), changed=3, regions=[
        (1, Repair((4, 4, 8, 6), 40, True, 30.0, "suspect", "lone")),
        (2, Repair((16, 8, 10, 6), 50, True, 30.0, "repair", "clear")),
    ])  # fmt: skip
    told = decide(tmp_path, "revert", REPAIR)
    assert told.exit_code == 0, told.output
    frames = []
    for path in (work[0] / "reel.mkv", Path(master(tmp_path))):
        with Decoder(path, Limits()) as decoder:
            frames.append([frame.planes[0].astype(int) for frame in decoder][2])
    inside = np.zeros(frames[0].shape, bool)
    inside[8:14, 16:26] = True
    assert ((frames[0] == frames[1]) == inside).all()
    record = read_record(master(tmp_path))
    assert record["reviews"][0]["region"] == REPAIR and record["row"]["regions_repaired"] == 0
    told = decide(tmp_path, "accept", SUSPECT)  # a new restoration would undo the revert
    assert told.exit_code != 0 and "--release" in told.stderr


def test_an_accepted_repair_stays_where_its_shot_is_put_back(
    work: tuple[Path, Settings], tmp_path: Path
) -> None:
    source = work[0] / "reel.mkv"
    many = [(1, Repair((0, 0, 4, 4), 20, True, 30.0, "suspect", "lone"))] * 40
    found = [*many, (1, Repair((4, 4, 8, 6), 40, True, 30.0, "repair", "one_frame"))]
    row = publish(
        tmp_path, source, settings_for(tmp_path), changed=3, regions=found, accepted=[SUSPECT]
    )
    assert (row["shot_rows"][0]["left"], row["regions_repaired"]) == ("like_clean", 1)
    with Decoder(source, Limits()) as before, Decoder(master(tmp_path), Limits()) as after:
        pairs = list(zip(before, after, strict=True))
        box = Box(4, 4, 8, 6).grown(6, before.probe, False)
    changed = [one.planes[0] != other.planes[0] for one, other in pairs]
    assert [bool(one.any()) for one in changed] == [False, True, False, False]
    inside = np.zeros(changed[1].shape, bool)
    inside[box.y : box.y + box.height, box.x : box.x + box.width] = True
    assert (changed[1] == inside).all()


def test_a_region_of_a_field_is_found_again_in_it() -> None:
    for parity in (0, 1):
        one = Repair((3, 5, 7, 4), 20, True, 30.0, "repair", "clear")
        assert in_field(in_frame(one, parity).box, parity) == one.box
        assert in_field(in_frame(one, parity).box, 1 - parity) is None
