"""Convolution against SciPy's, NumPy's padding and brute force; pixels against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage, signal

from convnets import image_processing as ip

# our border: numpy.pad's mode, scipy.ndimage's, and scipy.signal.convolve2d's where it has one
NAMES = {
    "zero": ("constant", "constant", "fill"),
    "edge": ("edge", "nearest", None),
    "symmetric": ("symmetric", "reflect", "symm"),
    "reflect": ("reflect", "mirror", None),
    "wrap": ("wrap", "wrap", "wrap"),
}
BRIEF_SHARPEN = np.array([[-1, -2, -1], [-2, 16, -2], [-1, -2, -1]]) / 4
BRIEF_EDGE = np.array([[-1, -3, -1], [0, 0, 0], [1, 3, 1]])


@st.composite
def cases(draw, smallest: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """An image, grey or in colours, float or uint8 or bool, and an odd kernel, sometimes of rank one."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.sampled_from([1, 3, 5, 7, 11]))
    shape = draw(st.tuples(*2 * [st.integers(smallest, 24)])) + draw(st.sampled_from([(), (1,), (3,)]))
    image = {
        "float": rng.normal(size=shape),
        "uint8": rng.integers(0, 256, shape).astype(np.uint8),
        "bool": rng.random(shape) < 0.5,
    }[draw(st.sampled_from(["float", "uint8", "bool"]))]
    separable = draw(st.booleans())
    return image, np.outer(*rng.normal(size=(2, size))) if separable else rng.normal(size=(size, size))


def channels(image: np.ndarray) -> list[np.ndarray]:
    return [image] if image.ndim == 2 else [image[..., channel] for channel in range(image.shape[2])]


def brute_force(image: np.ndarray, kernel: np.ndarray, mode: str) -> np.ndarray:
    """The definition, pixel by pixel, on NumPy's padding."""
    margin = len(kernel) // 2
    padded = np.pad(image.astype(float), margin, mode)
    turned = kernel[::-1, ::-1]
    size = len(kernel)
    return np.array(
        [
            [(padded[y : y + size, x : x + size] * turned).sum() for x in range(image.shape[1])]
            for y in range(image.shape[0])
        ]
    )


def methods(kernel: np.ndarray) -> list[str]:
    return [name for name in ip.METHODS if name != "separable" or ip.separate(kernel)]


