"""Muon: the orthogonal update and the parameters it is for."""

import pytest
import torch

from models.network.unet import RestorationNet
from models.training.muon import UPDATE_RMS, Muon, is_kernel, orthogonal


@pytest.mark.parametrize("shape", [(24, 96), (96, 24), (32, 32)])
def test_an_orthogonal_update_keeps_the_directions_and_evens_their_sizes(
    shape: tuple[int, int],
) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    left, sizes, right = torch.linalg.svd(matrix, full_matrices=False)
    evened = left.T @ orthogonal(matrix) @ right.T
    assert sizes.max() / sizes.min() > 2
    assert torch.allclose(evened, torch.diag(evened.diagonal()), atol=1e-4)
    assert 0.6 < evened.diagonal().min() and evened.diagonal().max() < 1.3


def test_the_orthogonal_update_moves_weights_as_far_as_adamw_would() -> None:
    torch.manual_seed(0)
    kernel = torch.nn.Parameter(torch.randn(32, 16, 3, 3))
    before, kernel.grad = kernel.detach().clone(), torch.randn_like(kernel)
    Muon([kernel], lr=0.01).step()
    moved = (kernel.detach() - before).square().mean().sqrt()
    assert 0.8 < moved / (0.01 * UPDATE_RMS) < 1.2


def kernels() -> list[torch.nn.Parameter]:
    """Kernels of three shapes, two of one matrix shape, with gradients."""
    torch.manual_seed(1)
    shapes = [(32, 16, 3, 3), (24, 32, 3, 3), (32, 16, 3, 3), (144, 32, 1, 1), (32, 144, 1, 1)]
    found = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    for parameter in found:
        parameter.grad = torch.randn_like(parameter)
    return found


def test_kernels_of_one_shape_move_together_as_they_would_alone() -> None:
    together, alone = kernels(), kernels()
    one = Muon(together, lr=0.02, weight_decay=0.1)
    each = [Muon([parameter], lr=0.02, weight_decay=0.1) for parameter in alone]
    for _ in range(3):
        one.step()
        for optimiser in each:
            optimiser.step()
    for moved, expected, start in zip(together, alone, kernels(), strict=True):
        torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-5)
        assert (moved - start).abs().mean() > 1e-3


def test_a_step_that_is_not_finite_changes_nothing() -> None:
    moved = kernels()
    optimiser = Muon(moved, lr=torch.tensor(0.02), weight_decay=0.1)
    optimiser.found_inf = torch.zeros(())
    optimiser.step()
    before = [p.detach().clone() for p in moved]
    momenta = [optimiser.state[p]["momentum"].clone() for p in moved]
    for parameter in moved:
        parameter.grad = torch.full_like(parameter, torch.nan)
    optimiser.found_inf = torch.ones(())
    optimiser.step()
    for parameter, was, momentum in zip(moved, before, momenta, strict=True):
        assert torch.equal(parameter, was)
        assert torch.equal(optimiser.state[parameter]["momentum"], momentum)


def test_muon_is_for_kernels_only() -> None:
    named = dict(RestorationNet("fast", severe=True).named_parameters())
    taken = {name for name, parameter in named.items() if is_kernel(parameter)}
    assert "denoiser.mid.0.conv1.weight" in taken
    assert not any("film" in name or "bias" in name or "embed" in name for name in taken)
