"""The page with the table of `make faults`, and the frame that makes the table."""

from __future__ import annotations

import json
import subprocess
import sys
from html import escape

from benchbook import cli
from benchbook.reference import faults
from tests.bench.__main__ import ROOT, facts

ROW = {"fault": "Cable <b>cut</b>", "tries": 1500, "wrong": 0, "lost": 0}


def test_the_page_shows_the_newest_table(book, monkeypatch, capsys):
    """Before any there is a sentence; then the one that is kept; then a newer one, with what did not pass."""
    monkeypatch.chdir(book.root)
    book.write("_toc.yml", "format: jb-book\nroot: book/index\n")
    book.write("profiles/quick.yml", "runs: []\n")
    book.write("book/index.md", "# Promises\n\n```{faults}\n```\n")
    words = ["build", "--no-pdf", "--no-run"]
    assert cli.main(words) == 0
    assert "No table has been made yet" in book.html("book/index")
    kept = {**facts(), "date": "2026-01-02", "failed": [], "rows": [ROW, {**ROW, "fault": "Lamp", "tries": 20}]}
    book.write("reference/faults.json", json.dumps(kept))
    assert cli.main(words) == 0
    html = book.html("book/index")
    for text in ("Cable &lt;b&gt;cut&lt;/b&gt;", "1,500", "1,520", "2026-01-02", "torch ", escape(kept["machine"])):
        assert text in html.replace("&#64;", "@"), text
    assert "No table" not in html
    book.write("_build/faults.json", json.dumps({**kept, "date": "2026-01-03", "failed": ["test_it"]}))
    assert cli.main(words) == 0
    assert "did not pass: test_it" in book.html("book/index")
    assert "nothing has changed" not in capsys.readouterr().out
    book.write("_build/faults.json", "{half")
    assert faults(book.root) == kept


def test_a_row_that_is_not_clean_fails_and_rows_of_one_name_are_added_up(tmp_path):
    """The frame itself, on three small tests in two processes."""
    (tmp_path / "conftest.py").write_text(
        (ROOT / "tests" / "faults" / "conftest.py")
        .read_text()
        .replace("Path(__file__).parents[2]", f"Path({str(tmp_path)!r})")
    )
    (tmp_path / "test_some.py").write_text(
        "import pytest\n\n\n@pytest.mark.parametrize('k', [1, 2])\ndef test_a(fault, tries, k):\n"
        "    fault('twice', tries=tries(3, 40))\n\n\ndef test_b(fault):\n    fault('bad', tries=1, lost=1)\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        "--rootdir",
        tmp_path,
        tmp_path,
    ]
    plain = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert plain.returncode == 0, plain.stdout
    assert not (tmp_path / "_build").exists()
    ended = subprocess.run([*command, "--faults", "-n", "2"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stdout
    report = json.loads((tmp_path / "_build" / "faults.json").read_text())
    assert report["rows"] == [
        {"fault": "bad", "tries": 1, "wrong": 0, "lost": 1},
        {"fault": "twice", "tries": 80, "wrong": 0, "lost": 0},
    ]
    assert "not recovered" in ended.stdout
