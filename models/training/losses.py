"""The losses of a training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from models.fidelity.predicted_error import ERROR_BLOCK, error_scale
from models.network.unet import NetworkOutput
from models.training.config import TrainConfig
from models.training.dataset import Batch

TERMS = ("total", "pixel", "latent", "defects", "error")


def charbonnier(difference: Tensor, eps: float) -> Tensor:
    """sqrt(d^2 + eps^2) (Charbonnier et al., ICIP 1994): L1 with a smooth floor."""
    return (difference.square() + eps * eps).sqrt()


def loss_of(
    output: NetworkOutput, batch: Batch, latent: Tensor, config: TrainConfig
) -> dict[str, Tensor]:
    """The terms of the training loss and their weighted sum ``total``.

    The least mean square error is at the posterior mean, which has the highest PSNR. Its root per
    sample keeps the worst samples from dominating.
    """
    contested = torch.maximum(batch.defects, batch.things)
    weight, eps = 1 + (config.defect_weight - 1) * contested, config.charbonnier
    off = output.image - batch.clean
    if config.pixel_loss == "square":
        pixel = ((off.square() * weight).mean((1, 2, 3)) + eps * eps).sqrt().mean()
    else:
        pixel = (charbonnier(off, eps) * weight).mean()
    in_latent = charbonnier(output.latent - latent, eps).mean()
    defects = F.binary_cross_entropy_with_logits(output.defect_logits, batch.defects)
    damage = (batch.window[:, 0] - batch.clean).abs().mean(1, keepdim=True)
    predicted = F.avg_pool2d(output.error, ERROR_BLOCK)
    error = (predicted - error_scale(F.avg_pool2d(damage, ERROR_BLOCK))).abs().mean()
    total = pixel + config.latent_weight * in_latent
    total = total + config.defect_map_weight * defects + config.error_weight * error
    terms = {"pixel": pixel, "latent": in_latent, "defects": defects, "error": error}
    return {"total": total, **terms}
