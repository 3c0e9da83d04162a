"""Outputs, titles, values, parameters, names and errors that want to act on a page: in Chromium and in the PDF."""

from __future__ import annotations

import json
import random
import re

import pytest
from conftest import Book, code, markdown, write_notebook

from benchbook import outputs

HACK = "window.hacked=1"
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"{}>{}<rect width="9" height="9"/></svg>'
HTML = (
    f"<script>{HACK}</script>",
    f"<img src=x onerror='{HACK}'>",
    f"<svg onload='{HACK}'></svg>",
    f"<iframe srcdoc='<script>parent.{HACK}</script>'></iframe>",
    f"<a class='hostile' href='javascript:{HACK}'>hostile</a>",
    f"<a class='hostile' href='  jAvA&#x0A;script:{HACK}'>hostile</a>",
    f"<form action='javascript:{HACK}'><button class='hostile'>hostile</button></form>",
    f"<math><mtext><table><mglyph><style><img src=x onerror='{HACK}'></style></table></mtext></math>",
    f"<details open ontoggle='{HACK}'>hostile</details>",
    f"<style>@import 'javascript:{HACK}';</style><object data='javascript:{HACK}'></object>",
    f"<template><script>{HACK}</script></template><noscript><p title='</noscript><script>{HACK}</script>'></noscript>",
    f"</div></div></section><script>{HACK}</script>",
    f"<input autofocus onfocus='{HACK}'><video><source onerror='{HACK}'></video>",
    f"<base href='javascript:{HACK}//'><meta http-equiv=refresh content='0;url=javascript:{HACK}'>",
)
DRAWINGS = (
    SVG.format("", f"<script>{HACK}</script>"),
    SVG.format(f" onload='{HACK}'", ""),
    SVG.format("", f"<a href='javascript:{HACK}'><text y='9'>hostile</text></a>"),
    SVG.format(
        "", f"<foreignObject><body xmlns='http://www.w3.org/1999/xhtml'><script>{HACK}</script></body></foreignObject>"
    ),
    SVG.format(
        "", f"<a xmlns:x='http://www.w3.org/1999/xlink' x:href='java&#115;cript:{HACK}'><text>hostile</text></a>"
    ),
    SVG.format(
        "", f"<animate attributeName='href' values='javascript:{HACK}'/><set attributeName='onload' to='{HACK}'/>"
    ),
    SVG.format("", "<image href='file:///etc/passwd'/><image href='http://127.0.0.1:9/x.png'/>"),
)
TEXTS = (
    f"[hostile](javascript:{HACK})",
    f"<script>{HACK}</script> and *words*",
    f"```{{raw}} html\n<script>{HACK}</script>\n```",
    f"![hostile](x onerror={HACK})\n\n<img src=x onerror={HACK}>",
    f"[hostile]: javascript:{HACK}\n\n[hostile]",
    "```{include} /etc/passwd\n```",
)
FORMULAS = (f"$\\href{{javascript:{HACK}}}{{x}}$", f"$$\\style{{x}}{{y}}</script><script>{HACK}</script>$$")
MIMES = (
    {"application/javascript": HACK},
    {"application/vnd.jupyter.widget-view+json": {"model_id": f"</script><script>{HACK}</script>"}},
    {"image/png": f'"><script>{HACK}</script>'},
    {"text/plain": f"<script>{HACK}</script>", "application/x-evil": HACK},
)
WORD = f"</title></script><script>{HACK}</script>\"'><img src=x onerror={HACK}>"


@pytest.fixture
def hostile(book: Book) -> Book:
    """The small book with harm in every place that a notebook or its author can reach."""
    bundles = [{"text/html": text} for text in HTML] + [{"image/svg+xml": text} for text in DRAWINGS]
    bundles += [{"text/markdown": text, "text/plain": text} for text in TEXTS]
    bundles += [{"text/latex": text} for text in FORMULAS] + list(MIMES)
    book.write("bundles.json", json.dumps(bundles))
    write_notebook(
        book.root / "experiments" / "double.ipynb",
        markdown(f"# Title <script>{HACK}</script> <b>bold</b> <img src=x onerror={HACK}>"),
        code("number: int = 3  # <script>window.hacked=1</script>", "text: str = 'a'", tags=("parameters",)),
        code("import benchbook, json", "from IPython.display import display"),
        code("for bundle in json.load(open('bundles.json')):", "    display(bundle, raw=True)"),
        code(f"hack = {WORD!r}", "print(hack)", "benchbook.value('twice', 2 * number, hack)"),
        code("benchbook.claim('bigger', True, hack)", "benchbook.environment(device=hack, precision=hack)"),
        code("benchbook.curve('loss', [1.0, 2.0], x=hack, y=hack)"),
    )
    write_notebook(
        book.root / "experiments" / "alone.ipynb", markdown("# Stand alone"), code(f"raise ValueError({WORD!r})")
    )
    book.write(
        "_config.yml", f"title: {json.dumps('Toy ' + WORD)}\nauthor: {json.dumps(WORD)}\nonly_build_toc_files: true\n"
    )
    book.write(
        "profiles/quick.yml",
        f"title: {json.dumps('Quick ' + WORD)}\nnote: {json.dumps(WORD)}\nreduced: true\nruns:\n"
        f"  - experiment: double\n    sweep: {{text: [{json.dumps(WORD)}, b]}}\n  - experiment: alone\n",
    )
    book.write("book/claims.md", "# Claims\n\n```{claims}\n```\n\n```{runs}\n```\n")
    book.write("book/index.md", "# Toy\n\n{value}`double:twice` {claim}`double:bigger`\n\n```{chapters}\n```\n")
    return book


