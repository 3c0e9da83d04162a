"""The PDF: a small Jupyter Book with everything in it, set and looked at again."""

from __future__ import annotations

import base64
import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import nbformat
import pypdf
import pytest
import typst
from nbformat import v4
from PIL import Image, ImageChops

from benchbook import mend, pdf
from benchbook.errors import BookError

matplotlib.use("Agg")

SETTINGS = {
    "title": "Grey and colour",
    "subtitle": "A toy",
    "author": "A. Student",
    "course": "Vision",
    "date": "2026-11-21",
}
CONFIG = """\
title: Toy
execute: {execute_notebooks: "off"}
bibtex_bibfiles: [references.bib]
only_build_toc_files: true
parse: {myst_enable_extensions: [amsmath, dollarmath, deflist]}
sphinx: {config: {bibtex_reference_style: label, mathjax3_config: {tex: {macros: {R: "\\\\mathbb{R}"}}}}}
"""
TOC = """\
format: jb-book
root: book/index
chapters:
  - {file: features, sections: [{file: detail}]}
  - file: horse
  - file: references
"""
BIBLIOGRAPHY = "@book{knuth, author={Knuth, Donald E.}, title={Literate Programming}, publisher={CSLI}, year={1992}}\n"
FEATURES = r"""# Every *feature*

<div class="benchbook-badge benchbook-state-ok benchbook-reduced">Quick profile</div>
<div class="benchbook-screen-only">Only on the screen.</div><div class="benchbook-print-only">Only on paper.</div>
<button>Press</button>

A value, <a class="benchbook-value" href="#values-horse-x">61.2 %</a>, and
<span class="benchbook-claim benchbook-fails">a claim</span>.
Specials: # $ @ * _ < [x] ~ \\ // `` ` `` = - 🎉 ✅ Ελλ. A note[^one], once more[^one], {cite}`knuth`.

[^one]: What the note says.

(sec-maths)=
## Mathematics

Inline $\R^n$, and {eq}`eq-gauss` in {ref}`sec-maths`.

$$ \int e^{-x^2}\,\mathrm{d}x = \sqrt{\pi} $$ (eq-gauss)

$$ \unknowncommand{x} $$

$$ aaaaaaaaaaaaaaa + bbbbbbbbbbbbbbbbbbbbbbbbbb + cccccccccccccccccccccccc + dddddddddddddddddddddddddddd + eeeee $$

## Tables and pictures

```{figure} wide.png
:name: fig-wide
:alt: A wide curve
:width: 3000px

A caption.
```

See {numref}`fig-wide`.

| Model | Error | A long header that takes a great deal of room in this table, more than there is |
|:--|--:|:-:|
| UNet | 0.1 | `a_very_long_name_that_cannot_be_broken_anywhere.but_at_its.joints` |

```{warning}
Mind the step.
```

```python
result = model(images).sub(labels).square().mean()  # a comment that goes on beyond the right margin of the page
```

Term
: Its definition.

1. one
   - nested
"""


def notebook() -> nbformat.NotebookNode:
    """A notebook with outputs: text, PNG, SVG, a table of many columns, a hidden input."""

    def cell(source: str, tags: tuple[str, ...] = (), alt: str = "", **data: str) -> nbformat.NotebookNode:
        outputs = [v4.new_output("display_data", data={key.replace("__", "/"): text for key, text in data.items()})]
        return v4.new_code_cell(
            source, outputs=outputs, metadata={"tags": list(tags), "mystnb": {"image": {"alt": alt}}}
        )

    header = "".join(f"<th>column_{n}</th>" for n in range(14))
    row = "".join(f"<td>-{n}.1234</td>" for n in range(14))
    table = f"<table><thead><tr>{header}</tr></thead><tbody><tr>{row}</tr></tbody></table>"
    made = v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}})
    drawn = v4.new_output("display_data", data={"image/svg+xml": curve("svg").decode()})
    caption = {"image": {"alt": "A drawn curve"}, "figure": {"caption": "Drawn.", "name": "fig-drawn"}}
    made.cells = [
        v4.new_markdown_cell(
            "# Colour a horse\n\n## Results\n\nSee [the start](book/index.md) and {eq}`eq-gauss`, {cite}`knuth`."
        ),
        cell("SECRET = 1", ("hide-input",), text__plain="kept output " + "x" * 200),
        cell("plot()", alt="A curve that rises", image__png=base64.b64encode(curve("png")).decode()),
        v4.new_code_cell("plot_svg()", outputs=[drawn], metadata={"mystnb": caption}),
        cell("frame", text__html=table),
        v4.new_markdown_cell('<span id="values-horse-x">x</span> is a value.'),
    ]
    return made


