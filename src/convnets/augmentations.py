"""Pictures changed at random in ways that keep what they show: augmentations for `training.fit`, and for a Dataset.

On batches inputs are [N, C, H, W] and targets [N, ..., H, W]; axis -2 is up and down, -1 left and right. With
torchvision `per_picture`, and on batches `per_batch`, make the same three changes, in this order: a shift by up to
`padding` pixels each way (what comes in is mirrored at the border), a mirror image half of the time, and brightness
times a factor from 1 - b to 1 + b.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from convnets.colour import grey, nearest_colour, to_images, to_pixels

Transform = Callable[[Tensor], Tensor]


def mirror(inputs: Tensor, targets: Tensor, generator: torch.Generator, axis: int = -1) -> tuple[Tensor, Tensor]:
    """Half of the samples, chosen at random, in the opposite order along `axis`."""
    turned = torch.rand(len(inputs), 1, generator=generator, device=inputs.device) < 0.5
    places = torch.arange(inputs.shape[axis], device=inputs.device)
    sources = torch.where(turned, places.flip(0), places)
    return _taken(inputs, sources, axis), _taken(targets, sources, axis)


def shift(inputs: Tensor, targets: Tensor, generator: torch.Generator, axis: int = -1) -> tuple[Tensor, Tensor]:
    """Each sample moved by -1, 0 or 1 places along `axis`, all as likely; the place left empty repeats the edge."""
    steps = torch.randint(-1, 2, (len(inputs), 1), generator=generator, device=inputs.device)
    places = torch.arange(inputs.shape[axis], device=inputs.device)
    sources = (places - steps).clamp(0, len(places) - 1)
    return _taken(inputs, sources, axis), _taken(targets, sources, axis)


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


@dataclass(frozen=True)
class Variations:
    """New versions of colour pictures, and their grey and labels, for networks that answer for every pixel.

    Pixels are changed by `per_batch`; grey and labels, the nearest of `colours` [K, 3], are taken afterwards: they
    belong to what the picture has become.
    """

    colours: NDArray[np.float32]
    padding: int = 4
    brightness: float = 0.1

    def __call__(self, pixels: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Grey float [N, 1, H, W] and labels int64 [N, H, W] of pixels [N, 3, H, W]; `targets` are not read."""
        images = to_images(per_batch(pixels, targets, generator, self.padding, self.brightness)[0])
        return grey(to_pixels(images)), nearest_colour(images, self.colours).long()


def _taken(batch: Tensor, sources: Tensor, axis: int) -> Tensor:
    """The batch with place i along `axis` taken from place sources[n, i] of sample n."""
    shape = [len(batch), *[1] * (batch.ndim - 1)]
    shape[axis] = sources.shape[1]
    return torch.take_along_dim(batch, sources.view(shape), axis)


def _shifted(number: int, size: int, padding: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """For each picture the places 0 … size - 1 that its pixels come from, [number, size], mirrored at both borders."""
    shifts = torch.randint(-padding, padding + 1, (number, 1), generator=generator, device=device)
    places = (torch.arange(size, device=device) + shifts).abs()
    return torch.where(places < size, places, 2 * (size - 1) - places)
