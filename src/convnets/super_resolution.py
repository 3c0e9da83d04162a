"""Super-resolution as in the briefs: pictures made four times smaller, and enlarged again with and without a network.

Pixels are float [N, C, H, W], divided by 256. A small picture is [N, C, H/4, W/4].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FACTOR = 4
METHODS = ("nearest", "bilinear", "bicubic", "bicubic_antialias")


def degrade(pixels: Tensor) -> Tensor:
    """The pictures made four times smaller by two 2x2 average poolings, which is one 4x4 pooling: [N, C, H/4, W/4].

    ValueError where H or W is no multiple of 4.
    """
    if pixels.shape[-2] % FACTOR or pixels.shape[-1] % FACTOR:
        size = "x".join(map(str, pixels.shape[-2:]))
        raise ValueError(f"the pictures are {size}: crop them to multiples of {FACTOR}")
    return F.avg_pool2d(F.avg_pool2d(pixels, 2), 2)


def enlarge(small: Tensor, method: str = "nearest") -> Tensor:
    """The small pictures made four times larger by interpolation: [N, C, h, w] to [N, C, 4h, 4w].

    'nearest', 'bilinear' and 'bicubic' are torch's `interpolate` with pixel centres at halves (align_corners=False) and
    antialias=False. With antialias=True torch, when it enlarges, smooths no more, but takes the cubic of Keys (1981)
    with a = -1/2 instead of -3/4, as Pillow does: that is 'bicubic_antialias'. ValueError for another name.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}: choose one of {', '.join(METHODS)}")
    if method == "nearest":
        return F.interpolate(small, scale_factor=FACTOR)
    mode, _, antialias = method.partition("_")
    return F.interpolate(small, scale_factor=FACTOR, mode=mode, align_corners=False, antialias=bool(antialias))


def process(pixels: Tensor) -> Tensor:
    """The briefs' input of a super-resolving network: made smaller, and nearest back to the old size."""
    return enlarge(degrade(pixels))


def consistent(pixels: Tensor, small: Tensor) -> Tensor:
    """The pictures nearest to `pixels` (in squared error) that `degrade` makes into `small`: an orthogonal projection.

    The truth is such a picture too, so by Pythagoras the squared error never grows.
    """
    return pixels + enlarge(small - degrade(pixels))


@dataclass(frozen=True)
class LinearUpscaler:
    """A linear map from the window around a small pixel, all channels, to the 4x4 block of pixels that it stands for.

    `weight` is float [48, 3, k, k], a convolution's, and `bias` [48]; outputs are in the order of torch's
    `pixel_shuffle`. Beyond the border the picture repeats its last row and column.
    """

    weight: Tensor
    bias: Tensor

    @property
    def receptive_field(self) -> int:
        """The width, in pixels of the large picture, of what one output pixel reads."""
        return FACTOR * self.weight.shape[-1]

    def __call__(self, small: Tensor) -> Tensor:
        """The enlarged pictures: [N, 3, h, w] to [N, 3, 4h, 4w]."""
        margin = self.weight.shape[-1] // 2
        padded = F.pad(small, 4 * (margin,), mode="replicate")
        blocks = F.conv2d(padded, self.weight.to(small.dtype), self.bias.to(small.dtype))
        return F.pixel_shuffle(blocks, FACTOR)


def fit_linear_upscaler(pixels: Tensor, window: int = 5, ridge: float = 0.0) -> LinearUpscaler:
    """The linear upscaler of least squared error on `pixels` [N, 3, H, W], from the normal equations in float64.

    It minimises sum |W x - y|^2 + ridge |W|^2 over all small pixels, where x holds the window's values and a one, and
    y the block; the solution is W = Y^T X (X^T X + ridge I)^-1 (Gauss 1809; Hoerl & Kennard 1970 for the ridge).
    ValueError for an even window, and where the equations have no single solution and ridge is 0.
    """
    if window % 2 == 0:
        raise ValueError(f"window is {window}: give an odd one, whose middle is a pixel")
    size = 3 * window**2 + 1
    gram = torch.zeros(size, size, dtype=torch.float64)
    products = torch.zeros(size, 3 * FACTOR**2, dtype=torch.float64)
    for part in pixels.double().split(500):
        known, wanted = _equations(part, window)
        gram += known.T @ known
        products += known.T @ wanted
    factor, failed = torch.linalg.cholesky_ex(gram + ridge * torch.eye(size, dtype=torch.float64))
    if failed:
        raise ValueError(f"too few different pictures ({len(pixels)}) for a window of {window}: give a ridge above 0")
    solution = torch.cholesky_solve(products, factor).T
    return LinearUpscaler(solution[:, :-1].reshape(-1, 3, window, window), solution[:, -1].clone())


def _equations(pixels: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """A row for each small pixel: its window's values and a one, [n, 3 k^2 + 1], and its block, [n, 48]."""
    small = degrade(pixels)
    padded = F.pad(small, 4 * (window // 2,), mode="replicate")
    windows, blocks = F.unfold(padded, window), F.pixel_unshuffle(pixels, FACTOR).flatten(2)
    known = torch.cat([windows, torch.ones_like(windows[:, :1])], 1)
    return known.transpose(1, 2).flatten(0, 1), blocks.transpose(1, 2).flatten(0, 1)


class ResidualUpscaler(nn.Module):
    """Inputs from `process` to pictures: what bicubic interpolation leaves open, by the network that `build` makes.

    Float [N, 3, H, W] to [N, 3, H, W], H and W multiples of 4. The result is consistent: `degrade` gives the small
    picture back, whatever the weights.
    """

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.network = build()

    def forward(self, inputs: Tensor) -> Tensor:
        """The pictures."""
        small = degrade(inputs)
        return consistent(enlarge(small, "bicubic") + self.network(inputs), small)


class SubPixelNet(nn.Module):
    """Inputs from `process` to what is to be added: residual blocks on the small picture, then a sub-pixel convolution.

    Float [N, 3, H, W] to [N, 3, H, W], H and W multiples of 4. The blocks are those of He et al. (2016); the last layer
    gives each small pixel 48 channels that are laid out as its 4x4 block of pixels (Shi et al. 2016), and starts at 0.
    """

    def __init__(self, num_filters: int = 64, num_blocks: int = 4) -> None:
        super().__init__()
        self.first = nn.Sequential(*_normalised(3, num_filters), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(*_normalised(num_filters, num_filters), nn.ReLU(), *_normalised(num_filters, num_filters))
            for _ in range(num_blocks)
        )
        self.last = nn.Conv2d(num_filters, 3 * FACTOR**2, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, inputs: Tensor) -> Tensor:
        """The pictures to be added."""
        features = self.first(degrade(inputs))
        for block in self.blocks:
            features = F.relu(features + block(features))
        return F.pixel_shuffle(self.last(features), FACTOR)


def _normalised(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels)]


def shift_and_flip(inputs: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """An augmentation for `fit`: the batch moved by -2 to 1 rows and columns, half of it mirrored, and processed anew.

    What leaves a picture is replaced by its mirror image. A shift groups the pixels differently before they are
    averaged, so each picture has 16 small ones and not one.
    """
    height, width = targets.shape[-2:]
    down, right = torch.randint(4, (2,), generator=generator, device=targets.device).tolist()
    moved = F.pad(targets, (2, 2, 2, 2), mode="reflect")[:, :, down : down + height, right : right + width]
    mirrored = torch.rand(len(targets), generator=generator, device=targets.device) < 0.5
    pictures = torch.where(mirrored[:, None, None, None], moved.flip(-1), moved)
    return process(pictures), pictures
