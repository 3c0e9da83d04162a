"""Photographs larger than thumbnails: squares of the size asked for, evenly chosen, shrunk by averages."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from convnets import photographs


def test_the_bundled_ones_are_those_of_scikit_image_without_a_download():
    """The astronaut, a square of 512 pixels already, arrives unchanged; the others have her size."""
    images = photographs.bundled()
    assert images.shape == (len(photographs.BUNDLED), 512, 512, 3)
    np.testing.assert_array_equal(images[0], skimage.data.astronaut())


def test_a_wide_picture_loses_its_sides_and_a_high_one_its_ends(tmp_path):
    """The middle square is taken: its colours are all that is left."""
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = (10, 200, 30)
    for number, array in enumerate((wide, wide.transpose(1, 0, 2))):
        Image.fromarray(array).save(tmp_path / f"image_{number}.jpg", quality=100, subsampling=0)
    for image in photographs.flowers(tmp_path, 2, size=10).numpy():
        np.testing.assert_allclose(image[2:-2, 2:-2], np.broadcast_to((10, 200, 30), (6, 6, 3)), atol=6)


def test_flowers_are_spread_over_the_folder(tmp_path):
    """Of ten pictures every other one for five; more than there are is refused, with the folder's name."""
    for number in range(10):
        level = np.full((8, 8, 3), 20 * number, np.uint8)
        Image.fromarray(level).save(tmp_path / f"image_{number:04}.jpg", quality=100)
    levels = photographs.flowers(tmp_path, 5, size=8)[:, 4, 4, 0]
    np.testing.assert_allclose(levels, [0, 40, 80, 120, 160], atol=2)
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} holds 10 pictures, not 11"):
        photographs.flowers(tmp_path, 11)


def test_shrinking_averages_blocks():
    """Each pixel is the rounded mean of its block; what does not divide is refused."""
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), np.uint8))
    means = images.numpy().reshape(2, 4, 3, 4, 3, 3).mean((2, 4))
    np.testing.assert_allclose(photographs.shrink(images, 4), means, atol=0.5 + 1e-4)
    for size in (5, 24):
        with pytest.raises(ValueError, match=f"12 pixels cannot be averaged to {size}"):
            photographs.shrink(images, size)
