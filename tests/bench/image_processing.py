"""`my_conv2` beside `scipy.signal.convolve2d`: images of 128 to 1,024 pixels a side, kernels of 3 to 15."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.signal import convolve2d

from convnets.image_processing import my_conv2
from tests.bench.measure import Pair

SIZES = (1024, 512, 256, 128)  # large first: Python needs some calls to be as fast as it gets
KERNELS = (3, 5, 7, 9, 11, 13, 15)


def pairs() -> list[Pair]:
    """One pair for each image, kernel and kind of kernel: of full rank, and separable."""
    rng = np.random.default_rng(0)
    images = {size: rng.random((size, size)) for size in SIZES}
    kernels = {(k, "full rank"): rng.normal(size=(k, k)) for k in KERNELS}
    kernels |= {(k, "separable"): np.outer(*rng.normal(size=(2, k))) for k in KERNELS}
    return [
        Pair(
            f"convolution {size}×{size} with {k}×{k}, {kind}",
            partial(my_conv2, image, kernel),
            "scipy.signal.convolve2d",
            partial(convolve2d, image, kernel, mode="same"),
            goal=2.5,
        )
        for size, image in images.items()
        for (k, kind), kernel in kernels.items()
    ]
