"""Super-resolution without a network: the degradation, interpolation, projection and the best linear upscaler."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from convnets import super_resolution as sr
from convnets.colour import to_pixels
from convnets.models import UNet2018
from convnets.scenes import scenes

GENERATOR = torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return to_pixels(scenes(200, seed=3).images).double()


def test_degrade_averages_blocks_and_process_repeats_them():
    """Each 4x4 block of the input becomes its own mean, which fills the block."""
    picture = np.random.default_rng(0).random((2, 3, 32, 32))
    means = picture.reshape(2, 3, 8, 4, 8, 4).mean((3, 5))
    small = sr.degrade(torch.from_numpy(picture))
    np.testing.assert_allclose(small, means, atol=1e-15)
    np.testing.assert_allclose(sr.process(torch.from_numpy(picture)), means.repeat(4, 2).repeat(4, 3), atol=1e-15)


def test_sizes_and_methods_that_do_not_exist_are_named():
    """A picture of another size, an unknown method and an even window get a line that says what to do."""
    with pytest.raises(ValueError, match="30x32: crop them to multiples of 4"):
        sr.degrade(torch.zeros(1, 3, 30, 32))
    with pytest.raises(ValueError, match="'lanczos': choose one of nearest, bilinear"):
        sr.enlarge(torch.zeros(1, 3, 8, 8), "lanczos")
    with pytest.raises(ValueError, match="window is 4: give an odd one"):
        sr.fit_linear_upscaler(torch.zeros(1, 3, 8, 8), 4)


@pytest.mark.parametrize(
    ("method", "filter_of_pillow"),
    [("nearest", Image.Resampling.NEAREST), ("bilinear", Image.Resampling.BILINEAR),
     ("bicubic_antialias", Image.Resampling.BICUBIC)],
)  # fmt: skip
def test_enlarging_is_what_pillow_does(method, filter_of_pillow):
    """Pillow, which takes the cubic with a = -1/2, gives the same, away from the border as well as at it."""
    small = np.random.default_rng(1).random((8, 8), np.float32)
    wanted = Image.fromarray(small).resize((32, 32), filter_of_pillow)
    enlarged = sr.enlarge(torch.from_numpy(small)[None, None], method)[0, 0]
    np.testing.assert_allclose(enlarged, np.asarray(wanted), atol=1e-6)


def test_bicubic_is_the_cubic_of_keys_with_three_quarters():
    """A row of an impulse, enlarged, is the kernel with a = -3/4, written down from Keys's formula."""
    a = -0.75
    impulse = torch.zeros(1, 1, 1, 9, dtype=torch.float64)
    impulse[..., 4] = 1
    distance = np.abs((np.arange(36) + 0.5) / 4 - 4.5)
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * distance**3 - 5 * a * distance**2 + 8 * a * distance - 4 * a
    wanted = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
    np.testing.assert_allclose(sr.enlarge(impulse, "bicubic")[0, 0, 0], wanted, atol=1e-12)


def test_a_consistent_picture_shrinks_to_its_input_and_errs_less():
    """The projection degrades to the small picture, and the error falls by exactly what it moved (Pythagoras)."""
    truth = torch.rand(100, 3, 16, 16, generator=GENERATOR, dtype=torch.float64)
    guess = torch.rand(100, 3, 16, 16, generator=GENERATOR, dtype=torch.float64)
    small = sr.degrade(truth)
    mended = sr.consistent(guess, small)
    torch.testing.assert_close(sr.degrade(mended), small)
    squares = [(x - y).square().sum((1, 2, 3)) for x, y in ((guess, truth), (mended, truth), (guess, mended))]
    torch.testing.assert_close(squares[0], squares[1] + squares[2])


@pytest.mark.parametrize("window", [1, 3, 5])
def test_the_linear_upscaler_has_no_gradient_left(pixels, window):
    """Autograd finds the squared error on the training pictures flat in all weights and biases."""
    fitted = sr.fit_linear_upscaler(pixels, window)
    weight, bias = fitted.weight.clone().requires_grad_(), fitted.bias.clone().requires_grad_()
    error = F.mse_loss(sr.LinearUpscaler(weight, bias)(sr.degrade(pixels)), pixels)
    for gradient in torch.autograd.grad(error, (weight, bias)):
        assert gradient.abs().max() < 1e-11


def test_a_ridge_pulls_the_weights_as_its_formula_says(pixels):
    """With a ridge the gradient of error + ridge |W|^2 is zero, and the weights are smaller."""
    fitted, free = sr.fit_linear_upscaler(pixels, 3, ridge=5.0), sr.fit_linear_upscaler(pixels, 3)
    weight, bias = fitted.weight.clone().requires_grad_(), fitted.bias.clone().requires_grad_()
    error = (sr.LinearUpscaler(weight, bias)(sr.degrade(pixels)) - pixels).square().sum()
    loss = error + 5 * (weight.square().sum() + bias.square().sum())
    for gradient in torch.autograd.grad(loss, (weight, bias)):
        assert gradient.abs().max() < 1e-8
    assert fitted.weight.square().sum() < free.weight.square().sum()


