"""Where a transfer has no noise, nothing but defects may change."""

from itertools import pairwise

import pytest
import torch

from models import checkpoint
from models.restraint import (
    BAD,
    CODED,
    FAST,
    LEAST,
    LOUD,
    OPENS,
    QUIET,
    SURE_CODED,
    checked,
    defects_in,
    restrained,
)
from models.severity import noise_level
from models.tiling import restored

HEIGHT, WIDTH = 96, 160
NO_DEFECT, DEFECT = -20.0, 20.0  # logits


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


@pytest.mark.parametrize("bars", [False, True])
@pytest.mark.parametrize("sigma", [1.0, 5.0, 20.0])
def test_noise_is_measured_whatever_stands_beside_the_picture(sigma: float, bars: bool) -> None:
    level = noise_level(*moving(sigma, bars))
    assert level is not None
    assert 0.85 < level / sigma < 1.02  # a low quantile


def test_noise_without_a_match_is_not_known() -> None:
    window, trust = moving(5.0)
    assert noise_level(window, 0 * trust) is None
    assert noise_level(0 * window, trust) is None


def test_a_change_beyond_the_noise_is_held_outside_defects() -> None:
    source = torch.full((3, 40, 60), 0.5)
    image = source + torch.linspace(-0.2, 0.2, 60)
    logits = torch.full((40, 60), NO_DEFECT)
    logits[:, 50:] = DEFECT
    for noise in (0.0, 1.0, QUIET):
        held = 255 * (restrained(image, source, defects_in(logits, 0.0), noise, 0.0) - source)
        assert held[..., :40].abs().max() <= max(noise, LEAST) + 1e-3
        assert torch.equal(held.sign(), (image - source).sign())
    assert torch.allclose(
        restrained(image, source, defects_in(logits, 0.0), 1.0, 0.0)[..., 50:], image[..., 50:]
    )


@pytest.mark.parametrize(
    ("error", "bound"),
    [(0.0, LEAST), (1.2, 1.2), (BAD, CODED), (BAD + 0.7, CODED + 0.7 * OPENS)],
)
def test_a_told_error_lets_change_up_to_a_limit(error: float, bound: float) -> None:
    source = torch.full((3, 24, 60), 0.5)
    image = source + torch.linspace(-0.2, 0.2, 60)
    logits = torch.full((24, 60), NO_DEFECT)
    held = 255 * (restrained(image, source, defects_in(logits, error), 0.0, error) - source).abs()
    assert held.max() == pytest.approx(bound, rel=0.01)


def test_in_a_frame_told_to_be_badly_coded_a_defect_has_to_be_surer() -> None:
    likely = torch.full((8, 8), sum(SURE_CODED) / 2).logit()
    shares = [float(defects_in(likely, error).mean()) for error in (-1.0, 0.0, 1.2, CODED, 9.0)]
    assert shares[0] == shares[1] == 1
    assert shares[1] > shares[2] > shares[3] == shares[4] == pytest.approx(0.5, abs=1e-5)
    assert defects_in(torch.full((8, 8), DEFECT), 9.0).min() == 1  # a sure one counts everywhere


@pytest.mark.parametrize(("noise", "error"), [(LOUD, 0.0), (25.0, 0.0), (None, LOUD)])
def test_nothing_is_held_where_there_is_noise(noise: float | None, error: float) -> None:
    image, source = torch.rand(2, 3, 16, 16)
    assert torch.equal(restrained(image, source, torch.zeros(16, 16), noise, error), image)


def test_noise_that_is_not_known_is_taken_for_the_error_told() -> None:
    image, source = torch.rand(2, 3, 16, 16)
    none = torch.zeros(16, 16)
    for error in (0.0, 1.3):
        unknown = restrained(image, source, none, None, error)
        assert torch.equal(unknown, restrained(image, source, none, error, error))


def test_in_fast_motion_a_defect_needs_a_match_around_it() -> None:
    def trust(lost_rows: int) -> torch.Tensor:
        made = torch.full((4, 100, 80), 0.9)
        made[:, :lost_rows] = 0.0
        return made

    assert checked(trust(int(100 * FAST[0]))).min() == 1  # dust, or a part of the frame
    fast = checked(trust(40))
    assert fast[:36].max() == 0 and fast[43:].min() == 1
    assert 0 < checked(trust(11))[0, 0] < 1  # no step between the two
    one_side = trust(40)
    one_side[1] = 0.9  # a neighbour that is uncovered matches on one side
    assert checked(one_side).min() == 1


def test_the_bound_opens_without_a_step() -> None:
    """Frames whose noise is just below and above LOUD must not look different."""
    source = torch.full((3, 16, 16), 0.5)
    image = source + torch.linspace(-20, 20, 16) / 255
    logits = torch.full((16, 16), NO_DEFECT)
    levels = torch.linspace(QUIET - 0.2, LOUD, 400)
    pictures = [
        restrained(image, source, defects_in(logits, 0.0), float(level), 0.0) for level in levels
    ]
    steps = [255 * float((a - b).abs().max()) for a, b in pairwise(pictures)]
    assert max(steps) < 0.5


def test_surroundings_of_a_defect_belong_to_it() -> None:
    logits = torch.full((21, 21), NO_DEFECT)
    logits[10, 10] = DEFECT
    share = defects_in(logits, 0.0)
    assert share[7, 13] == 1 and share[10, 14] < 1e-6
    for probability, share in ((0.1, 0), (0.4, 0.5), (0.7, 1)):
        logits = torch.full((4, 4), probability).logit()
        torch.testing.assert_close(defects_in(logits, 0.0), torch.full((4, 4), float(share)))


@pytest.mark.parametrize("size", ["fast", "base"])
def test_shipped_weights_leave_clean_texture_alone(size: str) -> None:
    net = checkpoint.load(checkpoint.shipped(size))
    window, trust = moving(0.0, soft=3)
    pictures = restored(net, window, trust, steps=1, seed=0)
    outside = defects_in(pictures.defect_logits, 0.0) < 0.01
    change = 255 * (pictures.image - window[0]).abs().amax(0)
    assert outside.float().mean() > 0.5
    assert change[outside].max() < 3 * LEAST  # what is left of the defects' share included
