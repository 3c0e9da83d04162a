"""Random changes of pictures that keep what they show: picture by picture with torchvision, and on whole batches.

Both ways make the same three changes, in this order: a shift by up to `padding` pixels each way (what comes in is
mirrored at the border), a mirror image half of the time, and brightness times a factor from 1 - b to 1 + b.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.data import Dataset

from convnets.colour import to_pixels

Transform = Callable[[Tensor], Tensor]


class Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures and labels, one at a time: each time that a picture is asked for, `transform` draws a new version of it.

    From images uint8 [N, H, W, 3] and labels [N]; a sample is pixels float32 [3, H, W] / 256 and a label.
    """

    def __init__(self, images: Tensor, labels: Tensor, transform: Transform | None = None) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels = to_pixels(self.images[index : index + 1])[0]
        return self.transform(pixels) if self.transform else pixels, int(self.labels[index])


def per_picture(size: int = 32, padding: int = 4, brightness: float = 0.2) -> Transform:
    """torchvision's transforms for one picture, float [3, size, size] in [0, 1]; they draw from PyTorch's generator."""
    from torchvision import transforms  # here, because it takes seconds to load

    chosen: Transform = transforms.Compose(
        [
            transforms.RandomCrop(size, padding=padding, padding_mode="reflect"),
            transforms.RandomHorizontalFlip(),
            transforms.ColorJitter(brightness=brightness),
        ]
    )
    return chosen


def per_batch(
    pictures: Tensor, labels: Tensor, generator: torch.Generator, padding: int = 4, brightness: float = 0.2
) -> tuple[Tensor, Tensor]:
    """The pictures, float [N, C, H, W] in [0, 1], changed as `per_picture` would, each by draws of its own; the labels.

    An augmentation for `training.fit`, on the device where the pictures are. Raises ValueError where `padding` leaves
    no pixel to be mirrored.
    """
    if not 0 <= padding < min(pictures.shape[2:]):
        raise ValueError(f"padding is {padding} on pictures {tuple(pictures.shape[2:])}: choose 0 up to their size - 1")
    number, device = len(pictures), pictures.device
    mirrored = torch.rand(number, 1, generator=generator, device=device) < 0.5
    rows, columns = (_shifted(number, size, padding, generator, device) for size in pictures.shape[2:])
    columns = torch.where(mirrored, columns.flip(1), columns)
    each = torch.arange(number, device=device)[:, None, None]
    # all channels of a pixel lie together, in this indexing and in memory
    moved = pictures.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    factor = 1 + brightness * (2 * torch.rand(number, 1, 1, 1, generator=generator, device=device) - 1)
    return (moved * factor).clamp_(0, 1), labels


def _shifted(number: int, size: int, padding: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """For each picture the places 0 … size - 1 that its pixels come from, [number, size], mirrored at both borders."""
    shifts = torch.randint(-padding, padding + 1, (number, 1), generator=generator, device=device)
    places = (torch.arange(size, device=device) + shifts).abs()
    return torch.where(places < size, places, 2 * (size - 1) - places)
