"""DeepLabV3 as torchvision builds it, fine-tuned from its end, with what lies before computed once; IoU and its loss.

Images are uint8 [N, H, W, 3] or float [N, 3, H, W] in [0, 1), read as `training.as_network` says; masks are uint8 or
bool [N, H, W], 1 on the object.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models as zoo
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3

from convnets.training import as_network, choose_device, choose_precision

PRETRAINED = ("resnet101", "resnet50", "mobilenet_v3_large")  # the backbones with COCO weights in torchvision
BACKBONES = ("small", *PRETRAINED)
COCO_CLASSES = 21
ON_DISK = 2**30  # bytes of cached features from which they go to the disk


# ---- Networks. ----


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
    return zoo._utils.IntermediateLayerGetter(nn.Sequential(blocks), {list(blocks)[-1]: "out"})


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
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), digest, progress=False)
        except (OSError, RuntimeError) as error:  # no network; another hash
            raise FileNotFoundError(
                f"{path} is missing and could not be downloaded ({error}): put {url} there, or set TORCH_HOME"
            ) from None
    with path.open("rb") as file:  # torch checks what it downloads, and never what it finds
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
    """A chain that stays in evaluation mode while it is trained: batch norm keeps its statistics, dropout is off."""

    def train(self, mode: bool = True) -> Evaluated:
        """Itself; `mode` is not obeyed."""
        super().train(False)
        return self


def layers(model: DeepLabV3) -> list[nn.Sequential]:
    """The network as a chain: each part begins with convolutions and holds what follows until the next ones.

    torchvision's own children in their order, backbone and classifier; without the auxiliary classifier.
    """
    chain = [*model.backbone.children(), *model.classifier.children()]
    starts = [at for at, part in enumerate(chain) if any(isinstance(module, nn.Conv2d) for module in part.modules())]
    return [nn.Sequential(*chain[start:end]) for start, end in pairwise([*starts, len(chain)])]


def whole(model: DeepLabV3, size: int) -> nn.Sequential:
    """The network from images to logits [N, classes, size, size], to be trained as a whole."""
    return nn.Sequential(Normalise(), *layers(model), _enlarge(size))


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
    return trunk.eval(), Evaluated(*parts[-released:], _enlarge(size)).eval()


def _enlarge(size: int) -> nn.Module:
    return nn.Upsample((size, size), mode="bilinear")


@torch.no_grad()
def cache(
    trunk: nn.Module,
    images: Tensor,
    batch_size: int = 32,
    *,
    dtype: torch.dtype | None = None,
    on_disk: int = ON_DISK,
    device: torch.device | None = None,
    precision: torch.dtype | None = None,
) -> Tensor:
    """The trunk's outputs for all images, [N, C, h, w] on the CPU: computed once, so that epochs need the head only.

    `dtype` defaults to bfloat16 where `precision` is that, which loses nothing, else float16. From `on_disk` bytes on
    they lie in a file in the system's folder for temporary ones, which goes when the tensor does.
    """
    device = device or choose_device()
    precision = precision or choose_precision(device)
    dtype = dtype or (torch.bfloat16 if precision == torch.bfloat16 else torch.float16)
    trunk = trunk.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    features = torch.empty(0)
    for start in range(0, len(images), batch_size):
        batch = as_network(images[start : start + batch_size].to(device))
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            found = trunk(batch)
        if not start:
            features = _empty((len(images), *found.shape[1:]), dtype, on_disk)
        features[start : start + batch_size] = found
    return features


def _empty(shape: Sequence[int], dtype: torch.dtype, on_disk: int) -> Tensor:
    number, channels, height, width = shape
    if math.prod(shape) * dtype.itemsize < on_disk:
        flat = torch.empty(math.prod(shape), dtype=dtype)
    else:
        with tempfile.TemporaryDirectory() as folder:  # the mapping outlives its name
            flat = torch.from_file(str(Path(folder, "features")), True, math.prod(shape), dtype=dtype)
    return flat.view(number, height, width, channels).permute(0, 3, 1, 2)  # channels_last


# ---- Losses, and the last layer's optimum. ----


def soft_iou_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - I / U, the mean over pictures, for logits [N, 2, H, W] and masks [N, H, W] (Rahman & Wang 2016, equation 5).

    With X the probability of the object and Y the mask, I = sum of XY and U = sum of X + Y - XY, over all pixels.
    """
    x, y = logits.softmax(1)[:, 1], masks.to(logits.dtype)
    intersection = (x * y).sum((1, 2))
    union = (x + y - x * y).sum((1, 2))
    return (1 - intersection / union).mean()


