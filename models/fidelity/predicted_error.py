"""The mean error of a frame as the network predicts it, and the scale it predicts on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

ERROR_BLOCK = 16  # pixels: side of the squares for which the source's error is predicted


def error_scale(error: Tensor) -> Tensor:
    """log2(1 + code values) / 4 of a mean absolute error of [0, 1] images: the network's scale."""
    return torch.log2(1 + 255 * error) / 4


def predicted_error(planes: Tensor) -> Tensor:
    """Mean error of a frame in code values from the network's plane (H, W): median over squares.

    It has no dimension. A square with a pixel that is not a number does not count; without any
    other square the error is 0.
    """
    block = min(ERROR_BLOCK, *planes.shape)
    middle = F.avg_pool2d(planes[None], block).nanmedian()
    return (2 ** (4 * middle.nan_to_num(0.0)) - 1).double()
