"""Which pixels count as a defect."""

import torch

from models.fidelity.defect_map import (
    DEFECT_PROBABILITY,
    UNMATCHED_SHARE,
    defect_weight,
    match_weight,
    spike_log_odds,
)

NO_DEFECT, DEFECT = -20.0, 20.0  # logits


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


def test_a_spike_is_no_defect_without_agreeing_neighbours() -> None:
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


def test_surroundings_of_a_defect_belong_to_it() -> None:
    logits = torch.full((21, 21), NO_DEFECT)
    logits[10, 10] = DEFECT
    share = defect_weight(logits)
    assert share[7, 13] == 1 and share[10, 14] < 1e-6
    little, wholly = DEFECT_PROBABILITY
    for probability, share in ((little / 2, 0), ((little + wholly) / 2, 0.5), (wholly + 0.01, 1)):
        logits = torch.full((4, 4), probability).logit()
        torch.testing.assert_close(defect_weight(logits), torch.full((4, 4), float(share)))
