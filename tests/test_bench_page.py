"""The page on performance shows what the bench has measured, and nothing else."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html import unescape

import pytest

from benchbook import bench_page
from benchbook.bench_page import Bar
from tests.bench.__main__ import described, described_growth, facts
from tests.bench.measure import Row, Slopes

ROWS = [
    Row("build", "jupyter-book", (1.0, 1.0, 1.0), (4.0, 5.0, 6.0), goal=3),
    Row("3×3", "scipy", (1.0, 1.0), (2.0, 4.0), group="convolution"),
    Row("5×5", "scipy", (1.0, 1.0), (8.0, 10.0), group="convolution"),
    Row("training", "matrix products", (10.0,), (2.5,)),
    Row("status", "", (0.5, 0.7, 0.6), (), limit=0.25),
]
GROWTH = Slopes("runs", "snakemake", (10, 100), ((1.0, 10.0), (1.0, 1.0)), ((1.0, 100.0), (1.0, 100.0)))


def report() -> dict:
    """As `make bench` writes it."""
    rows = [{"module": "m", **described(row)} for row in ROWS]
    found = {**facts(), "command": "make bench KEEP=1", "quick": False, "repeats": 3, "rows": rows, "errors": []}
    found |= {"growth": [{"module": "m", **described_growth(GROWTH)}], "left_out": []}
    return json.loads(json.dumps(found))


def test_rows_of_a_group_share_a_bar():
    """The median of their ratios, with the least and the largest of all repetitions; without a peer there is no bar."""
    assert bench_page.bars(report()["rows"]) == [
        Bar("build", "jupyter-book", 5, 4, 6, 3),
        Bar("convolution", "scipy", 6, 2, 10),
        Bar("training", "matrix products", 0.25, 0.25, 0.25),
    ]


def test_rows_of_a_group_share_a_line():
    """Seconds from the fastest to the slowest, the goal kept only where every row keeps it."""
    table = bench_page.rows(report()["rows"])
    assert [row[0] for row in table] == ["build", "convolution", "training", "status"]
    assert [word.replace("\xa0", " ") for word in table[1]] == [
        "convolution",
        "1 … 1 s",
        "scipy",
        "3 … 9 s",
        "6 (2 … 10)",
        "",
    ]
    for second, mark in ((8.0, "✓"), (2.0, "✗")):
        both = [Row(size, "scipy", (1.0,), (took,), goal=3, group="g") for size, took in (("3", 4.0), ("5", second))]
        assert bench_page.rows([described(row) for row in both])[0][5] == f"≥\xa03\xa0{mark}"


def test_bars_are_to_scale():
    """On the logarithmic axis a ratio of 4 reaches as far to the right of 1 as a quarter does to the left."""
    drawn = [Bar("a <b>", "p", 4, 2, 16, goal=4), Bar("c", "p", 0.25, 0.25, 0.25)]
    tree = ET.fromstring(bench_page.chart(drawn, bench_page.limits(drawn)))
    _, ahead, behind = (dict(node.attrib) for node in tree if node.tag.endswith("rect"))
    one = float(ahead["x"])
    assert float(behind["x"]) + float(behind["width"]) == pytest.approx(one, abs=0.1)
    assert float(ahead["width"]) == pytest.approx(float(behind["width"]), abs=0.11)
    assert ahead["fill"] != behind["fill"]
    lines = [dict(node.attrib) for node in tree if node.tag.endswith("line")]
    whisker = next(line for line in lines if line["y1"] == line["y2"])
    assert float(whisker["x1"]) == pytest.approx(one + float(ahead["width"]) / 2, abs=0.11)
    assert float(whisker["x2"]) == pytest.approx(one + float(ahead["width"]) * 2, abs=0.11)
    goal = next(line for line in lines if line["stroke"] == bench_page.GOAL)
    assert float(goal["x1"]) == pytest.approx(one + float(ahead["width"]), abs=0.11)
    assert "a <b>" in [node.text for node in tree]


@pytest.mark.slow
def test_the_page_shows_the_kept_bench(book):
    """Chart and tables in HTML and PDF, machine and command with them; before anything is kept, how to do it."""
    from pypdf import PdfReader

    toc = (book.root / "_toc.yml").read_text()
    book.write("_toc.yml", toc + "  - file: book/performance\n")
    book.write("book/performance.md", "# How fast\n\n```{bench}\n```\n")
    assert book.run("build", "--no-run", "--no-pdf").returncode == 1  # nothing has run
    assert "make bench KEEP=1" in book.html("book/performance")

    kept = report()
    kept["rows"] = [kept["rows"][0] | {"name": f"build {n}"} for n in range(12)] + kept["rows"][1:]
    book.write("reference/bench.json", json.dumps(kept))
    done = book.run("build", "--no-run")
    assert "index.html and " in done.stdout, done.stderr
    html = book.html("book/performance")
    assert "No bench is kept" not in html
    text = " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())
    for said in (
        "make bench KEEP=1",
        facts()["machine"],
        "5 (4 … 6) ≥ 3 ✓",
        "0.6 s ≤ 0.25 s ✗",
        "0.50, 0 … 1",
    ):
        assert said in text
    pictures = re.findall(r'<img[^>]*src="([^"]+\.svg)"', html)
    drawn = [(book.root / "_build" / "html" / "book" / picture).read_text() for picture in pictures]
    assert [text.count("against") for text in drawn] == [12, 2]  # bars
    assert ["convolution" in text for text in drawn] == [False, True]
    axes = [re.findall(r'x="([\d.]+)" y="15" text-anchor="middle">([\d.]+)<', text) for text in drawn]
    assert axes[0] == axes[1] != []
    printed = " ".join(page.extract_text() for page in PdfReader(book.root / "_build" / "book.pdf").pages)
    assert "against jupyter-book" in " ".join(printed.split())  # words of the chart
