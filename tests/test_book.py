"""The book shows what the runs found, and what went wrong with them, and opens without a network."""

from __future__ import annotations

import re

import pytest
from conftest import code, markdown, write_notebook

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ran")]


def break_alone(book) -> None:
    write_notebook(
        book.root / "experiments" / "alone.ipynb", markdown("# Stand alone"), code("raise ValueError('no <b>')")
    )


def test_a_book_shows_values_claims_and_states(book):
    """Numbers and verdicts reach the prose, every page says its profile and state, and nothing runs twice."""
    write_notebook(book.root / "experiments" / "draft.ipynb", markdown("# A draft"), code("1 / 0"))
    done = book.run("build")
    assert done.returncode == 0, done.stderr
    index = book.html("book/index")
    assert "A draft" not in index  # neither the toc nor the profile names it
    assert re.search(r">8\u00a0s</button>", index)
    assert "✓\u00a0holds" in index
    assert "Quick profile: a small one" in index
    chapters = index[index.index("claims that hold") :]  # in the toc's order, which is not the alphabet's
    assert chapters.index("Double a number") < chapters.index("Stand alone")
    chapter = book.html("experiments/double")
    assert "Quick profile (a reduced run) · ok" in chapter
    assert "benchbook run double -p number=4" in re.sub(r"<[^>]+>", "", chapter)
    assert (book.root / "_build" / "book.pdf").read_bytes().startswith(b"%PDF")
    again = book.run("build")
    assert "nothing has changed" in again.stdout
    assert "running" not in again.stdout
    (book.root / "_build" / "book.pdf").unlink()
    assert book.run("build").returncode == 0
    assert (book.root / "_build" / "book.pdf").is_file()


def test_a_change_of_prose_runs_no_notebook(book):
    """New prose in a notebook is shown beside the old run's outputs."""
    book.run("build", "--no-pdf")
    path = book.root / "experiments" / "double.ipynb"
    path.write_text(path.read_text().replace("The sum", "The new sum"))
    done = book.run("build", "--no-pdf")
    assert "running" not in done.stdout
    chapter = book.html("experiments/double")
    assert "The new sum" in chapter
    assert "twice = 8" in chapter


def test_an_edited_import_reruns_what_reaches_it_and_updates_the_prose(book):
    """The start page shows the new number, though its own text is unchanged; undoing the edit runs nothing."""
    book.run("build", "--no-pdf")
    old = (book.root / "src" / "toy" / "b.py").read_text()
    book.write("src/toy/b.py", "def times(number):\n    return 3 * number\n")
    done = book.run("build", "--no-pdf")
    assert "running  double" in done.stdout
    assert "alone" not in done.stdout
    assert ">12\u00a0s</button>" in book.html("book/index")
    book.write("src/toy/b.py", old)
    done = book.run("build", "--no-pdf")
    assert "running" not in done.stdout
    assert ">8\u00a0s</button>" in book.html("book/index")


def test_a_failed_run_is_shown_and_told_on_every_build(book):
    """The rest of the book is built; the page and the start page say what failed; the status is 1, again and again."""
    break_alone(book)
    for _ in range(2):
        done = book.run("build", "--no-pdf")
        assert done.returncode == 1
        assert "alone: failed: ValueError: no <b> (cell 1)" in done.stderr
        assert ">8\u00a0s</button>" in book.html("book/index")
        for page in ("book/index", "experiments/alone"):
            assert re.search(
                r"benchbook-state-failed[^>]*>.{0,400}ValueError: no &lt;b&gt;", book.html(page), re.DOTALL
            )
        assert "benchbook-missing" in book.html("book/index")


def test_where_a_figure_is_missing_site_and_pdf_are_made(book):
    """What the prose says of a figure that no run has made is left unlinked, in this build and in the next."""
    prose = book.root / "book" / "index.md"
    prose.write_text(prose.read_text() + "\nSee {numref}`fig-nowhere`.\n")
    assert book.run("build").returncode == 2  # all runs are there, so it can be no missing run's
    break_alone(book)
    for number in range(2):
        prose.write_text(prose.read_text() + f"\nOnce more, {number}.\n")
        done = book.run("build")
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert "index.html and " in done.stdout
        assert "fig-nowhere" in book.html("book/index")
        assert (book.root / "_build" / "book.pdf").is_file()


