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

from convnets import archives

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
    """Grey of images uint8 [..., 3], rounded down to whole levels: uint8 [...]."""
    images = torch.as_tensor(images)
    total = images[..., 0].to(torch.int16) + images[..., 1] + images[..., 2]
    return torch.div(total, 3, rounding_mode="floor").to(torch.uint8)


def fit_colours(images: Images, num_colours: int = 24, seed: int = 0, restarts: int = 12) -> NDArray[np.float32]:
    """The k-means centres of the images' pixels, float32 [num_colours, 3] in [0, 1), from dark to light.

    On at most 200,000 pixels: the best, by mean distance, of `restarts` runs of Lloyd's iteration (Lloyd 1982) from
    k-means++ starts (Arthur & Vassilvitskii 2007). The same seed gives the same colours. Raises ValueError where the
    images hold fewer different colours than asked for.
    """
    rng = np.random.default_rng(seed)
    pixels = torch.as_tensor(images).reshape(-1, 3)
    sample = rng.choice(len(pixels), min(len(pixels), 200_000), replace=False)
    pixels = pixels[torch.from_numpy(sample)].float() / 256
    if num_colours < 1 or len(torch.unique(pixels, dim=0)) < num_colours:
        raise ValueError(f"fit_colours needs images with at least num_colours = {num_colours} >= 1 different colours")
    runs = [_k_means(pixels, num_colours, rng) for _ in range(restarts)]
    centres = min(runs, key=lambda run: run[0])[1]
    return centres[centres.sum(1).argsort()].numpy()


def _k_means(pixels: Tensor, num_colours: int, rng: np.random.Generator) -> tuple[float, Tensor]:
    """Mean distance and centres [K, 3] of one run; a centre that loses all its pixels stays where it is."""
    centres = pixels[rng.integers(len(pixels))][None]
    gaps = torch.full((len(pixels),), torch.inf)
    for _ in range(num_colours - 1):  # the next centre: a pixel drawn in proportion to its squared distance
        gaps = torch.minimum(gaps, ((pixels - centres[-1]) ** 2).sum(1))
        total = gaps.double().cumsum(0)
        pick = torch.searchsorted(total, rng.random() * total[-1])
        centres = torch.cat([centres, pixels[pick][None]])
    columns = pixels.T.contiguous()
    for _ in range(30):
        nearest = _offsets(columns, centres).min(0).indices
        counts = torch.bincount(nearest, minlength=num_colours)[:, None]
        sums = torch.zeros_like(centres).index_add_(0, nearest, pixels)
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    squares = _offsets(columns, centres).min(0).values + (columns**2).sum(0)
    return float(squares.clamp(min=0).sqrt().mean()), centres


def _offsets(columns: Tensor, centres: Tensor) -> Tensor:
    """|x - c|² - |x|² for pixels [3, n] and centres [K, 3]: [K, n], the layout in which torch finds minima fastest."""
    return torch.addmm((centres**2).sum(1, keepdim=True), centres, columns, alpha=-2)


def nearest_colour(images: Images, colours: NDArray[np.floating] | Tensor) -> Tensor:
    """The index of the nearest colour in RGB for every pixel, uint8 [N, H, W]; on a tie, the lowest index.

    `images` uint8 [N, H, W, 3]; `colours` [K, 3] in [0, 1], K <= 256, or ValueError.
    """
    images = torch.as_tensor(images)
    centres = torch.from_numpy(check_colours(colours)).to(images.device).double()  # 64 bits keep near ties apart
    parts = torch.split(images.reshape(-1, 3), 2**15)
    labels = [_offsets(part.T.double() / 256, centres).min(0).indices.to(torch.uint8) for part in parts]
    return torch.cat(labels).reshape(images.shape[:-1])


def colour_images(labels: Tensor, colours: NDArray[np.floating] | Tensor) -> Tensor:
    """The images that colour indices [N, H, W] stand for: uint8 [N, H, W, 3]."""
    table = (torch.as_tensor(colours).to(labels.device) * 256).round().clamp(0, 255).to(torch.uint8)
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
    return np.asarray(rgb2lab((levels / 255).astype(np.float32)), np.float32)


def delta_e(images: Images, others: Images) -> NDArray[np.float32]:
    """The colour difference CIEDE2000 of every pixel, float32 [...], images as for `rgb_to_lab`; 1 is just visible."""
    from skimage.color import deltaE_ciede2000

    difference: Any = deltaE_ciede2000  # scikit-image has no types
    return np.asarray(difference(rgb_to_lab(images), rgb_to_lab(others)), np.float32)


def fit_mean_table(images: Images) -> Tensor:
    """The mean colour of each grey level, float32 [256, 3], pixels / 256; a level that is in no image keeps its grey.

    It predicts as `table[grey_levels(images).long()]`.
    """
    pixels = torch.as_tensor(images).reshape(-1, 3)
    levels = grey_levels(pixels).int()
    counts = torch.bincount(levels, minlength=256)
    sums = torch.stack([torch.bincount(levels, channel.double(), 256) for channel in pixels.T], 1)
    greys = torch.arange(256.0, dtype=torch.double)[:, None]
    return (torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], greys) / 256).float()


def fit_class_table(images: Images, labels: Tensor, num_colours: int = 24, smoothing: float = 0.1) -> Tensor:
    """The log-probability of each colour class given grey, float32 [256, num_colours]; counts start at `smoothing`.

    `images` uint8 [N, H, W, 3], `labels` [N, H, W] from `nearest_colour`. It predicts as the mean table does.
    """
    pairs = grey_levels(images).int().flatten() * num_colours + labels.flatten()
    counts = torch.bincount(pairs, minlength=256 * num_colours).reshape(256, num_colours).double() + smoothing
    return (counts / counts.sum(1, keepdim=True)).log().float()


def load_colours(path: str | Path) -> NDArray[np.float32]:
    """The colours in a `.npy` file, float32 [K, 3]: a plain array, or the assignment's `colour_kmeans24_cat7.npy`.

    The latter is a pickle. It is read without running anything that it names, and what is not NumPy's way to rebuild an
    array is refused. Raises ValueError for a file that holds no colours, OSError for one that cannot be read.
    """
    path = Path(path)
    if path.stat().st_size > 2**20:
        raise ValueError(f"{path} is larger than a palette of colours can be: is it another file?")
    raw = archives.verified(path)
    try:
        array = _read_npy(raw)
    except Exception as error:  # a damaged pickle can fail in any way
        raise ValueError(f"{path} holds no colours that can be read safely ({error})") from None
    return check_colours(array, str(path))


def _read_npy(raw: bytes) -> Any:
    stream = io.BytesIO(raw)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, dtype = read(stream)
    if not dtype.hasobject:
        return np.load(io.BytesIO(raw), allow_pickle=False)
    # Saved from (colours, mean distance): an object array, whose pickle is itself an array of two objects.
    content = _Inert.Reader(stream, encoding="bytes").load().rebuild()
    return content[0].rebuild() if isinstance(content[0], _Inert) else content


class _Inert:
    """What a pickle asks NumPy to build, kept as a note: nothing is constructed until `rebuild` has looked at it."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = ()

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
