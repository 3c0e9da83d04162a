"""How runs stand, from what lies in their folders: each state with its reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from benchbook import plan, state
from benchbook.project import Project
from benchbook.run import job


@pytest.fixture
def project(book):
    return Project(book.root)


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


def test_a_changed_parameter_makes_a_run_stale_and_a_sweep_does_not(project, book):
    """A run that replaces one that no entry names any more says what changed; neighbours in a sweep do not count."""
    book.write("profiles/old.yml", "runs: [{experiment: double}]")
    pretend(plan.load(project, "old").runs[0])
    book.write("profiles/new.yml", "runs: [{experiment: double, parameters: {number: 9}}]")
    assert state.state(plan.load(project, "new").runs[0]).reason == "changed: parameter number 3 → 9"
    book.write("profiles/sweep.yml", "runs: [{experiment: double, sweep: {number: [3, 9]}}]")
    runs = plan.load(project, "sweep").runs
    assert [found.name for found in state.states(runs).values()] == ["ok", "not run"]


def test_the_lock_is_free_again_after_its_holder(tmp_path):
    """One build at a time; the lock names its holder and ends with it."""
    project = Project(tmp_path)
    with state.build_lock(project):
        script = (
            "import pathlib; from benchbook import state; from benchbook.project import Project\n"
            f"with state.build_lock(Project(pathlib.Path({str(tmp_path)!r}))): pass"
        )
        second = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert f"process {os.getpid()} is building this book" in second.stderr
    with state.build_lock(project):
        pass


def test_a_run_is_running_only_while_a_build_holds_the_lock(project):
    """What a killed build left behind does not pass for running, nor does it in the next one."""
    run = plan.load(project, "quick").runs[0]
    path = state.progress_file(run)
    now = time.time()

    def tell() -> None:
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"cell": 3, "cells": 4, "began": now, "time": now}))
        path.with_suffix(".step").write_text(json.dumps({"step": 2, "steps": 9, "time": now + 1}))

    tell()
    assert state.state(run).name == "not run"
    with state.build_lock(project):
        assert state.state(run).name == "not run"
        tell()
        assert state.state(run) == state.State("running", "cell 3 of 4, epoch 2 of 9")


def test_an_artefact_made_again_differently_makes_its_dependent_stale(project, book):
    """The run's status says which files it read; one that has another hash now is named."""
    path = book.root / "experiments" / "alone.ipynb"
    notebook = json.loads(path.read_text())
    notebook["metadata"]["benchbook"] = {"needs": ["double"]}
    path.write_text(json.dumps(notebook))
    double, alone = plan.load(project, "quick").runs
    pretend(double)
    pretend(alone)
    for run, key, content in (
        (double, "files", {"w.safetensors": "a"}),
        (alone, "used", {"double/w.safetensors": "b"}),
    ):
        status = json.loads((run.folder / "status.json").read_text())
        (run.folder / "status.json").write_text(json.dumps({**status, key: content}))
    (double.folder / "w.safetensors").write_text("")
    assert state.state(alone).reason == "changed: double/w.safetensors, which was made again"
