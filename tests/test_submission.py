"""What is handed in is what the course asks for, from current runs, or nothing is written and the reasons are said."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile

import pytest

from benchbook.submission import file_name

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


@pytest.fixture
def course(book):
    """The toy book with two briefs, the first of them answered."""
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
    assert "Çağla Öz" in archive.read("README.txt").decode()
    page = archive.read("html/book/brief_first.html").decode()
    assert ">8\u00a0s</button>" in page
    assert "Quick profile" in page
    assert not re.search(r"""<(?:script|link|img)\b[^>]*\b(?:src|href)=["'](?:https?:)?//""", page)
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


def test_a_claim_that_the_run_contradicts_stops_it(course):
    """Of a full profile; a draft is told, and keeps what was handed in before where something else is wrong."""
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
