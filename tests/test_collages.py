"""Lessons without flowers: labels that say what is where, and no flower among the shapes."""

from __future__ import annotations

import numpy as np
import torch

from convnets import collages, scenes


def test_shapes_are_scenes_without_flowers():
    """Each picture has the background and one shape, whose pixels are where the grey picture shows it."""
    images, labels = collages.shapes(200, 32, seed=3)
    assert images.shape == (200, 32, 32, 3)
    flower = scenes.CLASSES.index(collages.UNSEEN) + 1
    found = [set(label.unique().tolist()) for label in labels]
    assert all(len(values) == 2 and 0 in values for values in found)
    assert set.union(*found) == set(range(len(scenes.CLASSES) + 1)) - {flower}
    grey = (images.numpy().sum(-1, dtype=np.uint16) // 3).astype(np.uint8)
    assert np.array_equal(scenes.mask_from_grey(grey), labels.numpy() > 0)


def test_flower_scenes_are_the_others():
    """As many as asked for, each with a flower, none of which a lesson shows."""
    images, masks = collages.flower_scenes(50, 32)
    assert images.shape == (50, 32, 32, 3)
    assert set(masks.unique().tolist()) == {0, 1}
    drawn = scenes.scenes(2000, 32, (0, 1))
    flowers = {image.tobytes() for image in drawn.images[drawn.labels == scenes.CLASSES.index("flower")]}
    assert all(image.numpy().tobytes() in flowers for image in images)


def test_a_collage_shows_two_photographs_where_its_labels_say():
    """With photographs of one colour each, every pixel's colour is that of a photograph of its label."""
    photographs = torch.arange(0, 250, 25, dtype=torch.uint8)[:, None, None, None].expand(10, 8, 8, 3).contiguous()
    classes = torch.arange(10, dtype=torch.uint8)
    images, labels = collages.collages(photographs, classes, 60, 32, seed=1)
    assert torch.equal(images, (25 * labels)[..., None].expand(-1, -1, -1, 3))
    assert sum(len(label.unique()) == 2 for label in labels) > 45
    assert len(labels.unique()) == 10
