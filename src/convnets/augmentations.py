"""Batches changed at random, inputs and targets alike: augmentations for `training.fit`.

Inputs are [N, C, H, W], targets [N, ..., H, W]; axis -2 is up and down, -1 left and right.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mirror(inputs: Tensor, targets: Tensor, generator: torch.Generator, axis: int = -1) -> tuple[Tensor, Tensor]:
    """Half of the samples, chosen at random, in the opposite order along `axis`."""
    turned = torch.rand(len(inputs), 1, generator=generator, device=inputs.device) < 0.5
    places = torch.arange(inputs.shape[axis], device=inputs.device)
    sources = torch.where(turned, places.flip(0), places)
    return _taken(inputs, sources, axis), _taken(targets, sources, axis)


def shift(inputs: Tensor, targets: Tensor, generator: torch.Generator, axis: int = -1) -> tuple[Tensor, Tensor]:
    """Each sample moved by -1, 0 or 1 places along `axis`, all as likely; the place left empty repeats the edge."""
    steps = torch.randint(-1, 2, (len(inputs), 1), generator=generator, device=inputs.device)
    places = torch.arange(inputs.shape[axis], device=inputs.device)
    sources = (places - steps).clamp(0, len(places) - 1)
    return _taken(inputs, sources, axis), _taken(targets, sources, axis)


def _taken(batch: Tensor, sources: Tensor, axis: int) -> Tensor:
    """The batch with place i along `axis` taken from place sources[n, i] of sample n."""
    shape = [len(batch), *[1] * (batch.ndim - 1)]
    shape[axis] = sources.shape[1]
    return torch.take_along_dim(batch, sources.view(shape), axis)
