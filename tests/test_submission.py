"""What is handed in is what the course asks for, from current runs, or nothing is written and the reasons are said."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT, Book, small_book

from benchbook.answers import read_briefs
from benchbook.errors import BookError
from benchbook.plan import Plan
from benchbook.project import Project
from benchbook.submission import file_name, submit
from tests.handins import AUTHOR, FILES, IDENTITY, unpacked, wrong_handin

pytestmark = pytest.mark.slow
BRIEFS = """
first:
  title: The first course
  items: {A-1: "What is twice a number?", A-2: "Is it more?"}
  handin:
    answers.pdf: answers
    all.ipynb: notebook
    "{id}_{name}.zip": {README.txt: readme, code/: code, html/: html, notebooks/: notebooks}
second:
  title: The second course
  items: {B-1: "Twice?", B-2: "And now?"}
  handin: {b.pdf: answers}
"""
ANSWERS = """## A-1, B-1

It is {value}`double:twice`, as the chapter on [doubling](../experiments/double.ipynb) says.

## A-2

{claim}`double:bigger`
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Book:
    """The toy book with two briefs, the first of them answered; built once, and left as it is."""
    book = small_book(tmp_path_factory.mktemp("course"))
    book.write("book/briefs.yml", BRIEFS)
    book.write(
        "book/answers/twice.md", ANSWERS.replace(", as the chapter on [doubling](../experiments/double.ipynb) says", "")
    )
    for name in ("first", "second"):
        book.write(f"book/brief_{name}.md", f"# {name}\n\n```{{brief}} {name}\n```\n")
    toc = (book.root / "_toc.yml").read_text()
    book.write("_toc.yml", toc + "  - file: book/brief_first\n  - file: book/brief_second\n")
    done = book.run("build", "--no-pdf")
    assert done.returncode == 0, done.stderr
    return book


@pytest.fixture
def course(built, tmp_path) -> Book:
    """The same book, for a test to change."""
    shutil.copytree(built.root, tmp_path / "a course")
    return Book(tmp_path / "a course")


def hand_in(book, *words: str, brief: str = "first"):
    return book.run("submission", brief, "--author", "Çağla Öz, Ada Byron", "--id", "CS21-7", *words)


def test_every_file_of_the_hand_in_is_made(course):
    """Names, members and checksums are right, and two submissions from the same runs are the same bytes."""
    done = hand_in(course, "--quick")
    assert done.returncode == 0, done.stderr
    folder = course.root / "_build" / "submission"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(files) == {"answers.pdf", "all.ipynb", "CS21-7_cagla-oz-ada-byron.zip", "SHA256SUMS"}
    sums = dict(reversed(line.split("  ")) for line in files["SHA256SUMS"].decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "SHA256SUMS"}
    archive = zipfile.ZipFile(io.BytesIO(files["CS21-7_cagla-oz-ada-byron.zip"]))
    names = set(archive.namelist())
    assert {"README.txt", "html/index.html", "html/book/brief_first.html", "notebooks/double.ipynb"} <= names
    assert {"code/experiments/double.ipynb", "code/src/toy/a.py", "code/_toc.yml"} <= names
    assert "notebooks/alone.ipynb" not in names  # no answer rests on it
    readme = archive.read("README.txt").decode()
    assert "Çağla Öz" in readme
    assert "`make book PROFILE=quick`" in readme
    page = archive.read("html/book/brief_first.html").decode()
    assert ">8\u00a0s</button>" in page
    assert "Quick profile" in page
    assert not re.search(r"""<(?:script|link|img)\b[^>]*\b(?:src|href)=["'](?:https?:)?//""", page)
    shutil.rmtree(course.root / "_build" / "handin")
    hand_in(course, "--quick")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_the_pdf_holds_the_answers_alone_and_says_quick(course, tmp_path):
    """Author, number, the answers in order; a reduced profile is written across every page."""
    hand_in(course, "--quick")
    pdf = course.root / "_build" / "submission" / "answers.pdf"
    text = subprocess.run(["pdftotext", pdf, "-"], capture_output=True, text=True, check=True).stdout
    places = [text.index(part) for part in ("Çağla Öz, Ada Byron", "What is twice a number?", "Is it more?")]
    assert places == sorted(places)
    assert "QUICKPROFILE" in "".join(text.split())
    assert "Stand alone" not in text


def test_the_one_notebook_runs_by_itself(course, tmp_path):
    """It brings its modules, the run's parameters and outputs, and its prose has numbers in place of roles."""
    double = course.root / "experiments" / "double.ipynb"
    double.write_text(double.read_text().replace("The sum $x + x$.", "It is {value}`twice`. {claim}`bigger`"))
    course.write("src/toy/b.py", "from toy.deep.er import TWO\n\n\ndef times(number):\n    return TWO * number\n")
    course.write("src/toy/deep/__init__.py", "")
    course.write("src/toy/deep/er.py", "TWO = 2\n")
    course.run("build", "--no-pdf")
    assert hand_in(course, "--quick").returncode == 0
    path = tmp_path / "all.ipynb"
    path.write_bytes((course.root / "_build" / "submission" / "all.ipynb").read_bytes())
    cells = json.loads(path.read_text())["cells"]
    prose = "".join(cell["source"] for cell in cells if cell["cell_type"] == "markdown")
    assert "It is 8\u00a0s. Twice, 8\u00a0s, is more than once, 4 (holds)" in prose
    assert any(cell["source"].startswith("number: int = 4") for cell in cells)
    run = f"import papermill; papermill.execute_notebook({str(path)!r}, 'out.ipynb', progress_bar=False)"
    script = f"{run}\nimport json; print(json.dumps(json.load(open('out.ipynb'))))"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "twice = 8" in done.stdout
    assert (tmp_path / "modules" / "toy" / "b.py").is_file()


