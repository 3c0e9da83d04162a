"""Image processing written out: operations on single pixels without loops, convolution in three ways, edge filters.

An image is an array [height, width] or [height, width, channels] of real numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import fft, irfft2, next_fast_len, rfft, rfft2
from scipy.linalg.blas import daxpy

SOBEL_X = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
SOBEL_Y = SOBEL_X.T
LAPLACIAN = np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])

BORDERS = ("zero", "edge", "symmetric", "reflect", "wrap")
METHODS = ("auto", "shifts", "separable", "fft")
FFT_TAPS = 100  # the FFT takes as long as 50 to 150 shifted adds, by size and state of the memory: see the chapter
SECOND_PASS = 3  # two passes take as long as about this many adds more than their own
_CALL = 10_000  # pixels in one call of daxpy: for more OpenBLAS wakes its threads, which takes longer than the work
_STRIP = 2 * _CALL  # pixels worked on at a time, so that they stay in the processor's cache

Array = NDArray[np.float64]
Bytes = NDArray[np.uint8]


# ---- Single pixels ----


def read_picture(path: Path) -> tuple[Bytes, str]:
    """The grey picture in a file, uint8 [H, W], and its name; scikit-image's cameraman where there is no such file.

    Raises ValueError for a file that is no picture.
    """
    from PIL import Image, UnidentifiedImageError  # here, because only chapters read files
    from skimage import data

    if not path.is_file():
        return data.camera(), "scikit-image's cameraman"
    try:
        with Image.open(path) as picture:
            return np.array(picture.convert("L")), path.name
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} is no picture that can be read ({error}): replace or remove it") from None


def negative(image: Bytes) -> Bytes:
    """The image with light and dark exchanged."""
    return 255 - _bytes(image)


def mirror(image: NDArray[Any]) -> NDArray[Any]:
    """The image with left and right exchanged."""
    return image[:, ::-1]


def swap_red_green(image: NDArray[Any]) -> NDArray[Any]:
    """The colour image [H, W, 3], first and second channel exchanged."""
    return image[:, :, [1, 0, 2]]


def add_noise(image: Bytes, rng: np.random.Generator) -> Bytes:
    """Every pixel plus or minus a random 0 … 255, clipped to 0 … 255."""
    size = rng.integers(0, 256, image.shape)
    sign = rng.choice([-1, 1], image.shape)
    return np.clip(_bytes(image) + sign * size, 0, 255).astype(np.uint8)


def _bytes(image: Bytes) -> Bytes:
    if np.asarray(image).dtype != np.uint8:
        raise ValueError(f"image holds {np.asarray(image).dtype}: give uint8, whole numbers from 0 to 255")
    return image


# ---- Convolution ----


def my_conv2(image: ArrayLike, kernel: ArrayLike, border: str = "zero", method: str = "auto") -> Array:
    """The convolution of an image with a kernel, as large as the image: each channel by itself, float64.

    kernel: [k, k], k odd; it is turned by 180°, as mathematics has it. border: what lies beyond the image, for a row
    a b c d: "zero" 0 0|abcd|0 0, "edge" aa|abcd|dd, "symmetric" ba|abcd|dc, "reflect" cb|abcd|cb, "wrap" cd|abcd|ab;
    the names are numpy.pad's. method: "shifts" adds k² weighted copies, "separable" 2k where the kernel has rank one,
    "fft" multiplies spectra; "auto" takes what should be fastest. Raises ValueError for anything else.
    """
    for name, given, known in (("border", border, BORDERS), ("method", method, METHODS)):
        if given not in known:
            raise ValueError(f"{name} is {given!r}: choose one of {', '.join(known)}")
    pixels = _checked_image(image)
    method, kernels = _prepared(_checked_kernel(kernel), method)
    convolve = _by_spectra if method == "fft" else _by_shifts
    channels = [convolve(channel, kernels, border) for channel in np.atleast_3d(pixels).transpose(2, 0, 1)]
    return channels[0] if pixels.ndim == 2 else np.stack(channels, -1)


def choose_method(kernel: ArrayLike) -> str:
    """The method that `my_conv2` takes for a kernel: the one with the fewest shifted adds.

    Those are: one for each entry that is not zero; or 2k + `SECOND_PASS` if the kernel is separable; or `FFT_TAPS`.
    """
    return _prepared(_checked_kernel(kernel), "auto")[0]


def separate(kernel: ArrayLike) -> tuple[Array, Array] | None:
    """The column and the row whose outer product is the kernel; None where its rank is above one.

    The rank is the number of singular values above rounding (numpy.linalg.matrix_rank's bound). The row is the kernel's
    own row through its largest entry, up to sign, so that whole numbers stay whole.
    """
    mask = _checked_kernel(kernel)
    strengths = np.linalg.svd(mask, compute_uv=False)
    if (strengths[1:] > strengths[0] * len(mask) * np.finfo(np.float64).eps).any():
        return None
    row, column = np.unravel_index(np.abs(mask).argmax(), mask.shape)
    pivot = mask[row, column] or 1.0  # the kernel of zeros is a product of zeros
    return mask[:, column] / abs(pivot), mask[row] * np.sign(pivot)


def frequency_response(kernel: ArrayLike, vertical: NDArray[Any], horizontal: NDArray[Any]) -> NDArray[np.complex128]:
    """What convolution multiplies the wave exp(i(v y + u x)) with: complex [len(vertical), len(horizontal)].

    H(v, u) = Σ k[m, n] exp(-i(v m + u n)), the kernel's centre at m = n = 0; v and u in radians a pixel.
    """
    mask = np.asarray(kernel, np.float64)
    angles = zip((vertical, horizontal), mask.shape, strict=True)
    waves: list[NDArray[Any]] = [np.exp(-1j * np.outer(along, np.arange(size) - size // 2)) for along, size in angles]
    response: NDArray[np.complex128] = waves[0] @ mask @ waves[1].T
    return response


def _prepared(kernel: Array, method: str) -> tuple[str, list[Array]]:
    """The method to use, and the kernels to apply one after the other; "auto" is the cheapest that is possible."""
    adds = {"shifts": int(np.count_nonzero(kernel)), "separable": 2 * len(kernel) + SECOND_PASS, "fft": FFT_TAPS}
    for name in sorted(adds, key=lambda way: adds[way]) if method == "auto" else [method]:
        if name != "separable":
            return name, [kernel]
        if factors := separate(kernel):
            return name, [factors[0][:, np.newaxis], factors[1][np.newaxis]]
    raise ValueError("kernel has a rank above one, so no two vectors make it: choose method 'shifts' or 'fft'")


def _by_shifts(image: NDArray[Any], kernels: Sequence[Array], border: str) -> Array:
    """Convolves with one kernel after another, in strips that stay in the processor's cache."""
    margin = max(kernels[0].shape) // 2
    rows, columns = (_sources(size, margin, border) for size in image.shape)
    height = max(1, min(_STRIP // len(columns), len(image)))
    strip, *between = np.empty((len(kernels), height + 2 * margin, len(columns)))
    result = np.empty((len(image), len(columns)))
    for top in range(0, len(image), height):
        sums = _fill(strip, image, rows[top : top + height + 2 * margin], columns)
        for kernel, target in zip(kernels, [*between, result[top:]], strict=True):
            sums = _add_shifted(sums, kernel, target)
    return result[:, : image.shape[1]]


def _add_shifted(image: Array, kernel: Array, target: Array) -> Array:
    """Writes Σ k[m, n] × (image shifted by m, n) into the target, for the rows where the kernel fits, and returns them.

    On the image as one long list a shift by m rows and n columns is a shift by m × width + n places; what it carries
    round the right edge is not used.
    """
    (height, width), (high, wide) = image.shape, kernel.shape
    total = target[: height - high + 1]
    total[:] = 0
    pixels, sums, length = image.ravel(), total.ravel(), total.size - wide + 1
    turned = np.ndenumerate(kernel[::-1, ::-1])
    taps = [(weight, row * width + column) for (row, column), weight in turned if weight]
    for start in range(0, length, _CALL):
        count = min(_CALL, length - start)
        for weight, shift in taps:
            daxpy(pixels, sums, count, weight, start + shift, 1, start)  # in place: sums += weight × shifted pixels
    return total


def _by_spectra(image: NDArray[Any], kernels: Sequence[Array], border: str) -> Array:
    """Multiplies the spectrum of the padded image by that of the only kernel."""
    (kernel,) = kernels
    margin = len(kernel) // 2
    rows, columns = (_sources(size, margin, border) for size in image.shape)
    padded = _fill(np.empty((len(rows), len(columns))), image, rows, columns)
    height, width = (next_fast_len(size, real=True) for size in padded.shape)
    spectrum = rfft2(padded, (height, width))
    spectrum *= fft(rfft(kernel, width), height, axis=0)  # rfft2 would transform the zeros below the kernel, too
    convolved: Array = irfft2(spectrum, (height, width), overwrite_x=True)
    return convolved[2 * margin : len(rows), 2 * margin : len(columns)]


def _sources(size: int, margin: int, border: str) -> NDArray[np.intp]:
    """For each of `size` places and `margin` more on both sides, which place its value comes from; -1 for zero."""
    places = np.arange(-margin, size + margin)
    if border == "edge":
        return places.clip(0, size - 1)
    if border == "wrap":
        return places % size
    if border == "symmetric":  # a picture beside its mirror image, repeated
        places %= 2 * size
        return np.minimum(places, 2 * size - 1 - places)
    if border == "reflect":  # the same, without saying the outermost pixel twice
        period = max(1, 2 * size - 2)
        return np.minimum(places % period, -places % period)
    return np.where((places >= 0) & (places < size), places, -1)


def _fill(target: Array, image: NDArray[Any], rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Array:
    """Writes the image's rows and columns of these numbers, -1 for zeros, into the target, and returns those rows."""
    padded, width = target[: len(rows)], image.shape[1]
    margin = (len(columns) - width) // 2
    # no step from a row's number to the next is above 1, so ends that far apart enclose all rows between
    whole = 0 <= rows[0] == rows[-1] - len(rows) + 1
    padded[:, margin : margin + width] = image[rows[0] : rows[-1] + 1] if whole else image[rows]
    nothing = margin > 0 and columns[0] < 0
    for rim in (slice(margin), slice(margin + width, None)):
        padded[:, rim] = 0 if nothing else padded[:, margin + columns[rim]]
    if nothing:
        padded[rows < 0] = 0
    return padded


def _checked_image(image: ArrayLike) -> NDArray[Any]:
    pixels = _real(image, "image")
    if pixels.ndim not in (2, 3):
        raise ValueError(f"image has shape {pixels.shape}: give [height, width] or [height, width, channels]")
    if pixels.size == 0:
        raise ValueError(f"image is empty (shape {pixels.shape}): give at least one pixel")
    return pixels


def _checked_kernel(kernel: ArrayLike) -> Array:
    mask = _real(kernel, "kernel").astype(np.float64)
    if mask.ndim != 2 or mask.shape[0] != mask.shape[1] or mask.shape[0] % 2 == 0:
        raise ValueError(f"kernel has shape {mask.shape}: give a square of odd size, such as 3 × 3, which has a centre")
    return mask


def _real(values: ArrayLike, name: str) -> NDArray[Any]:
    """The values as an array; ValueError unless they are real and finite."""
    array = np.asarray(values)
    if array.dtype.kind not in "buif":
        raise ValueError(f"{name} holds {array.dtype}: give real numbers")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity: replace them by numbers first")
    return array
