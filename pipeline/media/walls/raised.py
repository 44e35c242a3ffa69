"""All walls around this process, in the order in which they can be raised.

Each stands by itself: what one lets through, another holds. A wall that the kernel does not offer
is missing, and the others stand.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from pipeline.media.walls import calls, files, privileges
from pipeline.media.walls.kernel import MissingWall
from schemas.errors import ArchiveError

T = TypeVar("T")
VARIABLE = "ARCHIVE_RESTORE_WALLS"
# What each wall holds. The names are those of `ARCHIVE_RESTORE_WALLS`.
WALLS = {
    "network": "a network of its own, which is empty",
    "privileges": "no privileges, and none to be had",
    "files": "only its own files (Landlock)",
    "scopes": "no TCP ports, no signals to others (Landlock)",
    "calls": "no sockets, programs, processes, or memory of others (seccomp)",
}


def raise_walls(readable: Sequence[str | Path], writable: Sequence[str]) -> dict[str, str]:
    """Leave this process nothing but these files, for ever. Returns {missing wall: why}.

    `readable`: files, and folders whose names may be listed. `writable`: files that exist.
    """
    missing: dict[str, str] = {}
    rules = _tried("files", missing, lambda: _rules(readable, writable))
    _tried("network", missing, privileges.leave_network)
    needed = (*readable, *libraries())
    _tried("privileges", missing, lambda: privileges.drop(needed, writable))
    if rules is not None:
        _tried("files", missing, rules.enforce)
        if rules.abi < files.SCOPES_ABI:
            missing["scopes"] = f"Landlock {rules.abi} knows none, version {files.SCOPES_ABI} does"
    if "files" in missing:
        missing["scopes"] = missing["files"]
    _tried("calls", missing, calls.enforce)
    return {name: missing[name] for name in WALLS if name in missing}


def wanted() -> list[str]:
    """The walls that `ARCHIVE_RESTORE_WALLS` asks for: names, or `all`. Raises ArchiveError."""
    names = os.environ.get(VARIABLE, "").split()
    unknown = [name for name in names if name not in WALLS and name != "all"]
    if unknown:
        known = ", ".join(("all", *WALLS))
        raise ArchiveError(f"{VARIABLE} names {unknown[0]}, which is none of: {known}")
    return list(WALLS) if "all" in names else names


def libraries() -> list[str]:
    """The folders that code may still be imported from: Python's own, and packages in use."""
    return _libraries(len(sys.modules))


@lru_cache(maxsize=1)
def _libraries(_modules: int) -> list[str]:
    own = os.path.dirname(os.path.realpath(os.__file__))
    found = {own}
    for name, module in list(sys.modules.items()):
        if "." not in name:
            places = map(os.path.realpath, getattr(module, "__path__", ()))
            found.update(place for place in places if not place.startswith(f"{own}/"))
    return sorted(found)


def _rules(readable: Sequence[str | Path], writable: Sequence[str]) -> files.Rules:
    rules = files.Rules()
    rules.read(libraries())
    for path in readable:
        if Path(path).is_dir():
            rules.list(path)
        else:
            rules.read([path])
    for path in writable:
        rules.write(path)
    return rules


def _tried(name: str, missing: dict[str, str], work: Callable[[], T]) -> T | None:
    try:
        return work()
    except MissingWall as error:
        missing[name] = str(error)
        return None
