"""Optimisers for `training.fit`: each takes a network and a learning rate, the rest of it by `functools.partial`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Optimiser(Protocol):
    """What `fit` asks of an optimiser: every group's own learning rate, which `fit` scales, steps, and its state."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of parameters, each with its learning rate "lr"."""

    def step(self) -> Any:
        """One step."""

    def zero_grad(self) -> None:
        """Forgets the gradients."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that it remembers of the steps so far."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""


def adam(
    model: nn.Module, learning_rate: float, betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015). With `weight_decay`, decoupled from the gradients (Loshchilov & Hutter 2019).

    Each step then takes learning rate × weight_decay of every weight away; biases and batch norm's scales keep theirs.
    """
    if not weight_decay:
        return torch.optim.Adam(model.parameters(), lr=learning_rate, betas=betas, fused=True)
    weights, others = _parted(model, 2)
    groups = [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], learning_rate, betas, fused=True)


def muon(
    model: nn.Module, learning_rate: float, filter_rate: float = 0.1, momentum: float = 0.6, weight_decay: float = 0.0
) -> Optimiser:
    """Muon, at `filter_rate`, for all convolutions that learn; Adam, at `learning_rate`, for everything else.

    `weight_decay` is Adam's, as in `adam`.
    """
    filters, others = _parted(model, 4)
    weights, rest = ([p for p in others if (p.ndim >= 2) is heavy] for heavy in (True, False))
    groups = [{"params": weights, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return _Together(
        Muon(filters, filter_rate, momentum),
        torch.optim.AdamW([group for group in groups if group["params"]], learning_rate, (0.9, 0.95), fused=True),
    )


class Muon(torch.optim.Optimizer):
    """Steps that change all directions of a weight matrix alike (Jordan et al. 2024).

    The update is the orthogonal matrix nearest to Nesterov's momentum, found by Newton-Schulz iteration; filters
    [out, in, k, k] count as matrices [out, in k²]. Batch norm makes the size of filters meaningless, so each step first
    gives them the size √out. For filters that batch norm follows, and for nothing else.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 0.1, momentum: float = 0.6) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                buffer = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                buffer.mul_(group["momentum"]).add_(weight.grad)
                direction = weight.grad.add(buffer, alpha=group["momentum"])
                weight.mul_(len(weight) ** 0.5 / weight.norm())
                weight.sub_(group["lr"] * orthogonalise(direction.flatten(1)).view_as(weight))


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """Roughly U Vᵀ for a matrix U S Vᵀ: all singular values moved near 1 (to 0.7 … 1.2), without decomposing it.

    The quintic Newton-Schulz iteration, its coefficients chosen for speed and not for a limit (Jordan et al. 2024).
    """
    wide: Tensor = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x: Tensor = wide / (wide.norm() + 1e-7)
    for _ in range(steps):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


class _Together:
    """Several optimisers as one."""

    def __init__(self, *optimisers: torch.optim.Optimizer) -> None:
        self.optimisers = optimisers

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for optimiser in self.optimisers for group in optimiser.param_groups]

    def step(self) -> None:
        for optimiser in self.optimisers:
            optimiser.step()

    def zero_grad(self) -> None:
        for optimiser in self.optimisers:
            optimiser.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {"optimisers": [optimiser.state_dict() for optimiser in self.optimisers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for optimiser, own in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(own)


def _parted(model: nn.Module, axes: int) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters that learn: those of at least so many axes, and the others."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [p for p in learning if p.ndim >= axes], [p for p in learning if p.ndim < axes]
