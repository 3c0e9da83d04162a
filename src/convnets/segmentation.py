"""Segmentation fine-tuned from its end: the frozen part computed once, the IoU and its loss, the last layer's optimum.

Images are uint8 [N, H, W, 3] or float [N, 3, H, W] in [0, 1), read as `training.as_network` says; masks are uint8 or
bool [N, H, W], 1 on the object.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.colors import rgb_to_hsv
from scipy.optimize import minimize
from torch import Tensor, nn
from torch.nn import functional as F

from convnets import training
from convnets.training import History, Loss

ON_DISK = 2**30  # bytes of cached features from which they go to the disk


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

    `dtype` defaults to the outputs' own where that has 16 bits, which loses nothing, else to float16. From `on_disk`
    bytes on they lie in a file in the system's folder for temporary ones, which goes when the tensor does.
    """
    device = device or training.choose_device()
    precision = precision or training.choose_precision(device)
    trunk = trunk.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    features = torch.empty(0)
    for start in range(0, len(images), batch_size):
        batch = training.as_network(images[start : start + batch_size].to(device))
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            found = trunk(batch)
        if not start:
            kept = dtype or (found.dtype if found.dtype.itemsize == 2 else torch.float16)
            features = _empty((len(images), *found.shape[1:]), kept, on_disk)
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


# ---- Fine-tuning. ----


@dataclass
class Tuned:
    """What a fine-tuning left behind; masks and scores are those of the epoch of the best mean IoU on validation."""

    history: History
    ious: list[float] = field(default_factory=list)  # mean IoU on the validation part after each epoch
    probabilities: dict[str, Tensor] = field(default_factory=dict)  # of the object, [N, H, W], by part
    state: dict[str, Tensor] = field(default_factory=dict, repr=False)  # the network's weights

    def masks(self, part: str, threshold: float = 0.5) -> Tensor:
        """Where the object's probability is above the threshold, bool [N, H, W]."""
        return self.probabilities[part] > threshold


def fine_tune(network: nn.Module, pictures: Mapping[str, tuple[Tensor, Tensor]], loss: Loss, **settings: Any) -> Tuned:
    """Train what can learn in `network` on pictures["train"], and keep its best epoch by mean IoU on "validation".

    `pictures` maps each part to its inputs (images, or cached features) and masks; `settings` are those of
    `training.fit`. The other parts are predicted at the end by that epoch's weights, with which `network` is left, and
    decide nothing.
    """
    tuned = Tuned(History())
    where: dict[str, Any] = {key: settings[key] for key in ("device", "precision") if key in settings}

    def on_epoch(epoch: int, epochs: int, **losses: float) -> None:
        found = _probabilities(network, pictures["validation"][0], where)
        tuned.ious.append(mean_iou(found > 0.5, pictures["validation"][1]).mean().item())
        if tuned.ious[-1] == max(tuned.ious):
            tuned.probabilities = {"validation": found}
            tuned.state = {name: tensor.detach().to("cpu", copy=True) for name, tensor in network.state_dict().items()}
        if report:
            report(epoch, epochs, **losses)

    report = settings.pop("on_epoch", None)
    inputs, masks = pictures["train"]
    tuned.history = training.fit(
        network, inputs, masks, loss, validation=pictures["validation"], on_epoch=on_epoch, **settings
    )
    network.load_state_dict(tuned.state)
    others = {part: _probabilities(network, x, where) for part, (x, _) in pictures.items() if part != "validation"}
    tuned.probabilities |= others
    return tuned


def _probabilities(network: nn.Module, inputs: Tensor, where: Mapping[str, Any]) -> Tensor:
    return training.predict(network, inputs, 64, **where).softmax(1)[:, 1]


# ---- Losses, and the last layer's optimum. ----


def soft_iou_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - I / U, the mean over pictures, for logits [N, 2, H, W] and masks [N, H, W] (Rahman & Wang 2016, equation 5).

    With X the probability of the object and Y the mask, I = sum of XY and U = sum of X + Y - XY, over all pixels.
    """
    x, y = logits.softmax(1)[:, 1], masks.to(logits.dtype)
    intersection = (x * y).sum((1, 2))
    union = (x + y - x * y).sum((1, 2))
    return (1 - intersection / union).mean()


def colour_and_place(images: Tensor, size: int = 64) -> Tensor:
    """What a pixel says by itself: float [N, 19, s, s], where s is the pictures' side, and at most `size`.

    Of its colour red, green, blue, saturation S and brightness with their squares, and S cos kh and S sin kh of its hue
    h for k = 1, 2, 3; of its place x and y in [-1, 1], their squares, the distance r to the middle, and exp(-3 r²).
    """
    hue, saturation, brightness = torch.from_numpy(rgb_to_hsv(images.numpy() / 255)).float().unbind(-1)
    waves = [saturation * wave(2 * torch.pi * k * hue) for k in (1, 2, 3) for wave in (torch.cos, torch.sin)]
    x = torch.linspace(-1, 1, images.shape[1]).expand_as(hue)
    y = x.transpose(1, 2)
    r = (x**2 + y**2).sqrt()
    colour = [*(images / 255).unbind(-1), saturation, brightness, saturation**2, brightness**2, *waves]
    features = torch.stack([*colour, x, y, x**2, y**2, r, torch.exp(-3 * r**2)], 1)
    return features if len(x[0]) <= size else F.interpolate(features, (size, size), mode="area")


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
