"""The choice of a recipe's model, strength and deflicker on the archive's own footage.

With clean clips: they are aged and restored, and every candidate is scored against the truth.
Without a reference: each restored frame is compared with source frames that the model did not see,
moved along the motion. The damage of those frames is independent of the damage of this frame. So
the candidate nearest to them is nearest to the truth (noise2noise, Lehtinen et al., ICML 2018;
between frames: Ehret et al., CVPR 2019). In both cases the choice is cross-validated: a fold holds
whole clips, and it is scored with the choice of the other folds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.evaluate.evaluate import is_unsteady, over_clips, restore_with_model
from jobs.evaluate.samples import Clip, Options, find_clips, make_sample, one_shot, shrunk
from jobs.evaluate.scores import Interval, bootstrap, psnr_of
from models.damage.presets import PRESETS
from models.motion.alignment import SPAN, FlowFrame
from models.motion.flow import warp
from pipeline.detect.metrics import psnr_from_mean_square
from pipeline.media.rgb import read_rgb
from schemas.errors import ArchiveError
from schemas.recipe import MODELS, Model, load_recipe

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # 0 leaves the clips unchanged
FOLDS = 5
UNSEEN_DISTANCE = SPAN + 1  # frames: so far away, the model does not see a frame
CONSISTENT_FLOW_PX = 0.15  # a motion is trusted if the way there and back differs by less
STILL_MOTION_PX = 0.25  # a place with less motion stands still
ENOUGH_STILL = 0.01  # share of still places from which only these are compared


@dataclass(frozen=True)
class Candidate:
    """Settings of a recipe that are chosen together."""

    model: Model
    strength: float
    deflicker: bool

    def __str__(self) -> str:
        return f"{self.model} {self.strength:g}{'' if self.deflicker else ' without deflicker'}"


@dataclass(frozen=True)
class Fold:
    """Held-out clips, the candidate that the other clips chose, and its score on these in dB."""

    clips: tuple[str, ...]
    chosen: Candidate
    score_db: float
    source_db: float  # score of the unrestored clips
    best_db: float  # score of the best candidate for these clips, for comparison


@dataclass(frozen=True)
class Tuned:
    """The winner over all clips, and the folds, which estimate its gain on other clips."""

    winner: Candidate
    folds: tuple[Fold, ...]
    means: Mapping[Candidate, float]  # over all clips, dB
    gain: Interval  # of the held-out clips over the unrestored ones, dB


Scores = dict[Candidate, float]  # of one clip


def with_reference(
    path: Path, presets: Sequence[str], candidates: Sequence[Candidate], options: Options
) -> tuple[float, Scores]:
    """Return the PSNR of an aged clip to the truth, unrestored and by candidate, in dB.

    Scores are means over the presets.
    """
    sources: list[float] = []
    scores: dict[Candidate, list[float]] = {one: [] for one in candidates}
    for preset in presets:
        sample = make_sample(path, preset, options)
        sources.append(psnr_of(sample.aged.frames, sample.truth))
        for one, restored in _restored(sample.aged.frames, candidates):
            scores[one].append(psnr_of(restored, sample.truth))
    return float(np.mean(sources)), {one: float(np.mean(found)) for one, found in scores.items()}


def without_reference(
    path: Path, candidates: Sequence[Candidate], options: Options
) -> tuple[float, Scores]:
    """Return the PSNR of a damaged clip to its own other frames, moved along the motion, in dB.

    One score is for the unrestored clip, the others are by candidate. The other frames are damaged
    too, so the values are low; only their order counts. Raises ArchiveError for a clip that is too
    short, or whose motion cannot be followed.
    """
    _, clip = one_shot(read_rgb(path), options.frames)
    clip = shrunk(clip, options.max_side)
    seen = witnesses(clip)
    if not any(witness.where.any() for witness in seen):
        raise ArchiveError(f"{path}: no motion can be followed over {UNSEEN_DISTANCE} frames")
    scores = {one: _agreement(restored, seen) for one, restored in _restored(clip, candidates)}
    return _agreement(clip, seen), scores


@dataclass(frozen=True)
class Witness:
    """Another frame moved onto a frame: its picture (H, W, 3), and where it can be trusted."""

    frame: int
    picture: NDArray[np.float32]  # code values
    where: NDArray[np.bool_]  # (H, W)


def witnesses(clip: Clip) -> list[Witness]:
    """Return, for every frame, the frames UNSEEN_DISTANCE later and earlier, warped onto it.

    The model does not see a frame so far away. So its grain, dust and flicker are independent of
    the restoration here. A warped frame is a little soft and a little displaced, which favours a
    soft restoration. So if enough of a clip stands still, only the still places are compared.
    """
    frames = [FlowFrame.of(frame.astype(np.float32) / 255) for frame in clip]
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found, still = [], []
    for early in range(len(frames) - UNSEEN_DISTANCE):
        pair = early, early + UNSEEN_DISTANCE
        lumas = [frames[i].luma for i in pair]
        flows = dis.calc(lumas[0], lumas[1], None), dis.calc(lumas[1], lumas[0], None)
        for side in (0, 1):
            there, back = flows[side], flows[1 - side]
            sure = np.linalg.norm(there + warp(back, there), axis=-1) < CONSISTENT_FLOW_PX
            other = clip[pair[1 - side]].astype(np.float32)
            found.append(Witness(pair[side], warp(other, there), sure))
            calm = np.linalg.norm(there, axis=-1) < STILL_MOTION_PX
            still.append(Witness(pair[side], other, sure & calm))
    share = np.mean([one.where.mean() for one in still]) if still else 0.0
    return still if share >= ENOUGH_STILL else found


def _agreement(clip: Clip, seen: Sequence[Witness]) -> float:
    """Return the PSNR over all places where the other frames can be trusted, in dB."""
    squares = [
        np.square(clip[one.frame][one.where].astype(np.float32) - one.picture[one.where])
        for one in seen
    ]
    return psnr_from_mean_square(float(np.concatenate(squares).mean()))


def _restored(clip: Clip, candidates: Sequence[Candidate]) -> Iterable[tuple[Candidate, Clip]]:
    """Yield the clip restored by every candidate.

    Candidates that differ only in strength share one restoration. Candidates that differ only in
    deflicker share it too, if nothing flickers.
    """
    made: dict[Candidate, Clip] = {}
    unsteady = is_unsteady(clip)
    for one in candidates:
        whole = replace(one, strength=1.0, deflicker=one.deflicker and unsteady)
        if whole not in made:
            made[whole] = restore_with_model(clip, one.model, deflicker=whole.deflicker)
        if one.strength == 1.0:
            yield one, made[whole]
        else:
            blend = clip + one.strength * (made[whole].astype(np.float32) - clip)
            yield one, np.rint(blend).astype(np.uint8)


def cross_validated(
    found: Mapping[str, tuple[float, Scores]], folds: int = FOLDS, seed: int = 0
) -> Tuned:
    """Return the candidate with the highest mean over the clips, and the folds that test it.

    ``found`` holds for each clip the score of the unrestored clip and the scores of the candidates.
    Whole clips are assigned to folds at random. Raises ArchiveError for fewer than two clips.
    """
    if len(found) < 2:
        raise ArchiveError("tune needs two clips or more: a choice is tested on other clips")
    names = sorted(found)
    order = np.random.default_rng(seed).permutation(len(names))
    dealt = [
        tuple(names[i] for i in sorted(order[fold::folds]))
        for fold in range(min(folds, len(names)))
    ]
    tried, gains = [], []
    for held in dealt:
        others = [scores for name, (_, scores) in found.items() if name not in held]
        held_out = [found[name] for name in held]
        chosen, here = _best(_means(others)), _means([scores for _, scores in held_out])
        sources = [source for source, _ in held_out]
        gains += [scores[chosen] - source for source, scores in held_out]
        source = float(np.mean(sources))
        tried.append(Fold(held, chosen, here[chosen], source, here[_best(here)]))
    means = _means([scores for _, scores in found.values()])
    return Tuned(_best(means), tuple(tried), means, bootstrap(gains, seed))


def _means(scores: Sequence[Scores]) -> Scores:
    return {one: float(np.mean([clip[one] for clip in scores])) for one in scores[0]}


def _best(means: Scores) -> Candidate:
    """Return the candidate with the highest mean; of equals the first, which costs least."""
    return max(means, key=lambda one: round(means[one], 3))


def recipe_text(tuned: Tuned, base: str, name: str, how: str) -> str:
    """Return a recipe with the winner's settings, and the folds in comments above them."""
    winner = asdict(tuned.winner)
    # Every candidate was scored as the recipe `clean`.
    recipe = replace(load_recipe(base), name=name, grain=0.0, suspects="scratches", **winner)
    lines = [f"# Chosen by `archive-restore tune` {how}.", "#"]
    lines += [f"# {line}" for line in _table(tuned).splitlines()]
    return "\n".join(lines) + "\n\n" + recipe.to_toml()


