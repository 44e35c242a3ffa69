"""Real things that look like defects: what a restoration must leave.

Falling pieces, thin structure that sways, limbs in fast motion, flashes. They are drawn on a clean
clip before it is damaged, so they belong to what is true. Clips are float32 (T, H, W, 3) in 0..255
and are changed in place; lengths are in pixels, speeds in pixels per frame.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from models.damage.defects import flake_shape, overlay

GRAVITY = 0.03  # least share of its speed that a falling thing gains in each frame


def add_things(
    clip: np.ndarray, rng: np.random.Generator, pictures: Sequence[np.ndarray]
) -> np.ndarray:
    """Draw some of the kinds of things; limbs are cut out of ``pictures`` (H, W, 3)."""
    kinds = rng.random(4)
    if kinds[0] < 0.45:
        travelling(clip, rng, count=int(rng.integers(1, 25)))
    if kinds[1] < 0.35:
        lines(clip, rng, count=int(rng.integers(1, 4)))
    if kinds[2] < 0.35:
        limbs(clip, rng, pictures, count=int(rng.integers(1, 5)))
    if kinds[3] < 0.15:
        flash(clip, rng)
    return clip


def travelling(
    clip: np.ndarray,
    rng: np.random.Generator,
    count: int = 8,
    speed: tuple[float, float] = (1.5, 60),
    radius_px: tuple[float, float] = (1, 13),
) -> np.ndarray:
    """Debris, snow, sparks, birds: flakes on curved paths, blurred by their motion.

    They fly in one direction or in all, and are bright, dark, or both.
    """
    frames, height, width = clip.shape[:3]
    shutter = rng.uniform(0.2, 0.6)  # share of a frame's time in which the film is exposed
    spread = 0.25 if rng.random() < 0.6 else np.pi  # radians around a common direction
    heading = rng.uniform(0, 2 * np.pi)
    tones = ((170, 255), (0, 60), (0, 255))[rng.integers(3)]
    for _ in range(count):
        pace = np.exp(rng.uniform(*np.log(speed)))
        angle = heading + rng.uniform(-spread, spread)
        velocity = pace * np.array([np.cos(angle), np.sin(angle)])
        bend = rng.normal(0, 0.06 * pace, 2)
        if rng.random() < 0.5:
            bend[1] = abs(bend[1]) + GRAVITY * pace
        seen_at, place = rng.uniform(0, frames), rng.uniform(0, (width, height))
        shape = flake_shape(np.exp(rng.uniform(*np.log(radius_px))), rng)
        shape *= rng.uniform(0.5, 1)
        tone = np.clip(rng.uniform(*tones), 0, 255)
        for t in range(frames):
            since = t - seen_at
            x, y = place + velocity * since + bend * since**2 / 2
            blurred = _blurred(shape, shutter * (velocity + bend * since))
            _lay(clip[t], blurred, np.full_like(blurred, tone), x, y)
    return clip


def lines(clip: np.ndarray, rng: np.random.Generator, count: int = 2) -> np.ndarray:
    """Cords, rails, poles and sticks: thin lines that drift, tremble and sway."""
    frames, height, width = clip.shape[:3]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    for _ in range(count):
        lean = rng.normal(0, 0.05) if rng.random() < 0.6 else rng.uniform(-1.5, 1.5)
        place, drift = rng.uniform(0, (width, height)), rng.normal(0, 2.5, 2)
        tremble, sway, curve = rng.uniform(0.3, 3), rng.uniform(0, 0.06), rng.normal(0, 0.0015)
        turns, phase = 2 * np.pi / rng.uniform(2, 12), rng.uniform(0, 2 * np.pi)
        half_width, half_length = rng.uniform(0.4, 2.5), rng.uniform(0.08, 0.6) * height
        tone = rng.uniform(0, 255)
        for t in range(frames):
            wave = np.sin(turns * t + phase)
            across = np.cos(lean + sway * wave), np.sin(lean + sway * wave)
            right = columns - place[0] - drift[0] * t - tremble * wave
            down = rows - place[1] - drift[1] * t
            along = down * across[0] - right * across[1]
            away = np.abs(right * across[0] + down * across[1] - curve * along**2)
            alpha = np.clip(half_width + 0.5 - away, 0, 1)
            alpha *= np.clip(half_length - np.abs(along), 0, 1)
            clip[t] += alpha[..., None] * (tone - clip[t])
    return clip


def limbs(
    clip: np.ndarray, rng: np.random.Generator, pictures: Sequence[np.ndarray], count: int = 2
) -> np.ndarray:
    """Pieces of other pictures that swing around a joint, blurred where they are fast."""
    frames, height, width = clip.shape[:3]
    for _ in range(count):
        picture = pictures[int(rng.integers(len(pictures)))]
        wide = int(rng.uniform(12, 70))
        long = int(wide * rng.uniform(1, 3.5))
        if picture.shape[0] <= long or picture.shape[1] <= wide:
            continue
        top = rng.integers(picture.shape[0] - long)
        left = rng.integers(picture.shape[1] - wide)
        middle = int(np.hypot(wide / 2, long)) + 2
        piece = np.zeros((2 * middle, 2 * middle, 3), np.float32)
        alpha = np.zeros((2 * middle, 2 * middle), np.float32)
        begin = middle - wide // 2
        piece[middle : middle + long, begin : begin + wide] = picture[
            top : top + long, left : left + wide
        ]
        centre = (middle, middle + long // 2)
        cv2.ellipse(alpha, centre, (wide // 2 - 2, long // 2 - 2), 0, 0, 360, 1.0, -1)
        joint, drift = rng.uniform(0, (width, height)), rng.normal(0, 3, 2)
        reach, turns = rng.uniform(0.2, 1.4), 2 * np.pi / rng.uniform(4, 20)
        phase, rest = rng.uniform(0, 2 * np.pi), rng.uniform(0, 360)
        for t in range(frames):
            angle = rest + np.degrees(reach * np.sin(turns * t + phase))
            turn = cv2.getRotationMatrix2D((middle, middle), angle, 1)
            turned = cv2.warpAffine(alpha, turn, alpha.shape[::-1])
            blur_px = abs(reach * turns * np.cos(turns * t + phase)) * long * 0.06
            turned = cv2.GaussianBlur(turned, (0, 0), 0.8 + blur_px)
            paint = cv2.warpAffine(piece, turn, alpha.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
            _lay(clip[t], turned, paint, *(joint + drift * t))
    return clip


def flash(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One frame is brighter: lightning, an explosion, a photographer."""
    at = rng.integers(len(clip))
    clip[at] = np.clip(clip[at] * rng.uniform(1.05, 1.5) + rng.uniform(0, 30), 0, 255)
    return clip


def _lay(frame: np.ndarray, alpha: np.ndarray, paint: np.ndarray, x: float, y: float) -> None:
    """Blend ``paint`` (h, w) or (h, w, 3) over a frame around a place."""
    top, left = round(y - alpha.shape[0] / 2), round(x - alpha.shape[1] / 2)
    if paint.ndim == 2:
        overlay(frame, alpha, paint, top, left)
    else:
        for channel in range(3):
            overlay(frame[..., channel : channel + 1], alpha, paint[..., channel], top, left)


def _blurred(alpha: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """An opacity (h, w) blurred along its motion during the exposure."""
    right, down = motion
    reach = int(np.ceil(np.abs(motion).max() / 2))
    if reach < 1:
        return alpha
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    ends = [(round(reach + s * right / 2), round(reach + s * down / 2)) for s in (-1, 1)]
    cv2.line(kernel, *ends, 1.0, 1, cv2.LINE_AA)
    wide = cv2.copyMakeBorder(alpha, reach, reach, reach, reach, cv2.BORDER_CONSTANT)
    return cv2.filter2D(wide, -1, kernel / kernel.sum(), borderType=cv2.BORDER_CONSTANT)
