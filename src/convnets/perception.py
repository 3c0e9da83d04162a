"""How unlike two pictures are to a network that has learnt to look: LPIPS (Zhang et al. 2018), and the same without it.

Pictures are channel-last arrays [N, H, W, 3]: uint8, or float pixels / 256.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F

_ALEXNET = "alexnet-owt-7be5be79.pth"  # torchvision's file of weights; the digits begin its SHA-256


class Eye(Protocol):
    """What `deep_distance` asks of a network."""

    weights: Sequence[Tensor] | None  # for each map, how much each of its channels counts, [C]; None: all the same

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """The feature maps [N, C, H', W'], one for each depth, of pixels float [N, 3, H, W]."""


class FeatureClassifier(nn.Module):
    """Colour pictures to logits of classes, by three blocks, between which the picture is halved.

    Float [N, 3, H, W] to [N, num_classes], H and W from 4 on. The blocks' outputs are its feature maps.
    """

    weights = None

    def __init__(self, num_classes: int, num_filters: int = 16) -> None:
        super().__init__()
        sizes = [3, num_filters, 2 * num_filters, 4 * num_filters]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU())
            for before, after in pairwise(sizes)
        )
        self.classify = nn.Linear(sizes[-1], num_classes)

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """The outputs of the three blocks."""
        found = [self.blocks[0](pixels)]
        for block in self.blocks[1:]:
            found.append(block(F.max_pool2d(found[-1], 2)))
        return found

    def forward(self, pixels: Tensor) -> Tensor:
        """The logits."""
        logits: Tensor = self.classify(self.maps(pixels)[-1].mean((2, 3)))
        return logits


class Lpips(nn.Module):
    """LPIPS 0.1: the maps of AlexNet trained on ImageNet, and weights that people's judgements gave their channels.

    `alexnet` holds torchvision's weights, `linear` the measure's own under their PyTorch names. Smaller pictures are
    enlarged to 64×64, the size of those that people judged. Raises ValueError for other names or shapes.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, alexnet: dict[str, Tensor], linear: dict[str, Tensor]) -> None:
        super().__init__()
        sizes = [(3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1)]
        self.convolutions = nn.ModuleList(nn.Conv2d(*size) for size in sizes)
        try:
            for layer, index in zip(self.convolutions, (0, 3, 6, 8, 10), strict=True):
                layer.load_state_dict({name: alexnet[f"features.{index}.{name}"] for name in ("weight", "bias")})
            self.weights = [linear[f"lin{depth}.model.1.weight"].view(size[1]) for depth, size in enumerate(sizes)]
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"these are no weights of LPIPS on AlexNet: {error}") from None
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1))

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """What AlexNet's five convolutions show, after their ReLU."""
        if pixels.shape[-1] < 64:
            pixels = F.interpolate(pixels, size=(64, 64), mode="bilinear")
        values = (2 * pixels - 1 - self.shift) / self.scale
        found = []
        for depth, convolution in enumerate(self.convolutions):
            values = F.relu(convolution(F.max_pool2d(values, 3, 2) if depth in (1, 2) else values))
            found.append(values)
        return found


def find_lpips(root: str | Path) -> Lpips | None:
    """LPIPS where its weights are on this machine, otherwise None: nothing is downloaded.

    AlexNet's are read from torch.hub's folder, the measure's own from `root`/lpips/alex.pth or the package lpips.
    Raises ValueError where AlexNet's file is not the published one.
    """
    alexnet = Path(torch.hub.get_dir(), "checkpoints", _ALEXNET)
    package = importlib.util.find_spec("lpips")
    folders = [Path(root, "lpips")]
    folders += [Path(folder, "weights", "v0.1") for folder in (package and package.submodule_search_locations) or ()]
    linear = next((folder / "alex.pth" for folder in folders if (folder / "alex.pth").is_file()), None)
    if linear is None or not alexnet.is_file():
        return None
    if not hashlib.sha256(alexnet.read_bytes()).hexdigest().startswith(alexnet.stem.rpartition("-")[2]):
        raise ValueError(f"{alexnet} is not the published file: remove it, and let torchvision fetch it again")
    return Lpips(*(torch.load(path, "cpu", weights_only=True) for path in (alexnet, linear))).eval()


def feature_distance(maps: Sequence[Tensor], others: Sequence[Tensor], weights: Sequence[Tensor] | None) -> Tensor:
    """The distances [N] of pictures from their feature maps: equation 1 of Zhang et al. (2018).

    At each place the channels make a vector, which is brought to length 1; its squared difference, channels weighted by
    `weights`, is averaged over places and summed over maps.
    """
    total = torch.zeros(len(maps[0]), device=maps[0].device)
    for depth, (one, other) in enumerate(zip(maps, others, strict=True)):
        squares = (F.normalize(one, dim=1, eps=1e-10) - F.normalize(other, dim=1, eps=1e-10)) ** 2
        if weights is not None:
            squares = squares * weights[depth].view(-1, 1, 1)
        total = total + squares.sum(1).mean((1, 2))
    return total


@torch.inference_mode()
def deep_distance(network: Eye, images: ArrayLike, truth: ArrayLike, batch_size: int = 100) -> NDArray[np.float32]:
    """How unlike each picture is to its truth in the network's feature maps, float32 [N]; 0 for the same picture."""
    parts = [
        feature_distance(network.maps(one), network.maps(other), network.weights)
        for one, other in zip(_pixels(images).split(batch_size), _pixels(truth).split(batch_size), strict=True)
    ]
    return torch.cat(parts).numpy()


def worst_change(network: Eye, images: ArrayLike, most: float, steps: int = 10, seed: int = 0) -> NDArray[np.float32]:
    """The pictures, float32 [N, H, W, 3], changed by at most `most` a channel so that the network sees them far off.

    Steps of projected gradient ascent on the deep distance (Madry et al. 2018), from a random change; `most` is in
    pixels / 256.
    """
    truth = _pixels(images)
    with torch.no_grad():
        goal = network.maps(truth)
    change = (torch.rand(truth.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * most
    for _ in range(steps):
        change.requires_grad_()
        distance = feature_distance(network.maps((truth + change).clamp(0, 1)), goal, network.weights).sum()
        (slope,) = torch.autograd.grad(distance, change)
        change = (change.detach() + 2.5 * most / steps * slope.sign()).clamp(-most, most)
    return np.asarray((truth + change).clamp(0, 1).permute(0, 2, 3, 1).numpy())


def _pixels(images: ArrayLike) -> Tensor:
    array = np.asarray(images)
    pixels = torch.from_numpy(array / np.float32(256) if array.dtype == np.uint8 else array.astype(np.float32))
    return pixels.permute(0, 3, 1, 2)
