"""`training.fit` beside the usual loop: UNet on the horses and the brief's CNN on CIFAR-10, or where the data are not,
on scenes; and beside matrix products of as many operations, the most that this machine could do.

The usual loop is a DataLoader in the same process, float32 in PyTorch's default layout. UNet's labels are computed from
each batch by its distances from the colours; `fit` computes them too, once, within the time that is measured. The CNN's
pictures go through torchvision's ToTensor one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms.functional import to_pil_image, to_tensor

from convnets import classifiers, colour, data, models, training
from convnets.losses import pixel_cross_entropy
from tests.bench.measure import Pair

NUM_TRAIN, NUM_VALIDATION, EPOCHS, BATCH_SIZE = 500, 100, 4, 100
FEW = 100  # pictures of a quick bench, in batches of 50
GOALS = {torch.bfloat16: 5.0, torch.float32: 3.5}  # by what the processor has instructions for
CPU = torch.device("cpu")
SOURCES = ("cifar10.npz", "cifar-10-batches-py", "cifar-10-python.tar.gz")
MATRIX = {"cpu": 1024, "cuda": 8192}  # rows of the matrices: large enough for the machine's best rate

Way = Callable[..., list[float]]


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """Grey and colour of one picture after the other, float32 [1, H, W] and [3, H, W]."""

    def __init__(self, images: Tensor) -> None:
        self.pixels = (images.permute(0, 3, 1, 2) / 256).contiguous()

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.pixels[index].mean(0, keepdim=True), self.pixels[index]


class Named(Dataset[tuple[Tensor, int]]):
    """Pictures and labels as torchvision's CIFAR10 with ToTensor gives them, one by one."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images.numpy(), labels.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return to_tensor(to_pil_image(self.images[index])), self.labels[index]


def labels_of(pixels: Tensor, colours: Tensor) -> Tensor:
    """The nearest colour of every pixel [N, 3, H, W] by all its distances: int64 [N, H, W]."""
    return (pixels - colours[:, None, :, None, None]).norm(dim=2).argmin(0)


def usual_loop(
    model: nn.Module,
    train: Tensor,
    validation: Tensor,
    colours: Tensor,
    epochs: int,
    batch_size: int,
    device: torch.device = CPU,
) -> list[float]:
    """The validation loss after each epoch; images uint8 [N, H, W, 3]."""
    colours = colours.to(device)
    return _loop(
        model,
        DataLoader(Pictures(train), batch_size, shuffle=True),
        DataLoader(Pictures(validation), batch_size),
        lambda outputs, pixels: F.cross_entropy(outputs, labels_of(pixels, colours)),
        epochs,
        device,
    )


def _loop(
    model: nn.Module, learning: DataLoader, judging: DataLoader, loss: training.Loss, epochs: int, device: torch.device
) -> list[float]:
    model.to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(epochs):
        model.train()
        for inputs, truth in learning:
            optimiser.zero_grad()
            loss(model(inputs.to(device)), truth.to(device)).backward()
            optimiser.step()
        model.eval()
        total = 0.0
        with torch.no_grad():
            for inputs, truth in judging:
                total += loss(model(inputs.to(device)), truth.to(device)).item() * len(inputs)
        losses.append(total / len(judging.dataset))
    return losses


def fit(
    model: nn.Module,
    train: Tensor,
    validation: Tensor,
    colours: Tensor,
    epochs: int,
    batch_size: int,
    device: torch.device = CPU,
) -> list[float]:
    """The same by this project."""
    (inputs, labels), judged = (
        (colour.grey(colour.to_pixels(images)), colour.nearest_colour(images, colours))
        for images in (train, validation)
    )
    return training.fit(
        model,
        inputs,
        labels,
        pixel_cross_entropy,
        validation=judged,
        epochs=epochs,
        batch_size=batch_size,
        device=device,
    ).validation_loss


def _dataset(wanted: str) -> str:
    return wanted if any((data.data_root() / name).exists() for name in SOURCES) else "scenes"


@cache
def pictures(number: int) -> tuple[Tensor, Tensor, Tensor]:
    """Training and validation pictures, and 24 colours."""
    found = data.load(_dataset("horses"), num_train=number, num_validation=NUM_VALIDATION)
    colours = colour.fit_colours(found.train_images[:NUM_TRAIN], 24, restarts=1)
    return found.train_images, found.validation_images, torch.from_numpy(colours)


