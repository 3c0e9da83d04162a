"""Numbers of long runs are kept, and shown beside the reader's own."""

from __future__ import annotations

import html
import json
import re
import shutil
import zipfile

import pytest
from conftest import code, markdown, small_book, write_notebook

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def frozen(tmp_path_factory, runs_of_small_book):
    """The small book's reference results, frozen once."""
    made = small_book(tmp_path_factory.mktemp("frozen"))
    shutil.copytree(runs_of_small_book, made.root / "runs")
    assert made.run("freeze").returncode == 0
    return made.root / "reference"


@pytest.mark.usefixtures("ran")
def test_frozen_results_stand_beside_the_readers_own(book):
    """They hold numbers, machine and date; where the same parameters give something else, the page says so."""
    profile = book.root / "profiles" / "quick.yml"
    profile.write_text(profile.read_text().replace("reduced: true\n", ""))
    assert book.run("build", "--no-pdf").returncode == 0
    done = book.run("freeze")
    assert done.stdout.split() == ["reference/quick/double.json", "reference/quick/alone.json"]
    path = book.root / "reference" / "quick" / "alone.json"
    kept = json.loads(path.read_text())
    assert kept["values"]["x"]["values"] == [1.0, 1.5, 2.0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", kept["date"])
    assert kept["environment"]["machine"]
    prose = (book.root / "book" / "index.md").read_text()
    book.write("book/index.md", f"{prose}\n\nIt was {{reference}}`alone:x`, and {{reference}}`alone:y`.\n")
    assert book.run("build", "--no-pdf").returncode == 0
    page = book.html("book/index")
    assert "1.50 ± 0.50 in the Quick profile" in page
    assert re.search(r"It was <span[^>]*>1.50 ± 0.50</span>, and <span[^>]*>—</span>", page)
    assert "further from this run" not in page
    kept["values"]["x"] |= {"values": [5.0, 5.5, 6.0], "mean": 5.5}
    path.write_text(json.dumps(kept))
    assert book.run("build", "--no-pdf").returncode == 0
    assert "5.50 ± 0.50 in the Quick profile" in book.html("book/index")
    assert "further from this run than the seeds&#x27; spread" in book.html("book/index")
    assert "95 % interval of the mean 0.258 … 2.74" in book.html("book/index")


@pytest.mark.usefixtures("ran")
def test_a_reduced_profiles_results_stand_only_beside_the_same_run(book, frozen):
    """They are no results to be compared with others: a number in the prose is a dash, the note says what they were."""
    prose = (book.root / "book" / "index.md").read_text()
    book.write("book/index.md", f"{prose}\n\nIt was {{reference}}`alone:x`.\n")
    shutil.copytree(frozen, book.root / "reference")
    assert book.run("build", "--no-pdf").returncode == 0
    page = book.html("book/index")
    assert re.search(r"It was <span[^>]*>—</span>", page)
    assert page.count("1.50 ± 0.50 in the Quick profile") == 1


@pytest.mark.usefixtures("ran")
def test_what_did_not_come_out_again_is_listed(book, frozen):
    """Of three numbers of this profile's reference one is moved within its seeds' spread, one beyond, one stays."""
    prose = (book.root / "book" / "index.md").read_text()
    book.write("book/index.md", f"{prose}\n\n```{{reproduced}}\n```\n")
    assert book.run("build", "--no-pdf").returncode == 0
    assert "No results of runs with these parameters are kept" in book.html("book/index")
    shutil.copytree(frozen, book.root / "reference")
    assert book.run("build", "--no-pdf").returncode == 0
    assert rows(book) == [("Double a number", "1", "1", "1", "1"), ("Stand alone", "1", "1", "0", "0")]
    kept = book.root / "reference" / "quick"
    alone, double = (json.loads((kept / f"{name}.json").read_text()) for name in ("alone", "double"))
    alone["values"]["x"]["mean"] += 0.9  # of spreads of 0.5 and 0.5
    double["values"]["twice"] |= {"values": [9.0], "mean": 9.0}
    double["claims"]["bigger"]["holds"] = None
    for name, changed in (("alone", alone), ("double", double)):
        (kept / f"{name}.json").write_text(json.dumps(changed))
    assert book.run("build", "--no-pdf").returncode == 0
    assert rows(book) == [
        *[("Double a number", "1", "0", "1", "0"), ("Stand alone", "1", "1", "0", "0")],
        *[("Double a number", "twice", "8 s", "9 s"), ("Double a number", "bigger", "✓ holds", "≈ too close to call")],
    ]


@pytest.mark.usefixtures("ran")
def test_what_a_chapter_costs_is_shown(book):
    """Time, the cell in which most of it went, here the second, which sleeps, and what an earlier run had kept."""
    write_notebook(
        book.root / "experiments" / "alone.ipynb",
        markdown("# Stand alone"),
        code("import time\nimport benchbook\n\nbenchbook.value('x', 1)"),
        code(
            "time.sleep(1)\nfor step in (1, 2):\n    benchbook.progress(step, 3, kept=3000)\nbenchbook.progress(3, 3)"
        ),
    )
    profile, prose = (book.root / path for path in ("profiles/quick.yml", "book/index.md"))
    profile.write_text(profile.read_text().replace("reduced: true\n", ""))
    prose.write_text(f"{prose.read_text()}\n\n```{{costs}}\n```\n")
    assert book.run("build", "--no-pdf").returncode == 0
    assert re.search(
        r"Stand alone\s+[\d.]+ s, \d+ % of it in cell 2; 0\.\d GB; work of 1\.7 h had been kept\s+—", text_of(book)
    )
    assert re.search(r"all together\s+[\d.]+ s for 2 of 2; work of 1\.7 h had been kept\s+—", text_of(book))
    (badge,) = re.findall(r"benchbook-badge.*?<p>(.*?)</p>", book.html("experiments/alone"), re.DOTALL)
    assert re.search(r"· [\d.]+\s+s; work of 1\.7\s+h had been kept", badge)
    assert book.run("freeze", "alone").returncode == 0
    path = book.root / "reference" / "quick" / "alone.json"
    kept = json.loads(path.read_text())
    assert kept["longest"]["cell"] == 2
    assert 1 <= kept["longest"]["seconds"] <= kept["seconds"]
    assert kept["kept_seconds"] == 6000
    kept |= {"seconds": 3000.0, "longest": {"cell": 7, "seconds": 2250.0}, "kept_seconds": 0.0}
    path.write_text(json.dumps(kept))
    assert book.run("build", "--no-pdf").returncode == 0
    assert "50.0 min, 75 % of it in cell 7" in text_of(book)
    assert kept["environment"]["machine"] in text_of(book)


def text_of(book) -> str:
    plain = html.unescape(re.sub(r"<[^>]*>", " ", book.html("book/index")))
    return " ".join(plain.replace("\xa0", " ").split())


def rows(book):
    """The cells of the start page's tables of what came out again, without the machine and the date."""
    text = book.html("book/index").partition("came out again")[2]
    found = re.findall(r"<tr.*?</tr>", text, re.DOTALL)
    cells = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in found]
    plain = [
        [re.sub(r"<[^>]*>", "", html.unescape(cell)).replace("\xa0", " ").strip() for cell in row] for row in cells
    ]
    return [tuple(cell for cell in row if ", 20" not in cell) for row in plain if row]


