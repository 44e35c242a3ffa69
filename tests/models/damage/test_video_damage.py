"""Composite video, fields and files: each degradation has the statistic it promises."""

import numpy as np
import pytest

from models.damage.analogue import TO_RGB, TO_YCC
from models.damage.composite import NTSC_CYCLES, chroma_loss, colour_bleed, composite, noise_bars
from models.damage.digital import bit_depth, jpeg, packet_loss
from models.damage.interlacing import combing, field_blend, pulled_down, telecine, wrong_field_order
from models.damage.simulator import age, changed, quantise
from tests.support.pictures import grey, psnr, scene


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def ycc(clip: np.ndarray) -> np.ndarray:
    return clip @ TO_YCC.T


def coloured(cb: float = 0, cr: float = 40, frames: int = 2) -> np.ndarray:
    """A flat clip of luma 120 and that colour."""
    return grey(0, frames) + TO_RGB @ np.array([120, cb, cr], np.float32)


def numbered(frames: int = 10, height: int = 8) -> np.ndarray:
    """A clip whose level is the number of the frame."""
    levels = np.arange(frames, dtype=np.float32)[:, None, None, None]
    return levels * np.ones((1, height, 6, 3), np.float32)


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


def test_combing_weaves_the_next_picture_into_one_field() -> None:
    aged = combing(numbered(), rng(), lag=0.5)[..., 0, 0]
    lines = np.stack([aged[:-1, ::2].mean(1), aged[:-1, 1::2].mean(1)])
    assert sorted(np.ptp(lines - np.arange(9), axis=1)) == [0, 0]
    assert sorted((lines - np.arange(9)).mean(1)) == [0, 0.5]
    assert (aged[-1] == 9).all()
    later = {int(np.argmax(combing(numbered(), rng(s))[0, :2, 0, 0])) for s in range(20)}
    assert later == {0, 1}


def test_field_blend_mixes_the_next_picture_in() -> None:
    aged = field_blend(numbered(), rng(), 0.3)[:, 0, 0, 0]
    assert np.allclose(aged[:-1], np.arange(9) + 0.3)


def test_the_wrong_field_order_goes_back_and_forth() -> None:
    orders = {tuple(wrong_field_order(numbered(6), rng(s))[:, 0, 0, 0]) for s in range(20)}
    assert orders == {(1, 0, 3, 2, 5, 4), (0, 2, 1, 4, 3, 5)}
    ramp = np.arange(40, dtype=np.float32)[:, None, None] * np.ones((4, 1, 6, 3), np.float32)
    assert np.allclose(wrong_field_order(ramp.copy(), rng())[:, 2:-2], ramp[:, 2:-2])
    texture = grey(0, 4) + rng().normal(100, 20, (4, 128, 128, 1)).astype(np.float32)
    swapped = wrong_field_order(texture.copy(), rng(3))[1:3]
    kept = [(swapped == texture[t]).all((2, 3)).mean() for t in (2, 1)]
    assert sum(kept) > 0 and max(kept) <= 0.51  # one field of each picture, the rest interpolated


def test_telecine_combs_two_frames_of_five_and_drops_one_instant() -> None:
    cadence = [tuple(pulled_down(t, field, 0) for field in (0, 1)) for t in range(5)]
    assert cadence == [(0, 0), (0, 1), (1, 2), (2, 2), (3, 3)]
    for seed in range(6):
        aged = telecine(numbered(40), rng(seed))[..., 0, 0]
        combed = aged[5:, 0] != aged[5:, 1]
        assert combed.mean() == pytest.approx(2 / 5)
        assert len(np.unique(aged[5:35])) == pytest.approx(30 * 4 / 5, abs=1)
        late = np.arange(40)[:, None] - aged
        assert late.min() >= 0 and late.max() <= 1
        fields = np.unique(aged[:, :2], return_counts=True)[1][2:-2]
        assert set(fields) == {2, 3}


def test_lost_packets_are_rows_of_blocks_of_the_last_frame() -> None:
    clip = quantise(rng().uniform(0, 255, (60, 96, 64, 3))).astype(np.float32)
    aged = packet_loss(clip.copy(), rng(), 0.1, leak=0)
    marked = changed(clip, aged)
    rows = marked.reshape(60, 6, 16, 64).any((2, 3))
    assert rows[1:].mean() == pytest.approx(0.1, abs=0.03) and not rows[0].any()
    assert (aged[1:][marked[1:]] == aged[:-1][marked[1:]]).all()
    columns = marked.reshape(60, 6, 16, 64).any(2)[rows]  # to the end of the row
    assert columns[:, -16:].any(1).all()


def test_an_error_of_a_lost_packet_leaks_until_the_next_whole_picture() -> None:
    clip = numbered(60, 16) * 4 + 10
    error = (clip - packet_loss(clip.copy(), rng(2), 0.1, leak=0.5))[:, 0, -1, 0]
    halved = np.where(error >= 2, error / 2, 0)[:-1]
    lost = error[1:] == error[:-1] + 4  # the last frame is 4 grey levels away
    healed = error[1:] == 0
    assert lost.any() and (lost | healed | (error[1:] == halved)).all()
    kept = (clip - packet_loss(clip.copy(), rng(2), 0.1, leak=1))[:, 0, -1, 0]
    whole = np.flatnonzero((kept[1:] == 0) & (kept[:-1] > 0))
    assert len(whole) > 1 and set(np.diff(whole) % 12) == {0}


@pytest.mark.parametrize("bits", [5, 6, 7, 8])
def test_bit_depth_leaves_that_many_levels(bits: int) -> None:
    clip = rng().uniform(0, 255, (2, 128, 128, 3)).astype(np.float32)
    coarse = bit_depth(clip.copy(), rng(), bits)
    assert len(np.unique(coarse)) == 2**bits
    step = 255 / (2**bits - 1)
    assert (coarse - clip).std() == pytest.approx(step / np.sqrt(12), rel=0.03)


def test_jpeg_is_better_with_higher_quality_and_keeps_colours() -> None:
    clip = scene(2)
    values = [
        psnr(jpeg(clip.astype(np.float32), rng(), quality, 0), clip)
        for quality in (10, 30, 50, 70, 90)
    ]
    assert (np.diff(values) > 0.5).all() and values[0] > 20
    flat = coloured(-20, 40)
    assert np.abs(jpeg(flat.copy(), rng(), 90) - flat).max() < 4
    wandering = jpeg(np.repeat(clip[:1], 6, 0).astype(np.float32), rng(), 50, 10)
    assert len({frame.tobytes() for frame in wandering}) > 3


def test_worn_and_scan_stay_watchable() -> None:
    clip = scene(6, 96, 128)
    for preset in ("worn", "scan"):
        results = [age(clip, preset, seed) for seed in range(16)]
        values = [psnr(aged.frames, aged.target) for aged in results]
        assert 17 < np.median(values) < 32
        assert min(values) > 6
        assert len({key for aged in results for key in aged.severity}) > 15
