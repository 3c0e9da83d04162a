"""Pictures from which a network learns to segment before it meets a flower: shapes, and photographs cut to shapes.

Images are uint8 [N, size, size, 3], labels of their pixels uint8 [N, size, size].
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from convnets.scenes import CLASSES, Scenes, scenes

UNSEEN = "flower"  # the shape that no lesson shows


def shapes(num_images: int, size: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scenes without flowers, and the label of each pixel: 0 on the background, else 1 + the shape's class."""
    drawn = _chosen(num_images, size, seed, wanted=False)
    labels = np.where(drawn.masks, drawn.labels[:, None, None] + 1, 0).astype(np.uint8)
    return torch.from_numpy(drawn.images), torch.from_numpy(labels)


def flower_scenes(num_images: int, size: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scenes that show a flower each, and its masks, uint8 [N, size, size], 1 on the flower."""
    drawn = _chosen(num_images, size, seed, wanted=True)
    return torch.from_numpy(drawn.images), torch.from_numpy(drawn.masks.astype(np.uint8))


def collages(
    photographs: Tensor, classes: Tensor, num_images: int, size: int = 32, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """A photograph cut to a shape before another photograph; the label of each pixel is its photograph's class.

    `photographs` uint8 [M, S, S, 3], enlarged to `size`, `classes` uint8 [M]; no shape is a flower.
    """
    masks = torch.from_numpy(_chosen(num_images, size, seed, wanted=False).masks)
    front, back = np.random.default_rng([seed, 1]).integers(0, len(photographs), (2, num_images))
    images = torch.where(masks[..., None], _enlarged(photographs[front], size), _enlarged(photographs[back], size))
    return images, torch.where(masks, classes[front, None, None], classes[back, None, None])


def _chosen(num_images: int, size: int, seed: int, *, wanted: bool) -> Scenes:
    """Scenes with a flower in each or in none."""
    share = 1 / len(CLASSES) if wanted else 1 - 1 / len(CLASSES)
    drawn = scenes(int(1.5 * num_images / share) + 100, size, (seed, int(wanted)))
    kept: NDArray[np.intp] = np.flatnonzero((drawn.labels == CLASSES.index(UNSEEN)) == wanted)[:num_images]
    return Scenes(drawn.images[kept], drawn.labels[kept], drawn.masks[kept])


def _enlarged(photographs: Tensor, size: int) -> Tensor:
    enlarged = F.interpolate(photographs.permute(0, 3, 1, 2).float(), (size, size), mode="bilinear", antialias=True)
    return enlarged.round().to(torch.uint8).permute(0, 2, 3, 1)
