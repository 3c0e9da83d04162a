"""Photographs larger than CIFAR-10's whose colours are known: Flowers-17, and those inside scikit-image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

BUNDLED = ("astronaut.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")  # at least 400 pixels high and wide


def bundled(size: int = 512) -> Tensor:
    """Photographs that come with scikit-image, their middle squares, uint8 [4, size, size, 3]; nothing is fetched."""
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    return _squares([folder / name for name in BUNDLED], size)


def flowers(folder: str | Path, num_images: int, size: int = 256) -> Tensor:
    """Pictures of Flowers-17 (Nilsback & Zisserman 2006) spread evenly over its classes, uint8 [N, size, size, 3].

    `folder` is the data set's `jpg`. Raises FileNotFoundError where it holds fewer pictures than asked for.
    """
    paths = sorted(Path(folder).glob("image_*.jpg"))
    if not 0 < num_images <= len(paths):
        raise FileNotFoundError(f"{folder} holds {len(paths)} pictures, not {num_images}: put Flowers-17's jpg there")
    return _squares([paths[k * len(paths) // num_images] for k in range(num_images)], size)


def shrink(images: Tensor, size: int) -> Tensor:
    """Square images uint8 [N, S, S, 3] made smaller by averaging whole blocks: uint8 [N, size, size, 3].

    ValueError where `size` does not divide S.
    """
    factor, rest = divmod(images.shape[1], size)
    if rest or not factor:
        raise ValueError(f"images of {images.shape[1]} pixels cannot be averaged to {size}: give a divisor")
    means = F.avg_pool2d(images.permute(0, 3, 1, 2).float(), factor)
    return means.round().to(torch.uint8).permute(0, 2, 3, 1)


def _squares(paths: list[Path], size: int) -> Tensor:
    return torch.from_numpy(np.stack([_square(path, size) for path in paths]))


def _square(path: Path, size: int) -> NDArray[np.uint8]:
    """The picture's middle square with `size` pixels a side."""
    with Image.open(path) as image:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC, box=box))
