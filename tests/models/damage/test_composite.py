"""Composite video: each degradation has the statistic it promises."""

import numpy as np
import pytest

from models.damage.analogue import TO_YCC
from models.damage.composite import NTSC_CYCLES, chroma_loss, colour_bleed, composite, noise_bars
from models.damage.simulator import changed
from tests.support.media.pictures import coloured, grey, rng, scene


def ycc(clip: np.ndarray) -> np.ndarray:
    return clip @ TO_YCC.T


def test_dots_have_the_amplitude_of_what_the_notch_leaves() -> None:
    aged = ycc(composite(coloured(30, 40), rng(), notch=0.8))
    dots = aged[..., 0] - 120
    assert dots.std() == pytest.approx(0.2 * 50 / np.sqrt(2), rel=0.03)
    assert np.allclose(aged[..., 1:].mean((0, 1, 2)), [30, 40], atol=0.3)
    assert np.allclose(dots[:, 1:], -dots[:, :-1], atol=0.1)  # from line to line ...
    assert np.allclose(dots[1:], -dots[:-1], atol=0.1)  # ... and from frame to frame
    assert np.allclose(composite(grey(90), rng()), 90, atol=0.3)


def test_fine_stripes_become_rainbows() -> None:
    clip = grey(128, frames=1)
    stripes = 40 * np.cos(2 * np.pi * NTSC_CYCLES * np.arange(128))
    clip += stripes[:, None].astype(np.float32)
    colour = ycc(composite(clip, rng()))[0, 8:-8, 32:-32, 1:]
    assert np.hypot(colour[..., 0], colour[..., 1]).mean() == pytest.approx(40, rel=0.05)
    wide = grey(128, frames=1)
    wide += (40 * np.cos(2 * np.pi * 0.05 * np.arange(128)))[:, None].astype(np.float32)
    assert np.abs(ycc(composite(wide, rng()))[0, 8:-8, 32:-32, 1:]).max() < 4


@pytest.mark.parametrize("axis", [0, 1])
def test_colour_bleeds_one_way_and_luma_stays(axis: int) -> None:
    clip = coloured(0, 0, 1)
    place = (0, slice(None), 60) if axis == 1 else (0, 60)
    clip[place] = coloured(0, 50, 1)[0, 0, 0]
    aged = ycc(colour_bleed(clip, rng(), *((5, 0.01) if axis == 1 else (0.01, 5))))
    trail = aged[0, 40, :, 2] if axis == 1 else aged[0, :, 40, 2]
    assert np.allclose(aged[..., 0], 120, atol=0.01)
    assert np.abs(trail[:60]).max() < 0.01
    assert trail.sum() == pytest.approx(50, rel=0.01)
    assert trail[66] / trail[61] == pytest.approx(np.exp(-1), rel=0.01)


def test_chroma_is_lost_on_its_share_of_lines_in_runs() -> None:
    clip = coloured(frames=300)[:, :, :4]
    aged = ycc(chroma_loss(clip.copy(), rng(), 0.05, 3))
    lost = np.abs(aged[..., 2]).max(2) < 0.01
    assert lost.mean() == pytest.approx(0.05, rel=0.15)
    runs = (lost[:, 1:] & ~lost[:, :-1]).sum()
    assert lost[:, 1:].sum() / runs == pytest.approx(3, rel=0.15)
    assert np.allclose(aged[..., 0], 120, atol=0.01)
    assert np.allclose(aged[~lost][..., 2], 40, atol=0.01)


def test_noise_bars_have_their_height_and_drift() -> None:
    clip = scene(40, 200, 120).astype(np.float32)
    aged = noise_bars(clip.copy(), rng(), 1, 0.08, 5, 12)
    lines = changed(clip, aged).any(2)
    assert lines.mean() == pytest.approx(0.08, abs=0.01)
    angle = np.exp(2j * np.pi * np.arange(200) / 200)
    middle = np.unwrap(np.angle((lines * angle).sum(1))) * 200 / (2 * np.pi)
    assert np.diff(middle).mean() == pytest.approx(5, abs=0.2)
    assert changed(clip, aged)[lines].mean() > 0.8
    assert np.ptp(aged[lines], axis=2).max() < 0.01  # no colour in the bars
