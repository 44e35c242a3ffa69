"""Fields: an interlaced frame holds two of them, each of half the height and of its own instant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from models.frame_state import Repair
from pipeline.clip.frames import Frame, Planes


def field_of(planes: Planes, parity: int) -> Planes:
    """The lines of one parity of every plane. Parity 0 is the top line and every second one below.

    Lines alternate between the fields in subsampled chroma as well.
    """
    return tuple(np.ascontiguousarray(plane[parity::2]) for plane in planes)


def fields_of(frames: Iterable[Frame], parity: int) -> Iterator[Frame]:
    """The frames, each reduced to its field of one parity."""
    for frame in frames:
        yield replace(frame, planes=field_of(frame.planes, parity))


def in_frame(repair: Repair, parity: int) -> Repair:
    """A region of the field of one parity, with its box in pixels of the frame."""
    x, y, width, height = repair.box
    return repair._replace(box=(x, 2 * y + parity, width, 2 * height - 1))


def in_field(box: tuple[int, int, int, int], parity: int) -> tuple[int, int, int, int] | None:
    """The box of a region in pixels of the field it was found in; None if that is the other one."""
    x, y, width, height = box
    return (x, y // 2, width, (height + 1) // 2) if y % 2 == parity else None


def woven(top: Planes, bottom: Planes) -> Planes:
    """The frame made of two fields."""
    planes = []
    for even, odd in zip(top, bottom, strict=True):
        plane = np.empty((len(even) + len(odd), even.shape[1]), even.dtype)
        plane[0::2], plane[1::2] = even, odd
        planes.append(plane)
    return tuple(planes)
