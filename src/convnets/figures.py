"""The book's figures: pure functions from arrays to a matplotlib Figure, in one visual language.

Colours are Okabe and Ito's (2008), told apart by colour-blind readers; every line also has its own dashes, so that a
print in black and white tells them apart too. Pictures are enlarged by whole pixels, so that no viewer smooths them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, groupby
from typing import Any, Protocol

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (7, 2)), (0, (2, 2)), (0, (1, 2)))
GREY = "#6b6b6b"
WIDTH = 7.2  # inches: the measure of an A4 page, and readable on a phone
FINEST = 144  # pixels to the inch of a page: of finer ones a reader sees the mean
KINDS = {
    "Conv2d": "#0072B2",
    "MyConv2d": "#0072B2",
    "MyDilatedConv2d": "#E69F00",
    "ConvTranspose2d": "#56B4E9",
    "MaxPool2d": "#D55E00",
    "Upsample": "#009E73",
    "Concatenate": "#CC79A7",
}

Box = tuple[float, float, float]  # left, width, height


class Layer(Protocol):
    """What `architecture` reads of a row of `describe.layer_table`."""

    name: str
    kind: str
    kernel: tuple[int, ...] | None
    output_shape: tuple[int, ...]
    inputs: tuple[str, ...]


def style() -> None:
    """Sets matplotlib's defaults for all figures of the book."""
    sns.set_theme(style="ticks", palette=COLOURS)
    mpl.rcParams.update(
        {
            "figure.facecolor": "white",
            "font.size": 10,
            "axes.titlesize": 10,
            "axes.labelsize": 10,
            "legend.fontsize": 9,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "svg.hashsalt": "benchbook",  # the same figure has the same bytes
        }
    )


def training_curves(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    lines: Mapping[str, float] | None = None,
    *,
    label: str = "loss",
    log: bool = False,
) -> Figure:
    """Loss against epochs: validation in full, training thin; the mean over seeds, with a band from least to most.

    `curves` maps a name to (training, validation), each [seeds, epochs] or [epochs]; `lines` maps names to values that
    are drawn across. `log` makes the vertical axis logarithmic.
    """
    figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
    axes = figure.add_subplot()
    for (name, pair), colour, dash in zip(curves.items(), cycle(COLOURS), cycle(DASHES), strict=False):
        for values, part in zip(pair, ("training", "validation"), strict=True):
            seeds = np.atleast_2d(np.asarray(values, float))
            epochs = np.arange(1, seeds.shape[1] + 1)
            thick = part == "validation"
            marker = "o" if thick and len(epochs) < 40 else ""
            hidden = "" if len(curves) == 1 or thick else "_"  # which keeps a name out of the legend
            axes.plot(epochs, seeds.mean(0), color=colour, linestyle=dash if thick else ":", marker=marker,
                      markersize=3, linewidth=1.8 if thick else 1.1, label=f"{hidden}{name}, {part}")  # fmt: skip
            if thick and len(seeds) > 1:
                axes.fill_between(epochs, seeds.min(0), seeds.max(0), color=colour, alpha=0.18, linewidth=0)
    if len(curves) > 1:
        axes.plot([], [], color=GREY, linestyle=":", linewidth=1.1, label="the same, training")
    _across(axes, lines or {})
    axes.set(xlabel="epoch", ylabel=label)
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    figure.legend(loc="outside lower center", ncols=3)  # inside it would hide a curve or a line
    return figure


def bars(samples: Mapping[str, ArrayLike], lines: Mapping[str, float] | None = None, *, label: str = "loss") -> Figure:
    """Horizontal bars of means, a dot for each seed, and named values across; `samples` maps a name to [seeds]."""
    figure = Figure(figsize=(WIDTH, 0.9 + 0.42 * len(samples)), layout="constrained")
    axes = figure.add_subplot()
    for row, values in enumerate(samples.values()):
        seeds = np.atleast_1d(np.asarray(values, float))
        axes.barh(row, seeds.mean(), height=0.62, color=COLOURS[0], alpha=0.55)
        axes.plot(seeds, np.full(len(seeds), row), "o", color="black", markersize=4, clip_on=False)
    axes.set_yticks(range(len(samples)), list(samples))
    axes.invert_yaxis()
    axes.set_xlabel(label)
    for (name, value), dash in zip((lines or {}).items(), cycle(DASHES[1:]), strict=False):
        axes.axvline(value, color=COLOURS[1], linestyle=dash, linewidth=1.4, label=name)
    if lines:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(lines))
    return figure


