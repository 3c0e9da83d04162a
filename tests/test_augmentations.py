"""Augmentations change pictures as they say and as often, one by one and in batches, and labels with them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from convnets import augmentations, colour
from convnets.augmentations import Variations, mirror, shift

AXES = (-1, -2)
SIZE, PADDING, DRAWS = 6, 1, 3000
PICTURE = torch.arange(3 * SIZE * SIZE).view(3, SIZE, SIZE) / 256
COLOURS = np.array([[0.1, 0.1, 0.1], [0.8, 0.2, 0.1], [0.3, 0.7, 0.4], [0.9, 0.9, 0.9]], np.float32)


def batch(number: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs in which every number occurs once, and targets that are their first channel: [N, 2, 4, 5], [N, 4, 5]."""
    inputs = torch.arange(number * 40.0).view(number, 2, 4, 5)
    return inputs, inputs[:, 0].long()


def expected(image: np.ndarray, axis: int, step: int) -> np.ndarray:
    """An image moved by slicing: `step` places along the axis, the edge repeated."""
    padded = np.pad(image, [(1, 1) if i == image.ndim + axis else (0, 0) for i in range(image.ndim)], "edge")
    return np.take(padded, range(1 - step, 1 - step + image.shape[axis]), axis)


@pytest.mark.parametrize("axis", AXES)
def test_mirror_turns_half_of_the_samples_round(axis):
    """A sample is itself or its NumPy flip, about half of them each; targets go with their inputs."""
    inputs, targets = batch()
    changed, labels = mirror(inputs, targets, torch.Generator().manual_seed(0), axis)
    turned = [not torch.equal(a, b) for a, b in zip(changed, inputs, strict=True)]
    assert 0.4 < np.mean(turned) < 0.6
    for after, before, flipped in zip(changed, inputs, turned, strict=True):
        assert np.array_equal(after, np.flip(before.numpy(), axis) if flipped else before.numpy())
    assert torch.equal(labels, changed[:, 0].long())


@pytest.mark.parametrize("axis", AXES)
def test_shift_moves_by_one_place_or_not_at_all(axis):
    """A third each to either side and not at all; the edge is repeated; targets go with their inputs."""
    inputs, targets = batch()
    changed, labels = shift(inputs, targets, torch.Generator().manual_seed(0), axis)
    moved = {-1: 0, 0: 0, 1: 0}
    for after, before in zip(changed.numpy(), inputs.numpy(), strict=True):
        steps = [step for step in moved if np.array_equal(after, expected(before, axis, step))]
        assert len(steps) == 1
        moved[steps[0]] += 1
    assert all(70 < count < 130 for count in moved.values())
    assert torch.equal(labels, changed[:, 0].long())


