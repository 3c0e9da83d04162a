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
    return (maps == 0).sum((1, 2, 3)) / maps[0].numel()


def frequency(maps: Tensor) -> Tensor:
    """The mean spatial frequency of each picture's maps, in cycles per picture: [N].

    The mean of |k| / 2 over the coefficients of the maps' cosine transforms (DCT-II, orthonormal), k = (row, column),
    each with its square as weight; those of k = 0 are left out. A wave of m cycles along an axis has m. NaN for a
    picture whose maps are all constant.
    """
    rows, columns = (_cosines(size).to(maps.dtype) for size in maps.shape[-2:])
    energy = (rows @ (maps - maps.mean((2, 3), keepdim=True)) @ columns.T).square().sum(1).double()
    down, right = (torch.arange(size, dtype=torch.float64) / 2 for size in maps.shape[-2:])
    return (energy * torch.hypot(down[:, None], right)).sum((1, 2)) / energy.sum((1, 2))


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
    seen = F.adaptive_avg_pool2d(pictures, (maps.shape[-2], maps.shape[-1])).flatten(2)
    seen, given = (x - x.mean(2, keepdim=True) for x in (seen, maps.flatten(2)))
    correlation: Tensor = (seen * given).sum(2) / (seen.square().sum(2) * given.square().sum(2)).sqrt()
    return correlation.abs()


def readout(maps: Tensor, targets: Tensor, groups: int = 10) -> Tensor:
    """The share of the targets' variance that the maps predict linearly, in groups of pictures: [groups].

    `targets` are float [N, K, sH, sW]. The C channels at each place predict the K s x s numbers of its block by least
    squares, fitted on the first half of the pictures and judged on the second (the linear probe of Alain & Bengio
    2016). At most 1, and below 0 where the mean of the first half would have been nearer.
    """
    half = len(maps) // 2
    known, wanted = _at_each_place(maps[:half], targets[:half])
    means = [x.mean((0, 1)) for x in (known, wanted)]
    known, wanted = (x - mean for x, mean in zip((known, wanted), means, strict=True))
    gram = torch.einsum("npc,npd->cd", known, known)
    weights = torch.linalg.pinv(gram, rtol=1e-10, hermitian=True) @ torch.einsum("npc,npd->cd", known, wanted)
    known, wanted = (x - mean for x, mean in zip(_at_each_place(maps[half:], targets[half:]), means, strict=True))
    errors, sizes = (x.square().sum((1, 2)).tensor_split(groups) for x in (known @ weights - wanted, wanted))
    return torch.stack([1 - error.sum() / size.sum() for error, size in zip(errors, sizes, strict=True)])


def _at_each_place(maps: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The channels at each place, [N, HW, C], and the targets that it stands for, [N, HW, K s^2], in float64."""
    blocks = F.pixel_unshuffle(targets, targets.shape[-1] // maps.shape[-1])
    known, wanted = (x.double().flatten(2).transpose(1, 2) for x in (maps, blocks))
    return known, wanted


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
