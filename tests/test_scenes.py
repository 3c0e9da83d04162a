"""The embedded scenes: reproducible, readable from grey, and coloured as the stated distribution says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare

from convnets.colour import nearest_colour
from convnets.scenes import (
    CLASSES,
    bayes_classification,
    bayes_mse,
    conditional_colours,
    conditional_mean,
    conditional_probabilities,
    expected_accuracy,
    mask_from_grey,
    recolour,
    scenes,
)


@pytest.fixture(scope="module")
def many():
    return scenes(4000, size=16, seed=5)


@pytest.fixture(scope="module")
def colours():
    return np.random.default_rng(0).random((24, 3)).astype(np.float32)


def grey_and_chroma(made):
    total = made.images.astype(int).sum(-1)
    assert (total % 3 == 0).all()
    return total // 3, made.images - (total // 3)[..., None]


def picked(made, region):
    """Which palette entry each picture's region shows, found by comparing colours; every pixel must agree."""
    _, chroma = grey_and_chroma(made)
    picks = np.full(len(made.labels), -1)
    for n, label in enumerate(made.labels):
        there = np.unique(chroma[n][made.masks[n] == bool(region)], axis=0)
        assert len(there) == 1
        (picks[n],) = np.flatnonzero((conditional_colours(label, region)[0] == there).all(1))
    return picks


def test_the_same_seed_draws_the_same_bytes():
    """A seed fixes every byte, a longer list begins with the shorter one, another seed draws others."""
    first, again, longer, other = scenes(30, seed=1), scenes(30, seed=1), scenes(90, seed=1), scenes(30, seed=2)
    assert first.images.tobytes() == again.images.tobytes() == longer.images[:30].tobytes()
    assert (first.labels == longer.labels[:30]).all()
    assert (first.masks == longer.masks[:30]).all()
    assert (first.images != other.images).mean() > 0.5


@pytest.mark.parametrize("size", [16, 32, 75])
def test_shapes_and_types_at_any_size(size):
    """Images, labels and masks have the stated shapes and types, all ten classes among them."""
    made = scenes(200, size=size)
    assert (made.images.shape, made.images.dtype) == ((200, size, size, 3), np.uint8)
    assert (made.masks.shape, made.masks.dtype, made.labels.dtype) == ((200, size, size), bool, np.uint8)
    assert sorted(set(made.labels)) == list(range(10))
    assert len(set(CLASSES)) == 10


def test_a_larger_size_shows_the_same_scenes():
    """The same seed at twice the size has the same labels, and masks that agree when they are halved."""
    small, large = scenes(100, 32, seed=3), scenes(100, 64, seed=3)
    assert (small.labels == large.labels).all()
    halved = large.masks.reshape(100, 32, 2, 32, 2).mean((2, 4)) > 0.5
    assert (halved == small.masks).mean() > 0.97


@pytest.mark.parametrize("size", [16, 32, 64])
def test_grey_shows_the_mask_exactly(size):
    """No channel is clipped, and the mask is read from the grey picture without one wrong pixel."""
    made = scenes(1000, size, seed=7)
    grey, _ = grey_and_chroma(made)  # a sum that wrapped around would not be divisible by three
    assert (mask_from_grey(grey) == made.masks).all()
    assert made.masks.any((1, 2)).all()
    border = np.ones((size, size), bool)
    border[1:-1, 1:-1] = False
    assert not made.masks[:, border].any()


