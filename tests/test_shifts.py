"""Pictures and their label maps move together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convnets.shifts import flip_and_shift


def numbered(count: int = 200, height: int = 6, width: int = 9) -> torch.Tensor:
    """Maps in which every pixel has a number of its own."""
    return torch.arange(height * width).reshape(1, height, width).expand(count, -1, -1)


def test_inputs_and_labels_move_alike_and_every_result_is_a_mirrored_crop():
    """Each result is what NumPy cuts out of the picture or its mirror image, padded by reflection; all of them occur."""
    maps = numbered()
    images = torch.stack([maps, maps + 100], 1).float()
    moved, labels = flip_and_shift(images, maps, torch.Generator().manual_seed(0), reach=2)
    assert torch.equal(moved[:, 0], labels.float())
    assert torch.equal(moved[:, 1], labels.float() + 100)
    crops = {
        np.pad(side, 2, mode="reflect")[row : row + 6, column : column + 9].tobytes()
        for side in (maps[0].numpy(), maps[0].numpy()[:, ::-1])
        for row in range(5)
        for column in range(5)
    }
    results = {result.numpy().tobytes() for result in labels}
    assert results <= crops
    assert len(results) > 45


def test_a_reach_that_leaves_nothing_to_mirror_is_refused():
    """A picture of six rows can be shifted by five at most."""
    images = numbered()[:, None].float()
    with pytest.raises(ValueError, match="reach is 6"):
        flip_and_shift(images, numbered(), torch.Generator(), reach=6)
