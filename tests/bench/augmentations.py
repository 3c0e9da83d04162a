"""New versions of pictures for a whole batch at once beside torchvision's transforms, picture by picture."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader

from convnets import augmentations, colour
from tests.bench.measure import Pair

COUNT, BATCH = 1000, 100


def pairs(quick: bool) -> list[Pair]:
    """The same shifts, mirror images and changes of brightness of 32×32 pictures, in batches of 100 on both sides."""
    torch.set_num_threads(1)
    images = torch.randint(256, (COUNT, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(COUNT, dtype=torch.uint8)
    one_by_one = DataLoader(augmentations.Pictures(images, labels, augmentations.per_picture()), BATCH)
    generator = torch.Generator().manual_seed(0)

    def on_batches() -> None:
        for batch, names in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            augmentations.per_batch(colour.to_pixels(batch), names, generator)

    def picture_by_picture() -> None:
        for _ in one_by_one:
            pass

    name = f"{COUNT:,} pictures augmented in batches of {BATCH}"
    return [Pair(name, on_batches, "torchvision in __getitem__, DataLoader", picture_by_picture, goal=5)]
