"""The networks of the briefs, each readable on one screen, and their stored weights."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn

from convnets import archives
from convnets.layers import Concatenate, ConvTranspose2d, MyConv2d, MyDilatedConv2d


class RegressionCNN(nn.Module):
    """Grey images to RGB images, by the network of the 2018 assignment: attribute names and layout are its own.

    Float [N, 1, H, W] to [N, 3, H, W], H and W multiples of 4. `pool_first` chooses the order inside a block: 2018
    pooled before batch norm and ReLU, later courses after. `extra_layers` is how many more convolutions than the
    brief's one sit between the two halves: -1 takes `rfconv` away, 1 adds `rfconv2`, and so on.
    """

    def __init__(
        self, kernel_size: int = 3, num_filters: int = 32, pool_first: bool = True, extra_layers: int = 0
    ) -> None:
        super().__init__()

        def block(in_channels: int, out_channels: int, resize: nn.Module | None = None) -> nn.Sequential:
            convolution = nn.Conv2d(in_channels, out_channels, kernel_size, padding="same")
            normalise = [nn.BatchNorm2d(out_channels), nn.ReLU()]
            resizing = [resize] if resize else []
            return nn.Sequential(convolution, *(resizing + normalise if pool_first else normalise + resizing))

        self.downconv1 = block(1, num_filters, nn.MaxPool2d(2))
        self.downconv2 = block(num_filters, 2 * num_filters, nn.MaxPool2d(2))
        for number in range(1, extra_layers + 2):
            self.add_module("rfconv" if number == 1 else f"rfconv{number}", block(2 * num_filters, 2 * num_filters))
        self.upconv1 = block(2 * num_filters, num_filters, nn.Upsample(scale_factor=2))
        self.upconv2 = block(num_filters, 3, nn.Upsample(scale_factor=2))
        self.finalconv = nn.Conv2d(3, 3, kernel_size, padding="same")

    def forward(self, grey: Tensor) -> Tensor:
        """The RGB images."""
        images = grey
        for block in self.children():  # in the order in which they were made
            images = block(images)
        return images


class ResidualColouriser(nn.Module):
    """Grey images to RGB images: a U-Net (Ronneberger et al. 2015) that learns what a lookup table leaves open.

    Float [N, 1, H, W] to [N, 3, H, W], of any size. `table` float [256, 3] holds the mean colour of each grey level.
    Because the grey of a picture is the mean of its R, G and B, only chroma (three channels of mean 0) is to be found:
    the table's plus the U-Net's. Its last layer starts at zero, so training starts at the table.
    """

    table: Tensor

    def __init__(self, table: Tensor, num_filters: int = 16) -> None:
        super().__init__()
        self.register_buffer("table", table)
        self.downconv1 = _block(1, num_filters)  # at full resolution, as is upconv1: no pooling blurs an edge
        self.downconv2 = _block(num_filters, 2 * num_filters)
        self.rfconv = _block(2 * num_filters, 4 * num_filters)
        self.upconv2 = _block(6 * num_filters, 2 * num_filters)
        self.upconv1 = _block(3 * num_filters, num_filters)
        self.finalconv = nn.Conv2d(num_filters, 3, 3, padding=1)
        for parameter in self.finalconv.parameters():
            nn.init.zeros_(parameter)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)  # an odd row is kept, and what is too much cropped at the joins
        self.enlarge = nn.Upsample(scale_factor=2)
        self.join = Concatenate()

    def forward(self, grey: Tensor) -> Tensor:
        """The RGB images; their grey is the input."""
        down1 = self.downconv1(grey)
        down2 = self.downconv2(self.pool(down1))
        bottom = self.rfconv(self.pool(down2))
        up2 = self.upconv2(self.join(self.enlarge(bottom), down2))
        up1 = self.upconv1(self.join(self.enlarge(up2), down1))
        levels = (grey[:, 0] * 256 + 0.1).long()  # whole levels: greys are thirds, of which float32 may fall short
        colour: Tensor = self.table[levels.clamp(0, 255)].permute(0, 3, 1, 2) + self.finalconv(up1)
        return grey + colour - colour.mean(1, keepdim=True)


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


class CNN(nn.Module):
    """Images to logits of colours, by the 2018 assignments' classification net: `RegressionCNN` on `MyConv2d`.

    Float [N, num_in_channels, H, W] to [N, num_colours, H, W], H and W multiples of 4; attribute names and layer order
    are the assignment's, so its weights fit.
    """

    def __init__(
        self, kernel_size: int = 3, num_in_channels: int = 1, num_filters: int = 32, num_colours: int = 24
    ) -> None:
        super().__init__()
        self.downconv1 = _pooled(num_in_channels, num_filters, kernel_size, nn.MaxPool2d(2))
        self.downconv2 = _pooled(num_filters, 2 * num_filters, kernel_size, nn.MaxPool2d(2))
        self.rfconv = _pooled(2 * num_filters, 2 * num_filters, kernel_size)
        self.upconv1 = _pooled(2 * num_filters, num_filters, kernel_size, nn.Upsample(scale_factor=2))
        self.upconv2 = _pooled(num_filters, num_colours, kernel_size, nn.Upsample(scale_factor=2))
        self.finalconv = MyConv2d(num_colours, num_colours, kernel_size)

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        for block in self.children():  # in the order in which they were made
            images = block(images)
        return images


class UNet2018(nn.Module):
    """Images to logits of colours: `CNN` with the skip connections of Ronneberger et al. (2015).

    Float [N, num_in_channels, H, W] to [N, num_colours, H, W], H and W multiples of 4. `dilation` is that of `rfconv`,
    counted as PyTorch counts; 2 makes it the assignments' DilatedUNet.
    """

    def __init__(
        self,
        kernel_size: int = 3,
        num_in_channels: int = 1,
        num_filters: int = 32,
        num_colours: int = 24,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.downconv1 = _pooled(num_in_channels, num_filters, kernel_size, nn.MaxPool2d(2))
        self.downconv2 = _pooled(num_filters, 2 * num_filters, kernel_size, nn.MaxPool2d(2))
        self.rfconv = _pooled(2 * num_filters, 2 * num_filters, kernel_size, dilation=dilation)
        self.upconv1 = _pooled(4 * num_filters, num_filters, kernel_size, nn.Upsample(scale_factor=2))
        self.upconv2 = _pooled(2 * num_filters, num_colours, kernel_size, nn.Upsample(scale_factor=2))
        self.finalconv = MyConv2d(num_colours + num_in_channels, num_colours, kernel_size)
        self.join = Concatenate()

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        down1 = self.downconv1(images)
        down2 = self.downconv2(down1)
        up1 = self.upconv1(self.join(self.rfconv(down2), down2))
        up2 = self.upconv2(self.join(up1, down1))
        logits: Tensor = self.finalconv(self.join(up2, images))
        return logits


def DilatedUNet(
    kernel_size: int = 3, num_in_channels: int = 1, num_filters: int = 32, num_colours: int = 24
) -> UNet2018:
    """The 2018 assignments' DilatedUNet: `UNet2018` with one gap between the taps of `rfconv`."""
    return UNet2018(kernel_size, num_in_channels, num_filters, num_colours, dilation=2)


