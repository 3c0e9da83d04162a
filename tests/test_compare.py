"""The runs of one experiment side by side: in a terminal, on a page without a server, on paper."""

from __future__ import annotations

import json
import re
import statistics

import pytest
import yaml
from conftest import code, markdown, write_notebook

from benchbook import plan
from benchbook.compare import compare
from benchbook.errors import BookError
from benchbook.fingerprint import hash_file
from benchbook.pictures import Compressed, Pictures
from benchbook.project import Project, forget, read_experiment
from benchbook.record import Value
from benchbook.run import job
from benchbook.state import sealed

EVIL = "</script><img src=x onerror=alert(1)>"
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:dc="http://purl.org/dc/elements/1.1/" viewBox="0 0 8 4">'
    '<dc:date>{}</dc:date><rect width="{}" height="4"/></svg>'
)
PROFILE = """\
title: Quick
runs:
  - experiment: trained
    parameters: {rate: 0.25}
    sweep: {batch_size: [32, 64]}
    seeds: 3
    show: {batch_size: 64}
  - experiment: double
"""


@pytest.fixture
def project(book):
    """An experiment `trained` with a seed, and a profile that sweeps it."""
    write_notebook(
        book.root / "experiments" / "trained.ipynb",
        markdown("# Train a toy"),
        code(
            "batch_size: int = 16  # pictures a step",
            "rate: float = 0.5  # of learning",
            "note: str = ''  # whatever",
            "seed: int = 0  # of the weights",
            tags=("parameters",),
        ),
        code("from toy.a import double", "2"),
    )
    book.write("profiles/quick.yml", PROFILE)
    return Project(book.root)


def value(*samples: float, unit: str = "") -> dict:
    return {**Value(samples, unit).record(), "cell": 1}


def claim(holds: bool | None, text: str = "It is so.", **rest) -> dict:
    return {"text": text, "holds": holds, "left": None, "relation": None, "right": None, "cell": 1, **rest}


def leave(
    run: plan.Run, values=None, claims=None, curves=None, picture: str = "", ended: float = 1.0, state="ok"
) -> None:
    """Leaves a run's folder as a worker would."""
    run.folder.mkdir(parents=True)
    task = job(run, "quick")
    results = {key: task[key] for key in ("experiment", "fingerprint", "profile", "parameters", "changed_parameters")}
    results |= {"values": values or {}, "claims": claims or {}, "curves": curves or {}, "seconds": 2.5}
    results["environment"] = {"machine": "a machine", "device": "cpu", "packages": {}}
    (run.folder / "results.json").write_text(json.dumps(results))
    cell = code("draw()")
    cell["metadata"]["mystnb"] = {"figure": {"caption": f"A {{value}}`width` {EVIL}"}}
    drawing = {"output_type": "display_data", "data": {"image/svg+xml": [picture]}, "metadata": {}}
    cell["outputs"] = [drawing] if picture else []
    write_notebook(run.folder / "executed.ipynb", markdown("# Train a toy"), code("1"), cell)
    files = {name: hash_file(run.folder / name) for name in ("results.json", "executed.ipynb")}
    status = {"state": state, "error": "", "ended": ended, "seconds": 2.5, "files": files}
    (run.folder / "status.json").write_text(json.dumps(sealed({**status, "ingredients": task["ingredients"]})))


def runs(project, *points: dict) -> list[plan.Run]:
    experiment = read_experiment(project.root / "experiments" / "trained.ipynb")
    return list(plan.plan_runs(project, experiment, points))


