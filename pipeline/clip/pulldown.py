"""2:3 pulldown: how film at 24 frames a second lies in video at 30, and how to undo it.

Four film frames A B C D make a cycle of five video frames. The fields of the five are A A, B B,
B C, C D, D D, the earlier field first. Undoing only sorts fields: every line of the result is a
line of the source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.clip.fields import field_of, woven
from pipeline.clip.frames import Planes

Stamped = tuple[int, Planes]  # pts, planes

CYCLE, FILM = 5, 4  # frames of video, and of film, in a cycle
# Number of whole film frames before the first full cycle, by the frame where that cycle begins.
LEAD = (0, 1, 1, 2, 3)


def film_frames(frames: Iterable[Stamped], order: str, phase: int) -> Iterator[Stamped]:
    """The film frames of telecined video, evenly spaced over each cycle.

    Timestamps are in ticks of 1 / `FILM` of the source's tick. A film frame that has only one of
    its two fields in the clip is left out.
    """
    cycle: dict[int, Stamped] = {}
    place, last, step = -phase % CYCLE, None, 0
    for pts, planes in frames:
        if place == CYCLE:
            yield from _film(cycle, pts, order)
            cycle, place = {}, 0
        step = step if last is None else pts - last
        cycle[place], last, place = (pts, planes), pts, place + 1
    if last is not None:
        yield from _film(cycle, last + (CYCLE - place + 1) * step, order)


def _film(cycle: dict[int, Stamped], stop: int, order: str) -> Iterator[Stamped]:
    """Film frames of one cycle, which may lack frames. It ends at the timestamp `stop`."""
    first = min(cycle)
    start = stop - CYCLE * (stop - cycle[first][0]) // (CYCLE - first)
    whole = {0: 0, 1: 1, 3: 4}  # film frame: the video frame that holds both its fields
    for number in range(FILM):
        planes = None
        if number == 2 and {2, 3} <= cycle.keys():
            sources = (3, 2) if order == "tff" else (2, 3)  # of the top field, of the bottom field
            top, bottom = (field_of(cycle[at][1], parity) for parity, at in enumerate(sources))
            planes = woven(top, bottom)
        elif number in whole and whole[number] in cycle:
            planes = cycle[whole[number]][1]
        if planes is not None:
            yield FILM * start + number * (stop - start), planes
