"""Where a transfer has no noise, nothing but defects may change."""

from itertools import pairwise

import pytest
import torch

from models.fidelity.change_bound import (
    CHANGE_PER_ERROR,
    CLEAN_CLIP_ERROR,
    LEAST_BOUND,
    MOST_ERROR_BOUND,
    NOISE_LEFT_BY_CODING,
    NOISE_OF_FULL_BOUND,
    NOISE_WITHOUT_BOUND,
    bound_change,
    filter_share,
)
from models.fidelity.damage_level import Nearest, noise_level
from models.fidelity.defect_map import (
    DEFECT_PROBABILITY,
    UNMATCHED_SHARE,
    defect_weight,
    match_weight,
    spike_log_odds,
)
from models.network import checkpoint
from models.network.stage import restore_window
from schemas.recipe import MODELS

HEIGHT, WIDTH = 96, 160
NO_DEFECT, DEFECT = -20.0, 20.0  # logits
NONE, SOME = NOISE_LEFT_BY_CODING


def moving(sigma: float, bars: bool = False, soft: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Five aligned frames of texture (``soft`` pixels wide) with grey noise of ``sigma`` code
    values, all matches believed.
    """
    rng = torch.Generator().manual_seed(0)
    rough = torch.rand(3, HEIGHT, WIDTH, generator=rng)
    scene = 0.3 + 0.4 * torch.nn.functional.avg_pool2d(rough, soft, 1, soft // 2)
    noise = torch.randn(5, 1, HEIGHT, WIDTH, generator=rng) * sigma / 255
    window = scene + noise
    if bars:  # 4:3 in 16:9, wider still
        window[..., : WIDTH // 5], window[..., -WIDTH // 5 :] = 0.0, 0.0
    return window, torch.ones(4, HEIGHT, WIDTH)


def level_of(window: torch.Tensor, trust: torch.Tensor) -> float | None:
    return noise_level(Nearest.of(window[None], trust[None]))


@pytest.mark.parametrize("bars", [False, True])
@pytest.mark.parametrize("sigma", [1.0, 5.0, 20.0])
def test_noise_is_measured_whatever_stands_beside_the_picture(sigma: float, bars: bool) -> None:
    level = level_of(*moving(sigma, bars))
    assert level is not None
    assert 0.85 < level / sigma < 1.02  # a low quantile


def test_noise_without_a_match_is_not_known() -> None:
    window, trust = moving(5.0)
    assert level_of(window, 0 * trust) is None
    assert level_of(0 * window, trust) is None


def test_a_change_beyond_the_noise_is_held_outside_defects() -> None:
    source = torch.full((3, 40, 60), 0.5)
    image = source + torch.linspace(-0.2, 0.2, 60)
    logits = torch.full((40, 60), NO_DEFECT)
    logits[:, 50:] = DEFECT
    for noise in (0.0, 1.0, NOISE_OF_FULL_BOUND):
        held = 255 * (bound_change(image, source, defect_weight(logits), noise, 0.0) - source)
        assert held[..., :40].abs().max() <= max(noise, LEAST_BOUND) + 1e-3
        assert torch.equal(held.sign(), (image - source).sign())
    assert torch.allclose(
        bound_change(image, source, defect_weight(logits), 1.0, 0.0)[..., 50:], image[..., 50:]
    )


@pytest.mark.parametrize(
    ("noise", "error", "bound"),
    [
        (0.0, 0.0, LEAST_BOUND),
        (SOME, MOST_ERROR_BOUND, MOST_ERROR_BOUND),
        (SOME, CLEAN_CLIP_ERROR, MOST_ERROR_BOUND),
        (SOME, CLEAN_CLIP_ERROR + 0.7, MOST_ERROR_BOUND + 0.7 * CHANGE_PER_ERROR),
        (NONE, 1.2, 1.2 + 1.2 * CHANGE_PER_ERROR),
        (0.0, CLEAN_CLIP_ERROR, MOST_ERROR_BOUND + CLEAN_CLIP_ERROR * CHANGE_PER_ERROR),
        (
            (NONE + SOME) / 2,
            CLEAN_CLIP_ERROR,
            MOST_ERROR_BOUND + CLEAN_CLIP_ERROR / 2 * CHANGE_PER_ERROR,
        ),
    ],
)
def test_a_told_error_lets_change_where_coding_left_no_noise(
    noise: float, error: float, bound: float
) -> None:
    source = torch.full((3, 24, 60), 0.5)
    image = source + torch.linspace(-1, 1, 60)
    logits = torch.full((24, 60), NO_DEFECT)
    held = 255 * (bound_change(image, source, defect_weight(logits), noise, error) - source).abs()
    assert held.max() == pytest.approx(bound, rel=0.01)


def speck(noise: float = 0.0, apart: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """The luma of a frame with a square of 3x3 that is 60 code values brighter, and of its nearest
    neighbours without, which differ by ``apart``; and the frame in grey without the square.
    """
    rng = torch.Generator().manual_seed(1)
    luma = 100 + noise * torch.randn(3, 24, 24, generator=rng)
    luma[2] += apart
    clean = luma[0].expand(3, 24, 24).clone()
    luma[0, 10:13, 10:13] += 60
    return luma / 255, clean / 255


def test_a_speck_that_the_network_takes_away_is_a_defect() -> None:
    luma, clean = speck()
    odds = spike_log_odds(luma, clean, 0.0)
    assert odds[11, 11] > 10
    assert odds.count_nonzero() == 9
    dark = spike_log_odds(1 - luma, 1 - clean, 0.0)
    torch.testing.assert_close(dark, odds)
    logits = torch.full((24, 24), -4.0)  # the network's map alone would not have found it
    assert defect_weight(logits).max() == 0
    assert defect_weight(logits + odds)[11, 11] == 1


def test_what_stands_out_is_no_defect_without_its_witnesses() -> None:
    luma, clean = speck()
    damaged = luma[:1].expand(3, 24, 24)
    assert spike_log_odds(luma, damaged, 0.0).max() == 0  # the network leaves it
    assert spike_log_odds(luma, 2 * damaged - clean, 0.0).max() == 0  # it goes the other way
    stays = luma.clone()
    stays[1] = luma[0]  # one neighbour has it as well
    assert spike_log_odds(stays, clean, 0.0).max() == 0
    assert spike_log_odds(*speck(apart=45.0), 0.0).max() == 0  # neighbours that do not agree
    noisy, restored_noise = speck(noise=10.0)
    restored_noise[:] = restored_noise.mean()
    assert (spike_log_odds(noisy, restored_noise, 10.0) > 0).sum() <= 9  # noise is not a speck


@pytest.mark.parametrize(
    ("noise", "error"), [(NOISE_WITHOUT_BOUND, 0.0), (25.0, 0.0), (None, NOISE_WITHOUT_BOUND)]
)
def test_nothing_is_held_where_there_is_noise(noise: float | None, error: float) -> None:
    image, source = torch.rand(2, 3, 16, 16)
    assert torch.equal(bound_change(image, source, torch.zeros(16, 16), noise, error), image)


def test_noise_that_is_not_known_is_taken_for_the_error_told() -> None:
    image, source = torch.rand(2, 3, 16, 16)
    none = torch.zeros(16, 16)
    for error in (0.0, 1.3):
        unknown = bound_change(image, source, none, None, error)
        assert torch.equal(unknown, bound_change(image, source, none, error, error))


def test_in_fast_motion_a_defect_needs_a_match_around_it() -> None:
    def trust(lost_rows: int) -> torch.Tensor:
        made = torch.full((4, 100, 80), 0.9)
        made[:, :lost_rows] = 0.0
        return made

    assert (
        match_weight(trust(int(100 * UNMATCHED_SHARE[0]))).min() == 1
    )  # dust, or a part of the frame
    fast = match_weight(trust(40))
    assert fast[:36].max() == 0 and fast[43:].min() == 1
    assert 0 < match_weight(trust(11))[0, 0] < 1  # no step between the two
    one_side = trust(40)
    one_side[1] = 0.9  # a neighbour that is uncovered matches on one side
    assert match_weight(one_side).min() == 1


@pytest.mark.parametrize(
    ("low", "high", "error"),
    [(NOISE_OF_FULL_BOUND - 0.2, NOISE_WITHOUT_BOUND, 0.0), (0.3, 1.2, 4.0)],
)
def test_the_bound_opens_without_a_step(low: float, high: float, error: float) -> None:
    """Frames whose noise is just below and above a limit must not look different."""
    source = torch.full((3, 16, 16), 0.5)
    image = source + torch.linspace(-20, 20, 16) / 255
    logits = torch.full((16, 16), NO_DEFECT)
    pictures = [
        bound_change(image, source, defect_weight(logits), float(level), error)
        for level in torch.linspace(low, high, 400)
    ]
    steps = [255 * float((a - b).abs().max()) for a, b in pairwise(pictures)]
    assert max(steps) < 0.5


def test_a_frame_is_filtered_as_far_as_it_is_impaired() -> None:
    assert filter_share(0.3, 0.0) == filter_share(None, 0.0) == 0
    assert (
        filter_share(NOISE_WITHOUT_BOUND, 0.0)
        == filter_share(0.3, MOST_ERROR_BOUND)
        == filter_share(None, 9.0)
        == 1
    )
    assert (
        filter_share((NOISE_OF_FULL_BOUND + NOISE_WITHOUT_BOUND) / 2, 0.0)
        == filter_share(0.3, MOST_ERROR_BOUND / 2)
        == 0.5
    )


def test_surroundings_of_a_defect_belong_to_it() -> None:
    logits = torch.full((21, 21), NO_DEFECT)
    logits[10, 10] = DEFECT
    share = defect_weight(logits)
    assert share[7, 13] == 1 and share[10, 14] < 1e-6
    little, wholly = DEFECT_PROBABILITY
    for probability, share in ((little / 2, 0), ((little + wholly) / 2, 0.5), (wholly + 0.01, 1)):
        logits = torch.full((4, 4), probability).logit()
        torch.testing.assert_close(defect_weight(logits), torch.full((4, 4), float(share)))


@pytest.mark.parametrize("size", MODELS)
def test_shipped_weights_leave_clean_texture_alone(size: str) -> None:
    net = checkpoint.load(checkpoint.shipped(size))
    window, trust = moving(0.0, soft=3)
    found = restore_window(net, window, trust, steps=1, seed=0)
    outside = found.defects < 0.01
    image = bound_change(found.image, window[0], found.defects, found.noise, found.predicted_error)
    change = 255 * (image - window[0]).abs().amax(0)
    assert outside.float().mean() > 0.5
    assert change[outside].max() < 3 * LEAST_BOUND  # what is left of the defects' share included