def _table(tuned: Tuned) -> str:
    """Return the folds as a Markdown table."""
    rows = [
        "| held-out clips | choice of the others | dB | source dB | best possible dB |",
        "|---|---|--:|--:|--:|",
    ]
    rows += [
        f"| {', '.join(fold.clips)} | {fold.chosen} | {fold.score_db:.2f} | {fold.source_db:.2f} | "
        f"{fold.best_db:.2f} |"
        for fold in tuned.folds
    ]
    gain = tuned.gain
    rows.append(
        f"\nWinner over all clips: {tuned.winner}. Held-out clips gain {gain.mean:.2f} dB on the "
        f"mean ({gain.low:.2f} to {gain.high:.2f})."
    )
    return "\n".join(rows)


def tune_command(
    data: Sequence[Path],
    out: Path,
    *,
    presets: Sequence[str] | None = ("film",),
    models: Sequence[str] = MODELS,
    recipe: str = "film",
    options: Options | None = None,
    folds: int = FOLDS,
    jobs: int = 1,
) -> dict[str, object]:
    """Score the candidates on every clip, write the recipe to ``out`` and return the scores.

    ``presets`` names the damage for clean clips. None means that the clips are damaged and no
    reference exists. Raises ArchiveError.
    """
    options = options or Options()
    for names, allowed in ((models, list(MODELS)), (presets or (), list(PRESETS))):
        if wrong := sorted({*names} - {*allowed}):
            raise ArchiveError(f"unknown {', '.join(wrong)}: give one of {', '.join(allowed)}")
    if folds < 2:
        raise ArchiveError(f"--folds {folds}: give 2 or more")
    clips = find_clips(data)
    if len({clip.stem for clip in clips}) < len(clips):
        raise ArchiveError("two clips have the same name: rename one of them")
    base = load_recipe(recipe)
    grid = product(models, STRENGTHS, (True, False) if presets else (base.deflicker,))
    candidates = [Candidate(model, s, deflicker) for model, s, deflicker in grid]  # type: ignore[arg-type]
    work: Callable[[Path], tuple[float, Scores]]
    if presets:
        work = partial(with_reference, presets=presets, candidates=candidates, options=options)
        how = f"on {len(clips)} clean clips aged by {', '.join(presets)}, against the truth"
    else:
        work = partial(without_reference, candidates=candidates, options=options)
        how = f"on {len(clips)} clips without a reference, against frames not seen by the model"
    found = over_clips(work, clips, jobs, "tried")
    tuned = cross_validated(
        dict(zip((clip.stem for clip in clips), found, strict=True)), folds, options.seed
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    at = datetime.now(UTC).date().isoformat()
    out.write_text(recipe_text(tuned, recipe, out.stem, f"{at} {how}"))
    ranked = sorted(tuned.means, key=lambda one: -tuned.means[one])
    return {
        "recipe": str(out),
        "winner": asdict(tuned.winner),
        "gain_db": asdict(tuned.gain),
        "folds": [asdict(fold) for fold in tuned.folds],
        "candidates": [asdict(one) | {"mean_db": round(tuned.means[one], 3)} for one in ranked],
        "markdown": _table(tuned),
    }
