"""What channels respond to, held against loops, gradients and analysis of variance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from convnets import classifiers, colour, preferences

IMAGES = torch.randint(256, (7, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def network() -> classifiers.TwoBlockCNN:
    torch.manual_seed(0)
    return classifiers.TwoBlockCNN(4)


def test_responses_are_those_of_the_layers_themselves():
    """Peaks, their places, means and active shares of a layer's maps, whatever the batches."""
    model = network().eval()
    with torch.inference_mode():
        maps = model.block1(colour.to_pixels(IMAGES))
    found = preferences.responses(model, IMAGES, ["block1", "block2.relu1"], batch_size=3)
    assert list(found) == ["block1", "block2.relu1"]
    for n, c in np.ndindex(7, 4):
        row, column = found["block1"].places[n, c]
        assert found["block1"].peaks[n, c] == pytest.approx(maps[n, c].max().item(), rel=1e-4)
        assert maps[n, c, row, column].item() == pytest.approx(maps[n, c].max().item(), rel=1e-4)
        assert found["block1"].means[n, c] == pytest.approx(maps[n, c].mean().item(), rel=1e-4, abs=1e-6)
        assert found["block1"].active[n, c] == pytest.approx((maps[n, c] > 0).double().mean().item())


def test_the_share_explained_by_class_is_that_of_the_analysis_of_variance():
    """From scipy's F statistic: share = F (K-1) / (F (K-1) + N - K), for 100 random channels."""
    rng = np.random.default_rng(0)
    labels = torch.arange(60) % 4
    values = torch.from_numpy(rng.normal(size=(60, 100)) + rng.normal(size=(4, 100))[labels])
    share = preferences.explained_by_class(values, labels)
    for channel, given in zip(values.T, share, strict=True):
        f = stats.f_oneway(*(channel[labels == k] for k in range(4))).statistic
        assert given == pytest.approx(f * 3 / (f * 3 + 56))


def test_a_class_that_says_all_or_nothing():
    """1, 0, and 0 for a channel that never changes."""
    labels = torch.tensor([0, 0, 1, 1])
    values = torch.tensor([[1.0, 1, 0], [1, 2, 0], [5, 1, 0], [5, 2, 0]])
    assert preferences.explained_by_class(values, labels).tolist() == pytest.approx([1, 0, 0])


@pytest.mark.parametrize(("layer", "size", "stride"), [("relu1", 3, 1), ("relu2", 5, 1)])
def test_a_patch_is_what_a_unit_sees_in_the_first_block(layer, size, stride):
    check_patch(f"block1.{layer}", size, stride)


@pytest.mark.parametrize(("layer", "size", "stride"), [("relu1", 10, 2), ("relu2", 14, 2)])
def test_a_patch_is_what_a_unit_sees_in_the_second_block(layer, size, stride):
    check_patch(f"block2.{layer}", size, stride)


def check_patch(name: str, size: int, stride: int) -> None:
    """Everything outside the patch can change without the unit's response changing."""
    model = network().eval()
    found = preferences.responses(model, IMAGES, [name])[name]
    channel = 0
    place = found.places[:, channel]
    patch = preferences.patches(IMAGES, place, size, stride)
    assert patch.shape == (7, size, size, 3)
    elsewhere = torch.randint(256, IMAGES.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    for n, (row, column) in enumerate((place * stride).tolist()):
        elsewhere[n, row : row + size, column : column + size] = patch[n]
    block, _, layer = name.partition(".")
    with torch.inference_mode():
        x = colour.to_pixels(elsewhere)
        for part, module in model.named_children():
            if part == block:
                for step, inner in module.named_children():
                    x = inner(x)
                    if step == layer:
                        break
                break
            x = module(x)
    now = x[torch.arange(7), channel, place[:, 0], place[:, 1]]
    assert torch.allclose(now, found.peaks[:, channel], atol=1e-5)
