"""A network that starts from a lookup table of colours and adds what it sees around a pixel."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from convnets.layers import Concatenate


class TableNet(nn.Module):
    """Grey images to logits of colours: a U-Net (Ronneberger et al. 2015) that corrects a table of log-probabilities.

    Float [N, 1, H, W] to [N, K, H, W], of any size. `table` float [256, K] holds the log-probability of each colour for
    each grey level, as `colour.fit_class_table` gives it. The last layer starts at zero, so training starts there.
    `depth` is how often the picture is halved. What can be left out: `position` (the row, and the distance from the
    middle column, as inputs), `context` (the mean over the whole picture), `dropout` (of whole channels: Tompson et al.
    2015). `coarse` times smaller are the pictures that the U-Net, but not the table, gets to see.
    """

    table: Tensor

    def __init__(
        self,
        table: Tensor,
        num_filters: int = 24,
        depth: int = 3,
        position: bool = True,
        context: bool = True,
        dropout: float = 0.1,
        coarse: int = 1,
    ) -> None:
        super().__init__()
        self.register_buffer("table", table)
        self.position = position
        widths = [num_filters * 2**level for level in range(depth + 1)]
        self.shrink = nn.AvgPool2d(coarse, ceil_mode=True) if coarse > 1 else nn.Identity()
        self.down = nn.ModuleList(_block(*pair) for pair in pairwise([3 if position else 1, *widths]))
        self.bottom = Context(widths[-1]) if context else nn.Identity()
        self.up = nn.ModuleList(_block(below + beside, beside) for beside, below in pairwise(widths))
        self.dropout = nn.Dropout2d(dropout)
        self.evidence = nn.Linear(num_filters, table.shape[1])
        for parameter in self.evidence.parameters():
            nn.init.zeros_(parameter)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)  # an odd row is kept, and what is too much cropped at the joins
        self.enlarge = nn.Upsample(scale_factor=2)
        self.grow = nn.Upsample(scale_factor=coarse) if coarse > 1 else nn.Identity()
        self.join = Concatenate()

    def forward(self, grey: Tensor) -> Tensor:
        """The logits: the table's log-probabilities, and the U-Net's evidence added to them."""
        images = self.shrink(4 * (grey - 0.5))
        if self.position:
            images = self.join(images, *_places(images))
        skips: list[Tensor] = []
        for block in self.down:
            images = block(self.pool(images) if skips else images)
            skips.append(images)
        images = self.dropout(self.bottom(skips.pop()))
        for block in reversed(self.up):
            images = block(self.join(self.enlarge(images), skips.pop()))
        evidence = self.evidence(self.dropout(images).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        evidence = self.grow(evidence)[:, :, : grey.shape[2], : grey.shape[3]]
        levels = (grey[:, 0] * 256 + 0.1).long()  # whole levels: greys are thirds, of which float32 may fall short
        logits: Tensor = evidence + self.table[levels.clamp(0, 255)].permute(0, 3, 1, 2)
        return logits


class Context(nn.Module):
    """Images, each place changed by what lies around it and by the mean of the whole picture.

    Float [N, C, H, W] to the same. A residual block (He et al. 2016) with a linear layer on the mean; what both change
    starts at zero.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.around = _block(channels, channels)
        self.change = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.normalise = nn.BatchNorm2d(channels)
        self.whole = nn.Linear(channels, channels)
        nn.init.zeros_(self.normalise.weight)
        nn.init.zeros_(self.whole.weight)

    def forward(self, images: Tensor) -> Tensor:
        """The changed images."""
        change = self.normalise(self.change(self.around(images)))
        return torch.relu(images + change + self.whole(images.mean((2, 3)))[:, :, None, None])


class Mirrored(nn.Module):
    """The mean of what a network says of pictures and, mirrored back, of their mirror images: [N, K, H, W] as its own.

    Cross-entropy is convex in the logits, so their mean costs at most the mean of both costs (Jensen's inequality).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """The mean of the two outputs."""
        outputs: Tensor = self.network(images) + self.network(images.flip(-1)).flip(-1)
        return outputs / 2


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)  # batch norm would take a bias away
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


def _places(images: Tensor) -> tuple[Tensor, Tensor]:
    """The row, -1 at the top and 1 at the bottom, and the distance from the middle column: two [N, 1, H, W]."""
    number, _, height, width = images.shape
    rows = torch.linspace(-1, 1, height, device=images.device, dtype=images.dtype).view(1, 1, -1, 1)
    columns = torch.linspace(-1, 1, width, device=images.device, dtype=images.dtype).abs().view(1, 1, 1, -1)
    return rows.expand(number, 1, height, width), columns.expand(number, 1, height, width)