@pytest.mark.parametrize("change", [mirror, shift])
def test_the_generator_decides(change):
    """The same seed gives the same batch, another seed another; neither dtype nor layout changes."""
    inputs, targets = batch()
    inputs = inputs.to(memory_format=torch.channels_last)
    one, again, other = (change(inputs, targets, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one[0], again[0])
    assert not torch.equal(one[0], other[0])
    assert (one[0].dtype, one[1].dtype) == (torch.float32, torch.int64)


def versions() -> dict[bytes, int]:
    """Every shifted and mirrored version of the picture, by brute force."""
    padded = F.pad(PICTURE[None], (PADDING,) * 4, "reflect")[0]
    found = {}
    for top in range(2 * PADDING + 1):
        for left in range(2 * PADDING + 1):
            window = padded[:, top : top + SIZE, left : left + SIZE]
            for version in (window, window.flip(-1)):
                found[version.contiguous().numpy().tobytes()] = len(found)
    return found


def picture_by_picture(count: int, **settings) -> torch.Tensor:
    torch.manual_seed(0)
    transform = augmentations.per_picture(SIZE, **settings)
    return torch.stack([transform(PICTURE) for _ in range(count)])


def on_a_batch(count: int, **settings) -> torch.Tensor:
    batch = PICTURE.expand(count, -1, -1, -1).contiguous(memory_format=torch.channels_last)
    changed, _ = augmentations.per_batch(
        batch, torch.zeros(count), generator=torch.Generator().manual_seed(0), **settings
    )
    return changed


@pytest.mark.parametrize("draw", [picture_by_picture, on_a_batch])
def test_all_shifts_and_mirror_images_are_equally_likely(draw):
    """Each of the 18 versions, and no other, and by a chi-square test each as often as the others."""
    known = versions()
    assert len(known) == 2 * (2 * PADDING + 1) ** 2
    drawn = draw(DRAWS, padding=PADDING, brightness=0.0)
    counts = Counter(known[picture.contiguous().numpy().tobytes()] for picture in drawn)
    assert stats.chisquare([counts[number] for number in range(len(known))]).pvalue > 1e-4


def test_brightness_has_the_same_distribution_both_ways():
    """The factors, read off a pixel that nothing clips, are uniform from 1 - b to 1 + b in both."""
    for draw in (picture_by_picture, on_a_batch):
        drawn = draw(DRAWS, padding=0, brightness=0.3)
        factors = drawn[:, 1, 2].sum(-1) / PICTURE[1, 2].sum()  # a row's sum: mirroring does not change it
        assert stats.kstest(factors.numpy(), stats.uniform(0.7, 0.6).cdf).pvalue > 1e-4


def test_changes_are_independent_of_one_another():
    """Left shifts come with mirroring as often as without, and bright pictures with either."""
    drawn = on_a_batch(DRAWS, padding=0, brightness=0.2)
    bright = drawn[:, 0, 1].sum(-1) > PICTURE[0, 1].sum()
    mirrored = drawn[:, 0, 3, 0] > drawn[:, 0, 3, -1]
    table = [[int((bright == b).logical_and(mirrored == m).sum()) for b in (False, True)] for m in (False, True)]
    assert stats.chi2_contingency(table).pvalue > 1e-4


@pytest.mark.parametrize("draw", [picture_by_picture, on_a_batch])
def test_pixels_stay_in_range(draw):
    """Brightening clips at 1, which is white, both ways."""
    drawn = draw(200, padding=PADDING, brightness=0.9)
    assert drawn.min() >= 0
    assert 0.5 < drawn.max() <= 1


def test_a_batch_keeps_its_labels_and_draws_for_each_picture():
    """Labels pass; the same generator gives the same batch; two pictures of it differ."""
    labels = torch.arange(40)
    batch = PICTURE.expand(40, -1, -1, -1)
    first, again = (
        augmentations.per_batch(batch, labels, torch.Generator().manual_seed(3), padding=PADDING) for _ in range(2)
    )
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], labels)
    assert not torch.equal(first[0][0], first[0][1])


def test_a_padding_that_cannot_be_mirrored_is_refused():
    """As many pixels as the picture has, or fewer than none."""
    for padding in (SIZE, -1):
        with pytest.raises(ValueError, match=f"padding is {padding} on pictures"):
            augmentations.per_batch(PICTURE[None], torch.zeros(1), torch.Generator(), padding=padding)


def test_asking_twice_gives_two_versions_and_without_a_transform_the_picture():
    """`__getitem__` transforms; the label is a plain int; the length is that of the images."""
    images = torch.randint(256, (5, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(5, dtype=torch.uint8)
    torch.manual_seed(0)
    data = augmentations.Pictures(images, labels, augmentations.per_picture())
    assert len(data) == 5
    assert data[3][1] == 3
    assert not torch.equal(data[3][0], data[3][0])
    plain = augmentations.Pictures(images, labels)
    assert torch.equal(plain[2][0], images[2].permute(2, 0, 1) / 256)
    assert torch.equal(next(iter(torch.utils.data.DataLoader(plain, 5)))[1], labels.long())


def vary(images: torch.Tensor, **settings) -> tuple[torch.Tensor, torch.Tensor]:
    nothing = torch.zeros(len(images))
    return Variations(COLOURS, **settings)(colour.to_pixels(images), nothing, torch.Generator().manual_seed(0))


def test_every_version_is_a_mirrored_crop_and_all_of_them_occur():
    """Without brightness a result is what NumPy cuts out of the picture or its mirror image, padded by reflection."""
    image = torch.arange(54, dtype=torch.uint8).reshape(6, 9)
    grey, _ = vary(image.expand(3, 400, 6, 9).permute(1, 2, 3, 0).contiguous(), padding=2, brightness=0.0)
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
    grey, labels = vary(plain.expand(300, 4, 4, 3).contiguous(), padding=0, brightness=0.9)
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
    grey, labels = vary(images, padding=0, brightness=0.0)
    own, known = colour.grey(colour.to_pixels(images)), colour.nearest_colour(images, COLOURS).long()
    for one, label, same, truth in zip(grey, labels, own, known, strict=True):
        assert (torch.equal(one, same) and torch.equal(label, truth)) or (
            torch.equal(one, same.flip(-1)) and torch.equal(label, truth.flip(-1))
        )


def test_a_padding_that_leaves_nothing_to_mirror_is_refused():
    """A picture of six rows can be shifted by five at most."""
    with pytest.raises(ValueError, match="padding is 6"):
        vary(torch.zeros(1, 6, 9, 3, dtype=torch.uint8), padding=6)