def curve(kind: str, width: float = 6, height: float = 3) -> bytes:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(width, height))
    axes.plot([0, 1, 4])
    held = io.BytesIO()
    figure.savefig(held, format=kind)
    plt.close(figure)
    return held.getvalue()


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The singlehtml build of a small book."""
    root = tmp_path_factory.mktemp("toy")
    (root / "book").mkdir()
    files = {"_config.yml": CONFIG, "_toc.yml": TOC, "references.bib": BIBLIOGRAPHY, "features.md": FEATURES}
    files["book/index.md"] = "# Start here\n\nRead [the features](../features.md), or [nothing](nowhere.html#x).\n"
    files["detail.md"] = "# A detail\n\n## Deeper\n\nSee {ref}`sec-maths`.\n"
    files["references.md"] = "# Bibliography\n\n```{bibliography}\n```\n"
    for name, text in files.items():
        (root / name).write_text(text)
    (root / "wide.png").write_bytes(curve("png", 20, 3))
    nbformat.write(notebook(), root / "horse.ipynb")
    words = [
        "-c",
        "from jupyter_book.cli.main import main; main()",
        "build",
        "--builder",
        "custom",
        "--custom-builder",
        "singlehtml",
        ".",
    ]
    done = subprocess.run([sys.executable, *words], cwd=root, capture_output=True, text=True, check=False)
    assert (root / "_build/singlehtml/index.html").is_file(), done.stdout + done.stderr
    return root / "_build" / "singlehtml"


@pytest.fixture(scope="module")
def made(single: Path) -> tuple[pypdf.PdfReader, str]:
    """The PDF of that book, and what was logged."""
    held = io.StringIO()
    handler = logging.StreamHandler(held)
    mend.log.addHandler(handler)
    path = pdf.make_pdf(single, single.parent / "book.pdf", SETTINGS)
    mend.log.removeHandler(handler)
    return pypdf.PdfReader(path), held.getvalue()


@pytest.fixture(scope="module")
def reader(made: tuple[pypdf.PdfReader, str]) -> pypdf.PdfReader:
    return made[0]


@pytest.fixture(scope="module")
def texts(reader: pypdf.PdfReader) -> list[str]:
    return [" ".join(page.extract_text().split()) for page in reader.pages]


def chapters(reader: pypdf.PdfReader) -> dict[str, int]:
    """The top-level bookmarks and their pages."""
    return {
        entry.title: reader.get_destination_page_number(entry)
        for entry in reader.outline
        if not isinstance(entry, list)
    }


def linked(reader: pypdf.PdfReader, number: int) -> set[int]:
    """The pages that a page's inner links lead to."""
    found = set()
    for annotation in reader.pages[number].get("/Annots") or []:
        held = annotation.get_object()
        goal = held.get("/Dest") or held.get("/A", {}).get("/D")
        if goal is not None:
            goal = reader.named_destinations[goal].dest_array if isinstance(goal, str) else goal
            found.add(reader.get_page_number(goal[0].get_object()))
    return found


def write_page(folder: Path, body: str) -> Path:
    (folder / "index.html").write_text(f'<article><section id="toy"><h1>Toy</h1>{body}</section></article>')
    return folder


def test_title_page_and_metadata_come_from_the_settings(reader, texts):
    """The first page carries what the settings say, and so does the file's metadata."""
    assert texts[0] == "Grey and colour A toy A. Student Vision 21 November 2026"
    assert (reader.metadata.title, reader.metadata.author) == ("Grey and colour", "A. Student")
    assert reader.metadata.creation_date.date().isoformat() == "2026-11-21"
    assert reader.trailer["/Root"]["/Lang"] == "en-GB"


def test_chapters_are_bookmarks_each_on_a_page_of_its_own(reader, texts):
    """Every top-level document is a chapter in the order of the contents; start and bibliography have no number."""
    pages = chapters(reader)
    assert list(pages) == ["Contents", "Start here", "1 Every feature", "2 Colour a horse", "Bibliography"]
    assert len(set(pages.values())) == len(pages)
    assert texts[pages["1 Every feature"]].lower().startswith("chapter 1 every feature")
    assert texts[pages["Bibliography"]].startswith("Bibliography [Knu92] Donald E. Knuth.")


