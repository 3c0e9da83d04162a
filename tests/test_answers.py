"""Course briefs are answered item by item, with evidence, and what is missing is said."""

from __future__ import annotations

import ast
import copy
import re

import pytest
from conftest import ROOT, code, markdown, write_notebook

from benchbook.answers import read_answers, read_briefs, unanswered
from benchbook.errors import BookError

BRIEFS = """
first:
  title: The first course
  items:
    A-1: What is twice a number?
    A-2: Is it more?
    A-3: Draw it.
second:
  title: The second course
  items: {B-1: "Twice, please."}
"""
ANSWERS = """# Twice

## A-1, B-1

It is {value}`double:twice`.

```text
## A-9 is no heading in a fence
```

## A-2

{claim}`double:bigger`
"""


@pytest.fixture
def answered(book, ran):
    """The toy book with two briefs, and a chapter that draws."""
    book.write("_config.yml", "title: Toy\nonly_build_toc_files: true\nsphinx: {config: {numfig: true}}\n")
    book.write("book/briefs.yml", BRIEFS)
    book.write("book/answers/twice.md", ANSWERS)
    book.write("book/first.md", "# First\n\n```{brief} first\n```\n")
    toc = (book.root / "_toc.yml").read_text()
    book.write("_toc.yml", toc + "  - file: experiments/drawn\n  - file: book/first\n")
    profile = (book.root / "profiles" / "quick.yml").read_text()
    book.write("profiles/quick.yml", profile + "  - experiment: drawn\n")
    drawing = code(
        "from IPython.display import SVG",
        'SVG(\'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0L9 9"/></svg>\')',
    )
    figure = {"name": "fig-line", "caption": "A line of {value}`length`"}
    drawing["metadata"]["mystnb"] = {"figure": figure, "image": {"alt": "A line from corner to corner."}}
    table = code("from IPython.display import Markdown", "Markdown('| a | b |\\n|---|---|\\n| 1 | 2 |')")
    table["metadata"]["benchbook"] = {"name": "tab-two"}
    printed = code("print('nothing to draw')")
    printed["metadata"]["benchbook"] = {"name": "printed"}
    recorded = code("import benchbook", "x = benchbook.value('length', 12.5, 'px')")
    write_notebook(book.root / "experiments" / "drawn.ipynb", markdown("# Draw"), recorded, drawing, table, printed)
    return book


def add(book, text: str) -> None:
    book.write("book/answers/drawn.md", f"## A-3\n\n{text}\n")


@pytest.mark.slow
def test_a_page_shows_each_question_with_its_answer(answered):
    """Questions stand in the brief's order with answers, evidence and links; one without an answer is marked."""
    done = answered.run("build")
    assert done.returncode == 0, done.stderr
    page = answered.html("book/first")
    places = [
        page.index(text) for text in ("What is twice", ">8\u00a0s</button>", "Is it more?", "✓\u00a0holds", "Draw it.")
    ]
    assert places == sorted(places)
    assert "not answered yet" in page[places[-1] :]
    assert "Twice, please." not in page  # a question of the other brief, which has the same answer
    assert "A-9 is no heading" in page
    assert '<a class="reference internal" href="../experiments/double.html">' in page[places[0] : places[2]]


@pytest.mark.slow
def test_outputs_of_a_chapter_are_shown_once_more(answered):
    """Figures come with caption and alternative text, tables as tables, and follow when the chapter changes."""
    directives = ("drawn:fig-line\n", "drawn:tab-two\n", "drawn:tab-two\n:code:\n", "drawn:printed\n")
    add(answered, "\n\n".join(f"```{{shown}} {line}```" for line in directives))
    done = answered.run("build", "--no-pdf")
    assert done.returncode == 0, done.stderr
    page = answered.html("book/first")
    assert 'alt="A line from corner to corner."' in page
    assert "A line of" in page
    assert "caption-number" not in page  # it has a number in its chapter, and this is no other figure
    assert "caption-number" in answered.html("experiments/drawn")
    assert ">12.5\u00a0px</button>" in page  # the caption's value is the chapter's
    assert "<th" in page
    shown = re.sub(r"<[^>]+>", "", page[page.index("<th") :])
    assert "from IPython.display import Markdown" in shown  # the table's code, asked for by itself
    assert "nothing to draw" in shown
    assert "print(" not in shown
    path = answered.root / "experiments" / "drawn.ipynb"
    path.write_text(path.read_text().replace("M0 0L9 9", "M9 0L0 9"))
    images = answered.root / "_build" / "html" / "_images"
    before = {path.name for path in images.iterdir()}
    assert answered.run("build", "--no-pdf").returncode == 0
    new = {path.name for path in images.iterdir()} - before
    assert any("M9 0L0 9" in (images / name).read_text() and name in answered.html("book/first") for name in new)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```{shown} drawn:fig-lime\n```", "no output named 'fig-lime'; did you mean 'fig-line'?"),
        ("```{shown} drown:fig-line\n```", "no experiment 'drown'; did you mean 'drawn'?"),
        ("It is {value}`drawn:lenght`.", "records no value 'lenght'; did you mean 'length'?"),
    ],
)
def test_an_output_that_is_nowhere_stops_the_build(answered, text, says):
    """The message names what is wrong and the nearest name."""
    add(answered, text)
    done = answered.run("build", "--no-pdf")
    assert done.returncode == 2
    assert says in done.stderr
    assert "book/answers/drawn.md:3: " in done.stderr


