"""A dozen adversaries take the model's place in a run: each is caught, with frame and place."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from jobs.evaluate.harm.adversaries import ADVERSARIES, busiest
from jobs.evaluate.harm.suite import Case, Outcome, Suite, cases, cut, fault_of, overlap, table
from pipeline.clip.result import ClipResult
from pipeline.media.rgb import count_frames, write_rgb
from schemas.recipe import Recipe
from schemas.verdict_rules import built_in_rules, parse_rules
from tests.support.media.scenes import sharp_scene

FRAMES = 8
A_DOZEN = [name for name in ADVERSARIES if name not in ("sharpened", "moved picture")]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A panning view with a little colour."""
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    scene = [np.stack([np.roll(luma, 2, 0), luma, luma], -1) for luma in sharp_scene(1, FRAMES)]
    write_rgb(path, scene, Fraction(25), "yuv420p")
    return path


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return Suite(tmp_path_factory.mktemp("suite"), Recipe())


@pytest.mark.parametrize("name", A_DOZEN)
def test_what_an_adversary_does_is_caught(name: str, suite: Suite, film: Path) -> None:
    outcome = suite.outcome(Case(film, 0, name), film)
    assert outcome.fault == ""
    assert outcome.rules + outcome.put_back


def test_what_is_out_of_step_is_put_back(suite: Suite, film: Path) -> None:
    assert "out_of_step" in suite.outcome(Case(film, 1, "swapped frames"), film).put_back


def test_an_adversary_that_no_rule_sees_is_a_fault(
    suite: Suite, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = [{"name": rule.name, "verdict": "pass"} for rule in built_in_rules()]
    rules, _ = parse_rules(blind)
    monkeypatch.setattr(suite, "recipe", Recipe(rules=rules))
    assert suite.outcome(Case(film, 2, "erased foot"), film).fault == "no rule is broken"


def test_a_clean_clip_must_be_untouched(film: Path) -> None:
    columns = {"clip_id": "film", "run": "r", "state": "untouched", "output_uri": str(film)}
    case = Case(film, 0, "clean")
    assert fault_of(case, ClipResult(columns), film, None) == ""
    changed = ClipResult(columns | {"state": "published", "regions_repaired": 3})
    assert fault_of(case, changed, film, None) == "published, 3 regions were repaired"


def test_cases_are_cut_by_turns_of_every_film(tmp_path: Path) -> None:
    for folder, name, count in (("valid", "davis_a", 50), ("archive", "old", 30)):
        (tmp_path / folder).mkdir()
        frames = [np.full((48, 64, 3), n, np.uint8) for n in range(count)]
        write_rgb(tmp_path / folder / f"{name}.mp4", frames, Fraction(25), "yuv420p")
    found = cases(tmp_path, 27)
    assert [sum(case.kind == kind for case in found) for kind in ("clean", "damaged")] == [6, 4]
    assert {case.kind for case in found[10:]} == set(ADVERSARIES)
    assert [case.start for case in found[:3]] == [0, 24, 0]
    cut(found[1], tmp_path / "cut.mkv")
    assert count_frames(tmp_path / "cut.mkv") == 24


def test_boxes_and_table() -> None:
    image = np.zeros((60, 80, 3), np.float32)
    image[20:40, 30:50] = np.random.default_rng(1).uniform(0, 1, (20, 20, 1))
    assert overlap(busiest(image), (30, 20, 20, 20))
    assert not overlap((0, 0, 4, 4), (4, 0, 4, 4))
    case = Case(Path("a.mp4"), 0, "clean")
    told = table([Outcome(case, "", (), ()), Outcome(case, "bad", (), ())])
    assert "| clean | 2 | 1 |" in told
