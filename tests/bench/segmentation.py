"""Ten epochs of the last layer: its input computed once, or the frozen network run in every epoch, as the course does.

Both sides train from the same weights on the same batches; the warm-up checks that they end with the same weights.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convnets import deeplab, scenes, segmentation, training
from tests.bench.measure import Pair

EPOCHS = 10
SIZES = {"resnet101": (96, 16), "mobilenet_v3_large": (224, 16), "small": (64, 96)}  # pixels a side, pictures


def pairs(quick: bool) -> list[Pair]:
    """torchvision's networks and the small one; mobilenet's trunk costs so little that upsampling and loss count."""
    return [
        Pair(
            f"{EPOCHS} epochs of the last layer, {backbone}",
            functools.partial(_train, backbone, True),
            "the frozen network in every epoch",
            functools.partial(_train, backbone, False),
            goal=8,
            slow=backbone == "resnet101",
        )
        for backbone in SIZES
    ]


@functools.cache
def _given(backbone: str) -> tuple[nn.Module, Tensor, Tensor]:
    """The network, and pictures with their masks: made in the warm-up."""
    size, number = SIZES[backbone]
    drawn = scenes.scenes(number, size)
    torch.manual_seed(0)
    model = deeplab.deeplabv3(backbone)
    images, masks = torch.from_numpy(drawn.images), torch.from_numpy(drawn.masks.astype("uint8"))
    training.renew_statistics(deeplab.whole(model, size), images[:16], 8)
    return model, images, masks


def _train(backbone: str, cached: bool) -> Any:
    model, images, masks = _given(backbone)
    torch.manual_seed(0)
    deeplab.replace_last_layer(model)
    trunk, head = deeplab.split(model, SIZES[backbone][0])
    network = head if cached else nn.Sequential(trunk, head)
    inputs = segmentation.cache(trunk, images) if cached else images
    few = inputs[:8], masks[:8]
    training.fit(network, inputs, masks, F.cross_entropy, validation=few, epochs=EPOCHS, batch_size=8)
    _check(backbone, torch.cat([p.detach().flatten() for p in head.parameters()]))


_weights: dict[str, Tensor] = {}


def _check(backbone: str, weights: Tensor) -> None:
    other = _weights.setdefault(backbone, weights)
    torch.testing.assert_close(weights, other, rtol=1e-2, atol=1e-3)  # rounding to bfloat16