def test_what_is_missing_is_said(answered):
    """Items without an answer, answers without evidence, and answers that nobody asked for."""
    add(answered, "No doubt.")
    answered.write("book/answers/more.md", "## A-4\n\n{value}`double:twice`\n")
    briefs = read_briefs(answered.root)
    lines = unanswered(briefs, read_answers(answered.root))
    assert [line for line in lines if line.startswith("the answer to A-3")] == [
        "the answer to A-3 shows no value, claim or output"
    ]
    assert any(line.startswith("more.md:1 answers 'A-4', which no brief asks") for line in lines)
    (answered.root / "book" / "answers" / "twice.md").unlink()
    lines = unanswered(briefs, read_answers(answered.root))
    assert {"A-1 has no answer", "A-2 has no answer", "B-1 has no answer"} <= set(lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1]", "a mapping of briefs' names"),
        ("first: {items: {A-1: x}}", "'title' and 'items'"),
        ("first: {title: T, itmes: {A-1: x}}", "unknown key 'itmes'; did you mean 'items'?"),
        ("first: {title: T, items: {A-1: [x]}}", "an id of letters"),
        ("first: {title: T, items: {A-1: x}}\nsecond: {title: T, items: {A-1: x}}", "'A-1' stands in two briefs"),
        ("first: {", "is not YAML"),
    ],
)
def test_a_wrong_file_of_briefs_is_one_line(tmp_path, text, says):
    """It names the file, the thing and the remedy."""
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "briefs.yml").write_text(text)
    with pytest.raises(BookError, match=r"briefs\.yml") as caught:
        read_briefs(tmp_path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_item_has_one_answer(tmp_path):
    """A second answer to an item names both places."""
    folder = tmp_path / "book" / "answers"
    folder.mkdir(parents=True)
    (folder / "a.md").write_text("## A-1\nx\n")
    (folder / "b.md").write_text("\n## A-1\ny\n")
    with pytest.raises(BookError, match=r"b\.md:2: 'A-1' is answered in .*a\.md:1, too"):
        read_answers(tmp_path)


@pytest.mark.slow
def test_the_start_page_has_a_card_for_each_chapter(answered):
    """Cards stand under the captions of the toc's parts, with picture, title, headline and how many claims hold."""
    answered.write(
        "_toc.yml",
        "format: jb-book\nroot: book/index\nparts:\n"
        "  - caption: Lines\n    chapters: [{file: experiments/drawn}]\n"
        "  - caption: Numbers\n    chapters: [{file: experiments/double}, {file: experiments/alone}]\n"
        "  - chapters: [{file: book/first}]\n",
    )
    path = answered.root / "experiments" / "double.ipynb"
    path.write_text(path.read_text().replace('"kernelspec"', '"benchbook": {"headline": "bigger"}, "kernelspec"'))
    done = answered.run("build", "--no-pdf")
    assert done.returncode == 0, done.stderr
    page = answered.html("book/index")
    texts = (
        "Lines",
        'src="../_images/',
        "Draw",
        "Numbers",
        "Double a number",
        "is more than once",
        "1 of 1 claims hold",
    )
    places = [page.index(text, page.index("benchbook-part")) for text in texts]
    assert places == sorted(places)
    write_notebook(answered.root / "experiments" / "alone.ipynb", markdown("# Stand alone"), code("1 / 0"))
    assert answered.run("build", "--no-pdf").returncode == 1
    assert "failed: ZeroDivisionError" in answered.html("book/index")


def test_every_item_of_every_brief_is_answered():
    """All that the five courses ask has an answer with evidence, and nothing is answered that none of them asks."""
    assert unanswered(read_briefs(ROOT), read_answers(ROOT)) == []


def test_answers_quote_the_code_as_it_is():
    """A function that an answer quotes is the one that experiments run, but for docstring and annotations."""
    written = {
        bare(node)
        for path in (ROOT / "src" / "convnets").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    quoted = [
        ast.unparse(node)
        for answer in set(read_answers(ROOT).values())
        for block in re.findall(r"```python\n(.*?)```", answer.text, re.DOTALL)
        for node in ast.parse(block).body
    ]
    assert [code for code in quoted if code not in written] == []
    assert quoted


def bare(node: ast.AST) -> str:
    """The code of a function or a class without docstrings and annotations."""
    node = copy.deepcopy(node)
    for part in ast.walk(node):
        if isinstance(part, ast.arg):
            part.annotation = None
        if isinstance(part, ast.FunctionDef):
            part.returns = None
        if isinstance(part, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(part):
            part.body = part.body[1:]
    return ast.unparse(node)
