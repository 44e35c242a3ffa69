"""Items of a stream together with those around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def neighbourhoods(items: Iterable[Item], reach: int) -> Iterator[dict[int, Item]]:
    """For every item in order, the items up to ``reach`` before and after it, by their offset.

    Offset 0 is the item itself; offsets beyond either end of the stream are absent. At most
    ``2 * reach + 1`` items are held, and an item comes ``reach`` items late.
    """
    held: dict[int, Item] = {}
    count = 0

    def around(centre: int) -> dict[int, Item]:
        held.pop(centre - reach - 1, None)
        return {at - centre: item for at, item in held.items()}

    for item in items:
        held[count] = item
        count += 1
        if count > reach:
            yield around(count - 1 - reach)
    for centre in range(max(count - reach, 0), count):
        yield around(centre)
