"""Losses for label maps: PyTorch's in value and gradient, in the order in which channels_last has the numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def pixel_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy in nats over all pixels: `F.cross_entropy`, faster on a processor.

    `logits` float [N, K, ...], `labels` int64 [N, ...] from 0 to K - 1. PyTorch's copies logits in channels_last, and
    their gradient, to the other layout and back. This one goes along a pixel's channels, which lie together, and its
    backward pass needs a single array. It cannot be differentiated twice. Raises RuntimeError for a label out of range.
    """
    loss: Tensor = _CrossEntropy.apply(logits.movedim(1, -1).flatten(0, -2), labels.flatten()[:, None])
    return loss


class _CrossEntropy(torch.autograd.Function):
    """The mean of -log softmax(rows)[labels]: float [M, K] and int64 [M, 1] to a scalar."""

    @staticmethod
    def forward(context: Any, rows: Tensor, labels: Tensor) -> Tensor:
        logs = rows.log_softmax(1)
        loss = -logs.gather(1, labels).mean()
        context.save_for_backward(logs, labels)
        return loss

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        logs, labels = context.saved_tensors
        difference = logs.exp()  # softmax less one at the label, by rows
        difference.scatter_add_(1, labels, -torch.ones_like(labels, dtype=logs.dtype))
        return difference.mul_(gradient / len(labels)), None
