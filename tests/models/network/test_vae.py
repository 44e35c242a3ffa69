"""The linear VAE: its closed form is the optimum."""

import pytest
import torch

from models.network.vae import BLOCK_VALUES, LinearVAE


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Smooth random images: their blocks have a few strong components."""
    rng = torch.Generator().manual_seed(3)
    coarse = torch.rand(64, 3, 8, 8, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic").clamp(0, 1)
    return smooth + 0.01 * torch.randn(smooth.shape, generator=rng)


def test_the_fitted_basis_is_orthonormal_and_beats_a_random_one(images: torch.Tensor) -> None:
    vae = LinearVAE(24)
    vae.fit(images[:48])
    assert torch.allclose(vae.basis @ vae.basis.t(), torch.eye(24), atol=1e-5)
    other = LinearVAE(24)
    other.fit(torch.rand(8, 3, 64, 64))
    held_out = images[48:]
    error = (vae.decode(vae.encode(held_out)) - held_out).square().mean()
    assert error < 0.5 * (other.decode(other.encode(held_out)) - held_out).square().mean()
    assert error == pytest.approx(0.0001 * 24 / BLOCK_VALUES, rel=0.2)  # only noise is left outside


def test_the_fit_is_the_elbo_optimum(images: torch.Tensor) -> None:
    vae = LinearVAE(24)
    vae.fit(images)
    best = vae.elbo_bits_per_dim(images)
    for name, factor in (("sigma2", 1.3), ("sigma2", 0.7), ("variance", 1.3), ("variance", 0.7)):
        kept = getattr(vae, name).clone()
        getattr(vae, name).mul_(factor)
        assert vae.elbo_bits_per_dim(images) > best
        getattr(vae, name).copy_(kept)


def test_latent_distance_is_pixel_distance(images: torch.Tensor) -> None:
    vae = LinearVAE(48)  # all components: a rotation
    vae.fit(images)
    a, b = images[:1], images[1:2]
    assert float((vae.encode(a) - vae.encode(b)).norm()) == pytest.approx(
        float((a - b).norm()), rel=1e-4
    )
