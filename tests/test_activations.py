"""What layers compute: hooks against calling the layers, and the measures against independent answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import fft, stats

from convnets import activations, models

NAMES = ["downconv1", "downconv2", "rfconv", "upconv1", "upconv2", "finalconv"]


def pictures(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def test_recorded_outputs_are_those_of_the_layers():
    """Block after block by hand gives the same; no hook stays, and training mode is left as it was."""
    model, images = models.CNN(num_filters=4).train(), pictures(7, 1, 16, 16)
    found = activations.record(model, images, NAMES, batch_size=3)
    assert model.training
    assert list(found) == NAMES
    assert not any(layer._forward_hooks for layer in model.modules())
    model.eval()
    for name in NAMES:
        images = getattr(model, name)(images)
        torch.testing.assert_close(found[name], images)


def test_record_reaches_into_blocks_and_counts_no_other_layer():
    """A ReLU inside a block is a layer like any other, and its output the block's."""
    found = activations.record(models.UNet2018(num_filters=4), pictures(2, 1, 8, 8), ["upconv2.3", "upconv2"])
    assert torch.equal(found["upconv2.3"], found["upconv2"])
    assert found["upconv2"].shape == (2, 24, 8, 8)


def test_a_hook_is_removed_even_after_an_error():
    model = models.CNN(num_filters=4)
    with pytest.raises(RuntimeError):
        activations.record(model, pictures(1, 5, 8, 8), NAMES)
    assert not any(layer._forward_hooks for layer in model.modules())
    with pytest.raises(ValueError, match="CNN has no layer 'conv9': choose from downconv1"):
        activations.record(model, pictures(1, 1, 8, 8), ["conv9"])


def test_sparsity_counts_zeros():
    maps = torch.tensor([[[[0.0, 1], [2, 0]]], [[[0.0, 0], [0, -1]]]])
    assert activations.sparsity(maps).tolist() == [0.5, 0.75]


def test_frequency_is_that_of_a_wave():
    """A cosine of m cycles has m; two waves the mean, weighted by their energies."""
    x = (torch.arange(32) + 0.5) / 32
    waves = {cycles: torch.cos(2 * torch.pi * cycles * x).expand(32, 32) for cycles in (0.5, 3, 8)}
    for cycles, wave in waves.items():
        assert_allclose(activations.frequency((5 + wave)[None, None]), cycles, rtol=1e-5)
        assert_allclose(activations.frequency(wave.T[None, None]), cycles, rtol=1e-5)
    assert_allclose(activations.frequency((waves[3] + 2 * waves[8])[None, None]), (3 + 4 * 8) / 5, rtol=1e-5)
    assert_allclose(activations.frequency(torch.stack([waves[3], waves[8]])[None]), 5.5, rtol=1e-5)  # two channels
    assert activations.frequency(torch.ones(1, 2, 4, 4)).isnan().all()


def test_frequency_is_the_centroid_of_scipys_spectrum():
    maps = pictures(3, 2, 8, 12).double()
    energy = (fft.dctn(maps.numpy(), axes=(2, 3), norm="ortho") ** 2).sum(1)
    energy[:, 0, 0] = 0
    cycles = np.hypot(*np.meshgrid(np.arange(8) / 2, np.arange(12) / 2, indexing="ij"))
    assert_allclose(activations.frequency(maps), (energy * cycles).sum((1, 2)) / energy.sum((1, 2)), rtol=1e-10)


def test_similarity_is_pearsons_correlation():
    """With the picture averaged to the maps' size; NaN for a map that says nothing."""
    maps, images = pictures(2, 3, 4, 4), pictures(2, 1, 16, 16)
    maps[0, 0] = 1
    found = activations.similarity(maps, images)
    assert found[0, 0].isnan()
    small = images.reshape(2, 4, 4, 4, 4).mean((2, 4))
    for n, c in ((0, 1), (0, 2), (1, 0), (1, 1)):
        wanted = abs(stats.pearsonr(maps[n, c].flatten(), small[n].flatten()).statistic)
        assert_allclose(found[n, c], wanted, rtol=1e-4)


def test_readout_finds_what_is_linear_and_nothing_else():
    """All of a linear map of the channels, also where one of them is dead; nothing of noise; half of half."""
    maps = pictures(400, 3, 4, 4).double()
    maps[:, 1] = 0
    signal = torch.einsum("nchw,kc->nkhw", maps, pictures(8, 3).double()) + 1
    signal = torch.nn.functional.pixel_shuffle(signal, 2)
    noise = torch.randn(signal.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert_allclose(activations.readout(maps, signal), 1, atol=1e-9)
    assert_allclose(activations.readout(maps, noise), 0, atol=0.02)
    mixed = activations.readout(maps, signal / signal.std() + noise, groups=4)
    assert mixed.shape == (4,)
    assert_allclose(mixed, 0.5, atol=0.06)


def test_a_grid_has_one_scale_for_each_layer():
    """Each layer's scale reaches from 0, or from minus its largest size, to its largest activation."""
    layers = {"early": np.abs(pictures(16, 8, 8).numpy()), "late": pictures(5, 4, 4).numpy()}
    figure = activations.channel_grid(layers)
    panels = [axes for axes in figure.axes if axes.get_title("left")]
    assert [axes.get_title("left") for axes in panels] == ["early: 16 channels of 8×8", "late: 5 channels of 4×4"]
    for axes, maps in zip(panels, layers.values(), strict=True):
        (image,), most = axes.images, np.abs(maps).max()
        assert image.get_clim() == (0 if maps.min() >= 0 else -most, most)
        shown = image.get_array()
        assert_allclose(np.ma.compressed(np.ma.masked_invalid(shown)).max(), maps.max())
        assert set(np.unique(maps)) == set(np.unique(np.ma.compressed(np.ma.masked_invalid(shown))))
    early = panels[0].images[0].get_array()
    assert_allclose(early[4, 68 + 4], layers["early"][1, 0, 0])  # the second channel stands to the right of the first
    assert_allclose(early[68 + 4, 4], layers["early"][8, 0, 0])  # the ninth below it
