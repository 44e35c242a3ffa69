"""Muon: momentum with an orthogonalised update, for the kernels of convolutions.

Every direction of a kernel's matrix moves by the same amount, so a short training gets further than
with AdamW (docs/experiments/2026-11-23-muon.md). Jordan et al., 2024, "Muon: an optimizer for
hidden layers in neural networks". The update is scaled after Liu et al., 2025, "Muon is scalable
for LLM training", equation 4, so that AdamW's learning rate and weight decay fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan et al.: steep at 0, then within 0.7-1.2 of 1
ROUNDS = 5
UPDATE_RMS = 0.2  # root mean square of AdamW's update; this update is scaled to it
LEAST_SIDE = 16  # shortest side of a matrix with enough directions


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum with decoupled weight decay.

    Parameters (out, ...) count as matrices (out, rest). Matrices of one shape are orthogonalised
    together. As in PyTorch's fused optimisers, a step with ``found_inf`` 1 changes nothing, and the
    host does not wait for it.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float | Tensor,
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
            if self.found_inf is not None:
                rate = rate * (1 - self.found_inf)
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.flatten(1).shape, []).append(parameter)
            for shape, alike in by_shape.items():
                matrices = torch.stack([self._direction(p, momentum).flatten(1) for p in alike])
                updates = orthogonal(matrices) * (UPDATE_RMS * max(shape) ** 0.5 * rate)
                for parameter, update in zip(alike, updates, strict=True):
                    parameter.mul_(1 - rate * group["weight_decay"])
                    parameter.sub_(update.reshape(parameter.shape))

    def _direction(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        """The gradient with its momentum, which is updated."""
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        average: Tensor = state["momentum"]
        if self.found_inf is not None:
            gradient = torch.where(self.found_inf > 0, average, gradient)
        average.lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum)


def orthogonal(matrices: Tensor) -> Tensor:
    """Approximate ``U V^T`` of the singular value decomposition of matrices (..., rows, columns).

    The polynomial is applied to the small Gram matrix, and the result is multiplied with the matrix
    once. In exact arithmetic this is the same, with two large products instead of ten.
    """
    if matrices.shape[-2] > matrices.shape[-1]:
        return orthogonal(matrices.mT).mT
    a, b, c = NEWTON_SCHULZ
    matrices = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    gram = matrices @ matrices.mT
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    product = eye.expand_as(gram)
    for _ in range(ROUNDS):
        polynomial = a * eye + b * gram + c * (gram @ gram)
        product, gram = polynomial @ product, polynomial @ gram @ polynomial
    return product @ matrices


def is_kernel(parameter: nn.Parameter) -> bool:
    """Whether Muon trains this parameter: a large enough kernel (out, in, height, width)."""
    sides = (len(parameter), parameter[0].numel()) if parameter.ndim == 4 else (0,)
    return min(sides) >= LEAST_SIDE
