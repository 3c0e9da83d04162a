"""Formulas of convolutional networks in NumPy: convolution and pooling with their derivatives, sizes, receptive fields.

Images are float arrays [H, W]. A kernel is [2m+1, 2m+1], and its middle has the indices (0, 0), as in the Bonn brief:
o_ij = sum over k, l from -m to m of w_kl x_{i-k, j-l}, with zeros outside the image. Rows and columns count from 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, product
from operator import mul
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Block = tuple[Sequence[int], int]  # kernel sizes of the convolutions, factor of the pooling that follows (1: none)


def shifted(image: Array, rows: int, columns: int, stride: int = 1) -> Array:
    """The array x_{stride i - rows, stride j - columns}: the image moved down and right, with zeros where it was not.

    [H, W] to [ceil(H / stride), ceil(W / stride)].
    """
    reach = max(abs(rows), abs(columns))
    padded = np.pad(image, reach)[reach - rows :, reach - columns :]
    return padded[: image.shape[0] : stride, : image.shape[1] : stride]


def convolve(image: Array, kernel: Array, stride: int = 1) -> Array:
    """The convolution o_ij = sum over k, l of w_kl x_{stride i - k, stride j - l}, zeros outside ("SAME" padding).

    [H, W] and [2m+1, 2m+1] to [ceil(H / stride), ceil(W / stride)]; ValueError for another kernel or a stride below 1.
    """
    if stride < 1:
        raise ValueError(f"stride is {stride}: give 1 or more")
    reach = _reach(kernel.shape)
    return np.asarray(sum(kernel[reach + s, reach + t] * shifted(image, s, t, stride) for s, t in _offsets(reach)))


def kernel_gradient(image: Array, slopes: Array, kernel_size: int, stride: int = 1) -> Array:
    """The gradient of a loss E by the kernel, dE/dw_st = sum over i, j of slopes_ij x_{stride i - s, stride j - t}.

    `slopes` holds dE/do_ij for every output of `convolve`; the result is [kernel_size, kernel_size].
    """
    reach = _reach((kernel_size, kernel_size))
    slid = [shifted(image, s, t, stride) for s, t in _offsets(reach)]
    return np.reshape([np.vdot(slopes, image) for image in slid], (kernel_size, kernel_size))


def mse(outputs: Array, targets: Array) -> float:
    """The mean of all squared differences."""
    return float(np.mean((outputs - targets) ** 2))


def mse_slopes(outputs: Array, targets: Array) -> Array:
    """The derivative of `mse` by each output: 2 (o_ij - y_ij) / number of outputs."""
    return 2 * (outputs - targets) / outputs.size


def max_pool(image: Array, factor: int) -> Array:
    """The largest value of each window of factor x factor pixels, the windows side by side: [H, W] to [H/d, W/d].

    ValueError where `factor` does not divide H and W.
    """
    return np.asarray(_windows(image, factor).max(-1))


def max_pool_gradient(image: Array, slopes: Array, factor: int) -> Array:
    """The gradient of a loss by the image: each window's slope dE/do_ij goes to its largest pixel, the others get zero.

    Of several largest pixels the first in reading order gets it all, as in PyTorch.
    """
    windows = _windows(image, factor)
    first = windows.argmax(-1)[..., None] == np.arange(factor**2)
    return _joined(first * slopes[..., None])


def max_pool_slopes(image: Array, factor: int) -> tuple[Array, Array]:
    """How each window's maximum follows each of its pixels alone: derivatives from the left and the right, 0 or 1.

    [H, W] each. Both are 1 for a window's only largest pixel; to lower one of several changes nothing, so left is 0.
    """
    windows = _windows(image, factor)
    largest = windows == windows.max(-1, keepdims=True)
    alone = largest & (largest.sum(-1, keepdims=True) == 1)
    return _joined(alone.astype(float)), _joined(largest.astype(float))


def central_differences(function: Callable[[Array], float], at: Array, step: float) -> Array:
    """The gradient of a function of an array, by (f(x + h e) - f(x - h e)) / 2h for every entry; shape of `at`."""
    result = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        shift = np.zeros_like(at)
        shift[index] = step
        result[index] = (function(at + shift) - function(at - shift)) / (2 * step)
    return result


def relative_error(values: ArrayLike, truth: ArrayLike) -> float:
    """The largest difference divided by the largest size of the truth; of two arrays of zeros 0."""
    difference = float(np.max(np.abs(np.subtract(values, truth))))
    return difference / float(np.max(np.abs(truth))) if difference else 0.0


def convolution_size(size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """The height of a convolution's output: floor((n + 2p - dilation (k - 1) - 1) / stride) + 1."""
    return (size + 2 * padding - dilated_width(kernel_size, dilation)) // stride + 1


def transposed_size(size: int, kernel_size: int, stride: int, padding: int, output_padding: int) -> int:
    """The height of a transposed convolution's output: stride (n - 1) - 2p + k + output_padding."""
    return stride * (size - 1) - 2 * padding + kernel_size + output_padding


def dilated_width(kernel_size: int, dilation: int) -> int:
    """How wide a kernel with taps `dilation` pixels apart (PyTorch's count) is: dilation (k - 1) + 1."""
    return dilation * (kernel_size - 1) + 1


def halving_padding(kernel_size: int) -> tuple[int, int]:
    """(padding, output_padding) with which stride 2 halves any even height, and transposed doubles it.

    ceil(k / 2) - 1 for both layers, and for the transposed one an output padding of 1 for odd k, 0 for even k.
    """
    return (kernel_size - 1) // 2, kernel_size % 2


