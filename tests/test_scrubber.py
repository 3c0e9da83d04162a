"""The drawing shows what it was given, in print as on the page, and its slider needs nothing but the page."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from bs4 import BeautifulSoup

from convnets.scrubber import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Scrubber

X = np.linspace(-2, 2, 81)
FRAMES = np.stack([np.sin(X) * scale for scale in (0.1, 0.6, 9.0)])
MARKS = [[(0, 0)], [(1, 0.5), (-1, -0.5), (7, 0)], []]
LABELS = ["none <b>", "some", "all & more"]
SVG = "{http://www.w3.org/2000/svg}"


def made(**changes) -> Scrubber:
    return Scrubber(
        **{"x": X, "truth": np.sin(X), "frames": FRAMES, "labels": LABELS, "alt": 'A "sine" < 2', **changes}
    )


def drawing(scrubber: Scrubber) -> ElementTree.Element:
    return ElementTree.fromstring(scrubber.svg())


def line(root: ElementTree.Element, name: str) -> np.ndarray:
    (element,) = [e for e in root.iter(f"{SVG}polyline") if e.get("class") == name]
    return np.array([[float(c) for c in point.split(",")] for point in element.get("points").split()])


def data(scrubber: Scrubber) -> dict:
    soup = BeautifulSoup(scrubber.html(), "html.parser")
    return json.loads(soup.find("script", type="application/json").string)


def test_the_still_drawing_is_the_last_frame():
    """Truth and last frame lie where the axes put them; what leaves the axes is cut at their edge."""
    root = drawing(made(frames=FRAMES[:2], labels=LABELS[:2]))
    truth, curve = line(root, "truth"), line(root, "curve")
    assert truth[:, 0] == pytest.approx(np.interp(X, (-2, 2), (LEFT, RIGHT)), abs=0.06)
    assert np.array_equal(truth[:, 0], curve[:, 0])
    middle = (TOP + BOTTOM) / 2
    assert (curve[:, 1] - middle) == pytest.approx(0.6 * (truth[:, 1] - middle), abs=0.15)
    wild = line(drawing(made()), "curve")
    assert wild[:, 1].min() >= TOP
    assert wild[:, 1].max() <= BOTTOM


def test_the_drawing_has_a_description_and_lies_within_itself():
    """The alternative text survives quotes and brackets; every text starts inside the drawing."""
    root = drawing(made(marks=MARKS))
    assert root.get("aria-label") == 'A "sine" < 2'
    assert root.get("role") == "img"
    for text in root.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x")) <= WIDTH
        assert 0 <= float(text.get("y")) <= HEIGHT
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert {"truth", "fit", "marks", "x", "−1", "1"} <= set(words)
    assert "marks" not in [text.text for text in drawing(made()).iter(f"{SVG}text")]


def test_marks_outside_the_axes_are_left_out():
    """Each frame has its own dots, on the curve where they were given there."""
    marks = data(made(marks=MARKS))["marks"]
    assert [len(dots) for dots in marks] == [1, 2, 0]
    assert marks[0][0][0] == 10 * (LEFT + RIGHT) / 2


def test_the_page_gets_a_slider_that_a_keyboard_can_move():
    """A labelled range input with one place for each frame; the last is shown, with its text for screen readers."""
    soup = BeautifulSoup(made(slider="step").html(), "html.parser")
    slider = soup.find("input")
    assert (slider["type"], slider["min"], slider["max"], slider["value"]) == ("range", "0", "2", "2")
    assert slider["aria-valuetext"] == "all & more"
    assert slider.find_parent("label").get_text(" ", strip=True) == "step all & more"
    assert not re.search(r'(src|href)=|url\(|https?://(?!www\.w3\.org/2000/svg")', made().html())


def test_two_drawings_on_a_page_do_not_share_a_name_and_the_same_has_the_same_bytes():
    """The name is made from the content."""
    assert made().html() == made().html()
    names = {BeautifulSoup(s.html(), "html.parser").div["id"] for s in (made(), made(frames=FRAMES / 2))}
    assert len(names) == 2


def test_sixty_frames_are_small():
    """A training of sixteen units in 60 frames stays below 200 kB."""
    frames = np.sin(X * np.linspace(0.1, 1, 60)[:, None])
    marks = [np.random.default_rng(0).uniform(-2, 2, (16, 2))] * 60
    scrubber = made(frames=frames, labels=[str(k) for k in range(60)], marks=marks)
    assert sum(len(text.encode()) for text in scrubber._repr_mimebundle_().values()) < 200_000


def test_notebooks_get_a_page_and_a_still():
    """The same display holds the page's version, the still drawing and the words."""
    bundle = made()._repr_mimebundle_()
    assert bundle["image/svg+xml"] == made().svg()
    assert bundle["image/svg+xml"] in bundle["text/html"]
    assert bundle["text/plain"] == 'A "sine" < 2'


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": FRAMES[:, 1:]},
        {"frames": FRAMES[0]},
        {"truth": X[1:]},
        {"labels": ["one"]},
        {"marks": [[]]},
        {"frames": FRAMES[:0], "labels": []},
    ],
)
def test_frames_that_do_not_fit_are_refused(changes):
    """One clear line says what was given and what is wanted."""
    with pytest.raises(ValueError, match="give"):
        made(**changes)


@pytest.mark.browser
def test_the_slider_moves_the_curve(tmp_path, page):
    """In a browser, from a file and by the keyboard: curve, dots and label are those of the frame."""
    scrubber = made(marks=MARKS)
    (tmp_path / "page.html").write_text(f'<!doctype html><meta charset="utf-8">{scrubber.html()}')
    page.open(tmp_path / "page.html")
    page.focus("input")
    page.keyboard.press("ArrowLeft")
    points = page.get_attribute(".curve", "points").split()
    heights = [round(10 * float(point.split(",")[1])) for point in points]
    assert heights == data(scrubber)["frames"][1]
    assert page.get_attribute(".dots", "d").count("M") == 2
    assert page.inner_text("output") == page.get_attribute("input", "aria-valuetext") == "some"
    assert page.problems == []
