"""Missing runs are made in parallel; a stopped builder takes its workers with it and keeps what had finished."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import code, markdown, write_notebook

from benchbook import display, plan, schedule
from benchbook.errors import BookError

SLOW = code("import time", "time.sleep(60)")


def processes(text: str) -> list[str]:
    """The command lines of running processes that name the text."""
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if text in line and "ps -eo" not in line]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_build_leaves_no_process_and_keeps_finished_runs(book, how):
    """Ctrl-C and a polite kill: kernels end too, finished runs stay, no half-made folder is left."""
    write_notebook(book.root / "experiments" / "alone.ipynb", markdown("# Wait"), SLOW)
    builder = subprocess.Popen(
        [sys.executable, "-m", "benchbook.cli", "build", "--no-pdf", "--jobs", "2"],
        cwd=book.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(book.root.glob("runs/double/*/status.json")) and time.monotonic() < deadline:
        time.sleep(0.2)
    builder.send_signal(how)
    _, said = builder.communicate(timeout=15)
    assert builder.returncode == 130
    assert "stopped; what had finished is kept" in said
    deadline = time.monotonic() + 3
    while processes(str(book.root)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes(str(book.root)) == []
    assert book.status()["double"].startswith("ok")
    assert book.status()["alone"].startswith("not run")
    assert not list(book.root.glob("runs/*/.*"))


def test_the_lock_is_free_again_after_its_holder(tmp_path):
    """One build at a time; the lock names its holder and ends with it."""
    project = plan.Project(tmp_path)
    with schedule.build_lock(project):
        script = (
            "import pathlib; from benchbook import plan, schedule\n"
            f"with schedule.build_lock(plan.Project(pathlib.Path({str(tmp_path)!r}))): pass"
        )
        second = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert f"process {os.getpid()} is building this book" in second.stderr
    with schedule.build_lock(project):
        pass


def test_the_display_says_where_a_run_is(book):
    """Cell k of n, epoch, elapsed and remaining time, from what the worker and the notebook left."""
    run = plan.load(plan.Project(book.root), "quick").runs[0]
    assert display.row(run, time.time())[0] == "waiting"
    progress = book.root / "_build" / "progress" / f"{run.fingerprint}.json"
    progress.parent.mkdir(parents=True)
    began = time.time() - 65
    progress.write_text(json.dumps({"cell": 3, "cells": 4, "began": began, "time": began + 5}))
    progress.with_suffix(".step").write_text(json.dumps({"step": 5, "steps": 10, "time": began + 60}))
    state, label, where, elapsed, remaining = display.row(run, began)
    assert (state, label, where) == ("running", "double number=4", "cell 3 of 4, epoch 5 of 10")
    assert elapsed == "1:05"
    assert remaining == "0:39"  # (2 + 5/10) of 4 cells are done: 65 s · (1 - 0.625) / 0.625


def test_a_data_set_that_cannot_be_made_is_named(book):
    """The preparing program's own line reaches the user, before any run starts."""
    book.write("pyproject.toml", '[tool.benchbook.data.stars]\nfiles = ["stars.npz"]\nprepare = "toy.fetch stars"\n')
    write_notebook(
        book.root / "experiments" / "alone.ipynb",
        markdown("# Look at stars"),
        code('dataset: str = "stars"  # which', tags=("parameters",)),
    )
    project = plan.Project(book.root)
    with pytest.raises(BookError, match=r"data set 'stars': .*toy"):
        schedule.prepare_data(project, list(plan.load(project, "quick").runs))
