"""Choose a recipe's model, strength and de-flickering on footage that the archive has.

With clean clips: they are aged and restored, and every candidate is scored against the truth.
Without a reference: a restored frame is compared with frames of the source that the model did not
see, carried along the motion; their damage is independent of this frame's, so what is nearest to
them is nearest to the truth (noise2noise, Lehtinen et al., ICML 2018, between frames as in Ehret et
al., CVPR 2019). Either way the choice is cross-validated: folds hold whole clips, and each is
scored with what the other folds chose.
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

from jobs.evaluate.evaluate import (
    Clip,
    Options,
    find_clips,
    is_unsteady,
    make_sample,
    one_shot,
    over_clips,
    restore_with_model,
    shrunk,
)
from jobs.evaluate.scores import Interval, bootstrap, psnr_of
from models.damage.presets import PRESETS
from models.motion.alignment import SPAN, FlowFrame
from models.motion.deflicker import warp
from pipeline.detect.metrics import psnr_from_mean_square
from pipeline.media.rgb import read_rgb
from schemas.errors import ArchiveError
from schemas.recipe import MODELS, Model, load_recipe

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # 0: leave the clips as they are
FOLDS = 5
AWAY = SPAN + 1  # frames between a frame and one that the model does not see when it restores it
CONSISTENT = 0.15  # pixels between a flow and the way back, below which it is believed
STILL = 0.25  # pixels of motion below which a place stands still
LEAST_STILL = 0.01  # share of still places from which on the others are not asked


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
    """Clips that were held out, what the others chose, and what that scores on these, in dB."""

    clips: tuple[str, ...]
    chosen: Candidate
    score_db: float
    source_db: float  # of doing nothing
    best_db: float  # of the candidate that suits these clips best: what the choice costs


@dataclass(frozen=True)
class Tuned:
    """The winner over all clips, and the folds that say what such a choice is worth elsewhere."""

    winner: Candidate
    folds: tuple[Fold, ...]
    means: Mapping[Candidate, float]  # over all clips, dB
    gain: Interval  # of the held-out clips over doing nothing, dB


Scores = dict[Candidate, float]  # of one clip


def with_reference(
    path: Path, presets: Sequence[str], candidates: Sequence[Candidate], options: Options
) -> tuple[float, Scores]:
    """PSNR to the truth of an aged clip, mean over the presets: as it is, and restored."""
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
    """PSNR of a damaged clip to its own later and earlier frames, carried along the motion: as it
    is, and restored.

    The damage of those frames is part of what is compared with, so the numbers are low; their order
    is what counts. Raises ArchiveError for a clip too short or too fast to follow.
    """
    _, clip = one_shot(read_rgb(path), options.frames)
    clip = shrunk(clip, options.max_side)
    seen = witnesses(clip)
    if not any(witness.where.any() for witness in seen):
        raise ArchiveError(f"{path}: no place that can be followed over {AWAY} frames")
    scores = {one: _agreement(restored, seen) for one, restored in _restored(clip, candidates)}
    return _agreement(clip, seen), scores


@dataclass(frozen=True)
class Witness:
    """What another frame says of a frame: its picture (H, W, 3), and where it can be believed."""

    frame: int
    picture: NDArray[np.float32]  # code values
    where: NDArray[np.bool_]  # (H, W)


def witnesses(clip: Clip) -> list[Witness]:
    """For every frame those AWAY frames later and earlier, warped to it.

    The model sees no frame so far from the one that it restores: grain, dust and flicker there are
    independent of what it does here. A warped frame is a little soft and a little beside the truth,
    which speaks for a soft restoration; where enough of a clip stands still, only that is asked.
    """
    frames = [FlowFrame.of(frame.astype(np.float32) / 255) for frame in clip]
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found, still = [], []
    for early in range(len(frames) - AWAY):
        pair = early, early + AWAY
        lumas = [frames[i].luma for i in pair]
        flows = dis.calc(lumas[0], lumas[1], None), dis.calc(lumas[1], lumas[0], None)
        for side in (0, 1):
            there, back = flows[side], flows[1 - side]
            sure = np.linalg.norm(there + warp(back, there), axis=-1) < CONSISTENT
            other = clip[pair[1 - side]].astype(np.float32)
            found.append(Witness(pair[side], warp(other, there), sure))
            calm = np.linalg.norm(there, axis=-1) < STILL
            still.append(Witness(pair[side], other, sure & calm))
    share = np.mean([one.where.mean() for one in still]) if still else 0.0
    return still if share >= LEAST_STILL else found


def _agreement(clip: Clip, seen: Sequence[Witness]) -> float:
    """PSNR over all places where witnesses can be believed, dB."""
    squares = [
        np.square(clip[one.frame][one.where].astype(np.float32) - one.picture[one.where])
        for one in seen
    ]
    return psnr_from_mean_square(float(np.concatenate(squares).mean()))


def _restored(clip: Clip, candidates: Sequence[Candidate]) -> Iterable[tuple[Candidate, Clip]]:
    """The clip by every candidate; those that differ in strength alone share their restoration, and
    so do those that differ in de-flickering where nothing flickers.
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
    """The candidate of the highest mean over the clips, and what the folds say of such a choice.

    ``found``: by clip, the score of doing nothing and those of the candidates. Clips are dealt to
    the folds at random, whole. Raises ArchiveError for fewer than two clips.
    """
    if len(found) < 2:
        raise ArchiveError("tune needs two clips or more: what one chose is tried on another")
    names = sorted(found)
    order = np.random.default_rng(seed).permutation(len(names))
    dealt = [
        tuple(names[i] for i in sorted(order[fold::folds]))
        for fold in range(min(folds, len(names)))
    ]
    tried, gains = [], []
    for held in dealt:
        others = [scores for name, (_, scores) in found.items() if name not in held]
        mine = [found[name] for name in held]
        chosen, here = _best(_means(others)), _means([scores for _, scores in mine])
        sources = [source for source, _ in mine]
        gains += [scores[chosen] - source for source, scores in mine]
        source = float(np.mean(sources))
        tried.append(Fold(held, chosen, here[chosen], source, here[_best(here)]))
    means = _means([scores for _, scores in found.values()])
    return Tuned(_best(means), tuple(tried), means, bootstrap(gains, seed))