def test_the_contents_name_sections_with_their_pages(reader, texts):
    """Chapters and sections stand in the contents with numbers and page numbers, and link to their places."""
    assert "1 Every feature" in texts[1]
    assert "1.1 Mathematics" in texts[1]
    assert "1.3 A detail" in texts[1]
    assert "2.1 Results" in texts[1]
    assert reader.page_labels[1] == "ii"
    assert reader.page_labels[2] == "1"
    assert set(chapters(reader).values()) - {1} <= linked(reader, 1)


def test_pages_inside_a_chapter_carry_its_title(reader, texts):
    """A running header on every page but the one that the chapter opens on."""
    first = chapters(reader)["1 Every feature"]
    assert texts[first].lower().count("every feature") == 1
    assert texts[first + 1].lower().startswith("1 every feature")


def test_every_inner_link_leads_to_a_page_and_citations_to_the_bibliography(reader):
    """Cross-references between documents resolve, also where two documents use the same id."""
    pages = chapters(reader)
    assert linked(reader, pages["Start here"]) == {pages["1 Every feature"]}
    wanted = {pages[title] for title in ("Start here", "1 Every feature", "Bibliography")}
    assert wanted <= linked(reader, pages["2 Colour a horse"])


def test_what_is_lost_is_said(made):
    """A link without a target, a formula that does not convert and a sign without a glyph each give a warning."""
    said = made[1]
    assert "“Start here”: the link to #nowhere.html#x has no target" in said
    assert r"“Every feature”: this formula does not convert and is printed as TeX: \unknowncommand{x}" in said
    assert "U+1F389" in said
    assert len(said.splitlines()) == 3


def test_text_arrives_whole_and_only_what_belongs_on_paper(texts):
    """Special characters are themselves; screen-only parts, buttons, header marks and hidden inputs are gone."""
    everything = " ".join(texts)
    assert "Specials: # $ @ * _ < [x] ~ \\ // ` = - (party popper) ✓ Ελλ." in everything
    for wanted in (
        "Only on paper.",
        "Quick profile",
        "kept output",
        "What the note says.",
        "Its definition.",
        "Mind the step.",
    ):
        assert everything.count(wanted) == 1, wanted
    for unwanted in ("Only on the screen", "Press", "SECRET", "Show code", "¶"):
        assert unwanted not in everything
    assert "\\unknowncommand{x}" in everything


def test_numbers_of_equations_figures_and_references_are_those_of_the_web_page(texts):
    """Equation (1), Fig. 1, and what refers to them."""
    everything = " ".join(texts)
    assert everything.count("(1)") == 3
    assert "Fig. 1" in everything
    assert "See Fig. 1" in everything
    assert "[Knu92]" in everything


def test_pictures_and_formulas_can_be_read_aloud(reader):
    """Every picture carries its alt text and every formula its TeX into the PDF's structure."""
    spoken = []

    def walk(node):
        node = node.get_object()
        if isinstance(node, list):
            for child in node:
                walk(child)
        elif isinstance(node, dict):
            if "/Alt" in node:
                spoken.append(str(node["/Alt"]))
            if "/K" in node:
                walk(node["/K"])

    walk(reader.trailer["/Root"]["/StructTreeRoot"])
    assert {"A wide curve", "A curve that rises", "A drawn curve", r"\R^n"} <= set(spoken)


def test_nothing_leaves_the_measure(single, tmp_path):
    """Wide tables, pictures, formulas and code stay between the margins (punctuation may hang a little)."""
    article, macros = mend.read(single)
    mend.mend(article, macros, single, tmp_path)
    (tmp_path / "main.typ").write_text(pdf.written(article, {**pdf.DEFAULTS, **SETTINGS}))
    (tmp_path / "book.typ").write_bytes(Path(pdf.__file__).with_name("book.typ").read_bytes())
    pages = typst.compile(tmp_path / "main.typ", root=tmp_path, format="png", ppi=60, ignore_system_fonts=True)
    for page in pages:
        image = Image.open(io.BytesIO(page)).convert("L")
        left, top, right, bottom = ImageChops.invert(image).point(lambda level: 255 * (level > 24)).getbbox()
        assert left >= 0.155 * image.width
        assert right <= 0.845 * image.width
        assert top > 0
        assert bottom < image.height


