"""A new book is a good start, and an existing Jupyter Book is taken as it is."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from conftest import Book, code, markdown, write_notebook

from benchbook import experiments, plan, scaffold
from benchbook.errors import BookError
from benchbook.project import Project

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "src" / "benchbook" / "template"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MADE = ("runs/", "_build/")


def files(root: Path) -> dict[str, bytes]:
    """Every file below a folder but what the engine makes, by name."""
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if not name.startswith(MADE)}


# ---- a new book


@pytest.mark.slow
def test_a_new_book_builds_without_torch(tmp_path):
    """From nothing to HTML and PDF: all runs ok, every claim decided, nothing imports torch, nothing is left to do."""
    book = Book(tmp_path / "my-pi")
    (tmp_path / "block").mkdir()
    (tmp_path / "block" / "torch.py").write_text("raise ImportError('torch was imported')\n")
    path = f"{tmp_path / 'block'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    scaffold.create(book.root)
    done = book.run("build", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (book.root / "_build" / "book.pdf").read_bytes().startswith(b"%PDF")
    states = [line.split()[0] for line in book.run("status").stdout.splitlines()]
    assert states == ["ok"] * 4
    index = book.html("book/index")
    assert "<h1>My pi" in index
    assert index.count("✓\u00a0holds") >= 4
    assert "≈\u00a0too close to call" in index
    assert "✗" not in index
    assert "nothing has changed" in book.run("build", PYTHONPATH=path).stdout
    (kept,) = book.root.glob("runs/even/*/status.json")
    assert list(json.loads(kept.read_text())["used"]) == ["darts/errors.safetensors"]


def test_every_file_of_the_template_is_written(tmp_path):
    """The new book is the template with its own title; the file that git must not see here gets its dot."""
    scaffold.create(tmp_path / "a_small-book")
    made = files(tmp_path / "a_small-book")
    template = {("." * (name == "gitignore") + name): content for name, content in files(TEMPLATE).items()}
    template = {name: content for name, content in template.items() if "__pycache__" not in name}
    assert made == {name: content.replace(b"A new book", b"A small book") for name, content in template.items()}
    assert b'title: "A small book"' in made["_config.yml"]


@pytest.mark.parametrize("title", ['Say "π": 100 % \\ #1', "it's", "{left} - [x]"])
def test_any_line_is_a_title(tmp_path, title):
    """Quotes, colons and braces arrive as they are, in the settings and in the heading."""
    scaffold.create(tmp_path / "book", title)
    assert yaml.safe_load((tmp_path / "book" / "_config.yml").read_text())["title"] == title
    assert (tmp_path / "book" / "book" / "index.md").read_text().startswith(f"# {title}\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["init"], "which folder"),
        (["init", "full"], "full is there and not empty: name a new folder; --adopt takes"),
        (["init", "file"], "file is there and not empty"),
        (["init", "new", "--title", " "], "'' is no title"),
        (["init", "new", "--title", "two\nlines"], "is no title: give a line of text by --title"),
        (["init", "--adopt", "empty"], "empty has no _toc.yml, so it is no Jupyter Book 1"),
        (["init", "--adopt", "nowhere"], "nowhere has no _toc.yml"),
        (["init", "--adopt", "full", "--title", "x"], "--title is for a new book"),
    ],
)
def test_what_cannot_be_begun_is_told_in_a_line_and_nothing_is_written(tmp_path, words, says):
    """Folders with something in them stay as they are."""
    (tmp_path / "full").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "full" / "notes.md").write_text("mine")
    (tmp_path / "file").write_text("mine")
    done = Book(tmp_path).run(*words)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert says in done.stderr
    assert files(tmp_path) == {"full/notes.md": b"mine", "file": b"mine"}
    assert not (tmp_path / "new").exists()


def test_an_empty_folder_may_be_named(tmp_path):
    """`benchbook init .` in a folder just made; a second time it refuses and changes nothing."""
    book = Book(tmp_path)
    done = book.run("init", ".")
    assert done.returncode == 0, done.stderr
    before = files(tmp_path)
    assert book.run("init", ".").returncode == 2
    assert files(tmp_path) == before


def test_the_makefile_of_a_new_book_calls_benchbook(tmp_path):
    """Each target is one command of the engine, from the PATH or by BENCHBOOK=; `make` alone lists them."""
    scaffold.create(tmp_path / "b")

    def make(*words: str) -> str:
        return subprocess.run(["make", *words], cwd=tmp_path / "b", capture_output=True, text=True, check=True).stdout

    assert [line.split()[1] for line in make().splitlines()] == ["help", "book", "status", "serve", "clean"]
    assert make("book", "BENCHBOOK=echo engine").splitlines()[-1] == "engine build --profile quick"
    assert make("status", "BENCHBOOK=echo engine", "PROFILE=full") == "engine status --profile full\n"
    assert make("serve", "BENCHBOOK=echo engine") == "engine serve\n"
    (tmp_path / "b" / "runs" / "x").mkdir(parents=True)
    make("clean")
    assert not (tmp_path / "b" / "runs").exists()


@pytest.mark.slow
def test_the_wheel_carries_the_template(tmp_path):
    """What is installed can begin the same book as this checkout."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    script = "import sys, pathlib; from benchbook import scaffold; scaffold.create(pathlib.Path(sys.argv[1]), 'Same')"
    command = [sys.executable, "-c", script, str(tmp_path / "one")]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")}, check=True)
    scaffold.create(tmp_path / "other", "Same")
    assert files(tmp_path / "one") == files(tmp_path / "other")


