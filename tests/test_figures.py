"""The figures hold what they were given, every label lies inside, and no two texts lie on one another."""

from __future__ import annotations

from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.text import Text
from skimage.transform import downscale_local_mean

from convnets import figures
from convnets.describe import layer_table
from convnets.models import RegressionCNN, ResidualColouriser

RNG = np.random.default_rng(0)
LINES = {"repeat the grey": 0.0053, "look up the grey": 0.0039}


@pytest.fixture(autouse=True)
def house_style():
    with mpl.rc_context():
        figures.style()
        yield


def curves(seeds: int, epochs: int = 25) -> tuple[np.ndarray, np.ndarray]:
    falling = 0.05 * np.exp(-np.arange(epochs) / 5) + 0.008
    return falling + RNG.uniform(0, 1e-3, (seeds, epochs)), falling + RNG.uniform(1e-3, 2e-3, (seeds, epochs))


def networks() -> list[Figure]:
    made = [RegressionCNN(), RegressionCNN(num_filters=64, extra_layers=2), ResidualColouriser(torch.rand(256, 3))]
    return [figures.architecture(layer_table(model, (1, 32, 32))) for model in made]


def every_figure() -> list[Figure]:
    many = {name: curves(3) for name in ("as in the brief", "a layer more", "a layer less", "twice as wide")}
    images = RNG.integers(256, size=(10, 8, 8, 3), dtype=np.uint8)
    return [
        *networks(),
        figures.training_curves(many, LINES, log=True),
        figures.bars({name: pair[1][:, -1] for name, pair in many.items()}, LINES),
        figures.picture_rows({"grey input": images[..., 0], "ResidualColouriser": images}),
        figures.colour_pairs(images[0, 0, :6], images[1, 0, :6], ["RGB 0.25\nΔE2000 12"] * 6),
        figures.titled_pictures({"the picture": images[0], "Sobel, 3 × 3": images[0, ..., 0] - 9.0, "c": images[1]}, 2),
    ]


def texts(figure: Figure) -> list[Text]:
    """The texts that a reader sees: matplotlib also keeps labels of ticks beyond the limits, or of hidden axes."""
    unseen = set()
    for axes in figure.axes:
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                if not axes.axison or not min(limits) <= tick.get_loc() <= max(limits):
                    unseen |= {tick.label1, tick.label2}
    everything = figure.findobj(Text)
    return [text for text in everything if text.get_visible() and text.get_text().strip() and text not in unseen]


@pytest.mark.parametrize("number", range(8))
def test_nothing_is_cut_and_nothing_overlaps(number):
    """Every text lies inside the page, and no two lie on one another."""
    figure = every_figure()[number]
    FigureCanvasAgg(figure).draw()
    extents = {text: text.get_window_extent() for text in texts(figure)}
    assert extents
    page = figure.bbox.padded(1)
    for text, box in extents.items():
        inside = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert inside, f"{text.get_text()!r} is cut"
    for (one, first), (other, second) in combinations(extents.items(), 2):
        assert not first.padded(-1).overlaps(second.padded(-1)), f"{one.get_text()!r} lies on {other.get_text()!r}"


def test_curves_show_means_bands_and_lines():
    """Two lines a network, the mean over its seeds; a band from the least to the greatest; a line for each baseline."""
    training, validation = curves(3)
    axes = figures.training_curves({"net": (training, validation), "other": curves(1)}, LINES, log=True).axes[0]
    drawn = [line.get_ydata() for line in axes.lines]
    assert any(np.array_equal(y, training.mean(0)) for y in drawn)
    assert any(np.array_equal(y, validation.mean(0)) for y in drawn)
    assert len(axes.collections) == 1
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == validation.min()
    assert band[:, 1].max() == validation.max()
    assert {tuple(set(y)) for y in drawn if len(set(y)) == 1} == {(value,) for value in LINES.values()}
    assert axes.get_yscale() == "log"
    dashes = [line.get_linestyle() for line in axes.lines]
    assert len({line.get_color() for line in axes.lines}) >= 3
    assert len(set(dashes)) >= 2  # told apart without colour, too


def test_bars_are_means_with_a_dot_for_each_seed():
    """Bars have the length of the mean; the dots lie at the seeds' values."""
    axes = figures.bars({"a": [1.0, 3.0], "b": 5.0}, {"line": 4.0}, label="error").axes[0]
    assert [bar.get_width() for bar in axes.patches] == [2.0, 5.0]
    assert axes.lines[0].get_xdata().tolist() == [1.0, 3.0]
    assert axes.lines[-1].get_xdata() == [4.0, 4.0]
    assert axes.get_xlabel() == "error"