def test_only_good_runs_become_references(book):
    """A stale or missing run, and a name that is nowhere, are told in one line; nothing is written."""
    assert "no run of the profile 'quick' is there" in book.run("freeze").stderr
    done = book.run("freeze", "duoble")
    assert done.returncode == 2
    assert "did you mean 'double'?" in done.stderr
    assert "double cannot be a reference: not run" in book.run("freeze", "double").stderr
    assert not (book.root / "reference").exists()


@pytest.mark.usefixtures("ran")
def test_a_broken_reference_is_named(book):
    """And not passed over."""
    book.run("build", "--no-pdf")
    book.write("reference/quick/double.json", "{")
    done = book.run("build", "--no-pdf")
    assert done.returncode == 2
    assert "reference/quick/double.json is no reference result" in done.stderr


@pytest.mark.usefixtures("ran")
def test_the_foot_of_a_chapter_offers_what_it_is_made_of(book):
    """The notebook as run and alone, and the numbers; all three can be read."""
    assert book.run("build", "--no-pdf").returncode == 0
    links = re.findall(r'href="\.\./(_static/downloads/double[^"]*)"', book.html("experiments/double"))
    assert len(links) == 3
    run, *alone = (book.root / "_build" / "html" / link for link in links)
    with zipfile.ZipFile(run) as archive:
        contents = [json.loads(text) for text in (archive.read("double.ipynb"), *(path.read_text() for path in alone))]
    assert [any(cell.get("outputs") for cell in notebook["cells"]) for notebook in contents[:2]] == [True, False]
    assert contents[2]["values"]["twice"]["value"] == 8
