"""The formulas of convolutional networks against scipy, autograd, difference quotients and counting."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from torch.nn import functional as F

from convnets import theory
from convnets.theory import Enlargement, Window

CASES = list(itertools.product([(5, 5), (8, 6), (7, 10)], [1, 3, 5], [1, 2, 3]))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(("shape", "width", "stride"), CASES)
def test_convolution_is_scipys(rng, shape, width, stride):
    """Every stride-th row and column of scipy's convolution with zeros outside, the first included."""
    image, kernel = rng.normal(size=shape), rng.normal(size=(width, width))
    expected = convolve2d(image, kernel, mode="same")[::stride, ::stride]
    np.testing.assert_allclose(theory.convolve(image, kernel, stride), expected, atol=1e-12)


@pytest.mark.parametrize(("shape", "width", "stride"), CASES)
def test_the_kernels_gradient_is_autograds(rng, shape, width, stride):
    """PyTorch correlates, so its kernel is ours turned round; the loss is the mean squared error."""
    image, kernel = rng.normal(size=shape), rng.normal(size=(width, width))
    targets = rng.normal(size=theory.convolve(image, kernel, stride).shape)
    weights = torch.from_numpy(kernel).requires_grad_()
    outputs = F.conv2d(
        torch.from_numpy(image)[None, None], weights.flip(0, 1)[None, None], stride=stride, padding=width // 2
    )
    F.mse_loss(outputs[0, 0], torch.from_numpy(targets)).backward()
    slopes = theory.mse_slopes(theory.convolve(image, kernel, stride), targets)
    np.testing.assert_allclose(theory.kernel_gradient(image, slopes, width, stride), weights.grad, rtol=1e-10)


def test_the_kernels_gradient_is_that_of_difference_quotients(rng):
    """Without PyTorch as a witness; the loss is quadratic in the kernel, so any step will do."""
    image, kernel, targets = rng.normal(size=(7, 9)), rng.normal(size=(5, 5)), rng.normal(size=(4, 5))
    slopes = theory.mse_slopes(theory.convolve(image, kernel, 2), targets)
    quotients = theory.central_differences(
        lambda weights: theory.mse(theory.convolve(image, weights, 2), targets), kernel, step=1.0
    )
    np.testing.assert_allclose(theory.kernel_gradient(image, slopes, 5, 2), quotients, rtol=1e-10)


def test_a_shift_moves_down_and_right():
    """Pixel (i, j) of the result is pixel (i - rows, j - columns) of the image, or zero outside it."""
    image = np.arange(1.0, 7).reshape(2, 3)
    assert theory.shifted(image, 1, 0).tolist() == [[0, 0, 0], [1, 2, 3]]
    assert theory.shifted(image, 0, -2).tolist() == [[3, 0, 0], [6, 0, 0]]
    assert theory.shifted(image, 0, 1, stride=2).tolist() == [[0, 2]]
    assert not theory.shifted(image, 5, 0).any()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("shape", "factor"), [((6, 4), 2), ((6, 9), 3), ((4, 4), 1)])
def test_max_pooling_and_its_gradient_are_pytorchs(rng, shape, factor, tied):
    """Also where several pixels of a window are largest: the first in reading order gets it all."""
    image = rng.integers(3, size=shape).astype(float) if tied else rng.normal(size=shape)
    pixels = torch.from_numpy(image).requires_grad_()
    outputs = F.max_pool2d(pixels[None], factor)[0]
    slopes = rng.normal(size=tuple(outputs.shape))
    outputs.backward(torch.from_numpy(slopes))
    assert np.array_equal(theory.max_pool(image, factor), outputs.detach().numpy())
    assert np.array_equal(theory.max_pool_gradient(image, slopes, factor), pixels.grad.numpy())


def test_one_sided_slopes_of_the_maximum_are_difference_quotients(rng):
    """From the left and from the right, with ties and without."""
    image, step = rng.integers(3, size=(6, 8)).astype(float), 1e-3
    left, right = theory.max_pool_slopes(image, 2)
    assert (left != right).any()
    for index in np.ndindex(image.shape):
        shift = np.zeros_like(image)
        shift[index] = step
        up, here, down = (theory.max_pool(image + sign * shift, 2).sum() for sign in (1, 0, -1))
        assert right[index] == pytest.approx((up - here) / step)
        assert left[index] == pytest.approx((here - down) / step)


def test_bad_arrays_are_refused_in_one_line():
    """Even or oblong kernels, strides of nothing, windows that do not fit."""
    image = np.zeros((4, 6))
    with pytest.raises(ValueError, match=r"the kernel has shape \(2, 2\)"):
        theory.convolve(image, np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"the kernel has shape \(3, 5\)"):
        theory.convolve(image, np.zeros((3, 5)))
    with pytest.raises(ValueError, match="stride is 0"):
        theory.convolve(image, np.zeros((3, 3)), 0)
    with pytest.raises(ValueError, match="the image is 4x6: give a factor that divides both, not 4"):
        theory.max_pool(image, 4)


def test_relative_error_is_the_largest_difference_over_the_largest_value():
    """Of equal arrays it is zero, of zeros too."""
    assert theory.relative_error([1.0, 2.2], [1.0, 2.0]) == pytest.approx(0.1)
    assert theory.relative_error([0.0, 0.0], [0.0, 0.0]) == 0


