"""Larger pictures: any size, tiles, and the overlap from which tiles are the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from convnets import models, theory, tiling, training
from convnets.theory import Enlargement, Window

NETWORKS = {
    "CNN": models.CNN,
    "UNet2018": models.UNet2018,
    "DilatedUNet": models.DilatedUNet,
    "PoolUpsampleNet": models.PoolUpsampleNet,
    "ConvTransposeNet": models.ConvTransposeNet,
    "UNet": models.UNet,
}


def network(name: str, seed: int = 0) -> nn.Module:
    """The network in float64 and eval mode, with statistics in its batch norms as if it had been trained."""
    torch.manual_seed(seed)
    model = NETWORKS[name](num_filters=4, num_colours=5).double()
    model(torch.rand(8, 1, 32, 32, dtype=torch.float64))
    return model.eval()


def pictures(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
@pytest.mark.parametrize("name", NETWORKS)
def test_from_the_needed_overlap_on_tiles_are_the_whole(name):
    """With that overlap, or more, nothing differs; with one step less something does."""
    model, images = network(name), pictures(3, 1, 80, 64)
    whole, needed = model(images), tiling.overlap_needed(network(name))
    for overlap in (needed, needed + 4, 80):
        torch.testing.assert_close(tiling.tiled(model, images, 16, overlap), whole, atol=1e-13, rtol=0)
    assert (tiling.tiled(model, images, 16, needed - 4) - whole).abs().max() > 1e-9


@pytest.mark.parametrize(("name", "middle"), [("CNN", 1), ("PoolUpsampleNet", 0)])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_rows_read_are_those_of_the_formula(name, middle, kernel_size):
    """Layer by layer, as `theory` follows an interval back, the same rows come out."""
    convolution = Window(kernel_size, padding=kernel_size // 2)
    down, up = [convolution, Window(2, stride=2)], [convolution, Enlargement(2)]
    layers = down * 2 + [convolution] * middle + up * 2 + [convolution]
    read = tiling.rows_read(NETWORKS[name](kernel_size, num_filters=2, num_colours=3), size=64)
    for row in range(64):
        first, last = np.clip(theory.receptive_interval(layers, row, row), 0, 63)
        assert read[row].nonzero().flatten().tolist() == list(range(first, last + 1))


@pytest.mark.parametrize("name", ["UNet", "UNet2018", "ConvTransposeNet", "DilatedUNet"])
def test_rows_read_are_those_with_a_derivative(name):
    """With positive weights no paths cancel, and over many pictures autograd finds the same rows."""
    torch.manual_seed(0)
    model = NETWORKS[name](num_filters=3, num_colours=2).eval()
    read = tiling.rows_read(model, size=64)
    for parameter in model.parameters():
        parameter.data.abs_()
    images = torch.rand(300, 1, 64, 8, requires_grad=True)
    for row in (29, 30, 31, 32):
        (gradient,) = torch.autograd.grad(model(images)[:, :, row].sum(), images)
        assert torch.equal((gradient != 0).flatten(2).any(1).reshape(300, 64, 8).any(2).any(0), read[row])


def test_a_shift_is_measured_in_deviations():
    """On the pictures that set the statistics there is none; means moved by hand are off by that many deviations."""
    model, images = network("CNN"), pictures(4, 1, 32, 32)
    training.renew_statistics(model, images, precision=torch.float32)
    model.double().eval()
    shifts = tiling.batch_norm_shift(model, images)
    assert list(shifts) == ["downconv1.2", "downconv2.2", "rfconv.1", "upconv1.2", "upconv2.2"]
    assert max(shifts.values()) < 0.02  # deeper, what is remembered has the unbiased variances
    norm = model.downconv1[2]
    norm.running_mean -= 3 * (norm.running_var + norm.eps).sqrt()
    assert tiling.batch_norm_shift(model, images)["downconv1.2"] == pytest.approx(3, rel=1e-3)


@torch.inference_mode()
def test_any_size_is_mirrored_and_cropped():
    """Multiples of 4 stay as they are; of others, the outputs are those of the image continued by its mirror image."""
    model = network("UNet")
    images = pictures(2, 1, 37, 42)
    mirrored = torch.from_numpy(np.pad(images.numpy(), ((0, 0), (0, 0), (0, 3), (0, 2)), mode="reflect"))
    torch.testing.assert_close(tiling.on_any_size(model, images), model(mirrored)[..., :37, :42], atol=0, rtol=0)
    assert torch.equal(tiling.on_any_size(model, mirrored), model(mirrored))


def test_what_does_not_fit_is_said_plainly():
    """Sizes off the grid, pictures too small, and a probe too short for the field."""
    model = network("CNN")
    with pytest.raises(ValueError, match="width is 30: give a multiple of 4"):
        tiling.tiled(model, pictures(1, 1, 32, 30), 16, 4)
    with pytest.raises(ValueError, match="tile is 0"):
        tiling.tiled(model, pictures(1, 1, 32, 32), 0, 4)
    with pytest.raises(ValueError, match="overlap is 6"):
        tiling.tiled(model, pictures(1, 1, 32, 32), 16, 6)
    with pytest.raises(ValueError, match="images are 3x9"):
        tiling.on_any_size(model, pictures(1, 1, 3, 9))
    with pytest.raises(ValueError, match="give a larger size"):
        tiling.overlap_needed(model, size=16)
