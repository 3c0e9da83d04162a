"""A profile is checked before anything runs, and says how each of its runs stands."""

from __future__ import annotations

import json

import pytest
from conftest import code, write_notebook

from benchbook import plan
from benchbook.errors import BookError
from benchbook.project import Project, forget


@pytest.fixture
def project(book):
    return Project(book.root)


def test_a_sweep_is_a_grid_and_one_of_its_runs_is_shown(project, book):
    """Two lists of two make four runs, with different folders; `show` chooses the one that the book shows."""
    book.write(
        "profiles/grid.yml",
        "runs: [{experiment: double, sweep: {number: [1, 2], rate: [0.1, 0.2]}, show: {number: 2, rate: 0.1}}]",
    )
    made = plan.load(project, "grid")
    points = [(run.parameters["number"], run.parameters["rate"]) for run in made.runs]
    assert points == [(1, 0.1), (1, 0.2), (2, 0.1), (2, 0.2)]
    assert len({run.folder for run in made.runs}) == 4
    assert made.shown()["double"].parameters == {"number": 2, "rate": 0.1}


def test_seeds_repeat_each_point_of_a_sweep(project, book):
    """`seeds: 3` counts the notebook's own seed up, at every point of the grid."""
    add_seeded(book)
    book.write("profiles/seeds.yml", "runs: [{experiment: seeded, sweep: {width: [1, 2]}, seeds: 3}]")
    points = [(run.parameters["width"], run.parameters["seed"]) for run in plan.load(project, "seeds").runs]
    assert points == [(1, 7), (1, 8), (1, 9), (2, 7), (2, 8), (2, 9)]


def add_seeded(book, needs: str = "") -> None:
    """A third experiment with a seed, which may need another."""
    path = book.root / "experiments" / "seeded.ipynb"
    write_notebook(path, code("seed: int = 7", "width: int = 1", tags=("parameters",)), code("x = width"))
    if needs:
        notebook = json.loads(path.read_text())
        notebook["metadata"]["benchbook"] = {"needs": [needs]}
        path.write_text(json.dumps(notebook))


def test_a_need_is_the_run_that_the_book_shows(project, book):
    """Its fingerprint is part of the dependent's; an entry may name other parameters; what no entry names is added."""
    add_seeded(book, needs="double")
    book.write("profiles/a.yml", "runs: [{experiment: seeded}, {experiment: double, sweep: {number: [5, 6]}}]")
    seeded, five, six = plan.load(project, "a").runs
    assert seeded.needs == {"double": five}
    assert seeded.ingredients["needs"] == {"double": five.fingerprint}
    book.write("profiles/b.yml", "runs: [{experiment: seeded, needs: {double: {number: 6}}}]")
    other, added = plan.load(project, "b").runs
    assert (added.fingerprint, added.shown) == (six.fingerprint, False)
    assert other.fingerprint != seeded.fingerprint
    book.write("profiles/c.yml", "runs: [{experiment: seeded}]")
    assert plan.load(project, "c").runs[1].parameters == {"number": 3, "rate": 0.5}


def test_a_run_by_itself_is_the_one_that_the_profile_has(project, book):
    """With what its entry says of the runs that it needs; a profile that is not there is refused, needs or not."""
    add_seeded(book, needs="double")
    book.write(
        "profiles/a.yml",
        "runs: [{experiment: seeded, needs: {double: {number: 6}}}, {experiment: double, parameters: {rate: 0.1}}]",
    )
    planned = plan.load(project, "a").runs
    seeded = project.experiment("seeded")
    made = plan.plan_runs(project, seeded, [{}], "a")
    assert [run.fingerprint for run in made] == [planned[0].fingerprint, planned[0].needs["double"].fingerprint]
    assert made[1].parameters == {"number": 6, "rate": 0.1}
    for name in ("seeded", "alone"):
        with pytest.raises(BookError, match="no profile 'b'"):
            plan.plan_runs(project, project.experiment(name), [{}], "b")
    (book.root / "profiles" / "quick.yml").unlink()
    assert plan.plan_runs(project, seeded, [{}])[1].parameters == {"number": 3, "rate": 0.5}


