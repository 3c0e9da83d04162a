"""The printed book's appendix of values, its bytes, and its layout."""

from __future__ import annotations

import filecmp
import shutil
from pathlib import Path

import pypdf
import pytest

from benchbook import pdf
from benchbook.appendix import TITLE, append_values
from benchbook.object_streams import packed
from tests import layout
from tests.test_pdf import chapters, linked, write_page

ENVIRONMENT = {"machine": "a machine", "device": "cpu", "commit": "abc1234", "packages": {}}
LOSS = {
    "mean": 0.5,
    "value": 0.5,
    "std": 0.1,
    "n": 3,
    "values": [0.4, 0.5, 0.6],
    "unit": "",
    "cell": 4,
    "made_from": [],
}
LOSS |= {"digits": 3}
CLAIM = {
    "holds": False,
    "text": "It is less than one half",
    "left": None,
    "relation": "",
    "right": None,
    "cell": 5,
    "made_from": [],
}
UNCITED = {**LOSS, "mean": 9.75, "value": 9.75}
RESULTS = {
    "values": {"loss": LOSS, "uncited": UNCITED},
    "claims": {"small": CLAIM},
    "environment": ENVIRONMENT,
    "seconds": 12.0,
    "parameters": {"seed": 7, "epochs": 2},
}
EXPERIMENTS = {
    "train": {"title": "Train a network", "results": RESULTS, "changed_parameters": {"epochs": 2}},
    "never": {"title": "Never run", "results": {}, "changed_parameters": {}},
}
PAGE = """<p>The loss is <a class="benchbook-value benchbook-number" href="#values-train-loss">0.5</a>, again
<a class="benchbook-value benchbook-number" href="#values-train-loss">0.5</a>, and so
<a class="benchbook-value benchbook-fails" href="#claims-train-small">no</a>.</p>
<p>Far below: <span id="values-train-loss">loss</span>, <span id="claims-train-small">small</span>.</p>"""
needs_poppler = pytest.mark.skipif(not shutil.which("pdftoppm"), reason="no pdftoppm: apt install poppler-utils")


def test_each_cited_value_and_claim_has_an_entry_to_which_the_text_links(tmp_path):
    """Number with interval, experiment, seeds, device, commit; once each; what nobody cites is not there."""
    page = write_page(tmp_path, PAGE)
    made = pdf.make_pdf(page, tmp_path / "book.pdf", {}, lambda article: append_values(article, EXPERIMENTS))
    reader = pypdf.PdfReader(made)
    pages = chapters(reader)
    assert list(pages) == ["Contents", "Toy", TITLE]
    assert linked(reader, pages["Toy"]) == {pages[TITLE]}
    text = " ".join(reader.pages[pages[TITLE]].extract_text().split())
    # Student's t for two degrees of freedom is 4.303: 0.5 ± 4.303 · 0.1 / √3
    wanted = ["Train a network", "Experiment train", "cpu", "abc1234", "seed = 7", "epochs = 2", "3 seeds"]
    for words in [
        *wanted,
        "0.252 … 0.748",
        "0.400, 0.500, 0.600",
        "cell 4",
        "does not hold",
        "It is less than one half",
    ]:
        assert words in text, words
    assert text.count("small") == 1
    assert "9.75" not in text
    assert "Never run" not in text
    assert pages["Toy"] in linked(reader, pages[TITLE])


def test_a_book_that_cites_nothing_has_no_appendix(tmp_path):
    """Not even an empty one."""
    page = write_page(tmp_path, "<p>Text.</p>")
    made = pdf.make_pdf(page, tmp_path / "book.pdf", {}, lambda article: append_values(article, EXPERIMENTS))
    assert TITLE not in chapters(pypdf.PdfReader(made))