@pytest.mark.parametrize("size", [16, 32])
def test_no_two_classes_share_a_mask(size):
    """The mask shows the shape: a mask that two classes could have drawn does not occur, even up to a shift."""
    made = scenes(5000, size, seed=11)
    seen: dict[bytes, int] = {}
    for mask, label in zip(made.masks, made.labels, strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert seen.setdefault(bytes(crop.shape) + crop.tobytes(), label) == label


def test_colours_are_drawn_as_stated(many):
    """For each class and region, how often a colour occurs agrees with its stated probability."""
    p_values = []
    for region in (0, 1):
        picks = picked(many, region)
        for label in range(10):
            odds = conditional_colours(label, region)[1]
            assert odds.sum() == pytest.approx(1)
            counts = np.bincount(picks[many.labels == label], minlength=len(odds))
            p_values.append(chisquare(counts, odds * counts.sum()).pvalue)
    assert min(p_values) > 0.001
    assert np.mean(p_values) > 0.25


def test_colour_depends_on_nothing_but_the_class(many):
    """Neither shading, size, place nor the other region's colour say anything about which palette entry was drawn."""
    grey, _ = grey_and_chroma(many)
    front, back = picked(many, 1), picked(many, 0)
    area = many.masks.sum((1, 2))
    column, row = ((many.masks.sum(axis) * np.arange(16)).sum(1) / area for axis in (1, 2))
    shown = [grey.mean((1, 2)), grey[:, 0, 0], grey.std((1, 2)), area, column, row]
    quarters = [np.digitize(what, np.quantile(what, (0.25, 0.5, 0.75))) for what in shown]
    p_values = []
    for a, b in [(front, back), *((a, b) for a in (front, back) for b in quarters)]:
        table = np.zeros((4, 4))
        np.add.at(table, (a, b), 1)
        p_values.append(chi2_contingency(table).pvalue)
    assert min(p_values) > 0.001
    assert np.mean(p_values) > 0.25


def test_one_grey_value_has_many_colours(many):
    """Grey does not determine colour: one level occurs in more than a dozen colours."""
    grey, _ = grey_and_chroma(many)
    assert len(np.unique(many.images[grey == 100], axis=0)) > 12
    assert all(len(np.unique(conditional_colours(label, 1)[0], axis=0)) == 4 for label in range(10))


def test_recolouring_keeps_the_grey():
    """Other colours for the same pictures: grey, labels and masks stay, most colours change."""
    made = scenes(200, seed=2)
    other = recolour(made, seed=9)
    assert (grey_and_chroma(made)[0] == grey_and_chroma(other)[0]).all()
    assert (made.masks == other.masks).all()
    same = (made.images == other.images).all((1, 2, 3)).mean()
    assert 0.05 < same < 0.3  # both regions draw the same colour again with probability (Σ p²)² = 0.15


def test_the_mean_and_its_error_agree_with_sampling():
    """Averaged over many colourings, colour tends to `conditional_mean` and its squared error to `bayes_mse`."""
    made = scenes(60, size=16, seed=4)
    draws = np.stack([recolour(made, seed).images for seed in range(400)]) / 256
    mean = conditional_mean(made)
    assert mean.dtype == np.float32
    assert np.abs(draws.mean(0) - mean).max() < 6 * 0.16 / np.sqrt(400)
    errors = ((draws - mean) ** 2).mean((1, 2, 3, 4))
    assert abs(errors.mean() - bayes_mse(made)) < 4 * errors.std() / np.sqrt(400)


def test_the_error_is_the_variance_of_the_palette():
    """`bayes_mse` is the variance summed by hand from `conditional_colours`, and any other prediction is worse."""
    made = scenes(40, size=16, seed=6)
    total = 0.0
    for label, mask in zip(made.labels, made.masks, strict=True):
        for region in (0, 1):
            chroma, odds = conditional_colours(label, region)
            mean = sum(p * c for p, c in zip(odds, chroma, strict=True))
            variance = sum(p * ((c - mean) ** 2).mean() for p, c in zip(odds, chroma, strict=True))
            total += variance * (mask == bool(region)).sum()
    assert bayes_mse(made) == pytest.approx(total / made.masks.size / 256**2)
    grey = grey_and_chroma(made)[0][..., None] / 256
    errors = [((recolour(made, seed).images / 256 - grey) ** 2).mean() for seed in range(200)]
    assert np.mean(errors) > 1.2 * bayes_mse(made)


def test_the_best_classification_agrees_with_sampling(colours):
    """Cross-entropy and accuracy of the exact distribution, on drawn colourings, tend to the stated optimum."""
    made = scenes(25, size=16, seed=8)
    probabilities = conditional_probabilities(made, colours)
    assert probabilities.shape == (25, 16, 16, 24)
    assert np.allclose(probabilities.sum(-1), 1)
    best = probabilities.argmax(-1)
    losses, accuracies = [], []
    for seed in range(200):
        labels = nearest_colour(recolour(made, seed).images, colours).numpy().astype(int)
        losses.append(-np.log(np.take_along_axis(probabilities, labels[..., None], -1)).mean())
        accuracies.append((best == labels).mean())
    loss, accuracy = bayes_classification(made, colours)
    assert abs(np.mean(losses) - loss) < 4 * np.std(losses) / np.sqrt(200)
    assert abs(np.mean(accuracies) - accuracy) < 4 * np.std(accuracies) / np.sqrt(200)


def test_an_expected_accuracy_agrees_with_sampling_and_none_is_above_the_best(colours):
    """Any guess scores, picture by picture, the mean over recolourings; the most likely classes score the optimum."""
    made = scenes(20, seed=8)
    guess = np.random.default_rng(1).integers(0, 24, made.masks.shape)
    guess[:10] = conditional_probabilities(made, colours).argmax(-1)[:10]
    drawn = np.stack([nearest_colour(recolour(made, k).images, colours) == guess for k in range(300)]).mean((2, 3))
    error = drawn.std(0) / np.sqrt(300) + 1e-9
    assert (np.abs(drawn.mean(0) - expected_accuracy(made, colours, guess)) < 5 * error).all()
    best = expected_accuracy(made, colours, conditional_probabilities(made, colours).argmax(-1))
    assert best.mean() == pytest.approx(bayes_classification(made, colours)[1])


@pytest.mark.parametrize(("num_images", "size"), [(0, 32), (-1, 32), (5, 15)])
def test_impossible_sizes_are_refused(num_images, size):
    """No images, or pictures too small to show a shape, are an error of one line."""
    with pytest.raises(ValueError, match=r"num_images >= 1 and size >= 16") as caught:
        scenes(num_images, size)
    assert "\n" not in str(caught.value)
