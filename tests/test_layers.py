"""The layers against PyTorch's own, in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from convnets.layers import Concatenate, ConvTranspose2d, MyConv2d, MyDilatedConv2d


def outputs_and_gradients(layer: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    images = images.clone().requires_grad_()
    output = layer(images)
    weighing = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)  # no gradient is the same
    return [output, *torch.autograd.grad((output * weighing).sum(), [images, *layer.parameters()])]


@pytest.mark.parametrize(
    ("kernel_size", "padding", "bias"), [(1, None, True), (3, None, True), (5, 0, False), (4, 1, True)]
)
def test_my_convolution_equals_pytorchs(kernel_size, padding, bias):
    """Same weights, same output, same gradients of images, weights and biases."""
    mine = MyConv2d(2, 3, kernel_size, padding, bias).double()
    theirs = nn.Conv2d(2, 3, kernel_size, padding="same" if padding is None else padding, bias=bias).double()
    theirs.load_state_dict(mine.state_dict())
    images = torch.randn(2, 2, 9, 7, dtype=torch.double)
    for one, other in zip(outputs_and_gradients(mine, images), outputs_and_gradients(theirs, images), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("kernel_size", "dilation", "padding"), [(3, 1, None), (3, 3, 1), (5, 2, None), (2, 4, 0)])
def test_my_dilated_convolution_equals_pytorchs(kernel_size, dilation, padding):
    """Weights placed among zeros do what the `dilation` argument does, forwards and backwards."""
    mine = MyDilatedConv2d(2, 3, kernel_size, padding, dilation=dilation).double()
    same = "same" if padding is None else padding
    theirs = nn.Conv2d(2, 3, kernel_size, padding=same, dilation=dilation).double()
    theirs.load_state_dict(mine.state_dict())
    images = torch.randn(2, 2, 11, 13, dtype=torch.double)
    for one, other in zip(outputs_and_gradients(mine, images), outputs_and_gradients(theirs, images), strict=True):
        torch.testing.assert_close(one, other)


def test_my_convolution_passes_the_finite_difference_check():
    """Its gradients are those of difference quotients, without PyTorch's convolution as a witness."""
    layer = MyDilatedConv2d(1, 2, 3).double()
    images = torch.randn(1, 1, 6, 6, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(layer, images)


@pytest.mark.parametrize("kind", [MyConv2d, MyDilatedConv2d])
def test_first_weights_fill_the_stated_interval(kind):
    """Weights and biases are uniform on [-b, b], b = 1 / sqrt(in_channels k^2), and differ from layer to layer."""
    torch.manual_seed(0)
    layer, bound = kind(4, 500, 3), 1 / math.sqrt(4 * 9)
    for parameter in layer.parameters():
        assert parameter.abs().max() <= bound
        assert parameter.abs().max() > 0.95 * bound
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert not torch.equal(layer.weight, kind(4, 500, 3).weight)


@pytest.mark.parametrize("kind", [MyConv2d, MyDilatedConv2d])
def test_an_even_kernel_needs_padding(kind):
    """No padding keeps the size under an even kernel, so none is guessed."""
    with pytest.raises(ValueError, match="kernel_size is 4: give padding"):
        kind(1, 1, 4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bias", [True, False])
def test_transposed_convolution_is_pytorchs(bias, layout):
    """The same outputs and the same three gradients, from the same weights."""
    settings = {"stride": 2, "padding": 1, "output_padding": 1, "bias": bias, "dtype": torch.double}
    torch.manual_seed(0)
    ours, theirs = (kind(4, 6, 3, **settings) for kind in (ConvTranspose2d, nn.ConvTranspose2d))
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 4, 5, 7, dtype=torch.double).to(memory_format=layout).requires_grad_()
    upstream = torch.randn(2, 6, 10, 14, dtype=torch.double)
    found, expected = (
        [layer(images), *torch.autograd.grad(layer(images), [images, *layer.parameters()], upstream)]
        for layer in (ours, theirs)
    )
    torch.testing.assert_close(found, expected)


def test_what_is_joined_gets_the_gradients_of_cat():
    """One channel or more, in either layout: values and gradients are those of `torch.cat`."""
    for layout in (torch.contiguous_format, torch.channels_last):
        parts = [torch.randn(2, number, 4, 6).to(memory_format=layout).requires_grad_() for number in (3, 1, 2)]
        upstream = torch.randn(2, 6, 4, 6)
        found, expected = (
            [joined, *torch.autograd.grad(joined, parts, upstream)]
            for joined in (Concatenate()(*parts), torch.cat(parts, 1))
        )
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        assert found[0].is_contiguous(memory_format=torch.channels_last)


def test_concatenation_crops_to_the_smallest():
    """Channels stand side by side in the order given; a surplus row or column is cut off at the end."""
    first, second = torch.rand(2, 3, 6, 8), torch.rand(2, 1, 5, 9)
    joined = Concatenate()(first, second)
    assert joined.shape == (2, 4, 5, 8)
    assert torch.equal(joined[:, :3], first[:, :, :5])
    assert torch.equal(joined[:, 3:], second[..., :8])
