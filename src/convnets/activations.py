"""What the layers of a network compute: their outputs, recorded by hooks, a figure of them, and measures.

Maps are float [N, C, H, W]: what a layer with C channels gives for N pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from convnets.figures import WIDTH


@torch.inference_mode()
def record(model: nn.Module, inputs: Tensor, names: Sequence[str], batch_size: int = 200) -> dict[str, Tensor]:
    """The outputs of the named layers for all inputs, in eval mode, by name in the order asked for, on the CPU.

    `inputs` are what the model reads, on any device. Of a layer that runs several times the last output is kept. The
    model is left as it was. ValueError for a name that is no layer's.
    """
    layers = dict(model.named_modules())
    if unknown := [name for name in names if name not in layers]:
        raise ValueError(f"{type(model).__name__} has no layer {unknown[0]!r}: choose from {', '.join(layers)[2:]}")
    batches: dict[str, list[Tensor]] = {name: [] for name in names}
    seen: dict[str, Tensor] = {}

    def keep(name: str, layer: nn.Module, given: Any, output: Tensor) -> None:
        seen[name] = output.cpu()

    hooks = [layers[name].register_forward_hook(partial(keep, name)) for name in names]
    was_training, device = model.training, next(model.parameters()).device
    try:
        model.eval()
        for batch in inputs.split(batch_size):
            model(batch.to(device))
            for name in names:
                batches[name].append(seen[name])
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(parts) for name, parts in batches.items()}


def sparsity(maps: Tensor) -> Tensor:
    """The share of activations that are exactly 0, as ReLU makes them: [N]."""
    return (maps == 0).double().mean((1, 2, 3))


def frequency(maps: Tensor) -> Tensor:
    """The mean spatial frequency of each picture's maps, in cycles per picture: [N].

    The mean of |k| / 2 over the coefficients of the maps' cosine transforms (DCT-II, orthonormal), k = (row, column),
    each with its square as weight; those of k = 0 are left out. A wave of m cycles along an axis has m. NaN for a
    picture whose maps are all constant.
    """
    rows, columns = (_cosines(size) for size in maps.shape[-2:])
    maps = maps.double() - maps.double().mean((2, 3), keepdim=True)
    energy = (rows @ maps @ columns.T).square().sum(1)
    down, right = (torch.arange(size, dtype=torch.float64) / 2 for size in maps.shape[-2:])
    cycles = torch.hypot(down[:, None], right)
    return (energy * cycles).sum((1, 2)) / energy.sum((1, 2))


def _cosines(size: int) -> Tensor:
    """The orthonormal cosine transform of `size` numbers as a matrix, a frequency in each row."""
    numbers = torch.arange(size, dtype=torch.float64)
    waves = math.sqrt(2 / size) * torch.cos(math.pi / size * numbers[:, None] * (numbers + 0.5))
    waves[0] /= math.sqrt(2)
    return waves


def similarity(maps: Tensor, pictures: Tensor) -> Tensor:
    """The size of the correlation of each map with its picture: [N, C], from 0 to 1, NaN for a constant map.

    `pictures` are float [N, 1, ...], averaged to the maps' size; the correlation is Pearson's, over the pixels.
    """
    seen = F.adaptive_avg_pool2d(pictures.double(), (maps.shape[-2], maps.shape[-1])).flatten(2)
    seen, given = (x - x.mean(2, keepdim=True) for x in (seen, maps.double().flatten(2)))
    products = (seen * given).sum(2)
    return products.abs() / (seen.square().sum(2) * given.square().sum(2)).sqrt()


def readout(maps: Tensor, targets: Tensor, groups: int = 10) -> Tensor:
    """The share of the targets' variance that the maps predict linearly, in groups of pictures: [groups].

    `targets` are float [N, K, sH, sW]. The C channels at each place predict the K s x s numbers of its block by least
    squares, fitted on the first half of the pictures and judged on the second (the linear probe of Alain & Bengio
    2016). At most 1, and below 0 where the mean of the first half would have been nearer.
    """
    blocks = F.pixel_unshuffle(targets.double(), targets.shape[-1] // maps.shape[-1])
    half = len(maps) // 2
    fitted, judged = (
        [x[part].double().permute(0, 2, 3, 1) for x in (maps, blocks)] for part in (slice(half), slice(half, None))
    )
    means = [x.mean((0, 1, 2)) for x in fitted]
    known, wanted = ((x - mean).flatten(0, 2) for x, mean in zip(fitted, means, strict=True))
    weights = torch.linalg.pinv(known.T @ known, rtol=1e-10, hermitian=True) @ known.T @ wanted
    known, wanted = (x - mean for x, mean in zip(judged, means, strict=True))
    left, all_of_it = ((known @ weights - wanted).square().sum((1, 2, 3)), wanted.square().sum((1, 2, 3)))
    parts = zip(left.tensor_split(groups), all_of_it.tensor_split(groups), strict=True)
    return torch.stack([1 - error.sum() / total.sum() for error, total in parts])


def channel_grid(layers: Mapping[str, ArrayLike], columns: int = 8) -> Figure:
    """All channels of the named layers, [C, H, W] each, for one picture; every layer has one scale for its channels.

    From 0 (dark) to the layer's largest activation; where a layer has negative ones too, from blue to red around 0.
    """
    arrays = {name: np.asarray(maps, float) for name, maps in layers.items()}
    rows = [-(-len(maps) // columns) for maps in arrays.values()]
    figure = Figure(
        figsize=(WIDTH, sum(rows) * 0.9 * WIDTH / columns + 0.3 * len(rows)),
        layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02),
    )
    panels = figure.subplots(len(rows), 1, height_ratios=rows, squeeze=False)[:, 0]
    for axes, (name, maps) in zip(panels, arrays.items(), strict=True):
        most = np.abs(maps).max()
        signed = maps.min() < 0
        image = axes.imshow(
            _side_by_side(maps, columns),
            cmap=mpl.colormaps["RdBu_r" if signed else "inferno"],
            vmin=-most if signed else 0,
            vmax=most,
            interpolation="none",
            aspect="equal",
        )
        axes.set_axis_off()
        axes.set_title(f"{name}: {len(maps)} channels of {maps.shape[1]}×{maps.shape[2]}", fontsize=9, loc="left")
        ticks = [-most, 0, most] if signed else [0, most]
        bar = figure.colorbar(image, ax=axes, ticks=ticks, format="%.2g", fraction=0.03, pad=0.01, aspect=8 * 1.5)
        bar.ax.tick_params(labelsize=7)
    return figure


def _side_by_side(maps: NDArray[Any], columns: int, gap: int = 4) -> NDArray[Any]:
    """The maps [C, H, W] in rows of `columns`, enlarged by whole pixels, NaN between them."""
    times = -(-64 // maps.shape[1])
    large = np.kron(maps, np.ones((1, times, times)))
    places = np.full((-(-len(maps) // columns) * columns, *large.shape[1:]), np.nan)
    places[: len(maps)] = large
    framed = np.pad(places, ((0, 0), (0, gap), (0, gap)), constant_values=np.nan)
    _, height, width = framed.shape
    grid = framed.reshape(-1, columns, height, width).transpose(0, 2, 1, 3)
    return grid.reshape(-1, columns * width)[:-gap, :-gap]
