"""Training samples from a prepared bank of damaged and clean sequences: aligned five-frame windows.

The bank is a folder of memory-mapped arrays (jobs/training/dataset.py writes it). ``prepare`` adds
the arrays that depend on this package: deflickered damaged sequences, and the exposure of each
target.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.fidelity.damage_level import Nearest, damage_level
from models.frame_state import number_frames
from models.motion.alignment import OFFSETS, OUTERMOST, SPAN, Aligner, FlowFrame
from models.motion.deflicker import Deflicker, flickers, region_levels, small_luma
from models.network.vae import CHANNELS, LATENT_BLOCK

CROP_MARGIN = 16  # pixels read around a crop, so that flow and warps see beyond its edge
DEFECT, THING = 1, 2  # values of a bank's mask: a defect, a real thing that looks like one
ARRAYS = ("clean", "levelled", "mask", "exposure")  # arrays of a bank that training reads


@dataclass(frozen=True)
class Mix:
    """Shares of the samples and the strength of their noise; the rest has the banks' own damage."""

    noise: float = 0.26  # white noise on clean sequences
    clean: float = 0.12  # clean sequences
    sigma: tuple[float, float] = (2.0, 42.0)  # standard deviation of white noise, code values
    missing: float = 0.12  # without some neighbours, on one side or both
    broken_flow: float = 0.05  # with one unrelated neighbour
    still: float = 0.3  # with a scene that stands still while its damage changes
    upright: float = 0.7  # share of the still ones, with upright structure in the scene
    bare: float = 0.0  # share of the banks' damage, with its scratches, dust and blotches only
    pillarbox: float = 0.06  # with a black bar beside the picture
    fast: float = 0.0  # of every second frame: motion too fast for matches


