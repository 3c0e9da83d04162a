"""Colour: greys, a palette by k-means, nearest-colour labels, CIE Lab, and what one grey value alone tells of colour.

Images are uint8 and channel-last, [N, H, W, 3]; what a network sees is float32 and channel-first, [N, C, H, W], pixels
divided by 256 as in the assignments.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Images = Tensor | NDArray[np.uint8]


def to_pixels(images: Images) -> Tensor:
    """Images uint8 [N, H, W, 3] as a network sees them: float32 [N, 3, H, W], divided by 256 (stored channels-last)."""
    return torch.as_tensor(images).permute(0, 3, 1, 2).float() / 256


def to_images(pixels: Tensor) -> Tensor:
    """Pixels float [N, 3, H, W] as images to look at: uint8 [N, H, W, 3], clipped and rounded."""
    return (pixels.detach().permute(0, 2, 3, 1) * 256).round().clamp(0, 255).to(torch.uint8)


def grey(pixels: Tensor) -> Tensor:
    """The unweighted mean of R, G and B: float [N, 3, H, W] to [N, 1, H, W]."""
    return pixels.mean(1, keepdim=True)


def grey_levels(images: Images) -> Tensor:
    """Grey of images uint8 [..., 3], rounded to whole levels: uint8 [...]."""
    images = torch.as_tensor(images)
    total = images[..., 0].to(torch.int16) + images[..., 1] + images[..., 2]
    return torch.div(total + 1, 3, rounding_mode="floor").to(torch.uint8)


def fit_colours(images: Images, num_colours: int = 24, seed: int = 0) -> NDArray[np.float32]:
    """The k-means centres of the images' pixels, float32 [num_colours, 3] in [0, 1), from dark to light.

    Lloyd's iterations from a k-means++ start (Arthur & Vassilvitskii 2007) on at most 100,000 pixels; the same seed gives
    the same colours. Raises ValueError where the images hold fewer different colours than asked for.
    """
    rng = np.random.default_rng(seed)
    pixels = np.asarray(images).reshape(-1, 3)
    pixels = pixels[rng.choice(len(pixels), min(len(pixels), 100_000), replace=False)] / 256
    if num_colours < 1 or len(np.unique(pixels, axis=0)) < num_colours:
        raise ValueError(f"fit_colours needs images with at least num_colours = {num_colours} >= 1 different colours")
    centres = pixels[:1]
    distances = np.full(len(pixels), np.inf)
    for _ in range(num_colours - 1):
        distances = np.minimum(distances, ((pixels - centres[-1]) ** 2).sum(1))
        centres = np.vstack([centres, pixels[rng.choice(len(pixels), p=distances / distances.sum())]])
    for _ in range(40):
        centres = _lloyd(pixels, centres)
    return centres[centres.sum(1).argsort()].astype(np.float32)


def _lloyd(pixels: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each centre moved to the mean of the pixels nearest to it; a centre without pixels stays."""
    nearest = ((centres**2).sum(1) - 2 * pixels @ centres.T).argmin(1)
    counts = np.bincount(nearest, minlength=len(centres))[:, None]
    sums = np.stack([np.bincount(nearest, channel, len(centres)) for channel in pixels.T], 1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), centres)


def nearest_colour(images: Images, colours: NDArray[np.floating] | Tensor) -> Tensor:
    """The index of the nearest colour in RGB for every pixel, uint8 [N, H, W]; on a tie, the lowest index.

    `images` uint8 [N, H, W, 3]; `colours` [K, 3] in [0, 1], K <= 256, or ValueError.
    """
    centres = torch.as_tensor(check_colours(colours)).double()
    images = torch.as_tensor(images)
    pixels = images.reshape(-1, 3)
    labels = torch.empty(len(pixels), dtype=torch.uint8)
    bias = (centres**2).sum(1)
    for part, out in zip(pixels.split(2**15), labels.split(2**15), strict=True):
        # |x - c|² without |x|², which is the same for every colour; 64 bits keep near ties apart.
        out.copy_(torch.addmm(bias, part.double(), centres.T, alpha=-2 / 256).argmin(1))
    return labels.reshape(images.shape[:-1])


def colour_images(labels: Tensor, colours: NDArray[np.floating] | Tensor) -> Tensor:
    """The images that colour indices [N, H, W] stand for: uint8 [N, H, W, 3]."""
    table = (torch.as_tensor(colours) * 256).round().clamp(0, 255).to(torch.uint8)
    return table[labels.long()]


