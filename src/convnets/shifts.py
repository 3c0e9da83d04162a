"""Augmentation for networks that answer for every pixel: what happens to a picture happens to its labels."""

from __future__ import annotations

import torch
from torch import Tensor

from convnets.training import flip


def flip_and_shift(
    inputs: Tensor, targets: Tensor, generator: torch.Generator, reach: int = 4
) -> tuple[Tensor, Tensor]:
    """Half of the samples mirrored left to right, then each moved by up to `reach` pixels each way: for `fit`.

    Inputs [N, C, H, W] and targets [N, C, H, W] or label maps [N, H, W] move alike; what comes in at a border is
    mirrored there. Raises ValueError where `reach` leaves no pixel to be mirrored.
    """
    if not 0 <= reach < min(inputs.shape[-2:]):
        raise ValueError(f"reach is {reach} on pictures {tuple(inputs.shape[-2:])}: choose 0 up to their size - 1")
    inputs, targets = flip(inputs, targets, generator)
    number, device = len(inputs), inputs.device
    rows, columns = (_shifted(number, size, reach, generator, device) for size in inputs.shape[-2:])
    each = torch.arange(number, device=device)[:, None, None]

    def move(batch: Tensor) -> Tensor:
        channels_last = batch.movedim(1, -1) if batch.ndim == 4 else batch
        moved = channels_last[each, rows[:, :, None], columns[:, None, :]]
        return moved.movedim(-1, 1) if batch.ndim == 4 else moved

    return move(inputs), move(targets)


def _shifted(number: int, size: int, reach: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """For each sample the places 0 … size - 1 that its pixels come from, [number, size], mirrored at both borders."""
    places = torch.arange(size, device=device)
    places = (places + torch.randint(-reach, reach + 1, (number, 1), generator=generator, device=device)).abs()
    return size - 1 - (size - 1 - places).abs()