def _means(scores: Sequence[Scores]) -> Scores:
    return {one: float(np.mean([clip[one] for clip in scores])) for one in scores[0]}


def _best(means: Scores) -> Candidate:
    """The highest; of equals the first, which costs least."""
    return max(means, key=lambda one: round(means[one], 3))


def recipe_text(tuned: Tuned, base: str, name: str, how: str) -> str:
    """A recipe with the winner's settings; the folds stand in comments above them."""
    winner = asdict(tuned.winner)
    recipe = replace(load_recipe(base), name=name, **winner)
    lines = [f"# Chosen by `archive-restore tune` {how}.", "#"]
    lines += [f"# {line}" for line in _table(tuned).splitlines()]
    return "\n".join(lines) + "\n\n" + recipe.to_toml()


def _table(tuned: Tuned) -> str:
    """The folds as a Markdown table."""
    rows = [
        "| held out | chosen by the others | dB | source dB | best possible dB |",
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
    """Score the candidates on every clip, write the recipe to ``out`` and return what was found.

    ``presets``: of the damage that clean clips get; None: the clips are damaged, and no reference
    exists. Raises ArchiveError.
    """
    options = options or Options()
    for names, allowed in ((models, list(MODELS)), (presets or (), list(PRESETS))):
        if wrong := sorted({*names} - {*allowed}):
            raise ArchiveError(f"unknown {', '.join(wrong)}: one of {', '.join(allowed)}")
    if folds < 2:
        raise ArchiveError(f"at least two folds are needed, not {folds}")
    clips = find_clips(data)
    if len({clip.stem for clip in clips}) < len(clips):
        raise ArchiveError("two clips have one name: folds are by name, rename one of them")
    base = load_recipe(recipe)
    grid = product(models, STRENGTHS, (True, False) if presets else (base.deflicker,))
    candidates = [Candidate(model, s, deflicker) for model, s, deflicker in grid]  # type: ignore[arg-type]
    work: Callable[[Path], tuple[float, Scores]]
    if presets:
        work = partial(with_reference, presets=presets, candidates=candidates, options=options)
        how = f"on {len(clips)} clean clips aged by {', '.join(presets)}, against the truth"
    else:
        work = partial(without_reference, candidates=candidates, options=options)
        how = f"on {len(clips)} clips without a reference, by frames not seen"
    found = over_clips(work, clips, jobs, "tried")
    tuned = cross_validated(
        dict(zip((clip.stem for clip in clips), found, strict=True)), folds, options.seed
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    at = datetime.now(UTC).date().isoformat()
    out.write_text(recipe_text(tuned, recipe, out.stem, f"{at} {how}"))
    ranked = sorted(tuned.means, key=lambda one: -tuned.means[one])
    return {
        "recipe": str(out), "winner": asdict(tuned.winner), "gain_db": asdict(tuned.gain),
        "folds": [asdict(fold) for fold in tuned.folds],
        "candidates": [asdict(one) | {"mean_db": round(tuned.means[one], 3)} for one in ranked],
        "markdown": _table(tuned),
    }  # fmt: skip
