"""The training bank: clean and damaged sequences as memory-mapped arrays.

A bank is a folder with `clean.npy` and `damaged.npy` (N, T, S, S, 3) uint8, `mask.npy`
(N, T, S, S) uint8 and `index.json`. The mask is 1 where a defect changed the pixel, and 2 where a
drawn thing is. The index holds the source and the damage of every sequence. The same seed, media
and codecs give the same bytes for any number of workers.
"""

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain
from multiprocessing import get_context
from operator import itemgetter
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.damage.dead_leaves import dead_leaves
from models.damage.simulator import Codec, age
from models.damage.things import add_things
from models.training.dataset import DEFECT, THING
from pipeline.media.rgb import codec_round_trip, read_rgb

Row = dict[str, Any]  # one entry of index.json
Job = tuple[Path, Path, list[tuple[int, "BankSequence"]], "Reader", Codec, "BankLayout", int]
Reader = Callable[[Path], np.ndarray]  # (T, H, W, 3) uint8
Maker = Callable[["BankLayout", np.random.Generator], tuple[np.ndarray, dict[str, float]]]
PROCEDURAL = "dead leaves"  # source name of sequences that were drawn, not filmed
CUT_THUMBNAIL = (64, 36)  # pixels; the mean change between two thumbnails finds cuts
LEAST_CUT_CHANGE = 28.0  # grey levels; a moving shot stays below
MOST_REPEAT_CHANGE = 0.02  # grey levels; a repeated frame stays below
WINDOW_TRIES = 20  # random places that are tried in a clip
DRAWN_GROUPS = 16  # number of jobs that share the drawn sequences
MOST_THINGS = 0.5  # share of a frame that things change at most
GREY_STORED_SHARE = 0.7  # most monochrome film is stored without colour


@dataclass(frozen=True)
class BankLayout:
    """Size and kinds of the sequences of a bank."""

    frames: int = 12
    size: int = 224
    least_scale: float = 0.5  # clips are downscaled by a factor between this and 1
    grey_share: float = 0.08
    double_step_share: float = 0.2  # sequences of every second frame
    procedural_share: float = 0.2  # sequences of dead leaves (models/damage/dead_leaves.py)
    things_share: float = 0.5  # sequences with real things drawn (models/damage/things.py)


@dataclass(frozen=True)
class BankSequence:
    """One sequence to make. Equal ``place`` means the same pixels of the same source."""

    source: str
    preset: str
    place: int


def media(data: Path) -> tuple[list[Path], list[Path]]:
    """The clips and the photos of a folder."""
    clips = sorted([*data.glob("*.mp4"), *data.glob("video/*.mp4")])
    return clips, sorted(data.glob("photo/*.jpg"))


def plan(
    data: Path, count: int, preset: str = "film_train", procedural: float = 0.0
) -> list[BankSequence]:
    """Return ``count`` sequences of a folder: each clip twice as often as each photo.

    ``procedural`` is the share of drawn sequences (dead leaves). Raises ValueError without media.
    """
    videos, photos = media(data)
    turns = [path.relative_to(data).as_posix() for path in videos + photos + videos]
    if not turns:
        raise ValueError(f"no *.mp4, video/*.mp4 or photo/*.jpg in {data}")
    drawn = round(count * procedural)
    sources = [turns[row % len(turns)] for row in range(count - drawn)]
    sources += [f"{PROCEDURAL}/{row % DRAWN_GROUPS}" for row in range(drawn)]
    return [BankSequence(source, preset, row) for row, source in enumerate(sources)]


def read_clip(path: Path) -> np.ndarray:
    """Read a whole clip: (T, H, W, 3) uint8 RGB."""
    return np.stack(list(read_rgb(path)))


