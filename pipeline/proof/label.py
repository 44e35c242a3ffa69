"""The visible label of access copies: a few words in a corner of every picture.

The master never has it. The words are drawn upright as the picture is shown: turned and mirrored
as its display matrix says, and as wide as its sample aspect ratio says.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Probe
from pipeline.media.planes import Overlay

CAPITAL = 40  # height of the picture over the height of a capital letter
LEAST_CAPITAL = 9  # samples: smaller letters cannot be read after H.264
FINE = 8  # the words are drawn this many times larger
FONT, UNIT = cv2.FONT_HERSHEY_DUPLEX, 22  # height of a capital letter at scale 1
WIDEST = 0.9  # of the width of the picture
STEP = 4  # see `Overlay`

Grey = NDArray[np.uint8]


def label_of(text: str, probe: Probe) -> Overlay:
    """The label at the lower right of a picture: white with a black edge. ASCII only."""
    turned, sar = _is_turned(probe), float(probe.sar)
    wide, high = (probe.height, probe.width) if turned else (probe.width, probe.height)
    across, down = (1.0, 1 / sar) if turned else (1 / sar, 1.0)  # samples for one square pixel
    shown = wide / across, high / down
    capital = max(LEAST_CAPITAL, shown[1] / CAPITAL)
    cover, ink = _drawn(text, capital)
    size = np.array((cover.shape[1] * across, cover.shape[0] * down)) / FINE
    size *= min(1, WIDEST * wide / size[0], WIDEST * high / size[1])
    small = np.maximum(1, np.rint(size)).astype(int)
    left, top = wide - small[0] - round(capital * across), high - small[1] - round(capital * down)
    whole = [np.zeros((high, wide), np.uint8) for _ in range(2)]
    for canvas, part in zip(whole, (cover, ink), strict=True):
        resized = cv2.resize(part, (int(small[0]), int(small[1])), interpolation=cv2.INTER_AREA)
        y, x = max(0, top), max(0, left)
        canvas[y : y + small[1], x : x + small[0]] = resized
    return _cropped(*(_stored(canvas, probe) for canvas in whole))


def _drawn(text: str, capital: float) -> tuple[Grey, Grey]:
    """What the words hide and how white they are, `FINE` times as large."""
    scale = FINE * capital / UNIT
    stroke = max(1, round(FINE * capital / 8))
    edge = max(2, round(FINE * max(1.0, capital / 9)))
    (width, height), below = cv2.getTextSize(text, FONT, scale, stroke)
    shape, at = (height + below + 4 * edge, width + 4 * edge), (2 * edge, height + 2 * edge)
    ink = np.zeros(shape, np.uint8)
    cv2.putText(ink, text, at, FONT, scale, 255, stroke, cv2.LINE_AA)
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * edge + 1, 2 * edge + 1))
    return np.asarray(cv2.dilate(ink, around), np.uint8), ink


def _is_turned(probe: Probe) -> bool:
    return bool(probe.display) and abs(probe.display[0]) < abs(probe.display[1])


def _stored(shown: Grey, probe: Probe) -> Grey:
    """A picture as it is shown, in the order of the stored samples (`Probe.display`)."""
    if not probe.display:
        return shown
    a, b, c, d = probe.display
    turned = shown.T if _is_turned(probe) else shown
    down, across = (c, b) if _is_turned(probe) else (d, a)
    return turned[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]


def _cropped(cover: Grey, ink: Grey) -> Overlay:
    """The part that hides something, in steps of `STEP`, inside the picture."""
    found = [np.flatnonzero(cover.any(axis=axis)) for axis in (1, 0)]
    (top, down), (left, right) = (
        (int(at[0]) // STEP * STEP, min(-(-int(at[-1] + 1) // STEP), size // STEP) * STEP)
        for at, size in zip(found, cover.shape, strict=True)
    )
    box = slice(top, down), slice(left, right)
    return Overlay(left, top, np.ascontiguousarray(cover[box]), np.ascontiguousarray(ink[box]))