def test_a_table_taller_than_half_a_page_goes_on_where_the_page_ends(tmp_path):
    """However few its rows are: each is printed once, and they begin on the first page. A shorter one stays whole."""
    (tmp_path / "book.typ").write_bytes(Path(pdf.__file__).with_name("book.typ").read_bytes())

    def rows_by_page(lines: int) -> list[list[str]]:
        text = " \\ ".join(["line"] * lines)
        cells = ", ".join(f"[R{row}], [{text}]" for row in range(18))
        table = f'#data-table(align: (left, left), widest: ("R10", "line"), full: ("R10", "line"), {cells})'
        (tmp_path / "main.typ").write_text(f'#import "book.typ": *\n#v(16cm)\n{table}')
        made = typst.compile(tmp_path / "main.typ", root=tmp_path, ignore_system_fonts=True)
        pages = pypdf.PdfReader(io.BytesIO(made)).pages
        return [[word for word in page.extract_text().split() if word[0] == "R"] for page in pages]

    wanted = [f"R{row}" for row in range(18)]
    tall = rows_by_page(lines=4)
    assert [row for page in tall for row in page] == wanted
    assert all(tall)
    assert rows_by_page(lines=1) == [[], wanted]


def test_the_same_page_gives_the_same_bytes(single, tmp_path):
    """Two runs, two folders, two time zones: one file; it says that it is PDF/A."""
    first = pdf.make_pdf(single, tmp_path / "a" / "one.pdf", SETTINGS).read_bytes()
    script = "import sys, benchbook.pdf; benchbook.pdf.make_pdf(sys.argv[1], sys.argv[2], eval(sys.argv[3]))"
    words = [sys.executable, "-c", script, single, tmp_path / "two.pdf", repr(SETTINGS)]
    subprocess.run(words, check=True, capture_output=True, env={**os.environ, "TZ": "Pacific/Auckland"})
    assert (tmp_path / "two.pdf").read_bytes() == first
    assert b"pdfaid:part" in first


def test_without_settings_the_book_names_itself(tmp_path):
    """The title is then the start page's, and the file's date a constant."""
    path = pdf.make_pdf(write_page(tmp_path, "<p>Text.</p>"), tmp_path / "book.pdf", {})
    found = pypdf.PdfReader(path).metadata
    assert (found.title, found.creation_date.year) == ("Toy", 1980)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('<p><img src="gone.png" alt="x"></p>', "PDF: “Toy”: the image gone.png is not in "),
        ('<p><img src="data:image/png;base64,AAAA" alt="x"></p>', "PDF: Typst refuses “Toy”: "),
    ],
)
def test_an_error_is_one_line_that_names_the_chapter(tmp_path, body, message):
    """A missing picture and a refusal by Typst say where, and leave the PDF that was there alone."""
    (tmp_path / "book.pdf").write_text("before")
    with pytest.raises(BookError) as raised:
        pdf.make_pdf(write_page(tmp_path, body), tmp_path / "book.pdf", {})
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
    assert (tmp_path / "book.pdf").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["book.pdf", "index.html"]


def test_a_folder_without_a_page_is_said_plainly(tmp_path):
    """No index.html: which folder, and what to do."""
    with pytest.raises(BookError, match=r"no index\.html in .*singlehtml builder"):
        pdf.make_pdf(tmp_path, tmp_path / "book.pdf", {})


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>a <em>b</em>(c)</p>", "a b(c)"),
        ("<p>x<sup>2</sup> H<sub>2</sub>O <kbd>Ctrl</kbd></p>", "x2 H2O Ctrl"),
        (
            '<p><abbr title="graphics processor">GPU</abbr>, <abbr title="graphics processor">GPU</abbr></p>',
            "GPU (graphics processor), GPU",
        ),
        ("<ul><li>a<ul><li>b</li></ul></li></ul>", "• a – b"),
        ('<ol start="3"><li>a</li><li>b</li></ol>', "3. a 4. b"),
        ("<blockquote><p>said</p></blockquote>", "said"),
        ("<table><tr><th>h</th><th>i</th></tr><tr><td colspan='2'>-1</td></tr></table>", "h i −1"),
        ("<details><summary>More</summary><p>text</p></details>", "More text"),
        ("<div class='output'><h3>Loose</h3></div>", "Loose"),
        ("<p>shown<noscript> still</noscript><script>no()</script><!-- no --></p>", "shown still"),
        ("<p><svg viewBox='0 0 9 9' width='9' height='9' aria-label='dot'><circle r='4'/></svg>dot</p>", "dot"),
    ],
)
def test_html_of_every_kind_is_set(tmp_path, html, expected, caplog):
    """What the engine writes is valid Typst whatever stands next to what, and its text is the page's."""
    path = pdf.make_pdf(write_page(tmp_path, html), tmp_path / "book.pdf", {})
    assert " ".join(pypdf.PdfReader(path).pages[2].extract_text().split()) == f"Toy {expected} 1"
    assert not caplog.records