def leave_sweep(project) -> None:
    """The profile's six runs: the loss falls with the batch, a claim holds for the shown batch alone."""
    for run in plan.load(project, "quick").runs:
        if run.experiment.name == "trained":
            batch, seed = run.parameters["batch_size"], run.parameters["seed"]
            loss = 10 / batch + seed / 100
            leave(
                run,
                {"loss": value(loss, unit="s"), "same": value(7), "rate": value(run.parameters["rate"])},
                {"small": claim(batch == 64, "It is small."), "true": claim(True), "mixed": claim(seed > 0)},
                {"validation": {"xs": [1, 2, 3], "ys": [[loss, loss / 2, loss / 4]], "x": "epoch", "y": "loss"}},
                SVG.format(seed, batch // 16),
            )


def look(project, profile: str = "quick"):
    return compare(project, "trained", plan.load(project, profile))


def test_runs_that_differ_by_their_seed_are_one_row_with_pooled_values(project):
    """Mean, spread and count are those of all seeds' numbers; the row that the book shows comes first."""
    leave_sweep(project)
    found = look(project)
    assert [(row.settings["batch_size"], row.shown, len(row.runs)) for row in found.rows] == [
        (64, True, 3),
        (32, False, 3),
    ]
    losses = [10 / 64 + seed / 100 for seed in range(3)]
    pooled = found.rows[0].values["loss"]
    assert pooled["mean"] == pytest.approx(statistics.fmean(losses))
    assert pooled["std"] == pytest.approx(statistics.stdev(losses))
    assert (pooled["n"], pooled["unit"]) == (3, "s")
    assert [run.parameters["seed"] for run in found.rows[0].runs if run.shown] == [0]


def test_only_what_differs_has_a_column(project):
    """Not the rate, not a value that is the same everywhere, not a claim that every run decides alike."""
    leave_sweep(project)
    found = look(project)
    assert (found.parameters, found.values, found.claims) == (["batch_size"], ["loss"], ["small", "mixed"])


def test_a_value_that_repeats_a_parameter_is_no_second_column(project):
    """Notebooks record parameters as values, to print them in prose."""
    for run in runs(project, {"batch_size": 2}, {"batch_size": 4}):
        leave(run, {"batch_size": value(run.parameters["batch_size"])})
    assert look(project).values == []


def test_values_that_decide_a_claim_come_first(project):
    """The order is that of the claims, then of the recording."""
    for i, run in enumerate(runs(project, {"batch_size": 2}, {"batch_size": 4})):
        leave(run, {"a": value(i), "b": value(i), "c": value(i)}, {"d": claim(True, made_from=["c"])})
    assert look(project).values == ["c", "a", "b"]


def test_claims_that_moved_are_told_against_the_shown_run(project):
    """'holds → does not hold'; where seeds disagree, in how many it holds."""
    leave_sweep(project)
    shown, other = look(project).rows
    mixed = {"mixed": "does not hold → holds in 2 of 3"}
    assert look(project).moved(shown) == mixed
    assert look(project).moved(other) == {"small": "holds → does not hold"} | mixed


def test_failed_and_unreadable_runs_are_left_out(project):
    """Only successful runs whose results can be read are compared."""
    ok, failed, broken = runs(project, {"batch_size": 1}, {"batch_size": 2}, {"batch_size": 3})
    leave(ok)
    leave(failed, state="failed")
    leave(broken)
    (broken.folder / "results.json").write_text("{")
    assert [row.settings["batch_size"] for row in look(project).rows] == [1]


@pytest.mark.parametrize("what", ["code", "module", "parameter", "data"])
def test_runs_of_older_code_are_told_apart_with_the_reason(project, book, what):
    """A run is older when one with its own parameters would not be this one today; the others are not."""
    book.write("pyproject.toml", '[tool.benchbook.data.small]\nfiles = ["small.npz"]\n')
    book.write("data/small.npz", "1")
    path = book.root / "experiments" / "trained.ipynb"
    path.write_text(path.read_text().replace("note: str = ''", "dataset: str = 'small'"))
    forget()
    (before,) = runs(Project(book.root), {"batch_size": 9})
    leave(before)
    assert look(Project(book.root)).rows[0].older == ()
    if what == "code":
        path.write_text(path.read_text().replace('"2"', '"3"').replace("\\n2", "\\n3"))
    elif what == "module":
        book.write("src/toy/b.py", "def times(number):\n    return number + number\n")
    elif what == "parameter":
        path.write_text(path.read_text().replace("seed: int", "width: int = 3\\nseed: int"))
    else:
        book.write("data/small.npz", "2")
    forget()
    (after,) = runs(Project(book.root), {"batch_size": 9})
    assert after.folder != before.folder
    leave(after)
    now, old = look(Project(book.root)).rows
    assert (now.runs[0].folder, now.older) == (after.folder, ())
    reason = {"code": "code", "module": "src/toy/b.py", "parameter": "parameter width", "data": "small.npz"}[what]
    assert reason in old.older[0]


def test_a_run_whose_needed_run_is_older_is_older(project, book):
    """What was made from weights of older code is older, too."""
    path = book.root / "experiments" / "double.ipynb"
    content = json.loads(path.read_text())
    content["metadata"]["benchbook"] = {"needs": ["trained"]}
    path.write_text(json.dumps(content))
    forget()
    for run in plan.load(project, "quick").runs:
        if not run.needs:
            leave(run)
    (double,) = (run for run in plan.load(project, "quick").runs if run.needs)
    leave(double)
    assert compare(project, "double", plan.load(project, "quick")).rows[0].older == ()
    book.write("src/toy/b.py", "def times(number):\n    return number * 2\n")
    assert any("trained" in line for line in compare(project, "double", plan.load(project, "quick")).rows[0].older)


def test_the_line_of_every_run_makes_it_the_one_that_the_book_shows(project, book):
    """Put into the profile, in place of what it replaces, and read again by the planner."""
    leave_sweep(project)
    for run in runs(project, {"batch_size": 8, "note": EVIL + ": [ä], 'é' #"}, {"rate": 1e-7, "seed": 7}, {}):
        leave(run)
    made = look(project).runs
    assert {run.line.partition(":")[0] for run in made} == {"show", "parameters"}
    for run in made:
        assert "\n" not in run.line
        profile = yaml.safe_load(PROFILE)
        entry = profile["runs"][0]
        replaced = ["show"] if run.line.startswith("show") else ["show", "parameters", "sweep", "seeds"]
        profile["runs"][0] = {k: v for k, v in entry.items() if k not in replaced} | yaml.safe_load(run.line)
        book.write("profiles/chosen.yml", yaml.safe_dump(profile))
        assert plan.load(project, "chosen").shown()["trained"].folder == run.folder
        assert next(r for r in look(project, "chosen").runs if r.shown).folder == run.folder


def test_the_command_prints_an_aligned_table(project, book):
    """A header, a row for each setting, claims that moved, the run that the book shows, how another is chosen."""
    leave_sweep(project)
    said = book.run("compare", "trained").stdout.splitlines()
    assert said[0] == "trained: Train a toy"
    header, shown, other = said[1:4]
    assert shown.startswith("*")
    assert other.split()[:4] == [look(project).rows[1].runs[0].folder.name[:8], "and", "2", "more"]
    for column, cells in {
        "batch_size": ("64", "32"),
        "seed": ("0–2", "0–2"),
        "loss": ("0.166 ± 0.010", "0.323 ± 0.010"),
    }.items():
        assert shown[header.index(column) :].startswith(cells[0])
        assert other[header.index(column) :].startswith(cells[1])
    assert "small holds → does not hold: batch_size=32" in said
    assert any("profiles/quick.yml" in line and "show: {batch_size: 32, seed: 0}" in line for line in said)


def test_the_table_fits_a_terminal(project):
    """As many columns as there is room for, and a word on the others."""
    from benchbook.sheet import lines

    for batch, run in enumerate(runs(project, {"batch_size": 1}, {"batch_size": 2})):
        leave(run, {f"value_{i}": value(batch + i) for i in range(30)})
    for width in (60, 80, 120):
        table = lines(look(project), width=width)[1:4]
        assert max(map(len, table)) <= width
        assert len(table[0]) > width - 20
    assert "value_29" in lines(look(project))[1]
    assert any(re.match(r"\d+ more columns", line) for line in lines(look(project), width=80))


def test_what_a_run_says_does_nothing_to_a_terminal(project, book):
    """Escape sequences and line breaks in a parameter arrive as marks."""
    for run in runs(project, {"note": "\x1b[31mred\n"}, {"note": "plain"}):
        leave(run)
    said = book.run("compare", "trained").stdout
    assert "\x1b" not in said
    assert "�[31mred�" in said


def test_json_has_the_whole(project, book):
    """Rows with pooled records, curves and every run of theirs."""
    leave_sweep(project)
    found = json.loads(book.run("compare", "trained", "--json").stdout)
    row = found["rows"][1]
    assert row["values"]["loss"]["n"] == 3
    assert row["moved"]["small"] == "holds → does not hold"
    assert len(row["curves"]["validation"]["ys"]) == 3
    assert [run["parameters"]["seed"] for run in row["runs"]] == [0, 1, 2]
    assert row["runs"][0]["claims"]["small"]["sentence"] == "It is small."


def test_older_runs_are_told_of_and_shown_when_asked(project, book):
    """The table leaves them out and says how many there are."""
    leave_sweep(project)
    book.write("src/toy/b.py", "def times(number):\n    return number + number\n")
    (now,) = runs(project, {"batch_size": 64})
    leave(now)
    said = book.run("compare", "trained").stdout
    assert "2 more of older code" in said
    assert len(re.findall("older code  ", book.run("compare", "trained", "--older").stdout)) == 2


@pytest.mark.parametrize(("name", "says"), [("trainde", "did you mean 'trained'"), ("trained", "no successful run")])
def test_nothing_to_compare_is_one_line(project, book, name, says):
    """An unknown name, and an experiment without runs."""
    done = book.run("compare", name)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    with pytest.raises(BookError):
        compare(project, "trainde", plan.load(project, "quick"))


@pytest.fixture
def built(project, book):
    """A book with the page, built from the sweep and a run of its own with a hostile parameter."""
    toc = (book.root / "_toc.yml").read_text()
    book.write("_toc.yml", toc + "  - file: experiments/trained\n  - file: book/runs\n")
    book.write("book/runs.md", "# Runs, side by side\n\n```{runs}\n```\n")
    leave_sweep(project)
    (evil,) = runs(project, {"batch_size": 128, "rate": 0.25, "note": EVIL})
    claims = {"small": claim(False, EVIL), "true": claim(True), "mixed": claim(False)}
    leave(evil, {"loss": value(2, unit="s"), "same": value(7)}, claims, {}, SVG.format(0, 8))
    done = book.run("build", "--no-run", "--no-pdf")
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 1  # `double` has not run
    return book


@pytest.mark.slow
def test_without_scripts_and_on_paper_there_is_a_plain_table(built):
    """The same rows with the main values, verdicts as signs; hostile text is text; nothing of the script on paper."""
    import pypdf

    assert built.run("build", "--no-run").returncode == 1
    text = re.sub(r"<script.*?</script>|<[^>]+>", " ", built.html("book/runs"), flags=re.DOTALL)
    text = " ".join(text.split())
    assert re.search(r"shown 64 '' 0–2 0.166±0.010 ✓ ✗→✓ 2 of 3 2.5", text)
    assert re.search(r"32 '' 0–2 0.323±0.010 ✓→✗ ✗→✓ 2 of 3 2.5", text)
    assert EVIL not in built.html("book/runs")
    assert "&lt;img src=x" in built.html("book/runs")
    pages = [page.extract_text() for page in pypdf.PdfReader(built.root / "_build" / "book.pdf").pages]
    (paper,) = (page for page in pages if "Runs, side by side" in page and "0.166±0.010" in page)
    assert "✓→✗" in paper
    assert "Filter" not in paper


@pytest.mark.slow
def test_only_the_page_is_read_again_when_runs_change(built, project):
    """Without a change nothing is done; a new run changes the pages that list it; a lost one leaves no picture."""
    html = built.root / "_build" / "html"
    pictures = html / "_images"
    assert len(list(pictures.glob("*.svg"))) == 3  # of seven runs: drawings that differ only by their date are one
    assert "nothing has changed" in built.run("build", "--no-run", "--no-pdf").stdout
    pages = {path: path.stat().st_mtime_ns for path in html.rglob("*.html") if path.stem not in ("search", "genindex")}
    (new,) = runs(project, {"batch_size": 256})
    leave(new, {"loss": value(1.25)}, picture=SVG.format(0, 99))
    built.run("build", "--no-run", "--no-pdf")
    assert "1.25" in built.html("book/runs")
    # the start page has this one in its table of contents; numbers of this experiment name their other runs
    written = {path.stem for path, when in pages.items() if path.stat().st_mtime_ns != when}
    assert "runs" in written  # a page that Sphinx has written as it was stays the file that it was
    assert written <= {"runs", "index", "claims", "trained"}
    assert len([path for path in pictures.glob("*.svg") if 'width="99"' in path.read_text()]) == 1
    for path in new.folder.iterdir():
        path.unlink()
    new.folder.rmdir()
    built.run("build", "--no-run", "--no-pdf")
    assert not [path for path in pictures.glob("*.svg") if 'width="99"' in path.read_text()]


def test_a_damaged_notebook_has_no_pictures(tmp_path):
    """One that is missing or cut off stops nothing."""
    (tmp_path / "cut.ipynb").write_text('{"cells": [')
    pictures = Pictures(tmp_path, Compressed(tmp_path / "compressed"))
    assert pictures.of(tmp_path / "cut.ipynb", "a") == pictures.of(tmp_path / "none.ipynb", "b") == []


@pytest.mark.slow
def test_a_book_without_the_page_has_nothing_of_it(project, book):
    """No script, no pictures."""
    leave_sweep(project)
    book.run("build", "--no-run", "--no-pdf")
    assert not (book.root / "_build" / "html" / "_static" / "runs").exists()


def rows_of(page) -> list[str]:
    """The batch sizes of the rows, from top to bottom."""
    return page.locator(".runs-scroll tbody tr:not(.runs-detail):not(.runs-seed) td:nth-child(3)").all_inner_texts()


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_answers_from_a_file(built, page):
    """Sorted by keyboard, filtered by typing, opened, copied, on a telephone, printed; no error on the console."""
    page.open(built.root / "_build" / "html" / "book" / "runs.html")
    page.wait_for_selector(".runs-scroll tbody tr")
    assert not page.locator(".benchbook-runs-plain").is_visible()
    assert rows_of(page) == ["64", "32", "128"]
    head = page.locator(".runs-scroll thead th", has_text="batch_size")
    for direction, batches in {
        "ascending": ["32", "64", "128"],
        "descending": ["128", "64", "32"],
        "none": ["64", "32", "128"],
    }.items():
        head.locator("button").press("Enter")
        assert head.get_attribute("aria-sort") == direction
        assert rows_of(page) == batches
    field = page.get_by_role("searchbox", name="Filter")
    for typed, batches in {
        "batch_size>=64": ["64", "128"],
        "batch_size >= 64 loss < 1": ["64"],
        "onerror holds": ["128"],
        "0.323": ["32"],
        "seed=2": ["64", "32"],
        "small=holds": ["64"],
        "batch_size>": ["64", "32", "128"],
        "bacth=1": [],
        "": ["64", "32", "128"],
    }.items():
        field.fill(typed)
        assert rows_of(page) == batches, typed
        if typed.startswith("bacth"):
            assert "no column “bacth”" in page.locator("[role=status]").inner_text()
    opener = page.locator("tbody button[aria-expanded]").nth(1)
    opener.press("Enter")
    assert opener.get_attribute("aria-expanded") == "true"
    assert page.locator("tr.runs-seed th").all_inner_texts() == [f"seed={seed}" for seed in range(3)]
    page.locator("tr.runs-detail button").nth(2).click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("window.getSelection().toString()") == "show: {batch_size: 32, seed: 2}"
    assert page.locator("tr.runs-detail code").nth(2).inner_text() == "show: {batch_size: 32, seed: 2}"
    assert "small holds → does not hold: It is small." in page.locator("tr.runs-detail").nth(1).inner_text()
    page.locator("summary", has_text="Columns").click()
    page.locator("details label", has_text="same").locator("input").check()
    assert page.locator(".runs-scroll thead th", has_text="same").is_visible()
    assert page.locator("img[src=x]").count() == 0
    page.set_viewport_size({"width": 360, "height": 700})  # only the table's own region scrolls sideways
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.emulate_media(media="print")
    assert page.locator(".benchbook-runs-plain table").is_visible()
    assert not page.locator(".runs-scroll").is_visible()
    assert page.problems == []


@pytest.mark.slow
@pytest.mark.browser
def test_curves_are_read_off_and_pictures_compared_by_keyboard(built, page):
    """Ticked rows are drawn with their band; arrows move the reading and the slider."""
    page.open(built.root / "_build" / "html" / "book" / "runs.html")
    plot = page.locator("svg.runs-plot")
    plot.wait_for()
    assert (plot.locator("polyline").count(), plot.locator("polygon").count()) == (2, 2)
    legend = page.locator(".runs-legend")
    assert re.search(
        r"epoch 3\s+batch_size=64 note='' \(shown\): 0.0415625 \(0.0390625 to 0.0440625\)", legend.inner_text()
    )
    plot.press("ArrowLeft")
    assert "batch_size=64 note='' (shown): 0.083125 " in legend.inner_text()
    middle = plot.locator("polyline").first.get_attribute("points").split()[1]
    page.locator("label", has_text="logarithmic").locator("input").check()
    assert plot.locator("polyline").first.get_attribute("points").split()[1] != middle
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 50)
    assert "epoch 3" in legend.inner_text()
    page.get_by_label("draw batch_size=64").uncheck()
    assert plot.locator("polyline").count() == 1
    figure, left, right = (
        page.locator("label", has_text=name).locator("select") for name in ("Figure", "Left", "Right")
    )
    assert "cell 2: A width </script><img" in figure.locator("option").first.inner_text()
    assert left.input_value() != right.input_value()
    right.select_option(
        label=next(text for text in right.locator("option").all_inner_texts() if "batch_size=128" in text)
    )
    sources = [page.locator(".runs-slider img").nth(i).get_attribute("src") for i in range(2)]
    assert sources[0] != sources[1]
    slider = page.get_by_label("how much of the left picture is seen")
    before = page.locator(".runs-slider img").nth(1).evaluate("image => getComputedStyle(image).clipPath")
    slider.press("ArrowRight")
    after = page.locator(".runs-slider img").nth(1).evaluate("image => getComputedStyle(image).clipPath")
    assert (before, after) == ("inset(0px 0px 0px 50%)", "inset(0px 0px 0px 51%)")
    assert page.problems == []
