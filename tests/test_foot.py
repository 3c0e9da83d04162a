"""Every page says how it was made and where its source is; every number, on a click or Enter, where it comes from."""

from __future__ import annotations

import base64
import io
import json
import re
from types import SimpleNamespace

import pytest
from conftest import code, markdown, write_notebook
from PIL import Image

from benchbook.covers import WIDTH, lighter, smaller
from benchbook.foot import chapter_foot, repository
from benchbook.provenance import every

DRAW = 'from IPython.display import SVG, display\ndisplay(SVG(\'<svg xmlns="{}" viewBox="0 0 9 9"/>\'))'


def text_of(html: str) -> str:
    """What a page says, without its elements."""
    return " ".join(re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL).split())


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("", {}),
        (
            "https://github.com/o/r",
            {
                "view source": "https://github.com/o/r/blob/main/docs/experiments/a%20b.ipynb",
                "open in Colab": "https://colab.research.google.com/github/o/r/blob/main/docs/experiments/a%20b.ipynb",
            },
        ),
        ("https://gitlab.com/o/r", {"view source": "https://gitlab.com/o/r/-/blob/main/docs/experiments/a%20b.ipynb"}),
    ],
)
def test_a_page_leads_to_its_source_where_there_is_a_repository(tmp_path, url, found):
    """By the repository's own form of addresses; Colab opens what is on GitHub."""
    config = SimpleNamespace(benchbook_repository=(url, "main", "docs"))
    env = SimpleNamespace(config=config, srcdir=tmp_path, doc2path=lambda page: str(tmp_path / f"{page}.ipynb"))
    assert repository(env, "experiments/a b") == found