def test_a_document_is_the_same_in_fewer_bytes(tmp_path):
    """Text, bookmarks, links, structure and what the archive standard asks for; what is packed stays as it is."""
    source = '#set document(title: "T")\n#outline()\n' + "\n".join(
        f"= Chapter {n} <c{n}>\nSee @c{n}.\n\n- item\n- item" for n in range(300)
    )
    (tmp_path / "book.typ").write_text("")
    plain = pdf.compiled('#set heading(numbering: "1")\n' + source, tmp_path, 0)
    small = packed(plain)
    assert len(small) < 0.6 * len(plain)
    assert packed(small) == small
    paths = [tmp_path / "plain.pdf", tmp_path / "small.pdf"]
    for path, content in zip(paths, (plain, small), strict=True):
        path.write_bytes(content)
    first, second = map(pypdf.PdfReader, paths)
    assert [page.extract_text() for page in first.pages] == [page.extract_text() for page in second.pages]
    assert chapters(first) == chapters(second)
    assert linked(first, 0) == linked(second, 0) != set()
    assert second.trailer["/Root"]["/StructTreeRoot"]["/Type"] == "/StructTreeRoot"
    assert b"pdfaid:part" in small
    assert second.trailer["/ID"] == first.trailer["/ID"]


LONG = f"https://example.org/{'path/' * 40}"
HOSTILE = f"""
<table><thead><tr>{"".join(f"<th>a_long_column_name_{n}</th>" for n in range(16))}</tr></thead>
<tbody><tr>{"".join(f"<td>-{n}.12345e-10 ± 0.00012345</td>" for n in range(16))}</tr></tbody></table>
<table><tr><td>{"unbroken" * 30}</td><td>next to it</td></tr></table>
<div class="highlight-python"><pre>result = {"f(" * 60}x{")" * 60}  # {"a comment that goes on " * 9}</pre></div>
<div class="math">\\[ {" + ".join(f"x_{{{n}}}" for n in range(60))} \\]</div>
<p><code>{"a.dotted.name." * 20}</code> and <a href="{LONG}">{LONG}</a></p>
"""


@needs_poppler
def test_nothing_hostile_leaves_the_margins_or_is_printed_over_anything(tmp_path):
    """A table too wide, words and code without a place to break, a formula of sixty terms; and the measure measures."""
    made = pdf.make_pdf(write_page(tmp_path, HOSTILE), tmp_path / "book.pdf", {})
    assert [found for found in layout.outside(made) if found[0] > 2] == []
    assert list(layout.overprinted(made)) == []
    spoilt = '#set document(title: "T")\nbelow #box(width: 30cm, fill: black)[x]\n#place(top + left)[above]'
    (tmp_path / "spoilt.pdf").write_bytes(pdf.compiled(spoilt, tmp_path, 0))
    assert (1, "right") in layout.outside(tmp_path / "spoilt.pdf")
    assert (1, "above", "below") in layout.overprinted(tmp_path / "spoilt.pdf")


@pytest.mark.slow
def test_the_same_runs_give_the_same_site_and_the_same_pdf(book, tmp_path):
    """Built in two folders, in two time zones and with other seeds of Python's hashes: no byte differs."""
    done = book.run("build", TZ="Pacific/Auckland", PYTHONHASHSEED="1")
    assert done.returncode == 0, done.stderr
    other = type(book)(tmp_path / "elsewhere" / "copy")
    shutil.copytree(book.root, other.root, ignore=shutil.ignore_patterns("_build"))
    done = other.run("build", "--no-run", TZ="UTC", PYTHONHASHSEED="2")
    assert done.returncode == 0, done.stderr
    first, second = (root / "_build" for root in (book.root, other.root))
    names = sorted(path.relative_to(first) for path in (first / "html").rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second) for path in (second / "html").rglob("*") if path.is_file())
    same, differing, lost = filecmp.cmpfiles(first, second, [*names, Path("book.pdf")], shallow=False)
    assert (differing, lost) == ([], [])
    assert len(same) > 50
    assert TITLE in chapters(pypdf.PdfReader(first / "book.pdf"))
    assert (first / "book.pdf").stat().st_size < 15e6
