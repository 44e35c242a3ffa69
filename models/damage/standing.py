"""Dirt that stands still while the scene moves: on the lens, or in the gate of the camera.

It is drawn only where the scene passes behind it. Elsewhere nothing shows what it hides, so no
restoration could know it.
"""

import itertools
from typing import NamedTuple

import cv2
import numpy as np

from models.damage.defects import blotch_shape, flake_shape, hair_shape, overlay
from models.damage.processes import ar1

TRIES = 6  # places that are tried for one piece of dirt
FURTHEST = 16  # pixels by which the scene moves from one frame to the next, at most
AROUND = 8  # pixels around a piece whose motion is followed
CLEAR = 0.6  # of the error without motion: the error of a match that counts
LEAST_ERROR = 4.0  # mean square, grey levels: a change that counts
MOVING = 0.8  # share of the frames from which the scene keeps moving
BEHIND = 1.2  # times its diameter that the scene moves behind a piece


class Piece(NamedTuple):
    """A piece of dirt: opacity (n, n), grey level, middle in pixels, and how far it trembles."""

    alpha: np.ndarray
    paint: float
    y: float
    x: float
    tremble_px: float


def standing_dirt(
    clip: np.ndarray,
    rng: np.random.Generator,
    count: float = 3,
    radius_px: tuple[float, float] = (2, 9),
    depth: tuple[float, float] = (0.25, 0.9),
    gate_share: float = 0.4,
    white_share: float = 0.1,
    tremble_px: float = 0.3,
) -> np.ndarray:
    """Up to `count` pieces that stand at one place of all frames, where the scene moves.

    Dirt on the lens is out of focus, and lies anywhere. Dirt in the gate is sharp and dark, lies
    beside an edge of the picture, and trembles.
    """
    luma = clip.mean(3)
    for _ in range(round(count)):
        in_gate = rng.random() < gate_share
        for _ in range(TRIES):
            piece = _piece(clip.shape[1:3], rng, in_gate, radius_px, depth, white_share, tremble_px)
            if passes_behind(luma, piece.y, piece.x, len(piece.alpha)):
                _draw(clip, piece, rng)
                break
    return clip


def passes_behind(luma: np.ndarray, y: float, x: float, side: int) -> bool:
    """Whether the scene at a place of a clip (T, H, W) keeps moving, by more than `side` pixels."""
    reach = side // 2 + AROUND
    height, width = luma.shape[1:]
    margin = reach + FURTHEST
    if min(height, width) <= 2 * margin or len(luma) < 2:
        return False
    row = int(np.clip(y, margin, height - margin - 1))
    column = int(np.clip(x, margin, width - margin - 1))
    pairs = itertools.pairwise(luma)
    steps = np.array([_step(here, after, row, column, reach) for here, after in pairs])
    path = np.concatenate([np.zeros((1, 2)), steps.cumsum(0)])
    return bool(steps.any(1).mean() >= MOVING and np.ptp(path, axis=0).max() >= BEHIND * side)


def _step(here: np.ndarray, after: np.ndarray, y: int, x: int, reach: int) -> tuple[int, int]:
    """By how many pixels (down, right) a square of a frame moves to the next; 0 if not clear."""
    near, far = reach, reach + FURTHEST
    part = here[y - near : y + near + 1, x - near : x + near + 1]
    around = after[y - far : y + far + 1, x - far : x + far + 1]
    errors = cv2.matchTemplate(around, part, cv2.TM_SQDIFF) / part.size
    row, column = np.unravel_index(int(errors.argmin()), errors.shape)
    still = float(errors[FURTHEST, FURTHEST])
    if still < LEAST_ERROR or float(errors[row, column]) > CLEAR * still:
        return 0, 0
    return int(row) - FURTHEST, int(column) - FURTHEST


def _piece(
    shape: tuple[int, ...],
    rng: np.random.Generator,
    in_gate: bool,
    radius_px: tuple[float, float],
    depth: tuple[float, float],
    white_share: float,
    tremble_px: float,
) -> Piece:
    height, width = shape
    radius = np.exp(rng.uniform(*np.log(radius_px)))
    opacity = rng.uniform(*depth)
    y, x = rng.uniform(0, height), rng.uniform(0, width)
    if not in_gate:
        paint = rng.uniform(180, 255) if rng.random() < white_share else rng.uniform(0, 60)
        alpha = cv2.GaussianBlur(blotch_shape(radius, rng), (0, 0), 0.25 * radius + 0.5)
        return Piece(alpha * opacity, paint, y, x, 0.0)
    shape_of = hair_shape if rng.random() < 0.5 else flake_shape
    alpha = shape_of(0.6 * radius, rng)
    inward = rng.uniform(0, 0.1)  # share of the picture's side
    if rng.random() < 0.5:
        y = height * (inward if rng.random() < 0.5 else 1 - inward)
    else:
        x = width * (inward if rng.random() < 0.5 else 1 - inward)
    return Piece(alpha * max(opacity, 0.6), rng.uniform(0, 40), y, x, tremble_px)


def _draw(clip: np.ndarray, piece: Piece, rng: np.random.Generator) -> None:
    """Lay a piece over every frame, at the same place but for its trembling."""
    count, side = len(clip), len(piece.alpha)
    down, right = (piece.tremble_px * ar1(count, 0.6, rng) for _ in range(2))
    paint = np.full_like(piece.alpha, piece.paint)
    for frame, dy, dx in zip(clip, down, right, strict=True):
        shift = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
        alpha = (
            cv2.warpAffine(piece.alpha, shift, (side, side)) if piece.tremble_px else piece.alpha
        )
        overlay(frame, alpha, paint, int(piece.y) - side // 2, int(piece.x) - side // 2)