def test_a_profile_may_leave_chapters_out(book):
    """What a chapter that has not run says of its figures, which are not there, does not stop the others."""
    text = (book.root / "experiments" / "double.ipynb").read_text()
    book.write("experiments/double.ipynb", text.replace("The sum", "See {numref}`fig-sum`: the sum"))
    assert book.run("build", "--no-pdf").returncode == 2  # no figure has this name
    book.write("profiles/small.yml", "title: Small\nnote: one of two\nruns:\n  - experiment: alone\n")
    done = book.run("build", "--no-pdf", "--profile", "small")
    assert done.returncode == 0, done.stderr
    assert "benchbook-state-not-run" in book.html("experiments/double")


def test_a_claim_that_a_rerun_contradicts_is_marked(book):
    """The verdict in the text and on the claims page follows the run."""
    profile = (book.root / "profiles" / "quick.yml").read_text()
    book.write("profiles/quick.yml", profile.replace("number: 4", "number: -4"))
    done = book.run("build", "--no-pdf")
    assert done.returncode == 0
    assert "✗\u00a0does not hold" in book.html("book/index")
    assert "✗\u00a0does not hold" in book.html("book/claims")


@pytest.mark.parametrize(
    ("role", "says"),
    [
        ("{value}`double:twise`", "experiment 'double' records no value 'twise'; did you mean 'twice'"),
        ("{value}`duoble:twice`", "there is no experiment 'duoble'; did you mean 'double'"),
        ("{claim}`double:biggest`", "experiment 'double' records no claim 'biggest'; did you mean 'bigger'"),
        ("```{where} duoble:twice\nWords.\n```", "there is no experiment 'duoble'; did you mean 'double'"),
        ("```{where} double:bigger hold\nWords.\n```", "no claim comes out 'hold'; did you mean 'holds'"),
        ("[lost](nowhere.md)", "nowhere.md"),
    ],
)
def test_a_name_that_is_nowhere_stops_the_build(book, role, says):
    """The line names the page and the missing name, now and on the next build."""
    book.write("book/claims.md", f"# Claims\n\n{role}\n")
    for _ in range(2):
        done = book.run("build", "--no-pdf")
        assert done.returncode == 2
        assert says in done.stderr
        assert "book/claims.md" in done.stderr
        assert "Traceback" not in done.stderr


def test_prose_may_depend_on_what_a_run_recorded(book):
    """What stands under {where} is there with the value or the claim that it names, and otherwise what `else` says."""
    book.write(
        "book/claims.md",
        "# Claims\n\n```{where} double:twice\n:else: No number.\n- Twice: {value}`double:twice`\n```\n\n"
        "```{where} double:bigger\nA *claim*.\n```\n\n"
        "```{where} double:thrice\n:else: No `thrice`.\nThree times.\n```\n\n"
        "```{where} double:thrice\nFour times.\n```\n",
    )
    assert book.run("build", "--no-pdf").returncode == 0
    html = book.html("book/claims")
    assert re.search(r"<li>\s*<p>Twice: .{0,80}>8\u00a0s</button>", html, re.DOTALL)
    assert "<em>claim</em>" in html
    assert re.search(r"No <code[^>]*><span[^>]*>thrice", html)
    for absent in ("No number", "Three times", "Four times"):
        assert absent not in html
    break_alone(book)
    book.write("book/claims.md", "# Claims\n\n```{where} alone:x\n:else: It has failed.\nIt is there.\n```\n")
    assert book.run("build", "--no-pdf").returncode == 1
    assert "It has failed." in book.html("book/claims")
    assert "It is there." not in book.html("book/claims")


def test_prose_may_depend_on_how_a_claim_came_out(book):
    """Each outcome has its own prose, and a rerun that decides otherwise changes it; what is no claim has none."""
    outcomes = ("holds", "fails", "open")
    told = [
        f"```{{where}} double:{name} {o}\n:else: {name} no {o}.\nSo {name} {o}.\n```"
        for name in ("bigger", "twice")
        for o in outcomes
    ]
    book.write("book/claims.md", "# Claims\n\n" + "\n\n".join(told) + "\n")
    profile = (book.root / "profiles" / "quick.yml").read_text()
    for number, came_out in (("4", "holds"), ("-4", "fails")):
        book.write("profiles/quick.yml", profile.replace("number: 4", f"number: {number}"))
        assert book.run("build", "--no-pdf").returncode == 0
        html = book.html("book/claims")
        assert [o for o in outcomes if f"So bigger {o}." in html] == [came_out]
        assert [o for o in outcomes if f"bigger no {o}." not in html] == [came_out]
        assert "So twice" not in html