@pytest.mark.parametrize("path", sorted(TEMPLATE.glob("experiments/*.ipynb")), ids=lambda path: path.stem)
def test_the_templates_notebooks_are_sources(path):
    """No outputs, parameters that say what they mean, an alternative text for every figure."""
    notebook = json.loads(path.read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    assert all(parameter.help for parameter in experiments.read(path).parameters.values())
    for cell in cells:
        if "plt.show()" in experiments.source(cell):
            assert len(cell["metadata"]["mystnb"]["image"]["alt"]) > 20


# ---- an existing Jupyter Book


def in_language(path: Path, name: str, *cells: dict) -> None:
    """A notebook of another kernel, with the outputs that it was saved with."""
    write_notebook(path, *cells)
    notebook = json.loads(path.read_text())
    notebook["metadata"]["kernelspec"] = {"name": name.lower(), "display_name": name, "language": name}
    path.write_text(json.dumps(notebook))


def saved(cell: dict, text: str) -> dict:
    return {**cell, "outputs": [{"output_type": "stream", "name": "stdout", "text": text}]}


@pytest.fixture
def climate(tmp_path: Path) -> Book:
    """A Jupyter Book as people write them: folders, parts, pictures, local modules, magics, a failure, a warning."""
    book = Book(tmp_path / "climate book")
    book.write(
        "_config.yml",
        "title: Climate\nauthor: A. Author\nlogo: images/logo.png\n"
        'execute: {execute_notebooks: force, timeout: 60, exclude_patterns: ["slow-*.ipynb"]}\n'
        "bibtex_bibfiles: [references.bib]\n"
        "repository: {url: https://github.com/example/climate, branch: main}\n"
        "html: {use_repository_button: true, use_issues_button: true}\n"
        "launch_buttons: {binderhub_url: https://mybinder.org}\n"
        "sphinx:\n  extra_extensions: [sphinx.ext.todo]\n  local_extensions: {shout: extensions}\n  config:\n",
    )
    book.write(
        "_toc.yml",
        "format: jb-book\nroot: intro\nparts:\n"
        "- caption: First\n  numbered: true\n  chapters:\n"
        "  - file: part-1/first-steps.ipynb\n    sections:\n    - file: part-1/notes\n"
        "  - file: part-1/summary\n"
        "- caption: Second\n  chapters:\n"
        "  - file: part-2/summary\n  - file: part-2/uses-lib\n  - file: part-2/fails-here\n"
        "  - file: part-2/slow-one\n  - file: part-2/in-r\n  - file: as-text\n  - url: https://example.org\n",
    )
    book.write(
        "intro.md",
        "# Climate\n\n![A logo of one pixel](images/logo.png)\n\nAfter {cite}`lorenz`: {doc}`part-1/notes`, "
        "{doc}`part-9/missing`, {shout}`hear`.\n\n{download}`The table <data/table.csv>`\n\n"
        "```{literalinclude} lib/tools.py\n```\n\n```{tableofcontents}\n```\n",
    )
    book.write("references.bib", "@book{lorenz, title={Chaos}, author={Lorenz, E.}, year={1993}, publisher={UCL}}\n")
    book.write("data/table.csv", "a,b\n1,2\n")
    book.write("data/README.md", "no page at all\n")
    book.write("lib/tools.py", "def triple(number):\n    return 3 * number\n")
    book.write("extensions/shout.py", SHOUT)
    book.write(
        "part-1/notes.md", "# Notes\n\n```{image} ../images/logo.png\n:alt: One pixel\n```\n\n```{bibliography}\n```\n"
    )
    book.write("part-1/helpers.py", "ANSWER = 42\n")
    book.write("part-1/numbers.txt", "1 2 3\n")
    book.write(
        "as-text.md",
        "---\njupytext: {text_representation: {extension: .md, format_name: myst}}\n"
        "kernelspec: {name: python3, display_name: Python}\n---\n# Text\n\n```{code-cell}\n1\n```\n",
    )
    book.write("env/pyvenv.cfg", "")
    book.write("env/lib/README.md", "# Not a page\n")
    book.write(".gitignore", "*.pyc\n_build")
    (book.root / "images").mkdir()
    (book.root / "images" / "logo.png").write_bytes(PIXEL)
    (book.root / "part-2").mkdir()
    write_notebook(
        book.root / "part-1" / "first-steps.ipynb",
        markdown("# First steps\n\n![One pixel](../images/logo.png)"),
        code("%%time", "from helpers import ANSWER", "print('the answer is', ANSWER)"),
        code("numbers = open('numbers.txt').read().split()", "print(len(numbers), 'numbers were read')"),
    )
    write_notebook(book.root / "part-1" / "summary.ipynb", markdown("# One"), code("print('summary of part one')"))
    write_notebook(book.root / "part-2" / "summary.ipynb", markdown("# Two"), code("print('summary of part two')"))
    write_notebook(
        book.root / "part-2" / "uses-lib.ipynb",
        markdown("# Use a library"),
        code("import os, sys", 'sys.path.append(os.path.join("..", "lib"))', "import tools"),
        code("%%bash", "for i in 1 2; do echo line $i; done"),
        code("listing = !echo listed", "print(listing, 'and', tools.triple(5))"),
    )
    write_notebook(
        book.root / "part-2" / "fails-here.ipynb", markdown("# Fail"), code("print('before')"), code("1 / 0")
    )
    write_notebook(
        book.root / "part-2" / "slow-one.ipynb", markdown("# Slow"), saved(code("raise SystemError"), "kept from then")
    )
    in_language(book.root / "part-2" / "in-r.ipynb", "R", markdown("# In R"), saved(code("x <- 1"), "R said so"))
    return book


SHOUT = """
from docutils import nodes


def shout(name, rawtext, text, lineno, inliner, options=None, content=None):
    return [nodes.strong(text, text.upper())], []


def setup(app):
    app.add_role("shout", shout)
    return {"parallel_read_safe": True}
"""


def test_adoption_says_what_it_wrote_and_what_is_left_out(climate):
    """A profile of the toc's Python notebooks and two lines for git; nothing else moves, twice or once."""
    before = files(climate.root)
    done = climate.run("init", "--adopt")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "profiles/quick.yml: written; it names 5 notebooks",
        ".gitignore: /runs/ added",
        "part-2/slow-one.ipynb: left out: _config.yml excludes it by 'slow-*.ipynb'",
        "part-2/in-r.ipynb: left out: it is written in r, and only Python notebooks are run",
        "as-text.md: its code cells are not run, for only notebooks are: `jupytext --to ipynb as-text.md` makes one",
        "next: benchbook build",
    ]
    after = files(climate.root)
    assert after.pop(".gitignore") == before.pop(".gitignore") + b"\n/runs/\n"
    profile = yaml.safe_load(after.pop("profiles/quick.yml"))
    assert after == before
    names = [entry["experiment"] for entry in profile["runs"]]
    assert names == ["first-steps", "part-1-summary", "part-2-summary", "uses-lib", "fails-here"]
    assert profile["strict"] is False
    again = Book(climate.root.parent).run("init", "--adopt", "climate book")
    assert again.stdout.splitlines()[:2] == ["profiles/quick.yml: kept as it is", ".gitignore: kept as it is"]
    assert again.stdout.splitlines()[-1] == "next: benchbook build, in climate book"


