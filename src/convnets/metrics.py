"""How far predictions are from the truth, by several measures; each is a mean over whole batches of pictures.

Pictures are channel-last arrays [N, H, W, 3]: uint8, or float pixels / 256. The range of pixels is 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Pixels = NDArray[np.float64]


def mse(images: ArrayLike, truth: ArrayLike) -> float:
    """The mean squared error over pictures, pixels and channels."""
    return float(_squared_errors(images, truth).mean())


def psnr(images: ArrayLike, truth: ArrayLike) -> float:
    """The peak signal-to-noise ratio in dB: the mean over pictures of -10 log10(MSE of the picture), infinite at 0."""
    with np.errstate(divide="ignore"):
        return float((-10 * np.log10(_squared_errors(images, truth).mean((1, 2, 3)))).mean())


def ssim(images: ArrayLike, truth: ArrayLike) -> float:
    """The structural similarity of Wang et al. (2004), scikit-image's, on colour pictures: 1 for equal ones."""
    from skimage.metrics import structural_similarity

    similarity: Any = structural_similarity  # scikit-image has no types
    first, second = _pair(images, truth)
    pairs = zip(first, second, strict=True)
    return float(np.mean([similarity(one, other, data_range=1.0, channel_axis=-1) for one, other in pairs]))


def vividness(images: ArrayLike) -> float:
    """How colourful pictures are: the root mean square distance in RGB of their pixels from their own grey."""
    pixels, _ = _pair(images, images)
    return float(np.sqrt(3 * pixels.var(-1).mean()))


def accuracy(labels: ArrayLike, truth: ArrayLike) -> float:
    """The share of labels that are right."""
    predicted, wanted = np.asarray(labels), np.asarray(truth)
    if predicted.shape != wanted.shape:
        raise ValueError(f"labels have shape {predicted.shape} and the truth {wanted.shape}: give equal shapes")
    return float((predicted == wanted).mean())


def _squared_errors(images: ArrayLike, truth: ArrayLike) -> Pixels:
    first, second = _pair(images, truth)
    return np.square(first - second)


def _pair(images: ArrayLike, truth: ArrayLike) -> tuple[Pixels, Pixels]:
    """Both as float64 pixels / 256; ValueError unless they are pictures of one shape."""
    first, second = (np.asarray(array) for array in (images, truth))
    if first.shape != second.shape or first.ndim != 4 or first.shape[-1] != 3:
        raise ValueError(f"images have shape {first.shape} and the truth {second.shape}: both must be [N, H, W, 3]")
    pixels = [array / 256 if array.dtype == np.uint8 else array for array in (first, second)]
    return pixels[0].astype(np.float64), pixels[1].astype(np.float64)
