"""Pictures in fewer bytes: no pixel changes, and one picture is one file, wherever it stands."""

from __future__ import annotations

import base64
import io
import json
import re

import matplotlib
import numpy as np
import pytest
from fontTools.pens.recordingPen import RecordingPen
from fontTools.svgLib.path import parse_path
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchbook import size
from benchbook.compression import coarse, compressed, compressed_png
from tests.conftest import code, markdown, write_notebook

matplotlib.use("Agg")


def png(pixels: np.ndarray, **options) -> bytes:
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG", **options)
    return held.getvalue()


def pixels_of(content: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(content)).convert("RGBA"))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3, 4]), st.integers(1, 300), st.booleans())
def test_every_pixel_stays_as_it_is(seed, channels, shades, opaque):
    """Of pictures in grey and in colour, of few colours and many, whole and see-through; and none gets larger."""
    random = np.random.default_rng(seed)
    palette = random.integers(0, 256, (shades, channels), np.uint8)
    pixels = palette[random.integers(0, shades, (9, 31))]
    if channels in (2, 4) and opaque:
        pixels[..., -1] = 255
    before = png(pixels.squeeze(-1) if channels == 1 else pixels)
    after = compressed_png(before)
    np.testing.assert_array_equal(pixels_of(after), pixels_of(before))
    assert len(after) <= len(before)


def test_what_is_known_of_a_picture_beside_its_pixels_is_kept():
    """Its resolution, which decides how large it is printed; one with a colour profile is left alone."""
    grey = np.repeat(np.arange(200, dtype=np.uint8)[:, None, None], 3, axis=2).repeat(200, axis=1)
    small = compressed_png(png(grey, dpi=(144, 144)))
    assert Image.open(io.BytesIO(small)).info["dpi"] == pytest.approx((144, 144), abs=0.1)
    assert Image.open(io.BytesIO(small)).mode == "L"
    profiled = png(grey, icc_profile=b"a profile")
    assert compressed_png(profiled) == profiled
    deep = png(np.arange(400, dtype=np.uint16).reshape(20, 20))
    assert compressed_png(deep) == deep
    assert compressed("png", b"no picture") == b"no picture"


def drawing(seed: str = "") -> str:
    """A curve over a picture, as matplotlib draws it, with names that depend on the seed."""
    import matplotlib.pyplot as plt

    with matplotlib.rc_context({"svg.hashsalt": seed or None}):
        figure, axes = plt.subplots(figsize=(3, 2))
        axes.imshow(np.random.default_rng(0).integers(0, 256, (40, 40)), cmap="grey")
        axes.plot([1, 20, 3], marker="o")
        held = io.StringIO()
        figure.savefig(held, format="svg")
        plt.close(figure)
    return held.getvalue()


def test_two_drawings_of_the_same_are_the_same_bytes_and_look_as_before():
    """Date and drawn names are no part of them; names still lead where they led, and are others in other drawings."""
    import typst

    first, second = (compressed("svg", drawing(seed).encode()) for seed in ("", "another"))
    assert first == second
    assert len(first) < 0.8 * len(drawing())
    names = set(re.findall(rb'id="([^"]+)"', first))
    assert set(re.findall(rb'(?:href="|url\()#([^")]+)', first)) <= names
    other = compressed("svg", drawing().replace("#1f77b4", "#ff0000").encode())
    drawn = re.compile(rb'id="([a-z]+[0-9a-f]{10})"')
    assert not set(drawn.findall(first)) & set(drawn.findall(other))
    shown = [np.array(Image.open(io.BytesIO(page))).astype(int) for page in map(_set, (drawing().encode(), first))]
    assert np.abs(shown[0] - shown[1]).max() <= 80  # an edge falls on the other side of a quarter of a pixel
    assert np.abs(shown[0] - shown[1]).mean() < 0.05
    assert typst.__name__


COORDINATE = st.floats(-2000, 2000).map(lambda number: f"{number:.6f}".rstrip("0").rstrip("."))