def test_what_a_run_says_is_text_and_never_markup(book):
    """Titles, claims and errors with tags in them arrive as text."""
    evil = "<img src=x onerror=alert(1)>"
    write_notebook(
        book.root / "experiments" / "alone.ipynb",
        markdown("# Stand alone"),
        code("import benchbook", "x = benchbook.value('x', 1.0, '<i>')", f"benchbook.claim('c', True, '{evil}')"),
    )
    book.write("book/index.md", "# Toy\n\n{claim}`alone:c` {value}`alone:x`\n\n```{claims}\n```\n")
    assert book.run("build", "--no-pdf").returncode == 0
    for page in ("book/index", "experiments/alone", "book/claims"):
        assert evil not in book.html(page)


def test_no_page_needs_the_network(book):
    """Scripts, styles, pictures and fonts come with the book, MathJax too."""
    book.run("build", "--no-pdf")
    folder = book.root / "_build" / "html"
    for page in folder.rglob("*.html"):
        text = page.read_text()
        outside = re.findall(r"<(?:script|img|iframe|source|audio|video)[^>]+src=[\"']?(?:https?:)?//[^\"' >]+", text)
        outside += re.findall(
            r"<link[^>]+rel=[\"']?(?:stylesheet|preload|icon)[^>]+href=[\"']?(?:https?:)?//[^>]+", text
        )
        assert outside == [], page
    styles = "".join(path.read_text() for path in folder.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import\s*)[\"']?(?:https?:)?//[^)]+", styles) == []
    assert (folder / "_static" / "tex-svg.js").is_file()


def test_a_second_build_at_the_same_time_says_who_holds_the_lock(book):
    """Two builds in one checkout do not mix."""
    import fcntl

    (book.root / "_build").mkdir()
    with (book.root / "_build" / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711")
        file.flush()
        done = book.run("build")
    assert done.returncode == 2
    assert "process 4711 is building this book" in done.stderr
    assert book.run("build", "--no-pdf").returncode == 0


@pytest.mark.browser
def test_the_book_opens_from_a_file_without_errors(book, page):
    """In Chromium with the network off: no console error, no failed request, mathematics typeset, numbers explained."""
    book.run("build", "--no-pdf")
    page.open(book.root / "_build" / "html" / "index.html")
    page.wait_for_selector(".benchbook-value")
    page.locator(".benchbook-value").first.press("Enter")
    assert "experiment Double a number" in page.locator(".benchbook-popover:popover-open").inner_text()
    page.open(book.root / "_build" / "html" / "experiments" / "double.html")
    page.wait_for_selector("mjx-container svg")
    page.open(book.root / "_build" / "html" / "search.html", "?q=claims")
    page.wait_for_selector("#search-results li a")
    assert page.problems == []


def test_a_caption_says_profile_data_set_and_seeds(book):
    """In the chapter and where a page shows the figure once more; what the values hold stays text."""
    drawing = code("from IPython.display import Markdown", "Markdown('drawn')")
    picture = code("import matplotlib.pyplot as plt", "%matplotlib inline", "plt.plot([1, 2])", "plt.show()")
    picture["metadata"]["mystnb"] = {"figure": {"name": "fig-line", "caption": "A line."}, "image": {"alt": "A line"}}
    given = code('dataset: str = "a](javascript:x)<b>*"  # data', "num_seeds: int = 3  # seeds", tags=("parameters",))
    write_notebook(book.root / "experiments" / "alone.ipynb", markdown("# Stand alone"), given, drawing, picture)
    book.write("book/index.md", "# Toy\n\n```{shown} alone:fig-line\n```\n")
    done = book.run("build", "--no-pdf")
    assert done.returncode == 0, done.stderr
    said = "A line. Quick profile, data set a javascript x b , 3 seeds."
    for name in ("experiments/alone", "book/index"):
        assert said in " ".join(book.html(name).split())
