"""Inputs and targets are changed in the same way, by what the names say, and as often."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convnets.augmentations import mirror, shift

AXES = (-1, -2)


def batch(number: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs in which every number occurs once, and targets that are their first channel: [N, 2, 4, 5], [N, 4, 5]."""
    inputs = torch.arange(number * 40.0).view(number, 2, 4, 5)
    return inputs, inputs[:, 0].long()


def expected(image: np.ndarray, axis: int, step: int) -> np.ndarray:
    """An image moved by slicing: `step` places along the axis, the edge repeated."""
    padded = np.pad(image, [(1, 1) if i == image.ndim + axis else (0, 0) for i in range(image.ndim)], "edge")
    return np.take(padded, range(1 - step, 1 - step + image.shape[axis]), axis)


@pytest.mark.parametrize("axis", AXES)
def test_mirror_turns_half_of_the_samples_round(axis):
    """A sample is itself or its NumPy flip, about half of them each; targets go with their inputs."""
    inputs, targets = batch()
    changed, labels = mirror(inputs, targets, torch.Generator().manual_seed(0), axis)
    turned = [not torch.equal(a, b) for a, b in zip(changed, inputs, strict=True)]
    assert 0.4 < np.mean(turned) < 0.6
    for after, before, flipped in zip(changed, inputs, turned, strict=True):
        assert np.array_equal(after, np.flip(before.numpy(), axis) if flipped else before.numpy())
    assert torch.equal(labels, changed[:, 0].long())


@pytest.mark.parametrize("axis", AXES)
def test_shift_moves_by_one_place_or_not_at_all(axis):
    """A third each to either side and not at all; the edge is repeated; targets go with their inputs."""
    inputs, targets = batch()
    changed, labels = shift(inputs, targets, torch.Generator().manual_seed(0), axis)
    moved = {-1: 0, 0: 0, 1: 0}
    for after, before in zip(changed.numpy(), inputs.numpy(), strict=True):
        steps = [step for step in moved if np.array_equal(after, expected(before, axis, step))]
        assert len(steps) == 1
        moved[steps[0]] += 1
    assert all(70 < count < 130 for count in moved.values())
    assert torch.equal(labels, changed[:, 0].long())


@pytest.mark.parametrize("change", [mirror, shift])
def test_the_generator_decides(change):
    """The same seed gives the same batch, another seed another; neither dtype nor layout changes."""
    inputs, targets = batch()
    inputs = inputs.to(memory_format=torch.channels_last)
    one, again, other = (change(inputs, targets, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one[0], again[0])
    assert not torch.equal(one[0], other[0])
    assert (one[0].dtype, one[1].dtype) == (torch.float32, torch.int64)
