"""`training.fit` beside the usual loop, one thread each: UNet with 32 filters on the horses, or where they are not,
on scenes.

The usual loop is a DataLoader in the same process, float32 in PyTorch's default layout, and the labels of each batch by
its distances from the colours. `fit` computes the labels too, once, within the time that is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from convnets import colour, data, models, training
from tests.bench.measure import Pair

NUM_TRAIN, NUM_VALIDATION, EPOCHS, BATCH_SIZE = 500, 100, 4, 100
GOALS = {torch.bfloat16: 5.0, torch.float32: 3.5}  # by what the processor has instructions for
CPU = torch.device("cpu")
SOURCES = ("cifar10.npz", "cifar-10-batches-py", "cifar-10-python.tar.gz")

Way = Callable[..., list[float]]


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """Grey and colour of one picture after the other, float32 [1, H, W] and [3, H, W]."""

    def __init__(self, images: Tensor) -> None:
        self.pixels = (images.permute(0, 3, 1, 2) / 256).contiguous()

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.pixels[index].mean(0, keepdim=True), self.pixels[index]


def labels_of(pixels: Tensor, colours: Tensor) -> Tensor:
    """The nearest colour of every pixel [N, 3, H, W] by all its distances: int64 [N, H, W]."""
    return (pixels - colours[:, None, :, None, None]).norm(dim=2).argmin(0)


def usual_loop(
    model: nn.Module, train: Tensor, validation: Tensor, colours: Tensor, epochs: int, batch_size: int
) -> list[float]:
    """The validation loss after each epoch; images uint8 [N, H, W, 3]."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    learning = DataLoader(Pictures(train), batch_size, shuffle=True)
    judging = DataLoader(Pictures(validation), batch_size)
    losses = []
    for _ in range(epochs):
        model.train()
        for grey, pixels in learning:
            optimiser.zero_grad()
            F.cross_entropy(model(grey), labels_of(pixels, colours)).backward()
            optimiser.step()
        model.eval()
        total = 0.0
        with torch.no_grad():
            for grey, pixels in judging:
                total += F.cross_entropy(model(grey), labels_of(pixels, colours)).item() * len(grey)
        losses.append(total / len(validation))
    return losses


def fit(
    model: nn.Module, train: Tensor, validation: Tensor, colours: Tensor, epochs: int, batch_size: int
) -> list[float]:
    """The same by this project."""
    (inputs, labels), judged = (
        (colour.grey(colour.to_pixels(images)), colour.nearest_colour(images, colours))
        for images in (train, validation)
    )
    return training.fit(
        model, inputs, labels, F.cross_entropy, validation=judged, epochs=epochs, batch_size=batch_size, device=CPU
    ).validation_loss


def _dataset() -> str:
    return "horses" if any((data.data_root() / name).exists() for name in SOURCES) else "scenes"


@cache
def _pictures() -> tuple[Tensor, Tensor, Tensor]:
    found = data.load(_dataset(), num_train=NUM_TRAIN, num_validation=NUM_VALIDATION)
    colours = colour.fit_colours(found.train_images, 24, restarts=1)
    return found.train_images, found.validation_images, torch.from_numpy(colours)


def _run(way: Way) -> None:
    torch.manual_seed(0)
    way(models.UNet(), *_pictures(), EPOCHS, BATCH_SIZE)


def pairs() -> list[Pair]:
    """One pair, from the same first weights."""
    torch.set_num_threads(1)
    precision = training.choose_precision(CPU)
    name = f"UNet on {_dataset()}, {EPOCHS} epochs of {NUM_TRAIN}, {str(precision)[6:]}, one thread"
    peer = "DataLoader, float32, one thread"
    return [Pair(name, lambda: _run(fit), peer, lambda: _run(usual_loop), goal=GOALS[precision])]