@dataclass(frozen=True)
class Batch:
    """B samples with sides of S pixels."""

    window: Tensor  # (B, 5, 3, S, S), centre first
    trust: Tensor  # (B, 4, S, S)
    clean: Tensor  # (B, 3, S, S)
    defects: Tensor  # (B, 1, S, S)
    things: Tensor  # (B, 1, S, S), real things that look like defects
    levels: Tensor  # (B, FEATURES), damage levels
    chance: Tensor  # (B, 2) in [0, 1): which samples are bridge samples, and their time t
    noise: Tensor  # (B, CHANNELS, S/4, S/4), standard normal, for the bridge samples

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All, in the order above."""
        return tuple(vars(self).values())

    @classmethod
    def of(cls, columns: Iterable[NDArray[np.float32]]) -> Self:
        """From the columns as arrays, which it shares."""
        return cls(*(torch.from_numpy(column) for column in columns))


def prepare(folder: Path, workers: int = 1) -> None:
    """Write ``levelled.npy`` (deflickered damaged sequences) and ``exposure.npy`` into a bank."""
    shape = np.load(folder / "damaged.npy", mmap_mode="r").shape
    np.lib.format.open_memmap(folder / "levelled.npy", "w+", np.uint8, shape).flush()
    parts = np.array_split(np.arange(shape[0]), max(workers, min(shape[0], 16)))
    if workers == 1:
        exposures = [_prepare_part(folder, part) for part in parts]
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            exposures = list(pool.map(_prepare_part, [folder] * len(parts), parts))
    np.save(folder / "exposure.npy", np.concatenate(exposures))


def _prepare_part(folder: Path, part: NDArray[np.int64]) -> NDArray[np.float32]:
    cv2.setNumThreads(1)
    clean, damaged, mask = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("clean", "damaged", "mask")
    )
    levelled = np.lib.format.open_memmap(folder / "levelled.npy", "r+")
    exposure = np.zeros((len(part), damaged.shape[1], 2), np.float32)
    for k, n in enumerate(part):
        frames = [frame.astype(np.float32) / 255 for frame in damaged[n]]
        if flickers(np.array([region_levels(small_luma(frame)) for frame in frames])):
            frames = [frame.source for frame in Deflicker().run(number_frames(frames))]
        levelled[n] = [np.clip(np.rint(frame * 255), 0, 255).astype(np.uint8) for frame in frames]
        exposure[k] = _exposures(clean[n], levelled[n], mask[n])
    levelled.flush()
    return exposure


def _exposures(
    clean: NDArray[np.uint8], levelled: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Gain and offset (T, 2) that bring each clean frame to the exposure of its damaged window.

    So the network need not guess a global exposure, which it cannot know. Deflicker corrects
    exposure; a network that learned to would harm clips that need no correction.
    """

    def small(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        shrunk = [
            cv2.resize(f, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA) for f in frames
        ]
        grey = np.stack(shrunk).astype(np.float32)
        return grey if grey.ndim == 3 else grey.mean(-1)

    x, y, usable = small(clean), small(levelled), small((mask == DEFECT) * np.uint8(255)) < 5
    usable &= (y > 8) & (y < 247)
    result = np.zeros((len(clean), 2), np.float32)
    for i in range(len(clean)):
        near = slice(max(i - OUTERMOST, 0), i + OUTERMOST + 1)
        u, v = x[near][usable[near]], y[near][usable[near]]
        if len(u) < 32 or u.std() < 4:
            offset = float(v.mean() - u.mean()) if len(u) else 0.0
            result[i] = 1.0, np.clip(offset, -30, 30)
            continue
        gain = float(np.clip(np.cov(u, v)[0, 1] / u.var(), 0.75, 1.33))
        result[i] = gain, np.clip(float(v.mean()) - gain * float(u.mean()), -40, 40)
    return result


def upright_structure(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Boards, railings, pillars and door frames of a still scene, (H, W) in code values.

    A scratch moves from frame to frame, and structure does not. Without such samples a network
    learns that every upright line is a scratch.
    """
    height, width = shape
    count, spacing = int(rng.integers(1, 14)), rng.uniform(4, 24)
    places = rng.uniform(0, width) + spacing * np.arange(count)
    places += rng.normal(0, 0.05 * spacing, count)
    levels = rng.uniform(8, 70) * rng.choice([-1.0, 1.0]) * rng.uniform(0.6, 1.0, count)
    half = rng.uniform(2, 14) if rng.random() < 0.3 else rng.uniform(0.3, 1.5)  # pillar or line
    soft = rng.uniform(0.3, 2.0)
    distance = np.abs(np.arange(width)[:, None] - places)
    profile = (levels * 0.5 * (1 - np.tanh((distance - half) / soft))).sum(-1)  # (W,)
    top, bottom = np.sort(rng.uniform(-0.3, 1.3, 2)) * height
    y = np.arange(height)
    extent = np.clip(np.minimum(y - top, bottom - y) / 2, 0, 1)
    return (extent[:, None] * profile).astype(np.float32)


def weave(
    rng: np.random.Generator, scene: NDArray[np.float32], count: int, centre: int
) -> NDArray[np.float32]:
    """A still (H, W, 3) as ``count`` frames (T, H, W, 3); the frame ``centre`` is the still itself.

    Half the time the camera or the gate trembles by fractions of a pixel.
    """
    frames = np.stack([scene] * count)
    if rng.random() < 0.5:
        return frames
    for k, (x, y) in enumerate(rng.normal(0, rng.uniform(0.1, 0.7), (len(frames), 2))):
        if k != centre:
            shift = np.array([[1, 0, x], [0, 1, y]])
            size = scene.shape[1::-1]
            frames[k] = cv2.warpAffine(
                scene, shift, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
            )
    return frames


class Bank:
    """Random training samples of prepared banks; the same seed, step and place give the same one.

    Pickled, it is opened anew: a process reads the banks' files itself.
    """

    def __init__(self, folders: Sequence[Path], crop: int, mix: Mix, seed: int) -> None:
        """Open the banks. Raises ValueError if their frames are too small for the crop."""
        self._opened = folders, crop, mix, seed
        self._shelves = [
            [np.load(f / f"{name}.npy", mmap_mode="r") for name in ARRAYS] for f in folders
        ]
        for folder, (clean, *_) in zip(folders, self._shelves, strict=True):
            if (side := min(clean.shape[2:4])) < crop + 2 * CROP_MARGIN:
                raise ValueError(
                    f"crop = {crop} needs frames of {crop + 2 * CROP_MARGIN} pixels; those of "
                    f"{folder} have {side}: choose a smaller crop or build a larger bank"
                )
        self._ends = np.cumsum([len(clean) for clean, *_ in self._shelves])
        self._crop, self._mix, self._seed = crop, mix, seed
        self._aligner = Aligner("fast")

    def __reduce__(self) -> tuple[type[Bank], tuple[object, ...]]:
        return Bank, self._opened

    def batch(self, step: int, size: int) -> Batch:
        """Batch number ``step`` of ``size`` samples."""
        samples = [self.sample(step, place) for place in range(size)]
        return Batch.of(np.stack(column) for column in zip(*samples, strict=True))

    def sample(self, step: int, place: int) -> tuple[NDArray[np.float32], ...]:
        """Sample number ``place`` of a batch: what is in `Batch`, without the first axis."""
        rng = np.random.default_rng((self._seed, step, place))
        window, trust, *truth = self._drawn(rng)
        near = Nearest.of(torch.from_numpy(window)[None], torch.from_numpy(trust)[None])
        levels, side = damage_level(near)[0].numpy(), self._crop // LATENT_BLOCK
        chance = rng.random(2, np.float32)
        noise = rng.standard_normal((CHANNELS, side, side), np.float32)
        return window, trust, *truth, levels, chance, noise

    def _drawn(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], ...]:
        """Window, trust, clean frame, defects and things of a random place of the banks."""
        n = int(rng.integers(self._ends[-1]))
        shelf = int(np.searchsorted(self._ends, n, side="right"))
        n -= int(self._ends[shelf - 1]) if shelf else 0
        clips, damaged, masks, exposures = self._shelves[shelf]
        fast = rng.random() < self._mix.fast and clips.shape[1] > 4 * OUTERMOST
        stride = 2 if fast else 1
        reach = stride * OUTERMOST
        centre = int(rng.integers(reach, clips.shape[1] - reach))
        first = max(centre - stride * SPAN, centre % stride)
        side = self._crop + 2 * CROP_MARGIN
        top, left = (int(rng.integers(0, limit - side + 1)) for limit in clips.shape[2:4])
        where = (
            slice(first, centre + stride * SPAN + 1, stride),
            slice(top, top + side),
            slice(left, left + side),
        )
        clean, mid = clips[n][where].astype(np.float32), (centre - first) // stride
        kind = rng.random()
        marks = masks[n][where].astype(np.float32)  # DEFECT or THING
        hit = marks == DEFECT
        marks[hit], gain = 0, 1.0
        if kind < self._mix.noise:
            sigma = rng.uniform(*self._mix.sigma)
            frames = np.clip(
                np.rint(clean + rng.normal(0, sigma, clean.shape).astype(np.float32)), 0, 255
            )
            target = clean[mid]
        elif kind < self._mix.noise + self._mix.clean:
            frames, target = clean, clean[mid]
        else:
            frames = damaged[n][where].astype(np.float32)
            gain, offset = exposures[n, centre]
            target = np.clip(clean[mid] * gain + offset, 0, 255)
            marks[hit] = DEFECT
            if rng.random() < self._mix.bare:  # a transfer without grain, or with grain removed
                frames = np.where(hit[..., None], frames, np.clip(clean * gain + offset, 0, 255))
        if rng.random() < self._mix.still:  # the damage changes, the scene stands still
            scene = gain * clean[mid]
            if rng.random() < self._mix.upright:
                lines = upright_structure(rng, frames.shape[1:3])[..., None]
                scene, target = scene + lines, np.clip(target + lines, 0, 255)
            frames = np.clip(frames - gain * clean + weave(rng, scene, len(clean), mid), 0, 255)
        if rng.random() < self._mix.pillarbox:
            bar = np.s_[..., : int(rng.integers(1, side // 2)), :]
            level = rng.uniform(0, 24)
            frames[bar], target[bar], marks[(..., *bar[1:2])] = level, level, 0
        frames, target, marked = self._augment(rng, frames / 255, target / 255, marks[mid])
        if rng.random() < 0.5:  # played backwards
            frames, mid = frames[::-1], len(frames) - 1 - mid
        return self._window(rng, frames, mid, target, marked)

    def _augment(
        self,
        rng: np.random.Generator,
        frames: NDArray[np.float32],
        target: NDArray[np.float32],
        marks: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Mirror (50 % each way), permute channels (25 %), invert (20 %), drop colour (10 %)."""
        if rng.random() < 0.5:
            frames, target, marks = frames[:, :, ::-1], target[:, ::-1], marks[:, ::-1]
        if rng.random() < 0.5:
            frames, target, marks = frames[:, ::-1], target[::-1], marks[::-1]
        if rng.random() < 0.25:
            order = rng.permutation(3)
            frames, target = frames[..., order], target[..., order]
        if rng.random() < 0.2:
            frames, target = 1 - frames, 1 - target
        if rng.random() < 0.1:
            frames = np.repeat(frames.mean(-1, keepdims=True), 3, -1)
            target = np.repeat(target.mean(-1, keepdims=True), 3, -1)
        return (
            np.ascontiguousarray(frames),
            np.ascontiguousarray(target),
            np.ascontiguousarray(marks),
        )

    def _window(
        self,
        rng: np.random.Generator,
        frames: NDArray[np.float32],
        mid: int,
        target: NDArray[np.float32],
        marks: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], ...]:
        """Align the neighbours of frame ``mid`` and keep the inner crop, channels first.

        ``marks`` (S, S) holds DEFECT, THING or 0.
        """
        before = after = SPAN
        if rng.random() < self._mix.missing:
            ends = (0, SPAN), (SPAN, 0), (1, SPAN), (SPAN, 1), (0, 0)
            before, after = ends[int(rng.integers(len(ends)))]
        others = {
            k: FlowFrame.of(frames[mid + k])
            for k in range(-before, after + 1)
            if k and 0 <= mid + k < len(frames)
        }
        if rng.random() < self._mix.broken_flow:
            k = OFFSETS[int(rng.integers(len(OFFSETS)))]
            shifted = np.roll(frames[mid], self._crop // 2, axis=int(rng.integers(2)))
            others[k] = FlowFrame.of(shifted)
        warped, trust = self._aligner.neighbours(FlowFrame.of(frames[mid]), others)
        inner = slice(CROP_MARGIN, CROP_MARGIN + self._crop)
        window = np.stack([frames[mid], *warped])[:, inner, inner].transpose(0, 3, 1, 2)
        return (
            np.ascontiguousarray(window),
            trust[:, inner, inner].copy(),
            np.ascontiguousarray(target[inner, inner].transpose(2, 0, 1)),
            (marks[None, inner, inner] == DEFECT).astype(np.float32),
            (marks[None, inner, inner] == THING).astype(np.float32),
        )
