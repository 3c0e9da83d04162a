"""The slider between two pictures: what it holds, how it moves, and what paper shows of it."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from convnets.widgets import before_after

FIRST, SECOND = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), np.uint8)
WIDGET = before_after(FIRST, SECOND, ("in < put", "output"), 5, alt="Three pictures of noise")


def decoded(uri: str) -> bytes:
    return base64.b64decode(uri.partition("base64,")[2])


def test_the_page_holds_all_pixels_and_nothing_from_the_network():
    """Each picture is there, pixel for pixel, as a PNG; no address leads out of the page; labels are escaped."""
    html = WIDGET.html()
    pairs = BeautifulSoup(html, "html.parser").find("template").find_all(class_="pair")
    for pair, images in zip(pairs, zip(FIRST, SECOND, strict=True), strict=True):
        for tag, image in zip(pair.find_all("img"), images, strict=True):
            np.testing.assert_array_equal(Image.open(io.BytesIO(decoded(tag["src"]))), image)
        assert "width: 40px" in pair["style"]
    outside = [uri for uri in re.findall(r'(?:src|href)="([^"]*)"', html) if not uri.startswith("data:")]
    assert not outside
    assert "in &lt; put" in html


def test_paper_shows_both_as_rows_with_an_alternative_text():
    """Without scripts, templates and inputs one picture remains, and it says what it shows; it is the SVG."""
    page = BeautifulSoup(WIDGET.html(), "html.parser")
    for element in page.select("script, template, input, style"):
        element.decompose()
    (still,) = page.select("img")
    assert still["alt"] == "Three pictures of noise"
    drawing = decoded(still["src"]).decode()
    assert drawing == WIDGET.svg()
    assert drawing.count("<image") == 6
    assert page.get_text(strip=True) == ""


def test_a_notebook_gets_html_first_and_the_drawing_for_what_knows_no_html():
    """One picture without the first axis is a strip of one; the same pictures give the same bytes."""
    bundle = before_after(FIRST[0], SECOND[0])._repr_mimebundle_()
    assert list(bundle) == ["text/html", "image/svg+xml", "text/plain"]
    assert bundle == before_after(FIRST[:1], SECOND[:1])._repr_mimebundle_()


@pytest.mark.parametrize(
    ("first", "second", "labels", "scale", "message"),
    [
        (FIRST, SECOND[:2], ("a", "b"), 4, r"give two uint8 arrays of one shape"),
        (FIRST / 255, SECOND / 255, ("a", "b"), 4, r"pictures are float64"),
        (FIRST, SECOND, ("a", "a"), 4, r"two different labels"),
        (FIRST, SECOND, ("a", "b"), 0, r"a scale of 1 or more"),
    ],
)
def test_what_is_no_pair_of_pictures_is_refused(first, second, labels, scale, message):
    """Shapes, kinds, labels and scale are looked at before anything is drawn."""
    with pytest.raises(ValueError, match=message):
        before_after(first, second, labels, scale)


@pytest.mark.browser
def test_arrow_keys_move_the_border(page, tmp_path):
    """In a browser the slider appears; keys move it, and the second picture is cut where it stands."""
    path = tmp_path / "page.html"
    path.write_text(f"<!DOCTYPE html><body>{WIDGET.html()}</body>")
    page.goto(path.as_uri())
    slider, second = page.locator("input"), page.locator(".pair img + img").first
    cut = "image => getComputedStyle(image).clipPath"
    assert second.evaluate(cut) == "inset(0px 0px 0px 50%)"
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert second.evaluate(cut) == "inset(0px 0px 0px 51%)"
    page.keyboard.press("Home")
    assert second.evaluate(cut) in ("inset(0px 0px 0px 0%)", "inset(0px)")
    assert slider.get_attribute("aria-valuetext") == "in < put 0 %, output 100 %"
    assert page.locator("noscript img").count() == 0