@st.composite
def paths(draw) -> tuple[str, list[np.ndarray]]:
    """A path as matplotlib writes it, long enough to be shortened, and the points of its parts, closed or open."""
    words, parts = [], []
    for _ in range(draw(st.integers(1, 3))):
        held: list[str] = []
        for command in ["M", *draw(st.lists(st.sampled_from("LQC"), min_size=20, max_size=30))]:
            count = 2 * {"M": 1, "L": 1, "Q": 2, "C": 3}[command]
            numbers = draw(st.lists(COORDINATE, min_size=count, max_size=count))
            words += [command, *numbers]
            held += numbers
        parts.append(np.array(held, float).reshape(-1, 2))
        words += draw(st.sampled_from([["z"], []]))
    return " ".join(words), parts


def points(path: str) -> list[np.ndarray]:
    """The points of a path's parts, absolute, by fontTools' reader, which may add the line that closes one."""
    pen = RecordingPen()
    parse_path(path, pen)
    parts: list[list[tuple[float, float]]] = []
    for name, found in pen.value:
        if name == "moveTo":
            parts.append([])
        parts[-1] += found
    return [np.array(part) for part in parts]


@settings(max_examples=60, deadline=None)
@given(paths())
def test_a_shorter_path_leads_through_the_same_points(given_path):
    """To a hundredth, and made coarse to a tenth, by an independent reader; however long, no error adds up."""
    path, parts = given_path
    svg = f'<svg>Matplotlib v<path d="{path}"/></svg>'.encode()
    small = compressed("svg", svg)
    assert len(small) < len(svg)
    for made, precision in ((small, 0.01), (coarse(small), 0.1), (coarse(svg), 0.1)):
        written = re.search(rb' d="([^"]+)"', made)[1].decode()
        assert re.sub("[^a-z]", "", written) == re.sub("[^a-z]", "", path.lower())
        found = points(written)
        assert len(found) == len(parts)
        for part, truth in zip(found, parts, strict=True):
            assert np.abs(part[: len(truth)] - truth).max() <= precision / 2 + 0.0051


def _set(svg: bytes) -> bytes:
    import typst

    page = (
        f'#set page(width: auto, height: auto, margin: 0pt)\n#image(bytes({json.dumps(svg.decode())}), format: "svg")'
    )
    return typst.compile(page.encode(), format="png", ppi=72)


def test_pixels_inside_a_drawing_stay_and_numbers_of_other_programs_too():
    """A drawing whose unit nobody knows keeps all its decimals."""
    pixels = np.random.default_rng(1).integers(0, 256, (20, 20, 3)).astype(np.uint8) // 64 * 64
    code64 = base64.b64encode(png(pixels)).decode()
    svg = (
        f'<svg viewBox="0 0 1 1"><path d="M 0.12345 0.5"/><image xlink:href="data:image/png;base64,\n{code64}"/></svg>'
    )
    small = compressed("svg", svg.encode())
    embedded = re.search(rb'base64,([^"]*)"', small)[1]
    np.testing.assert_array_equal(pixels_of(base64.b64decode(embedded))[..., :3], pixels)
    assert b"M 0.12345 0.5" in small


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3, 4]), st.integers(1, 300))
def test_every_pixel_inside_a_drawing_stays_as_it_is(seed, channels, shades):
    """Whatever has no colour as well, which a see-through picture may hide; and none gets larger."""
    random = np.random.default_rng(seed)
    palette = np.sort(random.integers(0, 256, (shades, channels), np.uint8), 0)
    pixels = palette[np.sort(random.integers(0, shades, (9, 31)), 1)]
    before = png(pixels.squeeze(-1) if channels == 1 else pixels)
    uri = b"data:image/png;base64," + base64.b64encode(before)
    found = re.search(rb"data:image/(?:png|webp);base64,[^'\"]+", compressed("svg", b'<svg href="%s"/>' % uri))[0]
    np.testing.assert_array_equal(pixels_of(base64.b64decode(found.partition(b",")[2])), pixels_of(before))
    assert len(found) <= len(uri)


