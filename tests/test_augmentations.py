"""Augmentation picture by picture and on whole batches: the same versions, equally often."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from convnets import augmentations

SIZE, PADDING, DRAWS = 6, 1, 3000
PICTURE = torch.arange(3 * SIZE * SIZE).view(3, SIZE, SIZE) / 256


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