def _pooled(
    in_channels: int, out_channels: int, kernel_size: int, resize: nn.Module | None = None, dilation: int = 1
) -> nn.Sequential:
    """A block in the order of 2018: convolution, resizing, batch norm, ReLU."""
    convolution = (
        MyConv2d(in_channels, out_channels, kernel_size)
        if dilation == 1
        else MyDilatedConv2d(in_channels, out_channels, kernel_size, dilation=dilation)
    )
    return nn.Sequential(convolution, *([resize] if resize else []), nn.BatchNorm2d(out_channels), nn.ReLU())


class PoolUpsampleNet(nn.Module):
    """Images to logits of colours by pooling and upsampling (2021 assignment, Figure 1a).

    Float [N, num_in_channels, H, W] to [N, num_colours, H, W], H and W multiples of 4. Raises ValueError for an even
    kernel. The assignment's `nn.Conv2d` computes the same as `MyConv2d` from the same weights.
    """

    def __init__(
        self, kernel_size: int = 3, num_in_channels: int = 1, num_filters: int = 32, num_colours: int = 24
    ) -> None:
        super().__init__()
        self.downconv1 = _pooled(num_in_channels, num_filters, kernel_size, nn.MaxPool2d(2))
        self.downconv2 = _pooled(num_filters, 2 * num_filters, kernel_size, nn.MaxPool2d(2))
        self.upconv1 = _pooled(2 * num_filters, num_filters, kernel_size, nn.Upsample(scale_factor=2))
        self.upconv2 = _pooled(num_filters, num_colours, kernel_size, nn.Upsample(scale_factor=2))
        self.finalconv = MyConv2d(num_colours, num_colours, kernel_size)

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        for block in self.children():  # in the order in which they were made
            images = block(images)
        return images


