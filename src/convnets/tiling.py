"""Networks that learnt from small pictures, on larger ones: of any size, whole or in tiles, and what each pixel reads.

Images are float [N, C, H, W]. The networks halve their pictures twice, so their grid is 4: they want multiples of it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GRID = 4
Network = Callable[[Tensor], Tensor]


def on_any_size(model: Network, images: Tensor) -> Tensor:
    """The outputs of `model` for images whose height and width need not be multiples of 4: [N, K, H, W].

    Below and at the right the images are continued by their mirror image, and the outputs are cropped. ValueError where
    H or W is below 4.
    """
    height, width = images.shape[-2:]
    if min(height, width) < GRID:
        raise ValueError(f"the images are {height}x{width}: give at least {GRID}x{GRID} pixels")
    padded = F.pad(images, (0, -width % GRID, 0, -height % GRID), mode="reflect")
    return model(padded)[..., :height, :width]


def tiled(model: Network, images: Tensor, tile: int, overlap: int) -> Tensor:
    """The outputs of `model`, computed in tiles of `tile` x `tile` pixels: [N, K, H, W].

    Each tile is read with `overlap` pixels more on all sides, as far as the images reach, of which the outputs are
    thrown away. With the overlap from `overlap_needed` the result is that of the whole images. ValueError where a
    number is no multiple of 4.
    """
    height, width = images.shape[-2:]
    for name, number in {"height": height, "width": width, "tile": tile, "overlap": overlap}.items():
        if number % GRID or number < (name != "overlap"):
            raise ValueError(f"{name} is {number}: give a multiple of {GRID}")
    rows = []
    for top in range(0, height, tile):
        first = max(0, top - overlap)
        row = []
        for left in range(0, width, tile):
            start = max(0, left - overlap)
            read = images[..., first : top + tile + overlap, start : left + tile + overlap]
            row.append(model(read)[..., top - first :, left - start :][..., :tile, :tile])
        rows.append(torch.cat(row, -1))
    return torch.cat(rows, -2)


def rows_read(model: nn.Module, num_in_channels: int = 1, size: int = 96) -> Tensor:
    """Which input rows each output row of `model`, in eval mode, can read: bool [size, size], output rows first.

    Measured exactly and without a derivative: a row of NaN is put into an image, and what reads it becomes NaN, for NaN
    survives every multiplication, even by zero, every maximum and every ReLU.
    """
    probe = copy.deepcopy(model).cpu().double().eval()  # in float64, because fast algorithms mix neighbouring outputs
    images = torch.zeros(size, num_in_channels, size, 4 * GRID, dtype=torch.float64)
    images[torch.arange(size), :, torch.arange(size)] = torch.nan
    with torch.inference_mode():  # a few at a time, to spare memory
        return torch.cat([probe(part).isnan().any(3).any(1) for part in images.split(16)]).T


def overlap_needed(model: nn.Module, num_in_channels: int = 1, size: int = 96) -> int:
    """The least overlap, a multiple of 4, with which tiles give what the whole image gives.

    A tile begins and ends at multiples of 4, so the overlap has to cover what the four rows of one block read beyond
    the block. ValueError where `size` rows are too few to see that.
    """
    middle = size // 2 // GRID * GRID
    read = rows_read(model, num_in_channels, size)[middle : middle + GRID].any(0).nonzero().flatten()
    first, last = int(read[0]), int(read[-1])
    if first == 0 or last == size - 1:
        raise ValueError(f"a row reads as far as {size} rows reach: give a larger size")
    beyond = max(middle - first, last - (middle + GRID - 1))
    return -(-beyond // GRID) * GRID


def batch_norm_shift(model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """How far each batch norm's inputs lie from the mean that it remembers, in its standard deviations, by layer name.

    The root mean square over channels of (mean over images and pixels - running mean) / running deviation, eval mode.
    """
    found: dict[str, float] = {}

    def look(name: str, layer: nn.BatchNorm2d, images: Tensor) -> None:
        assert layer.running_mean is not None
        assert layer.running_var is not None
        gap = images.mean((0, 2, 3)) - layer.running_mean
        found[name] = float((gap / (layer.running_var + layer.eps).sqrt()).square().mean().sqrt())

    norms = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)]
    hooks = [
        layer.register_forward_pre_hook(lambda layer, given, name=name: look(name, layer, given[0]))
        for name, layer in norms
    ]
    try:
        with torch.inference_mode():
            model.eval()(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found
