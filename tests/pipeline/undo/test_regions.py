"""After a revert, the tables list the repairs that still stand."""

from pathlib import Path

import pytest

from models.frame_state import Repair
from pipeline.clip.regions import RegionWriter
from pipeline.clip.segment import RegionSums
from pipeline.undo.regions import standing, sums

RUN = "20260101T000000-abcdef"


def repair(x: int, area: int, decision: str = "repair") -> Repair:
    return Repair((x, 10, 8, 4), area, True, 30.0, decision, "one_frame")  # type: ignore[arg-type]


def revert(first: int, last: int, region: str | None) -> dict[str, object]:
    return {"first_frame": first, "last_frame": last, "region": region}


@pytest.mark.parametrize(
    ("reverts", "left"),
    [
        ([], [(0, 10), (1, 10), (1, 40), (2, 10)]),
        ([revert(1, 1, None)], [(0, 10), (2, 10)]),
        ([revert(0, 1, "10,10,8,4")], [(1, 40), (2, 10)]),
        ([revert(0, 1, "11,10,40,4")], [(0, 10), (1, 10), (2, 10)]),
        ([revert(0, 0, None), revert(2, 2, "0,0,99,99")], [(1, 10), (1, 40)]),
    ],
)
def test_repairs_put_back_whole_are_left_out(
    tmp_path: Path, reverts: list[dict[str, object]], left: list[tuple[int, int]]
) -> None:
    path = tmp_path / "regions.parquet"
    with RegionWriter(path) as writer:
        writer.add(0, 0, [repair(10, 20)])
        writer.add(0, 1, [repair(10, 30), repair(40, 25, "suspect")])
        writer.add(1, 2, [repair(10, 22)])
    row = {"clip_id": "a", "run": RUN, "regions_uri": str(path)}
    parts = list(standing(row, reverts))
    found = [(row["frame"], row["x"]) for part in parts for row in part.to_pylist()]
    assert found == left
    total = sums(iter(parts))
    assert (total.suspects, total.regions_repaired) == (
        left.count((1, 40)), len(left) - left.count((1, 40))
    )  # fmt: skip
    areas = {(0, 10): 20, (1, 10): 30, (2, 10): 22}
    best = max((place for place in left if place in areas), key=areas.__getitem__)
    assert (total.largest_repair, total.largest_repair_frame) == (areas[best], best[0])


def test_a_clip_without_regions_has_none_left() -> None:
    row = {"clip_id": "a", "run": RUN, "regions_uri": None}
    assert sums(standing(row, [])) == RegionSums()
