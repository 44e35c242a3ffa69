"""What tune chooses is what scores best, and its folds say what the choice is worth elsewhere."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from jobs.cli import app
from jobs.evaluate.samples import Options
from jobs.evaluate.tune import (
    UNSEEN_DISTANCE,
    Candidate,
    cross_validated,
    tune_command,
    with_reference,
    without_reference,
    witnesses,
)
from pipeline.media.rgb import write_rgb
from schemas.errors import ArchiveError
from schemas.recipe import load_recipe

WEAK, STRONG = Candidate("fast", 0.25, True), Candidate("fast", 1.0, True)
NOTHING = Candidate("fast", 0.0, True)
SIZE = 96, 128


def scene(seed: int, speed: int, count: int = 12) -> np.ndarray:
    """A pan over a textured picture, (T, H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    wide = rng.uniform(0, 255, (SIZE[0], SIZE[1] + speed * count, 3)).astype(np.float32)
    wide = np.clip(128 + 5 * (cv2.GaussianBlur(wide, (0, 0), 3) - 128), 0, 255).astype(np.uint8)
    return np.stack([wide[:, speed * i : speed * i + SIZE[1]] for i in range(count)])


def noisy(clip: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(9).normal(0, sigma, clip.shape)
    return np.clip(np.rint(clip + noise), 0, 255).astype(np.uint8)


def test_a_fold_is_scored_with_what_the_others_chose() -> None:
    found = {
        "a": (20.0, {WEAK: 21.0, STRONG: 25.0}),
        "b": (20.0, {WEAK: 21.0, STRONG: 24.0}),
        "c": (20.0, {WEAK: 23.0, STRONG: 16.0}),
    }
    tuned = cross_validated(found, folds=3)
    assert tuned.winner == WEAK and tuned.means == {WEAK: 65 / 3, STRONG: 65 / 3}  # the cheaper
    by_clip = {fold.clips: fold for fold in tuned.folds}
    assert {name for names in by_clip for name in names} == set(found)
    assert by_clip[("c",)].chosen == STRONG and by_clip[("c",)].score_db == 16.0
    assert by_clip[("c",)].best_db == 23.0
    assert by_clip[("a",)].chosen == WEAK and by_clip[("a",)].best_db == 25.0
    assert tuned.gain.mean == pytest.approx((1 + 1 - 4) / 3)


def test_clips_are_dealt_whole_and_once() -> None:
    found = {f"clip{i}": (0.0, {WEAK: float(i), STRONG: 1.0}) for i in range(11)}
    tuned = cross_validated(found, folds=4, seed=3)
    held = [name for fold in tuned.folds for name in fold.clips]
    assert sorted(held) == sorted(found) and len(tuned.folds) == 4
    assert cross_validated(found, folds=4, seed=3) == tuned
    with pytest.raises(ArchiveError, match="two clips"):
        cross_validated({"a": (0.0, {WEAK: 1.0})})


@pytest.mark.parametrize("speed", [0, 3])
def test_witnesses_show_the_same_place_in_other_frames(speed: int) -> None:
    clip = scene(1, speed)
    seen = witnesses(clip)
    assert len(seen) == 2 * (len(clip) - UNSEEN_DISTANCE)
    assert {one.frame for one in seen} == set(range(len(clip)))
    share = np.mean([one.where.mean() for one in seen])
    assert share > 0.4
    for one in seen:
        error = np.abs(one.picture - clip[one.frame])[one.where]
        assert error.size == 0 or error.mean() < (0.1 if speed == 0 else 6)


@pytest.mark.parametrize("speed", [0, 2])
def test_without_a_reference_noise_is_known_for_noise(speed: int, tmp_path: Path) -> None:
    candidates = [NOTHING, WEAK, STRONG]
    path = tmp_path / "noisy.mkv"
    write_rgb(path, noisy(scene(2, speed), 18), Fraction(24))
    source, scores = without_reference(path, candidates, Options(12))
    assert scores[NOTHING] == source
    assert scores[STRONG] > scores[WEAK] > source


def test_a_clip_that_cannot_be_followed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.mkv"
    write_rgb(path, scene(3, 0, count=3), Fraction(24))
    with pytest.raises(ArchiveError, match="no motion can be followed"):
        without_reference(path, [STRONG], Options(12))


def test_with_a_reference_the_truth_decides(tmp_path: Path) -> None:
    path = tmp_path / "clean.mkv"
    write_rgb(path, scene(4, 1), Fraction(24))
    source, scores = with_reference(path, ("g25",), [NOTHING, WEAK, STRONG], Options(8))
    assert scores[NOTHING] == source == pytest.approx(20.4, abs=0.5)
    assert scores[STRONG] > scores[WEAK] + 1 > source + 2


def test_the_command_writes_a_recipe_that_is_read_back(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_rgb(tmp_path / f"{name}.mkv", noisy(scene(ord(name), 0), 15), Fraction(24))
    out = tmp_path / "recipes" / "newsreels.toml"
    arguments = ["tune", str(tmp_path), "--without-reference", "--model", "fast", "--frames", "8"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert done.exit_code == 0, done.output
    recipe = load_recipe(out)
    assert (recipe.name, recipe.model, recipe.strength) == ("newsreels", "fast", 1.0)
    text = out.read_text()
    assert "| a | fast 1 |" in text and "| b | fast 1 |" in text
    assert re.search(r"Held-out clips gain \d+\.\d\d dB", text)
    assert "fast 1" in done.stdout


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"models": ["huge"]}, "unknown huge: give one of fast, base, large"),
        ({"presets": ["rain"]}, "unknown rain"),
        ({"folds": 1}, "--folds 1: give 2"),
    ],
)
def test_bad_requests_are_refused(settings: dict[str, object], told: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=told):
        tune_command([tmp_path], tmp_path / "r.toml", **settings)  # type: ignore[arg-type]


def test_clips_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write_rgb(tmp_path / folder / "reel.mkv", scene(0, 0), Fraction(24))
    with pytest.raises(ArchiveError, match="the same name"):
        tune_command([tmp_path / "x", tmp_path / "y"], tmp_path / "r.toml")