@pytest.mark.slow
def test_an_adopted_book_is_built_whole(climate):
    """Every notebook that can run has run where it lies, what cannot is told, and no file of the project has moved."""
    scaffold.adopt(climate.root)
    before = files(climate.root)
    done = climate.run("build")
    assert done.returncode == 1
    assert "fails-here: failed: ZeroDivisionError: division by zero (cell 2)" in done.stderr
    assert "part-9/missing" in done.stderr  # Sphinx's warning, which does not stop the book
    assert files(climate.root) == before
    expected = {
        "part-1/first-steps": ["the answer is 42", "3 numbers were read", "Default profile · ok"],
        "part-1/summary": ["summary of part one"],
        "part-2/summary": ["summary of part two"],
        "part-2/uses-lib": ["line 2", "['listed'] and 15"],
        "part-2/fails-here": ["before", "ZeroDivisionError", "benchbook-state-failed"],
        "part-2/slow-one": ["kept from then", "its outputs are those that it was saved with"],
        "part-2/in-r": ["R said so"],
        "intro": ["HEAR", "fails-here.html", "def triple", "_downloads", "github.com/example/climate"],
        "index": ["url=intro.html"],
    }
    for page, texts in expected.items():
        for text in texts:
            plain = re.sub(r"<[^>]+>", "", climate.html(page)).replace("&#39;", "'")
            assert text in plain or text in climate.html(page), (page, text)
    html = climate.root / "_build" / "html"
    assert (html / "_images" / "logo.png").read_bytes() == PIXEL
    assert [path.read_text() for path in html.glob("_downloads/*/table.csv")] == ["a,b\n1,2\n"]
    assert not (html / "env").exists()
    assert not (html / "data").exists()
    assert (climate.root / "_build" / "book.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_an_adopted_book_follows_its_modules_and_may_be_made_strict(climate):
    """A module beside a notebook, or where it adds to sys.path, makes it stale; warnings can stop the book."""
    scaffold.adopt(climate.root)
    profile = "strict: false\nruns: [{experiment: first-steps}, {experiment: uses-lib}]\n"
    climate.write("profiles/quick.yml", profile)
    assert climate.run("build", "--no-pdf").returncode == 0
    assert {line[:2] for line in climate.status().values()} == {"ok"}
    climate.write("part-1/helpers.py", "ANSWER = 43\n")
    climate.write("lib/tools.py", "def triple(number):\n    return number + number + number\n")
    status = climate.status()
    assert "stale: changed: part-1/helpers.py (notebook → helpers)" in re.sub(
        r"\s+\S+ \(\w+\)", "", status["first-steps"]
    )
    assert "changed: lib/tools.py (notebook → tools)" in status["uses-lib"]
    climate.write("profiles/quick.yml", profile.replace("strict: false", "strict: true"))
    done = climate.run("build", "--no-pdf", "--no-run")
    assert done.returncode == 2
    assert "part-9/missing" in done.stderr


@pytest.mark.slow
def test_an_article_with_globs_and_a_notebook_as_its_start_is_built(tmp_path):
    """jb-article, a cache of another engine's, pages found by a glob, a name that YAML would read as a number."""
    book = Book(tmp_path)
    book.write("_config.yml", "title: Short\nexecute: {execute_notebooks: cache}\nonly_build_toc_files: true\n")
    book.write("_toc.yml", "format: jb-article\nroot: start\nsections:\n- glob: chapters/*\n")
    book.write("experiments/not-in-the-toc.ipynb", "{")
    (tmp_path / "chapters").mkdir()
    write_notebook(tmp_path / "start.ipynb", markdown("# Start"), code("print(6 * 7)"))
    write_notebook(tmp_path / "chapters" / "2024.ipynb", markdown("# A year"), code("print('that', 'was', 'it')"))
    book.write("chapters/text.md", "# Text\n")
    assert "it names 2 notebooks" in book.run("init", "--adopt").stdout
    done = book.run("build", "--no-pdf")
    assert done.returncode == 0, done.stderr
    assert "42" in book.html("start")
    assert "that was it" in book.html("chapters/2024")
    assert "chapters/text.html" in book.html("start")
    assert "url=start.html" in book.html("index")
    assert "nothing has changed" in book.run("build", "--no-pdf").stdout


@pytest.mark.slow
def test_the_book_that_jupyter_book_creates_is_adopted(tmp_path):
    """Its own example: made, adopted and built, PDF and all; nothing of it has changed."""
    program = Path(sys.executable).with_name("jupyter-book")
    subprocess.run([program, "create", tmp_path / "mine"], check=True, capture_output=True)
    book = Book(tmp_path / "mine")
    before = files(book.root)
    said = book.run("init", "--adopt").stdout
    assert "markdown-notebooks.md: its code cells are not run" in said
    done = book.run("build")
    assert done.returncode == 0, done.stderr
    assert "Default profile · ok" in book.html("notebooks")
    assert "data:image" in book.html("notebooks") or list((book.root / "_build/html/_images").glob("*.png"))
    assert (book.root / "_build" / "book.pdf").is_file()
    after = files(book.root)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"profiles/quick.yml", ".gitignore"}


