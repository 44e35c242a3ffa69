"""Procedural clips: moving dead leaves, textured shapes that hide one another.

A dead-leaves picture has the edges, occlusions and scale invariance of natural images (Lee, Mumford
and Huang, IJCV 2001). A denoiser trained on such pictures alone is nearly as good as one trained on
photographs (Achddou, Gousseau and Ladjal, SSVM 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

FINER = 2  # clips are drawn at twice the size, then averaged: soft edges and half-pixel motion
LEAST_RADIUS = 5.0  # drawn pixels
MOST_RADIUS = 0.35  # share of the drawn side
TEXTURES = 6  # textures in one clip


@dataclass(frozen=True)
class Leaf:
    """One rigid shape in motion."""

    picture: NDArray[np.uint8]  # (h, w, 3)
    mask: NDArray[np.uint8]  # (h, w)
    place: NDArray[np.float64]  # (x, y) of its upper left corner in the middle frame, drawn pixels
    speed: NDArray[np.float64]  # (x, y), drawn pixels per frame


def dead_leaves(rng: np.random.Generator, frames: int, size: int) -> NDArray[np.uint8]:
    """An RGB clip (frames, size, size, 3) from a moving camera.

    Nearer leaves move faster, and some have a motion of their own.
    """
    side = FINER * size
    textures = [_texture(rng, side) for _ in range(TEXTURES)]
    palette = rng.uniform(10, 245, (int(rng.integers(3, 8)), 3))
    colour = rng.beta(1, 3)  # most scenes are near the grey axis
    palette = colour * palette + (1 - colour) * palette.mean(1, keepdims=True)
    camera = rng.normal(0, 1, 2) * rng.choice((0.5, 2, 6))
    count = int(rng.integers(300, 1500))
    leaves = [_leaf(rng, side, textures, palette, camera * (0.4 + k / count)) for k in range(count)]
    ground = _coloured(rng, textures, palette, side, side)
    optics = rng.uniform(0, 0.8)
    clip = np.empty((frames, size, size, 3), np.uint8)
    for t in range(frames):
        canvas = ground.copy()
        for leaf in leaves:
            _paste(canvas, leaf, t - (frames - 1) / 2)
        small = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
        clip[t] = cv2.GaussianBlur(small, (0, 0), optics) if optics > 0.3 else small
    return clip


def _leaf(
    rng: np.random.Generator,
    side: int,
    textures: list[NDArray[np.float32]],
    palette: NDArray[np.float64],
    drift: NDArray[np.float64],
) -> Leaf:
    radius = 1 / rng.uniform(1 / (MOST_RADIUS * side), 1 / LEAST_RADIUS)  # density r^-2
    span = 2 * int(np.ceil(radius)) + 1
    mask = np.zeros((span, span), np.uint8)
    centre, turn = (span // 2, span // 2), float(rng.uniform(0, 360))
    if rng.random() < 0.5:
        axes = int(radius), max(int(radius * rng.uniform(0.15, 1)), 1)
        cv2.ellipse(mask, centre, axes, turn, 0, 360, 1, -1)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
        corners = span // 2 + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 1)
    own = rng.normal(0, 2, 2) if rng.random() < 0.3 else 0.0
    place = rng.uniform(-span, side, 2)
    return Leaf(_coloured(rng, textures, palette, span, span), mask, place, drift + own)


def _coloured(
    rng: np.random.Generator,
    textures: list[NDArray[np.float32]],
    palette: NDArray[np.float64],
    height: int,
    width: int,
) -> NDArray[np.uint8]:
    """A picture (height, width, 3): a colour of the palette with shading and a texture."""
    colour = palette[rng.integers(len(palette))] + rng.normal(0, 12, 3)
    texture = textures[rng.integers(len(textures))]
    y, x = (int(rng.integers(len(texture) - n + 1)) for n in (height, width))
    across = np.linspace(-1, 1, width)[None] * rng.normal(0, 12)
    down = np.linspace(-1, 1, height)[:, None] * rng.normal(0, 12)
    relief = rng.uniform(0, 30) * texture[y : y + height, x : x + width] + across + down
    return np.clip(colour + relief[..., None], 0, 255).astype(np.uint8)


def _texture(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """A plane (side, side) with mean 0 and standard deviation 1: 1/f noise, or a noisy grating."""
    frequencies = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequencies[0, 0] = 1 / side
    spectrum = frequencies ** -rng.uniform(0.3, 1.8) * np.exp(
        2j * np.pi * rng.random(frequencies.shape)
    )
    spectrum[0, 0] = 0
    plane = np.fft.irfft2(spectrum, (side, side))
    plane /= plane.std()
    if rng.random() < 0.4:
        angle, period = rng.uniform(0, np.pi), rng.uniform(5, 40)
        y, x = np.mgrid[:side, :side]
        phase = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period
        plane = np.tanh(rng.uniform(0.5, 4) * np.sin(phase + 0.5 * plane)) + 0.2 * plane
        plane = (plane - plane.mean()) / plane.std()
    return plane.astype(np.float32)


def _paste(canvas: NDArray[np.uint8], leaf: Leaf, time: float) -> None:
    """Draw a leaf into the canvas, at its place ``time`` frames after the middle frame."""
    x, y = np.rint(leaf.place + leaf.speed * time).astype(int)
    height, width = leaf.mask.shape
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + height, canvas.shape[0]), min(x + width, canvas.shape[1])
    if top >= bottom or left >= right:
        return
    part = np.s_[top - y : bottom - y, left - x : right - x]
    here = np.s_[top:bottom, left:right]
    cv2.copyTo(leaf.picture[part], leaf.mask[part], canvas[here])