@pytest.mark.parametrize(
    ("kernel_size", "stride", "padding"), list(itertools.product([1, 2, 3, 4, 5], [1, 2, 3], [0, 1, 2]))
)
def test_sizes_are_those_of_the_layers(kernel_size, stride, padding):
    """Of convolutions with and without dilation, and of transposed ones with all output paddings that exist."""
    for size in (9, 10, 11):
        image = torch.zeros(1, 1, size, size)
        for dilation in (1, 2):
            out = F.conv2d(image, torch.zeros(1, 1, kernel_size, kernel_size), None, stride, padding, dilation)
            assert theory.convolution_size(size, kernel_size, stride, padding, dilation) == out.shape[-1]
        for extra in range(stride):
            out = F.conv_transpose2d(image, torch.zeros(1, 1, kernel_size, kernel_size), None, stride, padding, extra)
            assert theory.transposed_size(size, kernel_size, stride, padding, extra) == out.shape[-1]


@pytest.mark.parametrize("kernel_size", range(2, 10))
def test_the_halving_padding_halves_and_doubles(kernel_size):
    """Any even height, there and back."""
    padding, output_padding = theory.halving_padding(kernel_size)
    for half in range(kernel_size, 20):
        assert theory.convolution_size(2 * half, kernel_size, 2, padding) == half
        assert theory.transposed_size(half, kernel_size, 2, padding, output_padding) == 2 * half


BLOCKS = [
    [([3], 1)],
    [([3, 3], 2), ([3, 3], 2)],
    [([5], 3), ([2, 4, 1], 1), ([3], 2)],
    [([], 2), ([7], 4)],
]


def layers_of(blocks):
    for sizes, factor in blocks:
        yield from (Window(size) for size in sizes)
        yield Window(factor, stride=factor)


@pytest.mark.parametrize("blocks", BLOCKS)
def test_receptive_field_and_output_size_are_those_of_layer_by_layer(blocks):
    """The closed formulas against following an interval back and a height forwards."""
    layers = list(layers_of(blocks))
    first, last = theory.receptive_interval(layers, 4, 4)
    assert theory.receptive_field_of_blocks(blocks) == last - first + 1
    for size in range(1, 60):
        height = size
        for layer in layers:
            height = max(0, theory.convolution_size(height, layer.kernel_size, layer.stride))
        assert theory.output_size(size, blocks) == height


def test_the_briefs_network_sees_sixteen_pixels_and_leaves_five():
    """[3, 3, pool] twice on 32 pixels: 16 wide, 5 left, worked out by hand."""
    blocks = [([3, 3], 2), ([3, 3], 2)]
    assert theory.receptive_field([3, 3]) == 5
    assert theory.receptive_field_of_blocks(blocks) == 16
    assert theory.output_size(32, blocks) == 5
    assert theory.output_size(15, blocks) == 0


@pytest.mark.parametrize("blocks", BLOCKS)
def test_the_effective_deviation_is_that_of_the_gradient(blocks):
    """Of a linear network with equal weights and mean pooling, by autograd along one axis."""
    pixels = torch.zeros(1, 1, theory.receptive_field_of_blocks(blocks), dtype=torch.double, requires_grad=True)
    values = pixels
    for sizes, factor in blocks:
        for size in sizes:
            values = F.conv1d(values, torch.ones(1, 1, size, dtype=torch.double))
        values = F.avg_pool1d(values, factor)
    assert values.shape[-1] == 1
    values.sum().backward()
    share = (pixels.grad / pixels.grad.sum()).flatten().numpy()
    places = np.arange(len(share))
    variance = share @ places**2 - (share @ places) ** 2
    assert theory.effective_deviation(blocks) == pytest.approx(np.sqrt(variance))


def test_an_interval_goes_back_through_every_kind_of_layer():
    """Stride, padding and dilation by hand; after an enlargement it depends on the place."""
    assert theory.receptive_interval([Window(3, padding=1)], 5, 6) == (4, 7)
    assert theory.receptive_interval([Window(3, stride=2, padding=1)], 5, 5) == (9, 11)
    assert theory.receptive_interval([Window(3, dilation=2)], 0, 0) == (0, 4)
    enlarged = [Enlargement(2), Window(3, padding=1)]
    assert [theory.receptive_interval(enlarged, i, i) for i in (2, 3)] == [(0, 1), (1, 2)]


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_the_counts_are_those_of_counting(kernel_size):
    """Layer by layer: weights and outputs by definition, connections one by one along an axis."""
    channels = [(2, 3, 16), (3, 6, 8), (6, 3, 4), (3, 5, 8), (5, 5, 16)]  # inputs, filters, height
    reach = kernel_size // 2
    counts = theory.pool_upsample_counts(2, 3, 5, kernel_size, size=16)

    def real(height):
        return sum(0 <= row + tap < height for row in range(height) for tap in range(-reach, reach + 1))

    assert counts.weights == sum(i * o * kernel_size**2 for i, o, _ in channels)
    assert counts.outputs == sum(o * height**2 for _, o, height in channels)
    assert counts.connections == sum(i * o * (kernel_size * height) ** 2 for i, o, height in channels)
    assert counts.real_connections == sum(i * o * real(height) ** 2 for i, o, height in channels)