def receptive_field(kernel_sizes: Sequence[int]) -> int:
    """The width of the square that a unit reads through convolutions one after another: 1 + sum (k_i - 1)."""
    return 1 + sum(size - 1 for size in kernel_sizes)


def receptive_field_of_blocks(blocks: Sequence[Block]) -> int:
    """The same through blocks of convolutions and a pooling each: D_m + sum_j D_{j-1} sum_i (k_ji - 1).

    D_j = d_1 ... d_j is how many pixels lie between neighbouring units after block j.
    """
    *strides, last = _strides(blocks)
    return last + sum(d * (receptive_field(sizes) - 1) for d, (sizes, _) in zip(strides, blocks, strict=True))


def output_size(size: int, blocks: Sequence[Block]) -> int:
    """How many units the blocks leave of `size` pixels without padding: floor((n - r) / D_m) + 1, or 0 where n < r."""
    return max(0, (size - receptive_field_of_blocks(blocks)) // _strides(blocks)[-1] + 1)


def effective_deviation(blocks: Sequence[Block]) -> float:
    """The standard deviation, in pixels, of where a unit's sensitivity lies along one axis, for even weights.

    With equal weights and mean pooling the gradient is a density of a sum of independent uniform steps, whose variance
    is sum_j D_{j-1}^2 (sum_i (k_ji^2 - 1) + d_j^2 - 1) / 12. With independent random weights of mean zero and equal
    variance the expected squared gradient is that density (Luo et al. 2016).
    """
    parts = zip(_strides(blocks)[:-1], blocks, strict=True)
    return math.sqrt(sum(d**2 * sum(k**2 - 1 for k in (*sizes, factor)) for d, (sizes, factor) in parts) / 12)


class Window(NamedTuple):
    """A layer that reads windows: a convolution or a pooling."""

    kernel_size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1


class Enlargement(NamedTuple):
    """Nearest-neighbour upsampling."""

    factor: int


def receptive_interval(layers: Sequence[Window | Enlargement], first: int, last: int) -> tuple[int, int]:
    """The first and last input row that the output rows from `first` to `last` read, padding included, layer by layer.

    Through an enlargement it depends on the place, so no single closed formula holds: output i reads floor(i / factor).
    """
    for layer in reversed(layers):
        if isinstance(layer, Enlargement):
            first, last = first // layer.factor, last // layer.factor
        else:
            first, last = (layer.stride * row - layer.padding for row in (first, last))
            last += dilated_width(layer.kernel_size, layer.dilation) - 1
    return first, last


class Counts(NamedTuple):
    """The size of a network's convolutions, as the Toronto course counts it; biases and batch norm are left out."""

    weights: int
    outputs: int  # numbers that the convolutions compute
    connections: int  # pairs of an output and a number that it reads, zeros of the padding included
    real_connections: int  # the same without those zeros


def pool_upsample_counts(
    num_in_channels: int, num_filters: int, num_colours: int, kernel_size: int = 3, size: int = 32
) -> Counts:
    """The counts of PoolUpsampleNet for images of size x size, a multiple of 4, and an odd kernel.

    k^2 (NIC NF + 4 NF^2 + NF NC + NC^2) weights, n^2 (25 NF + 20 NC) / 16 outputs and, for layers n pixels high with i
    inputs and o filters, sum (k n)^2 i o connections, of which (k n - p (p + 1))^2 i o are real, p = (k - 1) / 2.
    """
    filters, colours = num_filters, num_colours
    pairs = {size: num_in_channels * filters + colours**2,
             size // 2: 2 * filters**2 + filters * colours,
             size // 4: 2 * filters**2}  # fmt: skip
    lost = (kernel_size // 2) * (kernel_size // 2 + 1)
    return Counts(
        weights=kernel_size**2 * sum(pairs.values()),
        outputs=size**2 * (25 * filters + 20 * colours) // 16,
        connections=sum((kernel_size * height) ** 2 * pair for height, pair in pairs.items()),
        real_connections=sum((kernel_size * height - lost) ** 2 * pair for height, pair in pairs.items()),
    )


def _reach(shape: tuple[int, ...]) -> int:
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] % 2 == 0:
        raise ValueError(f"the kernel has shape {shape}: give a square one of odd width, whose middle is a pixel")
    return shape[0] // 2


def _offsets(reach: int) -> Iterator[tuple[int, ...]]:
    """The kernel's indices (s, t) in reading order."""
    return product(range(-reach, reach + 1), repeat=2)


def _windows(image: Array, factor: int) -> Array:
    """[H, W] as [H/d, W/d, d^2], each window in reading order."""
    height, width = image.shape
    if factor < 1 or height % factor or width % factor:
        raise ValueError(f"the image is {height}x{width}: give a factor that divides both, not {factor}")
    tiles = image.reshape(height // factor, factor, width // factor, factor)
    return tiles.transpose(0, 2, 1, 3).reshape(height // factor, width // factor, -1)


def _joined(windows: Array) -> Array:
    """The image that `_windows` took apart."""
    rows, columns, pixels = windows.shape
    factor = math.isqrt(pixels)
    tiles = windows.reshape(rows, columns, factor, factor).transpose(0, 2, 1, 3)
    return tiles.reshape(rows * factor, columns * factor)


def _strides(blocks: Sequence[Block]) -> list[int]:
    """D_0 = 1, D_1, ..., D_m."""
    return list(accumulate((factor for _, factor in blocks), mul, initial=1))
