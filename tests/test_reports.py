"""What the command line tells about runs."""

from __future__ import annotations

import json

import pytest
from conftest import code, markdown, write_notebook

pytestmark = pytest.mark.slow


def test_why_shows_the_whole_difference(book):
    """Every changed thing has its line, the notebook's cells old beside new; a good run says so."""
    book.run("build", "--no-pdf")
    assert "    ok" in book.run("why", "double").stdout
    book.write("src/toy/b.py", "def times(number):\n    return number + number\n")
    path = book.root / "experiments" / "double.ipynb"
    path.write_text(path.read_text().replace("is more than once", "exceeds once"))
    said = book.run("why", "double").stdout
    assert "differs: the notebook's code" in said
    assert "differs: src/toy/b.py (notebook → toy.a → toy.b)" in said
    assert "cell 3: -benchbook.claim" in said
    assert "exceeds once" in said
    found = json.loads(book.run("why", "double", "--json").stdout)
    assert found[0]["state"] == "stale"
    assert len(found[0]["differences"]) == 2


def test_the_log_has_the_traceback_of_a_failed_run(book):
    """What the cell raised, with its line, without terminal colours; a run is found by its fingerprint too."""
    write_notebook(
        book.root / "experiments" / "alone.ipynb",
        markdown("# A"),
        code("def f():\n    raise ValueError('no such thing')\n\nf()"),
    )
    assert book.run("build", "--no-pdf").returncode == 1
    failed = next(run for run in json.loads(book.run("status", "--json").stdout) if run["experiment"] == "alone")
    assert (failed["state"], failed["reason"]) == ("failed", "ValueError: no such thing (cell 1)")
    said = book.run("log", failed["fingerprint"][:6]).stdout
    assert "raise ValueError" in said
    assert "\x1b" not in said
    unknown = book.run("log", "aloen")
    assert (unknown.returncode, "did you mean 'alone'" in unknown.stderr) == (2, True)


def test_prune_removes_what_no_profile_names_and_asks_first(book):
    """Where nobody can be asked nothing goes; the runs of every profile stay."""
    book.run("run", "double", "-p", "number=4")
    book.run("run", "double", "-p", "number=77,78")
    assert len(book.folders("double")) == 3
    (book.root / "runs" / "double" / ".0123456789abcdef.99").mkdir()  # a killed worker's
    asked = book.run("prune")
    assert "3 runs that no profile names" in asked.stdout
    assert "add --yes" in asked.stderr
    assert len(book.folders("double")) == 3
    assert "removed" in book.run("prune", "--yes").stdout
    assert [json.loads((f / "results.json").read_text())["parameters"]["number"] for f in book.folders("double")] == [4]
    assert not list((book.root / "runs" / "double").glob(".*"))


def test_a_command_line_sweep_runs_each_point(book):
    """`-p number=1,2` is two runs, each with its own folder and its own numbers on the terminal."""
    done = book.run("run", "double", "-p", "number=1,2", "-p", "rate=0.25")
    assert done.returncode == 0
    assert "twice = 2\u00a0s" in done.stdout
    assert "twice = 4\u00a0s" in done.stdout
    assert len(book.folders("double")) == 2


def test_changes_are_sentences_old_beside_new(book):
    """Only sentences whose numbers moved since the last look are shown, answers' once, and each look counts once."""
    book.write("book/answers/twice.md", "# Twice\n\n## A-1, B-1\n\nSo {value}`double:twice`, and {value}`alone:x`.\n")
    book.run("build", "--no-pdf")
    assert "first look" in book.run("changes").stdout
    assert "nothing has moved" in book.run("changes").stdout
    book.write("src/toy/b.py", "def times(number):\n    return 3 * number\n")
    book.run("build", "--no-pdf")
    kept = json.loads(book.run("changes", "--keep", "--json").stdout)
    assert {"page": "book/index", "old": "Twice is 8\u00a0s.", "new": "Twice is 12\u00a0s."} in kept
    (answer,) = (change for change in kept if change["page"] == "book/answers/twice")
    assert answer["new"].startswith("So 12\u00a0s, and 1.5")
    said = book.run("changes").stdout
    assert "  - Twice is 8\u00a0s." in said
    assert "  + Twice is 12\u00a0s." in said
    assert "alone" not in said
    assert "nothing has moved" in book.run("changes").stdout
