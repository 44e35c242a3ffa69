"""Fields: the two half-height pictures, of different instants, that lie in an interlaced frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.clip.frames import Frame

Planes = tuple[NDArray[Any], ...]


def field_of(planes: Planes, parity: int) -> Planes:
    """The lines of one parity (0: the top line and every second one) of every plane.

    In subsampled chroma, too, lines alternate between the fields.
    """
    return tuple(np.ascontiguousarray(plane[parity::2]) for plane in planes)


def fields_of(frames: Iterable[Frame], parity: int) -> Iterator[Frame]:
    """Frames that hold the field of one parity only."""
    for frame in frames:
        yield replace(frame, planes=field_of(frame.planes, parity))


def woven(top: Planes, bottom: Planes) -> Planes:
    """The frame that two fields lie in."""
    planes = []
    for even, odd in zip(top, bottom, strict=True):
        plane = np.empty((len(even) + len(odd), even.shape[1]), even.dtype)
        plane[0::2], plane[1::2] = even, odd
        planes.append(plane)
    return tuple(planes)