def check_colours(colours: Any, name: str = "colours") -> NDArray[np.float32]:
    """`colours` as float32 [K, 3]; ValueError unless they are 1 to 256 finite colours in [0, 1]."""
    array = np.asarray(colours, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 3 or not 1 <= len(array) <= 256:
        raise ValueError(f"{name} has shape {array.shape}, but colours are [K, 3] with K from 1 to 256")
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise ValueError(f"{name} holds values outside [0, 1]: divide pixel values by 256")
    return array


def rgb_to_lab(images: Images) -> NDArray[np.float32]:
    """CIE L*a*b* (D65) of channel-last images, uint8 or float pixels / 256, [..., 3]: float32 [..., 3], L* in 0..100.

    The conversion is scikit-image's, from sRGB as in IEC 61966-2-1; float pixels are clipped to what a screen shows.
    """
    from skimage.color import rgb2lab

    images = np.asarray(images)
    levels = images if images.dtype == np.uint8 else (images * 256).clip(0, 255)
    return rgb2lab((levels / 255).astype(np.float32)).astype(np.float32)


def lab_to_rgb(lab: NDArray[np.floating] | Tensor) -> NDArray[np.float32]:
    """Pixels / 256 (float32 [..., 3], clipped to what a screen shows) of CIE L*a*b* colours [..., 3]."""
    from skimage.color import lab2rgb

    return (lab2rgb(np.asarray(lab)) * np.float32(255 / 256)).astype(np.float32)


def delta_e(images: Images, others: Images) -> NDArray[np.float32]:
    """The colour difference CIEDE2000 for every pixel, float32 [...]; images as for `rgb_to_lab`. About 1 is just visible."""
    from skimage.color import deltaE_ciede2000

    return deltaE_ciede2000(rgb_to_lab(images), rgb_to_lab(others)).astype(np.float32)


def fit_mean_table(images: Images) -> Tensor:
    """The mean colour for each grey level, float32 [256, 3], pixels / 256: predict with `table[grey_levels(images).long()]`.

    A level that the images do not hold predicts itself, the grey colour.
    """
    pixels = torch.as_tensor(images).reshape(-1, 3)
    levels = grey_levels(pixels).int()
    counts = torch.bincount(levels, minlength=256)
    sums = torch.stack([torch.bincount(levels, channel.double(), 256) for channel in pixels.T], 1)
    greys = torch.arange(256.0, dtype=torch.double)[:, None]
    return (torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], greys) / 256).float()


def fit_class_table(images: Images, labels: Tensor, num_colours: int = 24) -> Tensor:
    """The log-probability of each colour class given grey, float32 [256, num_colours]; every count starts at one.

    `images` uint8 [N, H, W, 3], `labels` [N, H, W] from `nearest_colour`; used as the mean table is.
    """
    pairs = grey_levels(images).int().flatten() * num_colours + labels.flatten()
    counts = torch.bincount(pairs, minlength=256 * num_colours).reshape(256, num_colours).double() + 1
    return (counts / counts.sum(1, keepdim=True)).log().float()


def load_colours(path: str | Path) -> NDArray[np.float32]:
    """The colours in a `.npy` file, float32 [K, 3]: a plain array, or the assignment's `colour_kmeans24_cat7.npy`.

    The latter is a pickle. It is read without running anything from it: a name that is not NumPy's own way to rebuild an
    array is refused. Raises ValueError in one line for any file that holds no colours, OSError for one that is not there.
    """
    path = Path(path)
    raw = path.read_bytes()
    if len(raw) > 2**20:
        raise ValueError(f"{path} is larger than a palette of colours can be: is it another file?")
    try:
        array = _read_npy(raw)
    except Exception as error:  # a damaged pickle can fail in any way
        raise ValueError(f"{path} holds no colours that can be read safely ({error})") from None
    return check_colours(array, str(path))


def _read_npy(raw: bytes) -> Any:
    stream = io.BytesIO(raw)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if not dtype.hasobject:
        return np.load(io.BytesIO(raw), allow_pickle=False)
    # Saved from (colours, mean distance): an object array, whose pickle is itself an array of two objects.
    content = _Inert.Reader(stream, encoding="bytes").load().rebuild()
    return content[0].rebuild() if isinstance(content[0], _Inert) else content


class _Inert:
    """What a pickle asks NumPy to build, kept as a note: nothing is constructed until `rebuild` has looked at it."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments, self.state = arguments, ()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def rebuild(self) -> Any:
        """The array of numbers, or the list of objects, that the note describes."""
        _, shape, dtype, fortran, content = self.state
        if isinstance(content, list):
            return content
        kind, order = _text(dtype.arguments[0]), _text(dtype.state[1])
        if kind not in ("f4", "f8") or order not in "<>=|":
            raise pickle.UnpicklingError(f"an array of {kind}, not of floats")
        return np.frombuffer(content, np.dtype(order + kind)).reshape(shape, order="F" if fortran else "C")

    class Reader(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) == ("_codecs", "encode"):  # how protocol 2 spells bytes
                return lambda text, _: text.encode("latin1")
            modules = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
            if module in modules and name in ("_reconstruct", "ndarray", "dtype", "scalar"):
                return _Inert
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
