"""`my_conv2` beside `scipy.signal.convolve2d`: images of 128 to 1,024 pixels a side, kernels of 3 to 15."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.signal import convolve2d

from convnets.image_processing import my_conv2
from tests.bench.measure import Pair

SIZES = (1024, 512, 256, 128)  # large first: Python needs some calls to be as fast as it gets
KERNELS = (3, 5, 7, 9, 11, 13, 15)
FEW = 3, 9, 15  # kernels of a quick bench, on images of 256 and 512


def pairs(quick: bool) -> list[Pair]:
    """One pair for each image, kernel and kind of kernel: of full rank, and separable."""
    rng = np.random.default_rng(0)
    sizes, sides = ((512, 256), FEW) if quick else (SIZES, KERNELS)
    images = {size: rng.random((size, size)) for size in sizes}
    kernels = {(k, "full rank"): rng.normal(size=(k, k)) for k in sides}
    kernels |= {(k, "separable"): np.outer(*rng.normal(size=(2, k))) for k in sides}
    return [
        Pair(
            f"convolution {size}×{size} with {k}×{k}, {kind}",
            partial(my_conv2, image, kernel),
            "scipy.signal.convolve2d",
            partial(convolve2d, image, kernel, mode="same"),
            goal=2.5,
            group=f"convolution {size}×{size}, kernels of {sides[0]} to {sides[-1]}, {kind}",
        )
        for size, image in images.items()
        for (k, kind), kernel in kernels.items()
    ]
