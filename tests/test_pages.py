"""A book's pages open anywhere, for everybody; and what is wrong with a page or a link is found."""

from __future__ import annotations

import pypdf.annotations
import pytest
from conftest import code, markdown, write_notebook

from tests.links import external_links, wrong_links, wrong_links_of_pdf
from tests.pages import check, inaccessible, wrong_page

PROSE = """# All that a page may hold

{value}`double:twice` and {claim}`double:bigger`, {value}`alone:x`, {cite}`byron1843`, and $\\sum_{k=1}^{n} k^2$.

$$x = \\left(\\begin{matrix} 1 & 2 & 3 & 4 & 5 & 6 & 7 & 8 & 9 & 10 & 11 & 12 & 13 & 14 & 15 \\end{matrix}\\right) y$$

A wide formula in a line: $a_1 + a_2 + a_3 + a_4 + a_5 + a_6 + a_7 + a_8 + a_9 + a_{10} + a_{11} + a_{12} = b$, and
`--a-very-long-option-of-a-program-without-any-place-to-break-it`. See [doubling](../experiments/double.ipynb).

| one | two | three | four | five | six | seven | eight | nine | ten |
|---|---|---|---|---|---|---|---|---|---|
| 1,000,000 | 2,000,000 | 3,000,000 | 4,000,000 | 5,000,000 | 6,000,000 | 7,000,000 | 8,000,000 | 9,000,000 | 10 |

```python
def a_function_with_a_long_signature(number_of_pictures: int, number_of_colours: int, learning_rate: float) -> None: ...
```

```{note}
Remarks have colours of their own.
```
"""
REFERENCES = """@article{byron1843,
  author = {Byron, Ada}, title = {Notes}, journal = {Memoirs}, year = {1843}, doi = {10.1000/182}
}
"""
FAULTY = """<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8"><title>t</title>
<script>matchMedia('(prefers-color-scheme: dark)').onchange = e =>
  document.documentElement.dataset.theme = e.matches ? 'dark' : 'light'; console.error('said aloud')</script>
<style>html[data-theme=dark] .dim { color: #333; background: #222 } .pale { color: #ddd }</style>
<main><h1>Title</h1><p class="pale">too pale</p><p class="dim">dim at night</p><img src="nowhere.png">
<input type="range" aria-label="stuck" onkeydown="event.preventDefault()"><p>{}</p>
<span class="math">x^2</span><div class="math" id="long" style="width: 9em"><mjx-container style="display: block;
  overflow: auto"><svg width="900" height="9"></svg></mjx-container></div></main>"""


@pytest.mark.slow
@pytest.mark.browser
def test_every_page_of_a_book_is_for_everybody(book, page):
    """Loads, is typeset, accessible in light and dark, readable on a telephone; links lead somewhere; search finds."""
    book.write("book/all.md", PROSE)
    book.write("book/refs.bib", REFERENCES)
    book.write("book/references.md", "# References\n\n```{bibliography}\n```\n")
    book.write("book/runs.md", "# Runs\n\n```{runs}\n```\n")
    book.write("_config.yml", "title: Toy\nonly_build_toc_files: true\nbibtex_bibfiles: [book/refs.bib]\n")
    toc = (book.root / "_toc.yml").read_text()
    book.write("_toc.yml", toc + "".join(f"  - file: book/{name}\n" for name in ("all", "runs", "references")))
    slider = "Scrubber(x=[0, 1], truth=[0, 1], frames=[[0, 0], [0, 1]], labels=['a', 'b'], alt='A line')"
    write_notebook(
        book.root / "experiments" / "alone.ipynb",
        markdown("# Stand alone"),
        code("import benchbook", "x = benchbook.value('x', [1.0, 1.5, 2.0])"),
        code("from convnets.scrubber import Scrubber", slider),
    )
    done = book.run("build")
    assert done.returncode == 0, done.stderr
    site = book.root / "_build" / "html"
    assert wrong_links(site) == []
    assert external_links(site) == {"https://doi.org/10.1000/182": 1}
    assert wrong_links_of_pdf(book.root / "_build" / "book.pdf") == []
    assert check(page, site, "remarks colours") == []
    page.open(site / "book" / "all.html")
    page.locator(".benchbook-value").first.press("Enter")
    assert inaccessible(page) == []


