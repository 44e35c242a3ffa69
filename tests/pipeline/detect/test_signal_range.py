"""Signal range compared with what is declared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.detect.signal_range import LevelMeter
from schemas.errors import ClipFault
from schemas.reasons import Reason
from schemas.recipe import Recipe
from tests.support.media.interlaced import HEIGHT, WIDTH, write_planes
from tests.support.media.probes import PROBE
from tests.support.studio import Studio

PAL = replace(PROBE, width=WIDTH, height=HEIGHT, field_order="tt")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("studio"), Recipe(strength=0.0))


def levels(low: int, high: int, share: float = 0.1) -> np.ndarray:
    """A luma plane between two levels, with a share of its samples at each of them."""
    ramp = np.linspace(low, high, WIDTH * HEIGHT)
    ends = int(share * ramp.size)
    ramp[:ends], ramp[-ends:] = low, high
    return np.random.default_rng(0).permutation(ramp).reshape(HEIGHT, WIDTH).astype(np.uint8)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0, 255, "full"),
        (16, 235, "limited"),
        (16, 254, "unknown"),  # whites above white, as cameras make them
        (0, 235, "unknown"),  # borders below black
        (40, 200, "unknown"),
    ],
)
def test_levels_show_their_range(low: int, high: int, verdict: str) -> None:
    meter = LevelMeter()
    meter.add(levels(low, high))
    assert meter.verdict == verdict


@pytest.mark.parametrize(
    ("declared", "ends", "held"),
    [(1, (0, 255), True), (2, (16, 235), True), (0, (0, 255), False), (2, (0, 255), False),
     (1, (16, 254), False)],
)  # fmt: skip
def test_a_disagreement_on_range_holds_the_clip(
    declared: int, ends: tuple[int, int], held: bool, studio: Studio, tmp_path: Path
) -> None:
    probe = replace(PAL, field_order="progressive", color_range=declared)
    neutral = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    source = write_planes(tmp_path / "clip.mkv", probe, [[levels(*ends), neutral, neutral]] * 3)
    if not held:
        assert studio.survey(source).probe.color_range == declared
        return
    with pytest.raises(ClipFault, match=r"declared (limited|full) range, but") as fault:
        studio.survey(source)
    assert fault.value.reason is Reason.RANGE_DISAGREES
