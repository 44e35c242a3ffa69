"""Score the model against classical filters on clean clips aged by the simulator, in one run.

Two passes over the clips: the first tunes every filter against the truth (which flatters them),
the second runs and scores every method. Rows, table and pictures: `jobs/evaluate/results.py`.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from jobs.console.output import log
from jobs.evaluate.baselines import PEERS, Peer
from jobs.evaluate.perceptual import perceptual
from jobs.evaluate.results import ClipResult, Result, Row, Tile, publish
from jobs.evaluate.scores import psnr_of, score, timed
from models.damage.presets import PRESETS
from models.damage.simulator import Aged, age
from models.motion.deflicker import flickers, region_levels
from pipeline.detect.cuts import ShotDetector
from pipeline.media.rgb import codec_round_trip, read_rgb
from schemas.errors import ArchiveError

if TYPE_CHECKING:
    from models.restorer import Restorer

Clip = NDArray[np.uint8]  # (T, H, W, 3) RGB
Restore = Callable[[Clip], Clip]
T = TypeVar("T")
R = TypeVar("R")

SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".y4m")
SCAN = 4  # a shot is looked for in so many times the frames asked for
TUNE_FRAMES, TUNE_HEIGHT, TUNE_WIDTH = 12, 240, 320  # the part of a clip that filters are tuned on
TILE = 192  # side of the sheet's crops, pixels


@dataclass(frozen=True)
class Options:
    """What is cut out of every clip and how it is aged."""

    frames: int = 24
    seed: int = 0
    max_side: int | None = None  # larger frames are downscaled to it


@dataclass(frozen=True)
class Method:
    """One way to restore a clip; `prepare` is called before the clock starts."""

    name: str
    family: Literal["identity", "filter", "chain", "ours"]
    restore: Restore
    strength: float | None = None
    prepare: Callable[[], object] | None = None


@dataclass(frozen=True)
class Sample:
    """The truth of a damaged clip, that clip and where they come from."""

    clip: str
    preset: str
    start: int  # first frame in the file
    truth: Clip
    aged: Aged


def keep(clip: Clip) -> Clip:
    """The identity: what doing nothing scores."""
    return clip


@cache
def _restorer(size: str, steps: int, weights: Path | None) -> Restorer:
    from models.restorer import Restorer  # torch: only for those who ask for it

    return Restorer(size, steps, weights=weights)


def restore_with_model(
    clip: Clip, size: str, steps: int = 1, weights: Path | None = None, deflicker: bool = True
) -> Clip:
    """One shot through the model as the pipeline runs it: exposure is corrected if it flickers."""
    restorer = _restorer(size, steps, weights)
    images = (frame.astype(np.float32) / 255 for frame in clip)
    restored = restorer.stream(images, deflicker=deflicker and is_unsteady(clip))
    frames = [np.clip(np.rint(255 * one.image), 0, 255).astype(np.uint8) for one in restored]
    return np.stack(frames)


def is_unsteady(clip: Clip) -> bool:
    """Whether the exposure of a shot flickers."""
    levels = [region_levels(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)) for frame in clip]
    return flickers(np.stack(levels))


def one_shot(frames: Iterable[NDArray[np.uint8]], count: int) -> tuple[int, Clip]:
    """The first `count` frames of the first shot that has as many, else the longest; its start."""
    held = list(islice(frames, SCAN * count))
    if not held:
        raise ArchiveError("a clip without a frame cannot be evaluated")
    detector = ShotDetector()
    for frame in held:
        detector.add(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
    shots = detector.finish()
    longest = max(shots, key=lambda shot: min(shot.stop - shot.start, count))
    return longest.start, np.stack(held[longest.start : longest.stop][:count])


def shrunk(clip: Clip, max_side: int | None) -> Clip:
    """The clip with no side above `max_side`."""
    side = max(clip.shape[1:3])
    if not max_side or side <= max_side:
        return clip
    size = round(clip.shape[2] * max_side / side), round(clip.shape[1] * max_side / side)
    return np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in clip])


def make_sample(path: Path, preset: str, options: Options) -> Sample:
    """Read, shrink if asked and age one clip; the same seed and file name give the same bytes."""
    start, truth = one_shot(read_rgb(path), options.frames)
    truth = shrunk(truth, options.max_side)
    seed = zlib.crc32(f"{options.seed} {path.name}".encode())
    aged = age(truth, preset, seed, codec_round_trip)
    return Sample(path.stem, preset, start, aged.target, aged)


def centre(clip: Clip) -> Clip:
    """The part of a clip that filters are tuned on."""
    top = max(clip.shape[1] - TUNE_HEIGHT, 0) // 2
    left = max(clip.shape[2] - TUNE_WIDTH, 0) // 2
    return clip[:TUNE_FRAMES, top : top + TUNE_HEIGHT, left : left + TUNE_WIDTH]


Task = tuple[Path, str, Options]


def try_strengths(task: Task, peers: Mapping[str, Peer]) -> dict[str, list[float]]:
    """PSNR of every strength of every peer on the middle of one aged clip."""
    sample = make_sample(*task)
    truth, damaged = centre(sample.truth), centre(sample.aged.frames)
    return {
        name: [psnr_of(peer.run(damaged, strength), truth) for strength in peer.strengths]
        for name, peer in peers.items()
    }


def score_clip(task: Task, methods: Mapping[str, Sequence[Method]]) -> ClipResult:
    """Run the preset's methods on one aged clip: a row of scores and a picture crop of each."""
    sample = make_sample(*task)
    damaged, truth = sample.aged.frames, sample.truth
    count, height, width, _ = truth.shape
    tile = Tile.worst(damaged, truth, TILE)
    rows: list[Row] = []
    pictures = {"truth": tile.cut(truth)}
    for method in methods[sample.preset]:
        if method.prepare is not None:
            method.prepare()
        done = timed(method.restore, damaged)
        if done.clip.shape != truth.shape:
            raise ArchiveError(f"{method.name}: {truth.shape} became {done.clip.shape}")
        row: Row = {"clip": sample.clip, "preset": sample.preset, "method": method.name}
        row |= {"family": method.family, "strength": method.strength, "seed": task[2].seed}
        row |= {"start": sample.start, "frames": count, "width": width, "height": height}
        row |= score(done.clip, truth, sample.aged.masks) | perceptual(done.clip, truth)
        row["cpu_s_per_frame"] = done.cpu_seconds / count
        row["wall_s_per_frame"] = done.wall_seconds / count
        row["damage"] = json.dumps(sample.aged.severity)
        rows.append(row)
        pictures[method.name] = tile.cut(done.clip)
    return ClipResult(sample.clip, sample.preset, rows, pictures)


