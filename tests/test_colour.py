"""Colour against brute force, against published values, and against the numbers known for the CIFAR-10 horses."""

from __future__ import annotations

import io
import os
import pickle
import struct

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.color import lab2rgb

from convnets import colour


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Two test processes with two threads each would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def images():
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, (7, 9, 8, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def colours():
    return np.random.default_rng(2).random((24, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def horses(data_root):
    with np.load(data_root / "cifar10.npz") as file:
        parts = [file[f"{part}_images"][file[f"{part}_labels"] == 7] for part in ("train", "test")]
    return [torch.from_numpy(part) for part in parts]


@pytest.fixture(scope="session")
def assignment_colours(data_root):
    path = data_root / "assignment" / "colours24.npy"
    if not path.exists():
        pytest.skip(f"no assignment colours in {path.parent}")
    return colour.load_colours(path)


def test_pixels_are_divided_by_256_and_back(images):
    """To the network's layout and back changes nothing; 255 becomes 255/256."""
    pixels = colour.to_pixels(images)
    assert pixels.shape == (7, 3, 9, 8)
    assert pixels[2, 1, 3, 4] == images[2, 3, 4, 1] / 256
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(colour.to_images(pixels), images)
    assert colour.to_images(torch.full((1, 3, 1, 1), 1.5)).flatten().tolist() == [255] * 3


def test_grey_is_the_unweighted_mean(images):
    """Grey weighs the channels equally; levels are rounded down."""
    assert torch.allclose(colour.grey(colour.to_pixels(images))[:, 0], images.double().mean(-1).float() / 256)
    expected = np.floor(images.numpy().astype(float).sum(-1) / 3)
    assert (colour.grey_levels(images).numpy() == expected).all()


@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_nearest_colour_agrees_with_brute_force(images, colours, kind):
    """Every pixel gets the colour with the least squared distance, from a tensor or an array."""
    distances = ((images.numpy()[..., None, :] / 256 - colours.astype(float)) ** 2).sum(-1)
    labels = colour.nearest_colour(images if kind == "torch" else images.numpy(), colours)
    assert labels.dtype == torch.uint8
    assert (labels.numpy() == distances.argmin(-1)).all()


def test_a_tie_goes_to_the_lowest_index():
    """Equal colours and equal distances are decided for the first."""
    pixel = np.full((1, 1, 1, 3), 128, np.uint8)
    assert colour.nearest_colour(pixel, [[0.75] * 3, [0.25] * 3, [0.25] * 3]).item() == 0
    assert colour.nearest_colour(pixel, [[0.0] * 3, [0.5] * 3, [0.5] * 3]).item() == 1


def test_labels_stand_for_colours(images, colours):
    """A picture painted with the palette finds its own labels again."""
    palette = np.round(colours * 256).clip(0, 255) / 256
    labels = colour.nearest_colour(images, palette)
    painted = colour.colour_images(labels, palette)
    assert painted.shape == images.shape
    assert torch.equal(colour.nearest_colour(painted, palette), labels)


def test_k_means_finds_separate_clusters():
    """Pixels around known colours give those colours, from dark to light, and the same for the same seed."""
    rng = np.random.default_rng(3)
    truth = np.array([[20, 30, 25], [200, 40, 60], [60, 200, 90], [230, 220, 240]])
    images = (truth[rng.integers(0, 4, (50, 10, 10))] + rng.integers(-4, 5, (50, 10, 10, 3))).astype(np.uint8)
    fitted = colour.fit_colours(images, 4, seed=1)
    assert fitted.dtype == np.float32
    assert np.abs(fitted * 256 - truth).max() < 1
    assert fitted.tobytes() == colour.fit_colours(images, 4, seed=1).tobytes()


def test_k_means_needs_enough_colours():
    """A picture with fewer colours than asked for is an error that says so."""
    with pytest.raises(ValueError, match="num_colours = 3"):
        colour.fit_colours(np.array([[[[0, 0, 0], [9, 9, 9]]]], np.uint8), 3)


def test_colours_are_found_where_the_pictures_are():
    """On whatever device: what is taken there stays there, and nothing on the processor is mixed with it."""
    images = torch.zeros(2, 4, 4, 3, dtype=torch.uint8, device="meta")
    labels = colour.nearest_colour(images, np.eye(3))
    assert (labels.device, labels.shape) == (images.device, (2, 4, 4))
    painted = colour.colour_images(labels, np.eye(3))
    assert (painted.device, painted.shape) == (images.device, images.shape)


def test_as_many_colours_as_asked_for_are_found():
    """With exactly as many colours as centres, each centre is one of them."""
    images = np.random.default_rng(4).permutation(np.repeat(np.arange(5, dtype=np.uint8), 3))[None, :, None]
    fitted = colour.fit_colours(np.repeat(images, 3, -1).reshape(1, 5, 3, 3) * 40, 5)
    assert np.allclose(fitted[:, 0] * 256, np.arange(5) * 40)


def test_lab_and_delta_e_have_their_published_values():
    """White, red and grey in CIE Lab; a Sharma, Wu and Dalal (2005) pair by way of RGB."""
    lab = colour.rgb_to_lab(np.array([[255, 255, 255], [255, 0, 0], [119, 119, 119]], np.uint8))
    assert np.allclose(lab, [[100, 0, 0], [53.24, 80.09, 67.20], [50.03, 0, 0]], atol=0.05)
    pair = np.array([[60.2574, -34.0099, 36.2677], [60.4626, -34.1751, 39.4387]])  # pair 17: 1.2644
    first, second = (lab2rgb(one[None]) * (255 / 256) for one in pair)
    assert colour.delta_e(first, second)[0] == pytest.approx(1.2644, abs=0.01)


def test_lab_of_pixels_is_lab_of_images(images):
    """uint8 images and the same pixels / 256 have one Lab value, and scikit-image's way back leads to the pixels."""
    lab = colour.rgb_to_lab(images)
    assert np.allclose(lab, colour.rgb_to_lab(images / 256), atol=1e-3)
    assert np.allclose(lab2rgb(lab) * 255, images, atol=0.03)
    assert colour.delta_e(images, images).max() < 1e-4


def test_the_mean_table_is_the_mean_of_each_level(images):
    """For each grey level the table holds the mean colour of the pixels with that level, grey where there are none."""
    table = colour.fit_mean_table(images)
    levels = colour.grey_levels(images)
    for level in range(256):
        there = images[levels == level]
        expected = there.double().mean(0) if len(there) else torch.full((3,), float(level), dtype=torch.double)
        assert torch.allclose(table[level].double() * 256, expected, atol=1e-4)


def test_the_class_table_is_the_share_of_each_class(images, colours):
    """For each grey level the table holds the classes' smoothed shares, and uniform where there are no pixels."""
    labels = colour.nearest_colour(images, colours)
    table = colour.fit_class_table(images, labels, 24, smoothing=1).exp()
    levels = colour.grey_levels(images)
    assert torch.allclose(table.sum(1), torch.ones(256))
    for level in (0, 90, 128, 255):
        counts = np.bincount(labels[levels == level].numpy(), minlength=24) + 1
        assert np.allclose(table[level], counts / counts.sum())


def npy(content: bytes) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": (2,)})
    return stream.getvalue() + content


class Python2Pickler(pickle._Pickler):
    """Writes strings and bytes alike as Python 2's `str`, as the assignment's file has them."""

    def save_old(self, value):
        raw = value if isinstance(value, bytes) else value.encode("latin1")
        self.write(b"T" + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch = pickle._Pickler.dispatch | {bytes: save_old, str: save_old}


def object_array(colours) -> np.ndarray:
    content = np.empty(2, object)
    content[:] = [colours, np.float32(0.0728)]
    return content


def test_a_plain_file_is_read(tmp_path, colours):
    """A float array in a .npy file comes back as it is."""
    np.save(tmp_path / "plain.npy", colours)
    assert (colour.load_colours(tmp_path / "plain.npy") == colours).all()


@pytest.mark.parametrize("kind", ["python2", "numpy1", "today", "double", "big-endian", "fortran"])
def test_the_assignments_object_array_is_read(tmp_path, colours, kind):
    """The object array of colours and distortion gives its colours, whichever NumPy or Python saved it."""
    changes = {"double": np.float64, "big-endian": ">f4"}
    content = object_array(
        np.asfortranarray(colours) if kind == "fortran" else colours.astype(changes.get(kind, "<f4"))
    )
    stream = io.BytesIO()
    if kind == "python2":
        Python2Pickler(stream, protocol=2).dump(content)
    else:
        stream.write(pickle.dumps(content, protocol=2 if kind == "numpy1" else 4))
    raw = stream.getvalue()
    if kind in ("python2", "numpy1"):
        raw = raw.replace(b"numpy._core.", b"numpy.core.")
        assert b"numpy.core.multiarray" in raw
    (tmp_path / "official.npy").write_bytes(npy(raw))
    assert np.allclose(colour.load_colours(tmp_path / "official.npy"), colours)


class Hostile:
    def __init__(self, function, *arguments):
        self.what = function, arguments

    def __reduce__(self):
        return self.what


@pytest.mark.parametrize("function", [os.mkdir, eval, np.save, np.load, __import__])
def test_a_hostile_file_is_refused_and_runs_nothing(tmp_path, monkeypatch, function):
    """A pickle that calls a function is refused in one line before anything happened."""
    monkeypatch.chdir(tmp_path)
    argument = "__import__('os').mkdir('made')" if function is eval else "made"
    (tmp_path / "bad.npy").write_bytes(npy(pickle.dumps([Hostile(function, argument), 1])))
    with pytest.raises(ValueError, match=r"bad\.npy holds no colours that can be read safely \(it asks for") as caught:
        colour.load_colours("bad.npy")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.npy"]


@pytest.mark.parametrize("raw", [b"", b"\x93NUMPY", b"nonsense", npy(b"\x80\x04."), npy(b""), bytes(2**21)])
def test_a_damaged_file_is_an_error_of_one_line(tmp_path, raw):
    """Whatever is wrong with the bytes, the error names the file in one line."""
    (tmp_path / "bad.npy").write_bytes(raw)
    with pytest.raises(ValueError, match=r"bad\.npy") as caught:
        colour.load_colours(tmp_path / "bad.npy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [np.zeros((24, 4)), np.zeros(3), np.full((2, 3), np.nan), np.full((2, 3), 200.0)])
def test_what_is_no_palette_is_refused(tmp_path, bad):
    """Wrong shape, NaN, or values that were not divided by 256 are named."""
    np.save(tmp_path / "bad.npy", bad)
    with pytest.raises(ValueError, match=r"bad\.npy"):
        colour.load_colours(tmp_path / "bad.npy")


@pytest.mark.data
def test_trivial_baselines_on_the_horses(horses):
    """Copying the grey has MSE 0.00532 on the test horses; the table of mean colours has 0.00389."""
    train, test = horses
    pixels = colour.to_pixels(test)
    assert F.mse_loss(colour.grey(pixels).expand_as(pixels), pixels).item() == pytest.approx(0.00532, abs=5e-6)
    predicted = colour.fit_mean_table(train)[colour.grey_levels(test).long()]
    assert F.mse_loss(predicted, test / 256).item() == pytest.approx(0.00389, abs=5e-6)


@pytest.mark.data
def test_colour_classes_on_the_horses(horses, assignment_colours):
    """With the assignment's colours: quantisation floor 0.00225; the table reaches 0.915 and 62.1 %."""
    train, test = horses
    targets = colour.nearest_colour(test, assignment_colours).long()
    painted = torch.from_numpy(assignment_colours)[targets]
    assert F.mse_loss(painted, test / 256).item() == pytest.approx(0.00225, abs=5e-6)
    table = colour.fit_class_table(train, colour.nearest_colour(train, assignment_colours))
    scores = table[colour.grey_levels(test).long()]
    assert F.nll_loss(scores.flatten(0, 2), targets.flatten()).item() == pytest.approx(0.915, abs=5e-4)
    assert (scores.argmax(-1) == targets).float().mean().item() == pytest.approx(0.621, abs=5e-4)


@pytest.mark.data
def test_fitted_colours_are_as_near_as_the_assignments(horses, assignment_colours):
    """Our own 24 colours lie as near to the horses' pixels as the assignment's do: mean distance 0.0728."""
    train, _ = horses
    part = train[::4]  # the assignment's distance on this part is the same to four decimals

    def mean_distance(colours):
        painted = torch.from_numpy(colours)[colour.nearest_colour(part, colours).long()]
        return (painted - part / 256).norm(dim=-1).mean().item()

    assert mean_distance(assignment_colours) == pytest.approx(0.0728, abs=5e-5)
    assert mean_distance(colour.fit_colours(train)) <= 0.0728
