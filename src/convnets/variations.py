"""Augmentation of colour pictures for networks that see their grey and answer for every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convnets.colour import grey, nearest_colour, to_images, to_pixels
from convnets.training import flip


@dataclass(frozen=True)
class Variations:
    """New versions of colour pictures, and their grey and labels: an augmentation for `training.fit`.

    Half of the pictures are mirrored left to right; each is moved by up to `reach` pixels each way (what comes in at a
    border is mirrored there) and made darker or brighter by a factor from 1 - `brightness` to 1 + `brightness`. Grey
    and labels, the nearest of `colours` [K, 3], are taken afterwards: they belong to what the picture has become.
    """

    colours: NDArray[np.float32]
    reach: int = 4
    brightness: float = 0.1

    def __call__(self, pixels: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Grey float [N, 1, H, W] and labels int64 [N, H, W] of pixels [N, 3, H, W]; `targets` are not read.

        Raises ValueError where `reach` leaves no pixel to be mirrored.
        """
        number, _, *sizes = pixels.shape
        if not 0 <= self.reach < min(sizes):
            raise ValueError(f"reach is {self.reach} on pictures {tuple(sizes)}: choose 0 up to their size - 1")
        pixels, _ = flip(pixels, targets, generator)
        rows, columns = (_shifted(number, size, self.reach, generator) for size in sizes)
        each = torch.arange(number, device=pixels.device)[:, None, None]
        moved = pixels.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        change = 2 * torch.rand(number, 1, 1, 1, generator=generator, device=generator.device) - 1
        images = to_images(moved * (1 + self.brightness * change))
        return grey(to_pixels(images)), nearest_colour(images, self.colours).long()


def _shifted(number: int, size: int, reach: int, generator: torch.Generator) -> Tensor:
    """For each picture the places 0 … size - 1 that its pixels come from, [number, size], mirrored at both borders."""
    shifts = torch.randint(-reach, reach + 1, (number, 1), generator=generator, device=generator.device)
    places = (torch.arange(size, device=generator.device) + shifts).abs()
    return size - 1 - (size - 1 - places).abs()
