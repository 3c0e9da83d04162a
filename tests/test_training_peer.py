"""`fit` ends where the loop that everyone writes ends: the peer of `make bench`, at a small size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from convnets import colour, data, models, training
from tests.bench.training import fit, labels_of, usual_loop

SEEDS, EPOCHS, BATCH_SIZE = 8, 6, 10


@pytest.fixture(scope="module")
def pictures():
    scenes = data.load("scenes", num_train=60, num_validation=40)
    colours = torch.from_numpy(colour.fit_colours(scenes.train_images, 8, restarts=1))
    return scenes.train_images, scenes.validation_images, colours


def network(seed: int) -> models.UNet:
    torch.manual_seed(seed)
    return models.UNet(num_filters=4, num_colours=8)


def test_the_peer_learns_from_the_same_labels(pictures):
    """The nearest of the colours, whichever way the distances are computed."""
    images, _, colours = pictures
    theirs = labels_of(colour.to_pixels(images), colours)
    assert torch.equal(theirs, colour.nearest_colour(images, colours).long())


def test_final_losses_are_those_of_the_usual_loop(pictures):
    """Over seeds: means within the standard error that the seeds' spread gives them, and spreads of one size."""
    ours, theirs = (
        np.array([way(network(seed), *pictures, EPOCHS, BATCH_SIZE)[-1] for seed in range(SEEDS)])
        for way in (fit, usual_loop)
    )
    error = np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / SEEDS)
    assert error > 0
    assert abs(ours.mean() - theirs.mean()) < 3 * error
    assert 1 / 4 < ours.std() / theirs.std() < 4
    first = network(0)
    untrained = F.cross_entropy(first(colour.grey(colour.to_pixels(pictures[1]))), labels_of_all(pictures)).item()
    assert max(ours.max(), theirs.max()) < untrained - 10 * error  # both have learnt


def labels_of_all(pictures) -> torch.Tensor:
    return labels_of(colour.to_pixels(pictures[1]), pictures[2])


def test_in_float32_one_large_batch_gives_the_same_losses(pictures):
    """Where the order of the pictures decides nothing, both ways take the very same steps."""
    images, judged, colours = pictures
    inputs, labels = colour.grey(colour.to_pixels(images)), colour.nearest_colour(images, colours)
    validation = colour.grey(colour.to_pixels(judged)), colour.nearest_colour(judged, colours)
    history = training.fit(
        network(1), inputs, labels, F.cross_entropy, validation=validation, epochs=4, batch_size=60,
        precision=torch.float32, device=torch.device("cpu"),
    )  # fmt: skip
    assert history.validation_loss == pytest.approx(usual_loop(network(1), *pictures, 4, 60), rel=1e-4)