def picture_rows(rows: Mapping[str, ArrayLike], columns: int = 8) -> Figure:
    """Pictures in named rows: `rows` maps a name to uint8 [N, H, W, 3] or [N, H, W], of which `columns` are shown."""
    arrays = {name: np.asarray(images)[:columns] for name, images in rows.items()}
    columns = max(len(images) for images in arrays.values())
    figure = Figure(
        figsize=(WIDTH, WIDTH * 0.85 * len(rows) / columns),
        layout=ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01),
    )
    grid: NDArray[Any] = figure.subplots(len(rows), columns, squeeze=False)
    for line, (name, images) in zip(grid, arrays.items(), strict=True):
        for axes in line:
            axes.set_axis_off()
        for axes, image in zip(line, images, strict=False):
            axes.imshow(enlarge(image), cmap="gray", vmin=0, vmax=255, interpolation="none")
        line[0].text(-0.08, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=9)
    return figure


def titled_pictures(pictures: Mapping[str, ArrayLike], columns: int = 3) -> Figure:
    """Pictures under their titles, `columns` in a row, as large as the page allows.

    uint8 [H, W] or [H, W, 3] is shown as it is, other numbers [H, W] by `as_grey`; either by the means of blocks where
    it has more pixels than a page shows.
    """
    arrays = {title: np.asarray(picture) for title, picture in pictures.items()}
    rows = -(-len(arrays) // columns)
    shapes = [array.shape[0] / array.shape[1] for array in arrays.values()]
    lines = max(title.count("\n") + 1 for title in arrays)
    height = rows * (WIDTH / columns * max(shapes) + 0.1 + 0.17 * lines)
    figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02))
    grid: NDArray[Any] = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (title, array) in zip(grid.flat, arrays.items(), strict=False):
        image = block_means(array if array.dtype == np.uint8 else as_grey(array), round(FINEST * WIDTH / columns))
        axes.imshow(enlarge(image), cmap="gray", vmin=0, vmax=255, interpolation="none")
        axes.set_title(title, fontsize=9, pad=4.5)
    return figure


def as_grey(values: ArrayLike) -> NDArray[np.uint8]:
    """Numbers as uint8 grey: 0 becomes 128 and the largest sizes black and white; 0 black where none is negative.

    The largest two-hundredth of the sizes is cut off, so that a few pixels do not leave all others grey.
    """
    numbers = np.asarray(values, float)
    most = np.percentile(np.abs(numbers), 99.5) or 1.0
    low, high = (-most, most) if numbers.min() < 0 else (0.0, most)
    grey: NDArray[np.uint8] = np.clip((numbers - low) / (high - low) * 255, 0, 255).round().astype(np.uint8)
    return grey


