"""Items of a stream come with those around them."""

from collections.abc import Iterator

import pytest

from models.motion.neighbourhood import neighbourhoods


@pytest.mark.parametrize("count", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("reach", [0, 1, 3])
def test_every_item_has_its_neighbours_by_offset(count: int, reach: int) -> None:
    found = list(neighbourhoods(range(count), reach))
    assert found == [
        {k: at + k for k in range(-reach, reach + 1) if 0 <= at + k < count} for at in range(count)
    ]


def test_an_item_comes_as_soon_as_its_neighbours_are_there() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in range(6):
            read.append(item)
            yield item

    for around in neighbourhoods(items(), 2):
        assert read[-1] == min(around[0] + 2, 5)
