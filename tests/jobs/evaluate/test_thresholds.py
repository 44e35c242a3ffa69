"""Limits that are chosen on some films and judge another."""

from pathlib import Path

import numpy as np
import pytest

from jobs.evaluate.real.labels import Label
from jobs.evaluate.real.recorded import Piece, Recorded, View
from jobs.evaluate.real.stand_out import Core, Trio, luma, of_neighbours
from jobs.evaluate.real.thresholds import Count, Judged, choose, count, main
from models.fidelity.decision import SHIPPED, UNSEEN, Facts
from models.fidelity.regions import Region
from schemas.errors import ArchiveError

SIDE, BOX = 96, (40, 40, 10, 10)


def film(name: str, *places: tuple[str, float]) -> Recorded:
    """A film of places, each a class with the log odds of its one region, each in its own frame."""
    facts: dict[int, Facts] = {}
    views: list[View] = []
    plain = np.full((SIDE, SIDE), 80, np.float16)
    square, nothing = plain.copy(), np.zeros((SIDE, SIDE), np.int32)
    square[40:50, 40:50] = 200
    labels = (square > 80).astype(np.int32)
    region = Region(1, BOX, 100, True, 120.0, 120.0)
    flow = np.zeros((SIDE, SIDE, 2), np.float32)
    pictures = [np.repeat(p.astype(np.uint8)[..., None], 3, 2) for p in (plain, square)]
    trio = Trio(luma(pictures[1]), (luma(pictures[0]),) * 2, (flow, flow))
    for number, (kind, odds) in enumerate(places):
        at = 10 * number + 5
        for frame, regions in ((at - 1, ()), (at, (region,)), (at + 1, ())):
            one = np.ones(len(regions))
            crowd = np.full(len(regions), SHIPPED.apart_most + 1)
            alarms = UNSEEN * one
            measured = odds * one, one, alarms
            facts[frame] = Facts(regions, SIDE**2, *measured, {}, {}, crowd, 0, 0 * one)
        facts[at - 1] = facts[at - 1]._replace(  # other dust: the film is worn
            regions=(region, region), odds=np.full(2, 3.0), moved=np.ones(2), alarms=np.ones(2),
            crowd=np.zeros(2, int), ridges=np.zeros(2),
        )  # fmt: skip
        removed = labels > 0
        pieces = [Piece(at, square, plain, labels, removed, frozenset({1}))]
        pieces += [
            Piece(side, plain, plain, nothing, ~removed & removed, frozenset())
            for side in (at - 1, at + 1)
        ]
        label = Label(f"{name}.mp4", at, BOX, kind)
        core = Core.of(of_neighbours(trio, BOX))
        views.append(View(label, BOX, core, pieces, [flow.astype(np.float16)] * 2))
    return Recorded(f"{name}.mp4", facts, views)


def test_a_place_is_gone_if_its_region_is_repaired() -> None:
    here = film("a", ("dust", 0.3), ("debris", -0.1))
    assert count(here, SHIPPED) == Count(1, 1, 1, 1)
    assert count(here, SHIPPED._replace(defect_from=0.0)) == Count(1, 1, 1, 0)
    assert count(here, SHIPPED._replace(defect_from=0.4)) == Count(1, 0, 1, 0)


def test_limits_come_from_the_other_films() -> None:
    cautious = film("a", *[("dust", 0.3)] * 4, *[("debris", -0.1)] * 4)
    bold = film("b", *[("dust", -0.5)] * 4)
    judged = Judged([cautious, bold])
    assert choose(judged, ["a.mp4"], 3, ["defect_from"]).defect_from == 0.0
    assert choose(judged, ["b.mp4"], 3, ["defect_from"]).defect_from < -0.5
    assert choose(judged, ["b.mp4"], 5, ["defect_from"]) == SHIPPED  # four places are no reason


def test_each_film_is_judged_by_the_limits_of_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pickle

    for one in (
        film("a", *[("dust", 0.3)] * 4, *[("debris", -0.1)] * 4),
        film("b", ("dust", -0.1)),
    ):
        (tmp_path / f"{one.name}.pickle").write_bytes(pickle.dumps(one))
    main(tmp_path, 3, ["defect_from"])
    lines = capsys.readouterr().out.splitlines()
    row = "| b.mp4 | 0 of 1 | 0.0 % | 0 of 0 | - | defect_from"
    assert [line.startswith(row) for line in lines].count(True) == 2  # drawn, and moved
    assert any(line.startswith("| all, by the shipped limits | 5 of 5") for line in lines)
    with pytest.raises(ArchiveError, match="no limit: speed"):
        main(tmp_path, 3, ["speed"])