def block_means(image: NDArray[np.uint8], most: int) -> NDArray[np.uint8]:
    """The image [H, W] or [H, W, 3] by the means of square blocks, so that it is at most `most` pixels wide.

    What is left over at the right and at the bottom is cut off.
    """
    times = -(-image.shape[1] // most)
    height, width = (side // times for side in image.shape[:2])
    blocks = image[: height * times, : width * times].reshape(height, times, width, times, -1)
    means: NDArray[np.uint8] = blocks.mean((1, 3)).round().astype(np.uint8).reshape(height, width, *image.shape[2:])
    return means


def enlarge(image: NDArray[Any], least: int = 192) -> NDArray[Any]:
    """The image [H, W] or [H, W, 3] with every pixel repeated, so that it has at least `least` pixels a side."""
    times = -(-least // image.shape[0])
    return np.repeat(np.repeat(image, times, 0), times, 1)


def colour_pairs(first: ArrayLike, second: ArrayLike, labels: Sequence[str]) -> Figure:
    """Pairs of colours, uint8 [N, 3] each, one patch touching the other, with a label of two or three lines below."""
    pairs = list(zip(np.asarray(first) / 255, np.asarray(second) / 255, labels, strict=True))
    figure = Figure(figsize=(WIDTH, 1.75), layout="constrained")
    for axes, (one, other, label) in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        axes.add_patch(Rectangle((0, 0), 0.5, 1, color=one))
        axes.add_patch(Rectangle((0.5, 0), 0.5, 1, color=other))
        axes.add_patch(Rectangle((0, 0), 1, 1, fill=False, edgecolor=GREY, linewidth=0.5))  # white ends somewhere
        axes.set_axis_off()
        axes.text(0.5, -0.06, label, ha="center", va="top", fontsize=9)
    return figure


def architecture(layers: Sequence[Layer]) -> Figure:
    """A network as boxes from left to right, named by block; arcs are connections that skip layers.

    A box is as high as its pictures and as wide as its channels, on logarithmic scales; above it stands the number of
    channels, below it the height of the pictures, inside the filter's size. Batch norm and ReLU change no shape and are
    left out. `layers` are rows of `describe.layer_table`.
    """
    shown = [layer for layer in layers if layer.kind not in ("BatchNorm2d", "ReLU", "Dropout2d", "Identity")]
    boxes, blocks = _places(shown)
    right = max(left + wide for left, wide, _ in boxes.values())
    low = -max(high for _, _, high in boxes.values()) / 2
    small = 8 * min(1, 14 / right)
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = figure.add_subplot()
    for layer, (left, wide, high) in zip(shown, boxes.values(), strict=True):
        colour = KINDS.get(layer.kind, GREY)
        axes.add_patch(Rectangle((left, -high / 2), wide, high, facecolor=colour, edgecolor="white", linewidth=1))
        at = left + wide / 2
        axes.text(at, high / 2 + 0.12, str(layer.output_shape[0]), ha="center", va="bottom", fontsize=small)
        axes.text(at, -high / 2 - 0.15, str(layer.output_shape[1]), ha="center", va="top", fontsize=small, color=GREY)
        size = "×".join(map(str, layer.kernel or ()))
        axes.text(at, 0, size, ha="center", va="center", rotation=90, fontsize=small, color="white")
    for name, (left, wide) in blocks.items():
        axes.plot([left, left + wide], [low - 0.75] * 2, color=GREY, linewidth=0.8)
        axes.text(left + wide / 2, low - 0.9, name, ha="center", va="top", fontsize=small)
    top = max([_skip(axes, *ends) for ends in _skips(layers, boxes)], default=-low + 0.6)
    kinds = [kind for kind in KINDS if any(layer.kind == kind for layer in shown)]
    handles = [Rectangle((0, 0), 1, 1, facecolor=KINDS[kind], label=kind) for kind in kinds]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=len(handles))
    axes.set(xlim=(-0.1, right + 0.1), ylim=(low - 1.5, top))
    axes.set_axis_off()
    return figure


def _places(layers: Sequence[Layer]) -> tuple[dict[str, Box], dict[str, tuple[float, float]]]:
    """(left, width, height) of each layer's box, and (left, width) of each block of several layers or with filters."""
    boxes: dict[str, Box] = {}
    blocks: dict[str, tuple[float, float]] = {}
    left = 0.0
    for block, members in groupby(layers, lambda layer: layer.name.split(".")[0]):
        together = list(members)
        sizes = [(0.3 + 0.16 * np.log2(layer.output_shape[0]), 0.4 + 0.75 * np.log2(layer.output_shape[1]))
                 for layer in together]  # fmt: skip
        width = sum(wide for wide, _ in sizes)
        named = any(layer.kind not in ("MaxPool2d", "Upsample", "Concatenate") for layer in together)
        space = max(width, 0.165 * len(block)) if named else width  # so that no two names overlap
        at = left + (space - width) / 2
        for layer, (wide, high) in zip(together, sizes, strict=True):
            boxes[layer.name] = at, wide, high
            at += wide
        if named:
            blocks[block] = left, space
        left += space + 0.2
    return boxes, blocks


def _skips(layers: Sequence[Layer], boxes: Mapping[str, Box]) -> Iterator[tuple[Box, Box]]:
    """The boxes at both ends of each connection that comes from further back than the layer before."""
    drawn: dict[str, str] = {}  # what stands in the figure for a layer: itself, or the last one drawn before it
    for before, layer in zip([None, *layers], layers, strict=False):
        drawn[layer.name] = layer.name if layer.name in boxes or before is None else drawn[before.name]
        for source in layer.inputs:
            if before is not None and source != before.name:
                yield boxes[drawn[source]], boxes[drawn[layer.name]]


def _skip(axes: Axes, first: Box, last: Box) -> float:
    """Draws an arc from one box to another, and returns how high it reaches."""
    (start, end), (foot, head) = zip(
        *((left + wide / 2, high / 2 + 0.6) for left, wide, high in (first, last)), strict=True
    )
    peak = float(max(foot, head) + 0.4 + 0.16 * (end - start))
    arc = Path([(start, foot), (start, peak), (end, peak), (end, head)], [Path.MOVETO] + 3 * [Path.CURVE4])
    axes.add_patch(FancyArrowPatch(path=arc, arrowstyle="->", mutation_scale=9, color=GREY, linewidth=1))
    return peak


def _across(axes: Axes, lines: Mapping[str, float]) -> None:
    for (name, value), dash in zip(lines.items(), cycle(DASHES[1:]), strict=False):
        axes.axhline(value, color=GREY, linestyle=dash, linewidth=1.3, label=name)
