"""The measures against answers worked out by hand or in another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from convnets import metrics

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(3, 12, 10, 3), dtype=np.uint8)
TRUTH = RNG.integers(256, size=(3, 12, 10, 3), dtype=np.uint8)


def test_mse_is_the_mean_of_all_squares():
    """Summed pixel by pixel, in uint8 and in float alike; uint8 does not overflow."""
    differences = [(int(a) - int(b)) / 256 for a, b in zip(IMAGES.flat, TRUTH.flat, strict=True)]
    expected = math.fsum(d * d for d in differences) / len(differences)
    assert metrics.mse(IMAGES, TRUTH) == pytest.approx(expected)
    assert metrics.mse(IMAGES / 256, torch.from_numpy(TRUTH)) == pytest.approx(expected)


def test_psnr_is_averaged_over_pictures():
    """A constant error of 1/10 is 20 dB, of 1/100 is 40 dB, both pictures together 30 dB; no error is infinite."""
    truth = np.full((2, 8, 8, 3), 0.5)
    images = truth + np.array([0.1, 0.01])[:, None, None, None]
    assert metrics.psnr(images, truth) == pytest.approx(30)
    assert metrics.psnr(images[:1], truth[:1]) == pytest.approx(20)
    assert metrics.psnr(truth, truth) == math.inf


def brute_force_ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Equation 13 of Wang et al. (2004) in every 7 by 7 window of one channel: sample variances, L = 1."""
    values = []
    for row in range(first.shape[0] - 6):
        for column in range(first.shape[1] - 6):
            x, y = (array[row : row + 7, column : column + 7].ravel() for array in (first, second))
            (vx, cov), (_, vy) = np.cov(x, y)
            mx, my, c1, c2 = x.mean(), y.mean(), 0.01**2, 0.03**2
            values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


def test_ssim_equals_the_formula_in_every_window():
    """The mean over windows, channels and pictures, for a range of 1; equal pictures have 1."""
    images = np.clip(TRUTH / 256 + RNG.normal(0, 0.1, TRUTH.shape), 0, 1)
    pairs = [(a[..., c], b[..., c]) for a, b in zip(images, TRUTH / 256, strict=True) for c in range(3)]
    expected = np.mean([brute_force_ssim(a, b) for a, b in pairs])
    assert metrics.ssim(images, TRUTH) == pytest.approx(expected, abs=1e-6)
    assert metrics.ssim(TRUTH, TRUTH) == pytest.approx(1)


def test_vividness_is_the_distance_from_grey():
    """Zero for grey, summed pixel by pixel for the rest: uint8 and float alike."""
    squares = [sum((int(c) - sum(map(int, pixel)) / 3) ** 2 for c in pixel) for pixel in IMAGES.reshape(-1, 3)]
    expected = math.sqrt(math.fsum(squares) / len(squares)) / 256
    assert metrics.vividness(IMAGES) == pytest.approx(expected)
    assert metrics.vividness(torch.from_numpy(IMAGES) / 256) == pytest.approx(expected)
    assert metrics.vividness(np.repeat(IMAGES[..., :1], 3, -1)) == 0


def test_accuracy_is_the_share_of_equal_labels():
    """Three of four pixels right are 0.75, for arrays and tensors."""
    assert metrics.accuracy([[[0, 1], [2, 3]]], [[[0, 1], [2, 0]]]) == 0.75
    assert metrics.accuracy(torch.tensor([1, 1]), np.array([1, 0])) == 0.5


@pytest.mark.parametrize("measure", [metrics.mse, metrics.psnr, metrics.ssim])
def test_pictures_of_different_shapes_are_refused(measure):
    """Nothing is broadcast: a batch against one picture is a mistake."""
    with pytest.raises(ValueError, match=r"\(3, 12, 10, 3\).*must be \[N, H, W, 3\]"):
        measure(IMAGES, TRUTH[:1])


def test_labels_of_different_shapes_are_refused():
    """Nor are labels broadcast."""
    with pytest.raises(ValueError, match="give equal shapes"):
        metrics.accuracy(np.zeros((2, 4)), np.zeros(4))
