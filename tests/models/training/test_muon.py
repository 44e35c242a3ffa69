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


def test_muon_is_for_kernels_only() -> None:
    named = dict(RestorationNet("fast", severe=True).named_parameters())
    taken = {name for name, parameter in named.items() if is_kernel(parameter)}
    assert "denoiser.mid.0.conv1.weight" in taken
    assert not any("film" in name or "bias" in name or "embed" in name for name in taken)