@pytest.mark.slow
@pytest.mark.browser
def test_what_is_hostile_is_inert_in_page_and_pdf(hostile, page, fault):
    """Nothing runs when pages open, nor when all that can be clicked is; the PDF has no script and no odd link."""
    ended = hostile.run("build", "--jobs", "1")
    assert ended.returncode == 1, ended.stderr  # the one that raises
    assert (hostile.root / "_build" / "book.pdf").is_file(), ended.stderr
    wrong = 0
    for name in ("book/index", "experiments/double", "experiments/alone", "book/claims", "genindex", "search"):
        page.open(hostile.root / "_build" / "html" / f"{name}.html")
        page.wait_for_timeout(300)
        before = page.url
        for selector in (".hostile", "a:has-text('hostile')", "summary", "[popovertarget]"):
            for element in page.query_selector_all(selector):
                element.evaluate("element => element.click()")
        acting = page.evaluate(
            """() => [...document.querySelectorAll('*')].filter(element =>
                 element.matches('iframe, object, embed, base, form[action^=java]')
                 || (element.matches('script') && /hacked/.test(element.textContent))
                 || [...element.attributes].some(({name, value}) =>
                      (/^on/.test(name) && /hacked/.test(value)) || /^\\s*javascript:.*hacked/i.test(value))
               ).map(element => element.outerHTML.slice(0, 200))"""
        )
        assert acting == [], (name, acting)
        assert page.evaluate("window.hacked") is None, name
        assert page.url.split("#")[0] == before.split("#")[0]
        wrong += bool(acting)
    assert [problem for problem in page.problems if "favicon" not in problem] == []
    for file in (hostile.root / "_build" / "html").rglob("*.svg"):
        page.open(file)
        assert page.evaluate("window.hacked") is None, file
    wrong += pdf_acts(hostile.root / "_build" / "book.pdf")
    fault(
        "Outputs, titles, values, names, errors that want to act",
        tries=len(HTML + DRAWINGS + TEXTS + MIMES) + 8,
        wrong=wrong,
    )
    assert wrong == 0


def pdf_acts(path) -> int:
    """How many annotations of a PDF run something or lead elsewhere than to the web."""
    from pypdf import PdfReader

    reader = PdfReader(path)
    found = sum(name in reader.trailer["/Root"] for name in ("/OpenAction", "/AA", "/AcroForm"))
    for sheet in reader.pages:
        for annotation in (entry.get_object() for entry in sheet.get("/Annots") or ()):
            action = annotation.get("/A") or {}
            found += action.get("/S") not in (None, "/URI", "/GoTo")
            found += not re.match(r"https?:|mailto:", str(action.get("/URI", "https:")))
    return found


def test_cleaned_html_holds_nothing_that_acts(fault, tries):
    """Hostile and harmless HTML, cut and put together at random: only known tags and attributes are left."""
    pieces = [*HTML, *DRAWINGS, *TEXTS, "<b>", "</b>", "<table><tr><td>", "</table>", "<", ">", '"', "'", "<!--", "-->"]
    pieces += ["<plaintext>", "<textarea>", "</textarea>", "<![CDATA[", "]]>", "<?x", "&lt;script&gt;", "\0", "/", "="]
    chance, number, wrong = random.Random(0), tries(300, 2000), 0
    tag = re.compile(r"<(/?)([a-z0-9]+)((?: [a-z]+=\"[^\"<>]*\")*)>")
    for _ in range(number):
        text = "".join(chance.choices(pieces, k=chance.randrange(1, 6)))
        cut = chance.randrange(len(text))
        made = outputs.clean(text[cut:] + text[:cut])
        rest = tag.sub("", made)
        wrong += "<" in rest or ">" in rest
        open_tags = []
        for closing, name, attributes in tag.findall(made):
            wrong += name not in outputs.TAGS or bool(re.search(r"\son|javascript", attributes, re.IGNORECASE))
            if not closing and name not in outputs.VOID:
                open_tags.append(name)
            elif closing:
                wrong += not open_tags or open_tags.pop() != name
        wrong += bool(open_tags) or outputs.clean(made) != made
    fault("HTML in outputs, put together at random", tries=number, wrong=wrong)
    assert wrong == 0


