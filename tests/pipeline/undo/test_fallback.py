"""What must stay the source is put back before a clip is published, and said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow.parquet as pq
import pytest

from models.frame_state import Repair
from pipeline.clip.box import Box
from pipeline.clip.clip import Clip as ManifestClip
from pipeline.clip.frames import Frame
from pipeline.clip.put_back import PutBack
from pipeline.clip.regions import RegionWriter
from pipeline.clip.segment import SegmentRecord
from pipeline.clip.shards import Shot
from pipeline.detect.change_film import ChangeWriter, beside, maps
from pipeline.detect.like_clean import Decided, is_like_clean
from pipeline.media.decoder import Decoder
from pipeline.media.segments import SegmentWriter
from pipeline.proof.fixity import check_published
from pipeline.proof.record import read_record
from pipeline.store import storage
from pipeline.survey import survey_clip
from pipeline.undo.fallback import rewritten
from pipeline.undo.harm import of_clean_shots
from schemas.recipe import Limits, Recipe
from schemas.verdict_rules import Rules, parse_rules
from tests.support.media.media_factory import Clip, write_clip
from tests.support.premis_schema import breaches, texts
from tests.support.published import publish, settings_for

FRAMES, CHANGED, ERASED = 6, 5, 2
SHOTS = [Shot(0, 3), Shot(3, FRAMES)]
BOX = (16, 8, 32, 24)  # that `publish` spoils


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fallback") / "reel.mkv"
    write_clip(path, Clip(frames=FRAMES))
    return path


def rules(fallback: str, measure: str = "largest_change", above: float = 0.007) -> Rules:
    entry = {
        "name": "bound", "measure": measure, "above": above, "verdict": "fail",
        "says": "it is wrong", "fallback": fallback,
    }  # fmt: skip
    found, faults = parse_rules([entry, {"name": "region_changed", "verdict": "pass"}])
    assert faults == []
    return found


def frames(path: str | Path) -> list[Frame]:
    with Decoder(path, Limits()) as decoder:
        return list(decoder)


def master(folder: Path) -> str:
    return f"{folder}/out/clips/reel/reel_rst.mkv"


def same(folder: Path, source: Path) -> list[int]:
    """The frames of the published clip that are the source's."""
    pairs = zip(frames(master(folder)), frames(source), strict=True)
    return [one.index for one, other in pairs if one.crc32 == other.crc32]


def restored(folder: Path, source: Path, recipe: Recipe, **more: Any) -> dict[str, Any]:
    settings = settings_for(folder, recipe)
    row = publish(folder, source, settings, CHANGED, shots=SHOTS, **more)
    assert check_published(master(folder)).faults == []
    root = ET.fromstring(storage.read_bytes(f"{master(folder)}.premis.xml"))
    assert breaches(root) == []
    details = " ".join(texts(root, "eventDetail"))
    assert ("put_back=none" in details) == (not read_record(master(folder))["put_back"])
    return row


def test_a_region_that_breaks_a_bound_is_the_source_again(source: Path, tmp_path: Path) -> None:
    row = restored(tmp_path, source, Recipe(rules=rules("region")), erased=ERASED)
    assert same(tmp_path, source) == [5]  # the rest of the frame is as restored
    before, after = frames(source)[ERASED], frames(master(tmp_path))[ERASED]
    x, y, wide, high = BOX
    inside = slice(y, y + high), slice(x, x + wide)
    assert (before.planes[0][inside] == after.planes[0][inside]).all()
    (finding,) = [one for one in row["finding_rows"] if one["rule"] == "bound"]
    assert (finding["put_back"], finding["frame"], finding["frames"]) == ("region", ERASED, 1)
    assert finding["number"] > finding["rule_limit"]
    assert (row["state"], row["verdict"], row["frames_put_back"]) == ("published", "pass", 1)
    (entry,) = read_record(master(tmp_path))["put_back"]
    assert (entry["first_frame"], entry["rule"], entry["shot"]) == (ERASED, "bound", None)


