"""The latent space: a linear VAE over 4x4 RGB blocks at its ELBO optimum, in closed form.

The ELBO optimum of a linear VAE is probabilistic PCA (Lucas, Tucker, Grosse and Norouzi, NeurIPS
2019), whose maximum-likelihood solution is known (Tipping and Bishop, JRSS B 1999, equations 7-9).
The basis is orthonormal: a latent distance is a pixel distance, and noise keeps its standard
deviation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.network.precision import single

LATENT_BLOCK = 4  # pixels: side of a block
BLOCK_VALUES = 3 * LATENT_BLOCK * LATENT_BLOCK
CHANNELS = 24  # of a latent


class LinearVAE(nn.Module):
    """Encoder mean, decoder and variances of pPCA; all are buffers, fitted once and then frozen.

    Images are (B, 3, H, W) in [0, 1] with H and W multiples of 4; latents (B, channels, H/4, W/4).
    """

    basis: Tensor
    mean: Tensor
    variance: Tensor
    sigma2: Tensor

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("basis", torch.eye(channels, BLOCK_VALUES))  # orthonormal rows
        self.register_buffer("mean", torch.full((BLOCK_VALUES,), 0.5))
        self.register_buffer("variance", torch.ones(channels))  # per component, over the data
        self.register_buffer("sigma2", torch.ones(()))  # noise variance outside the basis (eq. 8)

    def encode(self, image: Tensor) -> Tensor:
        """Latent of an image: orthonormal projection.

        This is the posterior mean without its shrinkage, which is below 0.1 % here.
        """
        kernels = self.basis.reshape(self.channels, 3, LATENT_BLOCK, LATENT_BLOCK)
        with single(image.device):
            return F.conv2d(image, kernels, -self.basis @ self.mean, stride=LATENT_BLOCK)

    def decode(self, latent: Tensor) -> Tensor:
        """Image of a latent: mean of p(x | z)."""
        with single(latent.device):
            blocks = F.conv2d(latent, self.basis.t()[:, :, None, None]) + self.mean[:, None, None]
        return F.pixel_shuffle(blocks, LATENT_BLOCK)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Fit by maximum-likelihood pPCA of (N, 3, H, W) images.

        Tipping and Bishop, equations 7 and 8.
        """
        blocks = F.pixel_unshuffle(images.double(), LATENT_BLOCK)
        blocks = blocks.movedim(1, -1).reshape(-1, BLOCK_VALUES)
        mean = blocks.mean(0)
        centred = blocks - mean
        covariance = centred.t() @ centred / len(centred)
        eigenvalues, vectors = torch.linalg.eigh(covariance)
        eigenvalues, vectors = eigenvalues.flip(0), vectors.flip(1)
        sums = vectors.sum(0)
        signs = torch.sign(sums) + (sums == 0)  # one sign convention: reproducible
        self.basis.copy_((vectors * signs)[:, : self.channels].t())
        self.mean.copy_(mean)
        self.variance.copy_(eigenvalues[: self.channels])
        self.sigma2.copy_(eigenvalues[self.channels :].mean().clamp_min(1e-8))

    @torch.no_grad()
    def elbo_bits_per_dim(self, images: Tensor) -> float:
        """Negative ELBO of (N, 3, H, W) images in bits per 8-bit value; tight for pPCA.

        It is log N(x; mean, C) with C = W W' + sigma^2 I, computed through the basis (Tipping and
        Bishop, equation 4).
        """
        blocks = F.pixel_unshuffle(images, LATENT_BLOCK) - self.mean[:, None, None]
        z = F.conv2d(blocks, self.basis[:, :, None, None])
        inside = (z.square() / self.variance[:, None, None]).sum(1).mean()
        outside = (blocks.square().sum(1) - z.square().sum(1)).mean() / self.sigma2
        log_det = self.variance.log().sum() + (BLOCK_VALUES - self.channels) * self.sigma2.log()
        nats = 0.5 * (inside + outside + log_det + BLOCK_VALUES * math.log(2 * math.pi))
        return float(nats / BLOCK_VALUES / math.log(2) + 8)
