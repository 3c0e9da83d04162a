"""Layers written out: convolution with weights of its own, dilation by placing weights, concatenation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MyConv2d(nn.Module):
    """Convolution (cross-correlation, as in every deep-learning library) with weights that it draws itself.

    Float [N, in_channels, H, W] to [N, out_channels, H', W']; `weight` is [out_channels, in_channels, k, k] and `bias`
    [out_channels] or None. Both are drawn from U(-b, b), b = 1 / sqrt(in_channels k^2), as PyTorch draws its own (after
    LeCun et al. 1998). Without `padding` an odd kernel keeps the image's size; an even one raises ValueError.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, padding: int | None = None, bias: bool = True
    ) -> None:
        super().__init__()
        self.padding = _same_padding(kernel_size) if padding is None else padding
        self.weight = _draw(in_channels * kernel_size**2, out_channels, in_channels, kernel_size, kernel_size)
        self.bias = _draw(in_channels * kernel_size**2, out_channels) if bias else None

    def forward(self, images: Tensor) -> Tensor:
        """The convolved images."""
        return F.conv2d(images, self.weight, self.bias, padding=self.padding)


class MyDilatedConv2d(nn.Module):
    """Convolution whose kernel taps lie `dilation` pixels apart; 1 is the ordinary convolution.

    Shapes, weights and errors as in `MyConv2d`; PyTorch counts dilation in the same way. The k by k weights are placed
    into a kernel of zeros of width (k - 1) dilation + 1, and an ordinary convolution does the rest.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        padding: int | None = None,
        bias: bool = True,
        dilation: int = 2,
    ) -> None:
        super().__init__()
        self.padding = _same_padding(kernel_size) * dilation if padding is None else padding
        self.dilation = dilation
        self.weight = _draw(in_channels * kernel_size**2, out_channels, in_channels, kernel_size, kernel_size)
        self.bias = _draw(in_channels * kernel_size**2, out_channels) if bias else None

    def forward(self, images: Tensor) -> Tensor:
        """The convolved images."""
        width = (self.weight.shape[-1] - 1) * self.dilation + 1
        kernel = self.weight.new_zeros(*self.weight.shape[:2], width, width)
        kernel[:, :, :: self.dilation, :: self.dilation] = self.weight  # autograd follows the weights through this
        return F.conv2d(images, kernel, self.bias, padding=self.padding)


class Concatenate(nn.Module):
    """Its inputs [N, C_i, H_i, W_i] side by side along the channels: a skip connection that hooks can see.

    The result is [N, sum of C_i, H, W] in the first one's dtype, all inputs cropped at the right and the bottom to the
    smallest of them.
    """

    def forward(self, *images: Tensor) -> Tensor:
        """The images, joined."""
        height, width = (min(image.shape[axis] for image in images) for axis in (2, 3))
        # Under autocast a convolution reads bfloat16 anyway: joined in float32, all channels would be cast once more.
        return torch.cat([image[:, :, :height, :width].to(images[0].dtype) for image in images], 1)


def _draw(fan_in: int, *shape: int) -> nn.Parameter:
    """Weights from U(-b, b), b = 1 / sqrt(fan_in)."""
    return nn.Parameter(torch.empty(*shape).uniform_(-1, 1) / math.sqrt(fan_in))


def _same_padding(kernel_size: int) -> int:
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size is {kernel_size}: give padding, since only odd kernels keep the image's size")
    return kernel_size // 2