@pytest.mark.parametrize(
    ("fallback", "kept"), [("shot", [0, 1, 2, 5]), ("clip", list(range(FRAMES)))]
)
def test_a_shot_or_the_clip_is_the_source_again(
    source: Path, tmp_path: Path, fallback: str, kept: list[int]
) -> None:
    row = restored(tmp_path, source, Recipe(rules=rules(fallback), change_map=False), erased=ERASED)
    assert same(tmp_path, source) == kept
    whole = len(kept) == FRAMES
    assert row["state"] == ("untouched" if whole else "published")
    assert row["verdict"] == ("untouched" if whole else "pass")
    (finding,) = [one for one in row["finding_rows"] if one["rule"] == "bound"]
    assert finding["put_back"] == fallback
    assert [shot["left"] for shot in row["shot_rows"]] == [None if whole else "rule", None]
    assert row["frames_put_back"] == (FRAMES if whole else 3)


def test_more_is_put_back_where_the_first_part_does_not_help(source: Path, tmp_path: Path) -> None:
    """The worst tile is a part of what was spoiled: the rest of it breaks the bound again."""
    recipe = Recipe(rules=rules("region", "texture_added", 3.0))
    row = restored(tmp_path, source, recipe, erased=ERASED)
    assert same(tmp_path, source) == [0, 1, 2, 5]
    (finding,) = [one for one in row["finding_rows"] if one["rule"] == "bound"]
    assert finding["put_back"] == "shot" and row["state"] == "published"
    assert len(read_record(master(tmp_path))["put_back"]) == 2


def test_without_a_fallback_a_failed_clip_stays_as_it_is(source: Path, tmp_path: Path) -> None:
    row = restored(tmp_path, source, Recipe(rules=rules("none")), erased=ERASED)
    assert same(tmp_path, source) == [5]
    assert (row["verdict"], row["verdict_rule"]) == ("fail", "bound")
    assert (row["frames_put_back"], read_record(master(tmp_path))["put_back"]) == (None, [])


def region(decision: str, why: str) -> Repair:
    return Repair((4, 4, 8, 8), 50, True, 30.0, decision, why)  # type: ignore[arg-type]


def test_a_shot_with_repairs_as_in_clean_film_is_left_alone(source: Path, tmp_path: Path) -> None:
    many = [(frame, region("suspect", "lone")) for frame in range(3) for _ in range(10)]
    found = [*many, (0, region("repair", "clear")), (4, region("repair", "clear"))]
    row = restored(tmp_path, source, Recipe(rules=rules("none")), regions=sorted(found))
    assert same(tmp_path, source) == [0, 1, 2, 5]
    assert [shot["left"] for shot in row["shot_rows"]] == ["like_clean", None]
    assert (row["regions_repaired"], row["suspects"]) == (1, 31)
    kept = pq.read_table(row["regions_uri"]).to_pylist()
    assert [r["decision"] for r in kept if r["why"] == "like_clean"] == ["suspect"]
    assert row["frames_put_back"] == 3


def test_where_more_than_repairs_is_wanted_no_shot_is_like_clean(source: Path) -> None:
    survey = survey_clip(ManifestClip("reel", str(source)), Recipe(), source.parent)
    path = source.with_suffix(".parquet")
    with RegionWriter(path) as writer:
        found = (region("suspect", "lone"), region("repair", "one_frame"))
        writer.add(0, 1, found)
    record = SegmentRecord(
        0, 0, FRAMES, (), seconds_decode=0, seconds_model=0, seconds_encode=0, source_share=1,
        defect_share=0, exposure_gain_min=1, exposure_gain_max=1, regions_uri=str(path),
    )  # fmt: skip
    assert [one.shot for one in of_clean_shots({0: record}, survey, Recipe())] == [0]
    for other in (Recipe(clean="restore"), Recipe(grain=0.5), Recipe(suspects="repair")):
        assert of_clean_shots({0: record}, survey, other) == ()
    unsteady = replace(survey, shots=[Shot(0, FRAMES, flickers=True)])
    assert of_clean_shots({0: record}, unsteady, Recipe()) == ()
    assert of_clean_shots({0: record}, replace(survey, fill=[2]), Recipe()) == ()