def _quiet_worker() -> None:
    cv2.setNumThreads(1)


def over_clips(work: Callable[[T], R], tasks: Sequence[T], jobs: int, doing: str) -> list[R]:
    """Results in the order of the tasks, `jobs` processes at a time; one line of log for each."""
    results: list[R] = []

    def collect(answers: Iterable[R]) -> list[R]:
        for answer in answers:
            results.append(answer)
            log(f"{doing}: {len(results)} of {len(tasks)}")
        return results

    if jobs <= 1:
        return collect(map(work, tasks))
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # inherited by the workers
    with ProcessPoolExecutor(jobs, get_context("spawn"), _quiet_worker) as pool:
        return collect(pool.map(work, tasks))


def tune(
    tasks: Sequence[Task], peers: Mapping[str, Peer], jobs: int
) -> dict[str, dict[str, dict[float, float]]]:
    """Mean PSNR by preset, peer and strength."""
    if not peers:
        return {}
    answers = over_clips(partial(try_strengths, peers=peers), tasks, jobs, "tuned")
    curves: dict[str, dict[str, dict[float, float]]] = {}
    for preset in dict.fromkeys(task[1] for task in tasks):
        mine = [answer for task, answer in zip(tasks, answers, strict=True) if task[1] == preset]
        curves[preset] = {
            name: dict(
                zip(peer.strengths, np.mean([a[name] for a in mine], axis=0).tolist(), strict=True)
            )
            for name, peer in peers.items()
        }
    return curves