class ConvTransposeNet(nn.Module):
    """Images to logits of colours by strided and transposed convolutions (2021 assignment, Figure 1b).

    Float [N, num_in_channels, H, W] to [N, num_colours, H, W], H and W multiples of 4, for every kernel from 3 on.
    """

    def __init__(
        self, kernel_size: int = 3, num_in_channels: int = 1, num_filters: int = 32, num_colours: int = 24
    ) -> None:
        super().__init__()
        self.downconv1 = _halving(num_in_channels, num_filters, kernel_size)
        self.downconv2 = _halving(num_filters, 2 * num_filters, kernel_size)
        self.upconv1 = _doubling(2 * num_filters, num_filters, kernel_size)
        self.upconv2 = _doubling(num_filters, num_colours, kernel_size)
        self.finalconv = nn.Conv2d(num_colours, num_colours, kernel_size, padding="same")

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        for block in self.children():  # in the order in which they were made
            images = block(images)
        return images


class UNet(nn.Module):
    """Images to logits of colours: `ConvTransposeNet` with skip connections (2021 assignment, Figure 1c).

    Float [N, num_in_channels, H, W] to [N, num_colours, H, W], H and W multiples of 4, for every kernel from 3 on.
    """

    def __init__(
        self, kernel_size: int = 3, num_in_channels: int = 1, num_filters: int = 32, num_colours: int = 24
    ) -> None:
        super().__init__()
        self.downconv1 = _halving(num_in_channels, num_filters, kernel_size)
        self.downconv2 = _halving(num_filters, 2 * num_filters, kernel_size)
        self.upconv1 = _doubling(2 * num_filters, num_filters, kernel_size)
        self.upconv2 = _doubling(2 * num_filters, num_colours, kernel_size)
        self.finalconv = nn.Conv2d(num_colours + num_in_channels, num_colours, kernel_size, padding="same")
        self.join = Concatenate()

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        down1 = self.downconv1(images)
        up1 = self.upconv1(self.downconv2(down1))
        up2 = self.upconv2(self.join(up1, down1))
        logits: Tensor = self.finalconv(self.join(up2, images))
        return logits


def crossed(down: Callable[..., nn.Module], up: Callable[..., nn.Module], **sizes: int) -> nn.Module:
    """A network that goes down as one network of 2021 does and up as another: `crossed(ConvTransposeNet, UNet)`.

    `sizes` are arguments of both; the halves must fit each other.
    """
    network, other = up(**sizes), down(**sizes)
    network.downconv1, network.downconv2 = other.downconv1, other.downconv2
    return network


def _halving(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    """A block that halves height and width by the stride of its convolution."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, stride=2, padding=(kernel_size - 1) // 2)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


def _doubling(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    """A block that doubles height and width: of the two sizes that a stride of 2 makes equal, the even one."""
    convolution = ConvTranspose2d(
        in_channels,
        out_channels,
        kernel_size,
        stride=2,
        padding=(kernel_size - 1) // 2,
        output_padding=kernel_size % 2,
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Put the weights stored in `path` into `model`.

    Reads `.npz` and `.safetensors`, which hold plain arrays, and `.pt`, `.pth` and `.pkl` without unpickling code.
    Raises ValueError where the file is of another kind, is damaged, is not what SHA256SUMS beside it says, or where its
    names and shapes are not the model's. Counters of batches that batch norm has seen may be absent: evaluation does
    not read them.
    """
    wanted = model.state_dict()
    stored = _read_weights(Path(path), 4 * sum(tensor.nbytes for tensor in wanted.values()) + 2**20)
    needed = {name for name in wanted if not name.endswith("num_batches_tracked")}
    problems = [f"{name} is missing" for name in wanted if name in needed - stored.keys()]
    problems += [f"{name} is not in the model" for name in stored if name not in wanted]
    problems += [
        f"{name} is {tuple(stored[name].shape)}, the model's {tuple(wanted[name].shape)}"
        for name in wanted.keys() & stored.keys()
        if stored[name].shape != wanted[name].shape
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
        raise ValueError(f"{path} does not fit {type(model).__name__}: {shown}")
    model.load_state_dict(stored, strict=False)


def _read_weights(path: Path, limit: int) -> dict[str, Tensor]:
    """The tensors in a file that unpacks to no more than `limit` bytes."""
    if path.suffix not in {".npz", ".safetensors", ".pt", ".pth", ".pkl"}:
        raise ValueError(f"{path} is no file of weights: use .npz, .safetensors, .pt, .pth or .pkl")
    raw = archives.verified(path)
    stream = io.BytesIO(raw)
    try:
        archives.check_zip(stream, limit)  # .npz, and what torch writes, which never asks for the checksums in it
        if path.suffix == ".npz":
            with np.load(stream, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        if path.suffix == ".safetensors":
            return load(raw)
        return {name: tensor.detach() for name, tensor in torch.load(stream, "cpu", weights_only=True).items()}
    except Exception as error:  # each format has its own errors for what is damaged, or would run code
        raise ValueError(f"{path} is damaged or holds more than named tensors: store them as .npz") from error