def test_a_cover_has_no_more_pixels_than_a_card():
    """A picture of many pixels in a drawing becomes a small one in the same place; outlines keep their transparency."""
    drawing = f'<svg viewBox="0 0 {WIDTH} 9">{{}}</svg>'
    for mode, colour in {"RGB": (9, 9, 9), "RGBA": (9, 9, 9, 0)}.items():
        target = io.BytesIO()
        noise = Image.effect_noise((400, 400), 90).convert(mode)
        noise.paste(colour, (0, 0, 10, 10))
        noise.save(target, "PNG")
        pixels = base64.b64encode(target.getvalue()).decode()
        place = 'transform="matrix(0.1 0 0 0.1 5 7)" width="400"'
        image = f'<path d="M 1.2345 -6.96 L 7 8"/><image xlink:href="data:image/png;base64,\n{pixels}" {place}/>'
        found = lighter(drawing.format(image).encode()).decode()
        small = Image.open(io.BytesIO(base64.b64decode(re.search(r"data:image/webp;base64,([^\"]+)", found)[1])))
        assert small.size == (40, 40)
        assert (small.convert("RGBA").getpixel((0, 0))[3] < 255) == (mode == "RGBA")
        assert '<path d="M 1.2 -7 L 7 8"/>' in found
        assert place in found


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_cover_of_pixels_is_on_white(mode):
    """What is transparent shows the page's paper, which no card has behind it; what is not keeps its colour."""
    picture = Image.new("RGBA", (2 * WIDTH, WIDTH), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (WIDTH, 0, 2 * WIDTH, WIDTH))
    held = io.BytesIO()
    picture.convert(mode).save(held, "PNG", **({"transparency": 0} if mode == "P" else {}))
    kind, content = smaller(held.getvalue())
    found = Image.open(io.BytesIO(content))
    assert (kind, found.mode, found.size) == ("png", "RGB", (WIDTH, WIDTH // 2))
    assert [found.getpixel((x, 9)) for x in (9, WIDTH - 9)] == [(255,) * 3, (0,) * 3]


@pytest.mark.parametrize(("profile", "words"), [("quick", ""), ("full", " --profile full")])
def test_the_command_of_a_chapter_names_its_profile(tmp_path, profile, words):
    """Where it is not the default one, for it decides which runs are needed."""
    entry = {"page": "experiments/a", "parameters": {}, "changed_parameters": {"n": 4}, "results": None}
    (tmp_path / "state.json").write_text(json.dumps({"profile": {"name": profile}, "experiments": {"a": entry}}))
    config = SimpleNamespace(benchbook_state="state.json", benchbook_pdf=False, benchbook_repository=None)
    foot = chapter_foot(SimpleNamespace(srcdir=tmp_path, config=config), "a")
    assert f"makes this page again: benchbook run a -p n=4{words}\n" in foot.astext()


@pytest.fixture
def made(book):
    """The small book in a repository; `alone` has a figure that stands for it, and a headline."""
    figure = code(*DRAW.format("http://www.w3.org/2000/svg").split("\n"))
    figure["metadata"]["mystnb"] = {
        "figure": {"name": "fig-nine", "caption": "Nine by nine, say (v. 2). More of it."},
        "image": {"alt": "Nothing"},
    }
    path = book.root / "experiments" / "alone.ipynb"
    numbers = code("import benchbook", "x = benchbook.value('x', [1.0, 1.5, 2.0])")
    question = markdown("# Stand alone\n\nWhat is it?\n\nIt is {value}`x`.\n\n## Later\n")
    write_notebook(path, question, numbers, figure)
    looks = '"metadata": {"benchbook": {"cover": "fig-nine", "headline": "x"}, "kernelspec"'
    path.write_text(path.read_text().replace('"metadata": {"kernelspec"', looks))
    book.write(
        "_config.yml",
        "title: Toy\nonly_build_toc_files: true\nrepository: {url: https://github.com/o/r, branch: dev}\n",
    )
    return book


@pytest.mark.slow
def test_every_page_says_how_it_was_made(made):
    """State, profile, time, commands, downloads, source; the cover beside the opening; what is missing says so."""
    assert made.run("build", "--no-pdf").returncode == 0
    chapter, prose, index = (made.html(page) for page in ("experiments/double", "book/claims", "book/index"))
    assert "benchbook run double -p number=4" in text_of(chapter)
    assert "benchbook build --profile quick" in text_of(prose)
    assert re.search(
        r"Quick profile \(a reduced run\) · numbers of 2 runs: 2 ok · .* of running · .*python 3", text_of(prose)
    )
    for name, suffix in {"experiments/double": "ipynb", "book/claims": "md"}.items():
        assert f'href="https://github.com/o/r/blob/dev/{name}.{suffix}">view source</a>' in made.html(name)
    assert ("open in Colab" in chapter, "open in Colab" in prose) == (True, False)
    assert "book.pdf" not in chapter  # none was made
    downloads = re.findall(r'href="\.\./(_static/downloads/[^"]+)"', chapter)
    assert len(downloads) == 3
    assert all((made.root / "_build" / "html" / file).is_file() for file in downloads)
    alone = made.html("experiments/alone")
    cover = re.search(r'(?s)<div class="benchbook-cover.*?</div>', alone)[0]
    assert alone.index("What is it?") < alone.index(cover) < alone.index("It is <button")
    assert cover.count('href="#fig-nine"') == 2
    assert "Nine by nine, say (v. 2). To the figure" in text_of(cover)
    folded = re.search(r"(?s)<details class=\"benchbook-records.*?</details>", alone)[0]
    assert text_of(folded) == "Recorded here: 1 value x = 1.50 ± 0.50"
    assert "Stand alone x: 1.50 ± 0.50" in text_of(index)
    assert text_of(index).count("seeds 1.50 ± 0.50 over 3; 95 % interval") == 1  # one box for all places
    path = made.root / "experiments" / "alone.ipynb"
    path.write_text(path.read_text().replace("x = ", "y = "))
    made.run("build", "--no-pdf", "--no-run")
    missing = re.search(
        r'<button class="benchbook-missing".*?</span></span>|<button class="benchbook-missing".*',
        made.html("book/index"),
    )
    assert "no run has produced alone:x yet" in missing[0]


@pytest.mark.slow
@pytest.mark.browser
def test_a_number_answers_by_keyboard(made, page):
    """Enter opens its provenance, Tab reaches the cell, Escape gives the focus back; so it is for a verdict."""
    assert made.run("build", "--no-pdf").returncode == 0
    page.open(made.root / "_build" / "html" / "book" / "index.html")
    number = page.locator("p > button.benchbook-value").first
    for button, says in {number: "value twice", page.locator(".benchbook-holds").last: "claim bigger"}.items():
        button.press("Enter")
        box = page.locator(".benchbook-popover:popover-open")
        said = " ".join(box.inner_text().split())
        assert says in said
        assert "experiment Double a number" in said
        assert "parameters number = 4; all others as by default profile Quick (a reduced run) machine" in said
        page.keyboard.press("Tab")
        cell = page.locator("a:focus")
        assert cell.inner_text() == f"cell {2 if says == 'value twice' else 3}"
        page.keyboard.press("Escape")
        box.wait_for(state="hidden")
        assert button.evaluate("button => button === document.activeElement")
    number.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/double.html#cell-2")
    assert page.locator("#cell-2").is_visible()
    assert page.problems == []


def test_of_many_results_a_few_are_listed():
    """Twelve seeds stand there one by one; of two hundred the first twelve, and that there are two hundred."""
    assert every({"values": [1, 2, 3]}) == "1, 2, 3"
    assert every({"values": [*range(200)]}) == ", ".join(map(str, range(12))) + ", … (200 in all)"
