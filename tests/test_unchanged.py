"""What a build does not do: counted, because a clock would say what the machine is busy with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchbook import built as built_of
from tests.bench import _books

pytestmark = pytest.mark.slow

SPY = """
import json, sys
opened = []
sys.addaudithook(lambda event, given: event == "open" and opened.append(str(given[0])))
from benchbook.cli import main
status = main(sys.argv[1:])
print(json.dumps({"status": status, "opened": opened, "modules": sorted(sys.modules)}))
"""
HEAVY = {"papermill", "snakemake", "sphinx", "docutils", "nbformat", "torch", "rich", "importlib.metadata", "email"}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A book of three chapters and six pretended runs, its HTML built."""
    root = _books.write_book(tmp_path_factory.mktemp("books") / "built", 3, 2, pictures=1)
    _books.pretend_runs(root)
    _books.command("benchbook", "build", "--no-pdf", cwd=root)
    return root


@pytest.fixture
def book(built, tmp_path) -> Path:
    """A copy to change, in the place of its own: a built site holds for the folder where it was built."""
    kept = tmp_path / "kept"
    shutil.copytree(built, kept)
    yield built
    shutil.rmtree(built)
    kept.rename(built)


def spied(root: Path, *words: str) -> dict:
    """What a command read and loaded, and what it said."""
    done = subprocess.run([sys.executable, "-c", SPY, *words], cwd=root, capture_output=True, text=True, check=True)
    *said, last = done.stdout.splitlines()
    found = json.loads(last)
    inside = [Path(name) for name in found["opened"] if name.startswith(str(root))]
    return {
        **found,
        "said": "\n".join([*said, done.stderr]),
        "read": Counter(path.relative_to(root).as_posix() for path in inside),
    }


def test_with_nothing_to_do_nothing_heavy_is_loaded_and_every_run_is_verified_once(book):
    """No notebook runner, scheduler or Sphinx; each run's files are hashed, once, and no file is read four times."""
    found = spied(book, "build", "--no-pdf")
    assert "nothing has changed" in found["said"]
    assert HEAVY.isdisjoint(found["modules"])
    files = [path.relative_to(book).as_posix() for path in book.glob("runs/*/*/*") if path.name != "status.json"]
    assert len(files) == 2 * 6
    assert {name: found["read"][name] for name in files} == dict.fromkeys(files, 1)
    assert max(found["read"].values()) <= 3  # the toc, which says where notebooks and pages are


def test_a_file_with_other_content_and_the_same_length_and_time_is_noticed(book):
    """Content alone decides: a flipped byte that keeps size and time stamp makes the run one that is not there."""
    path = min(book.glob("runs/*/*/executed.ipynb"))
    stamp, content = path.stat().st_mtime_ns, path.read_bytes()
    path.write_bytes(content.replace(b"Every", b"every", 1))
    os.utime(path, ns=(stamp, stamp))
    assert path.stat().st_size == len(content)
    found = spied(book, "status")
    assert found["said"].count("not run") == 1
    assert "executed.ipynb" in found["said"]
    assert "is damaged" in found["said"]


def test_one_changed_chapter_is_the_only_one_that_sphinx_reads_and_writes(book):
    """No notebook runs; for HTML and PDF together the others are read only to see that they are the same."""
    spied(book, "build")  # from now on pages offer the PDF
    pages = sorted((book / "_build" / "sphinx" / "html" / "experiments").glob("*.html"))
    assert len(pages) == 3
    written = {page.stem: page.stat().st_mtime_ns for page in pages}
    _books.change_prose(book / "experiments" / "chapter_01.ipynb", "novelty")
    found = spied(book, "build")
    assert "book.pdf" in found["said"]
    assert "running" not in found["said"]
    staged = "_build/source/experiments/chapter_{}.ipynb"
    assert {found["read"][staged.format(number)] for number in ("00", "02")} <= set(range(7))
    untouched = {page.stem: page.stat().st_mtime_ns == written[page.stem] for page in pages}
    assert untouched == {"chapter_00": True, "chapter_01": False, "chapter_02": True}
    assert "novelty" in pages[1].read_text()


def test_many_stale_runs_cost_one_look_at_the_sources(tmp_path):
    """However many runs an experiment has, its notebook and its modules are read a fixed number of times."""
    read = {}
    for runs in (3, 12):
        root = _books.write_book(tmp_path / str(runs), 1, runs, pictures=0)
        _books.pretend_runs(root)
        with (root / "src" / "convnets" / "colour.py").open("a") as module:
            module.write("# changed\n")
        found = spied(root, "status")
        assert found["said"].count("changed: src/convnets/colour.py (notebook → convnets.colour)") == runs
        read[runs] = {name: times for name, times in found["read"].items() if not name.startswith("runs/")}
    assert read[3] == read[12]


def test_every_file_of_the_engine_makes_a_new_book(tmp_path, monkeypatch):
    """What renders is all of the package: its code, what a page loads, and how paper looks."""
    package = tmp_path / "benchbook"
    shutil.copytree(built_of.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "template"))
    monkeypatch.setattr(built_of, "PACKAGE", package)
    digests = {built_of.engine.__wrapped__()}
    files = [path for path in package.rglob("*") if path.is_file()]
    for path in files:
        path.write_bytes(path.read_bytes() + b"\n")
        digests.add(built_of.engine.__wrapped__())
    assert "book.typ" in {path.name for path in files}
    assert len(digests) == len(files) + 1