def solve_last_layer(features: Tensor, masks: Tensor, steps: int = 500) -> tuple[nn.Conv2d, float, float]:
    """The 1×1 convolution of least mean cross-entropy, its loss, and the gradient's norm as a share of that at zero.

    Features [N, C, h, w], masks [N, H, W]; the logits are enlarged bilinearly. The loss is convex in the weights, and
    two classes' softmax depends on the difference of the logits alone: C + 1 unknowns, in whitened features, by L-BFGS
    in float64 (Liu & Nocedal 1989).
    """
    inputs = features.permute(0, 2, 3, 1).double()
    shape, channels = inputs.shape[:3], inputs.shape[3]
    flat, truth = inputs.reshape(-1, channels), masks.double()
    mean = flat.mean(0)
    scale, axes = torch.linalg.eigh((flat - mean).T @ (flat - mean) / len(flat))
    kept = scale > 1e-10 * scale[-1]  # directions in which the features do not vary cannot matter
    whiten = axes[:, kept] / scale[kept].sqrt()
    white = torch.cat([(flat - mean) @ whiten, flat.new_ones(len(flat), 1)], 1)

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        weights = torch.from_numpy(point).requires_grad_()
        logits = F.interpolate((white @ weights).view(shape)[:, None], truth.shape[1:], mode="bilinear")[:, 0]
        loss = F.binary_cross_entropy_with_logits(logits, truth)
        loss.backward()
        return loss.item(), weights.grad.numpy()  # type: ignore[union-attr]

    start = np.zeros(white.shape[1])
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"maxiter": steps, "ftol": 0, "gtol": 1e-9, "maxcor": 30}
    )
    gradient = float(np.linalg.norm(found.jac) / np.linalg.norm(objective(start)[1]))
    point = torch.from_numpy(found.x)
    weights = whiten @ point[:-1]
    return _difference(weights, point[-1] - mean @ weights), float(found.fun), gradient


def _difference(weights: Tensor, bias: Tensor) -> nn.Conv2d:
    """The layer with two outputs, one the other's negative, whose difference is `weights` times the input + `bias`."""
    layer = nn.Conv2d(len(weights), 2, 1)
    signs = torch.tensor([-0.5, 0.5], dtype=weights.dtype)
    layer.weight.data = (signs[:, None] * weights).float()[:, :, None, None]
    layer.bias.data = (signs * bias).float()  # type: ignore[union-attr]
    return layer


# ---- Measures. ----


def iou(predicted: Tensor, masks: Tensor) -> Tensor:
    """Intersection over union of the objects for each picture, float64 [N]; 1 where neither has any."""
    first, second = (_as_mask(tensor) for tensor in (predicted, masks))
    if first.shape != second.shape:
        raise ValueError(f"predictions have shape {list(first.shape)} and masks {list(second.shape)}: give equal ones")
    union = (first | second).sum((1, 2))
    return torch.where(union > 0, (first & second).sum((1, 2)).double() / union, 1.0)


def mean_iou(predicted: Tensor, masks: Tensor) -> Tensor:
    """The mean of the object's and the background's IoU for each picture, float64 [N]."""
    first, second = (_as_mask(tensor) for tensor in (predicted, masks))
    return (iou(first, second) + iou(~first, ~second)) / 2


def course_score(ious: Tensor) -> Tensor:
    """What the 2021 course calls mIoU: ceil(clamp(20 (IoU - 0.5), 0, 10)) / 10 for each picture."""
    return (20 * (ious - 0.5)).clamp(0, 10).ceil() / 10


def _as_mask(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.bool else tensor > 0