def test_pictures_are_shown_pixel_by_pixel_in_their_rows():
    """Each picture is the given one, its pixels repeated, in the order given; surplus ones are left out."""
    images = RNG.integers(256, size=(5, 8, 8, 3), dtype=np.uint8)
    figure = figures.picture_rows({"input": images[..., 0], "truth": images}, columns=3)
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert len(shown) == 6
    for k, (big, small) in enumerate(zip(shown, [*images[:3, ..., 0], *images[:3]], strict=True)):
        times = big.shape[0] // 8
        assert np.array_equal(big[times // 2 :: times, times // 2 :: times], small), k
        assert np.array_equal(big, np.repeat(np.repeat(small, times, 0), times, 1))
    assert [text.get_text() for text in texts(figure) if text.get_text() in ("input", "truth")] == ["input", "truth"]


def test_numbers_are_shown_as_grey_around_zero():
    """uint8 stays as it is; signed numbers have 0 in the middle, others 0 at black; a few large ones change nothing."""
    images = {"bytes": np.uint8([[0, 7]]), "signed": [[-2.0, 0.0, 1.0, 2.0]], "positive": [[0.0, 1.0, 2.0]]}
    figure = figures.titled_pictures(images, columns=2)
    shown = [axes.images[0].get_array()[0] for axes in figure.axes if axes.images]
    assert [list(dict.fromkeys(row.tolist())) for row in shown] == [[0, 7], [0, 128, 191, 255], [0, 128, 255]]
    assert [axes.get_title() for axes in figure.axes] == ["bytes", "signed", "positive", ""]
    values = np.linspace(-1, 1, 1000)[np.newaxis]
    values[0, :3] = 1e6
    assert figures.as_grey(values)[0, 500] == 128
    assert int(figures.as_grey(values)[0, 750]) == pytest.approx(191, abs=2)
    assert not figures.as_grey(np.zeros((2, 2))).any()


@pytest.mark.parametrize("shape", [(512, 512), (700, 701, 3), (200, 300)])
def test_a_picture_finer_than_the_page_is_shown_by_means_of_blocks(shape):
    """By scikit-image's local mean, of the smallest blocks that leave no more than 144 pixels to the inch."""
    image = RNG.integers(256, size=shape, dtype=np.uint8)
    figure = figures.titled_pictures({"one": image, "two": image, "three": image})
    most = 144 * figure.get_figwidth() / 3
    times = next(n for n in range(1, 9) if shape[1] / n <= most)
    whole = image[: shape[0] // times * times, : shape[1] // times * times]
    means = downscale_local_mean(whole, (times, times, 1)[: image.ndim])
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape == means.shape
    assert np.abs(shown - means).max() <= 0.5


def test_colour_pairs_show_both_colours():
    """Two patches a pair, in the exact colours."""
    figure = figures.colour_pairs([[255, 0, 0], [0, 51, 0]], [[0, 0, 255], [0, 0, 102]], ["one", "two"])
    colours = [patch.get_facecolor()[:3] for axes in figure.axes for patch in axes.patches if patch.get_fill()]
    assert colours == [(1, 0, 0), (0, 0, 1), (0, 0.2, 0), (0, 0, 0.4)]


def test_the_drawing_is_of_the_network():
    """A box for the input and for each layer that convolves or resizes; higher for larger pictures, wider for more
    channels; an arc for each skip connection."""
    plain, _, skipping = networks()
    boxes = [patch for patch in plain.axes[0].patches if isinstance(patch, Rectangle)]
    rows = [row for row in layer_table(RegressionCNN(), (1, 32, 32)) if row.kind not in ("BatchNorm2d", "ReLU")]
    assert len(boxes) == len(rows)
    assert len({round(box.get_height(), 6) for box in boxes}) == len({row.output_shape[1] for row in rows})
    assert len({round(box.get_width(), 6) for box in boxes}) == len({row.output_shape[0] for row in rows})
    words = {text.get_text() for text in texts(plain)}
    assert {"downconv1", "rfconv", "finalconv", "3×3", "64"} <= words
    arcs = [sum(isinstance(patch, FancyArrowPatch) for patch in figure.axes[0].patches) for figure in (plain, skipping)]
    assert arcs == [0, 2]


def test_the_same_figure_has_the_same_bytes(tmp_path):
    """A book made twice from the same runs is the same book."""
    for name in ("one.svg", "other.svg"):
        figures.training_curves({"net": (np.ones((1, 3)), np.ones((1, 3)))}, LINES).savefig(
            tmp_path / name, metadata={"Date": None}
        )
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