def build_bank(
    data: Path,
    out: Path,
    items: list[BankSequence],
    layout: BankLayout = BankLayout(),
    seed: int = 0,
    workers: int = 2,
    read: Reader = read_clip,
    codec: Codec = codec_round_trip,
) -> dict[str, float]:
    """Write a bank and return its summary: number of sequences, quantiles of their PSNR.

    One worker is this process.
    """
    out.mkdir(parents=True, exist_ok=True)
    shape = (len(items), layout.frames, layout.size, layout.size)
    for name, tail in (("clean", (3,)), ("damaged", (3,)), ("mask", ())):
        path = out / f"{name}.npy"
        np.lib.format.open_memmap(path, "w+", np.uint8, shape + tail).flush()
    by_source: dict[str, list[tuple[int, BankSequence]]] = {}
    for row, item in enumerate(items):
        by_source.setdefault(item.source, []).append((row, item))
    jobs = [(data, out, group, read, codec, layout, seed) for group in by_source.values()]
    rows: list[Row] = []
    if workers == 1:
        rows += chain.from_iterable(map(_fill_source, jobs))
    else:
        with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
            rows += chain.from_iterable(pool.map(_fill_source, jobs))
    rows.sort(key=itemgetter("row"))
    index = {"layout": asdict(layout), "seed": seed, "sequences": rows}
    (out / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    return summarise(rows)


def summarise(rows: list[Row]) -> dict[str, float]:
    """Return the number of sequences, and quantiles of their PSNR to the clean ones, in dB."""
    values = [float(row["psnr"]) for row in rows]
    quantiles = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
    names = ("psnr_5", "psnr_25", "psnr_50", "psnr_75", "psnr_95")
    return {"sequences": len(rows)} | dict(zip(names, quantiles.round(2).tolist(), strict=True))


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _fill_source(job: Job) -> list[Row]:
    """Make all sequences of one source and write them into their rows of the bank."""
    data, out, items, read, codec, layout, seed = job
    bank = {n: np.load(out / f"{n}.npy", mmap_mode="r+") for n in ("clean", "damaged", "mask")}
    path = data / items[0][1].source
    make = _maker(items[0][1].source, path, read)
    rows = []
    for row, item in items:
        rng = np.random.Generator(np.random.PCG64([seed, item.place]))
        grey = bool(rng.random() < layout.grey_share)
        clean, origin = make(layout, rng)
        places = np.zeros(clean.shape[:3], bool)
        if rng.random() < layout.things_share:
            clean, places = with_things(clean, rng)
        clean = greyscale(clean) if grey else clean
        aged = age(clean, item.preset, seed * 1_000_003 + item.place, codec)
        keep_grey = grey and rng.random() < GREY_STORED_SHARE
        damaged = greyscale(aged.frames) if keep_grey else aged.frames
        bank["clean"][row] = aged.target
        bank["damaged"][row] = damaged
        defects = np.any(list(aged.masks.values()), axis=0)
        bank["mask"][row] = np.where(defects, DEFECT, np.where(places, THING, 0))
        facts = {"grey": grey, "psnr": psnr(damaged, aged.target)}
        rows.append({"row": row} | asdict(item) | facts | origin | {"severity": aged.severity})
    return rows


def with_things(clean: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A clip (T, H, W, 3) uint8 with things drawn into it, and where they are, (T, H, W) bool.

    A flash, which changes most of a frame, is no place.
    """
    drawn = clean.astype(np.float32)
    add_things(drawn, rng, list(clean[::4].astype(np.float32)))
    after = np.clip(np.rint(drawn), 0, 255).astype(np.uint8)
    places = np.any(after != clean, 3)
    places[places.mean((1, 2)) > MOST_THINGS] = False
    return after, places


def _maker(source: str, path: Path, read: Reader) -> Maker:
    """Return the function that makes the sequences of one source."""
    if source.startswith(PROCEDURAL):
        return lambda layout, rng: (dead_leaves(rng, layout.frames, layout.size), {})
    if path.suffix == ".jpg":
        photo = read_photo(path)
        return lambda layout, rng: pan(photo, layout, rng)
    clip = read(path)
    return lambda layout, rng: cut_out(clip, layout, rng)


def read_photo(path: Path) -> np.ndarray:
    """Read a photograph: (H, W, 3) uint8 RGB. Raises ValueError."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"OpenCV cannot read the picture {path}")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def cut_out(
    clip: np.ndarray, layout: BankLayout, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, float]]:
    """Cut a sequence (T, S, S, 3) out of one shot of a clip; also return its place."""
    height, width = clip.shape[1:3]
    least = max(layout.least_scale, layout.size / min(height, width))
    if least > 1:
        raise ValueError(f"a clip of {width} x {height} is smaller than {layout.size} pixels")
    scale = least + (1 - least) * rng.random() ** 2  # small factors remove more of the coding
    start, step = choose_frames(thumbnail_changes(clip), layout, rng)
    chosen = clip[start : start + step * layout.frames : step]
    if len(chosen) < layout.frames:
        raise ValueError(f"a clip of {len(clip)} frames is shorter than {layout.frames}")
    high, wide = max(round(scale * height), layout.size), max(round(scale * width), layout.size)
    top = int(rng.integers(0, high - layout.size + 1))
    left = int(rng.integers(0, wide - layout.size + 1))
    window = np.s_[top : top + layout.size, left : left + layout.size]
    small = [cv2.resize(frame, (wide, high), interpolation=cv2.INTER_AREA) for frame in chosen]
    origin = {"start": start, "step": step, "scale": scale, "top": top, "left": left}
    return np.stack([frame[window] for frame in small]), origin


