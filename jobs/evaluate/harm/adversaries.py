"""What a restoration must never do, done on purpose: to one frame, to a part, or to a whole shot.

An adversary takes the frames of a shot, (H, W, 3) float32 RGB in [0, 1], and returns what a bad
model would give for them. `Spoiled` says which frames it spoiled, and where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from models.frame_state import Image
from pipeline.measures.meter import EVERY

Box = tuple[int, int, int, int]  # x, y, width, height in pixels
PART = 1 / 6  # width and height of a spoiled part, as a share of the picture's
NOISE = 12 / 255
COLOUR = np.array([12, 0, -12], np.float32) / 255


@dataclass(frozen=True)
class Spoiled:
    """The frames of a bad restoration, the numbers of those that it spoiled, and where."""

    images: list[Image]
    frames: tuple[int, ...]
    box: Box | None = None  # None: anywhere in the frame


Adversary = Callable[[Sequence[Image]], Spoiled]


def busiest(image: Image) -> Box:
    """The part of a picture with most detail, away from its edges: a face, a foot, a sign."""
    height, width = image.shape[:2]
    wide, high = max(int(PART * width), 8), max(int(PART * height), 8)
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    steps = [np.abs(np.diff(cv2.GaussianBlur(luma, (0, 0), 1.5), axis=axis)) for axis in (0, 1)]
    detail = cv2.boxFilter(steps[0][:, :-1] + steps[1][:-1], -1, (wide, high))
    half_w, half_h = wide // 2, high // 2
    inner = detail[half_h : height - high + half_h - 1, half_w : width - wide + half_w - 1]
    y, x = divmod(int(inner.argmax()), inner.shape[1])
    return x, y, wide, high


def _window(box: Box) -> tuple[slice, slice]:
    x, y, wide, high = box
    return slice(y, y + high), slice(x, x + wide)


def _one(images: Sequence[Image], change: Callable[[Image], Image]) -> Spoiled:
    """The frame in the middle, changed."""
    at, made = len(images) // 2, list(images)
    made[at] = np.clip(change(images[at].copy()), 0, 1).astype(np.float32)
    return Spoiled(made, (at,))


def _part(images: Sequence[Image], change: Callable[[Image], Image]) -> Spoiled:
    """The busiest part of the frame in the middle, changed."""
    at, made = len(images) // 2, list(images)
    box = busiest(images[at])
    made[at] = images[at].copy()
    made[at][_window(box)] = np.clip(change(images[at][_window(box)].copy()), 0, 1)
    return Spoiled(made, (at,), box)


def _noisy(image: Image) -> Image:
    noise = np.random.default_rng(7).standard_normal(image.shape[:2]).astype(np.float32)
    return image + NOISE * noise[..., None]


def _erased(images: Sequence[Image]) -> Spoiled:
    """A thing is gone: its surroundings are drawn over it, as an inpainter does."""
    at = len(images) // 2
    box = busiest(images[at])
    mask = np.zeros(images[at].shape[:2], np.uint8)
    mask[_window(box)] = 1
    eight = np.rint(255 * images[at]).astype(np.uint8)
    filled = cv2.inpaint(eight, mask, 3, cv2.INPAINT_TELEA).astype(np.float32) / 255
    made = list(images)
    made[at] = np.where(mask[..., None] > 0, filled, images[at]).astype(np.float32)
    return Spoiled(made, (at,), box)


def _warped(part: Image) -> Image:
    """Pulled to one side in the middle, as a face that is no longer that of the person."""
    height, width = part.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bulge = np.sin(np.pi * x / width) * np.sin(np.pi * y / height)
    return cv2.remap(
        part, x + 0.2 * width * bulge, y + 0.1 * height * bulge, cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip


def _another(part: Image) -> Image:
    """Drawn anew: detail that is not in the source."""
    rng = np.random.default_rng(11)
    small = rng.uniform(0, 1, (max(part.shape[0] // 6, 2), max(part.shape[1] // 6, 2), 1))
    size = part.shape[1], part.shape[0]
    drawn = cv2.resize(small.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    return np.repeat(drawn[..., None], 3, axis=2)


def _dropped(images: Sequence[Image]) -> Spoiled:
    at = len(images) // 2
    return Spoiled([*images[:at], *images[at + 1 :], images[-1]], tuple(range(at, len(images) - 1)))


def _repeated(images: Sequence[Image]) -> Spoiled:
    at, made = len(images) // 2, list(images)
    made[at] = images[at - 1]
    return Spoiled(made, (at,))


def _swapped(images: Sequence[Image]) -> Spoiled:
    at, made = len(images) // 2, list(images)
    made[at], made[at + 1] = images[at + 1], images[at]
    return Spoiled(made, (at, at + 1))


def _every(images: Sequence[Image], change: Callable[[Image], Image]) -> Spoiled:
    made = [np.clip(change(image), 0, 1).astype(np.float32) for image in images]
    return Spoiled(made, tuple(range(len(images))))


def _between(images: Sequence[Image]) -> Spoiled:
    """Wax in every frame but each eighth, where all measures are taken."""
    spoiled = tuple(at for at in range(len(images)) if at % EVERY)
    made = [_plastic(image) if at % EVERY else image for at, image in enumerate(images)]
    return Spoiled(made, spoiled)


def _soft(image: Image) -> Image:
    return cv2.GaussianBlur(image, (0, 0), 2.5)


def _plastic(image: Image) -> Image:
    """Without texture, like wax."""
    return cv2.bilateralFilter(image, 9, 0.3, 6)


def _sharpened(image: Image) -> Image:
    return image + 2.5 * (image - cv2.GaussianBlur(image, (0, 0), 1.0))


def _shifted(image: Image) -> Image:
    """Moved in the gate."""
    move = np.array([[1, 0, 5], [0, 1, 3]], np.float32)
    size = image.shape[1], image.shape[0]
    return cv2.warpAffine(image, move, size, borderMode=cv2.BORDER_REPLICATE)


def _tinted(image: Image) -> Image:
    return np.add(image, COLOUR, dtype=np.float32)


def _black(image: Image) -> Image:
    return np.zeros_like(image)


ADVERSARIES: dict[str, Adversary] = {
    "painted noise": partial(_one, change=_noisy),
    "noise in a part": partial(_part, change=lambda part: _noisy(_noisy(part))),
    "shifted colour": partial(_every, change=_tinted),
    "colour of a part": partial(_part, change=lambda part: _tinted(_tinted(_tinted(part)))),
    "dropped frame": _dropped,
    "repeated frame": _repeated,
    "swapped frames": _swapped,
    "erased foot": _erased,
    "warped face": partial(_part, change=_warped),
    "another picture in a part": partial(_part, change=_another),
    "black frame": partial(_one, change=_black),
    "soft frame": partial(_one, change=_soft),
    "wax": partial(_every, change=_plastic),
    "wax in seven of eight": _between,
    "sharpened": partial(_every, change=_sharpened),
    "moved picture": partial(_one, change=_shifted),
}
