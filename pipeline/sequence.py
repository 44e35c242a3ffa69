"""Image sequences: a film as one numbered file a frame, addressed as `reel_%06d.dpx`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

SUFFIXES = ("dpx", "tif", "tiff", "png")
PATTERN = re.compile(rf"([^%]*)%0([1-9])d(\.(?:{'|'.join(SUFFIXES)}))", re.IGNORECASE)


def is_sequence(uri: str | Path) -> bool:
    """Whether an address is the pattern of a sequence."""
    return PATTERN.fullmatch(str(uri)) is not None


def numbers(pattern: str | Path, names: Iterable[str]) -> list[int]:
    """The numbers of the files of a pattern among the given addresses, in order."""
    match = PATTERN.fullmatch(str(pattern))
    assert match is not None
    stem, digits, suffix = match.groups()
    found = []
    for name in names:
        middle = name.removeprefix(stem).removesuffix(suffix)
        if middle.isdecimal() and name == f"{stem}{int(middle):0{digits}}{suffix}":
            found.append(int(middle))
    return sorted(found)