def thumbnail_changes(clip: np.ndarray) -> np.ndarray:
    """Return the mean absolute change (T - 1,) between thumbnails of neighbouring frames."""
    small = [cv2.resize(frame, CUT_THUMBNAIL, interpolation=cv2.INTER_AREA) for frame in clip]
    steps = np.diff(np.stack(small).astype(np.float32), axis=0)
    return np.asarray(np.abs(steps).mean((1, 2, 3)))


def choose_frames(
    changes: np.ndarray, layout: BankLayout, rng: np.random.Generator
) -> tuple[int, int]:
    """Choose the first frame and the frame step of a sequence without cut or repeated frame."""
    best, best_change = (0, 1), np.inf
    for _ in range(WINDOW_TRIES):
        step = 2 if rng.random() < layout.double_step_share else 1
        last = len(changes) + 1 - step * (layout.frames - 1)
        if last < 1:
            continue
        start = int(rng.integers(0, last))
        window = changes[start : start + step * (layout.frames - 1)]
        least, most = window.min(initial=LEAST_CUT_CHANGE), window.max(initial=0)
        if MOST_REPEAT_CHANGE < least and most < LEAST_CUT_CHANGE:
            return start, step
        if most < best_change:
            best, best_change = (start, step), most
    return best


def pan(
    photo: np.ndarray, layout: BankLayout, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, float]]:
    """Move a camera over a photograph (T, S, S, 3): drift, jitter, rotation and zoom."""
    least = min(1.0, 1.25 * layout.size / min(photo.shape[:2]))
    scale = least + (max(least, 0.8) - least) * rng.random() ** 2
    wide, high = round(scale * photo.shape[1]), round(scale * photo.shape[0])
    small = cv2.resize(photo, (wide, high), interpolation=cv2.INTER_AREA)
    time = np.arange(layout.frames) - (layout.frames - 1) / 2
    speed = rng.normal(0, 2, 2) * rng.choice((0.3, 1, 2))  # px a frame, x and y
    path = speed * time[:, None] + 0.15 * rng.standard_normal((layout.frames, 2))
    angle = np.radians(rng.normal(0, 2) + rng.normal(0, 0.15) * time)
    zoom = 1 + rng.normal(0, 0.002) * time
    room = np.maximum(np.array([wide, high]) - layout.size, 0) / 2
    centre = np.array([wide, high]) / 2 + rng.uniform(-1, 1, 2) * room
    frames = [
        _view(small, centre + offset, turn, factor, layout.size)
        for offset, turn, factor in zip(path, angle, zoom, strict=True)
    ]
    return np.stack(frames), {"scale": scale, "speed_px": float(np.hypot(*speed))}


def _view(
    picture: np.ndarray, centre: np.ndarray, angle: float, zoom: float, size: int
) -> np.ndarray:
    """Return the square (size, size, 3) of a turned and zoomed camera; edges are mirrored."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    shift = centre - turn @ np.full(2, (size - 1) / 2)
    matrix = np.hstack([turn, shift[:, None]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(
        picture, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101
    )


def greyscale(clip: np.ndarray) -> np.ndarray:
    """Return the clip without colour, still (T, H, W, 3)."""
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip])
    return np.repeat(grey[..., None], 3, axis=3)


def psnr(frames: np.ndarray, reference: np.ndarray) -> float:
    """Return the mean PSNR over the frames in dB, at most 99."""
    error = np.square(frames.astype(np.float32) - reference).mean((1, 2, 3))
    return float(np.minimum(10 * np.log10(255**2 / np.maximum(error, 1e-9)), 99).mean())
