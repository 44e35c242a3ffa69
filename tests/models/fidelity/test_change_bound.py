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
from models.fidelity.defect_map import (
    defect_weight,
)
from models.network import checkpoint
from models.network.stage import restore_window
from schemas.recipe import MODELS
from tests.support.networks import moving

NO_DEFECT, DEFECT = -20.0, 20.0  # logits


NONE, SOME = NOISE_LEFT_BY_CODING


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
def test_a_predicted_error_allows_change_where_coding_left_no_noise(
    noise: float, error: float, bound: float
) -> None:
    source = torch.full((3, 24, 60), 0.5)
    image = source + torch.linspace(-1, 1, 60)
    logits = torch.full((24, 60), NO_DEFECT)
    held = 255 * (bound_change(image, source, defect_weight(logits), noise, error) - source).abs()
    assert held.max() == pytest.approx(bound, rel=0.01)


def test_a_predicted_error_allows_little_at_the_edges_of_the_frame() -> None:
    source = torch.full((3, 24, 60), 0.5)
    image = source + 0.2
    held = 255 * (bound_change(image, source, torch.zeros(24, 60), 0.0, CLEAN_CLIP_ERROR) - source)
    outer = torch.ones(24, 60, dtype=torch.bool)
    outer[2:-2, 2:-2] = False
    assert held[:, outer].max() == pytest.approx(MOST_ERROR_BOUND, rel=0.01)
    assert held[:, ~outer].min() > 3 * MOST_ERROR_BOUND


@pytest.mark.parametrize(
    ("noise", "error"), [(NOISE_WITHOUT_BOUND, 0.0), (25.0, 0.0), (None, NOISE_WITHOUT_BOUND)]
)
def test_nothing_is_held_where_there_is_noise(noise: float | None, error: float) -> None:
    image, source = torch.rand(2, 3, 16, 16)
    assert torch.equal(bound_change(image, source, torch.zeros(16, 16), noise, error), image)


def test_unknown_noise_counts_as_the_predicted_error() -> None:
    image, source = torch.rand(2, 3, 16, 16)
    none = torch.zeros(16, 16)
    for error in (0.0, 1.3):
        unknown = bound_change(image, source, none, None, error)
        assert torch.equal(unknown, bound_change(image, source, none, error, error))


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


def test_noise_and_predicted_error_set_the_filter_share() -> None:
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


@pytest.mark.parametrize("size", MODELS)
def test_shipped_weights_leave_clean_texture_alone(size: str) -> None:
    net = checkpoint.load(checkpoint.shipped(size))
    window, trust = moving(0.0, soft=3)
    found = restore_window(net, window, trust, steps=1, seed=0)
    outside = found.defects < 0.01
    noise, error = float(found.noise), float(found.predicted_error)
    image = bound_change(found.image, window[0], found.defects, noise, error)
    change = 255 * (image - window[0]).abs().amax(0)
    assert outside.float().mean() > 0.5
    assert change[outside].max() < 3 * LEAST_BOUND  # what is left of the defects' share included