def test_what_only_some_runs_record_is_asked_of_these_alone(course):
    """Names under {where} must be there if what it names is; a notebook for Jupyter has its prose, or its `else`."""
    told = [
        f"```{{where}} double:{name}\n:else: Not {name}.\n{{value}}`double:{name}`\n```" for name in ("twice", "nil")
    ]
    answers, double = course.root / "book" / "answers" / "twice.md", course.root / "experiments" / "double.ipynb"
    answers.write_text(answers.read_text().replace("{claim}`double:bigger`", "\n\n".join(told)))
    prose = "\n\n".join(told).replace("double:", "").replace("Not nil.", "Not *nil*.")
    double.write_text(double.read_text().replace("The sum $x + x$.", json.dumps(prose)[1:-1]))
    done = hand_in(course, "--quick")
    assert done.returncode == 0, done.stderr
    made = json.loads((course.root / "_build" / "submission" / "all.ipynb").read_text())["cells"]
    assert any("8\u00a0s\n\nNot *nil*." in cell["source"] for cell in made)
    answers.write_text(answers.read_text().replace("{value}`double:twice`", "{value}`double:thrice`"))
    assert "the run of 'double' has no value 'thrice'" in hand_in(course, "--quick").stderr


def test_nothing_is_written_where_something_is_wrong(course):
    """A reduced profile without --quick, a missing answer, a stale run, a missing number: each is named."""
    folder = course.root / "_build" / "submission"
    done = hand_in(course)
    assert done.returncode == 2
    assert "Quick profile is a reduced one" in done.stderr
    assert "B-2 has no answer" in hand_in(course, "--quick", brief="second").stderr
    assert "did you mean 'first'?" in hand_in(course, "--quick", brief="frist").stderr
    course.write("src/toy/b.py", "def times(number):\n    return 5 * number\n")
    assert "double: stale: changed: src/toy/b.py" in hand_in(course, "--quick").stderr
    assert not folder.exists()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("{value}`double:thrice`", "the run of 'double' has no value 'thrice'"),
        ("{claim}`double:smaller`", "the run of 'double' has no claim 'smaller'"),
        ("{value}`nobody:x`", "no profile run of 'nobody' is behind the answers"),
        ("```{shown} double:picture\n```", "experiment 'double' has no output named 'picture'"),
        ("```{shown} double:silent\n```", "the cell 'silent' of 'double' shows nothing"),
        ("![A number](https://example.org/two.png) {value}`double:twice`", "would need the network: <img"),
    ],
)
def test_an_answer_without_its_evidence_is_not_handed_in(course, answer, says):
    """A value, claim or picture that no run has made, or one in the network: a line each; what was there stays."""
    (course.root / "_build" / "submission").mkdir()
    (course.root / "_build" / "submission" / "before.pdf").touch()
    double = course.root / "experiments" / "double.ipynb"
    notebook = json.loads(double.read_text())
    notebook["cells"][1]["metadata"]["benchbook"] = {"name": "silent"}
    double.write_text(json.dumps(notebook))
    path = course.root / "book" / "answers" / "twice.md"
    path.write_text(path.read_text().replace("{claim}`double:bigger`", answer))
    done = hand_in(course, "--quick")
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert [file.name for file in (course.root / "_build" / "submission").iterdir()] == ["before.pdf"]


def test_a_folder_is_handed_in_in_a_zip_alone(tmp_path):
    """What a brief asks for otherwise is named, before anything is made."""
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "briefs.yml").write_text("a: {title: A, items: {A-1: What?}, handin: {chapters/: notebooks}}")
    with pytest.raises(BookError, match=r"brief 'a': 'chapters/' holds notebooks, a folder: put it in a ZIP") as caught:
        submit(Project(tmp_path), Plan("quick", "", "", True, ()), {}, "a", "Ada", "1", quick=True)
    assert "\n" not in str(caught.value)


def test_a_failed_run_is_not_handed_in(course):
    """Its error is the one line."""
    double = course.root / "experiments" / "double.ipynb"
    double.write_text(double.read_text().replace("double(number)", "1 / 0"))
    course.run("build", "--no-pdf")
    done = hand_in(course, "--quick")
    assert done.returncode == 2
    assert done.stderr.strip() == "benchbook: double: failed: ZeroDivisionError: division by zero (cell 2)"
    assert not (course.root / "_build" / "submission").exists()


