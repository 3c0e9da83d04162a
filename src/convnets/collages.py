"""Pictures from which a network learns to segment before it meets a flower: shapes, and photographs cut to shapes.

Images are uint8 [N, size, size, 3], masks and labels of their pixels uint8 [N, size, size].
"""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.colors import rgb_to_hsv
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from convnets.scenes import CLASSES, Scenes, scenes

UNSEEN = "flower"  # the shape that no lesson shows
GREYS, HUES = 4, 8
COLOURS = GREYS + HUES


def shapes(num_images: int, size: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scenes without flowers, and their masks, 1 on the shape."""
    return _images_and_masks(_chosen(num_images, size, seed, wanted=False))


def flower_scenes(num_images: int, size: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scenes that show a flower each, and its masks, 1 on the flower."""
    return _images_and_masks(_chosen(num_images, size, seed, wanted=True))


def collages(photographs: Tensor, num_images: int, size: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A photograph cut to a shape that is no flower before another photograph, and the masks, 1 on the shape.

    `photographs` are uint8 [M, S, S, 3], enlarged to `size`.
    """
    masks = shapes(num_images, size, seed)[1]
    front, back = np.random.default_rng([seed, 1]).integers(0, len(photographs), (2, num_images))
    return torch.where(
        masks[..., None].bool(), _enlarged(photographs[front], size), _enlarged(photographs[back], size)
    ), masks


def colours(images: Tensor) -> Tensor:
    """Which of `COLOURS` a pixel has: four greys, darkest first, where its saturation is below 0.2, else eight hues."""
    hue, saturation, brightness = np.moveaxis(rgb_to_hsv(images.numpy() / 255), -1, 0)
    grey = np.minimum((GREYS * brightness).astype(np.uint8), GREYS - 1)
    coloured = GREYS + np.minimum((HUES * hue).astype(np.uint8), HUES - 1)
    return torch.from_numpy(np.where(saturation < 0.2, grey, coloured).astype(np.uint8))


def _images_and_masks(drawn: Scenes) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(drawn.images), torch.from_numpy(drawn.masks.astype(np.uint8))


def _chosen(num_images: int, size: int, seed: int, *, wanted: bool) -> Scenes:
    """Scenes with a flower in each or in none."""
    share = 1 / len(CLASSES) if wanted else 1 - 1 / len(CLASSES)
    drawn = scenes(int(1.5 * num_images / share) + 100, size, (seed, int(wanted)))
    kept: NDArray[np.intp] = np.flatnonzero((drawn.labels == CLASSES.index(UNSEEN)) == wanted)[:num_images]
    return Scenes(drawn.images[kept], drawn.labels[kept], drawn.masks[kept])


def _enlarged(photographs: Tensor, size: int) -> Tensor:
    enlarged = F.interpolate(photographs.permute(0, 3, 1, 2).float(), (size, size), mode="bilinear", antialias=True)
    return enlarged.round().to(torch.uint8).permute(0, 2, 3, 1)
