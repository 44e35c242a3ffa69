"""Damage to files: packets, bits and JPEG."""

import numpy as np
import pytest

from models.damage.digital import bit_depth, jpeg, packet_loss
from models.damage.simulator import changed, quantise
from tests.support.media.pictures import coloured, psnr, rng, scene


def numbered(frames: int = 10, height: int = 8) -> np.ndarray:
    """A clip whose level is the number of the frame."""
    levels = np.arange(frames, dtype=np.float32)[:, None, None, None]
    return levels * np.ones((1, height, 6, 3), np.float32)


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