def test_segments_that_are_not_concerned_stay_and_the_change_map_follows(
    source: Path, tmp_path: Path
) -> None:
    survey = survey_clip(ManifestClip("reel", str(source)), Recipe(), source.parent)
    pictures = frames(source)
    segments, half = {}, survey.probe.width // 2
    for number, own in enumerate((range(2), range(2, FRAMES))):
        path = tmp_path / f"{number}.mkv"
        with (
            SegmentWriter(path, survey.probe, 4) as writer,
            ChangeWriter(beside(path), survey.probe).closed() as maps_,
        ):
            for index in own:
                writer.write(pictures[index].planes)
                maps_.write(np.full((survey.probe.height // 2, half), 9, np.uint8))
        segments[number] = SegmentRecord(
            number, own.start, own.stop, tuple(writer.crcs), seconds_decode=0, seconds_model=0,
            seconds_encode=0, source_share=0.5, defect_share=0.2, exposure_gain_min=0.9,
            exposure_gain_max=1, uri=str(path), changes_uri=str(beside(path)), share_changed=1.0,
        )  # fmt: skip
    plan = (
        PutBack(range(3, 4), None, "rule", "a"),
        PutBack(range(4, 5), Box(0, 0, half, survey.probe.height), "rule"),
    )
    new = rewritten(segments, plan, survey, source, Recipe(), tmp_path)
    assert new[0] is segments[0]
    found = list(maps(Path(new[1].changes_uri), Limits()))
    assert [round(float((one > 0).mean()), 2) for one in found] == [1, 0, 0.5, 1]
    assert (new[1].share_changed, new[1].source_share) == (0.625, 0.6875)
    assert new[1].crc32 == segments[1].crc32  # they were the source's
    whole = rewritten(
        segments, (PutBack(range(FRAMES), None, "rule"),), survey, source, Recipe(), tmp_path
    )
    facts = [(one.source_share, one.defect_share, one.exposure_gain_min) for one in whole.values()]
    assert facts == [(1, 0, 1)] * 2


def regions(
    count: int, why: str = "clear", change: float = 20.0, decision: str = "repair", apart: int = 10
) -> list[Decided]:
    """Regions of as many frames, each beside the one before."""
    return [
        Decided(decision, why, change, frame, (apart * frame, 8, 4, 4)) for frame in range(count)
    ]


def test_clean_film_has_few_clear_defects_among_much_that_stands_out() -> None:
    suspects = regions(112, "unlike_dust", decision="suspect")
    assert is_like_clean([])
    assert is_like_clean(regions(50, "one_frame"))
    assert is_like_clean([*suspects, *regions(39)])
    assert not is_like_clean([*suspects, *regions(40)])
    assert not is_like_clean([*suspects[:12], *regions(2)])
    assert not is_like_clean(regions(2, "upright"))


def test_dust_falls_also_where_nothing_else_stands_out() -> None:
    """Leaves in the wind are a crowd; what is clear among them alone may be a leaf."""

    def crowded(count: int, crowd: int, *kind: str) -> list[Decided]:
        why, decision = kind or ("clear", "repair")
        return [one._replace(crowd=crowd) for one in regions(count, why, decision=decision)]

    leaves = crowded(112, 9, "unlike_dust", "suspect")
    assert is_like_clean([*leaves, *crowded(18, 9)])
    assert is_like_clean([*leaves, *crowded(34, 9), *crowded(2, 1)])
    assert is_like_clean([*leaves, *crowded(4, 9), *crowded(1, 1)])  # one alone is doubtful
    assert not is_like_clean([*leaves, *crowded(16, 9), *crowded(2, 1)])
    # A faint speck that is repaired for what is around it speaks for clean film, as a suspect.
    assert not is_like_clean([*leaves, *crowded(40, 1)])
    assert is_like_clean([*leaves, *crowded(40, 1), *crowded(100, 1, "apart", "repair")])
    # Flakes that fall lie apart, as dust does: there the suspects are lone as well.
    assert is_like_clean([*crowded(60, 0, "path", "suspect"), *crowded(18, 0)])


def test_a_single_clear_defect_must_stand_out_far() -> None:
    """What is seen for one frame between two legs is clear as well, and faint."""
    assert is_like_clean(regions(1, change=23.2))
    assert not is_like_clean(regions(1, change=60.0))


def test_what_comes_again_at_one_place_is_no_dust() -> None:
    """Traffic behind a gap between two posts is clear in some frames, always at one place."""
    assert is_like_clean(regions(5, apart=0))
    assert not is_like_clean([*regions(5, apart=0), *regions(2)[1:]])
    # Two pieces of dust in one frame are two, however near they are.
    one = regions(1)[0]
    assert not is_like_clean([one, one._replace(box=(5, 8, 4, 4))])
