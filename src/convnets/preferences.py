"""What each channel of a network responds to over a whole data set: how strongly, where, and for which classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from convnets.activations import record
from convnets.colour import to_pixels


class Responses(NamedTuple):
    """One layer's responses to N pictures, for each of its C channels, all [N, C] but `places`.

    The largest response, where it stands ([N, C, 2]: row and column of the layer's map), the mean, and the share of
    places where it is not 0.
    """

    peaks: Tensor
    places: Tensor
    means: Tensor
    active: Tensor


def responses(model: nn.Module, images: Tensor, names: Sequence[str], batch_size: int = 500) -> dict[str, Responses]:
    """What the named layers respond to images uint8 [N, H, W, 3], by name; the maps themselves are not kept."""
    parts: dict[str, list[Responses]] = {name: [] for name in names}
    for batch in images.split(batch_size):
        for name, maps in record(model, to_pixels(batch), names, batch_size).items():
            peaks, places = maps.flatten(2).max(2)
            rows_and_columns = torch.stack([places // maps.shape[3], places % maps.shape[3]], -1)
            means, active = maps.mean((2, 3)), (maps != 0).float().mean((2, 3))
            parts[name].append(Responses(peaks, rows_and_columns, means, active))
    return {name: Responses(*map(torch.cat, zip(*found, strict=True))) for name, found in parts.items()}


def explained_by_class(values: Tensor, labels: Tensor) -> Tensor:
    """The share of each channel's variance, over pictures, that lies between classes: [C] from [N, C] and labels [N].

    0 where all classes have the same mean, 1 where the class says all; 0 for a channel that never changes. It is
    Pearson's correlation ratio, squared. Labels without influence leave (K - 1) / (N - 1) of K classes on average.
    """
    values, total = values.double(), values.double().var(0, correction=0)
    overall, between = values.mean(0), torch.zeros_like(total)
    for label in labels.unique():
        of_class = values[labels == label]
        between += len(of_class) / len(values) * (of_class.mean(0) - overall).square()
    return torch.where(total > 1e-12, between / total.clamp(min=1e-12), 0.0)


def patches(images: Tensor, places: Tensor, size: int, stride: int) -> Tensor:
    """What units see of their pictures: [N, size, size, 3] from images [N, H, W, 3] and the units' places [N, 2].

    For layers without padding: the unit at (i, j) sees `size` pixels a side from (stride i, stride j) on.
    """
    windows = images.unfold(1, size, 1).unfold(2, size, 1)  # [N, H', W', 3, size, size]
    rows, columns = (places * stride).T
    return windows[torch.arange(len(images)), rows, columns].permute(0, 2, 3, 1)