@pytest.mark.browser
def test_what_is_wrong_with_a_page_is_found(tmp_path, page):
    """Errors, failed requests, formulas bare or cut, stuck sliders, no labels, low contrast, sideways scrolling."""
    path = tmp_path / "page.html"
    path.write_text(FAULTY.replace("{}", "wide" * 100))
    found = "\n".join(wrong_page(page, path))
    for fault in (
        "said aloud",
        "nowhere.png",
        "mathematics without",
        "a slider stays",
        "image-alt",
        "too pale",
        "formula long",
    ):
        assert fault in found
    assert "in dark mode: color-contrast (serious, 2 places)" in found
    assert "on a narrow screen: scrolls sideways to" in found
    good = '<!doctype html><html lang="en" data-theme="dark"><title>t</title><main><h1>Title</h1><p>Text</p></main>'
    path.write_text(good)
    assert wrong_page(page, path) == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('<a href="b.html">', "b.html leads to no file"),
        ('<a href="#there">', "#there leads to no anchor"),
        ('<a href="a.html#there">', "a.html#there leads to no anchor"),
        ('<a href="https://exam ple.org">', "names no host"),
        ('<a href="https://example.org/a b">', "has signs"),
        ('<a href="http:///path">', "names no host"),
        ('<a href="file:///etc/passwd">', "no other machine knows"),
        ('<img src="https://example.org/a.png">', "from the network"),
        ('<script src="//example.org/a.js"></script>', "from the network"),
        ("<style>@import 'https://example.org/a.css';</style>", "from the network"),
        ('<img srcset="a.html 1x, b.png 2x">', "b.png leads to no file"),
        ('<meta http-equiv="Refresh" content="0; url=b.html">', "b.html leads to no file"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(tmp_path, line, says):
    """The one line names page, address and fault."""
    (tmp_path / "a.html").write_text(line)
    (found,) = wrong_links(tmp_path)
    assert found.startswith("a.html")
    assert says in found


def test_links_that_lead_somewhere_are_not_complained_of(tmp_path):
    """Anchors by id and by name, files with spaces, queries, odd addresses in the network."""
    (tmp_path / "a b.html").write_text('<p id="x"><a name="ü">')
    links = ("#", "a%20b.html#x", "a%20b.html?q=1#%C3%BC", "mailto:a@b.org", "https://a.org/~b/c_(d)?e=f&g#h")
    (tmp_path / "c.html").write_text("".join(f'<a href="{link}">' for link in links) + '<img src="data:,x">')
    assert wrong_links(tmp_path) == []


def test_a_link_of_a_pdf_that_leads_nowhere_is_found(tmp_path):
    """To a name that nothing has, and to an address without a host; one to a page is well."""
    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    box = pypdf.generic.RectangleObject((0, 0, 9, 9))
    writer.add_annotation(0, pypdf.annotations.Link(rect=box, target_page_index=0))
    for address in ("https://example.org", "https://exam ple"):
        writer.add_annotation(0, pypdf.annotations.Link(rect=box, url=address))
    lost = pypdf.annotations.Link(rect=box, url="https://example.org")
    lost[pypdf.generic.NameObject("/A")] = pypdf.generic.DictionaryObject(
        {pypdf.generic.NameObject("/D"): pypdf.generic.TextStringObject("lost")}
    )
    writer.add_annotation(0, lost)
    writer.write(tmp_path / "a.pdf")
    found = wrong_links_of_pdf(tmp_path / "a.pdf")
    assert [line.split(": ", 1)[0] for line in found] == ["a.pdf, page 1"] * 2
    assert "exam ple" in found[0]
    assert "'lost'" in found[1]
