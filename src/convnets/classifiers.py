"""Networks that name what a picture shows: a baseline, the brief's two blocks, and a faster one; and what they cost."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Sequential):
    """Pictures to logits by fully connected layers with batch norm: float [N, C, H, W] to [N, num_classes].

    Each hidden layer is a linear map, batch norm (Ioffe & Szegedy 2015) and ReLU. `input_size` is C·H·W.
    """

    def __init__(self, input_size: int = 3072, hidden: Sequence[int] = (512, 256), num_classes: int = 10) -> None:
        sizes = [input_size, *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
        super().__init__(*layers, nn.Linear(sizes[-1], num_classes))


class TwoBlockCNN(nn.Module):
    """Pictures to logits by two blocks of two 3×3 convolutions and a max-pooling, then one linear layer (course E).

    Float [N, 3, 32, 32] to [N, num_classes]; no padding, as in the brief's formulas, so 32 → 28 → 14 → 10 → 5 pixels.
    The first block has `num_filters` filters a layer, the second twice as many; ReLU after each. `batch_norm` puts
    batch norm before each ReLU, `dropout` is the share of numbers that it drops after each pooling (Srivastava et al.
    2014), `final_relu` puts a ReLU after the linear layer, too, as the brief's words taken literally ask. `statistics`
    are the mean and the standard deviation of each colour, [3], which it takes pixels by; without, pixels stay as they
    are.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        num_filters: int = 32,
        num_classes: int = 10,
        *,
        batch_norm: bool = False,
        dropout: float = 0.0,
        final_relu: bool = False,
        statistics: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        super().__init__()
        for name, values in zip(("mean", "deviation"), statistics or (torch.zeros(3), torch.ones(3)), strict=True):
            self.register_buffer(name, values.view(3, 1, 1).clone())
        self.block1 = _block(3, num_filters, batch_norm, dropout)
        self.block2 = _block(num_filters, 2 * num_filters, batch_norm, dropout)
        self.dense = nn.Linear(2 * num_filters * 5 * 5, num_classes)
        self.final = nn.ReLU() if final_relu else nn.Identity()

    def forward(self, pictures: Tensor) -> Tensor:
        """The logits."""
        logits: Tensor = self.final(self.dense(self.block2(self.block1(self.standardised(pictures))).flatten(1)))
        return logits

    def standardised(self, pictures: Tensor) -> Tensor:
        """What the first layer reads: each colour less its mean, by its deviation."""
        return (pictures - self.mean) / self.deviation