def test_no_interpolation_beats_it_on_its_own_pictures(pixels):
    """With 5x5 small pixels all interpolations are linear upscalers too, so the best one errs less on training data."""
    small = sr.degrade(pixels)
    errors = [F.mse_loss(sr.enlarge(small, method), pixels) for method in ("nearest", "bilinear", "bicubic")]
    best = sr.fit_linear_upscaler(pixels, 5)
    assert F.mse_loss(best(small), pixels) < min(errors)
    assert best.receptive_field == 20


def test_it_finds_a_linear_upscaler_that_made_the_pictures():
    """Where every block is a linear function of its window, fitting gives that function back."""
    weight = torch.randn(48, 3, 3, 3, generator=GENERATOR, dtype=torch.float64)
    bias = torch.randn(48, generator=GENERATOR, dtype=torch.float64)
    # make the blocks' means what the middle of the window says, so that degrading gives the small picture back
    weight = weight - weight.reshape(3, 16, -1).mean(1, keepdim=True).repeat(1, 16, 1).reshape(48, 3, 3, 3)
    weight[:, :, 1, 1] += torch.eye(3, dtype=torch.float64).repeat_interleave(16, 0)
    bias = bias - bias.reshape(3, 16).mean(1, keepdim=True).repeat(1, 16).flatten()
    made = sr.LinearUpscaler(weight, bias)
    pictures = made(torch.rand(40, 3, 8, 8, generator=GENERATOR, dtype=torch.float64))
    found = sr.fit_linear_upscaler(pictures, 3)
    torch.testing.assert_close(found.weight, weight, atol=1e-8, rtol=0)
    torch.testing.assert_close(found.bias, bias, atol=1e-8, rtol=0)


def test_too_few_pictures_are_refused_without_a_ridge():
    """One flat picture determines no window; a ridge does."""
    flat = torch.full((1, 3, 16, 16), 0.5)
    with pytest.raises(ValueError, match="give a ridge above 0"):
        sr.fit_linear_upscaler(flat, 3)
    torch.testing.assert_close(sr.fit_linear_upscaler(flat, 3, ridge=1e-9)(sr.degrade(flat)), flat, atol=1e-4, rtol=0)


@pytest.mark.parametrize("build", [sr.SubPixelNet, partial(UNet2018, num_in_channels=3, num_colours=3)])
def test_an_upscaler_shrinks_to_its_input_whatever_its_weights(pixels, build):
    """With random weights, in training mode, pooling the output gives the small picture back."""
    torch.manual_seed(0)
    model = sr.ResidualUpscaler(build)
    inputs = sr.process(pixels[:8].float())
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    outputs = model(inputs)
    torch.testing.assert_close(sr.degrade(outputs), sr.degrade(inputs), atol=1e-4, rtol=0)
    assert (outputs - inputs).abs().max() > 0.1


def test_a_sub_pixel_net_starts_at_what_it_corrects_and_reads_small_pixels(pixels):
    """New, it adds nothing; later a change of one small pixel reaches as far as its convolutions go, and no further."""
    small = sr.degrade(pixels[:2].float())
    model = sr.ResidualUpscaler(partial(sr.SubPixelNet, 4, 1)).eval()
    inputs = sr.enlarge(small)
    torch.testing.assert_close(model(inputs), sr.consistent(sr.enlarge(small, "bicubic"), small))
    torch.nn.init.normal_(model.network.last.weight)
    changed = small.clone()
    changed[:, :, 0, 0] += 1
    moved = (model.network(sr.enlarge(changed)) != model.network(inputs)).any(0).any(0)
    rows = moved.any(1).nonzero().flatten()
    assert rows.tolist() == list(range(20))  # four 3x3 convolutions: four small pixels beyond the first


def test_augmented_pictures_are_the_old_ones_moved_and_their_inputs_fit(pixels):
    """Each is one of 32 movings of its original, several are used, and inputs are what `process` makes of it."""
    generator = torch.Generator().manual_seed(0)
    targets = pixels[:6]
    padded = np.pad(targets.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    offsets, mirrored = set(), set()
    for _ in range(40):
        inputs, pictures = sr.shift_and_flip(sr.process(targets), targets, generator)
        assert torch.equal(inputs, sr.process(pictures))
        for picture, original in zip(pictures.numpy(), padded, strict=True):
            found = [
                (down, right, flip)
                for down in range(4)
                for right in range(4)
                for flip in (1, -1)
                if np.array_equal(picture[:, :, ::flip], original[:, down : down + 32, right : right + 32])
            ]
            assert found
            offsets.add(found[0][:2])
            mirrored.add(found[0][2])
    assert len(offsets) > 12
    assert mirrored == {1, -1}