def test_what_only_shows_is_kept():
    """A table of pandas's kind, words with emphasis, a picture, formulas and Markdown pass as they are."""
    table = '<table border="1" class="dataframe"><thead><tr><th>a &amp; b</th></tr></thead><tbody></tbody></table>'
    assert outputs.clean(table) == table
    assert outputs.clean("<p>x<sup>2</sup> <em>and</em> a &lt; b") == "<p>x<sup>2</sup> <em>and</em> a &lt; b</p>"
    assert outputs.clean('<td style="text-align: right; color: #123">1</td>') == (
        '<td style="text-align: right; color: #123">1</td>'
    )
    words = {"text/markdown": "| a | b |\n|---|---|\n| $x < 1$ | `p < q` [l](https://e.org) |", "text/latex": "$a< b$"}
    words |= {"text/plain": "a", "image/png": "aGVsbG8=\n", "image/svg+xml": SVG.format("", "<use href='#a'/>")}
    (made,) = outputs.inert([{"output_type": "display_data", "data": words, "metadata": {}}])
    assert made["data"] == words
    (made,) = outputs.inert([{"output_type": "display_data", "data": {"text/latex": "$a<b$"}}])
    assert made["data"] == {"text/latex": "$a< b$"}  # the same formula, and no tag


@pytest.mark.parametrize(
    "text", ["![x](https://e.org/x.png)", "![x]\n\n[x]: https://e.org/x.png", "*a* ![](<//e.org/x>)"]
)
def test_markdown_loads_no_picture_from_elsewhere(text):
    """It is shown as the text that it is."""
    (made,) = outputs.inert([{"output_type": "display_data", "data": {"text/markdown": text}}])
    assert made["data"] == {"text/plain": text}


def test_a_moving_picture_moves_only_where_the_cell_is_marked(book):
    """Unmarked it is its still picture; the mark is the cell's, and an output cannot bring it along."""
    display = (
        "display({'text/html': '<script>moved()</script>', 'image/svg+xml': " + repr(SVG.format("", "")) + "}, raw=True"
    )
    for name, metadata in (("double", {"benchbook": {"trusted": True}}), ("alone", {})):
        cells = [markdown(f"# {name}"), code("from IPython.display import display"), code(display + ")")]
        cells += [code(display + ", metadata={'benchbook': {'trusted': True}})")]
        cells[2]["metadata"] |= metadata
        write_notebook(book.root / "experiments" / f"{name}.ipynb", *cells)
    book.write("profiles/quick.yml", "runs: [{experiment: double}, {experiment: alone}]")
    book.write("book/index.md", "# Toy\n")
    assert book.run("build", "--no-pdf", "--jobs", "1").returncode == 0
    assert book.html("experiments/double").count("<script>moved()") == 1
    assert "<script>moved()" not in book.html("experiments/alone")
    assert list((book.root / "_build" / "html" / "_images").glob("*.svg"))


VALUE = {"name": "x", "value": 1, "mean": 1.0, "std": None, "unit": "", "n": 1}
CLAIM = {"name": "x", "text": "", "holds": True, "left": None, "relation": None, "right": None}


@pytest.mark.parametrize(
    ("kind", "record"),
    [("value", record) for record in (
        [], VALUE | {"name": "<b>"}, VALUE | {"mean": "a"}, VALUE | {"unit": 5}, VALUE | {"values": "abc"},
        *({key: VALUE[key] for key in VALUE if key != missing} for missing in VALUE),
    )] + [("claim", record) for record in (
        CLAIM | {"holds": "no"}, CLAIM | {"left": {"mean": 1}}, CLAIM | {"relation": "~"},
        *({key: CLAIM[key] for key in CLAIM if key != missing} for missing in CLAIM),
    )],
)  # fmt: skip
def test_a_record_that_is_none_of_ours_fails_its_run(kind, record):
    """Any code can display what looks like a record: it is refused in words, before a page is made from it."""
    from benchbook.run import collect

    def told(record: object) -> tuple[dict, str]:
        data = {f"application/vnd.benchbook.{kind}+json": record, "text/plain": ""}
        return collect({"cells": [{**code(""), "outputs": [{"output_type": "display_data", "data": data}]}]})

    found, error = told(record)
    assert f"cell 1 records no {kind} that can be read" in error
    assert found[f"{kind}s"] == {}
    assert told(VALUE if kind == "value" else CLAIM)[1] == ""


def test_a_pictures_letters_are_no_handler():
    """As base64 text a picture may hold "/On…=", which an attribute that runs code would look like."""
    drawing = '<svg><image href="data:image/png;base64,iVBORw0KGgo/OnwjhIC0oIgAAAAASUVORK5CYII="{}/></svg>'
    assert outputs.still(drawing.format(""))
    for handler in ("/onload=a()", " OnClick = 'a()'", '"onfocus="a()"'):
        assert not outputs.still(drawing.format(handler))
