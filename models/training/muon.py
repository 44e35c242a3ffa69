"""Muon: momentum whose update is orthogonalised, for the kernels of convolutions.

Every direction of a kernel's matrix moves by the same amount, so a short training gets further than
with AdamW (docs/experiments/2026-11-23-muon.md). Jordan et al., 2024, "Muon: an optimizer for
hidden layers in neural networks"; scale of the update by Liu et al., 2025, "Muon is scalable for
LLM training", equation 4, so that AdamW's learning rate and weight decay fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan et al.: steep at 0, then within 0.7-1.2 of 1
ROUNDS = 5
UPDATE_RMS = 0.2  # root mean square of AdamW's update, which the scale is matched to
LEAST_SIDE = 16  # matrices with a shorter side than this have too few directions


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised, with decoupled weight decay; parameters (out, ...) are
    taken as matrices (out, rest).
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient; ``closure`` is not used."""
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                average = state["momentum"].lerp_(parameter.grad, 1 - momentum)
                matrix = parameter.grad.lerp(average, momentum).flatten(1)
                update = orthogonal(matrix) * UPDATE_RMS * max(matrix.shape) ** 0.5
                parameter.mul_(1 - rate * group["weight_decay"])
                parameter.add_(update.reshape(parameter.shape), alpha=-rate)


def orthogonal(matrix: Tensor) -> Tensor:
    """Roughly ``U V^T`` of the singular value decomposition of (rows, columns).

    The polynomial is applied to the small Gram matrix and multiplied with the matrix once, which
    is the same in exact arithmetic and needs two large products instead of ten.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T).T
    a, b, c = NEWTON_SCHULZ
    matrix = matrix / (matrix.norm() + 1e-7)
    gram, eye = matrix @ matrix.T, torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    product = eye
    for _ in range(ROUNDS):
        polynomial = a * eye + b * gram + c * (gram @ gram)
        product, gram = polynomial @ product, polynomial @ gram @ polynomial
    return product @ matrix


def is_kernel(parameter: nn.Parameter) -> bool:
    """Whether Muon is for this parameter: a kernel (out, in, height, width), large enough."""
    sides = (len(parameter), parameter[0].numel()) if parameter.ndim == 4 else (0,)
    return min(sides) >= LEAST_SIDE
