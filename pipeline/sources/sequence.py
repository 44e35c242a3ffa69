"""Image sequences: one numbered file per frame, with an address such as `reel_%06d.dpx`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from schemas.manifest import SEQUENCE


def is_sequence(uri: str | Path) -> bool:
    """Whether an address is the pattern of an image sequence."""
    return SEQUENCE.fullmatch(str(uri)) is not None


def numbers(pattern: str | Path, names: Iterable[str]) -> list[int]:
    """The numbers, in order, of the addresses that match a pattern."""
    match = SEQUENCE.fullmatch(str(pattern))
    assert match is not None
    stem, digits, suffix = match.groups()
    found = []
    for name in names:
        middle = name.removeprefix(stem).removesuffix(suffix)
        if middle.isdecimal() and name == f"{stem}{int(middle):0{digits}}{suffix}":
            found.append(int(middle))
    return sorted(found)


def runs(found: Sequence[int]) -> list[range]:
    """Runs of consecutive numbers, in order. Missing files separate two runs."""
    holes = [(a + 1, b) for a, b in pairwise(found) if b > a + 1]
    starts = [*found[:1], *(b for _, b in holes)]
    stops = [*(a for a, _ in holes), *(last + 1 for last in found[-1:])]
    return [range(start, stop) for start, stop in zip(starts, stops, strict=True)]


def files_of(pattern: str | Path) -> list[str]:
    """The files of a local sequence, in order."""
    match = SEQUENCE.fullmatch(str(pattern))
    assert match is not None
    stem, digits, suffix = match.groups()
    found = numbers(pattern, map(str, Path(pattern).parent.iterdir()))
    return [f"{stem}{number:0{digits}}{suffix}" for number in found]


def runs_of(pattern: str | Path) -> list[range]:
    """The runs of a local sequence."""
    return runs(numbers(pattern, map(str, Path(pattern).parent.iterdir())))


def gaps(found: Sequence[int]) -> list[str]:
    """The missing numbers between the first and the last, such as `103 to 105`."""
    return words([range(a.stop, b.start) for a, b in pairwise(runs(found))])


def words(found: Sequence[range]) -> list[str]:
    """Runs of numbers for a message: `103 to 105`, `210`."""
    return [f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in found]