@cache
def named(number: int) -> data.Dataset:
    """Pictures with the names of what they show."""
    return data.load(_dataset("cifar10"), num_train=number, num_validation=NUM_VALIDATION)


def colourise(way: Way, number: int, batch_size: int, device: torch.device) -> None:
    """UNet with 32 filters."""
    torch.manual_seed(0)
    way(models.UNet(), *pictures(number), EPOCHS, batch_size, device)


def classify(number: int, batch_size: int, device: torch.device) -> None:
    """The brief's CNN by `fit`."""
    torch.manual_seed(0)
    found = named(number)
    validation = found.validation_images, found.validation_labels
    training.fit(
        classifiers.TwoBlockCNN(), found.train_images, found.train_labels, F.cross_entropy, validation=validation,
        epochs=EPOCHS, batch_size=batch_size, device=device,
    )  # fmt: skip


def classify_usual(number: int, batch_size: int, device: torch.device) -> None:
    """The brief's CNN by the usual loop."""
    torch.manual_seed(0)
    found = named(number)
    learning = DataLoader(Named(found.train_images, found.train_labels), batch_size, shuffle=True)
    judging = DataLoader(Named(found.validation_images, found.validation_labels), batch_size)
    _loop(classifiers.TwoBlockCNN(), learning, judging, F.cross_entropy, EPOCHS, device)


@cache
def operations(network: str, number: int) -> int:
    """Floating-point operations of the matrix products and convolutions of EPOCHS epochs with their validations."""
    model = models.UNet() if network == "UNet" else classifiers.TwoBlockCNN()
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(torch.zeros(2, 1 if network == "UNet" else 3, 32, 32))
    with FlopCounterMode(display=False) as both:
        model(torch.zeros(2, 1 if network == "UNet" else 3, 32, 32)).sum().backward()
    return EPOCHS * (number * both.get_total_flops() + NUM_VALIDATION * forward.get_total_flops()) // 2


def matrix_products(flops: int, device: torch.device, precision: torch.dtype) -> None:
    """As many operations in products of large matrices."""
    size = MATRIX[device.type]
    one, other = _matrices(size, device, precision)
    for _ in range(max(1, round(flops / (2 * size**3)))):
        torch.mm(one, other)
    if device.type == "cuda":
        torch.cuda.synchronize()


@cache
def _matrices(size: int, device: torch.device, precision: torch.dtype) -> tuple[Tensor, Tensor]:
    one, other = torch.rand(2, size, size, generator=torch.Generator().manual_seed(0)).to(device, precision)
    return one, other


def pairs(quick: bool) -> list[Pair]:
    """For each network and device two pairs: the usual loop, and the machine's own rate."""
    torch.set_num_threads(1)
    devices = [CPU, torch.device("cuda")] if torch.cuda.is_available() else [CPU]
    number, batch_size = (FEW, 50) if quick else (NUM_TRAIN, BATCH_SIZE)
    return [pair for device in devices for pair in _pairs_on(device, number, batch_size)]


def _pairs_on(device: torch.device, number: int, batch_size: int) -> list[Pair]:
    precision = training.choose_precision(device)
    unit = str(precision).removeprefix("torch.")
    where = "one thread" if device == CPU else "GPU"
    works = {
        "UNet": (_dataset("horses"), partial(colourise, fit), partial(colourise, usual_loop), GOALS[precision]),
        "CNN": (_dataset("cifar10"), classify, classify_usual, None),
    }
    found = []
    for network, (dataset, ours, peer, goal) in works.items():
        work = f"{network} on {dataset}, {EPOCHS} epochs of {number}, {unit}, {where}"
        given = number, batch_size, device
        products = partial(_as_many_products, network, *given[::2], precision)
        found += [
            Pair(work, partial(ours, *given), f"DataLoader, float32, {where}", partial(peer, *given), goal=goal),
            Pair(work, partial(ours, *given), f"matrix products of as many operations, {unit}", products),
        ]
    return found


def _as_many_products(network: str, number: int, device: torch.device, precision: torch.dtype) -> None:
    matrix_products(operations(network, number), device, precision)
