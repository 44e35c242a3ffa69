"""Limits that are searched on some films, and what they do to all frames of a film at once."""

import dataclasses

import numpy as np

from jobs.evaluate.real.calibration import Made, Planted, what_is
from jobs.evaluate.real.outcomes import Outcome, Parts, Plantings, Table
from jobs.evaluate.real.search import Judging, search
from jobs.evaluate.real.thresholds import GRID
from models.fidelity.decision import SHIPPED, UNSEEN, Facts, Limits, decide
from models.fidelity.regions import Region

SIDE = 200


def drawn_facts(rng: np.random.Generator, count: int) -> Facts:
    """Regions of one frame with measures on both sides of every limit."""
    regions, shifted, steps = [], {}, {}
    for label in range(1, count + 1):
        wide, high = (int(side) for side in rng.integers(3, 30, 2))
        area = int(rng.integers(6, wide * high + 7))
        mean = float(rng.uniform(4, 30))
        regions.append(Region(label, (5, 5, wide, high), area, bool(label % 3), 2 * mean, mean))
        if rng.random() < 0.2:
            shifted[label] = float(rng.uniform(0.5, 6))
        if rng.random() < 0.3:
            steps[label] = float(rng.uniform(0, 4))
    alarms = np.where(rng.random(count) < 0.5, UNSEEN, rng.uniform(-5, 2, count))
    odds, moved = rng.uniform(-2.5, 4, count), rng.uniform(0, 1, count)
    crowd = rng.integers(0, 6, count)
    ridges = rng.uniform(-2, 4, count)
    return Facts(
        tuple(regions), SIDE * SIDE, odds, moved, alarms, shifted, steps, crowd,
        int(rng.integers(4)), ridges,
    )  # fmt: skip


def drawn_limits(rng: np.random.Generator) -> Limits:
    values = {name: values[int(rng.integers(len(values)))] for name, values in GRID.items()}
    return Limits(**(SHIPPED._asdict() | values))


def test_a_whole_film_is_decided_as_frame_by_frame() -> None:
    rng = np.random.default_rng(3)
    decided = set()
    for _ in range(25):
        counts = rng.choice([0, 1, 4, 40], 7)
        numbers = (0, 1, 2, 3, 7, 8, 20)  # frames without a neighbour, with one, with two
        facts = {at: drawn_facts(rng, int(n)) for at, n in zip(numbers, counts, strict=True)}
        limits, one_by_one = drawn_limits(rng), []
        for at, here in facts.items():
            near = [facts[beside] for beside in (at - 1, at, at + 1) if beside in facts]
            left = decide(here, near, limits)
            decided |= set(left.values())
            one_by_one += [region.label not in left for region in here.regions]
        assert Table.of(facts).repaired(limits).tolist() == one_by_one
    # Every reason was there.
    assert decided == {
        "unlike_dust", "path", "edge", "upright", "rim", "ridge", "lone", "swarm",
    }  # fmt: skip


@dataclasses.dataclass
class Film(Judging):
    """A film of defects and things that only their log odds tell apart."""

    name: str
    defects: np.ndarray
    real: np.ndarray

    @property
    def parts(self) -> Parts:
        return np.zeros(len(self.defects), int), np.zeros(len(self.real), int)

    def outcome(self, limits: Limits) -> Outcome:
        return Outcome(self.defects >= limits.defect_from, self.real >= limits.defect_from)


def test_a_limit_is_set_between_defects_and_things() -> None:
    rng = np.random.default_rng(1)
    films = [Film(name, rng.normal(1.2, 0.6, 40), rng.normal(-0.6, 0.1, 40)) for name in ("a", "b")]
    grid = {"defect_from": GRID["defect_from"], "deep": GRID["deep"]}
    found = search([films], grid, seed=0, bags=5)
    assert -0.4 <= found.defect_from <= -0.2  # above the things, below nearly all defects
    assert found == search([films], grid, seed=0, bags=5)
    # No place speaks for this one, and the shipped value has no part in it.
    assert found.deep in GRID["deep"]
    assert found._replace(defect_from=SHIPPED.defect_from, deep=SHIPPED.deep) == SHIPPED


def test_one_film_with_many_places_does_not_decide() -> None:
    few = [Film(str(n), np.full(9, 0.5), np.full(9, -0.1)) for n in range(6)]
    many = Film("many", np.full(900, -0.7), np.zeros(0))
    grid = {"defect_from": GRID["defect_from"]}
    assert search([[*few, many]], grid, seed=0, bags=5).defect_from > -0.1
    assert search([[many]], grid, seed=0, bags=5).defect_from <= -0.8


def test_regions_of_a_calibration_film_are_what_its_masks_say() -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[2:8, 2:8], labels[2:8, 12:18], labels[12:18, 2:8], labels[19, 19] = 1, 2, 3, 4
    damage = np.zeros((1, 20, 20), bool)
    damage[0, 2:8, 2:8] = damage[0, 14:18, 2:8] = True
    defects = damage.copy()
    defects[0, 12:] = False  # the third region has other damage: neither a defect nor a thing
    made = Made(np.zeros((1, 20, 20, 3), np.uint8), defects, damage)
    regions = [Region(label, (0, 0, 6, 6), 36, True, 30.0, 20.0) for label in (1, 2, 3)]
    regions.append(Region(4, (0, 0, 1, 1), 1, True, 9.0, 6.0))  # too weak to count
    ones = np.ones(4)
    facts = Facts(
        tuple(regions), 400, ones, ones, UNSEEN * ones, {}, {}, np.full(4, 9), 0, 0 * ones
    )
    defect, real = what_is(facts, labels, made, 0)
    assert defect.tolist() == [True, False, False, False]
    assert real.tolist() == [False, True, False, False]
    film = Plantings([Planted("a", "sparse", {0: facts}, {0: defect}, {0: real})])
    bold = SHIPPED._replace(clear_least=0, apart_least=0)
    for limits, hit in ((bold, [True]), (bold._replace(defect_from=1.1), [False])):
        assert [marks.tolist() for marks in film.outcome(limits)] == [hit, hit]
