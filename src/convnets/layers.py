"""Layers written out: convolution with weights of its own, dilated by placing them, transposed; concatenation."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

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


class ConvTranspose2d(nn.ConvTranspose2d):
    """PyTorch's own; the bias's gradient is taken by itself, as oneDNN takes as long for it as for all the rest."""

    def forward(self, images: Tensor, output_size: list[int] | None = None) -> Tensor:
        """The images, enlarged."""
        if self.bias is None or output_size:
            return super().forward(images, output_size)
        outputs = F.conv_transpose2d(
            images,
            self.weight,
            self.bias.detach(),
            self.stride,
            self.padding,  # type: ignore[arg-type]
            self.output_padding,
            self.groups,
            self.dilation,
        )
        added: Tensor = _Added.apply(outputs, self.bias)
        return added


class _Added(torch.autograd.Function):
    """The outputs [N, C, H, W] as they are: the bias [C] is in them already, and gets the gradient of a sum."""

    @staticmethod
    def forward(context: Any, outputs: Tensor, bias: Tensor) -> Tensor:
        return outputs.view_as(outputs)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, gradient.sum((0, 2, 3))


class Concatenate(nn.Module):
    """Its inputs [N, C_i, H_i, W_i] side by side along the channels: a skip connection that hooks can see.

    The result is [N, sum of C_i, H, W] in the first one's dtype, all inputs cropped at the right and the bottom to the
    smallest of them.
    """

    def forward(self, *images: Tensor) -> Tensor:
        """The images, joined; in memory their channels are next to each other, as channels_last has them."""
        height, width = (min(image.shape[axis] for image in images) for axis in (2, 3))
        # Under autocast a convolution reads bfloat16 anyway: joined in float32, all channels would be cast once more.
        parts = [image[:, :, :height, :width].to(images[0].dtype) for image in images]
        for part in parts:
            if part.requires_grad:  # its gradient is cut out of a wider one, which other layers read very slowly
                part.register_hook(partial(Tensor.contiguous, memory_format=torch.channels_last))
        # Along the last axis, because a single channel leaves `cat` to guess the layout, and it guesses the other one.
        return torch.cat([part.permute(0, 2, 3, 1) for part in parts], 3).permute(0, 3, 1, 2)


def _draw(fan_in: int, *shape: int) -> nn.Parameter:
    """Weights from U(-b, b), b = 1 / sqrt(fan_in)."""
    return nn.Parameter(torch.empty(*shape).uniform_(-1, 1) / math.sqrt(fan_in))


def _same_padding(kernel_size: int) -> int:
    if kernel_size % 2 == 0:
        raise ValueError(f"kernel_size is {kernel_size}: give padding, since only odd kernels keep the image's size")
    return kernel_size // 2