@pytest.fixture(scope="module")
def five(tmp_path_factory) -> Book:
    """A small book that answers the five courses' briefs, each item by its name and a number."""
    book = small_book(tmp_path_factory.mktemp("five"))
    shutil.copy(ROOT / "book" / "briefs.yml", book.root / "book")
    items = [item for brief in read_briefs(ROOT).values() for item in brief.items]
    book.write("book/answers/all.md", "".join(f"## {i}\n\nThis is {i}: {{value}}`double:twice`.\n\n" for i in items))
    assert book.run("build", "--no-pdf").returncode == 0
    return book


@pytest.mark.parametrize("brief", FILES)
def test_each_course_gets_what_it_asks_for(five, brief):
    """Names, members, questions in their order, pages that open alone, sums: point by point; and what was checked."""
    done = five.run("submission", brief, "--author", AUTHOR, "--id", IDENTITY, "--quick")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    folder = five.root / "_build" / "submission"
    assert wrong_handin(brief, folder) == []
    assert "items answered, from 1 chapters, each run current and successful" in done.stdout
    assert all(f"✓ {name}: " in done.stdout for name in FILES[brief])
    (folder / "more.txt").touch()
    assert len(wrong_handin(brief, folder)) == 2


def test_a_hand_in_of_another_course_is_found_wrong(five):
    """Whatever is not as the brief asks is told: the questions, their order, a report's page, a notebook's prose."""
    assert five.run("submission", "cmp717", "--author", AUTHOR, "--id", IDENTITY, "--quick").returncode == 0
    folder = five.root / "_build" / "submission"
    (archive,) = folder.glob("*.zip")
    members = unpacked(archive.read_bytes())
    page = "html/book/brief_hacettepe.html"
    members[page] = members[page].replace(b"<h2>1.2<", b"<h2>1.9<").replace(b"theme.css", b"nowhere.css")
    del members["code/_toc.yml"]
    with zipfile.ZipFile(archive, "w") as written:
        for name, data in members.items():
            written.writestr(name, data)
    found = "\n".join(wrong_handin("cmp717", folder))
    for fault in ("SHA256SUMS", "brief_hacettepe.html answers 1.1 1.9 1.3", "nowhere.css", "code/ has no _toc.yml"):
        assert fault in found


def test_a_claim_that_the_run_contradicts_stops_it(course):
    """Of a full profile, unless the answer has prose for it; a draft is told, and keeps what was handed in before."""
    course.write("src/toy/b.py", "def times(number):\n    return -number\n")
    profile = course.root / "profiles" / "quick.yml"
    text = profile.read_text()
    profile.write_text(text.replace("reduced: true", "reduced: false"))
    course.run("build", "--no-pdf")
    done = hand_in(course)
    assert done.returncode == 2
    assert "double:bigger does not hold in this run: Twice, −4" in done.stderr.replace("-4", "−4")
    profile.write_text(text)
    course.run("build", "--no-pdf")
    done = hand_in(course, "--quick")
    assert done.returncode == 0, done.stderr
    assert "1 do not hold" in done.stdout
    profile.write_text(text.replace("reduced: true", "reduced: false"))
    answers = course.root / "book" / "answers" / "twice.md"
    answers.write_text(answers.read_text() + "\n```{where} double:bigger fails\nTwice a debt is a larger debt.\n```\n")
    course.run("build", "--no-pdf")
    done = hand_in(course)  # the answer says what then is true
    assert done.returncode == 0, done.stderr
    assert "the run contradicts none" not in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--author", " ", "--id", "7"), "whose work is it?"),
        (("--author", "Ada\nByron", "--id", "7"), "whose work is it?"),
        (("--author", "Ada", "--id", "../7"), "named by your number"),
        (("--author", "Ada"), "named by your number"),
    ],
)
def test_names_that_cannot_be_are_refused(course, words, says):
    """In one line, before anything is made."""
    done = course.run("submission", "first", "--quick", *words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("author", "name"),
    [
        ("Ada Byron", "ada-byron"),
        ("Çağla Öz, Işık Ün", "cagla-oz-isik-un"),
        ("Łukasz  O'Neil", "lukasz-o-neil"),
        ("李", "author"),
    ],
)
def test_names_of_people_become_names_of_files(author, name):
    """Plain letters and hyphens, whatever the name."""
    assert file_name(author) == name


def test_an_author_cannot_write_markup(course):
    """What stands in a name is text, in the page and in the PDF."""
    name = '<script>alert(1)</script> #link("x") *a* {value}`b`'
    done = course.run("submission", "first", "--quick", "--author", name, "--id", "7")
    assert done.returncode == 0, done.stderr
    folder = course.root / "_build" / "submission"
    archive = zipfile.ZipFile(next(folder.glob("*.zip")))
    for member in archive.namelist():
        if member.endswith(".html"):
            assert "<script>alert(1)" not in archive.read(member).decode()
    text = subprocess.run(["pdftotext", folder / "answers.pdf", "-"], capture_output=True, text=True, check=True).stdout
    assert 'alert(1)</script> #link("x") *a*' in text