def test_needs_that_go_in_a_circle_are_named(project, book):
    """Two experiments that need one another cannot be planned, and the message shows the circle."""
    add_seeded(book, needs="other")
    write_notebook(book.root / "experiments" / "other.ipynb", code("x = 1"))
    path = book.root / "experiments" / "other.ipynb"
    notebook = json.loads(path.read_text())
    notebook["metadata"]["benchbook"] = {"needs": ["seeded"]}
    path.write_text(json.dumps(notebook))
    book.write("profiles/circle.yml", "runs: [{experiment: seeded}]")
    with pytest.raises(BookError, match="seeded → other → seeded"):
        plan.load(project, "circle")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("runs: [{experiment: double, seeds: 3}]", "no parameter 'seed: int'"),
        ("runs: [{experiment: double, seeds: 0}]", "'seeds' of 'double' is 0"),
        ("gpu_slots: 0", "'gpu_slots' is 0"),
        ("runs: [{experiment: double, needs: {alone: {}}}]", "'double' does not need 'alone'"),
        ("runs: [{experiment: double, needs: {alone: 3}}]", "gives 'alone' no mapping"),
        ("runs: 3", "'runs' is a list"),
        ("- a", "a mapping is wanted here"),
        ("runs: [", "is not YAML"),
        ("rusn: []", "unknown key 'rusn'; did you mean 'runs'"),
        ("runs: [{experiment: duoble}]", "no experiment 'duoble'; did you mean 'double'"),
        ("runs: [{experiment: ../double}]", "no experiment '../double'"),
        ("runs: [{parameters: {n: 1}}]", "names no experiment"),
        ("runs: [{experiment: double, parameters: {nubmer: 1}}]", "no parameter 'nubmer'; did you mean 'number'"),
        ("runs: [{experiment: double, parameters: {number: .nan}}]", "takes int"),
        ("runs: [{experiment: double, parameters: [1]}]", "'parameters' of 'double' is no mapping"),
        ("runs: [{experiment: double, sweep: {number: 3}}]", "is no list of values"),
        ("runs: [{experiment: double, sweep: {number: []}}]", "is no list of values"),
        ("runs: [{experiment: double, sweep: {number: [1, 1]}}]", "stands twice"),
        ("runs: [{experiment: double, parameters: {number: 1}, sweep: {number: [1]}}]", "both a parameter and a sweep"),
        ("runs: [{experiment: double, sweep: {number: [1]}, show: {number: 7}}]", "names no run of its sweep"),
        ("runs: [{experiment: double}, {experiment: double, parameters: {number: 9}}]", "make them one sweep"),
    ],
)
def test_a_profile_that_means_nothing_is_refused_in_one_line(project, book, text, says):
    """The line names the file and what is wrong in it."""
    book.write("profiles/bad.yml", text)
    with pytest.raises(BookError, match=says) as caught:
        plan.load(project, "bad")
    assert "bad.yml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["qiuck", "../quick", "", "a/b"])
def test_a_profile_that_is_not_there_is_named(project, name):
    """A misspelt profile, or a path, is refused."""
    with pytest.raises(BookError, match="there is no profile"):
        plan.load(project, name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tool.benchbook]\ndata = 3", "'data' of .* is 3: a table is wanted"),
        ("tool = 3", "'tool' of .* is 3: a table is wanted"),
        ("[tool.benchbook.data]\nstars = 3", "data set 'stars': a mapping is wanted"),
        ("[tool.benchbook.data.stars]\nfiles = 'stars.csv'", "data set 'stars': 'files' is 'stars.csv': give a list"),
        ("[tool.benchbook.data.stars]\nalso = [3]", r"data set 'stars': 'also' is \[3\]: give a list"),
        ("[tool.benchbook.data.stars]\nprepare = []", r"data set 'stars': 'prepare' is \[\]: give a module"),
        ("[tool.benchbook.data.stars]\nfile = []", "data set 'stars': unknown key 'file'; did you mean 'files'"),
        ("= 3", "is not TOML"),
    ],
)
def test_a_data_set_that_means_nothing_is_refused_in_one_line(project, book, text, says):
    """The line names pyproject.toml, the data set and what is wanted."""
    book.write("pyproject.toml", text)
    with pytest.raises(BookError, match=rf"pyproject\.toml.*{says}") as caught:
        project.data_digests("stars")
    assert "\n" not in str(caught.value)


def test_data_files_are_part_of_a_run_that_names_their_data_set(project, book, monkeypatch):
    """A changed data file makes the runs on it stale, whatever its time stamp, and no others."""
    book.write("pyproject.toml", '[tool.benchbook.data.small]\nfiles = ["a.npz", "b.npz"]\nalso = ["extra"]\n')
    book.write("data/b.npz", "1")
    assert list(project.data_digests("small")) == ["b.npz"]
    book.write("data/extra/x", "1")
    before = project.data_digests("small")
    assert list(before) == ["b.npz", "extra"]
    book.write("data/extra/x", "2")
    forget()
    assert project.data_digests("small")["extra"] != before["extra"]
    assert project.data_digests("scenes") == {}