def evaluate(
    clips: Sequence[Path],
    presets: Sequence[str],
    options: Options,
    peers: Mapping[str, Peer],
    extra: Sequence[Method] = (),
    jobs: int = 1,
) -> Result:
    """Identity, tuned peers and `extra` methods on every clip and preset."""
    tasks: list[Task] = [(clip, preset, options) for preset in presets for clip in clips]
    curves = tune(tasks, peers, jobs)
    methods: dict[str, list[Method]] = {}
    for preset in presets:
        methods[preset] = [Method("identity", "identity", keep)]
        for name, peer in peers.items():
            curve = curves[preset][name]
            best = max(curve, key=curve.__getitem__)
            run = partial(peer.run, strength=best)
            methods[preset].append(Method(name, "filter" if peer.single else "chain", run, best))
        methods[preset] += extra
    results = over_clips(partial(score_clip, methods=methods), tasks, jobs, "scored")
    return Result(results, curves)


def find_clips(data: Sequence[Path]) -> list[Path]:
    """The files named, and the video files of the folders named."""
    found: list[Path] = []
    for path in data:
        if path.is_dir():
            found += sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES)
        elif path.is_file():
            found.append(path)
        else:
            raise ArchiveError(f"no such clip or folder: {path}")
    if not found:
        raise ArchiveError("evaluate needs clean clips: name video files, or folders of them")
    return found


def evaluate_command(
    data: Sequence[Path],
    presets: Sequence[str] = ("film",),
    frames: int = 24,
    seed: int = 0,
    out: Path = Path("evaluation"),
    methods: Sequence[str] | None = None,
    jobs: int = 1,
    *,
    sizes: Sequence[str] = ("base",),
    steps: int = 1,
    weights: Path | None = None,
    max_side: int | None = None,
) -> dict[str, object]:
    """Evaluate, write the files below `out` and return what they say, JSON-ready.

    Of several `sizes` the last is the one that verdicts and pictures are of. `methods` are names of
    `PEERS` and "ours"; None is all of them. Doing nothing is always scored. `rows` of the answer is
    the table (a row per preset and method), `markdown` its printed form.
    """
    known = [*PEERS, "ours"]
    wanted = known if methods is None else [name for name in methods if name != "identity"]
    for name, allowed in [(m, known) for m in wanted] + [(p, list(PRESETS)) for p in presets]:
        if name not in allowed:
            raise ArchiveError(f"unknown {name!r}: one of {', '.join(allowed)}")
    if frames < 1:
        raise ArchiveError(f"at least one frame of each clip is needed, not {frames}")
    clips = find_clips(data)
    if weights and len(sizes) > 1:
        raise ArchiveError("weights are of one size: name one")
    ours: list[Method] = []
    for size in sizes if "ours" in wanted else ():
        run = partial(restore_with_model, size=size, steps=steps, weights=weights)
        prepare = partial(_restorer, size, steps, weights)
        name = f"ours {size}" if len(sizes) > 1 else "ours"
        ours.append(Method(name, "ours", run, prepare=prepare))
    peers = {name: PEERS[name] for name in wanted if name in PEERS}
    options = Options(frames, seed, max_side)
    result = evaluate(clips, presets, options, peers, ours, jobs)
    asked = {"frames": frames, "seed": seed, "max_side": max_side, "presets": list(presets)}
    model = {"sizes": list(sizes), "steps": steps} if ours else None
    return publish(result, out, {**asked, "clips": [c.name for c in clips], "model": model})
