"""Lessons without flowers: labels that say what is where, and no flower among the shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convnets import collages, scenes


def test_shapes_are_scenes_without_flowers():
    """Each picture has one shape, where the grey picture shows it, and no picture is one with a flower."""
    images, masks = collages.shapes(200, 32, seed=3)
    assert images.shape == (200, 32, 32, 3)
    assert all(label.unique().tolist() == [0, 1] for label in masks)
    grey = (images.numpy().sum(-1, dtype=np.uint16) // 3).astype(np.uint8)
    assert np.array_equal(scenes.mask_from_grey(grey), masks.numpy() > 0)
    drawn = scenes.scenes(1000, 32, (3, 0))
    flowers = {image.tobytes() for image in drawn.images[drawn.labels == scenes.CLASSES.index("flower")]}
    assert flowers
    assert not any(image.numpy().tobytes() in flowers for image in images)


def test_flower_scenes_are_the_others():
    """As many as asked for, each with a flower, none of which a lesson shows."""
    images, masks = collages.flower_scenes(50, 32)
    assert images.shape == (50, 32, 32, 3)
    assert set(masks.unique().tolist()) == {0, 1}
    drawn = scenes.scenes(2000, 32, (0, 1))
    flowers = {image.tobytes() for image in drawn.images[drawn.labels == scenes.CLASSES.index("flower")]}
    assert all(image.numpy().tobytes() in flowers for image in images)


def test_a_collage_shows_one_photograph_on_the_shape_and_one_around_it():
    """With photographs of one colour each, a picture has at most two, each on one side of its mask."""
    photographs = torch.arange(0, 250, 25, dtype=torch.uint8)[:, None, None, None].expand(10, 8, 8, 3)
    images, masks = collages.collages(photographs.contiguous(), 60, 32, seed=1)
    pairs = [
        tuple(image[mask == side].unique().tolist() for side in (0, 1))
        for image, mask in zip(images, masks, strict=True)
    ]
    assert all(len(back) == len(front) == 1 for back, front in pairs)
    assert sum(back != front for back, front in pairs) > 45
    assert {front[0] for _, front in pairs} == set(range(0, 250, 25))


@pytest.mark.parametrize(
    ("pixel", "colour"),
    [((0, 0, 0), 0), ((70, 70, 70), 1), ((255, 255, 255), 3), ((200, 190, 200), 3), ((255, 0, 0), 4), ((0, 255, 0), 6)],
)
def test_colours_are_greys_by_brightness_and_hues(pixel, colour):
    """Red begins the circle of hues, green stands a third along it; a pale pixel is grey."""
    image = torch.tensor(pixel, dtype=torch.uint8).expand(1, 2, 2, 3)
    assert collages.colours(image).unique().tolist() == [colour]


def test_all_colours_occur():
    """In random pixels each of them."""
    noise = torch.randint(0, 256, (1, 64, 64, 3), generator=torch.Generator().manual_seed(0)).byte()
    assert collages.colours(noise).unique().tolist() == list(range(collages.COLOURS))