def colour_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the standard deviation of each colour in images uint8 [N, H, W, 3], pixels / 256: float [3] each."""
    pixels = images.flatten(0, 2).double() / 256
    return pixels.mean(0).float(), pixels.std(0).float()


def _block(in_channels: int, out_channels: int, batch_norm: bool, dropout: float) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()  # named, so that hooks and tables can say which is meant
    for number, channels in ((1, in_channels), (2, out_channels)):
        layers[f"conv{number}"] = nn.Conv2d(channels, out_channels, 3)
        if batch_norm:
            layers[f"norm{number}"] = nn.BatchNorm2d(out_channels)
        layers[f"relu{number}"] = nn.ReLU()
    layers["pool"] = nn.MaxPool2d(2)
    if dropout:
        layers["dropout"] = nn.Dropout(dropout)
    return nn.Sequential(layers)


class FastCNN(nn.Module):
    """Pictures to logits by a network made to be trained quickly, after Jordan (2024): float [N, 3, 32, 32] to [N, K].

    A fixed 2×2 convolution whitens the patches; then come three blocks of convolution, max-pooling, batch norm, GELU
    and convolution, batch norm, GELU, and a linear layer on what a last max-pooling leaves. `whitening` are the weights
    and biases of the fixed layer, from `whitening_filters`.
    """

    def __init__(
        self, whitening: tuple[Tensor, Tensor], widths: Sequence[int] = (64, 256, 256), num_classes: int = 10
    ) -> None:
        super().__init__()
        weights, bias = whitening
        self.whiten = nn.Conv2d(3, len(weights), weights.shape[-1])
        self.whiten.weight = nn.Parameter(weights.clone(), requires_grad=False)
        self.whiten.bias = nn.Parameter(bias.clone(), requires_grad=False)
        sizes = [len(weights), *widths]
        self.blocks = nn.Sequential(*map(_fast_block, sizes, widths))
        self.pool = nn.MaxPool2d(3)
        self.dense = nn.Linear(sizes[-1], num_classes, bias=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """The logits."""
        features = self.pool(self.blocks(F.gelu(self.whiten(pictures)))).flatten(1)
        logits: Tensor = self.dense(features) / features.shape[1] ** 0.5  # small at the start, whatever the width
        return logits


def _fast_block(in_channels: int, out_channels: int) -> nn.Sequential:
    def convolution(channels: int) -> nn.Conv2d:
        return nn.Conv2d(channels, out_channels, 3, padding="same", bias=False)

    def norm() -> nn.BatchNorm2d:
        return nn.BatchNorm2d(out_channels, momentum=0.4)  # forgets quickly, as the training is short

    layers = [convolution(in_channels), nn.MaxPool2d(2), norm(), nn.GELU(), convolution(out_channels), norm()]
    return nn.Sequential(*layers, nn.GELU())


def whitening_filters(images: Tensor, kernel_size: int = 2, epsilon: float = 5e-4) -> tuple[Tensor, Tensor]:
    """Filters [2·3·k², 3, k, k] and biases that make patches uncorrelated and of variance 1, and the same negated.

    They are the eigenvectors of the patches' covariance over the roots of (eigenvalue + epsilon), from images uint8
    [N, H, W, 3], read as pixels / 256. The biases take the patches' mean away.
    """
    pixels = images.permute(0, 3, 1, 2).float() / 256
    patches = F.unfold(pixels, kernel_size).transpose(1, 2).flatten(0, 1).double()
    values, vectors = torch.linalg.eigh(patches.T.cov())
    filters = (vectors / (values + epsilon).sqrt()).T.flip(0)  # the largest variance first
    filters = torch.cat([filters, -filters])
    bias = -filters @ patches.mean(0)
    return filters.view(-1, 3, kernel_size, kernel_size).float(), bias.float()


class ShuffledPixels(nn.Module):
    """A classifier that sees the pixels of every picture [N, C, H, W] in one and the same order, drawn from `seed`.

    What is known stays the same, and what is next to what is gone.
    """

    def __init__(self, model: nn.Module, seed: int = 0) -> None:
        super().__init__()
        self.model, self.seed = model, seed

    def forward(self, pictures: Tensor) -> Tensor:
        """The classifier's outputs."""
        places = pictures.shape[2] * pictures.shape[3]
        order = torch.randperm(places, generator=torch.Generator().manual_seed(self.seed)).to(pictures.device)
        outputs: Tensor = self.model(pictures.flatten(2)[:, :, order].view(pictures.shape))
        return outputs


def shuffled(build: Callable[[], nn.Module]) -> nn.Module:
    """The network that `build` makes, on shuffled pixels."""
    return ShuffledPixels(build())


class FlipAverage(nn.Module):
    """A classifier that judges a picture and its mirror image: the log of the mean of both probabilities."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> Tensor:
        """Log-probabilities."""
        both = torch.stack([self.model(pictures), self.model(pictures.flip(-1))]).float()
        return both.log_softmax(-1).logsumexp(0) - torch.log(torch.tensor(2.0))


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy with smoothed labels (Szegedy et al. 2016) where gradients are taken, plain where it only judges.

    So losses on validation pictures stay comparable between trainings.
    """
    return F.cross_entropy(logits, labels, label_smoothing=smoothing if torch.is_grad_enabled() else 0.0)


def multiply_adds(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """The multiplications with a weight that `model` makes for one input of `input_shape`, e.g. (3, 32, 32)."""
    count = 0

    def record(layer: nn.Module, arguments: Any, output: Tensor) -> None:
        nonlocal count
        weight: Any = layer.weight
        count += output.numel() * weight[0].numel()

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(record) for layer in layers]
    was_training = model.training
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, *input_shape, device=next(model.parameters()).device))
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return count
