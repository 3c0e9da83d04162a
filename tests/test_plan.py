"""A profile is checked before anything runs, and says how each of its runs stands."""

from __future__ import annotations

import json

import pytest

from benchbook import plan, state
from benchbook.errors import BookError
from benchbook.run import job


@pytest.fixture
def project(book):
    return plan.Project(book.root)


def pretend(run: plan.Run, state: str = "ok", error: str = "") -> None:
    """Leaves a run folder as a worker would."""
    run.folder.mkdir(parents=True)
    task = job(run, "quick")
    status = {
        "state": state,
        "error": error,
        "files": {},
        "ingredients": task["ingredients"],
        "ended": 1.0,
        "seconds": 1,
    }
    (run.folder / "status.json").write_text(json.dumps(status))


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


@pytest.mark.parametrize(
    ("text", "says"),
    [
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


def test_a_run_is_ok_stale_failed_or_not_run(project, book):
    """The states, each with its reason."""
    double, alone = plan.load(project, "quick").runs
    assert state.state(double).name == "not run"
    pretend(double)
    pretend(alone, "failed", "ValueError: no (cell 1)")
    assert state.state(double).name == "ok"
    assert state.state(alone) == state.State("failed", "ValueError: no (cell 1)")
    book.write("src/toy/b.py", "def times(number):\n    return number + number\n")
    edited = plan.load(project, "quick").runs[0]
    reason = "src/toy/b.py (notebook → toy.a → toy.b)"
    assert state.state(edited) == state.State("stale", f"changed: {reason}", (reason,))


def test_a_damaged_run_is_not_ok(project):
    """A run folder whose file no longer has its recorded hash counts as not made, and the file is named."""
    run = plan.load(project, "quick").runs[0]
    pretend(run)
    status = json.loads((run.folder / "status.json").read_text())
    status["files"] = {"results.json": "0" * 64}
    (run.folder / "status.json").write_text(json.dumps(status))
    assert state.state(run).name == "not run"
    assert "results.json" in state.state(run).reason
    (run.folder / "status.json").write_text('{"state": "o')
    assert state.state(run).name == "not run"


def test_data_files_are_part_of_a_run_that_names_their_data_set(project, book, monkeypatch):
    """A changed data file makes the runs on it stale, whatever its time stamp, and no others."""
    book.write("pyproject.toml", '[tool.benchbook.data.small]\nfiles = ["a.npz", "b.npz"]\nalso = ["extra"]\n')
    book.write("data/b.npz", "1")
    assert list(plan.data_digests(project, "small")) == ["b.npz"]
    book.write("data/extra/x", "1")
    before = plan.data_digests(project, "small")
    assert list(before) == ["b.npz", "extra"]
    book.write("data/extra/x", "2")
    plan._digest.cache_clear()
    assert plan.data_digests(project, "small")["extra"] != before["extra"]
    assert plan.data_digests(project, "scenes") == {}