def assert_equal_to(expected: np.ndarray, found: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


@given(cases(), st.sampled_from(ip.BORDERS))
def test_every_method_is_the_definition(case, border):
    """Also where the kernel is larger than the image, and the border repeats it several times."""
    image, kernel = case
    mode = NAMES[border][0]
    expected = np.stack([brute_force(channel, kernel, mode) for channel in channels(image)], -1)
    for method in methods(kernel):
        found = ip.my_conv2(image, kernel, border, method)
        assert_equal_to(expected.reshape(image.shape), found)


@given(cases(smallest=11), st.sampled_from(ip.BORDERS))
def test_it_equals_scipy_in_every_mode_that_both_have(case, border):
    """`convolve2d` with fill, symm and wrap; `ndimage.convolve` with all five."""
    image, kernel = case
    _, ndimage_mode, boundary = NAMES[border]
    found = ip.my_conv2(image, kernel, border)
    for channel, ours in zip(channels(image), channels(found), strict=True):
        floats = channel.astype(float)
        assert_equal_to(ndimage.convolve(floats, kernel, mode=ndimage_mode), ours)
        if boundary:
            assert_equal_to(signal.convolve2d(floats, kernel, "same", boundary), ours)


@pytest.mark.parametrize("shape", [(300, 200), (3, 40_000), (40_000, 3), (1, 1)])
@pytest.mark.parametrize("border", ip.BORDERS)
@pytest.mark.parametrize("size", [3, 7])
def test_images_of_many_strips_and_of_one_row(shape, border, size):
    """Working in strips leaves no seam, and neither a very wide nor a very high image is special."""
    rng = np.random.default_rng(0)
    image, kernel = rng.random(shape), np.outer(*rng.normal(size=(2, size)))
    expected = ndimage.convolve(image, kernel, mode=NAMES[border][1])
    for method in methods(kernel):
        assert_equal_to(expected, ip.my_conv2(image, kernel, border, method))


def test_a_single_bright_pixel_shows_the_kernel_as_it_stands():
    """Convolution, not cross-correlation: the kernel is turned once by the definition, and once by the pixel."""
    image = np.zeros((5, 5))
    image[2, 2] = 1
    for method in methods(BRIEF_EDGE):
        np.testing.assert_allclose(ip.my_conv2(image, BRIEF_EDGE, method=method)[1:4, 1:4], BRIEF_EDGE, atol=1e-13)


def test_the_input_is_left_alone():
    """Neither the image nor the kernel is written to, so both may be read-only."""
    image, kernel = np.random.default_rng(0).random((2, 9, 9))
    before = image.copy(), kernel.copy()
    image.flags.writeable = kernel.flags.writeable = False
    for method in methods(kernel):
        ip.my_conv2(image, kernel, "reflect", method)
    assert np.array_equal(image, before[0])
    assert np.array_equal(kernel, before[1])


GOOD = np.ones((4, 4)), np.ones((3, 3))


@pytest.mark.parametrize(
    ("image", "kernel", "words", "says"),
    [
        (GOOD[0], np.ones((2, 2)), {}, r"kernel has shape \(2, 2\): give a square of odd size"),
        (GOOD[0], np.ones((3, 5)), {}, r"kernel has shape \(3, 5\): give a square"),
        (GOOD[0], np.ones(3), {}, r"kernel has shape \(3,\): give a square"),
        (GOOD[0], np.ones((0, 0)), {}, r"kernel has shape \(0, 0\): give a square"),
        (GOOD[0], np.full((3, 3), np.nan), {}, "kernel holds NaN or infinity"),
        (np.ones(4), GOOD[1], {}, r"image has shape \(4,\): give \[height, width\]"),
        (np.ones((1, 4, 4, 3)), GOOD[1], {}, r"image has shape \(1, 4, 4, 3\): give"),
        (np.ones((0, 4)), GOOD[1], {}, r"image is empty \(shape \(0, 4\)\)"),
        (np.ones((4, 4, 0)), GOOD[1], {}, "image is empty"),
        (np.array([[1.0, np.inf]]), GOOD[1], {}, "image holds NaN or infinity"),
        (GOOD[0] * 1j, GOOD[1], {}, "image holds complex128: give real numbers"),
        (np.array([["a"]]), GOOD[1], {}, "image holds <U1: give real numbers"),
        (*GOOD, {"border": "mirror"}, "border is 'mirror': choose one of zero, edge"),
        (*GOOD, {"method": "FFT"}, "method is 'FFT': choose one of auto, shifts"),
        (GOOD[0], ip.LAPLACIAN, {"method": "separable"}, "kernel has a rank above one"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(image, kernel, words, says):
    """The line names the argument, what it is, and what to give instead."""
    with pytest.raises(ValueError, match=says) as caught:
        ip.my_conv2(image, kernel, **words)
    assert "\n" not in str(caught.value)


@given(st.sampled_from([1, 3, 5, 9]), st.integers(0, 2**32), st.floats(1e-6, 1e6))
def test_a_product_of_two_vectors_is_taken_apart(size, seed, scale):
    """The parts multiply to the kernel again; one entry changed, and there are none."""
    kernel = scale * np.outer(*np.random.default_rng(seed).normal(size=(2, size)))
    column, row = ip.separate(kernel)
    np.testing.assert_allclose(np.outer(column, row), kernel, rtol=0, atol=1e-13 * np.abs(kernel).max())
    if size > 1:
        kernel[0, 0] += 1e-6 * np.abs(kernel).max()
        assert ip.separate(kernel) is None


def test_the_kernels_of_the_brief():
    """The first has rank two; the second is (-1, 0, 1) downwards times (1, 3, 1) across, in whole numbers."""
    assert ip.separate(BRIEF_SHARPEN) is None
    column, row = ip.separate(BRIEF_EDGE)
    assert column.tolist() == [-1, 0, 1]
    assert row.tolist() == [1, 3, 1]
    column, row = ip.separate(np.zeros((3, 3)))
    assert not np.outer(column, row).any()


def test_the_method_follows_the_kernel():
    """Few weights by shifts, rank one in two passes, large kernels through the FFT; zeros cost nothing."""
    rng = np.random.default_rng(0)
    assert ip.choose_method([[2.0]]) == "shifts"
    assert ip.choose_method(ip.SOBEL_X) == "shifts"
    assert ip.choose_method(np.ones((5, 5))) == "separable"
    assert ip.choose_method(rng.normal(size=(9, 9))) == "shifts"
    assert ip.choose_method(rng.normal(size=(15, 15))) == "fft"
    assert ip.choose_method(np.ones((101, 101))) == "fft"
    assert ip.choose_method(np.eye(15)) == "shifts"


@given(cases())
def test_the_frequency_response_multiplies_the_spectrum(case):
    """The convolution theorem: with a border that wraps, the FFT of the result is response times FFT of the image."""
    image, kernel = case
    image = channels(image)[0].astype(float)
    vertical, horizontal = (2 * np.pi * np.fft.fftfreq(size) for size in image.shape)
    expected = np.fft.fft2(image) * ip.frequency_response(kernel, vertical, horizontal)
    found = np.fft.fft2(ip.my_conv2(image, kernel, "wrap", "shifts"))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * (1 + np.abs(expected).max()))


@given(st.integers(0, 2**32))
def test_operations_on_single_pixels(seed):
    """Negative and mirror undo themselves, red and green change places, and no pixel leaves 0 … 255."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    grey = image[..., 0]
    assert ip.negative(grey).dtype == np.uint8
    assert (ip.negative(grey).astype(int) + grey == 255).all()
    assert np.array_equal(ip.mirror(image)[:, 0], image[:, -1])
    assert np.array_equal(ip.mirror(ip.mirror(image)), image)
    assert np.array_equal(ip.swap_red_green(image), np.stack([image[..., 1], image[..., 0], image[..., 2]], -1))
    noisy = ip.add_noise(grey, rng)
    assert noisy.dtype == np.uint8
    assert noisy.shape == grey.shape


def test_noise_has_the_stated_distribution():
    """On a grey of 100: up or down equally often, evenly by 0 to 255, what leaves the range at its ends."""
    noisy = ip.add_noise(np.full((500, 500), 100, np.uint8), np.random.default_rng(0)).ravel()
    found = np.bincount(noisy, minlength=256) / noisy.size
    expected = np.full(256, 1 / 512)
    expected[100] = 2 / 512
    expected[0] = 156 / 512  # 100 or more taken away
    expected[255] = 101 / 512  # 155 or more added
    error = np.sqrt(expected * (1 - expected) / noisy.size)
    assert (np.abs(found - expected) < 5 * error).all()


def test_pixels_that_are_no_bytes_are_refused():
    """Operations that lean on 0 … 255 say so."""
    for operation in (ip.negative, lambda image: ip.add_noise(image, np.random.default_rng(0))):
        with pytest.raises(ValueError, match="image holds float64: give uint8"):
            operation(np.ones((2, 2)))


def test_a_picture_is_read_where_it_is(tmp_path):
    """A file as grey bytes, scikit-image's cameraman where there is none, and one line for a damaged file."""
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    image, name = ip.read_picture(tmp_path / "a.tif")
    assert np.array_equal(image, pixels)
    assert name == "a.tif"
    image, name = ip.read_picture(tmp_path / "absent.tif")
    assert image.shape == (512, 512)
    assert "cameraman" in name
    (tmp_path / "b.tif").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"b\.tif is no picture that can be read"):
        ip.read_picture(tmp_path / "b.tif")