def test_a_notebook_in_another_language_is_no_run(climate):
    """A profile that names it is refused in a line."""
    climate.write("profiles/quick.yml", "runs: [{experiment: in-r}]\n")
    with pytest.raises(BookError, match="'in-r' is written in r: only Python notebooks are run"):
        plan.load(Project(climate.root), "quick")


@pytest.mark.parametrize("name", ["_toc.yml", "part-1/summary.ipynb"])
def test_a_project_that_cannot_be_read_is_left_as_it_is(climate, name):
    """The broken file is named, and nothing is written."""
    climate.write(name, "{")
    before = files(climate.root)
    with pytest.raises(BookError, match=Path(name).name):
        scaffold.adopt(climate.root)
    assert files(climate.root) == before


def test_staging_never_writes_through_a_link(climate, tmp_path):
    """A linked folder's notebook is laid out as a copy; a link that stood in its place gives way."""
    from benchbook import book

    shared = tmp_path / "shared"
    shared.mkdir()
    write_notebook(shared / "linked.ipynb", markdown("# Linked"), saved(code("1"), "old output"))
    (climate.root / "linked").symlink_to(shared)
    climate.write("_toc.yml", "format: jb-book\nroot: intro\nchapters:\n- file: linked/linked\n")
    climate.write("profiles/quick.yml", "strict: false\nruns: [{experiment: linked}]\n")
    before = (shared / "linked.ipynb").read_bytes()
    project = Project(climate.root)
    staged = project.build / "source" / "linked"
    staged.parent.mkdir(parents=True)
    staged.symlink_to(shared)
    book.stage(project, plan.load(project, "quick"), {})
    assert (shared / "linked.ipynb").read_bytes() == before
    assert "old output" not in (staged / "linked.ipynb").read_text()
    assert not staged.is_symlink()
    assert (staged.parent / "images" / "logo.png").read_bytes() == PIXEL
    assert (staged.parent / "images").is_symlink()  # one link for a folder, however many pictures it holds
    climate.write("images/notes.txt", "a text")
    book.stage(project, plan.load(project, "quick"), {})
    assert not (staged.parent / "images").is_symlink()
    assert (staged.parent / "images" / "logo.png").is_symlink()
    (climate.root / "images" / "notes.txt").unlink()
    (climate.root / "images" / "logo.png").unlink()
    book.stage(project, plan.load(project, "quick"), {})
    assert not (staged.parent / "images").exists()
