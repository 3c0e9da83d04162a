"""Losses of our own against PyTorch's, and their gradients against finite differences."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from convnets.losses import pixel_cross_entropy


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pixel_cross_entropy_is_pytorchs(layout, dtype):
    """Value and gradient, for label maps in both layouts in memory, logits up to a hundred, and a factor behind it."""
    generator = torch.Generator().manual_seed(0)
    logits = 30 * torch.randn(3, 5, 4, 6, generator=generator, dtype=dtype)
    labels = torch.randint(5, (3, 4, 6), generator=generator)
    found = []
    for loss in (pixel_cross_entropy, F.cross_entropy):
        leaf = logits.clone(memory_format=layout).requires_grad_()
        value = loss(leaf, labels)
        (3 * value).backward()
        found.append((value, leaf.grad))
    torch.testing.assert_close(found[0], found[1])


def test_pixel_cross_entropy_has_the_gradient_of_its_values():
    """Finite differences in float64; without maps, [N, K] and [N], too."""
    generator = torch.Generator().manual_seed(0)
    for places in ((2, 3), ()):
        logits = torch.randn(2, 4, *places, generator=generator, dtype=torch.float64, requires_grad=True)
        labels = torch.randint(4, (2, *places), generator=generator)
        assert torch.autograd.gradcheck(lambda x, labels=labels: pixel_cross_entropy(x, labels), logits)


def test_pixel_cross_entropy_judges_without_gradients():
    """K equal logits cost log K, in inference mode."""
    with torch.inference_mode():
        loss = pixel_cross_entropy(torch.zeros(2, 7, 3, 3), torch.zeros(2, 3, 3, dtype=torch.int64))
    assert float(loss) == pytest.approx(1.9459101)


@pytest.mark.parametrize("label", [-1, 5])
def test_a_label_that_is_no_channel_is_refused(label):
    """Not read from beside the array."""
    with pytest.raises(RuntimeError, match="out of bounds"):
        pixel_cross_entropy(torch.zeros(1, 5, 2, 2), torch.full((1, 2, 2), label))
