"""Drawings say their numbers and open large, without a server; without scripts and on paper they stand still."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest
from conftest import code, markdown, write_notebook
from matplotlib.figure import Figure

from benchbook.drawings import inside
from benchbook.lines import LINES, MOST, beside, lines_of
from benchbook.pictures import LARGE, numbers, shown, with_links

LOSSES = {"first": [0.5, 0.123456789, 0.0625], "second": [4.0, 2.0, 1.0]}
DRAW = f"""
import benchbook
import matplotlib.pyplot as plt
%matplotlib inline
%config InlineBackend.figure_formats = ["svg"]
figure, axes = plt.subplots()
for name, losses in {LOSSES!r}.items():
    axes.plot([1, 2, 3], losses, label=name)
axes.axhline(0.3, color="grey", label=r"table $2\\sigma$ wide")
axes.set(xlabel="epoch", ylabel="loss", yscale="log")
figure.legend()
plt.show()
"""


def drawing(**settings) -> tuple[Figure, object]:
    figure = Figure()
    axes = figure.subplots()
    axes.set(**settings)
    return figure, axes


def panel(figure: Figure) -> dict:
    (found,) = lines_of(figure)["panels"]
    return found


def test_the_numbers_are_those_that_were_drawn():
    """To six digits, in data coordinates, without the points that are no numbers; labels and limits go along."""
    figure, axes = drawing(xlabel="epoch", ylabel="loss", yscale="log")
    axes.plot([1, 2, 3], [0.123456789, np.nan, 1e-7], label="a")
    axes.plot([1, 2], [3, 4], label="_a, thin")
    axes.axhline(0.25, label="table")
    axes.axvline(2.5, label="here")
    found = panel(figure)
    assert [(line["name"], line["x"], line["y"]) for line in found["lines"]] == [
        ("a", [1, 3], [0.123457, 1e-7]),
        ("a, thin", [1, 2], [3, 4]),
        ("table", [], [0.25]),
        ("here", [], []),
    ]
    assert (found["labels"], found["log"]) == (["epoch", "loss"], [False, True])
    assert found["limits"] == [list(axes.get_xlim()), list(axes.get_ylim())]


def test_what_has_no_entry_belongs_to_the_only_one_of_its_colour():
    """A thin line and a band go with their run; where two runs share a colour nothing is guessed."""
    figure, axes = drawing()
    axes.plot([1, 2], [1, 2], label="a", color="red")
    axes.plot([1, 2], [1, 3], color="red")
    axes.fill_between([1, 2], [0, 1], [2, 3], color="red", alpha=0.2)
    axes.plot([1, 2], [2, 2], label="b", color="blue")
    axes.plot([1, 2], [2, 3], label="c", color="blue", linestyle=":")
    axes.plot([1, 2], [3, 3], color="blue")
    axes.plot([], [], color="black", label="only explained")
    axes.legend()
    found = lines_of(figure)
    assert found["entries"] == ["a", "b", "c", None]
    assert [line["entry"] for line in panel(figure)["lines"]] == ["a", "a", "b", "c", None]
    assert [band["entry"] for band in panel(figure)["bands"]] == ["a"]


def test_pictures_names_and_clouds_are_not_read_off():
    """A figure with pixels, bars under names, no axes, or too many points has nothing to say."""
    pixels, axes = drawing()
    axes.imshow(np.zeros((2, 2)))
    axes.plot([0, 1], [0, 1])
    bars, axes = drawing()
    axes.plot([0.1, 0.2], [0, 1], "o")
    axes.set_yticks([0, 1], ["one network", "another"])
    hidden, axes = drawing()
    axes.plot([0, 1], [0, 1])
    axes.set_axis_off()
    cloud, axes = drawing()
    axes.plot(np.arange(MOST + 1), np.arange(MOST + 1))
    for figure in (pixels, bars, hidden, cloud, Figure()):
        assert beside(figure) == ({}, {})


def test_no_figure_is_too_strange():
    """Whatever matplotlib draws, a notebook goes on; the one plain line among it is found."""
    figure = Figure()
    grid = figure.subplots(3, 3).ravel()
    grid[0].errorbar([1, 2], [3, 4], yerr=0.1, label="bars", color=np.array([0.1, 0.2, 0.3]))
    grid[0].twinx().bar([1, 2], [3, 4], color=["red", "none"], label="boxes")
    grid[1].scatter([1, 2], [3, 4], c=[5, 6], label="dots")
    grid[2].contourf(np.arange(9).reshape(3, 3))
    grid[3].plot(np.array(["2026-11-21", "2026-11-22"], "datetime64[D]"), np.ma.masked_equal([1, 2], 2), label="days")
    grid[4].plot(["a", "b"], [1, 2], color=(0, 0, 0, 0))
    grid[5].hist([1, 2, 2], histtype="step", label="steps")
    grid[6].plot([1, 2], [1, 2], transform=grid[6].transAxes)
    grid[6].set_xscale("symlog")
    grid[7].violinplot([[1, 2, 3]])
    grid[8].plot([1, 2], [3, 4], label="plain")
    figure.colorbar(grid[1].collections[0], ax=grid[1])
    figure.add_subplot(projection="polar").plot([0, 1], [0, 1])
    for axes in figure.axes:
        axes.legend()
    lines = [line for found in lines_of(figure)["panels"] for line in found["lines"]]
    assert [line["y"] for line in lines if line["name"] == "plain"] == [[3, 4]]
    json.dumps(lines_of(figure), allow_nan=False)


def test_ticks_with_names_give_their_names():
    """An axis of kinds says the kind, one whose ticks are written by hand as numbers says numbers."""
    kinds, axes = drawing()
    axes.plot([0, 1], [5, 6])
    axes.set_xticks([0, 1], ["CNN", "UNet"])
    assert panel(kinds)["names"] == {"0": "CNN", "1": "UNet"}
    numbers, axes = drawing()
    axes.plot([0, 1], [5, 6])
    axes.set_xticks([0, 1], ["0", "100 %"])
    assert panel(numbers)["names"] == {}


def test_a_drawing_inside_a_page_touches_nothing_else():
    """Every id and every reference has the prefix, no style reaches the page, the description is text."""
    svg = '<?xml?><svg viewBox="0 0 1 1"><style>*{fill: red}</style><path id="a" clip-path="url(#b)"/><use href="#a"/>'
    found = inside(f"{svg}</svg>", "p-", 'a "curve" <x>')
    assert found.startswith('<svg role="img" aria-label="a &quot;curve&quot; &lt;x&gt;"')
    assert re.findall(r'id="[^"]*|#[^")]*', found) == ['id="p-a', "#p-b", "#p-a"]
    assert "<style" not in found


def test_only_a_picture_with_a_file_of_its_own_is_linked():
    """In the notebook to take away; a drawing with numbers stands inside its page, and so stays in the notebook."""
    svg = f"<svg>{'<path/>' * LARGE}</svg>"
    outputs = [{"data": {"image/svg+xml": svg}, "metadata": metadata} for metadata in ({LINES: {"panels": []}}, {})]
    (cell,) = with_links({"cells": [{**code(""), "outputs": outputs}]})["cells"]
    assert [output["data"].get("image/svg+xml") for output in cell["outputs"]] == [svg, None]
    assert f"../../_images/{hashlib.sha256(svg.encode()).hexdigest()}.svg" in cell["outputs"][1]["data"]["text/html"]


def test_numbers_go_with_the_pictures_that_are_shown():
    """An SVG that is more than a picture is none of them."""
    svgs = ["<svg><script/></svg>", "<svg/>"]
    outputs = [{"data": {"image/svg+xml": svg}, "metadata": {LINES: {"svg": svg}}} for svg in svgs]
    cell = {**code(""), "outputs": outputs}
    assert list(zip(shown(cell), numbers(cell), strict=True)) == [(("svg", b"<svg/>"), {"svg": "<svg/>"})]


@pytest.fixture
def drawn(book):
    """The small book with a chapter that draws two curves and a picture of pixels."""
    drawing_cell = code(DRAW.strip())
    drawing_cell["metadata"]["mystnb"] = {
        "figure": {"name": "fig-losses", "caption": "Losses."},
        "image": {"alt": "Two falling losses </script>"},
    }
    pixels = code("plt.imshow([[0, 1]])", "plt.axis('off')", "plt.show()")
    pixels["metadata"]["mystnb"] = {"image": {"alt": "Two pixels"}}
    write_notebook(book.root / "experiments" / "alone.ipynb", markdown("# Stand alone"), drawing_cell, pixels)
    book.write("book/index.md", "# Toy\n\n```{shown} alone:fig-losses\n```\n")
    return book


@pytest.mark.slow
@pytest.mark.browser
def test_curves_are_read_off_switched_and_enlarged_from_a_file(drawn, page):
    """The run's numbers at the pointer and by arrow keys; the legend's switches; a dialog that gives focus back."""
    done = drawn.run("build")
    assert done.returncode == 0, done.stderr
    (folder,) = drawn.folders("alone")
    cells = json.loads((folder / "executed.ipynb").read_text())["cells"]
    assert [LINES in output["metadata"] for cell in cells for output in cell.get("outputs", [])] == [True, False]
    for name in ("experiments/alone", "book/index"):  # the chapter, and the figure shown once more
        page.open(drawn.root / "_build" / "html" / f"{name}.html")
        field = page.locator(".benchbook-field")
        field.press("End")
        reading = page.locator(".benchbook-reading")
        assert reading.inner_text().split("\n") == ["epoch 3", "first: 0.0625", "second: 1", "table 2σ wide: 0.3"]
        field.press("ArrowLeft")
        assert "epoch 2; first: 0.123457; second: 2" in field.get_attribute("aria-valuetext")
        box = field.bounding_box()
        page.mouse.move(box["x"] + 0.06 * box["width"], box["y"] + 0.5 * box["height"])
        assert reading.inner_text().startswith("epoch 1\nfirst: 0.5\nsecond: 4")
        lines = [page.locator(f'.benchbook-drawing g[id$="panel-0-line-{i}"]') for i in (0, 1)]
        switch = page.get_by_role("button", name="first", exact=True)
        switch.press("Enter")
        assert switch.get_attribute("aria-pressed") == "false"
        assert [line.is_visible() for line in lines] == [False, True]
        assert "first" not in field.get_attribute("aria-valuetext")
        switch.press("Enter")
        assert lines[0].is_visible()
        opener = page.get_by_role("button", name="Enlarge: Two falling losses </script>")
        width = field.bounding_box()["width"]
        opener.press("Enter")
        assert page.get_by_role("dialog", name="Two falling losses").is_visible()
        assert field.bounding_box()["width"] > 1.3 * width
        page.keyboard.press("Escape")
        assert not page.locator("dialog.benchbook-dialog").is_visible()
        assert opener.evaluate("button => button === document.activeElement")
        assert page.locator(".benchbook-drawing").count() == 1
    page.open(drawn.root / "_build" / "html" / "experiments" / "alone.html")
    dot = page.locator(".benchbook-field span").first
    page.locator(".benchbook-field").press("Home")
    marker, curve = dot.bounding_box(), page.locator('g[id$="panel-0-line-0"] path').first.bounding_box()
    assert marker["x"] + marker["width"] / 2 == pytest.approx(curve["x"], abs=1.5)  # the dot lies on the curve
    assert marker["y"] + marker["height"] / 2 == pytest.approx(curve["y"], abs=1.5)
    page.get_by_alt_text("Two pixels").click()
    assert page.get_by_role("dialog", name="Two pixels").locator("img").is_visible()
    assert page.problems == []
    # Without scripts, and on paper: the SVG itself is in the page, in its figure, and nothing of the switches in print.
    chapter = drawn.html("experiments/alone")
    figure = re.search(r'(?s)<figure[^>]*id="fig-losses".*?</figure>', chapter)[0]
    assert 'role="img" aria-label="Two falling losses &lt;/script&gt;"' in figure
    assert figure.count("<path") > 10
    single = (drawn.root / "_build" / "sphinx" / "singlehtml" / "book" / "index.html").read_text()
    assert "benchbook-drawing" not in single
    assert single.count("Two falling losses") == 2
    # Every page offers the PDF, which lies beside the site.
    assert 'href="../../book.pdf">the book as a PDF</a>' in chapter
    assert "view source" not in chapter  # no repository is named
    assert (drawn.root / "_build" / "book.pdf").is_file()
