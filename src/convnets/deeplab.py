"""DeepLabV3 as torchvision builds it: its COCO weights, a small backbone, and the network cut into trunk and head."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models as zoo
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3

from convnets import archives

PRETRAINED = ("resnet101", "resnet50", "mobilenet_v3_large")  # the backbones with COCO weights in torchvision
BACKBONES = ("small", *PRETRAINED)
COCO_CLASSES = 21


def deeplabv3(backbone: str = "small", num_classes: int = COCO_CLASSES, num_filters: int = 32) -> DeepLabV3:
    """DeepLabV3 (Chen et al. 2017) with random weights: torchvision's, or with the small backbone, its head as well.

    `num_filters` is the width of the small backbone. Raises ValueError for an unknown backbone.
    """
    if backbone == "small":
        body, rates = _small_backbone(num_filters), (2, 4, 6)  # torchvision's 12, 24, 36 are for larger pictures
        return DeepLabV3(body, DeepLabHead(4 * num_filters, num_classes, rates))
    if backbone not in BACKBONES:
        raise ValueError(f"no backbone is named {backbone!r}: there are {', '.join(BACKBONES)}")
    made: DeepLabV3 = zoo.get_model(f"deeplabv3_{backbone}", weights=None, weights_backbone=None, aux_loss=True)
    if num_classes != COCO_CLASSES:
        replace_last_layer(made, num_classes)
    return made


def _small_backbone(num_filters: int) -> nn.Module:
    """A quarter of the height and width, and then dilation in place of more striding, as DeepLab does."""
    plan = [(1, 2, 1), (2, 2, 1), (2, 1, 1), (4, 1, 2), (4, 1, 2)]  # times num_filters, stride, dilation
    channels = [3, *(times * num_filters for times, _, _ in plan)]
    blocks = OrderedDict[str, nn.Module]()
    for number, ((before, after), (_, stride, dilation)) in enumerate(zip(pairwise(channels), plan, strict=True), 1):
        convolution = nn.Conv2d(before, after, 3, stride, dilation, dilation, bias=False)
        blocks[f"block{number}"] = nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())
    body: nn.Module = zoo._utils.IntermediateLayerGetter(nn.Sequential(blocks), {list(blocks)[-1]: "out"})
    return body


def coco_url(backbone: str) -> str:
    """Where torchvision has its COCO weights; the file's name ends in the beginning of its SHA-256."""
    if backbone not in PRETRAINED:
        raise ValueError(f"there are no COCO weights for {backbone!r}: there are for {', '.join(PRETRAINED)}")
    return str(zoo.get_model_weights(f"deeplabv3_{backbone}").DEFAULT.url)


def load_coco(backbone: str = "resnet101") -> DeepLabV3:
    """torchvision's DeepLabV3 with its COCO weights, from TORCH_HOME, or downloaded to there; the hash is verified.

    Raises FileNotFoundError where they are not there and cannot be fetched, ValueError for a file that is not the
    published one or does not fit the network.
    """
    url = coco_url(backbone)
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    digest = path.stem.rpartition("-")[2]
    if not path.exists():
        archives.fetch(url, path, digest, path.name, "sha256", "TORCH_HOME")
    with path.open("rb") as file:  # what is found may have been altered since
        if not hashlib.file_digest(file, "sha256").hexdigest().startswith(digest):
            raise ValueError(f"{path} is altered or half a file: remove it, so that it is fetched again")
    model = deeplabv3(backbone)
    try:
        model.load_state_dict(torch.load(path, "cpu", weights_only=True))
    except Exception as error:
        raise ValueError(f"{path} does not fit deeplabv3_{backbone} ({str(error).splitlines()[0]})") from None
    return model


def replace_last_layer(model: DeepLabV3, num_outputs: int = 2) -> None:
    """Freeze all weights, then put a new layer in place of `classifier.4`, the only one that learns from now on."""
    model.requires_grad_(False)
    old = model.classifier[4]
    model.classifier[4] = nn.Conv2d(old.in_channels, num_outputs, kernel_size=1)


# ---- A network as a chain, cut in two. ----


class Normalise(nn.Module):
    """Pixels / 256 to what torchvision's weights expect: pixels / 255, less ImageNet's mean, by its deviation."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, channels in (("mean", (0.485, 0.456, 0.406)), ("deviation", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(channels).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W], normalised."""
        return (images * (256 / 255) - self.mean) / self.deviation


class Evaluated(nn.Sequential):
    """A chain that stays in evaluation mode while it is trained: batch norm keeps its statistics, dropout is off.

    Reads features of any precision.
    """

    def train(self, mode: bool = True) -> Evaluated:
        """Itself; `mode` is not obeyed."""
        super().train(False)
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """What the chain makes of the inputs."""
        if not torch.is_autocast_enabled(inputs.device.type):
            inputs = inputs.float()
        outputs: Tensor = super().forward(inputs)
        return outputs


def layers(model: DeepLabV3) -> list[nn.Sequential]:
    """The network as a chain: each part begins with convolutions and holds what follows until the next ones.

    torchvision's own children in their order, backbone and classifier; without the auxiliary classifier.
    """
    chain = [*model.backbone.children(), *model.classifier.children()]
    starts = [at for at, part in enumerate(chain) if any(isinstance(module, nn.Conv2d) for module in part.modules())]
    return [nn.Sequential(*chain[start:end]) for start, end in pairwise([*starts, len(chain)])]


def whole(model: DeepLabV3, size: int) -> nn.Sequential:
    """The network from images to logits [N, classes, size, size], to be trained as a whole."""
    return nn.Sequential(Normalise(), *layers(model), Enlarge(size))


def split(model: DeepLabV3, size: int, released: int = 1) -> tuple[nn.Sequential, nn.Sequential]:
    """The frozen trunk, and the head with the last `released` of `layers`, which learn; logits of `size` pixels a side.

    Both share their weights with `model`, and stay in evaluation mode. ValueError where `released` is out of range.
    """
    parts = layers(model)
    if not 1 <= released <= len(parts):
        raise ValueError(f"released is {released}: this network has {len(parts)} layers, of which 1 or more can learn")
    model.requires_grad_(False)
    for part in parts[-released:]:
        part.requires_grad_(True)
    trunk = Evaluated(Normalise(), *parts[:-released])
    return trunk.eval(), Evaluated(*parts[-released:], Enlarge(size)).eval()


class Enlarge(nn.Module):
    """Logits [N, C, h, w] enlarged to `size` pixels a side, in float32 and bilinearly, as torchvision does.

    Interpolation is linear along each axis, so it is a product with one matrix from the left and one from the right:
    quicker than `interpolate`, whose derivative adds up pixel after pixel, and on a card in no fixed order.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, logits: Tensor) -> Tensor:
        """Logits [N, C, size, size]."""
        logits = logits.float().contiguous()
        with torch.autocast(logits.device.type, enabled=False):
            rows, columns = (self._weights(length, logits) for length in logits.shape[2:])
            return rows @ (logits @ columns.T)

    def _weights(self, length: int, like: Tensor) -> Tensor:
        """What each of `size` points takes from each of `length` points, [size, length]."""
        points = torch.eye(length, device=like.device, dtype=like.dtype)
        return F.interpolate(points[None], self.size, mode="linear")[0].T