def test_colours_inside_a_drawing_are_shorter_as_webp_and_print_the_same():
    """Typst sets the same pixels; a picture with a profile, or with more than 8 bits, stays what it is."""
    ramp = np.linspace(0, 255, 48)[:, None, None] * np.linspace(1, 0.3, 48)[:, None] * [1, 0.6, 0.3]
    pixels = (ramp + np.random.default_rng(0).normal(0, 6, ramp.shape)).clip(0, 255).astype(np.uint8)
    frame = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48" width="48" height="48">'

    def inside(content: bytes) -> bytes:
        uri = "data:image/png;base64," + base64.b64encode(content).decode()
        return f'{frame}<image width="48" height="48" href="{uri}"/></svg>'.encode()

    before = inside(png(pixels))
    after = compressed("svg", before)
    assert b"image/webp" in after
    assert len(after) < len(before)
    printed = [np.array(Image.open(io.BytesIO(_set(svg)))) for svg in (before, after)]
    np.testing.assert_array_equal(*printed)
    for kept in (png(pixels, icc_profile=b"a profile"), png(np.arange(400, dtype=np.uint16).reshape(20, 20))):
        assert base64.b64encode(kept) in compressed("svg", inside(kept))


@pytest.mark.slow
def test_a_picture_that_stands_in_three_places_is_one_file(book):
    """In its chapter, shown once more, and among the runs that are compared; its cover on a card is a lighter one."""
    picture = json.dumps(drawing())
    cell = code(f"from IPython.display import SVG, display\ndisplay(SVG({picture}))")
    cell["metadata"]["mystnb"] = {"figure": {"name": "fig-drawn", "caption": "Drawn."}, "image": {"alt": "drawn"}}
    write_notebook(
        book.root / "experiments" / "alone.ipynb",
        markdown("# Stand alone"),
        code("number: int = 1  # nothing", tags=("parameters",)),
        code("import benchbook", "x = benchbook.value('x', [1.0, 1.5, 2.0])"),
        cell,
    )
    index = (book.root / "book" / "index.md").read_text()
    book.write("book/index.md", f"{index}\n```{{shown}} alone:fig-drawn\n```\n\n```{{runs}}\n```\n")
    profile = (book.root / "profiles" / "quick.yml").read_text()
    sweep = "  - experiment: alone\n    sweep: {number: [1, 2]}\n    show: {number: 1}\n"
    book.write("profiles/quick.yml", profile.replace("  - experiment: alone\n", sweep))
    done = book.run("build", "--no-pdf")
    assert done.returncode == 0, done.stderr
    html = book.root / "_build" / "html"
    drawings = [path for path in html.rglob("*.svg") if "Matplotlib" in path.read_text()]
    assert len(drawings) == 1
    name = drawings[0].name
    assert f"../_images/{name}" in book.html("book/index")
    assert name in book.html("experiments/alone")
    assert (html / "_static" / "runs" / "alone.js").read_text().count(name) == 2
    assert not [*html.rglob("*.map"), *html.rglob("*.ttf")]
    assert re.search(r"\(site \d+\.\d MB, start page \d\.\d MB\)", done.stdout)


def test_too_much_is_said():
    """What is over its limit is named, with the limit."""
    assert size.warnings({"site": 24.9, "PDF": 1}) == []
    (line,) = size.warnings({"site": 26.04, "PDF": 1})
    assert line.startswith("the site has 26.0 MB, more than 25")


@pytest.mark.slow
def test_icons_that_a_page_asks_for_stay_in_the_theme_s_script(book):
    """And the others go."""
    book.run("build", "--no-pdf")
    script = (book.root / "_build" / "html" / "_static" / "scripts" / "fontawesome.js").read_text()
    assert len(script) < 200_000
    assert "bars:[" in script
    assert '"magnifying-glass":[' in script
    assert '"wheelchair-move"' not in script
