"""New versions of pictures: crops of themselves, brighter or darker, with the grey and the labels that are theirs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convnets import colour
from convnets.variations import Variations

COLOURS = np.array([[0.1, 0.1, 0.1], [0.8, 0.2, 0.1], [0.3, 0.7, 0.4], [0.9, 0.9, 0.9]], np.float32)


def vary(images: torch.Tensor, **settings) -> tuple[torch.Tensor, torch.Tensor]:
    nothing = torch.zeros(len(images))
    return Variations(COLOURS, **settings)(colour.to_pixels(images), nothing, torch.Generator().manual_seed(0))


def test_every_version_is_a_mirrored_crop_and_all_of_them_occur():
    """Without brightness a result is what NumPy cuts out of the picture or its mirror image, padded by reflection."""
    image = torch.arange(54, dtype=torch.uint8).reshape(6, 9)
    grey, _ = vary(image.expand(3, 400, 6, 9).permute(1, 2, 3, 0).contiguous(), reach=2, brightness=0.0)
    crops = {
        np.pad(side, 2, mode="reflect")[row : row + 6, column : column + 9].tobytes()
        for side in (image.numpy(), image.numpy()[:, ::-1])
        for row in range(5)
        for column in range(5)
    }
    assert {(256 * result[0]).round().byte().numpy().tobytes() for result in grey} == crops


def test_labels_belong_to_what_the_picture_has_become():
    """Of plain pictures, each as bright as it was made: the label is the nearest to the colour made so bright."""
    plain = torch.tensor([60, 120, 30], dtype=torch.uint8)
    grey, labels = vary(plain.expand(300, 4, 4, 3).contiguous(), reach=0, brightness=0.9)
    factors = grey.flatten(1).mean(1) * 256 / 70
    assert 0.1 <= factors.min() < 0.2
    assert 1.8 < factors.max() <= 1.9
    distances = (factors[:, None, None] * plain / 256 - torch.from_numpy(COLOURS)).norm(dim=-1)
    nearest, second = distances.sort(1).values[:, :2].T
    sure = second - nearest > 0.02  # pixels are whole levels
    assert torch.equal(labels[sure, 0, 0], distances.argmin(1)[sure])
    assert len(labels[sure].unique()) > 1


def test_a_picture_that_does_not_vary_keeps_its_grey_and_its_labels():
    """Up to mirroring, grey and labels are those of the images themselves, to the last bit."""
    images = torch.randint(256, (50, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    grey, labels = vary(images, reach=0, brightness=0.0)
    own, known = colour.grey(colour.to_pixels(images)), colour.nearest_colour(images, COLOURS).long()
    for one, label, same, truth in zip(grey, labels, own, known, strict=True):
        assert (torch.equal(one, same) and torch.equal(label, truth)) or (
            torch.equal(one, same.flip(-1)) and torch.equal(label, truth.flip(-1))
        )


def test_a_reach_that_leaves_nothing_to_mirror_is_refused():
    """A picture of six rows can be shifted by five at most."""
    with pytest.raises(ValueError, match="reach is 6"):
        vary(torch.zeros(1, 6, 9, 3, dtype=torch.uint8), reach=6)
